"""Planner of sorting along one axis: values, indices, or a mask of the first k.

pyopencl's own algorithms do not serve here. ``bitonic_sort.BitonicSort`` takes lengths that are powers of
two, is not stable and compares NaN as C does. ``algorithm.RadixSort`` sorts one contiguous array of whole
numbers, so not rows along an axis, and scans all of it for each two bits of the key (a million keys with
their indices: 1,200 ms on a two-core CPU, 80 ms here). Both enqueue by themselves, so that no plan or tape
would hold their launches.
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import expr, layout, map, template
from clgrad.kernels.access import vector_width
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.signature import Signature

#: Longest list that a CPU work-item sorts by insertion.
LIST = 32
#: Elements below which a further CPU work-item costs more than it brings.
CPU_BLOCK = 4096
#: Results of a merge that a work-item writes, on a CPU and on a GPU.
CPU_TILE, GPU_TILE = 4096, 16
#: Items, and work-items, of a GPU work-group at most.
GPU_ITEMS, GPU_TEAM = 2048, 256

_INFINITY = {
    dtypes.float16: 0x7C00,
    dtypes.bfloat16: 0x7F80,
    dtypes.float32: 0x7F800000,
    dtypes.float64: 0x7FF0000000000000,
}


def plan(
    device: Device,
    name: str,
    shape: Sequence[int],
    axis: int,
    dtype: np.dtype,
    *,
    keep: int | None = None,
    ascending: bool = True,
    values: bool = False,
    indices: np.dtype | None = None,
    mask: bool = False,
) -> Plan:
    """Plan the first ``keep`` elements along an axis, in order; all of them by default.

    The order is stable: equal elements keep the order of their indices, ascending or not. NaN counts as
    the largest, -0 as equal to 0.

    Inputs: data. Outputs, as wanted: the elements (``values``), their indices along the axis in the dtype
    ``indices``, and an array like data that is 1 where an element is among the first, else 0 (``mask``).

    Raises
    ------
    OperatorError
        The axis does not exist or is too long, or there are fewer than ``keep`` elements along it.
    """
    rank = len(shape)
    if not -rank <= axis < rank:
        raise OperatorError(f"{name}: axis={axis}; accepted: {-rank} to {rank - 1}")
    n = shape[axis]
    keep = n if keep is None else keep
    if not 0 <= keep <= n or n >= 2**31:
        raise OperatorError(f"{name}: {keep} of {n} elements; accepted: up to {min(n, 2**31 - 1)}")
    sort = _Sort(device, name, shape, axis % rank, dtype, keep, ascending)
    outputs: list[tuple[tuple[int, ...], np.dtype]] = []
    kept_shape = (*shape[: sort.axis], keep, *shape[sort.axis + 1 :])
    if values:
        sort.results["values"] = Out(len(outputs))
        outputs.append((kept_shape, dtype))
    if indices is not None:
        sort.results["indices"] = Out(len(outputs))
        sort.index_dtype = indices
        outputs.append((kept_shape, indices))
    if mask:
        sort.results["mask"] = Out(len(outputs))
        outputs.append((tuple(shape), dtype))
    if math.prod(shape) == 0 or (keep == 0 and not mask):
        return Plan(device, [], outputs, inputs=1)
    steps = [_clear(device, f"{name}_clear", shape, dtype, sort.results["mask"])] if mask else []
    if keep:
        steps += sort.steps()
    return Plan(device, steps, outputs, inputs=1, scratch=sort.scratch)


def _clear(device: Device, name: str, shape, dtype, target: Out) -> Step:
    zero = expr.constant(0, dtypes.compute_type(dtype))
    outputs = [map.Output(zero, layout.broadcast(shape, shape, dtype))]
    return map.step(device, name, shape, outputs, [], targets=[target])


class _Sort:
    """The launches of a sort: blocks first, then merges of the runs that they leave."""

    def __init__(self, device, name, shape, axis, dtype, keep, ascending):
        self.device, self.name, self.dtype = device, name, dtype
        self.axis, self.kept, self.ascending = axis, keep, ascending
        self.outer, self.n = math.prod(shape[:axis]), shape[axis]
        self.inner = math.prod(shape[axis + 1 :])
        self.rows = self.outer * self.inner
        self.gpu = device.kind != "cpu"
        self.item_bytes = 16 if dtype.itemsize == 8 else 8
        self.results: dict[str, Out] = {}
        self.index_dtype: np.dtype | None = None
        self.scratch: list[int] = []
        #: Where the items that are not sorted through lie, how many in a row, and in runs of which length.
        self.source: Scratch | None = None
        self.count = self.n
        self.run = 1

    def steps(self) -> list[Step]:
        """All launches, in order."""
        steps = [self._block()]
        while self.count > self.kept or self.run < self.count:
            # What is kept of a few blocks fits into one again, where little is kept.
            steps.append(self._block() if 2 * self.kept <= self._block_size() else self._merge())
        return steps

    def _block_size(self) -> int:
        if self.gpu:
            limit = self.device.capabilities.local_memory // 2 // self.item_bytes
            return 2 ** (min(GPU_ITEMS, limit).bit_length() - 1)
        wanted = max(1, 2 * self.device.capabilities.compute_units // self.rows)
        return max(CPU_BLOCK, -(-self.count // wanted))

    def _block(self) -> Step:
        size = min(self._block_size(), _power_of_two(self.count) if self.gpu else self.count)
        blocks = -(-self.count // size)
        kernel = _Kernel(self, self._out_count(size), min(size, self.kept))
        kernel.fixed(blocks=blocks, block_size=size)
        units = self.rows * blocks
        if self.gpu:
            what = "block"
            kernel.items = self._block_size()
            kernel.segment, kernel.segments = size, kernel.items // size
            kernel.team = min(GPU_TEAM, _floor_power(self.device.capabilities.max_work_group_size))
            kernel.team = min(kernel.team, max(1, kernel.items // 2))
            groups = -(-units // kernel.segments)
            ranges = (groups * kernel.team,), (kernel.team,)
        else:
            ranges = map.ranges(self.device, units, self.rows * self.count)
            kernel.keep = min(size, self.kept)
            what = "list" if kernel.keep <= LIST else "radix"
            if what == "list" and not kernel.encoded and self.inner == 1:
                kernel.skips = vector_width(self.device.capabilities.vector_bytes, [self.dtype])
            if what == "radix":
                kernel.work(ranges[0][0] * 2 * size)
        return kernel.step(what, ranges)

    def _merge(self) -> Step:
        pairs = -(-self.count // (2 * self.run))
        out_run = min(2 * self.run, self.kept)
        kernel = _Kernel(self, self._out_count(2 * self.run), out_run)
        kernel.tile = GPU_TILE if self.gpu else CPU_TILE
        tiles = -(-out_run // kernel.tile)
        kernel.fixed(pairs=pairs, tiles=tiles)
        ranges = map.ranges(self.device, self.rows * pairs * tiles, self.rows * pairs * out_run)
        return kernel.step("merge", ranges)

    def _out_count(self, group: int) -> int:
        """Items of a row that are left once the first ``kept`` of each group remain."""
        whole, rest = divmod(self.count, group)
        return whole * min(group, self.kept) + min(rest, self.kept)


class _Kernel:
    """One launch, as the template sees it."""

    def __init__(self, sort: _Sort, out_count: int, out_run: int):
        self.sort, self.out_count, self.out_run = sort, out_count, out_run
        self.device, self.dtype, self.ascending = sort.device, sort.dtype, sort.ascending
        self.infinity = _INFINITY.get(sort.dtype, 0)
        self.signed = sort.dtype.kind == "i"
        self.one = int(np.ones(1, sort.dtype).view(f"u{sort.dtype.itemsize}")[0])
        self.encoded = sort.source is not None
        self.final = out_count == sort.kept and out_run == sort.kept
        self.values, self.mask = "values" in sort.results, "mask" in sort.results
        self.indices = sort.index_dtype
        self.run = sort.run
        self.keep = self.skips = self.items = self.segment = self.segments = self.team = self.tile = 0
        largest = max(sort.n, sort.count) * sort.rows
        self.signature = Signature(layout.needs_long((2 * largest,), []))
        self._arrays()
        for size in ("rows", "n", "inner", "kept", "count", "run"):
            self.signature.fixed(size, getattr(sort, size))
        self.fixed(out_count=out_count, out_run=out_run)

    def _arrays(self) -> None:
        sort, signature = self.sort, self.signature
        if not self.encoded or (self.final and self.values):
            signature.array("data", self.dtype, In(0))
        if sort.source is not None:
            signature.array("items_in", dtypes.int64, sort.source)
        if not self.final:
            self.target = self._memory(sort.rows * self.out_count)
            signature.array("items_out", dtypes.int64, self.target)
            return
        if self.values:
            signature.array("values_out", self.dtype, sort.results["values"])
        if self.indices is not None:
            signature.array("indices", self.indices, sort.results["indices"])
        if self.mask:
            signature.array("mask_out", self.dtype, sort.results["mask"])

    def _memory(self, items: int) -> Scratch:
        self.sort.scratch.append(items * self.sort.item_bytes)
        return Scratch(len(self.sort.scratch) - 1)

    def work(self, items: int) -> None:
        """Memory that the work-items sort in."""
        self.signature.array("work", dtypes.int64, self._memory(items))

    def fixed(self, **sizes: int) -> None:
        """Further sizes."""
        for size, value in sizes.items():
            self.signature.fixed(size, value)

    def step(self, what: str, ranges: tuple[tuple[int], tuple[int]]) -> Step:
        """The launch; what is left to sort afterwards is noted in the sort."""
        sort = self.sort
        name = sort.name if self.final else f"{sort.name}_{what}"
        source = template.render("sort", name=name, kernel=what, s=self)
        sort.count, sort.run = self.out_count, self.out_run
        if not self.final:
            sort.source = self.target
        return Step(name, source, *ranges, self.signature.args)


def _power_of_two(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()


def _floor_power(number: int) -> int:
    """The largest power of two that is not above a number."""
    return 1 << (number.bit_length() - 1)
