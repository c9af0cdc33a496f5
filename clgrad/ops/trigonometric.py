"""Trigonometric and hyperbolic functions, and their inverses.

Definitions are those of the C standard library (ISO C11, 7.12).
"""

import math

import numpy as np

from clgrad.kernels.expr import call
from clgrad.ops.unary import abs, exp, rsqrt, square
from clgrad.registry import elementwise


@elementwise(reference=np.sin, domain=(-3, 3))
def sin(data):
    """The sine of x radians."""
    return call("sin", data)


sin.gradient(data=lambda dy, data: dy * cos(data))


@elementwise(reference=np.cos, domain=(-3, 3))
def cos(data):
    """The cosine of x radians."""
    return call("cos", data)


cos.gradient(data=lambda dy, data: -(dy * sin(data)))


@elementwise(reference=np.tan, domain=(-1, 1))
def tan(data):
    """The tangent of x radians."""
    return call("tan", data)


tan.gradient(data=lambda dy, y: dy * (1 + y * y))


@elementwise(reference=np.arcsin, domain=(-0.8, 0.8))
def arcsin(data):
    """The angle in [-pi/2, pi/2] whose sine is x."""
    return call("asin", data)


@elementwise(name="_one_minus_square", reference=lambda data: 1 - data * data, domain=(-0.8, 0.8))
def one_minus_square(data):
    """1 - x^2 in two factors, since the difference would cancel near 1."""
    return (1 - data) * (1 + data)


# That of the factors would cancel near 0.
one_minus_square.gradient(data=lambda dy, data: -2 * dy * data)

arcsin.gradient(data=lambda dy, data: dy * rsqrt(one_minus_square(data)))


@elementwise(reference=np.arccos, domain=(-0.8, 0.8))
def arccos(data):
    """The angle in [0, pi] whose cosine is x."""
    return call("acos", data)


arccos.gradient(data=lambda dy, data: -(dy * rsqrt(one_minus_square(data))))


@elementwise(reference=np.arctan, domain=(-3, 3))
def arctan(data):
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return call("atan", data)


arctan.gradient(data=lambda dy, data: dy / (1 + data * data))


@elementwise(reference=np.sinh, domain=(-2, 2))
def sinh(data):
    """The hyperbolic sine of x."""
    return call("sinh", data)


sinh.gradient(data=lambda dy, data: dy * cosh(data))


@elementwise(reference=np.cosh, domain=(-2, 2))
def cosh(data):
    """The hyperbolic cosine of x."""
    return call("cosh", data)


cosh.gradient(data=lambda dy, data: dy * sinh(data))


@elementwise(reference=np.tanh, domain=(-2, 2))
def tanh(data):
    """The hyperbolic tangent of x."""
    return call("tanh", data)


@elementwise(name="_sech", reference=lambda data: 1 / np.cosh(data), domain=(-3, 3))
def sech(data):
    """The hyperbolic secant of x, 1 / cosh(x), without overflow."""
    small = exp(-abs(data))
    return 2 * small / (1 + small * small)


sech.gradient(data=lambda dy, data, y: -(dy * y * tanh(data)))

# 1 - y^2 would be 0 from where y rounds to 1.
tanh.gradient(data=lambda dy, data: dy * square(sech(data)))


@elementwise(reference=np.arcsinh, domain=(-3, 3))
def arcsinh(data):
    """The inverse hyperbolic sine of x."""
    return call("asinh", data)


@elementwise(name="_sqrt_one_plus_square", reference=lambda data: np.hypot(data, 1), domain=(-3, 3))
def sqrt_one_plus_square(data):
    """sqrt(1 + x^2), without overflow on the way."""
    return call("hypot", data, 1)


sqrt_one_plus_square.gradient(data=lambda dy, data, y: dy * (data / y))

arcsinh.gradient(data=lambda dy, data: dy / sqrt_one_plus_square(data))


@elementwise(reference=np.arccosh, domain=(1.2, 4))
def arccosh(data):
    """The inverse hyperbolic cosine of x, at least 0."""
    return call("acosh", data)


# Two roots, since x^2 - 1 would cancel near 1 and overflow far from it.
arccosh.gradient(data=lambda dy, data: dy * rsqrt(data - 1) * rsqrt(data + 1))


@elementwise(reference=np.arctanh, domain=(-0.8, 0.8))
def arctanh(data):
    """The inverse hyperbolic tangent of x."""
    return call("atanh", data)


arctanh.gradient(data=lambda dy, data: dy / one_minus_square(data))


@elementwise(reference=np.degrees, domain=(-3, 3))
def degrees(data):
    """Radians to degrees: x * 180 / pi."""
    return data * (180 / math.pi)


degrees.gradient(data=lambda dy: dy * (180 / math.pi))


@elementwise(reference=np.radians, domain=(-180, 180))
def radians(data):
    """Degrees to radians: x * pi / 180."""
    return data * (math.pi / 180)


radians.gradient(data=lambda dy: dy * (math.pi / 180))
