"""Planners of softmax and log-softmax over one axis, and of their gradients; one launch each."""

import math
from collections.abc import Sequence

import numpy as np

from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import layout, template
from clgrad.kernels.access import vector_width
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Work-group on a GPU, where the device allows.
GPU_GROUP = 256
#: Neighbouring columns that a GPU work-group has, at least, where the axis is not the last: enough
#: for neighbouring work-items to fill a memory transaction.
GPU_COLUMNS = 16


def plan_softmax(
    device: Device,
    name: str,
    shape: Sequence[int],
    axis: int,
    dtype: np.dtype,
    *,
    log: bool = False,
    temperature: float = 1.0,
    lengths: np.dtype | None = None,
) -> Plan:
    """Plan ``exp(x / temperature)``, normalised to the sum 1 along an axis, or its logarithm.

    Inputs: x; with ``lengths``, their dtype, also how many elements of each row count (x's shape without
    the axis): behind them, y is 0. Outputs: y. The largest element (of x / temperature) is subtracted
    first, so nothing overflows. A row that holds NaN or +infinity, or nothing but -infinity, gives NaN.

    Raises
    ------
    OperatorError
        The axis does not exist, or the temperature is 0.
    """
    rowwise = _Rowwise(device, name, shape, axis, dtype, log, temperature, gradient=False, lengths=lengths)
    rowwise.signature.array("x", dtype, In(0))
    rowwise.signature.array("y", dtype, Out(0))
    if lengths is not None:
        rowwise.signature.array("lengths", lengths, In(1))
    return rowwise.plan(inputs=1 if lengths is None else 2)


def plan_softmax_grad(
    device: Device,
    name: str,
    shape: Sequence[int],
    axis: int,
    dtype: np.dtype,
    *,
    log: bool = False,
    temperature: float = 1.0,
) -> Plan:
    """Plan the gradient of :func:`plan_softmax` from its result.

    Inputs: dy, y. Outputs: dx, ``y * (dy - sum(dy * y)) / temperature``, or with ``log``
    ``(dy - exp(y) * sum(dy)) / temperature``.
    """
    rowwise = _Rowwise(device, name, shape, axis, dtype, log, temperature, gradient=True)
    rowwise.signature.array("dy", dtype, In(0))
    rowwise.signature.array("y", dtype, In(1))
    rowwise.signature.array("dx", dtype, Out(0))
    return rowwise.plan(inputs=2)


class _Rowwise:
    """A kernel over an array seen as (outer, n, inner): each (outer, inner) is a row of its own."""

    def __init__(self, device, name, shape, axis, dtype, log, temperature, *, gradient, lengths=None):
        rank = len(shape)
        if not -rank <= axis < rank:
            raise OperatorError(f"{name}: axis={axis}; accepted: {-rank} to {rank - 1}")
        if temperature == 0:
            raise OperatorError(f"{name}: temperature={temperature}; accepted: any number but 0")
        axis %= rank
        self.device, self.name, self.dtype = device, name, dtype
        self.log, self.gradient, self.scale = log, gradient, 1 / temperature
        self.lengths = lengths
        self.shape = tuple(shape)
        self.outer, self.n = math.prod(shape[:axis]), shape[axis]
        self.inner = math.prod(shape[axis + 1 :])
        self.gpu = device.kind != "cpu"
        scalar = self.gpu or (lengths is not None and self.inner > 1)  # neighbours end at different places
        self.width = 1 if scalar else self._fitting(self.n if self.inner == 1 else self.inner)
        self.team, self.columns = self._work_group() if self.gpu else (1, 1)
        self.signature = Signature(layout.needs_long(self.shape, []))

    def plan(self, inputs: int) -> Plan:
        """The plan of this one launch."""
        outputs = [(self.shape, self.dtype)]
        elements = math.prod(self.shape)
        if elements == 0:
            return Plan(self.device, [], outputs, inputs)
        for size in ("outer", "n", "inner"):
            self.signature.fixed(size, getattr(self, size))
        source = template.render("softmax", k=self)
        step = Step(self.name, source, *self._ranges(elements), self.signature.args)
        return Plan(self.device, [step], outputs, inputs)

    def _ranges(self, elements: int) -> tuple[tuple[int], tuple[int]]:
        if not self.gpu:
            lanes = 1 if self.inner == 1 else self.width
            # exp costs several times what an addition does: fewer elements are worth a work-item.
            return ranges(self.device, self.outer * -(-self.inner // lanes), 4 * elements)
        group = self.team * self.columns
        groups = -(-self.outer * self.inner // self.columns)
        return (groups * group,), (group,)

    def _fitting(self, elements: int) -> int:
        """The widest vector that the device has and the elements fill."""
        width = vector_width(self.device.capabilities.vector_bytes, [self.dtype])
        while width > max(1, elements):
            width //= 2
        return width

    def _work_group(self) -> tuple[int, int]:
        """Work-items for each column, and columns, of a GPU work-group; powers of two."""
        limit = min(GPU_GROUP, self.device.capabilities.max_work_group_size)
        group = 2 ** (limit.bit_length() - 1)
        if self.inner == 1:
            team = min(group, _power_of_two(self.n))
        else:
            team = min(max(1, group // GPU_COLUMNS), _power_of_two(-(-self.n // 8)))
        return team, group // team


def _power_of_two(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()
