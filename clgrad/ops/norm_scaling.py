"""Division by a norm: of the instance, the channels, the space, or of neighbouring channels."""

import math

from clgrad import dtypes, tape
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, reduce
from clgrad.ops import reduction
from clgrad.ops.arguments import check_floating, kept_shape
from clgrad.ops.arithmetic import power
from clgrad.ops.pooling import Pooling
from clgrad.ops.shape import with_shape
from clgrad.ops.unary import rsqrt, square
from clgrad.registry import Call, Spec, composite, elementwise, grouped, operator


@operator(name="_sum_products", numbers=("eps",))
def _sum_products(call: Call, lhs: Spec, rhs: Spec, *, axes, inverse, eps):
    """The sum of lhs * rhs along axes, in one pass; with ``inverse``, 1 / sqrt(it + eps)."""
    shape, dtype = lhs.shape, lhs.dtype
    value = expr.operand(0, dtype) * expr.operand(1, rhs.dtype)
    wide, number = dtypes.compute_type(dtype), expr.scalar(0, dtype)
    finish = (lambda total: expr.call("rsqrt", total + number)) if inverse else (lambda total: total)
    results = [reduce.Reduction(value, "sum", wide, finish)]
    own = [layout.broadcast(shape, shape, s.dtype) for s in (lhs, rhs)]
    name, small = call.kernel(dtype), kept_shape(shape, axes)
    return reduce.plan(call.device, name, shape, axes, results, own, [dtype], out_shape=small)


@elementwise(name="_scaled", free=("factor",))
def _scaled(data, factor):
    """x * factor."""
    return data * factor


@elementwise(name="_l2_grad", free=("factor", "moment"))
def _l2_grad(grad, y, factor, moment):
    """factor * (dy - y * moment)."""
    return factor * (grad - y * moment)


@grouped(name="_l2_normalize", label="L2Normalization", outputs=("y", "factor"))
def _l2_normalize(data, *, axes, eps):
    """x / sqrt(sum(x^2) + eps) along axes, and the factor."""
    factor = _sum_products(data, data, axes=axes, inverse=True, eps=eps)
    return [_scaled(data, factor), factor]


@_l2_normalize.joint_gradient("data")
def _(d_y, data, y, factor, axes, eps):
    """(dy - y sum(dy y)) / norm; in two launches, or in recorded ops under create_graph."""
    if not tape.state.recording:
        moment = _sum_products(d_y, y, axes=axes, inverse=False, eps=eps)
        return (_l2_grad(d_y, y, factor, moment),)
    wide = dtypes.compute_type(data._view.dtype)
    kept = tuple(a for a in range(data.ndim) if a not in axes)

    def total(v):
        return reduction.sum(v, axis=kept, exclude=True, keepdims=True)

    x, dy = data.astype(wide.name), d_y.astype(wide.name)
    r = rsqrt(total(x * x) + eps)
    unit = x * r
    return ((r * (dy - unit * total(dy * unit))).astype(data._view.dtype.name),)


@composite()
def L2Normalization(data, eps=1e-10, mode="instance"):
    """x / sqrt(sum(x^2) + eps) over each instance (all axes but the first), channel or place.

    ``mode`` ``instance`` sums along all axes but the first; ``channel`` along axis 1, and ``spatial``
    along all axes behind it, of arrays with at least 3 axes.
    """
    op, ndim = "L2Normalization", data.ndim
    check_floating(op, data=data)
    modes = {"instance": tuple(range(1, ndim)), "channel": (1,), "spatial": tuple(range(2, ndim))}
    if mode not in modes:
        raise argument_error(op, "mode", repr(mode), ", ".join(modes))
    if mode != "instance" and ndim < 3:
        raise argument_error(op, "data", f"of shape {data.shape}", f"at least 3 axes for mode={mode!r}")
    return _l2_normalize(data, axes=modes[mode], eps=float(eps))[0]


@elementwise(name="_lrn", label="LRN", domain=(0.5, 2))
def _lrn(data, squares, alpha: float, beta: float, knorm: float):
    """x / (knorm + alpha * squares)^beta."""
    return data * power(knorm + alpha * squares, -beta)


_lrn.gradient(
    data=lambda dy, squares, alpha, beta, knorm: dy * power(knorm + alpha * squares, -beta),
    squares=lambda dy, data, squares, alpha, beta, knorm: (
        -alpha * beta * dy * data * power(knorm + alpha * squares, -beta - 1)
    ),
)


@composite()
def LRN(data, alpha=1e-4, beta=0.75, knorm=2.0, nsize=None):
    """x / (knorm + alpha / nsize * s)^beta, s the sum of x^2 over (nsize - 1) // 2 channels on each side.

    Data is (batch, channel, height, width); beyond the first and the last channel there are zeros
    (Krizhevsky, Sutskever & Hinton, 2012, section 3.3).
    """
    check_floating("LRN", data=data)
    if data.ndim != 4:
        raise argument_error("LRN", "data", f"of shape {data.shape}", "4 axes")
    if nsize is None or nsize < 1:
        raise argument_error("LRN", "nsize", nsize, "a whole number above 0")
    reach = (int(nsize) - 1) // 2
    batch, channels, *space = data.shape
    # Channels become the height of an image of one channel.
    image = with_shape(square(data), shape=(batch, 1, channels, math.prod(space)))
    window = {"kernel": (2 * reach + 1, 1), "stride": (1, 1), "pad": (reach, 0)}
    squares = with_shape(Pooling(image, pool_type="sum", **window), shape=data.shape)
    return _lrn(data, squares, alpha / nsize, float(beta), float(knorm))
