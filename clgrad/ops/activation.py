"""Activation functions, and the ops that choose one by name: Activation and LeakyReLU."""

import math

import numpy as np

from clgrad import tape
from clgrad.errors import argument_error
from clgrad.kernels.expr import call
from clgrad.ops.creation import full_like
from clgrad.ops.sampling import uniform_like
from clgrad.ops.selection import select
from clgrad.ops.shape import along
from clgrad.ops.special import normal_cdf
from clgrad.ops.trigonometric import tanh
from clgrad.ops.unary import abs, clip, exp, expm1, square
from clgrad.registry import composite, elementwise


@elementwise(reference=lambda data: np.maximum(data, 0), domain=(-3, 3), integers=True)
def relu(data):
    """max(x, 0), and NaN of NaN; the gradient at 0 is 0."""
    if data.dtype.kind == "f":
        return select(data <= 0, 0, data)  # NaN is not <= 0
    return select(data > 0, data, 0)  # in char16 Mesa 22.3 (llvmpipe) crashes on the other form


relu.gradient(data=lambda dy, y: select(y == 0, 0, dy))


@elementwise(reference=lambda data: 1 / (1 + np.exp(-data)), domain=(-4, 4))
def sigmoid(data):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + exp(-data))


@elementwise(name="_sigmoid_slope", reference=lambda data: 0.25 / np.cosh(data / 2) ** 2, domain=(-4, 4))
def sigmoid_slope(data):
    """The derivative of sigmoid, exp(-|x|) / (1 + exp(-|x|))^2."""
    small = exp(-abs(data))
    return small / square(1 + small)


sigmoid_slope.gradient(data=lambda dy, data, y: -(dy * y * tanh(0.5 * data)))

# y (1 - y) would be 0 from where y rounds to 1.
sigmoid.gradient(data=lambda dy, data: dy * sigmoid_slope(data))


@elementwise(reference=lambda data: np.logaddexp(data, 0), domain=(-4, 4))
def softrelu(data):
    """log(1 + exp(x)), without overflow (softplus)."""
    return call("softplus", data)


softrelu.gradient(data=lambda dy, data: dy * sigmoid(data))


@elementwise(reference=lambda data: data / (1 + np.abs(data)), domain=(-3, 3))
def softsign(data):
    """x / (1 + |x|)."""
    return data / (1 + abs(data))


softsign.gradient(data=lambda dy, data: dy / square(1 + abs(data)))


@elementwise(reference=lambda data, alpha=0.2, beta=0.5: np.clip(alpha * data + beta, 0, 1), domain=(-4, 4))
def hard_sigmoid(data, alpha: float = 0.2, beta: float = 0.5):
    """alpha x + beta, limited to [0, 1]."""
    return clip(alpha * data + beta, 0, 1)


hard_sigmoid.gradient(data=lambda dy, y, alpha, beta: select((y > 0) * (y < 1), alpha * dy, 0))


@elementwise(domain=(-3, 3))
def gelu(data):
    """x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel, 2016)."""
    return data * normal_cdf(data)


@elementwise(name="_gelu_slope", domain=(-3, 3))
def gelu_slope(data):
    """The derivative of gelu, Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi); Phi needs that exponential as well."""
    return call("gelu_slope", data)


def _gelu_bend(dy, data):
    """(2 - x^2) exp(-x^2 / 2) / sqrt(2 pi), which has vanished long before x^2 overflows."""
    x = clip(data, -64, 64)
    return dy * (2 - x * x) * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


gelu_slope.gradient(data=_gelu_bend)
gelu.gradient(data=lambda dy, data: dy * gelu_slope(data))


@elementwise(domain=(-3, 3))
def leaky_relu(data, slope: float = 0.25):
    """x where x > 0, else slope * x."""
    return select(data > 0, data, slope * data)


leaky_relu.gradient(data=lambda dy, data, slope: select(data > 0, dy, slope * dy))


@elementwise(domain=(-3, 3))
def elu(data, slope: float = 1.0):
    """x where x > 0, else slope * (exp(x) - 1) (Clevert et al., 2016)."""
    return select(data > 0, data, slope * expm1(data))


# y + slope would cancel; and exp of what is not chosen must not overflow (0 times infinity).
elu.gradient(data=lambda dy, data, slope: select(data > 0, dy, dy * slope * exp(select(data > 0, 0, data))))


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
    mean in prediction; it returns the slopes as well.
    """
    if act_type == "leaky":
        return leaky_relu(data, slope)
    if act_type == "prelu":
        if gamma is None:
            raise argument_error("LeakyReLU", "gamma", None, "an array of slopes for prelu")
        if gamma.ndim == 1 and data.ndim > 1:
            gamma = along(gamma, data.ndim, 1)
        return _prelu(data, gamma)
    if act_type == "elu":
        return elu(data, slope)
    if act_type == "selu":
        return elu(data, _SELU_ALPHA) * _SELU_SCALE
    if act_type == "gelu":
        return gelu(data)
    if act_type == "rrelu":
        if tape.state.training:
            slopes = uniform_like(data, lower_bound, upper_bound)
        else:
            slopes = full_like(data, (lower_bound + upper_bound) / 2)
        return [_prelu(data, slopes), slopes]
    accepted = "leaky, prelu, elu, selu, gelu, rrelu"
    raise argument_error("LeakyReLU", "act_type", repr(act_type), accepted)


@elementwise(name="_prelu", label="LeakyReLU")
def _prelu(data, gamma):
    """x where x > 0, else gamma * x."""
    return select(data > 0, data, gamma * data)


_prelu.gradient(
    data=lambda dy, data, gamma: select(data > 0, dy, gamma * dy),
    gamma=lambda dy, data: select(data > 0, 0, dy * data),
)
