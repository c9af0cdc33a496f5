"""Activations: Activation and LeakyReLU, and the units with slopes of their own."""

from clgrad import tape
from clgrad.errors import argument_error
from clgrad.ops.creation import full_like
from clgrad.ops.sampling import uniform_like
from clgrad.ops.selection import select
from clgrad.ops.shape import with_shape
from clgrad.ops.unary import elu, gelu, leaky_relu, relu, sigmoid, softrelu, softsign, tanh
from clgrad.registry import composite, elementwise

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
            gamma = with_shape(gamma, shape=(1, gamma.size, *[1] * (data.ndim - 2)))
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
