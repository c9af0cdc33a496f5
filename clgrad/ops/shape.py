"""Ops that move elements and compute nothing: reshape, transpose, slice, join, repeat."""

import builtins
import math
from collections.abc import Sequence

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import copy as copies
from clgrad.kernels import expr, layout, map, reduce
from clgrad.kernels import transpose as transposes
from clgrad.kernels.launch import In, Plan, Step
from clgrad.kernels.layout import Operand
from clgrad.ops.arguments import distinct_axes, one_axis, per_axis
from clgrad.registry import Call, RelabelCall, Spec, composite, operator, relabel


def copy_step(
    call: Call,
    shape: Sequence[int],
    dtype,
    source: Operand | None,
    target: Operand,
    argument: int = 0,
    value: float = 0,
    nbytes: int | None = None,
) -> Step:
    """One launch that copies a strided source (or a constant) into a strided target.

    ``nbytes`` is the size of all that the plan writes, where this is a part of it.
    """
    name = call.kernel(dtype)
    if source is not None:
        return copies.step(call.device, name, shape, source, target, argument, nbytes)
    filled = expr.cast(expr.constant(value, dtype), expr.operand(0, dtype).dtype)
    return map.step(call.device, name, shape, [map.Output(filled, target)], [], sources=[In(argument)])


def _gather(call: Call, shape: tuple[int, ...], source: Operand) -> Plan:
    """A new array of ``shape`` read from the input by strides."""
    assert source.dtype is not None
    return copies.plan(call.device, call.kernel(source.dtype), shape, source)


# Reshaping: the same memory


def _split_sizes(op: str, size: int, left: int, right: int, shape) -> tuple[int, int]:
    if left == -1 and right == -1:
        raise argument_error(op, "shape", shape, "at most one -1 after -4")
    left = size // right if left == -1 else left
    right = size // left if right == -1 else right
    if left * right != size:
        raise argument_error(op, "shape", shape, f"two factors of {size} after -4")
    return left, right


def infer_reshape(op: str, old: tuple[int, ...], shape, reverse: bool = False) -> tuple[int, ...]:
    """The shape that MXNet's codes mean.

    0 keeps a size, -1 takes what is left, -2 keeps all remaining sizes, -3 merges two sizes, and -4
    splits one into the two that follow. With ``reverse`` the codes are matched from the right.
    """
    codes = [shape] if isinstance(shape, int) else [int(n) for n in shape]
    if reverse:
        return infer_reshape(op, old[::-1], codes[::-1])[::-1]
    result: list[int] = []
    source = 0
    position = 0
    while position < len(codes):
        code = codes[position]
        ran_out = code in (0, -3, -4) and source + (code == -3) >= len(old)
        if ran_out and not (code == 0 and math.prod(old) == 0):
            raise argument_error(op, "shape", tuple(codes), f"codes that match the sizes of {old}")
        if code == 0 and source >= len(old):
            result.append(0)
        elif code == 0:
            result.append(old[source])
            source += 1
        elif code == -2:
            result += old[source:]
            source = len(old)
        elif code == -3:
            result.append(old[source] * old[source + 1])
            source += 2
        elif code == -4:
            result += _split_sizes(op, old[source], *_two(op, codes, position), shape=tuple(codes))
            source += 1
            position += 2
        elif code >= -1:
            result.append(code)
            source += 1
        else:
            raise argument_error(op, "shape", tuple(codes), "sizes and the codes 0, -1, -2, -3, -4")
        position += 1
    return _fill_unknown(op, old, result, tuple(codes))


def _two(op: str, codes: list[int], position: int) -> tuple[int, int]:
    if position + 2 >= len(codes):
        raise argument_error(op, "shape", tuple(codes), "two sizes after -4")
    return codes[position + 1], codes[position + 2]


def _fill_unknown(op: str, old, result: list[int], codes) -> tuple[int, ...]:
    size = math.prod(old)
    if result.count(-1) > 1:
        raise argument_error(op, "shape", codes, "at most one -1")
    if -1 in result:
        known = math.prod(n for n in result if n != -1)
        if known == 0 or size % known:
            raise argument_error(op, "shape", codes, f"sizes whose product divides {size}")
        result[result.index(-1)] = size // known
    if math.prod(result) != size:
        raise argument_error(op, "shape", codes, f"a product of {size}, the elements of {old}")
    return tuple(result)


