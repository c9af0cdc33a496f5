"""MXNet's older names of random arrays: ``nd.random_X`` with numbers, ``nd.sample_X`` with arrays."""

from clgrad.array import NDArray
from clgrad.ops.sampling import draw, draw_integers
from clgrad.registry import composite

Number = float | NDArray


@composite(aliases=("uniform",))
def random_uniform(low: Number = 0.0, high: Number = 1.0, shape=None, ctx=None, dtype=None, out=None):
    """Random numbers uniform over [low, high); see ``nd.random.uniform``."""
    return draw("uniform", {"low": low, "high": high}, shape, dtype, ctx, out)


@composite(aliases=("normal",))
def random_normal(loc: Number = 0.0, scale: Number = 1.0, shape=None, ctx=None, dtype=None, out=None):
    """Random numbers of mean loc and standard deviation scale; see ``nd.random.normal``."""
    return draw("normal", {"loc": loc, "scale": scale}, shape, dtype, ctx, out)


@composite()
def random_exponential(lam: Number = 1.0, shape=None, ctx=None, dtype=None, out=None):
    """Exponentially distributed numbers of rate lam: density lam exp(-lam x)."""
    return draw("exponential", {"lam": lam}, shape, dtype, ctx, out)


@composite()
def random_gamma(alpha: Number = 1.0, beta: Number = 1.0, shape=None, ctx=None, dtype=None, out=None):
    """Gamma distributed numbers of shape alpha and scale beta; see ``nd.random.gamma``."""
    return draw("gamma", {"alpha": alpha, "beta": beta}, shape, dtype, ctx, out)


@composite()
def random_poisson(lam: Number = 1.0, shape=None, ctx=None, dtype=None, out=None):
    """Poisson distributed counts of mean lam; see ``nd.random.poisson``."""
    return draw("poisson", {"lam": lam}, shape, dtype, ctx, out)


@composite()
def random_negative_binomial(k: Number = 1, p: Number = 1.0, shape=None, ctx=None, dtype=None, out=None):
    """How many trials succeed before k have failed; see ``nd.random.negative_binomial``."""
    return draw("negative_binomial", {"k": k, "p": p}, shape, dtype, ctx, out)


@composite()
def random_generalized_negative_binomial(
    mu: Number = 1.0, alpha: Number = 1.0, shape=None, ctx=None, dtype=None, out=None
):
    """Counts of mean mu and variance mu + alpha mu^2; see ``nd.random.generalized_negative_binomial``."""
    parameters = {"mu": mu, "alpha": alpha}
    return draw("generalized_negative_binomial", parameters, shape, dtype, ctx, out)


@composite()
def random_randint(low, high, shape=None, ctx=None, dtype=None, out=None):
    """Whole numbers from low to high - 1; see ``nd.random.randint``."""
    return draw_integers(low, high, shape, dtype, ctx, out)


def _sample(distribution: str, parameters: dict, shape, dtype, out) -> NDArray:
    return draw(distribution, parameters, shape, dtype, None, out)


@composite()
def sample_uniform(low: NDArray, high: NDArray, shape=None, dtype=None, out=None):
    """``shape`` numbers uniform over [low, high) for each element of the bounds."""
    return _sample("uniform", {"low": low, "high": high}, shape, dtype, out)


@composite()
def sample_normal(mu: NDArray, sigma: NDArray, shape=None, dtype=None, out=None):
    """``shape`` normal numbers for each element of mean mu and standard deviation sigma."""
    return _sample("normal", {"loc": mu, "scale": sigma}, shape, dtype, out)


@composite()
def sample_exponential(lam: NDArray, shape=None, dtype=None, out=None):
    """``shape`` exponentially distributed numbers for each element of the rate lam."""
    return _sample("exponential", {"lam": lam}, shape, dtype, out)


@composite()
def sample_gamma(alpha: NDArray, beta: NDArray, shape=None, dtype=None, out=None):
    """``shape`` gamma distributed numbers for each element of the shape alpha and the scale beta."""
    return _sample("gamma", {"alpha": alpha, "beta": beta}, shape, dtype, out)


@composite()
def sample_poisson(lam: NDArray, shape=None, dtype=None, out=None):
    """``shape`` Poisson distributed counts for each element of the mean lam."""
    return _sample("poisson", {"lam": lam}, shape, dtype, out)


@composite()
def sample_negative_binomial(k: NDArray, p: NDArray, shape=None, dtype=None, out=None):
    """``shape`` counts of successes before k failures for each element of k and p."""
    return _sample("negative_binomial", {"k": k, "p": p}, shape, dtype, out)


@composite()
def sample_generalized_negative_binomial(mu: NDArray, alpha: NDArray, shape=None, dtype=None, out=None):
    """``shape`` counts of mean mu and variance mu + alpha mu^2 for each element of these."""
    return _sample("generalized_negative_binomial", {"mu": mu, "alpha": alpha}, shape, dtype, out)
