"""Planner of scans along one axis: running sums, products, and first-order linear recurrences.

``pyopencl.scan.GenericScanKernel`` is not used, by contract: it scans one contiguous array from the first
element on, so rows along an axis would have to be transposed and flagged as segments, reversed scans
reversed; and it enqueues by itself, so that no plan or tape would hold its launches. (Where it could be, it
is slower on CPUs: 12 ms for the running sum of a million floats on two cores, 2 ms here.)
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import layout, map, template
from clgrad.kernels.access import vector_width
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import CPU_GRAIN
from clgrad.kernels.signature import Signature

#: Terms that are added up before their sum is added to the running one.
BLOCK = 256
#: Rows that a work-item of a CPU adds up side by side: the next addition of a row has to wait for the last.
ABREAST = 4
#: Work-items that share a row on a GPU, where the device allows, and elements that each has of a tile.
GPU_TEAM, SERIAL = 256, 8
#: Neighbouring rows from which on each work-item of a GPU has one of them.
GPU_COLUMNS = 8


def plan(
    device: Device,
    name: str,
    shape: Sequence[int],
    axis: int,
    how: str,
    inputs: Sequence[np.dtype],
    dtype: np.dtype,
    *,
    reverse: bool = False,
    exclusive: bool = False,
) -> Plan:
    """Plan the running state along an axis, behind each element or (``exclusive``) before it.

    Parameters
    ----------
    how : str
        ``sum``: state + x from 0, ``product``: state * x from 1, both of one input; or ``recurrence``:
        b + a * state from 0, of the inputs a and b.
    inputs : sequence of numpy.dtype
        Dtypes of the inputs, each of ``shape``; elements are converted to ``dtype``'s compute type first.
    dtype : numpy.dtype
        Of the result.
    reverse : bool
        From the last element to the first.

    Raises
    ------
    OperatorError
        The axis does not exist.
    """
    rank = len(shape)
    if not -rank <= axis < rank:
        raise OperatorError(f"{name}: axis={axis}; accepted: {-rank} to {rank - 1}")
    outputs = [(tuple(shape), dtype)]
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, len(inputs))
    scan = _Scan(device, name, shape, axis % rank, how, inputs, dtype, reverse, exclusive)
    if scan.chunks == 1:
        return Plan(device, [scan.step("scan")], outputs, len(inputs))
    size = scan.chunks * scan.outer * scan.inner * dtypes.compute_type(dtype).itemsize
    steps = [scan.step("totals"), scan.step("scan")]
    return Plan(device, steps, outputs, len(inputs), [size] * len(scan.parts))


class _Scan:
    """Sizes and types of a scan, as the template sees them; arrays are (outer, n, inner)."""

    def __init__(self, device, name, shape, axis, how, inputs, dtype, reverse, exclusive):
        self.device, self.name, self.how, self.dtype = device, name, how, dtype
        self.reverse, self.exclusive = reverse, exclusive
        names = ("a", "b") if how == "recurrence" else ("data",)
        self.inputs = dict(zip(names, inputs, strict=True))
        self.parts = {"sum": "B", "product": "A", "recurrence": "AB"}[how]
        self.blocked = how == "sum" and dtypes.is_floating(dtype)
        self.block = BLOCK
        self.outer, self.n = math.prod(shape[:axis]), shape[axis]
        self.inner = math.prod(shape[axis + 1 :])
        self.gpu = device.kind != "cpu"
        self.wide = layout.needs_long(shape, [])
        self.width = 1 if self.gpu or self.inner == 1 else self._width()
        self.abreast = 1 if self.gpu or self.inner > 1 else ABREAST
        self.serial = SERIAL
        self.team = 1
        if self.gpu and self.inner < GPU_COLUMNS and self.n >= 64:
            limit = min(GPU_TEAM, device.capabilities.max_work_group_size)
            self.team = 1 << (limit.bit_length() - 1)
        self.units = self.outer * -(-self.inner // self.width)
        self.chunks = self._chunks()

    def _width(self) -> int:
        width = vector_width(self.device.capabilities.vector_bytes, [*self.inputs.values(), self.dtype])
        while width > self.inner:
            width //= 2
        return width

    def _chunks(self) -> int:
        """Parts that the axis is cut into, so that few rows still fill the device."""
        cores = self.device.capabilities.compute_units
        if not self.gpu:
            parts, least = 2 * cores // self.units, CPU_GRAIN // self.width
        elif self.team > 1:
            parts, least = 8 * cores // self.units, 4 * self.team * SERIAL
        else:
            parts, least = 512 * cores // self.units, 64
        return max(1, min(parts, self.n // least))

    def step(self, kernel: str) -> Step:
        """The launch of the kernel ``totals`` or ``scan`` of the template."""
        self.signature = Signature(self.wide)
        for position, (array, dtype) in enumerate(self.inputs.items()):
            self.signature.array(array, dtype, In(position))
        if kernel == "scan":
            self.signature.array("y", self.dtype, Out(0))
        if self.chunks > 1:
            for position, part in enumerate(self.parts):
                self.signature.array(f"total{part}", dtypes.compute_type(self.dtype), Scratch(position))
        for size in ("outer", "n", "inner"):
            self.signature.fixed(size, getattr(self, size))
        name = self.name if kernel == "scan" else f"{self.name}_{kernel}"
        source = template.render("scan", name=name, kernel=kernel, s=self)
        return Step(name, source, *self._ranges(), self.signature.args)

    def _ranges(self) -> tuple[tuple[int, int], tuple[int, int]]:
        if self.team > 1:
            groups = min(self.outer * self.inner, 64 * self.device.capabilities.compute_units)
            return (groups * self.team, self.chunks), (self.team, 1)
        elements = self.outer * self.n * self.inner
        (size,), (local,) = map.ranges(self.device, self.units, elements)
        return (size, self.chunks), (local, 1)
