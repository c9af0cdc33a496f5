"""Moving elements along an axis to other places, each to one place at most.

``move`` is its own kind of gradient: the elements go back to where they came from. Selecting is a running
sum of the mask and two moves; ``pyopencl.algorithm.copy_if`` would serve for one contiguous
array, but enqueues by itself, and has the scan of :mod:`clgrad.kernels.scan`'s note under it.
"""

import math

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, index, layout, map
from clgrad.kernels.layout import Operand
from clgrad.ops.arguments import one_axis
from clgrad.ops.arithmetic import greater_equal, not_equal
from clgrad.ops.conversion import cast
from clgrad.ops.scan import cumsum
from clgrad.ops.selection import select
from clgrad.ops.shape import along
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_winners")
def winners(call: Call, places: Spec, *, axis, size):
    """At each of ``size`` places along an axis, the last index whose place it is, or -1 (int32)."""
    return index.plan_winners(
        call.device, call.kernel(places.dtype), places.shape, axis, size, places.dtype
    )


@operator(name="_move")
def move(call: Call, data: Spec, places: Spec, *, axis):
    """Along an axis, the elements of data at ``places``; 0 where a place is below 0.

    Places are whole numbers below the size of the axis, none of them twice, in a vector or in an array of
    the shape of the result.
    """
    taken = places.shape[0] if len(places.shape) == 1 else places.shape[axis]
    shape = (*data.shape[:axis], taken, *data.shape[axis + 1 :])
    own = layout.contiguous_strides(data.shape)
    if len(places.shape) == 1:
        steps = tuple(int(a == axis) for a in range(len(shape)))
    else:
        steps = layout.contiguous_strides(places.shape)
    rest = Operand(None, tuple(0 if a == axis else stride for a, stride in enumerate(own)))
    place = expr.operand(1, places.dtype)
    address = expr.index(2) + expr.cast(expr.where(place < 0, 0, place), dtypes.int64) * own[axis]
    value = expr.where(place < 0, 0, expr.lookup(0, data.dtype, address))
    if math.prod(data.shape) == 0:  # nothing to look up, so every place is below 0
        value = expr.constant(0, value.dtype)
    operands = [Operand(data.dtype, (0,) * len(shape)), Operand(places.dtype, steps), rest]
    outputs = [map.Output(value, layout.broadcast(shape, shape, data.dtype))]
    return map.plan(call.device, call.kernel(data.dtype), shape, outputs, operands)


@move.joint_gradient("data")
def _(dy, places, data_shape, axis):
    """dy, moved back."""
    along = 0 if places.ndim == 1 else axis
    return (move(dy, winners(places, axis=along, size=data_shape[axis]), axis=axis),)


@composite(name="contrib.boolean_mask", aliases=("boolean_mask",), arrays=("data", "index"))
def boolean_mask(data, index, axis=0):
    """The parts of data along an axis at which the vector ``index`` is not 0.

    How many there are decides the shape of the result, so this waits for the device.
    """
    axis = one_axis("boolean_mask", axis, data.ndim)
    size = data.shape[axis]
    if index.shape != (size,):
        raise argument_error("boolean_mask", "index", f"of shape {index.shape}", f"({size},)")
    if size == 0:
        return move(data, cast(index, dtype="int32"), axis=axis)
    chosen = cast(not_equal(index.detach(), 0), dtype="int32")
    up_to = cumsum(chosen, axis=0)
    count = int(up_to[size - 1].asscalar())
    places = select(chosen, up_to - 1, -1)
    return move(data, winners(places, axis=0, size=count), axis=axis)


@composite(
    name="contrib.index_copy", aliases=("index_copy",), arrays=("old_tensor", "index_vector", "new_tensor")
)
def index_copy(old_tensor, index_vector, new_tensor):
    """``old_tensor`` with the rows (along the first axis) at ``index_vector`` replaced by new_tensor's.

    Where an index is given twice, its last row counts and gets the gradient. Indices outside are left out.
    """
    rows = old_tensor.shape[:1]
    if index_vector.ndim != 1:
        raise argument_error("index_copy", "index_vector", f"of shape {index_vector.shape}", "one axis")
    expected = (*index_vector.shape, *old_tensor.shape[1:])
    if not rows or new_tensor.shape != expected:
        raise argument_error("index_copy", "new_tensor", f"of shape {new_tensor.shape}", f"{expected}")
    source = winners(index_vector.detach(), axis=0, size=rows[0])
    return replaced(old_tensor, source, new_tensor)


def replaced(old: NDArray, source: NDArray, new: NDArray) -> NDArray:
    """Row i is row ``source[i]`` of new, or that of old where the source is below 0."""
    given = along(greater_equal(source, 0), old.ndim, 0)
    return select(given, move(new, source, axis=0), old)
