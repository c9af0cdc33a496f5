"""``mx.random`` and ``mx.nd.random``: random arrays, and the seed that they come from.

Numbers are Philox numbers keyed by element: the same seed gives the same ones on every device. Parameters
may be numbers or arrays; for arrays the result has the shape ``parameter.shape + shape``, with ``shape``
numbers for each element. ``dtype`` is float32 unless given (int32 for :func:`randint`). With ``out``, the
numbers go there, and its dtype and device count.
"""

import numbers as _numbers

import numpy as _np

from clgrad import absent as _absent
from clgrad.array import NDArray
from clgrad.device import as_context as _as_context
from clgrad.errors import OperatorTypeError as _OperatorTypeError
from clgrad.errors import argument_error as _argument_error
from clgrad.ops import choice as _choice
from clgrad.ops.generator import generator as _generator
from clgrad.ops.sampling import draw as _draw
from clgrad.ops.sampling import draw_integers as _draw_integers
from clgrad.ops.sampling import draw_like as _draw_like

__getattr__ = _absent.getter("random", __name__)

__all__ = [
    "exponential",
    "exponential_like",
    "gamma",
    "gamma_like",
    "generalized_negative_binomial",
    "generalized_negative_binomial_like",
    "get_state",
    "multinomial",
    "negative_binomial",
    "negative_binomial_like",
    "normal",
    "normal_like",
    "poisson",
    "poisson_like",
    "randint",
    "randn",
    "seed",
    "set_state",
    "shuffle",
    "uniform",
    "uniform_like",
]


def seed(seed_state, ctx="all") -> None:
    """Start the random numbers over from a seed: the same ones follow, on any device.

    Parameters
    ----------
    seed_state : int
        Any whole number; the lowest 64 bits count.
    ctx : Context or 'all'
        The device whose numbers start over, or all of them. Each device counts its own draws.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.seed(42)
    >>> a = mx.nd.random.uniform(shape=(3,)).asnumpy()
    >>> mx.random.seed(42)
    >>> bool((mx.nd.random.uniform(shape=(3,)).asnumpy() == a).all())
    True
    """
    if not isinstance(seed_state, int | _np.integer):
        given = type(seed_state).__name__
        raise _OperatorTypeError(f"random.seed: seed_state is {given}; accepted: a whole number")
    everywhere = isinstance(ctx, str) and ctx == "all"
    _generator.reset(int(seed_state), None if everywhere else _as_context(ctx).device)


def get_state() -> dict:
    """Where the random numbers are: the seed, and how many draws each device has made since.

    Returns
    -------
    dict
        Of what JSON can hold.

    Examples
    --------
    >>> import clgrad as mx
    >>> state = mx.random.get_state()
    >>> x = mx.nd.random.uniform(shape=(3,)).asnumpy()
    >>> mx.random.set_state(state)
    >>> bool((mx.nd.random.uniform(shape=(3,)).asnumpy() == x).all())
    True
    """
    return _generator.get_state()


def set_state(state: dict) -> None:
    """Go on with the numbers that followed when :func:`get_state` was called.

    Parameters
    ----------
    state : dict

    Raises
    ------
    OperatorError
        It is something else; nothing has changed.
    DeviceError
        It is of a device that is not here.
    """
    try:
        _generator.set_state(state)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        accepted = "what random.get_state gives"
        raise _argument_error("random.set_state", "state", f"damaged ({error!r})", accepted) from error