@relabel(aliases=("Reshape",))
def reshape(call: RelabelCall, data: Spec, *, shape, reverse=False):
    """The same elements under another shape; see :func:`infer_reshape` for 0, -1, -2, -3, -4."""
    return infer_reshape(call.op, data.shape, shape, reverse), 0


def _restore(dy, data_shape):
    if not math.prod(data_shape):
        dy = reshape(dy, shape=(-1,))  # of (0,), no size 0 of the shape is taken for a code
    return reshape(dy, shape=data_shape)


reshape.gradient(data=_restore)


@relabel(name="_with_shape", label="reshape")
def with_shape(call: RelabelCall, data: Spec, *, shape):
    """The same elements under a shape that is known to fit, without codes."""
    return shape, 0


with_shape.gradient(data=_restore)


def along(vector: NDArray, ndim: int, axis: int) -> NDArray:
    """A vector as an array of ``ndim`` axes that varies along one of them."""
    shape = (*(1,) * axis, vector.size, *(1,) * (ndim - 1 - axis))
    return with_shape.apply(with_shape.arguments, (vector,), {"shape": shape})


@composite()
def reshape_like(lhs, rhs, lhs_begin=None, lhs_end=None, rhs_begin=None, rhs_end=None):
    """lhs with its axes from lhs_begin to lhs_end (excluded) replaced by those of rhs; by default all.

    Bounds are as in Python's slices: None stands for the first axis or for the end.
    """
    first, last = _axis_range("lhs", lhs_begin, lhs_end, lhs.ndim)
    begin, end = _axis_range("rhs", rhs_begin, rhs_end, rhs.ndim)
    replaced, sizes = lhs.shape[first:last], rhs.shape[begin:end]
    if math.prod(replaced) != math.prod(sizes):
        accepted = f"sizes of lhs, {replaced}, and of rhs, {sizes}, with the same product"
        raise argument_error("reshape_like", "rhs", f"of shape {rhs.shape}", accepted)
    return with_shape(lhs, shape=(*lhs.shape[:first], *sizes, *lhs.shape[last:]))


def _axis_range(side: str, begin, end, ndim: int) -> tuple[int, int]:
    first = 0 if begin is None else begin + ndim if begin < 0 else begin
    last = ndim if end is None else end + ndim if end < 0 else end
    if not 0 <= first <= last <= ndim:
        raise argument_error(
            "reshape_like",
            f"{side}_begin, {side}_end",
            (begin, end),
            f"bounds within {ndim} axes, in order",
        )
    return first, last


@relabel(aliases=("Flatten",))
def flatten(call: RelabelCall, data: Spec):
    """The first axis kept, the others merged into one."""
    first = data.shape[0] if data.shape else 1
    return (first, math.prod(data.shape[1:])), 0


flatten.gradient(data=_restore)


@relabel()
def expand_dims(call: RelabelCall, data: Spec, *, axis):
    """A new axis of size 1 at position ``axis``."""
    axis = one_axis(call.op, axis, len(data.shape) + 1)
    return (*data.shape[:axis], 1, *data.shape[axis:]), 0


expand_dims.gradient(data=_restore)


@relabel()
def squeeze(call: RelabelCall, data: Spec, *, axis=None):
    """Without axes of size 1 (those named, or all)."""
    ndim = len(data.shape)
    if axis is None:
        axes = [a for a, n in enumerate(data.shape) if n == 1]
    else:
        axes = distinct_axes(call.op, "axis", per_axis(axis), ndim)
    for a in axes:
        if data.shape[a] != 1:
            raise call.error("axis", axis, f"axes of size 1 of {data.shape}")
    return tuple(n for a, n in enumerate(data.shape) if a not in axes) or (1,), 0


squeeze.gradient(data=_restore)


@relabel(name="_leading_slice")
def _leading_slice(call: RelabelCall, data: Spec, *, begin, size):
    """Rows begin to begin + size, sharing memory."""
    return (size, *data.shape[1:]), begin * math.prod(data.shape[1:])


