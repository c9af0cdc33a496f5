"""Special functions: of the error function's and the gamma function's families.

Gamma, digamma and polygamma follow Abramowitz & Stegun, chapter 6.
"""

import math

from clgrad.kernels.expr import call
from clgrad.ops.unary import exp
from clgrad.registry import elementwise


@elementwise(domain=(-2, 2))
def erf(data):
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return call("erf", data)


erf.gradient(data=lambda dy, data: dy * (2 / math.sqrt(math.pi)) * exp(-(data * data)))


@elementwise(name="_normal_cdf", domain=(-2, 2))
def normal_cdf(data):
    """The distribution function of the standard normal distribution, accurate in both tails."""
    return call("ndtr", data)


normal_cdf.gradient(data=lambda dy, data: dy * (1 / math.sqrt(2 * math.pi)) * exp(-0.5 * data * data))


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
