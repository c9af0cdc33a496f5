"""Elementwise functions of one array: signs, powers, exponentials and logarithms, rounding, predicates.

Definitions are those of the C standard library (ISO C11, 7.12) where it has the function. Integer arrays
are computed in floating point and truncated back, as in MXNet.
"""

import math

import numpy as np

from clgrad.kernels.expr import call
from clgrad.ops.selection import select
from clgrad.registry import elementwise


def _real_only(data):
    """Whether rounding has anything to do: integers are whole already."""
    return data.dtype.kind == "f"


@elementwise(aliases=("_copy",), reference=lambda data: data, integers=True)
def identity(data):
    """A copy of x."""
    return data


identity.gradient(data=lambda dy: dy)


@elementwise(aliases=("stop_gradient",), reference=lambda data: data, integers=True)
def BlockGrad(data):
    """A copy of x through which no gradient flows."""
    return data


@elementwise(reference=lambda data: data)
def make_loss(data):
    """A copy of x whose gradient is 1 whatever the head gradient: marks x as a loss."""
    return data


make_loss.gradient(data=lambda: 1.0)


@elementwise(reference=np.abs, domain=(-3, 3), integers=True)
def abs(data):
    """|x|; the gradient at 0 is 0."""
    if _real_only(data):
        return call("fabs", data)
    return select(data < 0, -data, data)


abs.gradient(data=lambda dy, data: dy * sign(data))


@elementwise(reference=np.sign, domain=(-3, 3), integers=True)
def sign(data):
    """-1, 0 or 1; NaN of NaN. The gradient is 0."""
    return select(data == data, (data > 0) - (data < 0), data)


@elementwise(reference=np.negative, domain=(-3, 3), integers=True)
def negative(data):
    """-x."""
    return -data


negative.gradient(data=lambda dy: -dy)


@elementwise(reference=np.reciprocal, domain=(0.5, 3))
def reciprocal(data):
    """1 / x."""
    return 1 / data


reciprocal.gradient(data=lambda dy, y: -(dy * y * y))


@elementwise(reference=np.square, domain=(-3, 3), integers=True)
def square(data):
    """x * x."""
    return data * data


square.gradient(data=lambda dy, data: 2 * dy * data)


@elementwise(name="_cube", reference=lambda x: x**3, domain=(-3, 3), integers=True)
def cube(data):
    """x * x * x."""
    return data * data * data


cube.gradient(data=lambda dy, data: 3 * dy * data * data)


@elementwise(reference=np.sqrt, domain=(0.2, 4))
def sqrt(data):
    """The square root of x."""
    return call("sqrt", data)


sqrt.gradient(data=lambda dy, y: 0.5 * dy / y)


@elementwise(reference=lambda data: 1 / np.sqrt(data), domain=(0.2, 4))
def rsqrt(data):
    """1 / sqrt(x)."""
    return call("rsqrt", data)


rsqrt.gradient(data=lambda dy, y: -0.5 * dy * y * y * y)


@elementwise(reference=np.cbrt, domain=(0.2, 4))
def cbrt(data):
    """The cube root of x."""
    return call("cbrt", data)


# 1 / (3 y^2) would have a second derivative of infinity times 0 at 0.
cbrt.gradient(data=lambda dy, y: dy * square(reciprocal(y)) * (1 / 3))


@elementwise(reference=lambda data: 1 / np.cbrt(data), domain=(0.2, 4))
def rcbrt(data):
    """1 / cbrt(x)."""
    return 1 / call("cbrt", data)


rcbrt.gradient(data=lambda dy, y: dy * y * y * y * y * (-1 / 3))


@elementwise(reference=np.exp, domain=(-3, 3))
def exp(data):
    """e to the power of x."""
    return call("exp", data)


exp.gradient(data=lambda dy, y: dy * y)


@elementwise(reference=np.expm1, domain=(-2, 2))
def expm1(data):
    """exp(x) - 1, accurate near 0."""
    return call("expm1", data)


expm1.gradient(data=lambda dy, data: dy * exp(data))  # y + 1 would cancel


@elementwise(reference=np.log, domain=(0.2, 4))
def log(data):
    """The natural logarithm of x."""
    return call("log", data)


log.gradient(data=lambda dy, data: dy / data)


