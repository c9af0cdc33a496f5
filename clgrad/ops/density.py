"""Densities of the distributions of :mod:`clgrad.random` (probabilities, where these are of counts).

Each distribution is its log-density and the slopes of that, written once; the density is its exponential,
in the same kernel. Outside of the distribution's support the density is 0, and so are its gradients.
Counts may be fractional: the gamma function stands for the factorial. As in MXNet no gradient goes to them.
"""

import inspect
import math
from typing import Any

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.ops.arguments import ones_behind
from clgrad.ops.reduction import sum as total
from clgrad.ops.selection import select
from clgrad.ops.shape import with_shape
from clgrad.ops.special import digamma, gammaln
from clgrad.ops.unary import exp, log, log1p, square
from clgrad.registry import composite, elementwise

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _with_names(function, names):
    """The function under a signature of these names, as declarations and rules are read and called."""

    def call(*args, **kwargs):
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return function(**given)

    renamed: Any = call
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    renamed.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
    return renamed


def _declare(log_density, slopes: dict, outside=None, forms=("_log", "")):
    """The ops of a log-density and of the density; rules are made from the slopes.

    Parameters
    ----------
    log_density, outside, and the values of slopes : callable
        Functions of the same operands: the formula, a condition that is not 0 outside of the support,
        and the derivative of the log-density with respect to the operand that is the key.
    """
    names = tuple(inspect.signature(log_density).parameters)

    def within(value, otherwise, x):
        return value if outside is None else select(outside(**x), otherwise, value)

    def logarithm(**x):
        return within(log_density(**x), -math.inf, x)

    def density(**x):
        return within(exp(log_density(**x)), 0, x)

    ops = []
    for form in forms:
        formula = _with_names(logarithm if form else density, names)
        formula.__doc__, formula.__module__ = log_density.__doc__, log_density.__module__
        name = log_density.__name__ + form
        op = elementwise(name=name, label=f"random{log_density.__name__}")(formula)
        for argument, slope in slopes.items():
            op.gradient(**{argument: _rule(names, slope, within, of_logarithm=bool(form))})
        ops.append(op)
    return ops


def _rule(names, slope, within, of_logarithm: bool):
    if of_logarithm:
        return _with_names(lambda dy, **x: within(dy * slope(**x), 0, x), ("dy", *names))
    return _with_names(lambda dy, y, **x: within(dy * y * slope(**x), 0, x), ("dy", "y", *names))


def _times_log(x, y):
    """x log(y), 0 where both are 0."""
    return select((x == 0) * (y == 0), 0, x * log(y))


def _ratio(x, y):
    """x / y, 0 where both are 0."""
    return select((x == 0) * (y == 0), 0, x / y)


def _pdf_uniform(sample, low, high):
    """-log(high - low); NaN of NaN, which 0 * sample does not give where a compiler thinks it is 0."""
    return select(sample == sample, -log(high - low), sample)


def _pdf_normal(sample, mu, sigma):
    """-z^2 / 2 - log(sigma) - log(2 pi) / 2 with z = (sample - mu) / sigma."""
    z = (sample - mu) / sigma
    return -0.5 * z * z - log(sigma) - _HALF_LOG_2PI


def _pdf_exponential(sample, lam):
    """log(lam) - lam sample."""
    return log(lam) - lam * sample


def _pdf_gamma(sample, alpha, beta):
    """alpha log(beta) + (alpha - 1) log(sample) - beta sample - log Gamma(alpha)."""
    return alpha * log(beta) + _times_log(alpha - 1, sample) - beta * sample - gammaln(alpha)


def _pdf_poisson(sample, lam):
    """sample log(lam) - lam - log Gamma(sample + 1)."""
    return _times_log(sample, lam) - lam - gammaln(sample + 1)


def _pdf_negative_binomial(sample, k, p):
    """log Gamma(sample + k) - log Gamma(sample + 1) - log Gamma(k) + k log(p) + sample log(1 - p)."""
    ways = gammaln(sample + k) - gammaln(sample + 1) - gammaln(k)
    return ways + k * log(p) + _times_log(sample, 1 - p)


def _pdf_generalized_negative_binomial(sample, mu, alpha):
    """The negative binomial distribution's, of k = 1 / alpha and p = 1 / (1 + alpha mu)."""
    k, odds = 1 / alpha, alpha * mu
    ways = gammaln(sample + k) - gammaln(sample + 1) - gammaln(k)
    return ways + _times_log(sample, odds) - (sample + k) * log1p(odds)


def _dirichlet_term(sample, alpha):
    """(alpha - 1) log(sample): a summand of the Dirichlet distribution's."""
    return _times_log(alpha - 1, sample)


