"""Normalisation by the mean and variance of a part of the array."""

import math

from clgrad import tape
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, reduce
from clgrad.ops import reduction
from clgrad.ops.reduction import kept_shape, reduced_axes
from clgrad.ops.shape import reshape
from clgrad.ops.unary import rsqrt
from clgrad.registry import Call, Spec, composite, elementwise, grouped, operator


@elementwise(name="_standardize", domain=(0.5, 2))
def _standardize(data, mean, var, gamma, beta, eps: float):
    """gamma (x - mean) / sqrt(var + eps) + beta."""
    return (data - mean) * rsqrt(var + eps) * gamma + beta


_standardize.gradient(
    data=lambda dy, var, gamma, eps: dy * gamma * rsqrt(var + eps),
    mean=lambda dy, var, gamma, eps: -(dy * gamma * rsqrt(var + eps)),
    var=lambda dy, data, mean, var, gamma, eps: (
        -0.5 * dy * gamma * (data - mean) * rsqrt(var + eps) / (var + eps)
    ),
    gamma=lambda dy, data, mean, var, eps: dy * (data - mean) * rsqrt(var + eps),
    beta=lambda dy: dy,
)


@elementwise(name="_moving_average")
def _moving_average(moving, batch, momentum: float):
    """momentum * moving + (1 - momentum) * batch."""
    return moving * momentum + batch * (1 - momentum)


@elementwise(name="_ones_of")
def _ones_of(data):
    """Ones; in the graph, with a gradient of 0."""
    return expr.constant(1, data.dtype)


@operator(name="_mean_square_about")
def _mean_square_about(call: Call, data: Spec, centre: Spec, *, axis):
    """The mean of (x - centre)^2 of each channel; two passes, so that nothing cancels."""
    shape, dtype = data.shape, data.dtype
    others = tuple(a for a in range(len(shape)) if a != axis)
    count = math.prod(shape[a] for a in others)
    difference = expr.operand(0, dtype) - expr.operand(1, dtype)
    average = reduce.Reduction(difference * difference, "sum", dtype, lambda total: total / count)
    operands = [
        layout.broadcast(shape, shape, dtype),
        layout.broadcast(kept_shape(shape, others), shape, dtype),
    ]
    return reduce.plan(call.device, call.kernel(dtype), shape, others, [average], operands)


@operator(name="_batch_norm_sums", outputs=("d_beta", "d_gamma"), numbers=("eps",))
def _batch_norm_sums(call: Call, grad: Spec, data: Spec, mean: Spec, var: Spec, *, axis, eps):
    """The sums of dy and of dy (x - mean) / sqrt(var + eps) of each channel, in one pass."""
    shape, dtype = data.shape, data.dtype
    others = tuple(a for a in range(len(shape)) if a != axis)
    dy, x, mu, v = (expr.operand(i, dtype) for i in range(4))
    standard = (x - mu) * expr.call("rsqrt", v + expr.scalar(0, dtype))
    own = layout.broadcast(shape, shape, dtype)
    per_channel = layout.broadcast(kept_shape(shape, others), shape, dtype)
    sums = [reduce.Reduction(dy, "sum", dtype), reduce.Reduction(dy * standard, "sum", dtype)]
    operands = [own, own, per_channel, per_channel]
    return reduce.plan(call.device, call.kernel(dtype), shape, others, sums, operands, [dtype])


@elementwise(name="_batch_norm_grad_data")
def _batch_norm_grad_data(grad, data, mean, var, gamma, d_beta, d_gamma, eps: float, share: float):
    """gamma / sqrt(var + eps) * (dy - d_beta / n - standardized x * d_gamma / n), share = 1 / n."""
    scale = rsqrt(var + eps)
    return gamma * scale * (grad - share * (d_beta + (data - mean) * scale * d_gamma))


def _per_channel(array, ndim: int, axis: int):
    return reshape(array, shape=tuple(-1 if a == axis else 1 for a in range(ndim)))


