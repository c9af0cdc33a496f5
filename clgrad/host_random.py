"""Random numbers of the host: numpy's own, or those of the batch that a data loader prepares."""

import contextlib
import random
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

#: Words of the state of the Mersenne Twister.
_WORDS = 624


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
    np.random.set_state(_numbers(state))


def check_state(state: dict) -> None:
    """Raise what :func:`set_state` would, and change nothing."""
    _numbers(state)


def _numbers(state: dict) -> tuple:
    """A state as numpy takes it, which believes any position, and reads there."""
    key, position = state["key"], state["position"]
    if len(key) != _WORDS or not all(type(word) is int and 0 <= word < 2**32 for word in key):
        raise ValueError(f"key is not {_WORDS} numbers of 32 bits")
    if type(position) is not int or not 0 <= position <= _WORDS:
        raise ValueError(f"position is {position!r}, not from 0 to {_WORDS}")
    gauss = int(bool(state["has_gauss"])), float(state["cached_gaussian"])
    numbers = (state["name"], np.array(key, np.uint32), position, *gauss)
    np.random.RandomState(0).set_state(numbers)
    return numbers


def places() -> tuple:
    """Where the generators of ``random`` and ``numpy.random`` stand: to see whether something draws."""
    _, key, *rest = np.random.get_state()
    return random.getstate(), np.asarray(key).tobytes(), *rest


def fingerprint(state: dict) -> int:
    """A number that tells states apart."""
    return zlib.crc32(np.array(state["key"], np.uint32).tobytes(), state["position"])
