"""Choosing elements and rows by index."""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import expr, index, layout, map, reduce
from clgrad.ops.reduction import kept_shape, reduced_axes
from clgrad.registry import Call, Spec, composite, operator


def _check_mode(call: Call, mode: str) -> None:
    if mode not in ("clip", "wrap"):
        raise call.error("mode", repr(mode), "'clip' or 'wrap'")


@operator()
def take(call: Call, a: Spec, indices: Spec, *, axis=0, mode="clip"):
    """Elements of ``a`` along an axis, at ``indices``.

    Indices outside are moved to the nearest end (``clip``) or counted around (``wrap``).
    """
    (axis,) = reduced_axes(call.op, len(a.shape), axis)
    _check_mode(call, mode)
    return index.plan_take(
        call.device,
        call.kernel(a.dtype),
        a.shape,
        indices.shape,
        axis,
        mode,
        a.dtype,
        indices.dtype,
    )


@operator(name="_take_grad")
def _take_grad(call: Call, grad: Spec, indices: Spec, *, shape, axis, mode):
    """The sum of the rows of dy that were taken from each row, in the order of the indices."""
    return index.plan_take_grad(
        call.device,
        call.kernel(grad.dtype),
        shape,
        indices.shape,
        axis,
        mode,
        grad.dtype,
        indices.dtype,
    )


take.gradient(
    a=lambda dy, indices, a_shape, axis, mode: _take_grad(dy, indices, shape=a_shape, axis=axis, mode=mode)
)
_take_grad.gradient(grad=lambda dy, indices, axis, mode: take(dy, indices, axis=axis, mode=mode))


@composite()
def Embedding(data, weight, input_dim=None, output_dim=None, dtype="float32", sparse_grad=False):
    """The rows of ``weight`` (input_dim x output_dim) at the indices in ``data``."""
    expected = (input_dim or weight.shape[0], output_dim or weight.shape[1])
    if weight.shape != expected:
        raise argument_error("Embedding", "weight", f"of shape {weight.shape}", f"{expected}")
    return take(weight, data, axis=0)


class _Pick:
    """Expressions and operands shared by pick and its gradient."""

    def __init__(self, call: Call, shape, index_spec: Spec, axis: int, mode: str):
        self.size = shape[axis]
        kept = kept_shape(shape, (axis,))
        if index_spec.shape not in (kept, tuple(n for a, n in enumerate(shape) if a != axis)) and (
            index_spec.shape != (1,) or len(shape) != 1
        ):
            raise call.error(
                "index", f"of shape {index_spec.shape}", f"{kept}, with or without axis {axis}"
            )
        _check_mode(call, mode)
        # Limited in 32 bits where they hold it: less work for GPUs, and Mesa 22.3 (llvmpipe) gets
        # comparisons of a widened int with a constant wrong.
        narrow = not dtypes.is_floating(index_spec.dtype) and index_spec.dtype.itemsize <= 4
        place = expr.cast(expr.operand(1, index_spec.dtype), dtypes.int32 if narrow else dtypes.int64)
        if mode == "clip":
            last = self.size - 1
            place = expr.where(place < 0, 0, expr.where(place > last, last, place))
        else:
            place = expr.call("int_modulo", place, self.size)
        self.chosen = expr.cast(place, dtypes.int64) == expr.index(2)
        self.operands = [
            layout.broadcast(kept, shape, index_spec.dtype),
            layout.index(axis, len(shape)),
        ]


@operator(aliases=("choose_element_0index",))
def pick(call: Call, data: Spec, index: Spec, *, axis=-1, keepdims=False, mode="clip"):
    """One element for each position of the other axes: that at ``index`` along ``axis``."""
    (axis,) = reduced_axes(call.op, len(data.shape), axis)
    parts = _Pick(call, data.shape, index, axis, mode)
    value = expr.where(parts.chosen, expr.operand(0, data.dtype), 0)
    kept = kept_shape(data.shape, (axis,))
    shape = kept if keepdims else tuple(n for a, n in enumerate(data.shape) if a != axis) or (1,)
    own = layout.broadcast(data.shape, data.shape, data.dtype)
    total = [reduce.Reduction(value, "sum", data.dtype)]
    name = call.kernel(data.dtype)
    return reduce.plan(
        call.device, name, data.shape, (axis,), total, [own, *parts.operands], out_shape=shape
    )


@operator(name="_pick_grad")
def _pick_grad(call: Call, grad: Spec, index: Spec, *, shape, axis, mode):
    """dy at the elements that were picked, 0 elsewhere."""
    (axis,) = reduced_axes(call.op, len(shape), axis)
    parts = _Pick(call, shape, index, axis, mode)
    value = expr.where(parts.chosen, expr.operand(0, grad.dtype), 0)
    own = layout.broadcast(kept_shape(shape, (axis,)), shape, grad.dtype)
    output = map.Output(value, layout.broadcast(shape, shape, grad.dtype))
    return map.plan(call.device, call.kernel(grad.dtype), shape, [output], [own, *parts.operands])


pick.gradient(
    data=lambda dy, index, data_shape, axis, mode: _pick_grad(
        dy, index, shape=data_shape, axis=axis, mode=mode
    )
)
_pick_grad.gradient(
    grad=lambda dy, index, grad_shape, axis, mode: pick(dy, index, axis=axis, mode=mode).reshape(grad_shape)
)
