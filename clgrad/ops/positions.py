"""Reading and writing at positions: what advanced indices mean (see :mod:`clgrad.kernels.positions`)."""

import math

from clgrad import dtypes
from clgrad.kernels import positions as planners
from clgrad.kernels.positions import Region
from clgrad.ops.arithmetic import equal
from clgrad.ops.creation import _arange, _full
from clgrad.ops.selection import select
from clgrad.ops.shape import sum_to, with_shape
from clgrad.registry import Call, Spec, operator


@operator(name="_positions", label="indexing")
def positions_of(call: Call, *indices: Spec, extents, strides, dtype):
    """The sum of index times stride of index arrays, which broadcast against each other."""
    target = dtypes.resolve(dtype)
    return planners.plan_positions(
        call.device, call.kernel(target, "positions"), indices, extents, strides, target
    )


def _region(call: Call, size, positions: Spec, strides, base: int, axis: int) -> Region:
    places = len(positions.shape)
    if tuple(size[axis : axis + places]) != positions.shape:
        raise call.error("positions", f"of shape {positions.shape}", f"the axes from {axis} on of {size}")
    return Region(tuple(size), tuple(strides), base, axis, places)


@operator(name="_read_at", label="indexing")
def read_at(call: Call, data: Spec, positions: Spec, *, size, strides, base, axis, unique):
    """A region of the array, with the shape ``size``; ``unique`` says that no position comes twice."""
    region = _region(call, size, positions, strides, base, axis)
    return planners.plan_read(
        call.device, call.kernel(data.dtype, "read"), region, data.dtype, positions.dtype
    )


@operator(name="_add_at", label="indexing")
def add_at(call: Call, data: Spec, positions: Spec, *, shape, strides, base, axis, unique):
    """Zeros of ``shape``, and data added at the places of a region, in the order of positions."""
    region = _region(call, data.shape, positions, strides, base, axis)
    name = call.kernel(data.dtype, "add")
    return planners.plan_add(call.device, name, region, shape, data.dtype, positions.dtype, unique)


read_at.gradient(
    data=lambda dy, positions, data_shape, strides, base, axis, unique: add_at(
        dy, positions, shape=data_shape, strides=strides, base=base, axis=axis, unique=unique
    )
)
add_at.gradient(
    data=lambda dy, positions, data_shape, strides, base, axis, unique: read_at(
        dy, positions, size=data_shape, strides=strides, base=base, axis=axis, unique=unique
    )
)


@operator(name="_write_at", label="indexing")
def write_at(call: Call, value: Spec, positions: Spec, *, shape, size, strides, base, axis, unique):
    """Write value to a region of ``out`` (which must be given), of the shape ``size``.

    Where a position comes twice, what comes last in the order of positions stays; value must then have
    the shape of the region.
    """
    region = _region(call, size, positions, strides, base, axis)
    name = call.kernel(value.dtype, "write")
    return planners.plan_write(
        call.device, name, region, value.shape, shape, value.dtype, positions.dtype, unique
    )


@write_at.joint_gradient("value")
def _(dy, positions, value_shape, shape, size, strides, base, axis, unique):
    """What was written has the gradient of where it is; what was written over has none."""
    gradient = read_at(dy, positions, size=size, strides=strides, base=base, axis=axis, unique=unique)
    if not unique:
        survives = _survives(positions, math.prod(shape), tuple(size), axis)
        gradient = select(survives, gradient, 0)
    return (gradient if gradient.shape == value_shape else sum_to(gradient, shape=value_shape),)


def _survives(positions, count: int, size: tuple[int, ...], axis: int):
    """1 where no later position is the same, else 0, in a shape that broadcasts to the region."""
    context, shape = positions.context, positions.shape
    order = _arange.create(context, size=positions.size, repeat=1, dtype="int32", start=0, step=1)
    order = with_shape(order, shape=shape)
    last = _full.create(context, shape=(count,), dtype="int32", value=-1)
    line = {"size": shape, "strides": (0,) * len(shape), "base": 0, "axis": 0, "unique": False}
    write_at(order, positions, shape=(count,), out=last, **line)
    survives = equal(read_at(last, positions, **line), order)
    after = len(size) - axis - len(shape)
    return with_shape(survives, shape=(*shape, *(1,) * after))


@operator(name="_mask_counts", label="indexing")
def mask_counts(call: Call, mask: Spec):
    """How many elements of each chunk of a mask are true."""
    (size,) = mask.shape
    return planners.plan_mask_counts(call.device, call.kernel(mask.dtype, "count"), size)


@operator(name="_mask_positions", label="indexing")
def mask_positions(call: Call, mask: Spec, counts: Spec, *, true, stride, dtype):
    """The places of the ``true`` true elements of a mask, times ``stride``, in order."""
    (size,) = mask.shape
    target = dtypes.resolve(dtype)
    return planners.plan_mask_positions(
        call.device, call.kernel(mask.dtype, "fill"), size, true, stride, target
    )
