"""Planners that read and write arrays at positions that other arrays hold: advanced indexing.

All index arrays of a key become one array of *positions*, each the sum of index times stride over the axes
that are indexed. What is left of the key, slices and whole axes, is strided as in any kernel. So element p
of the region is at ``base + sum(p[a] * strides[a]) + positions[p]``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import expr, layout, map, template
from clgrad.kernels.access import MAX_WIDTH, Access, fitting, vector_width
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.layout import Operand
from clgrad.kernels.signature import Signature

#: Terms of a sum below which a further owner costs more than it brings; each reads every position.
GRAIN = 4096
#: Columns that a CPU work-item takes at a time, at least.
CPU_COLUMNS = 256
#: Owners for each compute unit of a GPU.
GPU_OWNERS = 256
#: Mask elements that a work-item counts, at least, and the most work-items that do so.
MASK_GRAIN = 64
MASK_CHUNKS = {"cpu": 64, "gpu": 4096}

#: Types that stand for any type of their size where bits are copied.
_BITS = {1: dtypes.uint8, 2: dtypes.int16, 4: dtypes.int32, 8: dtypes.int64}


@dataclass(frozen=True)
class Region:
    """Where in an array a key reads or writes.

    Attributes
    ----------
    shape : tuple of int
        Of the region: of what is read, or written.
    strides : tuple of int
        Elements of the array to step along each axis; 0 along those of positions.
    base : int
        Address of the region's first element, without its position.
    axis, places : int
        The first of the axes that are those of positions, and how many there are.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    base: int
    axis: int
    places: int

    def positions_strides(self) -> tuple[int, ...]:
        """Strides of positions over the region."""
        own = layout.contiguous_strides(self.shape[self.axis : self.axis + self.places])
        after = len(self.shape) - self.axis - self.places
        return (0,) * self.axis + own + (0,) * after


def plan_positions(
    device: Device,
    name: str,
    indices: Sequence[tuple[tuple[int, ...], np.dtype]],
    extents: Sequence[int],
    strides: Sequence[int],
    dtype: np.dtype,
) -> Plan:
    """Plan ``sum(index[k] * strides[k])`` of index arrays, broadcast against each other.

    Inputs: the arrays. Indices below 0 count from the end of their axis, of size ``extents[k]``; those
    outside go to the nearest end, since the host does not know them. Real indices lose their fraction.
    """
    shape = np.broadcast_shapes(*(s for s, _ in indices))
    total = None
    for slot, ((_, own), extent, stride) in enumerate(zip(indices, extents, strides, strict=True)):
        term = _inside(expr.operand(slot, own), extent) * stride
        total = term if total is None else total + term
    assert total is not None
    operands = [layout.broadcast(s, shape, d) for s, d in indices]
    return map.plan(
        device, name, shape, [map.Output(total, layout.broadcast(shape, shape, dtype))], operands
    )


def _inside(index: expr.Expr, extent: int) -> expr.Expr:
    """The index as a whole number from 0 to extent - 1."""
    if index.dtype.kind == "f":
        far = 2.0**62  # what a long holds; NaN fails every comparison and becomes the first index
        index = expr.where(index > -far, index, -far)
        index = expr.where(index < far, index, far)
    index = expr.cast(index, dtypes.int64)
    index = expr.where(index < 0, index + extent, index)
    index = expr.where(index < 0, 0, index)
    return expr.where(index < extent, index, extent - 1)


def plan_read(device: Device, name: str, region: Region, dtype: np.dtype, index: np.dtype) -> Plan:
    """Plan a copy of a region, bit by bit. Inputs: data, positions."""
    outputs = [(region.shape, dtype)]
    if math.prod(region.shape) == 0:
        return Plan(device, [], outputs, inputs=2)
    step = _copy(device, name, region, index, dtype, region.shape, read=True)
    return Plan(device, [step], outputs, inputs=2)


def plan_write(
    device: Device,
    name: str,
    region: Region,
    value_shape: Sequence[int],
    array_shape: Sequence[int],
    dtype: np.dtype,
    index: np.dtype,
    unique: bool,
) -> Plan:
    """Plan a write to a region, of an output of ``array_shape`` that keeps its other elements.

    Inputs: value, which broadcasts to the region, and positions. Where positions are not ``unique``, the
    last one in C order wins; the value must then have the region's shape.
    """
    outputs = [(tuple(array_shape), dtype)]
    if math.prod(region.shape) == 0:
        return Plan(device, [], outputs, inputs=2)
    if unique:
        step = _copy(device, name, region, index, dtype, value_shape, read=False)
    else:
        bits = _BITS[dtype.itemsize]
        step = _in_order(device, name, region, index, bits, bits, Out(0), "=")
    return Plan(device, [step], outputs, inputs=2)


