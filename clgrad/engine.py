"""How eager calls become launches (``mx.engine``).

Elementwise ops of one shape that follow each other wait to be launched as one kernel
(:mod:`clgrad.registry.bulk`), up to the bulk size of the thread. Whatever needs a result launches what
waits: reading it, any other op, the end of the bulk.
"""

import contextlib
from collections.abc import Iterator

from clgrad import memory
from clgrad.errors import argument_error


def flush() -> None:
    """Launch now what waits in this thread; waits for nothing.

    Examples
    --------
    >>> import clgrad as mx
    >>> y = mx.nd.exp(mx.nd.zeros((2, 3)))
    >>> mx.engine.flush()  # the device works on it from here on, whatever the program does next
    """
    memory.flush()


def set_bulk_size(size: int) -> int:
    """How many elementwise launches of this thread may wait for each other; returns what it was.

    Parameters
    ----------
    size : int
        0 or 1: each op is launched at once. 12 by default.

    Raises
    ------
    OperatorError
        ``size`` is not a whole number of at least 0.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.engine.set_bulk_size(mx.engine.set_bulk_size(0))
    0
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise argument_error("set_bulk_size", "size", repr(size), "a whole number of at least 0")
    return memory.set_bulk_size(size)


@contextlib.contextmanager
def bulk(size: int) -> Iterator[None]:
    """A scope with a bulk size of its own.

    Examples
    --------
    >>> import clgrad as mx
    >>> with mx.engine.bulk(0):
    ...     y = mx.nd.ones((2, 3)) + 1  # launched at once
    """
    previous = set_bulk_size(size)
    try:
        yield
    finally:
        set_bulk_size(previous)
