"""Reductions along axes: sums, products, extrema, norms.

Every reduction takes ``axis`` (None or () for all axes, a number, or a tuple), ``keepdims``, and
``exclude`` (reduce all axes but those named). Reducing every axis gives shape (1,), as in MXNet.
"""

import builtins
import math

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.device import Device
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, map, reduce
from clgrad.kernels.launch import Plan
from clgrad.ops.arguments import kept_shape, reduced_axes
from clgrad.ops.scan import product_before
from clgrad.ops.selection import select
from clgrad.ops.shape import reshape, transpose, with_shape
from clgrad.ops.unary import sign
from clgrad.registry import Call, Spec, composite, grouped, operator
from clgrad.tape import state


def _out_shape(shape, axes, keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return kept_shape(shape, axes)
    return tuple(n for a, n in enumerate(shape) if a not in axes) or (1,)


def _plan(call, data: Spec, axis, keepdims, exclude, how, value=None, finish=None) -> Plan:
    axes = reduced_axes(call.op, len(data.shape), axis, exclude)
    count = math.prod(data.shape[a] for a in axes)
    if count == 0 and how in ("max", "min"):
        raise call.error("data", f"of shape {data.shape}", "at least one element to reduce")
    x = expr.operand(0, data.dtype)
    term = value(x) if value else x
    if how == "sum" and data.dtype == dtypes.bool_ and term.dtype == x.dtype:
        how = "max"  # a count would wrap around, to False for 256
    reduction = reduce.Reduction(
        term,
        how,
        data.dtype,
        (lambda t: finish(t, count)) if finish else lambda t: t,
    )
    return reduce.plan(
        call.device,
        call.kernel(data.dtype),
        data.shape,
        axes,
        [reduction],
        [layout.broadcast(data.shape, data.shape, data.dtype)],
        out_shape=_out_shape(data.shape, axes, keepdims),
    )


def _aligned(reduced: NDArray, shape, axis, exclude) -> NDArray:
    """A reduction's result (or its gradient) with the reduced axes as size 1, ready to broadcast."""
    if reduced.size == 1:  # it is that already
        return reduced
    axes = reduced_axes("gradient", len(shape), axis, exclude)
    return with_shape(reduced, shape=kept_shape(shape, axes))


@operator(aliases=("sum_axis",), reference=np.sum, integers=True)
def sum(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The sum along axes; of a mask, whether any is true."""
    return _plan(call, data, axis, keepdims, exclude, "sum")


sum.gradient(data=lambda dy, data_shape, axis, exclude: _aligned(dy, data_shape, axis, exclude))


@operator(reference=np.mean)
def mean(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The arithmetic mean along axes; of whole numbers, truncated."""
    return _plan(
        call,
        data,
        axis,
        keepdims,
        exclude,
        "sum",
        # Whole numbers are added up in int64, so that only the mean has to fit.
        value=lambda x: x if x.dtype.kind == "f" else expr.cast(x, dtypes.int64),
        finish=lambda total, count: total / count if count else _nothing(total),
    )


def _nothing(total):
    """The mean of no elements: NaN, and 0 of whole numbers."""
    return total * math.nan if total.dtype.kind == "f" else total


@mean.joint_gradient("data")
def _(dy, data_shape, y_shape, axis, exclude):
    count = math.prod(data_shape) // builtins.max(1, math.prod(y_shape))
    return (_aligned(dy / count, data_shape, axis, exclude),)


@operator(reference=np.prod, integers=True)
def prod(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The product along axes."""
    return _plan(call, data, axis, keepdims, exclude, "prod")


@prod.joint_gradient("data")
def _(dy, data, y, axis, exclude):
    """The product of the other factors: y / x, or, beside a single 0, the product without it.

    At zeros the quotient has no derivative; what is recorded multiplies the factors instead.
    """
    shape = data.shape
    if state.recording and data.size:
        others = _other_factors(data, reduced_axes("prod", data.ndim, axis, exclude))
        return (_aligned(dy, shape, axis, exclude) * others,)
    zero = data == 0
    zeros = _aligned(sum(zero, axis=axis, exclude=exclude), shape, axis, exclude)
    rest = prod(select(zero, 1, data), axis=axis, exclude=exclude)
    others = _aligned(rest, shape, axis, exclude) / select(zero, 1, data)
    return (_aligned(dy, shape, axis, exclude) * select(zeros - zero, 0, others),)


def _other_factors(data: NDArray, axes: tuple[int, ...]) -> NDArray:
    """Product along axes of all elements but the one at the place: of those before and those behind."""
    if len(axes) == 1:
        (axis,) = axes
        return product_before(data, axis=axis) * product_before(data, axis=axis, reverse=True)
    order = [a for a in range(data.ndim) if a not in axes] + list(axes)
    moved = transpose(data, axes=tuple(order))
    count = math.prod(data.shape[a] for a in axes)
    others = _other_factors(reshape(moved, shape=(data.size // count, count)), (1,))
    back = tuple(order.index(a) for a in range(data.ndim))
    return transpose(reshape(others, shape=moved.shape), axes=back)


@operator(aliases=("max_axis",), reference=np.max, integers=True)
def max(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The largest element along axes, NaN if there is one; every tied element gets the gradient."""
    return _plan(call, data, axis, keepdims, exclude, "max")


@operator(aliases=("min_axis",), reference=np.min, integers=True)
def min(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The smallest element along axes, NaN if there is one; every tied element gets the gradient."""
    return _plan(call, data, axis, keepdims, exclude, "min")


def _extremum_rule(dy, data, y, axis, exclude):
    chosen = data == _aligned(y, data.shape, axis, exclude)
    return select(chosen, _aligned(dy, data.shape, axis, exclude), 0)


max.gradient(data=_extremum_rule)
min.gradient(data=_extremum_rule)


@operator(reference=np.nansum)
def nansum(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The sum along axes, NaN counting as 0."""
    return _plan(call, data, axis, keepdims, exclude, "sum", lambda x: select(x == x, x, 0))


nansum.gradient(
    data=lambda dy, data, axis, exclude: select(data == data, _aligned(dy, data.shape, axis, exclude), 0)
)


@operator(reference=np.nanprod)
def nanprod(call: Call, data: Spec, *, axis=None, keepdims=False, exclude=False):
    """The product along axes, NaN counting as 1."""
    return _plan(call, data, axis, keepdims, exclude, "prod", lambda x: select(x == x, x, 1))


@nanprod.joint_gradient("data")
def _(dy, data, axis, exclude):
    number = data == data
    return (select(number, _prod_rule(dy, select(number, data, 1), axis, exclude), 0),)


def _prod_rule(dy, data, axis, exclude):
    y = prod(data, axis=axis, exclude=exclude)
    return prod.gradients["data"].function(dy, data, y, axis, exclude)[0]


@operator(name="_norm1")
def _norm1(call: Call, data: Spec, *, axis=None, keepdims=False):
    """The sum of absolute values along axes."""
    return _plan(call, data, axis, keepdims, False, "sum", lambda x: select(x < 0, -x, x))


_norm1.gradient(data=lambda dy, data, axis: _aligned(dy, data.shape, axis, False) * sign(data))


#: Exponents of Blue's algorithm by compute dtype: squares of numbers above 2^large overflow and of those
#: below 2^small lose digits; shrink and widen are the scales that undo that.
_BLUE = {dtypes.float32: (52, -63, -76, 75), dtypes.float64: (486, -511, -538, 537)}


@operator(name="_squares", label="norm", outputs=("large", "usual", "small"))
def _squares(call: Call, data: Spec, *, axis=None, keepdims=False):
    """Sums of squares of large, usual and small numbers, the first and last scaled to be representable.

    A NaN is neither large nor small (J. Blue, ACM TOMS 4, 1978; thresholds of E. Anderson, ACM TOMS 44,
    2017).
    """
    axes = reduced_axes(call.op, len(data.shape), axis)
    x = expr.operand(0, data.dtype)
    x = x if x.dtype.kind == "f" else expr.cast(x, dtypes.float32)
    large, small, shrink, widen = _BLUE[x.dtype]
    size = select(x < 0, -x, x)
    is_large, is_small = size > 2.0**large, size < 2.0**small
    shrunk, widened = x * 2.0**shrink, x * 2.0**widen
    squares = [
        select(is_large, shrunk * shrunk, 0),
        select(is_large + is_small > 0, 0, x * x),
        select(is_small, widened * widened, 0),
    ]
    return reduce.plan(
        call.device,
        call.kernel(data.dtype, "squares"),
        data.shape,
        axes,
        [reduce.Reduction(square, "sum", x.dtype) for square in squares],
        [layout.broadcast(data.shape, data.shape, data.dtype)],
        out_shape=_out_shape(data.shape, axes, keepdims),
    )


@operator(name="_root_of_squares", label="norm")
def _root_of_squares(call: Call, large: Spec, usual: Spec, small: Spec, *, dtype):
    """The square root of what ``_squares`` has summed, in a dtype."""
    _, least, shrink, widen = _BLUE[usual.dtype]
    dense = layout.broadcast(usual.shape, usual.shape, usual.dtype)
    big, mid, tiny = (expr.operand(slot, usual.dtype) for slot in range(3))
    # Beside large numbers the small ones vanish; beside usual ones too, unless those are near the small.
    with_big = expr.call("sqrt", big + mid * 2.0**shrink * 2.0**shrink) * 2.0**-shrink
    with_tiny = expr.call("sqrt", mid * 2.0**widen * 2.0**widen + tiny) * 2.0**-widen
    root = select(
        big > 0, with_big, select(mid < 2.0 ** (2 * least + 30), with_tiny, expr.call("sqrt", mid))
    )
    target = dtypes.resolve(dtype)
    output = map.Output(root, layout.broadcast(usual.shape, usual.shape, target))
    return map.plan(call.device, call.kernel(dtype), usual.shape, [output], [dense] * 3)


def _square_dtype(device: Device, dtype: np.dtype) -> np.dtype | None:
    """A compute dtype that holds any sum of squares of ``dtype``, where arithmetic in it costs little."""
    if dtype == dtypes.float16:
        return dtypes.float32
    cheap = device.kind == "cpu" and device.capabilities.fp64  # GPUs do double at a fraction of the speed
    return dtypes.float64 if cheap and dtype != dtypes.float64 else None


@operator(name="_root_of_sum", label="norm")
def _root_of_sum(call: Call, data: Spec, *, axis=None, keepdims=False):
    """The square root of the sum of squares along axes, of numbers with room for their squares."""

    def square(x):
        wide = expr.cast(x, _square_dtype(call.device, data.dtype))
        return wide * wide

    return _plan(
        call, data, axis, keepdims, False, "sum", square, lambda total, _: expr.call("sqrt", total)
    )


@grouped(name="_norm2", label="norm")
def _norm2(data, *, axis=None, keepdims=False):
    """The square root of the sum of squares along axes, without overflow or underflow on the way."""
    if _square_dtype(data.context.device, data._view.dtype) is not None:
        return [_root_of_sum(data, axis=axis, keepdims=keepdims)]
    sums = _squares(data, axis=axis, keepdims=keepdims)
    return [_root_of_squares(*sums, dtype=data._view.dtype.name)]


@_norm2.joint_gradient("data")
def _(dy, data, y, axis):
    """x / |x|, and 0 (a subgradient) where the norm is 0."""
    length = _aligned(y, data.shape, axis, False)
    direction = select(length == 0, 0, data / select(length == 0, 1, length))
    return (_aligned(dy, data.shape, axis, False) * direction,)


@composite()
def norm(data, ord=2, axis=None, out_dtype=None, keepdims=False):
    """The 1-norm or 2-norm along axes; the gradient at 0 is 0."""
    if ord not in (1, 2):
        raise argument_error("norm", "ord", ord, "1 or 2")
    if ord == 1:
        result = _norm1(data, axis=axis, keepdims=keepdims)
    else:
        (result,) = _norm2(data, axis=axis, keepdims=keepdims)
    return result if out_dtype is None else result.astype(out_dtype)


def _plan_place(call: Call, data: Spec, axis, keepdims, how: str) -> Plan:
    """The first place of an extremum: along an axis, or of all elements in order."""
    if axis is not None and not isinstance(axis, int):
        raise call.error("axis", axis, "one axis, or None")
    shape, ndim = data.shape, len(data.shape)
    axes = reduced_axes(call.op, ndim, axis)
    count = math.prod(shape[a] for a in axes)
    if count == 0:
        raise call.error("data", f"of shape {shape}", "at least one element to reduce")
    wide = _place_type(call, data, count)
    dtype = dtypes.float32 if data.dtype == dtypes.bool_ else data.dtype
    strides = layout.contiguous_strides(shape) if axis is None else layout.index(axes[0], ndim).strides
    narrow = wide.itemsize == 4
    reduction = reduce.Reduction(
        expr.cast(expr.operand(0, data.dtype), wide),
        how,
        dtype,
        lambda place: expr.cast(place, dtypes.compute_type(dtype)),
        place=expr.index(1, narrow),
    )
    return reduce.plan(
        call.device,
        call.kernel(data.dtype),
        shape,
        axes,
        [reduction],
        [layout.broadcast(shape, shape, data.dtype), layout.Operand(None, strides, narrow=narrow)],
        out_shape=_out_shape(shape, axes, keepdims),
    )


def _place_type(call: Call, data: Spec, count: int) -> np.dtype:
    """In what elements are compared: the type of places, of so many, must have the same size."""
    kind = dtypes.compute_type(data.dtype)
    if count < 2**31:
        return kind if kind.itemsize >= 4 else dtypes.int32
    if kind.kind != "f":
        return dtypes.int64
    if not call.device.capabilities.fp64:
        raise call.error(
            "data", f"of shape {data.shape}", "fewer than 2**31 elements to compare, without float64"
        )
    return dtypes.float64


@operator(reference=np.argmax)
def argmax(call: Call, data: Spec, *, axis=None, keepdims=False):
    """Index of the first largest element along an axis (of all elements for None), in data's dtype.

    Of a mask it is in float32.
    """
    return _plan_place(call, data, axis, keepdims, "argmax")


@operator(reference=np.argmin)
def argmin(call: Call, data: Spec, *, axis=None, keepdims=False):
    """Index of the first smallest element along an axis (of all elements for None), in data's dtype.

    Of a mask it is in float32.
    """
    return _plan_place(call, data, axis, keepdims, "argmin")


@composite()
def argmax_channel(data):
    """Index of the first largest element along the second axis, in data's dtype (see argmax)."""
    if data.ndim < 2:
        raise argument_error("argmax_channel", "data", f"of shape {data.shape}", "two axes or more")
    return argmax(data, axis=1)
