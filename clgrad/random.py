"""``mx.random`` and ``mx.nd.random``: random arrays, and the seed that they come from."""

from clgrad import absent as _absent
from clgrad.ops.sampling import generator as _generator
from clgrad.ops.sampling import normal, randn, uniform

__getattr__ = _absent.getter("random", __name__)

__all__ = ["normal", "randn", "seed", "uniform"]


def seed(seed_state: int, ctx="all") -> None:
    """Start the random numbers over from a seed: the same ones follow, on any device.

    Parameters
    ----------
    seed_state : int
    ctx : Context or 'all'
        Accepted for MXNet's sake: there is one stream of draws for all devices.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.random.seed(42)
    >>> a = mx.nd.random.uniform(shape=(3,)).asnumpy()
    >>> mx.random.seed(42)
    >>> bool((mx.nd.random.uniform(shape=(3,)).asnumpy() == a).all())
    True
    """
    _generator.reset(seed_state)
