"""Activations, softmax, normalisation, dropout."""

import math

from clgrad import tape
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, random, reduce, rowwise
from clgrad.ops import reduction
from clgrad.ops.arithmetic import multiply
from clgrad.ops.creation import dtype_of
from clgrad.ops.indexing import pick
from clgrad.ops.reduction import kept_shape, reduced_axes
from clgrad.ops.sampling import generator, uniform_like
from clgrad.ops.selection import select
from clgrad.ops.shape import reshape
from clgrad.ops.unary import (
    elu,
    exp,
    gelu,
    identity,
    leaky_relu,
    relu,
    rsqrt,
    sigmoid,
    softrelu,
    softsign,
    tanh,
)
from clgrad.registry import Call, Spec, composite, elementwise, grouped, operator

_ACTIVATIONS = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softrelu": softrelu,
    "softsign": softsign,
}

#: Constants of the self-normalising unit (Klambauer et al., 2017).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@composite()
def Activation(data, act_type):
    """relu, sigmoid, tanh, softrelu or softsign of each element."""
    if act_type not in _ACTIVATIONS:
        raise argument_error("Activation", "act_type", repr(act_type), ", ".join(_ACTIVATIONS))
    return _ACTIVATIONS[act_type](data)


@composite()
def LeakyReLU(data, gamma=None, act_type="leaky", slope=0.25, lower_bound=0.125, upper_bound=0.334):
    """leaky, prelu (slopes ``gamma``, one for each channel), elu, selu, gelu or rrelu.

    rrelu draws its slope from [lower_bound, upper_bound) for each element in training, and takes their
    mean in prediction.
    """
    if act_type == "leaky":
        return leaky_relu(data, slope)
    if act_type == "prelu":
        if gamma is None:
            raise argument_error("LeakyReLU", "gamma", None, "an array of slopes for prelu")
        channels = (1, -1) + (1,) * (data.ndim - 2) if data.ndim > 1 else (-1,)
        return _prelu(data, reshape(gamma, shape=channels))
    if act_type == "elu":
        return elu(data, slope)
    if act_type == "selu":
        return elu(data, _SELU_ALPHA) * _SELU_SCALE
    if act_type == "gelu":
        return gelu(data)
    if act_type == "rrelu":
        if not tape.state.training:
            return leaky_relu(data, (lower_bound + upper_bound) / 2)
        slopes = uniform_like(data, lower_bound, upper_bound)
        return _prelu(data, slopes)
    accepted = "leaky, prelu, elu, selu, gelu, rrelu"
    raise argument_error("LeakyReLU", "act_type", repr(act_type), accepted)


@elementwise(name="_prelu")
def _prelu(data, gamma):
    """x where x > 0, else gamma * x."""
    return select(data > 0, data, gamma * data)


_prelu.gradient(
    data=lambda dy, data, gamma: select(data > 0, dy, gamma * dy),
    gamma=lambda dy, data: select(data > 0, 0, dy * data),
)


# Softmax


@operator(name="_softmax")
def _softmax(call: Call, data: Spec, *, axis, temperature, log):
    """Softmax, or its logarithm, along an axis."""
    return rowwise.plan_softmax(
        call.device,
        call.kernel(data.dtype),
        data.shape,
        axis,
        data.dtype,
        log=log,
        temperature=temperature,
    )


@operator(name="_softmax_grad")
def _softmax_grad(call: Call, grad: Spec, softmax: Spec, *, axis, temperature, log):
    """The gradient of softmax, y (dy - sum(dy y)) / T, or of its logarithm, (dy - e^y sum(dy)) / T."""
    return rowwise.plan_softmax_grad(
        call.device,
        call.kernel(grad.dtype),
        grad.shape,
        axis,
        grad.dtype,
        log=log,
        temperature=temperature,
    )


_softmax.gradient(
    data=lambda dy, y, axis, temperature, log: _softmax_grad(
        dy, y, axis=axis, temperature=temperature, log=log
    )
)