_leading_slice.gradient(
    data=lambda dy, data_shape, begin: _slice_grad(
        dy,
        shape=data_shape,
        begin=(begin,) + (0,) * (len(data_shape) - 1),
        step=(1,) * len(data_shape),
    )
)


@relabel(name="_row", label="indexing")
def row(call: RelabelCall, data: Spec, *, index):
    """One row, without its axis, sharing memory."""
    return data.shape[1:], index * math.prod(data.shape[1:])


row.gradient(
    data=lambda dy, data_shape, index: _slice_grad(
        with_shape(dy, shape=(1, *data_shape[1:])),
        shape=data_shape,
        begin=(index,) + (0,) * (len(data_shape) - 1),
        step=(1,) * len(data_shape),
    )
)


# Strided reads and writes


def _slice_operand(dtype, shape, begin, step) -> Operand:
    strides = layout.contiguous_strides(shape)
    base = builtins.sum(b * s for b, s in zip(begin, strides, strict=True))
    return Operand(dtype, tuple(s * k for s, k in zip(strides, step, strict=True)), base)


@operator(name="_strided_slice", label="slice")
def strided_slice(call: Call, data: Spec, *, begin, step, size):
    """``size`` elements along each axis from ``begin`` on, ``step`` apart (steps may be negative)."""
    return _gather(call, size, _slice_operand(data.dtype, data.shape, begin, step))


strided_slice.gradient(
    data=lambda dy, data_shape, begin, step: _slice_grad(dy, shape=data_shape, begin=begin, step=step)
)


@operator(name="_slice_grad")
def _slice_grad(call: Call, data: Spec, *, shape, begin, step):
    """Zeros of ``shape`` with data at the places of a strided slice."""
    dense = layout.broadcast(shape, shape, data.dtype)
    own = layout.broadcast(data.shape, data.shape, data.dtype)
    place = _slice_operand(data.dtype, shape, begin, step)
    steps = [copy_step(call, shape, data.dtype, None, dense)]
    if math.prod(data.shape):
        nbytes = math.prod(shape) * data.dtype.itemsize
        steps.append(copy_step(call, data.shape, data.dtype, own, place, nbytes=nbytes))
    return Plan(call.device, steps, [(tuple(shape), data.dtype)], 1)


_slice_grad.gradient(
    data=lambda dy, data_shape, begin, step: strided_slice(dy, begin=begin, step=step, size=data_shape)
)


@operator(name="_slice_assign", label="indexing")
def _slice_assign(call: Call, value: Spec, *, shape, begin, step, size):
    """Write value, broadcast, to a strided slice of ``out`` (which must be given)."""
    source = layout.broadcast(value.shape, size, value.dtype)
    place = _slice_operand(value.dtype, shape, begin, step)
    steps = [copy_step(call, size, value.dtype, source, place)] if math.prod(size) else []
    return Plan(call.device, steps, [(tuple(shape), value.dtype)], 1)


def take_slice(data: NDArray, begin, step, size) -> NDArray:
    """A basic slice; it shares memory where it is a range of the leading axis."""
    begin, step, size = tuple(begin), tuple(step), tuple(size)
    if data.ndim and size[1:] == data.shape[1:] and builtins.all(k == 1 for k in step):
        if size == data.shape:
            return reshape(data, shape=data.shape) if data.size else data
        return _leading_slice(data, begin=begin[0], size=size[0])
    return strided_slice(data, begin=begin, step=step, size=size)


def resolve_slice(op: str, item: builtins.slice, size: int) -> tuple[int, int, int]:
    """Begin, step and count of a Python slice along an axis."""
    if item.step == 0:
        raise argument_error(op, "step", 0, "a step other than 0")
    begin, stop, step = item.indices(size)
    return begin, step, len(range(begin, stop, step))


