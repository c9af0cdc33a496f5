"""Planners that take rows of an array by index, and the gradient that adds rows up by index."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import copy, expr, layout, map, template
from clgrad.kernels.access import MAX_WIDTH, fitting, vector_width
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

MODES = ("clip", "wrap")
#: Columns that the gradient's CPU work-items take at a time, at least.
CPU_COLUMNS = 256
#: Elements that CPUs take by one index at a time, where these are apart from each other; so few that what
#: they are read from stays in a cache.
GROUP = 8
#: Work-items of the gradient for each compute unit of a GPU; each of them reads every index.
GPU_OWNERS = 256


def plan_take(
    device: Device,
    name: str,
    data_shape: Sequence[int],
    indices_shape: Sequence[int],
    axis: int,
    mode: str,
    dtype: np.dtype,
    index_dtype: np.dtype,
) -> Plan:
    """Plan ``data[..., indices, ...]`` along one axis.

    Inputs: data, indices. Outputs: an array of shape ``data_shape[:axis] + indices_shape +
    data_shape[axis + 1:]``; elements are copied bit by bit.

    Indices of any dtype are truncated towards zero. Mode ``clip`` moves what lies outside to the
    nearest end, ``wrap`` takes it modulo the size of the axis (-1 is the last element), NaN counts
    as 0. (MXNet's mode ``raise`` is a reduction and a wait for its result: the caller's business.)

    Raises
    ------
    OperatorError
        The axis, the mode, or an axis of size 0 of which something is to be taken.
    """
    axis = _check(name, data_shape, indices_shape, axis, mode)
    out_shape = (*data_shape[:axis], *indices_shape, *data_shape[axis + 1 :])
    take = _Take(device, data_shape, indices_shape, axis, mode, dtype, index_dtype)
    outputs = [(out_shape, dtype)]
    if math.prod(out_shape) == 0:
        return Plan(device, [], outputs, inputs=2)
    take.width = _copy_width(device, dtype, take.inner)
    take.signature.array("data", dtype, In(0))
    take.signature.array("indices", index_dtype, In(1))
    take.signature.array("y", dtype, Out(0))
    take.sizes()
    take.group = min(GROUP, take.outer)
    nbytes = math.prod(out_shape) * dtype.itemsize
    take.streams = copy.streams_lines(device, take.width * dtype.itemsize, nbytes)
    take.abreast = take.streams and take.inner % take.width == 0
    rows = take.outer * take.taken
    sizes = ranges(device, rows * -(-take.inner // take.width), rows * take.inner)
    step = replace(take.step(name, "take", sizes), touches={In(0): math.prod(out_shape) * dtype.itemsize})
    return Plan(device, [step], outputs, inputs=2)


def plan_take_grad(
    device: Device,
    name: str,
    data_shape: Sequence[int],
    indices_shape: Sequence[int],
    axis: int,
    mode: str,
    dtype: np.dtype,
    index_dtype: np.dtype,
) -> Plan:
    """Plan the gradient of :func:`plan_take` with respect to the data.

    Inputs: dy, indices. Outputs: dx of ``data_shape``: each row the sum of the rows of dy that were
    taken from it, added in the order of the indices; 0 where none was.
    """
    axis = _check(name, data_shape, indices_shape, axis, mode)
    take = _Take(device, data_shape, indices_shape, axis, mode, dtype, index_dtype)
    outputs = [(tuple(data_shape), dtype)]
    if math.prod(data_shape) == 0:
        return Plan(device, [], outputs, inputs=2)
    compute = dtypes.compute_type(dtype)
    take.accumulator = compute if compute != dtype else None
    scratch = [math.prod(data_shape) * compute.itemsize] if take.accumulator else []
    blocks, owners, sizes = _owners(take)
    take.signature.array("dy", dtype, In(0))
    take.signature.array("indices", index_dtype, In(1))
    take.signature.array("dx", dtype, Out(0))
    if take.accumulator:
        take.signature.array("total", compute, Scratch(0))
    take.sizes()
    take.signature.fixed("column_blocks", blocks)
    take.signature.fixed("row_blocks", owners)
    return Plan(device, [take.step(name, "grad", sizes)], outputs, inputs=2, scratch=scratch)


class _Take:
    """Sizes and types of a take: data is (outer, n, inner), the result (outer, taken, inner)."""

    def __init__(self, device, data_shape, indices_shape, axis, mode, dtype, index_dtype):
        self.device, self.mode, self.dtype, self.index_dtype = device, mode, dtype, index_dtype
        self.outer = math.prod(data_shape[:axis])
        self.n = data_shape[axis]
        self.inner = math.prod(data_shape[axis + 1 :])
        self.taken = math.prod(indices_shape)
        self.width = self.group = 1
        self.streams = self.abreast = False
        self.accumulator: np.dtype | None = None
        largest = (self.outer, max(self.n, self.taken), self.inner)
        self.signature = Signature(layout.needs_long(largest, []))

    def sizes(self) -> None:
        """Add the sizes to the kernel's parameters."""
        for name in ("outer", "n", "inner", "taken"):
            self.signature.fixed(name, getattr(self, name))

    def step(self, name: str, mode: str, sizes: tuple[tuple[int], tuple[int]]) -> Step:
        """The launch of the kernel ``mode`` (take or grad) of the template."""
        source = template.render("take", name=name, kernel=mode, t=self)
        return Step(name, source, *sizes, self.signature.args)


