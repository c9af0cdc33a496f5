"""Choosing elements and rows by index."""

import math

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, map, reduce
from clgrad.kernels import index as kernels
from clgrad.kernels.layout import Operand
from clgrad.ops.arguments import kept_shape, reduced_axes
from clgrad.ops.creation import zeros_like
from clgrad.ops.selection import select
from clgrad.ops.shape import reshape, with_shape
from clgrad.registry import Call, Spec, composite, operator


def _check_mode(call: Call, mode: str) -> None:
    if mode not in ("clip", "wrap"):
        raise call.error("mode", repr(mode), "'clip' or 'wrap'")


@operator(name="_take")
def take_rows(call: Call, a: Spec, indices: Spec, *, axis=0, mode="clip"):
    """Elements of ``a`` along an axis, at ``indices``; those outside as ``mode`` says."""
    return kernels.plan_take(
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
    return kernels.plan_take_grad(
        call.device,
        call.kernel(grad.dtype),
        shape,
        indices.shape,
        axis,
        mode,
        grad.dtype,
        indices.dtype,
    )


take_rows.gradient(
    a=lambda dy, indices, a_shape, axis, mode: _take_grad(dy, indices, shape=a_shape, axis=axis, mode=mode)
)
_take_grad.gradient(grad=lambda dy, indices, axis, mode: take_rows(dy, indices, axis=axis, mode=mode))


@operator(name="_count_outside")
def _count_outside(call: Call, indices: Spec, *, size):
    """How many of the indices are below 0, not below ``size``, or NaN."""
    index_ = expr.operand(0, indices.dtype)
    if indices.dtype.kind in "iub":
        # No wider than need be: Mesa 22.3 (llvmpipe) compares a widened int with a constant wrongly.
        index_ = expr.cast(index_, dtypes.int32 if indices.dtype.itemsize <= 4 else dtypes.int64)
    inside = (index_ >= 0) * (index_ < size)
    value = expr.cast(expr.where(inside, 0, 1), dtypes.int32)
    own = layout.broadcast(indices.shape, indices.shape, indices.dtype)
    axes = tuple(range(len(indices.shape)))
    total = [reduce.Reduction(value, "sum", dtypes.int32)]
    name = call.kernel(indices.dtype)
    return reduce.plan(call.device, name, indices.shape, axes, total, [own], out_shape=(1,))


@composite(arrays=("a", "indices"))
def take(a, indices, axis=0, mode="clip"):
    """Elements of ``a`` along an axis, at ``indices``, which are truncated where they are real.

    Indices outside are moved to the nearest end (``clip``), counted around (``wrap``), or an error
    (``raise``, which waits for the device; negative ones count as outside).
    """
    (axis,) = reduced_axes("take", a.ndim, axis)
    if mode not in ("clip", "wrap", "raise"):
        raise argument_error("take", "mode", repr(mode), "'clip', 'wrap' or 'raise'")
    if mode == "raise":
        outside = int(_count_outside(indices.detach(), size=a.shape[axis]).asscalar())
        if outside:
            raise argument_error("take", "indices", f"{outside} times outside", f"0 to {a.shape[axis] - 1}")
        mode = "clip"
    return take_rows(a, indices, axis=axis, mode=mode)


@composite(arrays=("weight", "data"))
def Embedding(data, weight, input_dim=None, output_dim=None, dtype="float32", sparse_grad=False):
    """The rows of ``weight`` (input_dim x output_dim) at the indices in ``data``.

    Indices outside are moved to the nearest row. The result has weight's dtype.
    """
    expected = (input_dim or weight.shape[0], output_dim or weight.shape[-1])
    if weight.shape != expected:
        raise argument_error("Embedding", "weight", f"of shape {weight.shape}", f"{expected}")
    return take_rows(weight, data)


class _Pick:
    """What pick and its gradient share: the place along the axis, and the operands that tell it."""

    def __init__(self, call: Call, shape, index_spec: Spec, axis: int, mode: str):
        self.size, self.kept = shape[axis], kept_shape(shape, (axis,))
        if index_spec.shape not in (self.kept, tuple(n for a, n in enumerate(shape) if a != axis)) and (
            index_spec.shape != (1,) or len(shape) != 1
        ):
            raise call.error(
                "index", f"of shape {index_spec.shape}", f"{self.kept}, with or without axis {axis}"
            )
        _check_mode(call, mode)
        self.place = kernels.place(expr.operand(1, index_spec.dtype), self.size, mode)


@operator(name="_pick", label="pick")
def _pick(call: Call, data: Spec, index: Spec, *, axis, keepdims, mode):
    """One element for each position of the other axes: that at ``index`` along ``axis``."""
    parts = _Pick(call, data.shape, index, axis, mode)
    if parts.size == 0 and math.prod(parts.kept):
        raise call.error("data", f"of shape {data.shape}", "something to pick from")
    own = layout.contiguous_strides(data.shape)
    rest = Operand(None, tuple(0 if a == axis else stride for a, stride in enumerate(own)))
    address = expr.index(2) + expr.cast(parts.place, dtypes.int64) * own[axis]
    outputs = [
        map.Output(
            expr.lookup(0, data.dtype, address), layout.broadcast(parts.kept, parts.kept, data.dtype)
        )
    ]
    operands = [
        Operand(data.dtype, (0,) * len(own)),
        layout.broadcast(parts.kept, parts.kept, index.dtype),
        rest,
    ]
    shape = parts.kept if keepdims else tuple(n for a, n in enumerate(data.shape) if a != axis) or (1,)
    name = call.kernel(data.dtype)
    return map.plan(call.device, name, parts.kept, outputs, operands, out_shapes=[shape])


@operator(name="_pick_grad")
def _pick_grad(call: Call, grad: Spec, index: Spec, *, shape, axis, mode):
    """dy at the elements that were picked, 0 elsewhere."""
    parts = _Pick(call, shape, index, axis, mode)
    narrow = parts.size < 2**31
    chosen = expr.cast(parts.place, dtypes.int32 if narrow else dtypes.int64) == expr.index(2, narrow)
    value = expr.where(chosen, expr.operand(0, grad.dtype), 0)
    own = layout.broadcast(parts.kept, shape, grad.dtype)
    place = layout.index(axis, len(shape), narrow)
    operands = [own, layout.broadcast(parts.kept, shape, index.dtype), place]
    outputs = [map.Output(value, layout.broadcast(shape, shape, grad.dtype))]
    return map.plan(call.device, call.kernel(grad.dtype), shape, outputs, operands)


_pick.gradient(
    data=lambda dy, index, data_shape, axis, mode: _pick_grad(
        dy, index, shape=data_shape, axis=axis, mode=mode
    )
)
_pick_grad.gradient(
    grad=lambda dy, index, grad_shape, axis, mode: with_shape(
        _pick(dy, index, axis=axis, keepdims=True, mode=mode), shape=grad_shape
    )
)


@composite(aliases=("choose_element_0index",), arrays=("data", "index"))
def pick(data, index, axis: int | None = -1, keepdims=False, mode="clip"):
    """One element for each position of the other axes: that at ``index`` along ``axis``.

    Of all elements in order for ``axis=None``, any number of them. Indices outside are moved to the
    nearest end (``clip``) or counted around (``wrap``).
    """
    if mode not in ("clip", "wrap"):
        raise argument_error("pick", "mode", repr(mode), "'clip' or 'wrap'")
    if axis is None:
        return take_rows(reshape(data, shape=(-1,)), index, mode=mode)
    (axis,) = reduced_axes("pick", data.ndim, axis)
    return _pick(data, index, axis=axis, keepdims=bool(keepdims), mode=mode)


@composite(arrays=("a", "indices"))
def batch_take(a, indices):
    """``a[i, indices[i]]`` for each row i; more axes of a but the last are rows too."""
    rows = a.shape[:-1]
    if math.prod(indices.shape) != math.prod(rows):
        raise argument_error(
            "batch_take", "indices", f"of shape {indices.shape}", f"one for each of {rows}"
        )
    flat = reshape(a, shape=(math.prod(rows), a.shape[-1]))
    taken = pick(flat, with_shape(indices, shape=(math.prod(rows),)))
    return with_shape(taken, shape=indices.shape)


@operator()
def fill_element_0index(call: Call, lhs: Spec, mhs: Spec, rhs: Spec):
    """lhs with ``mhs[i]`` in the place of ``lhs[i, rhs[i]]``, for each row i.

    An index outside changes nothing.
    """
    if len(lhs.shape) != 2 or mhs.shape != lhs.shape[:1] or rhs.shape != mhs.shape:
        given = f"of shape {lhs.shape}, with mhs {mhs.shape} and rhs {rhs.shape}"
        raise call.error("lhs", given, "(rows, columns), mhs and rhs (rows,)")
    if lhs.dtype != mhs.dtype:
        raise call.error("mhs", mhs.dtype, f"lhs's dtype {lhs.dtype}")
    chosen = expr.cast(kernels.whole(expr.operand(2, rhs.dtype)), dtypes.int64) == expr.index(3)
    value = expr.where(chosen, expr.operand(1, lhs.dtype), expr.operand(0, lhs.dtype))
    operands = [
        layout.broadcast(lhs.shape, lhs.shape, lhs.dtype),
        Operand(mhs.dtype, (1, 0)),
        Operand(rhs.dtype, (1, 0)),
        layout.index(1, 2),
    ]
    outputs = [map.Output(value, operands[0])]
    return map.plan(call.device, call.kernel(lhs.dtype), lhs.shape, outputs, operands)


@operator(name="_inside")
def _inside(call: Call, indices: Spec, *, size):
    """1 where a truncated index is from 0 to ``size - 1``, else 0 (int32)."""
    place = expr.cast(kernels.whole(expr.operand(0, indices.dtype)), dtypes.int64)
    value = expr.cast((place >= 0) * (place < size), dtypes.int32)
    own = layout.broadcast(indices.shape, indices.shape, indices.dtype)
    outputs = [map.Output(value, layout.broadcast(indices.shape, indices.shape, dtypes.int32))]
    return map.plan(call.device, call.kernel(indices.dtype), indices.shape, outputs, [own])


@fill_element_0index.joint_gradient("lhs", "mhs")
def _(dy, rhs):
    """dy where the elements are; of one that was replaced, to what replaced it."""
    picked = pick(dy, rhs)
    d_mhs = select(_inside(rhs, size=dy.shape[1]), picked, 0)
    return fill_element_0index(dy, zeros_like(picked), rhs), d_mhs
