"""Indices of several axes at once: to and from positions in C order, and gathering and scattering by them.

An array of multi-indices has one row of coordinates for each axis, shape (axes, ...).
"""

import math

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, index, layout, map
from clgrad.kernels.launch import In, Out, Plan
from clgrad.kernels.layout import Operand
from clgrad.ops.arguments import one_axis, per_axis
from clgrad.ops.creation import shape_of
from clgrad.ops.indexing import take_rows
from clgrad.ops.moving import move, winners
from clgrad.ops.shape import reshape, with_shape
from clgrad.registry import Call, Spec, composite, operator


def _coordinates(data: Spec, count: int) -> tuple[int, list[Operand]]:
    """How many multi-indices there are, and one operand for each row of coordinates."""
    size = math.prod(data.shape[1:])
    return size, [Operand(data.dtype, (1,), axis * size) for axis in range(count)]


def _positions(call: Call, data: Spec, shape, dtype, mode: str | None) -> Plan:
    """Plan positions in an array of ``shape``, from coordinates taken as they are or as ``mode`` says."""
    size, operands = _coordinates(data, len(shape))
    position: expr.Expr | None = None
    outside: expr.Expr | None = None
    for axis, stride in enumerate(layout.contiguous_strides(shape)):
        coordinate = expr.operand(axis, data.dtype)
        found = index.place(coordinate, shape[axis], mode) if mode else index.whole(coordinate)
        if mode == "drop":
            outside = (found < 0) if outside is None else outside + (found < 0)
        step = expr.cast(found, dtypes.int64) * stride
        position = step if position is None else position + step
    assert position is not None
    value = position if outside is None else expr.where(outside, -1, position)
    outputs = [map.Output(value, Operand(dtype, (1,)))]
    steps = []
    if size:
        sources = [In(0)] * len(operands)
        steps = [map.step(call.device, call.kernel(dtype), (size,), outputs, operands, sources=sources)]
    return Plan(call.device, steps, [(data.shape[1:], dtype)], inputs=1)


@operator(name="_flat_index", label="gather_nd")
def _flat_index(call: Call, indices: Spec, *, shape, mode):
    """Positions of the multi-indices in an array of ``shape``; negative ones count from the end."""
    dtype = dtypes.int32 if math.prod(shape) < 2**31 else dtypes.int64
    return _positions(call, indices, shape, dtype, mode)


def _check_indices(op: str, indices: NDArray, rank: int) -> None:
    if indices.ndim < 2:
        raise argument_error(op, "indices", f"of shape {indices.shape}", "two axes or more")
    if not 1 <= indices.shape[0] <= rank:
        accepted = f"coordinates of 1 to {rank} axes in the first"
        raise argument_error(op, "indices", f"of shape {indices.shape}", accepted)


@composite(arrays=("data", "indices"))
def gather_nd(data, indices):
    """``data[indices[0], indices[1], ...]``: the elements, or the parts, at multi-indices.

    ``indices`` has the shape (m, ...), with m up to the number of data's axes; the result has the shape
    (..., *data.shape[m:]). Negative coordinates count from the end, and what is outside then is moved to
    the nearest end. Parts that are gathered twice get the sum of both gradients, in order.
    """
    _check_indices("gather_nd", indices, data.ndim)
    lead, rest = data.shape[: indices.shape[0]], data.shape[indices.shape[0] :]
    if 0 in lead and indices.size:
        raise argument_error("gather_nd", "data", f"of shape {data.shape}", "something to gather from")
    places = _flat_index(indices.detach(), shape=lead, mode="below")
    rows = with_shape(data, shape=(math.prod(lead), *rest))
    return take_rows(rows, places)


@composite(arrays=("data", "indices"))
def scatter_nd(data, indices, shape):
    """Zeros of ``shape``, with the parts of data at multi-indices: the transpose of gather_nd.

    ``indices`` has the shape (m, ...) and data the shape (..., *shape[m:]). Negative coordinates count from
    the end; what is outside then is left out. Where a multi-index is given twice, the last one counts and
    gets the gradient.
    """
    shape = shape_of("scatter_nd", shape)
    _check_indices("scatter_nd", indices, len(shape))
    lead, rest = shape[: indices.shape[0]], shape[indices.shape[0] :]
    expected = (*indices.shape[1:], *rest)
    if data.shape != expected:
        raise argument_error("scatter_nd", "data", f"of shape {data.shape}", f"{expected}")
    count = math.prod(indices.shape[1:])
    places = reshape(_flat_index(indices.detach(), shape=lead, mode="drop"), shape=(-1,))
    source = winners(places, axis=0, size=math.prod(lead))
    moved = move(with_shape(data, shape=(count, *rest)), source, axis=0)
    return with_shape(moved, shape=shape)