def _check(op: str, data_shape, indices_shape, axis: int, mode: str) -> int:
    rank = len(data_shape)
    if not -rank <= axis < rank:
        raise OperatorError(f"{op}: axis={axis}; accepted: {-rank} to {rank - 1}")
    if mode not in MODES:
        raise OperatorError(f"{op}: mode={mode!r}; accepted: {', '.join(MODES)}")
    if data_shape[axis] == 0 and math.prod(indices_shape):
        raise OperatorError(f"{op}: data has shape {tuple(data_shape)}, nothing to take along axis {axis}")
    return axis % rank


def _copy_width(device: Device, dtype: np.dtype, columns: int) -> int:
    """Elements that move at a time: a register's worth of what is stored."""
    register = device.capabilities.vector_bytes if device.kind == "cpu" else 16
    return fitting(min(MAX_WIDTH, register // dtype.itemsize), columns)


def _owners(take: _Take) -> tuple[int, int, tuple[tuple[int], tuple[int]]]:
    """Column blocks, row blocks, and ranges of the gradient: an owner has one block of each.

    Every owner reads all indices, so there are no more owners than keep the device busy. On a GPU,
    neighbours own neighbouring columns, so that they read and write neighbouring addresses.
    """
    device = take.device
    units = device.capabilities.compute_units
    if device.kind == "cpu":
        take.width = fitting(vector_width(device.capabilities.vector_bytes, [take.dtype]), take.inner)
        wanted = -(-units // take.outer)
        blocks = min(wanted, -(-take.inner // CPU_COLUMNS))
    else:
        wanted = -(-GPU_OWNERS * units // take.outer)
        blocks = take.inner
    owners = min(take.n, -(-wanted // blocks))
    total = take.outer * blocks * owners
    if device.kind == "cpu":
        return blocks, owners, ((total,), (1,))
    return blocks, owners, ranges(device, total, total)


def whole(index: Expr) -> Expr:
    """An index of any dtype as a whole number: truncated, NaN as 0, infinity as far outside.

    In 32 bits where they hold it: less work for GPUs, and Mesa 22.3 (llvmpipe) gets comparisons of a
    widened int with a constant wrong.
    """
    if index.dtype.kind != "f":
        return expr.cast(index, dtypes.int32 if index.dtype.itemsize <= 4 else dtypes.int64)
    far = 2.0**62
    limited = expr.where(index > far, far, expr.where(index < -far, -far, index))
    return expr.cast(expr.where(index != index, 0, limited), dtypes.int64)


def place(index: Expr, n: int, mode: str) -> Expr:
    """The place from 0 to n - 1 that an index of any dtype stands for.

    ``clip`` and ``wrap`` are those of :func:`plan_take`; ``below`` counts negative indices from the end
    first, and then moves what lies outside to the nearest place; ``drop`` does too, but makes what lies
    outside -1.
    """
    if n < 2**31 and mode != "wrap" and index.dtype.kind == "f":
        found = expr.cast(index, dtypes.int32)  # what these bits cannot hold is outside as well
    else:
        found = whole(index)
    if n >= 2**31:
        found = expr.cast(found, dtypes.int64)
    if mode == "wrap":
        return expr.call("int_modulo", found, n)
    if mode == "clip":
        return expr.where(found < 0, 0, expr.where(found > n - 1, n - 1, found))
    found = expr.where(found < 0, found + n, found)
    low, high = (-1, -1) if mode == "drop" else (0, n - 1)
    return expr.where(found < 0, low, expr.where(found > n - 1, high, found))


def plan_winners(
    device: Device, name: str, shape: Sequence[int], axis: int, size: int, dtype: np.dtype
) -> Plan:
    """Plan the inverse of places along an axis: which of them, the last one, points at each place.

    Inputs: places, whole numbers of any dtype. Outputs: int32, of ``size`` along the axis; -1 where no
    place points at. What lies outside of 0 to ``size - 1`` points nowhere.
    """
    out_shape = (*shape[:axis], size, *shape[axis + 1 :])
    outputs = [(out_shape, dtypes.int32)]
    if math.prod(out_shape) == 0:
        return Plan(device, [], outputs, inputs=1)
    nowhere = map.Output(
        expr.constant(-1, dtypes.int32), layout.broadcast(out_shape, out_shape, dtypes.int32)
    )
    steps = [map.step(device, f"{name}_clear", out_shape, [nowhere], [])]
    elements = math.prod(shape)
    if elements:
        signature = Signature(layout.needs_long(out_shape, []) or layout.needs_long(shape, []))
        signature.array("places", dtype, In(0))
        signature.array("y", dtypes.int32, Out(0))
        sizes = {"outer": math.prod(shape[:axis]), "taken": shape[axis], "n": size}
        for label, number in {**sizes, "inner": math.prod(shape[axis + 1 :])}.items():
            signature.fixed(label, number)
        source = template.render("winners", name=name, signature=signature, dtype=dtype)
        steps.append(Step(name, source, *ranges(device, elements, elements), signature.args))
    return Plan(device, steps, outputs, inputs=1)