def plan_add(
    device: Device,
    name: str,
    region: Region,
    array_shape: Sequence[int],
    dtype: np.dtype,
    index: np.dtype,
    unique: bool,
) -> Plan:
    """Plan the transpose of :func:`plan_read`: zeros, plus dy at the region's places.

    Inputs: dy, positions. What has one position is added in C order, in the compute type.
    """
    outputs = [(tuple(array_shape), dtype)]
    size = math.prod(array_shape)
    if size == 0:
        return Plan(device, [], outputs, inputs=2)
    compute = dtype if unique else dtypes.compute_type(dtype)
    target: Out | Scratch = Out(0) if compute == dtype else Scratch(0)
    line = Operand(compute, (1,))
    zero = map.Output(expr.constant(0, dtypes.compute_type(dtype)), line)
    steps = [map.step(device, f"{name}_clear", (size,), [zero], [], targets=[target])]
    if math.prod(region.shape):
        if unique:
            steps.append(_copy(device, name, region, index, dtype, region.shape, read=False))
        else:
            steps.append(_in_order(device, name, region, index, dtype, compute, target, "+="))
    if compute != dtype:
        rounded = map.Output(expr.operand(0, compute), Operand(dtype, (1,)))
        steps.append(map.step(device, f"{name}_round", (size,), [rounded], [line], sources=[Scratch(0)]))
    scratch = [size * compute.itemsize] if compute != dtype else []
    return Plan(device, steps, outputs, inputs=2, scratch=scratch)


