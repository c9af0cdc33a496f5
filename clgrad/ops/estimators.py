"""Elementwise functions whose gradient is chosen, and the quadratic function."""

from clgrad.ops.unary import round, sign
from clgrad.registry import elementwise


@elementwise(name="contrib.round_ste", integers=True)
def round_ste(data):
    """The nearest whole number, ties away from 0, with the gradient of x (Bengio et al., 2013)."""
    return round(data)


round_ste.gradient(data=lambda dy: dy)


@elementwise(name="contrib.sign_ste", integers=True)
def sign_ste(data):
    """-1, 0 or 1, with the gradient of x (Bengio et al., 2013)."""
    return sign(data)


sign_ste.gradient(data=lambda dy: dy)


@elementwise(name="contrib.gradientmultiplier", integers=True)
def gradientmultiplier(data, scalar: float = 1.0, is_int: float = True):
    """x, with a gradient multiplied by ``scalar``: below 0, gradients are reversed (Ganin et al., 2016)."""
    return data


gradientmultiplier.gradient(data=lambda dy, scalar: dy * scalar)


@elementwise(name="contrib.quadratic")
def quadratic(data, a: float = 0.0, b: float = 0.0, c: float = 0.0):
    """a x^2 + b x + c."""
    return a * data * data + b * data + c


quadratic.gradient(data=lambda dy, data, a, b: dy * (2 * a * data + b))