@_softmax_grad.joint_gradient("grad", "softmax")
def _(dy, grad, softmax, axis, temperature, log):
    """The gradient is linear in ``grad``; its transpose, and its derivative by the softmax."""

    def total(x):
        return reduction.sum(x, axis=axis, keepdims=True)

    if log:
        p = exp(softmax)
        d_grad = (dy - total(dy * p)) / temperature
        return d_grad, -(dy * p * total(grad)) / temperature
    d_grad = _softmax_grad(dy, softmax, axis=axis, temperature=temperature, log=False)
    s = total(grad * softmax)
    return d_grad, (dy * (grad - s) - grad * total(dy * softmax)) / temperature


def _check_softmax(op: str, data, axis, use_length, dtype):
    if use_length:
        raise argument_error(op, "use_length", use_length, "False (lengths are not implemented yet)")
    result = data if dtype is None else data.astype(dtype)
    if result._view.dtype.kind != "f":
        raise argument_error(op, "data", f"of dtype {result._view.dtype}", "a floating-point dtype")
    (axis,) = reduced_axes(op, data.ndim, axis)
    return result, axis


@composite()
def softmax(data, length=None, axis=-1, temperature=None, use_length=False, dtype=None):
    """exp(x / T) / sum(exp(x / T)) along an axis, without overflow; T is ``temperature``, 1 by default."""
    data, axis = _check_softmax("softmax", data, axis, use_length, dtype)
    return _softmax(data, axis=axis, temperature=float(temperature or 1), log=False)


@composite()
def log_softmax(data, axis=-1, temperature=None, use_length=False, dtype=None):
    """The logarithm of softmax along an axis, without overflow or cancellation."""
    data, axis = _check_softmax("log_softmax", data, axis, use_length, dtype)
    return _softmax(data, axis=axis, temperature=float(temperature or 1), log=True)


@composite()
def softmin(data, axis=-1, temperature=None, use_length=False, dtype=None):
    """Softmax of -x."""
    return softmax(-data, axis=axis, temperature=temperature, dtype=dtype)


@composite()
def softmax_cross_entropy(data, label):
    """The sum over rows of -log softmax(data)[label], as shape (1,)."""
    if data.ndim != 2 or label.shape != data.shape[:1]:
        raise argument_error(
            "softmax_cross_entropy",
            "data, label",
            f"of shapes {data.shape}, {label.shape}",
            "(n, classes) and (n,)",
        )
    return -reduction.sum(pick(log_softmax(data), label))


# Dropout


@operator(name="_dropout", label="Dropout", outputs=("y", "mask"), numbers=("seed", "draw", "keep"))
def _dropout(call: Call, data: Spec, *, seed, draw, keep):
    """Each element kept with probability ``keep`` and divided by it, else 0; and the factors."""
    return random.plan_dropout(call.device, call.kernel(data.dtype), data.shape, data.dtype)


_dropout.gradient(data=lambda dy, mask: dy * mask)


@operator(name="_dropout_mask", numbers=("seed", "draw", "keep"))
def _dropout_mask(call: Call, *, shape, dtype, seed, draw, keep):
    """1 / keep with probability ``keep``, else 0."""
    dtype = dtype_of(call, dtype)
    return random.plan_mask(call.device, call.kernel(dtype), shape, dtype)


@composite()
def Dropout(data, p=0.5, mode="training", axes=(), cudnn_off=False):
    """Elements set to 0 with probability p and the others divided by 1 - p, in training mode.

    ``mode`` ``always`` drops in prediction too; along ``axes`` one draw serves all elements.
    """
    if not 0 <= p < 1:
        raise argument_error("Dropout", "p", p, "0 <= p < 1")
    if mode not in ("training", "always"):
        raise argument_error("Dropout", "mode", repr(mode), "'training' or 'always'")
    if p == 0 or (mode == "training" and not tape.state.training):
        return identity(data)
    draw = generator.next()
    if not axes:
        return _dropout(data, keep=1 - p, **draw)[0]
    shape = kept_shape(data.shape, reduced_axes("Dropout", data.ndim, axes))
    mask = _dropout_mask.create(data.context, shape=shape, dtype=data._view.dtype.name, keep=1 - p, **draw)
    return multiply(data, mask)


# Batch normalisation


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