@operator(name="_ravel_multi_index", label="ravel_multi_index")
def _ravel_multi_index(call: Call, data: Spec, *, shape):
    """Positions of the multi-indices in an array of ``shape``."""
    return _positions(call, data, shape, data.dtype, None)


def _known_shape(op: str, shape) -> tuple[int, ...]:
    """The shape, of which the first size may be unknown (-1): it does not count."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape or ())
    if not sizes:
        raise argument_error(op, "shape", shape, "the sizes of one axis or more")
    return shape_of(op, (max(sizes[0], 0), *sizes[1:]))


@composite(arrays=("data",))
def ravel_multi_index(data, shape=None):
    """Positions, in C order, of multi-indices into an array of ``shape``; in data's dtype.

    The first size may be -1: it does not matter. Coordinates are truncated, and not checked.
    """
    shape = _known_shape("ravel_multi_index", shape)
    if data.ndim < 2 or data.shape[0] != len(shape):
        accepted = f"({len(shape)}, ...), a coordinate for each axis"
        raise argument_error("ravel_multi_index", "data", f"of shape {data.shape}", accepted)
    return _ravel_multi_index(data, shape=shape)


@operator(name="_unravel_index", label="unravel_index")
def _unravel_index(call: Call, data: Spec, *, shape):
    """The multi-index of each position."""
    size = math.prod(data.shape)
    place = expr.cast(index.whole(expr.operand(0, data.dtype)), dtypes.int64)
    outputs: list[map.Output] = []
    for axis in reversed(range(len(shape))):
        rest = expr.call("int_divide", place, shape[axis]) if axis else place * 0
        coordinate = place - rest * shape[axis]
        outputs.append(map.Output(coordinate, Operand(data.dtype, (1,), axis * size)))
        place = rest
    steps = []
    if size:
        targets, own = [Out(0)] * len(outputs), [Operand(data.dtype, (1,))]
        name = call.kernel(data.dtype)
        steps = [map.step(call.device, name, (size,), outputs, own, targets=targets)]
    return Plan(call.device, steps, [((len(shape), *data.shape), data.dtype)], inputs=1)


@composite(arrays=("data",))
def unravel_index(data, shape=None):
    """Multi-indices, (axes, *data.shape), of positions in C order of an array of ``shape``.

    In data's dtype. The first size may be -1: it does not matter. Positions are truncated, not checked.
    """
    return _unravel_index(data, shape=_known_shape("unravel_index", shape))


@operator(name="_index_array", label="index_array")
def _index_array(call: Call, data: Spec, *, axes):
    """The coordinates of every position along ``axes``."""
    rank = len(data.shape)
    strides = tuple(stride * len(axes) for stride in layout.contiguous_strides(data.shape))
    outputs = [map.Output(expr.index(i), Operand(dtypes.int64, strides, i)) for i in range(len(axes))]
    operands = [layout.index(axis, rank) for axis in axes]
    result = [((*data.shape, len(axes)), dtypes.int64)]
    if math.prod(data.shape) == 0 or not axes:
        return Plan(call.device, [], result, inputs=1)
    targets = [Out(0)] * len(outputs)
    step = map.step(call.device, call.kernel(dtypes.int64), data.shape, outputs, operands, targets=targets)
    return Plan(call.device, [step], result, inputs=1)


@composite(name="contrib.index_array", aliases=("index_array",), arrays=("data",))
def index_array(data, axes=None):
    """The multi-index of every position of data, as int64 of shape (*data.shape, number of axes).

    Of all axes, or of those named in ``axes``, in that order.
    """
    wanted = range(data.ndim) if axes is None else per_axis(axes)
    return _index_array(data, axes=tuple(one_axis("index_array", a, data.ndim, "axes") for a in wanted))