_OPS = {
    "uniform": _declare(
        _pdf_uniform,
        {
            "low": lambda sample, low, high: 1 / (high - low),
            "high": lambda sample, low, high: -1 / (high - low),
        },
        lambda sample, low, high: (sample < low) + (sample > high),
    ),
    "normal": _declare(
        _pdf_normal,
        {
            "sample": lambda sample, mu, sigma: (mu - sample) / (sigma * sigma),
            "mu": lambda sample, mu, sigma: (sample - mu) / (sigma * sigma),
            "sigma": lambda sample, mu, sigma: (square((sample - mu) / sigma) - 1) / sigma,
        },
    ),
    "exponential": _declare(
        _pdf_exponential,
        {"sample": lambda sample, lam: -lam, "lam": lambda sample, lam: 1 / lam - sample},
        lambda sample, lam: sample < 0,
    ),
    "gamma": _declare(
        _pdf_gamma,
        {
            "sample": lambda sample, alpha, beta: _ratio(alpha - 1, sample) - beta,
            "alpha": lambda sample, alpha, beta: log(beta) + log(sample) - digamma(alpha),
            "beta": lambda sample, alpha, beta: alpha / beta - sample,
        },
        lambda sample, alpha, beta: sample < 0,
    ),
    "poisson": _declare(
        _pdf_poisson,
        {"lam": lambda sample, lam: _ratio(sample, lam) - 1},
        lambda sample, lam: sample < 0,
    ),
    "negative_binomial": _declare(
        _pdf_negative_binomial,
        {
            "k": lambda sample, k, p: digamma(sample + k) - digamma(k) + log(p),
            "p": lambda sample, k, p: k / p - _ratio(sample, 1 - p),
        },
        lambda sample, k, p: sample < 0,
    ),
    "generalized_negative_binomial": _declare(
        _pdf_generalized_negative_binomial,
        {
            "mu": lambda sample, mu, alpha: _ratio(sample, mu) - (1 + alpha * sample) / (1 + alpha * mu),
            "alpha": lambda sample, mu, alpha: (
                (digamma(1 / alpha) - digamma(sample + 1 / alpha) + log1p(alpha * mu)) / square(alpha)
                + (sample - mu) / (alpha * (1 + alpha * mu))
            ),
        },
        lambda sample, mu, alpha: sample < 0,
    ),
}
(_dirichlet_log_term,) = _declare(
    _dirichlet_term,
    {
        "sample": lambda sample, alpha: _ratio(alpha - 1, sample),
        "alpha": lambda sample, alpha: log(sample),
    },
    lambda sample, alpha: sample < 0,
    forms=("_log",),
)


def _pdf(distribution: str, sample: NDArray, parameters: dict, is_log: bool) -> NDArray:
    """Parameters belong to the leading axes of the sample; the others hold samples of one distribution."""
    arrays = []
    for name, value in parameters.items():
        if value.shape != sample.shape[: value.ndim]:
            raise argument_error(
                f"random_pdf_{distribution}",
                name,
                f"of shape {value.shape}",
                f"the leading sizes of sample's shape {sample.shape}",
            )
        arrays.append(with_shape(value, shape=ones_behind(value.shape, sample.ndim)))
    return _OPS[distribution][0 if is_log else 1](sample, *arrays)


@composite()
def random_pdf_uniform(sample, low: NDArray, high: NDArray, is_log=False):
    """1 / (high - low) where low <= sample <= high, else 0."""
    return _pdf("uniform", sample, {"low": low, "high": high}, is_log)


@composite()
def random_pdf_normal(sample, mu: NDArray, sigma: NDArray, is_log=False):
    """exp(-z^2 / 2) / (sigma sqrt(2 pi)) with z = (sample - mu) / sigma."""
    return _pdf("normal", sample, {"mu": mu, "sigma": sigma}, is_log)


@composite()
def random_pdf_exponential(sample, lam: NDArray, is_log=False):
    """lam exp(-lam sample), 0 below 0."""
    return _pdf("exponential", sample, {"lam": lam}, is_log)


@composite()
def random_pdf_gamma(sample, alpha: NDArray, beta: NDArray, is_log=False):
    """beta^alpha sample^(alpha - 1) exp(-beta sample) / Gamma(alpha), 0 below 0; beta is a rate here."""
    return _pdf("gamma", sample, {"alpha": alpha, "beta": beta}, is_log)


@composite()
def random_pdf_poisson(sample, lam: NDArray, is_log=False):
    """lam^sample exp(-lam) / sample!, 0 below 0."""
    return _pdf("poisson", sample, {"lam": lam}, is_log)


@composite()
def random_pdf_negative_binomial(sample, k: NDArray, p: NDArray, is_log=False):
    """Gamma(sample + k) / (sample! Gamma(k)) p^k (1 - p)^sample, 0 below 0."""
    return _pdf("negative_binomial", sample, {"k": k, "p": p}, is_log)


@composite()
def random_pdf_generalized_negative_binomial(sample, mu: NDArray, alpha: NDArray, is_log=False):
    """The negative binomial distribution's, of k = 1 / alpha and p = 1 / (1 + alpha mu)."""
    return _pdf("generalized_negative_binomial", sample, {"mu": mu, "alpha": alpha}, is_log)


@composite()
def random_pdf_dirichlet(sample, alpha: NDArray, is_log=False):
    """Gamma(sum alpha_i) prod sample_i^(alpha_i - 1) / Gamma(alpha_i), i along the last axis."""
    lead = alpha.shape[:-1]
    if not alpha.ndim or alpha.shape[-1:] != sample.shape[-1:] or lead != sample.shape[: len(lead)]:
        raise argument_error(
            "random_pdf_dirichlet",
            "alpha",
            f"of shape {alpha.shape}",
            f"leading sizes of sample's shape {sample.shape}, and its last one",
        )
    alpha = with_shape(alpha, shape=(*ones_behind(lead, sample.ndim - 1), alpha.shape[-1]))
    terms = _dirichlet_log_term(sample, alpha) - gammaln(alpha)
    result = total(terms, axis=-1) + gammaln(total(alpha, axis=-1))
    return result if is_log else exp(result)