@elementwise(reference=np.log10, domain=(0.2, 4))
def log10(data):
    """The logarithm of x to base 10."""
    return call("log10", data)


log10.gradient(data=lambda dy, data: dy / (data * math.log(10)))


@elementwise(reference=np.log2, domain=(0.2, 4))
def log2(data):
    """The logarithm of x to base 2."""
    return call("log2", data)


log2.gradient(data=lambda dy, data: dy / (data * math.log(2)))


@elementwise(reference=np.log1p, domain=(-0.5, 3))
def log1p(data):
    """log(1 + x), accurate near 0."""
    return call("log1p", data)


log1p.gradient(data=lambda dy, data: dy / (1 + data))


@elementwise(reference=np.floor, domain=(-3, 3), integers=True)
def floor(data):
    """The largest whole number not above x. The gradient is 0."""
    return call("floor", data) if _real_only(data) else data


@elementwise(reference=np.ceil, domain=(-3, 3), integers=True)
def ceil(data):
    """The smallest whole number not below x. The gradient is 0."""
    return call("ceil", data) if _real_only(data) else data


@elementwise(
    reference=lambda data: np.where(
        data - np.floor(data) <= np.ceil(data) - data, np.floor(data), np.ceil(data)
    ),
    domain=(-3, 3),
    integers=True,
)
def rint(data):
    """The nearest whole number, ties downwards (as MXNet, not as C). The gradient is 0."""
    if not _real_only(data):
        return data
    below, above = call("floor", data), call("ceil", data)
    return select(data - below <= above - data, below, select(data == data, above, data))


@elementwise(
    reference=lambda data: np.sign(data) * np.floor(np.abs(data) + 0.5),
    domain=(-3, 3),
    integers=True,
)
def round(data):
    """The nearest whole number, ties away from 0 (as in C, not as in numpy). The gradient is 0."""
    return call("round", data) if _real_only(data) else data


@elementwise(aliases=("fix",), reference=np.trunc, domain=(-3, 3), integers=True)
def trunc(data):
    """The nearest whole number towards 0. The gradient is 0."""
    return call("trunc", data) if _real_only(data) else data


@elementwise(
    reference=lambda data, s=1.0: np.where(
        np.abs(data) * s * s < 1, 0.5 * (s * data) ** 2, np.abs(data) - 0.5 / (s * s)
    ),
    domain=(-3, 3),
)
def smooth_l1(data, scalar: float = 1.0):
    """0.5 (s x)^2 where |x| < 1 / s^2, else |x| - 0.5 / s^2 (Girshick, Fast R-CNN, 2015)."""
    s2 = scalar * scalar
    return select(abs(data) * s2 < 1, 0.5 * s2 * data * data, abs(data) - 0.5 / s2)


smooth_l1.gradient(
    data=lambda dy, data, scalar: (
        dy * select(abs(data) * (scalar * scalar) < 1, data * (scalar * scalar), sign(data))
    )
)


@elementwise(
    reference=lambda data, a_min, a_max: np.clip(data, a_min, a_max),
    integers=True,
    saturates=("a_min", "a_max"),
)
def clip(data, a_min: float, a_max: float):
    """x limited to [a_min, a_max]; NaN stays, and the gradient passes at the bounds."""
    return select(data > a_max, a_max, select(data < a_min, a_min, data))


clip.gradient(data=lambda dy, data, a_min, a_max: select((data < a_min) + (data > a_max), 0, dy))


@elementwise(reference=np.logical_not, domain=(-1, 1), integers=True)
def logical_not(data):
    """1 where x is 0, else 0."""
    return data == 0


@elementwise(aliases=("contrib.isnan",), reference=np.isnan, domain=(-1, 1))
def isnan(data):
    """1 where x is NaN, else 0."""
    return data != data


@elementwise(aliases=("contrib.isinf",), reference=np.isinf, domain=(-1, 1))
def isinf(data):
    """1 where x is infinite, else 0."""
    if not _real_only(data):
        return data != data
    return abs(data) == math.inf


@elementwise(aliases=("contrib.isfinite",), reference=np.isfinite, domain=(-1, 1))
def isfinite(data):
    """1 where x is neither infinite nor NaN, else 0."""
    if not _real_only(data):
        return data == data
    return abs(data) < math.inf