def uniform(low=0, high=1, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """Random numbers uniform over [low, high).

    Differentiable with respect to ``low`` and ``high`` where these are arrays, the chance being fixed.

    Parameters
    ----------
    low, high : float or NDArray
        Bounds; ``high`` itself never comes (unless it equals ``low``).
    shape : int or tuple of int, optional
        For numbers the shape of the result, (1,) by default; for arrays, what is drawn for each element.
    dtype : str or type, optional
        float16, bfloat16, float32 (default) or float64.
    ctx : Context, optional
        The device; the current one by default, and that of the parameters where these are arrays.
    out : NDArray, optional
        Receives the numbers, and gives dtype and device.

    Raises
    ------
    OperatorError
        A parameter outside of its range, or shapes that differ; the message names the argument.
    OperatorTypeError
        A parameter or a dtype of the wrong kind.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.random.uniform(-1, 1, shape=(2, 500))
    >>> x.shape, bool((x >= -1).min().asscalar()), bool((x < 1).min().asscalar())
    ((2, 500), True, True)
    >>> mx.random.uniform(mx.nd.array([0, 10]), mx.nd.array([1, 20]), shape=3).shape
    (2, 3)
    """
    return _draw("uniform", {"low": low, "high": high}, shape, dtype, ctx, out)


def normal(loc=0, scale=1, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """Random numbers of the normal distribution of mean ``loc`` and standard deviation ``scale``.

    Differentiable with respect to ``loc`` and ``scale`` where these are arrays, the chance being fixed.
    The other parameters are those of :func:`uniform`.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.random.normal(5, 0.1, shape=(1000,))
    >>> bool(abs(x.mean().asscalar() - 5) < 0.1)
    True
    """
    return _draw("normal", {"loc": loc, "scale": scale}, shape, dtype, ctx, out)


def randn(*shape, loc=0, scale=1, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """:func:`normal` with the shape given as numbers.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.randn(2, 3).shape
    (2, 3)
    """
    return normal(loc, scale, shape or None, dtype, ctx, out)


def randint(low, high, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """Whole numbers from ``low`` to ``high - 1``, each exactly as likely as any other.

    The parameters that are not described are those of :func:`uniform`.

    Parameters
    ----------
    low, high : int
        Bounds within the dtype.
    dtype : str or type, optional
        int32 (default) or int64.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.random.randint(1, 7, shape=(1000,))
    >>> int(x.min().asscalar()), int(x.max().asscalar())
    (1, 6)
    """
    return _draw_integers(low, high, shape, dtype, ctx, out)


def exponential(scale=1, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """Random numbers of the exponential distribution of mean ``scale``: density exp(-x / scale) / scale.

    Differentiable with respect to ``scale`` where this is an array, the chance being fixed. The other
    parameters are those of :func:`uniform`.

    Examples
    --------
    >>> import clgrad as mx
    >>> bool(mx.random.exponential(2, shape=(100,)).min().asscalar() >= 0)
    True
    """
    lam = 1 / scale if isinstance(scale, NDArray) or (_is_number(scale) and scale != 0) else scale
    return _draw("exponential", {"lam": lam}, shape, dtype, ctx, out)


def _is_number(value) -> bool:
    return isinstance(value, _numbers.Real)


def gamma(alpha=1, beta=1, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """Random numbers of the gamma distribution of shape ``alpha`` and scale ``beta``: mean alpha * beta.

    The other parameters are those of :func:`uniform`.

    Examples
    --------
    >>> import clgrad as mx
    >>> bool(mx.random.gamma(9, 0.5, shape=(100,)).min().asscalar() > 0)
    True
    """
    return _draw("gamma", {"alpha": alpha, "beta": beta}, shape, dtype, ctx, out)


def poisson(lam=1, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """Random counts of the Poisson distribution of mean ``lam``, in a real dtype.

    The other parameters are those of :func:`uniform`.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.poisson(0, shape=(3,)).asnumpy()
    array([0., 0., 0.], dtype=float32)
    """
    return _draw("poisson", {"lam": lam}, shape, dtype, ctx, out)


def negative_binomial(k=1, p=1, shape=None, dtype=None, ctx=None, out=None, **kwargs) -> NDArray:
    """How many trials succeed before ``k`` have failed, each failing with probability ``p``.

    ``k`` need not be whole: the counts are Poisson distributed, their mean gamma distributed with shape
    k and scale (1 - p) / p. The other parameters are those of :func:`uniform`.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.negative_binomial(3, 1, shape=(2,)).asnumpy()  # none succeeds
    array([0., 0.], dtype=float32)
    """
    return _draw("negative_binomial", {"k": k, "p": p}, shape, dtype, ctx, out)


def generalized_negative_binomial(
    mu=1, alpha=1, shape=None, dtype=None, ctx=None, out=None, **kwargs
) -> NDArray:
    """Random counts of mean ``mu`` and variance mu + alpha mu^2 (Poisson where ``alpha`` is 0).

    The negative binomial distribution of k = 1 / alpha and p = 1 / (1 + alpha mu). The other parameters
    are those of :func:`uniform`.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.generalized_negative_binomial(2, 0.3, shape=(2, 2)).shape
    (2, 2)
    """
    return _draw("generalized_negative_binomial", {"mu": mu, "alpha": alpha}, shape, dtype, ctx, out)


def multinomial(data, shape=None, get_prob=False, out=None, dtype="int32", **kwargs):
    """Classes, drawn with the probabilities in the last axis of ``data``; see ``nd.sample_multinomial``.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.multinomial(mx.nd.array([0, 1, 0]), shape=4).asnumpy()
    array([1, 1, 1, 1], dtype=int32)
    """
    return _choice.sample_multinomial(data, shape, get_prob, dtype, out=out)


def shuffle(data, out=None, **kwargs) -> NDArray:
    """The rows (elements of the first axis) in random order, every order as likely as any other.

    Examples
    --------
    >>> import clgrad as mx
    >>> sorted(mx.random.shuffle(mx.nd.arange(4)).asnumpy().tolist())
    [0.0, 1.0, 2.0, 3.0]
    """
    return _choice.shuffle(data, out=out)


def uniform_like(data, low=0, high=1, out=None, **kwargs) -> NDArray:
    """Uniform numbers over [low, high), of the shape, dtype and device of ``data``.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.uniform_like(mx.nd.ones((2, 3), dtype="float16")).dtype
    <class 'numpy.float16'>
    """
    return _draw_like("uniform", data, {"low": low, "high": high}, out)


def normal_like(data, loc=0, scale=1, out=None, **kwargs) -> NDArray:
    """Normally distributed numbers of the shape, dtype and device of ``data``."""
    return _draw_like("normal", data, {"loc": loc, "scale": scale}, out)


def exponential_like(data, lam=1, out=None, **kwargs) -> NDArray:
    """Exponentially distributed numbers of rate ``lam``, of the shape, dtype and device of ``data``."""
    return _draw_like("exponential", data, {"lam": lam}, out)


def gamma_like(data, alpha=1, beta=1, out=None, **kwargs) -> NDArray:
    """Gamma distributed numbers of the shape, dtype and device of ``data``."""
    return _draw_like("gamma", data, {"alpha": alpha, "beta": beta}, out)


def poisson_like(data, lam=1, out=None, **kwargs) -> NDArray:
    """Poisson distributed counts of mean ``lam``, of the shape, dtype and device of ``data``."""
    return _draw_like("poisson", data, {"lam": lam}, out)


def negative_binomial_like(data, k=1, p=1, out=None, **kwargs) -> NDArray:
    """Counts as of :func:`negative_binomial`, of the shape, dtype and device of ``data``."""
    return _draw_like("negative_binomial", data, {"k": k, "p": p}, out)


def generalized_negative_binomial_like(data, mu=1, alpha=1, out=None, **kwargs) -> NDArray:
    """Counts as of :func:`generalized_negative_binomial`, of the shape, dtype and device of ``data``."""
    return _draw_like("generalized_negative_binomial", data, {"mu": mu, "alpha": alpha}, out)
