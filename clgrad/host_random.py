"""Random numbers of the host: numpy's own, or those of the batch that a data loader prepares."""

import contextlib
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np


class _Current(threading.local):
    """The numbers that this thread takes at present."""

    def __init__(self) -> None:
        self.source: Any = None


_current = _Current()


def source() -> Any:
    """What to draw from, with the methods of :class:`numpy.random.RandomState`.

    While a data loader prepares a batch these are numbers of the batch, so that they are the same
    whichever process prepares it; else they are those of ``numpy.random``, and follow its seed.
    """
    return np.random if _current.source is None else _current.source


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A scope in which this thread draws numbers that begin at a seed."""
    outer, _current.source = _current.source, np.random.RandomState(seed)
    try:
        yield
    finally:
        _current.source = outer


def get_state() -> dict:
    """Where ``numpy.random`` stands, as numbers that JSON can hold."""
    name, key, position, has_gauss, cached = np.random.get_state()
    return {
        "name": name,
        "key": np.asarray(key).tolist(),
        "position": int(position),
        "has_gauss": int(has_gauss),
        "cached_gaussian": float(cached),
    }


def set_state(state: dict) -> None:
    """Have ``numpy.random`` go on from where :func:`get_state` was called.

    Raises
    ------
    ValueError, TypeError, KeyError
        These are no such numbers; nothing has changed.
    """
    np.random.set_state(
        (
            state["name"],
            np.array(state["key"], np.uint32),
            state["position"],
            state["has_gauss"],
            state["cached_gaussian"],
        )
    )


def fingerprint(state: dict) -> int:
    """A number that tells states apart."""
    return zlib.crc32(np.array(state["key"], np.uint32).tobytes(), state["position"])
