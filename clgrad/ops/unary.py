"""Elementwise functions of one array.

Definitions are those of the C standard library (ISO C11, 7.12) where it has the function; gamma, digamma
and polygamma follow Abramowitz & Stegun, chapter 6. Integer arrays are computed in floating point and
truncated back, as in MXNet.
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


cbrt.gradient(data=lambda dy, y: dy / (3 * y * y))


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


# Factors, since 1 - x^2 would cancel near 1.
arcsin.gradient(data=lambda dy, data: dy * rsqrt((1 - data) * (1 + data)))


@elementwise(reference=np.arccos, domain=(-0.8, 0.8))
def arccos(data):
    """The angle in [0, pi] whose cosine is x."""
    return call("acos", data)


arccos.gradient(data=lambda dy, data: -(dy * rsqrt((1 - data) * (1 + data))))


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


arctanh.gradient(data=lambda dy, data: dy / ((1 - data) * (1 + data)))


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


@elementwise(domain=(-2, 2))
def erf(data):
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return call("erf", data)


erf.gradient(data=lambda dy, data: dy * (2 / math.sqrt(math.pi)) * exp(-(data * data)))


@elementwise(name="_erfc", domain=(-2, 2))
def erfc(data):
    """1 - erf(x), accurate where that is tiny."""
    return call("erfc", data)


erfc.gradient(data=lambda dy, data: dy * (-2 / math.sqrt(math.pi)) * exp(-(data * data)))


@elementwise(domain=(-0.8, 0.8))
def erfinv(data):
    """The inverse error function (M. Giles, GPU Computing Gems, 2012)."""
    return call("erfinv", data)


erfinv.gradient(data=lambda dy, y: dy * (math.sqrt(math.pi) / 2) * exp(y * y))


@elementwise(domain=(1.2, 4))
def gamma(data):
    """The gamma function of x."""
    return call("gamma", data)


gamma.gradient(data=lambda dy, data, y: dy * y * digamma(data))


@elementwise(domain=(1.2, 4))
def gammaln(data):
    """The logarithm of the absolute value of the gamma function of x."""
    return call("gammaln", data)


gammaln.gradient(data=lambda dy, data: dy * digamma(data))


@elementwise(domain=(1.2, 4))
def polygamma(data, n: float = 0):
    """The n-th derivative of digamma at x; n is a whole number not below 0."""
    return call("polygamma", n, data)


polygamma.gradient(data=lambda dy, data, n: dy * polygamma(data, n + 1))


@elementwise(domain=(1.2, 4))
def digamma(data):
    """The derivative of gammaln at x."""
    return call("digamma", data)


digamma.gradient(data=lambda dy, data: dy * polygamma(data, 1))


@elementwise(reference=lambda data: np.maximum(data, 0), domain=(-3, 3), integers=True)
def relu(data):
    """max(x, 0), and NaN of NaN; the gradient at 0 is 0."""
    if _real_only(data):
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
    return log1p(exp(-abs(data))) + relu(data)


softrelu.gradient(data=lambda dy, data: dy * sigmoid(data))


@elementwise(reference=lambda data: data / (1 + np.abs(data)), domain=(-3, 3))
def softsign(data):
    """x / (1 + |x|)."""
    return data / (1 + abs(data))


softsign.gradient(data=lambda dy, data: dy / square(1 + abs(data)))


@elementwise(reference=lambda data: np.clip(0.2 * data + 0.5, 0, 1), domain=(-4, 4))
def hard_sigmoid(data, alpha: float = 0.2, beta: float = 0.5):
    """alpha x + beta, limited to [0, 1]."""
    return clip(alpha * data + beta, 0, 1)


hard_sigmoid.gradient(data=lambda dy, y, alpha, beta: select((y > 0) * (y < 1), alpha * dy, 0))


@elementwise(
    reference=lambda data: np.where(np.abs(data) < 1, 0.5 * data**2, np.abs(data) - 0.5),
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


@elementwise(domain=(-3, 3))
def gelu(data):
    """x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel, 2016)."""
    return 0.5 * data * erfc(data * -math.sqrt(0.5))  # 1 + erf would cancel in the lower tail


gelu.gradient(
    data=lambda dy, data: (
        dy
        * (
            0.5 * erfc(data * -math.sqrt(0.5))
            + data * exp(-0.5 * data * data) * (1 / math.sqrt(2 * math.pi))
        )
    )
)


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