@composite(aliases=("crop",))
def slice(data, begin, end, step=None):
    """A region of the leading ``len(begin)`` axes; None in begin, end or step stands for the default."""
    begin, end = per_axis(begin), per_axis(end)
    steps = per_axis(step) if step is not None and step != () else (None,) * len(begin)
    if not len(begin) == len(end) == len(steps) <= data.ndim:
        raise argument_error(
            "slice", "begin, end, step", (begin, end, steps), f"one each for up to {data.ndim} axes"
        )
    items = [builtins.slice(*bounds) for bounds in zip(begin, end, steps, strict=True)]
    items += [builtins.slice(None)] * (data.ndim - len(items))
    parts = [resolve_slice("slice", item, n) for item, n in zip(items, data.shape, strict=True)]
    return take_slice(data, *zip(*parts, strict=True))


@composite()
def slice_axis(data, axis, begin: int | None, end: int | None):
    """Elements begin to end (excluded; None: to the last) along one axis."""
    axis = one_axis("slice_axis", axis, data.ndim)
    size = data.shape[axis]
    for name, bound in (("begin", begin), ("end", end)):
        if bound is not None and not -size <= bound <= size:
            raise argument_error("slice_axis", name, bound, f"{-size} to {size}")
    whole = [(0, 1, n) for n in data.shape]
    whole[axis] = resolve_slice("slice_axis", builtins.slice(begin, end), size)
    return take_slice(data, *zip(*whole, strict=True))


@composite(aliases=("reverse",))
def flip(data, axis):
    """The elements in reverse order along an axis, or along several."""
    axes = set(distinct_axes("flip", "axis", per_axis(axis), data.ndim))
    parts = [(n - 1, -1, n) if a in axes else (0, 1, n) for a, n in enumerate(data.shape)]
    return strided_slice(
        data, **dict(zip(("begin", "step", "size"), zip(*parts, strict=True), strict=True))
    )


# Axes


@operator()
def transpose(call: Call, data: Spec, *, axes=()):
    """Axes in the order ``axes``; reversed where not given."""
    ndim = len(data.shape)
    given = () if axes is None else per_axis(axes)
    order = [one_axis(call.op, a, ndim, "axes") for a in given] or list(range(ndim))[::-1]
    if sorted(order) != list(range(ndim)):
        raise call.error("axes", axes, f"each of the {ndim} axes once")
    strides = layout.contiguous_strides(data.shape)
    shape = tuple(data.shape[a] for a in order)
    moved = [strides[a] for a in order]
    return transposes.plan(call.device, call.kernel(data.dtype), shape, moved, data.dtype)


@transpose.joint_gradient("data")
def _(dy, axes):
    if not axes:
        return (transpose(dy),)
    order = [a % dy.ndim for a in axes]
    return (transpose(dy, axes=tuple(order.index(a) for a in range(len(order)))),)


@composite(aliases=("SwapAxis",))
def swapaxes(data, dim1=0, dim2=0):
    """Two axes exchanged."""
    order = list(range(data.ndim))
    i, j = one_axis("swapaxes", dim1, data.ndim, "dim1"), one_axis("swapaxes", dim2, data.ndim, "dim2")
    order[i], order[j] = order[j], order[i]
    return transpose(data, axes=tuple(order))


@composite()
def moveaxis(tensor, source, destination):
    """One axis, or several, moved to another place; the others keep their order."""
    sources = distinct_axes("moveaxis", "source", per_axis(source), tensor.ndim)
    places = distinct_axes("moveaxis", "destination", per_axis(destination), tensor.ndim)
    if len(sources) != len(places):
        raise argument_error("moveaxis", "destination", destination, f"one place for each of {source}")
    order = [a for a in range(tensor.ndim) if a not in sources]
    for place, a in sorted(zip(places, sources, strict=True)):
        order.insert(place, a)
    return transpose(tensor, axes=tuple(order))


# Repeating


@operator()
def broadcast_to(call: Call, data: Spec, *, shape):
    """Axes of size 1 repeated to the sizes of ``shape``; 0 there keeps a size."""
    shape = tuple(int(n) for n in per_axis(shape))
    lead = len(shape) - len(data.shape)
    if lead >= 0 and 0 not in data.shape:
        shape = tuple(data.shape[a - lead] if n == 0 and a >= lead else n for a, n in enumerate(shape))
    if lead < 0 or any(n not in (1, m) for n, m in zip(data.shape, shape[lead:], strict=True)):
        raise call.error("shape", shape, f"a shape that {data.shape} broadcasts to")
    return _gather(call, shape, layout.broadcast(data.shape, shape, data.dtype))


