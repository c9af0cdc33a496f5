"""Planners of softmax, log-softmax, the cross-entropy with labels, and LayerNorm, and of their gradients.

One launch each; the sum of the cross-entropies of many rows, and the gradients of LayerNorm, have a second.
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import expr, layout, reduce, template
from clgrad.kernels.access import fitting, vector_width
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges, streams
from clgrad.kernels.signature import Signature

#: Work-group on a GPU, where the device allows.
GPU_GROUP = 256
#: Neighbouring columns that a GPU work-group has, at least, where the axis is not the last: enough
#: for neighbouring work-items to fill a memory transaction.
GPU_COLUMNS = 16
#: Elements of columns that a CPU work-item keeps in variables, at most: each is a statement of its own.
HELD = 32
#: Bytes of a row from which on softmax's gradients go past the caches; shorter ones come in bursts, which
#: the reading of the next row waits for.
LONG_ROW = 1 << 14
#: Elements that one lane or work-item adds up, at most, where rows are standardised.
LANE_TERMS = 1024


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
    rowwise.array("x", dtype, In(0))
    rowwise.array("y", dtype, Out(0))
    if lengths is not None:
        rowwise.array("lengths", lengths, In(1))
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
    rowwise.array("dy", dtype, In(0))
    rowwise.array("y", dtype, In(1))
    rowwise.array("dx", dtype, Out(0))
    return rowwise.plan(inputs=2)


def plan_cross_entropy(
    device: Device, name: str, shape: Sequence[int], dtype: np.dtype, labels: np.dtype
) -> Plan:
    """Plan the sum over rows of ``-log softmax(x)[label]``.

    Inputs: x, of two axes and not empty; labels, one number for each row, of their dtype: truncated, moved
    to the nearest class where there is no such class, NaN as 0. Outputs: the sum, of shape (1,).
    """
    rowwise = _Rowwise(device, name, shape, 1, dtype, False, 1.0, gradient=False, labels=labels)
    parts = rowwise.parts()
    rowwise.losses = dtype if parts == 1 else dtypes.compute_type(dtype)
    rowwise.array("x", dtype, In(0))
    rowwise.array("labels", labels, In(1))
    rowwise.array("losses", rowwise.losses, Out(0) if parts == 1 else Scratch(0))
    steps, scratch = [rowwise.step()], []
    if parts > 1:
        total = reduce.Reduction(expr.operand(0, rowwise.losses), "sum", dtype)
        steps.append(reduce.join(device, f"{name}_join", [total], parts, 1, []))
        scratch.append(parts * rowwise.losses.itemsize)
    return Plan(device, steps, [((1,), dtype)], 2, scratch)


def plan_cross_entropies(
    device: Device, name: str, shape: Sequence[int], dtype: np.dtype, labels: np.dtype
) -> Plan:
    """Plan :func:`plan_cross_entropy` of each row by itself: outputs are one number for each row."""
    rowwise = _Rowwise(device, name, shape, 1, dtype, False, 1.0, gradient=False, labels=labels)
    rowwise.apart = True
    rowwise.array("x", dtype, In(0))
    rowwise.array("labels", labels, In(1))
    rowwise.array("losses", dtype, Out(0))
    return Plan(device, [rowwise.step()], [((shape[0],), dtype)], 2)


def plan_cross_entropy_grad(
    device: Device,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype,
    labels: np.dtype,
    *,
    apart: bool = False,
) -> Plan:
    """Plan the gradient of :func:`plan_cross_entropy`, or with ``apart`` of :func:`plan_cross_entropies`.

    Inputs: dy, of shape (1,), or one number for each row; x; labels. Outputs: dx,
    ``(softmax(x) - one_hot(label)) * dy``.
    """
    rowwise = _Rowwise(device, name, shape, 1, dtype, False, 1.0, gradient=True, labels=labels)
    rowwise.apart = apart
    rowwise.array("grad", dtype, In(0))
    rowwise.array("x", dtype, In(1))
    rowwise.array("labels", labels, In(2))
    rowwise.array("y", dtype, Out(0))
    return rowwise.plan(inputs=3)


def can_standardize(device: Device, rows: int, n: int, dtype: np.dtype) -> bool:
    """Whether rows of n elements are standardised in one launch.

    They must be few enough for plain sums and a cache, and long ones as many as there are cores.
    """
    members = 16
    if device.kind == "cpu":
        members = 2 * device.capabilities.vector_bytes // dtypes.compute_type(dtype).itemsize
    return 1 < n <= LANE_TERMS * (members if rows >= device.capabilities.compute_units else 4)


def plan_standardize(
    device: Device,
    name: str,
    shape: tuple[int, int],
    dtypes_: dict[str, np.dtype],
    out_shapes: Sequence,
    period: int = 0,
) -> Plan:
    """Plan ``gamma (x - mean) / sqrt(var + eps) + beta`` of rows, by their own mean and variance.

    Inputs: x, of this shape; gamma and beta, one number for each column, or with a ``period`` for each of
    so many rows; of the dtypes under these names. Scalar: eps. Outputs: y, in x's dtype, mean and var, in
    the one that is computed in; of these shapes.
    """
    dtype = dtypes_["x"]
    rowwise = _Rowwise(device, name, shape, 1, dtype, False, 1.0, gradient=False, template="standardize")
    rowwise.vectors = {array: dtypes_[array] for array in ("gamma", "beta")}
    wide = dtypes.compute_type(dtype)
    kinds = dict(zip(("y", "mean", "var"), (dtype, wide, wide), strict=True))
    for i, array in enumerate(("x", "gamma", "beta")):
        rowwise.array(array, dtypes_[array], In(i))
    for i, (array, kind) in enumerate(kinds.items()):
        rowwise.array(array, kind, Out(i))
    rowwise.signature.scalar("eps", 0, dtype)
    rowwise.periodic = period > 0
    if rowwise.periodic:
        rowwise.signature.fixed("period", period)
    outputs = list(zip(out_shapes, kinds.values(), strict=True))
    return Plan(device, [rowwise.step()] if math.prod(shape) else [], outputs, 3)


def plan_standardize_grad(
    device: Device, name: str, shape: tuple[int, int], dtypes_: dict[str, np.dtype], out_shapes: Sequence
) -> Plan:
    """Plan the gradients of :func:`plan_standardize`, of rows that are not empty.

    Inputs: dy and x, of this shape; mean and var; gamma; x and gamma of the dtypes under these names.
    Scalar: eps. Outputs: d_gamma and d_beta, in the dtype that is computed in, and dx, in x's; of these
    shapes. On a CPU a second launch adds up what work-items found; on a GPU a reduction makes the sums.
    """
    dtype, wide = dtypes_["x"], dtypes.compute_type(dtypes_["x"])
    rowwise = _Rowwise(
        device, name, shape, 1, dtype, False, 1.0, gradient=True, template="standardize_grad"
    )
    rowwise.vectors = {"gamma": dtypes_["gamma"]}
    rowwise.least_items = -(-shape[0] // LANE_TERMS)
    kinds = (dtype, dtype, wide, wide, dtypes_["gamma"])
    for i, (array, kind) in enumerate(zip(("grad", "x", "mean", "var", "gamma"), kinds, strict=True)):
        rowwise.array(array, kind, In(i))
    rowwise.array("dx", dtype, Out(2))
    outputs = list(zip(out_shapes, (wide, wide, dtype), strict=True))
    if rowwise.gpu:
        rowwise.signature.scalar("eps", 0, dtype)
        sums = _sums_over_rows(device, f"{name}_sums", shape, dtype)
        return Plan(device, [rowwise.step(), *sums.steps], outputs, 5, sums.scratch)
    for i, array in enumerate(("d_gamma", "d_beta")):
        rowwise.array(array, wide, Scratch(i))
    rowwise.signature.scalar("eps", 0, dtype)
    step = rowwise.step()
    parts = step.global_size[0]
    totals = [reduce.Reduction(expr.operand(i, wide), "sum", wide) for i in range(2)]
    join = reduce.join(device, f"{name}_join", totals, parts, shape[1], [])
    return Plan(device, [step, join], outputs, 5, [parts * shape[1] * wide.itemsize] * 2)


def _sums_over_rows(device: Device, name: str, shape: tuple[int, int], dtype: np.dtype) -> Plan:
    """The sums of dy (x - mean) / sqrt(var + eps) and of dy over rows. Inputs: dy, x, mean, var."""
    wide = dtypes.compute_type(dtype)
    operands = [layout.Operand(dtype, (shape[1], 1))] * 2 + [layout.Operand(wide, (1, 0))] * 2
    dy, x, mean, var = (expr.operand(i, o.dtype or wide) for i, o in enumerate(operands))
    standard = (x - mean) * expr.call("rsqrt", var + expr.scalar(0, dtype))
    sums = [reduce.Reduction(value, "sum", wide) for value in (dy * standard, dy)]
    return reduce.plan(device, name, shape, [0], sums, operands, [dtype])


class _Rowwise:
    """A kernel over an array seen as (outer, n, inner): each (outer, inner) is a row of its own."""

    def __init__(
        self,
        device,
        name,
        shape,
        axis,
        dtype,
        log,
        temperature,
        *,
        gradient,
        lengths=None,
        labels=None,
        template="softmax",
    ):
        rank = len(shape)
        if not -rank <= axis < rank:
            raise OperatorError(f"{name}: axis={axis}; accepted: {-rank} to {rank - 1}")
        if temperature == 0:
            raise OperatorError(f"{name}: temperature={temperature}; accepted: any number but 0")
        axis %= rank
        self.device, self.name, self.dtype = device, name, dtype
        self.log, self.gradient, self.scale = log, gradient, 1 / temperature
        self.lengths, self.labels = lengths, labels
        self.losses = dtype
        #: Whether there is a loss for each row, not for all.
        self.apart = False
        self.template = template
        self.vectors: dict[str, np.dtype] = {}
        #: Whether these are one number for each row, again and again.
        self.periodic = False
        #: Work-items on a CPU, at least.
        self.least_items = 1
        self.shape = tuple(shape)
        self.outer, self.n = math.prod(shape[:axis]), shape[axis]
        self.inner = math.prod(shape[axis + 1 :])
        self.gpu = device.kind != "cpu"
        self._choose_vectors()
        self.team, self.columns = self._work_group() if self.gpu else (1, 1)
        self.signature = Signature(layout.needs_long(self.shape, []))
        #: Names of the arrays in the kernel.
        self.arrays: list[str] = []

    def _choose_vectors(self) -> None:
        # On a CPU neighbouring columns are a vector, unless they end at different places.
        scalar = self.gpu or (self.lengths is not None and self.inner > 1)
        register = vector_width(self.device.capabilities.vector_bytes, [self.dtype])
        softmax = self.template == "softmax"
        #: Whether a column is one vector, with padding.
        self.short = softmax and self.inner == 1 and not scalar and 1 < self.n <= register
        #: Whether the columns of a vector are kept in variables.
        self.held = self.inner > 1 and not scalar and 1 < self.n <= HELD
        most = _power_of_two(self.n) if self.short else self.n if self.inner == 1 else self.inner
        self.width = 1 if scalar else fitting(register, most)
        #: Whether results go past the caches: large ones, that are not read again.
        large = streams(self.device, math.prod(self.shape) * self.dtype.itemsize) and self.width > 1
        steady = self.held or (self.gradient and self.n * self.dtype.itemsize >= LONG_ROW)
        self.streams = large and (steady or not softmax)

    def array(self, name: str, dtype: np.dtype, argument: In | Out | Scratch) -> None:
        """Add an array to the kernel's parameters."""
        self.arrays.append(name)
        self.signature.array(name, dtype, argument)

    def plan(self, inputs: int) -> Plan:
        """The plan of this one launch."""
        outputs = [(self.shape, self.dtype)]
        steps = [self.step()] if math.prod(self.shape) else []
        return Plan(self.device, steps, outputs, inputs)

    def step(self) -> Step:
        """The launch itself."""
        for size in ("outer", "n", "inner"):
            self.signature.fixed(size, getattr(self, size))
        source = template.render(self.template, k=self)
        return Step(self.name, source, *self._ranges(), self.signature.args)

    def parts(self) -> int:
        """How many sums of losses there are: one for each work-item of a CPU, for each row on a GPU."""
        return self.outer if self.gpu else self._ranges()[0][0]

    def _ranges(self) -> tuple[tuple[int], tuple[int]]:
        if not self.gpu:
            elements = math.prod(self.shape)
            lanes = 1 if self.inner == 1 else self.width
            # exp costs several times what an addition does: fewer elements are worth a work-item.
            (items,), local = ranges(self.device, self.outer * -(-self.inner // lanes), 4 * elements)
            return (max(items, self.least_items),), local
        group = self.team * self.columns
        groups = -(-self.outer * self.inner // self.columns)
        return (groups * group,), (group,)

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