@grouped(name="_batch_norm", label="BatchNorm", outputs=("y", "mean", "var"))
def _batch_norm(data, gamma, beta, *, axis, eps):
    """Data standardised by the mean and variance of its channels; and these."""
    mean = reduction.mean(data, axis=axis, exclude=True)
    var = _mean_square_about(data, mean, axis=axis)
    mean_, var_, gamma_, beta_ = (_per_channel(v, data.ndim, axis) for v in (mean, var, gamma, beta))
    return [_standardize(data, mean_, var_, gamma_, beta_, eps), mean, var]


@_batch_norm.joint_gradient("data", "gamma", "beta")
def _(dy, data, gamma, mean, var, axis, eps):
    """Ioffe & Szegedy (2015), section 3; in two launches, or in recorded ops under create_graph."""
    ndim, share = data.ndim, data.shape[axis] / data.size
    if tape.state.recording:
        return _batch_norm_rule_recorded(dy, data, gamma, axis, eps)
    mean_, var_, gamma_ = (_per_channel(v, ndim, axis) for v in (mean, var, gamma))
    d_beta, d_gamma = _batch_norm_sums(dy, data, mean, var, axis=axis, eps=eps)
    sums = (_per_channel(v, ndim, axis) for v in (d_beta, d_gamma))
    d_data = _batch_norm_grad_data(dy, data, mean_, var_, gamma_, *sums, eps, share)
    return d_data, d_gamma, d_beta


def _batch_norm_rule_recorded(dy, data, gamma, axis: int, eps: float):
    def total(x):
        return reduction.sum(x, axis=axis, exclude=True, keepdims=True)

    share = data.shape[axis] / data.size
    centred = data - total(data) * share
    scale = rsqrt(total(centred * centred) * share + eps)
    standard = centred * scale
    d_beta, d_gamma = total(dy), total(dy * standard)
    gamma_ = _per_channel(gamma, data.ndim, axis)
    d_data = gamma_ * scale * (dy - share * (d_beta + standard * d_gamma))
    return d_data, reshape(d_gamma, shape=(-1,)), reshape(d_beta, shape=(-1,))


@composite()
def BatchNorm(
    data,
    gamma,
    beta,
    moving_mean,
    moving_var,
    eps=1e-3,
    momentum=0.9,
    fix_gamma=True,
    use_global_stats=False,
    output_mean_var=False,
    axis=1,
    cudnn_off=False,
    min_calib_range=None,
    max_calib_range=None,
):
    """gamma (x - mean) / sqrt(var + eps) + beta of each channel (Ioffe & Szegedy, 2015).

    In training, mean and variance are the batch's, and the moving averages take a step towards them, in
    place: moving = momentum * moving + (1 - momentum) * batch. In prediction (or with
    ``use_global_stats``) the moving averages are used. ``fix_gamma`` takes gamma as 1, with gradient 0.
    """
    (axis,) = reduced_axes("BatchNorm", data.ndim, axis)
    channels = (data.shape[axis],)
    vectors = {"gamma": gamma, "beta": beta, "moving_mean": moving_mean, "moving_var": moving_var}
    for argument, vector in vectors.items():
        if vector.shape != channels or vector.dtype != data.dtype:
            raise argument_error(
                "BatchNorm",
                argument,
                f"{vector._view.dtype} {vector.shape}",
                f"{data._view.dtype} {channels} for data {data.shape} and axis {axis}",
            )
    if fix_gamma:
        gamma = _ones_of(gamma)
    if tape.state.training and not use_global_stats:
        y, mean, var = _batch_norm(data, gamma, beta, axis=axis, eps=float(eps))
        recording = tape.set_recording(False)
        _moving_average(moving_mean, mean, momentum, out=moving_mean)
        _moving_average(moving_var, var, momentum, out=moving_var)
        tape.set_recording(recording)
    else:
        mean, var = moving_mean, moving_var
        parts = (_per_channel(v, data.ndim, axis) for v in (mean.detach(), var.detach(), gamma, beta))
        y = _standardize(data, *parts, float(eps))
    return [y, mean, var] if output_mean_var else y