@operator(name="_expand_to", label="broadcast_to")
def expand_to(call: Call, data: Spec, *, shape):
    """Axes of size 1 repeated to sizes that are known to fit, without codes: 0 is a size."""
    return _gather(call, tuple(shape), layout.broadcast(data.shape, shape, data.dtype))


@operator(name="_sum_to")
def sum_to(call: Call, data: Spec, *, shape):
    """The sum over the axes that broadcasting from ``shape`` repeats: the transpose of broadcast_to."""
    lead = len(data.shape) - len(shape)
    padded = (1,) * lead + tuple(shape)
    axes = [a for a, (n, m) in enumerate(zip(padded, data.shape, strict=True)) if n != m or a < lead]
    total = reduce.Reduction(expr.operand(0, data.dtype), "sum", data.dtype)
    dense = layout.broadcast(data.shape, data.shape, data.dtype)
    name = call.kernel(data.dtype)
    return reduce.plan(call.device, name, data.shape, axes, [total], [dense], out_shape=tuple(shape))


broadcast_to.gradient(data=lambda dy, data_shape: sum_to(dy, shape=data_shape))
expand_to.gradient(data=lambda dy, data_shape: sum_to(dy, shape=data_shape))
sum_to.gradient(data=lambda dy, data_shape: expand_to(dy, shape=data_shape))
_slice_assign.gradient(
    value=lambda dy, value_shape, begin, step, size: sum_to(
        strided_slice(dy, begin=begin, step=step, size=size), shape=value_shape
    )
)


# Joining


@operator(aliases=("Concat",))
def concat(call: Call, *data: Spec, dim=1):
    """Arrays joined along the axis ``dim``, one launch each."""
    first = data[0]
    axis = one_axis(call.op, dim, len(first.shape), "dim")
    for position, other in enumerate(data):
        same = other.dtype == first.dtype and len(other.shape) == len(first.shape)
        if not same or any(
            n != m for a, (n, m) in enumerate(zip(other.shape, first.shape, strict=True)) if a != axis
        ):
            raise call.error(
                f"data[{position}]",
                f"{other.dtype} {other.shape}",
                f"{first.dtype} {first.shape} up to the size of axis {axis}",
            )
    total = builtins.sum(d.shape[axis] for d in data)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    strides = layout.contiguous_strides(shape)
    nbytes = math.prod(shape) * first.dtype.itemsize
    steps, begin = [], 0
    for position, part in enumerate(data):
        if math.prod(part.shape):
            own = layout.broadcast(part.shape, part.shape, part.dtype)
            place = Operand(part.dtype, strides, begin * strides[axis])
            steps.append(copy_step(call, part.shape, part.dtype, own, place, position, nbytes=nbytes))
        begin += part.shape[axis]
    return Plan(call.device, steps, [(shape, first.dtype)], len(data))


def _concat_rule(dy, data_shapes, position, dim):
    axis = dim % dy.ndim
    begin = builtins.sum(s[axis] for s in data_shapes[:position])
    return slice_axis(dy, axis, begin, begin + data_shapes[position][axis])


concat.gradient(data=_concat_rule)


@composite()
def concatenate(arrays, axis=0, always_copy=True):
    """A list of arrays joined along an existing axis."""
    if not arrays:
        raise argument_error("concatenate", "arrays", arrays, "one array or more")
    return concat(*arrays, dim=axis)


@composite()
def stack(*data, axis=0, num_args=None):
    """Arrays of one shape joined along a new axis."""
    arrays = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
    if not arrays:
        raise argument_error("stack", "data", arrays, "one array or more")
    one_axis("stack", axis, arrays[0].ndim + 1)
    for position, other in enumerate(arrays):
        if other.shape != arrays[0].shape:
            raise argument_error(
                "stack",
                f"data[{position}]",
                f"of shape {other.shape}",
                f"that of the first, {arrays[0].shape}",
            )
    return concat(*(expand_dims(a, axis=axis) for a in arrays), dim=axis)