def _copy(
    device: Device,
    name: str,
    region: Region,
    index: np.dtype,
    dtype: np.dtype,
    own_shape: Sequence[int],
    read: bool,
) -> Step:
    """One launch of an elementwise kernel with positions: from the region where ``read``, else into it.

    The other array is C-contiguous, and broadcast to the region from ``own_shape``.
    """
    bits = _BITS[dtype.itemsize]
    far = Operand(bits, region.strides, region.base)
    near = layout.broadcast(own_shape, region.shape, bits)
    places = Operand(index, region.positions_strides())
    operands = {"y": near, "x": far, "at": places} if read else {"y": far, "x": near, "at": places}
    sizes, strides = layout.merge_axes(region.shape, [o.strides for o in operands.values()])
    y, x, at = (Access(key, o, s) for (key, o), s in zip(operands.items(), strides, strict=True))
    signature = Signature(layout.needs_long(region.shape, [far, near]) or index == dtypes.int64)
    y.declare(signature, Out(0))
    x.declare(signature, In(0))
    at.declare(signature, In(1))
    outer_sizes = signature.rows(sizes)
    width = 1
    if at.inner == 0 and y.inner == x.inner == 1 and sizes[-1] > 1:
        width = fitting(_copy_width(device, dtype), sizes[-1])
    source = template.render(
        "map",
        name=name,
        shape=device.kind,
        signature=signature,
        helpers=[],
        width=width,
        streams=False,
        aligned=False,
        outer_sizes=outer_sizes,
        accesses=[y, x, at],
        row_body=[],
        vector_body=_copy_lines(y, x, at, width, read),
        scalar_body=_copy_lines(y, x, at, 1, read),
    )
    blocks = math.prod(sizes[:-1]) * -(-sizes[-1] // width)
    return Step(name, source, *map.ranges(device, blocks, math.prod(sizes)), signature.args)


def _copy_lines(y: Access, x: Access, at: Access, width: int, read: bool) -> list[str]:
    """C statements that copy ``width`` neighbouring elements; one position serves them all."""
    position = f"at_row + column * {at.step(len(at.strides) - 1)}"
    lines = [f"const index_t place = (index_t)at[{position}];"]
    to, source = (f"{a.name}_row + column * {a.step(len(a.strides) - 1)}" for a in (y, x))
    if read:
        source += " + place"
    else:
        to += " + place"
    if width == 1:
        lines.append(f"y[{to}] = x[{source}];")
    else:
        lines.append(f"vstore{width}(vload{width}(0, x + ({source})), 0, y + ({to}));")
    return lines


def _copy_width(device: Device, dtype: np.dtype) -> int:
    register = device.capabilities.vector_bytes if device.kind == "cpu" else map.GPU_VECTOR_BYTES
    return min(MAX_WIDTH, register // dtype.itemsize)


def _in_order(
    device: Device,
    name: str,
    region: Region,
    index: np.dtype,
    dtype: np.dtype,
    total: np.dtype,
    target: Out | Scratch,
    operator: str,
) -> Step:
    """One launch that applies ``y[place] operator x`` in the order of positions."""
    first, stop = region.axis, region.axis + region.places
    shape = region.shape[:first] + region.shape[stop:]
    far_strides = region.strides[:first] + region.strides[stop:]
    own = layout.contiguous_strides(region.shape)
    sizes, (y_strides, x_strides) = layout.merge_axes(shape, [far_strides, own[:first] + own[stop:]])
    count = math.prod(region.shape[first:stop])
    y = Access("y", Operand(total, region.strides, region.base), y_strides)
    x = Access("x", Operand(dtype, own), x_strides)
    signature = Signature(layout.needs_long(region.shape, [y.operand, x.operand]) or index == dtypes.int64)
    y.declare(signature, target)
    x.declare(signature, In(0))
    signature.array("at", index, In(1))
    outer_sizes = signature.rows(sizes)
    rows, columns = math.prod(sizes[:-1]), sizes[-1]
    width = 1
    if device.kind == "cpu" and y.inner == x.inner == 1:
        width = fitting(vector_width(device.capabilities.vector_bytes, [dtype, total]), columns)
    blocks, classes = _owners(device, rows, columns, count)
    signature.fixed("column_blocks", blocks)
    signature.fixed("classes", classes)
    signature.fixed("count", count)
    signature.fixed("x_count", own[stop - 1] if stop > first else 0)
    source = template.render(
        "positions",
        name=name,
        cpu=device.kind == "cpu",
        signature=signature,
        width=width,
        outer_sizes=outer_sizes,
        y=y,
        x=x,
        operator=operator,
        bits=operator == "=",
    )
    owners = rows * blocks * classes
    sizes_ = ((owners,), (1,)) if device.kind == "cpu" else map.ranges(device, owners, owners)
    return Step(name, source, *sizes_, signature.args)


def _owners(device: Device, rows: int, columns: int, count: int) -> tuple[int, int]:
    """Blocks of columns, and classes of positions: an owner has one block of each row and one class.

    Every owner reads all positions, so there are no more owners than keep the device busy.
    """
    units = device.capabilities.compute_units
    work = max(1, rows * columns * count // GRAIN)
    if device.kind == "cpu":
        wanted = -(-min(units, work) // rows)
        blocks = max(1, min(wanted, columns // CPU_COLUMNS))
    else:
        wanted = -(-min(GPU_OWNERS * units, work) // rows)
        blocks = columns
    return blocks, max(1, min(-(-wanted // blocks), count))


# Masks


def mask_chunks(device: Device, size: int) -> int:
    """Into how many chunks a mask of ``size`` elements is cut."""
    return max(1, min(MASK_CHUNKS[device.kind], size // MASK_GRAIN))


def plan_mask_counts(device: Device, name: str, size: int) -> Plan:
    """Plan the number of true elements in each chunk of a mask. Inputs: mask. Outputs: int32 counts."""
    chunks = mask_chunks(device, size)
    signature = Signature(layout.needs_long((size,), []))
    signature.array("mask", dtypes.bool_, In(0))
    signature.array("counts", dtypes.int32, Out(0))
    step = _mask_step(device, name, "count", signature, size, chunks, 1)
    return Plan(device, [step], [((chunks,), dtypes.int32)], inputs=1)


def plan_mask_positions(
    device: Device, name: str, size: int, true: int, stride: int, dtype: np.dtype
) -> Plan:
    """Plan the places of a mask's ``true`` true elements, times ``stride``. Inputs: mask, counts."""
    outputs = [((true,), dtype)]
    if true == 0:
        return Plan(device, [], outputs, inputs=2)
    signature = Signature(layout.needs_long((size * stride,), []))
    signature.array("mask", dtypes.bool_, In(0))
    signature.array("counts", dtypes.int32, In(1))
    signature.array("places", dtype, Out(0))
    step = _mask_step(device, name, "fill", signature, size, mask_chunks(device, size), stride)
    return Plan(device, [step], outputs, inputs=2)


def _mask_step(device, name, kernel, signature: Signature, size: int, chunks: int, stride: int) -> Step:
    signature.fixed("size", size)
    signature.fixed("chunks", chunks)
    signature.fixed("stride", stride)
    source = template.render("nonzero", name=name, kernel=kernel, signature=signature)
    ranges = ((chunks,), (1,)) if device.kind == "cpu" else map.ranges(device, chunks, chunks)
    return Step(name, source, *ranges, signature.args)
