"""What lists, dictionaries, sets and numpy arrays hold, and whether they still hold it.

A look costs what it takes to go once through a container in C: some 0.3 us for one of a few members, 10 us
for one of a thousand, 3 us for a numpy array of 64 KiB, and 90 us for one of 1 MiB.
"""

import collections
import logging
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from clgrad.array import NDArray
from clgrad.capturing.trees import PLAIN
from clgrad.deferred import is_same

_log = logging.getLogger(__name__)

#: What is compared by value.
VALUES = (*PLAIN, float)

#: Nothing in them is looked at.
ATOMS = (*VALUES, NDArray)

_SEQUENCES = (list, tuple, set, frozenset, collections.deque)
CONTAINERS = (*_SEQUENCES, dict, bytearray, np.ndarray)

#: Bytes of a numpy array that are kept to be compared; of a larger one, a hash.
KEPT = 1 << 20


def is_equal(now: Any, before: Any) -> bool:
    """Whether two values, of a type that is compared by value, cannot be told apart."""
    if type(now) is not type(before) or not isinstance(now, VALUES):
        return False
    return is_same(now, before) if isinstance(now, float) else bool(now == before)


def members(container: Any) -> Iterable[Any]:
    """What may have attributes, or members of its own."""
    if isinstance(container, dict):
        return [*container, *container.values()]
    if isinstance(container, np.ndarray):
        return container.ravel().tolist() if container.dtype.hasobject else ()
    return () if isinstance(container, bytearray) else list(container)


def guard_of(container: Any, what: str) -> "Members | Numbers | None":
    """What tells whether a container has changed; None for one that cannot.

    Examples
    --------
    >>> rates = [0.1, 0.2]
    >>> guard = guard_of(rates, "rates")
    >>> rates[1] = 0.2
    >>> guard.holds()
    True
    >>> rates[1] = 0.3
    >>> guard.holds()
    False
    """
    if isinstance(container, tuple | frozenset):
        return None
    if isinstance(container, bytearray) or (
        isinstance(container, np.ndarray) and not container.dtype.hasobject
    ):
        return Numbers(container, f"what is in {what}")
    return Members(container, f"what is in {what}")


class Members:
    """The members of a list, dictionary or set must be the same, numbers and strings by their values.

    Arrays are held weakly: a captured function must not keep the memory of those that were replaced.
    """

    def __init__(self, container: Any, what: str):
        self.what = what
        self._container = container
        self._keep(members(container))

    def _keep(self, found: Iterable[Any]) -> None:
        found = list(found)
        #: Whether an array is gone, whose identity another one may have by now.
        self._is_lost = False
        self._kept = [weakref.ref(m, self._lose) if isinstance(m, NDArray) else m for m in found]
        self._identities = list(map(id, found))

    def _lose(self, _: weakref.ref) -> None:
        self._is_lost = True

    def holds(self) -> bool:
        """Whether they are."""
        now = members(self._container)
        if not self._is_lost and list(map(id, now)) == self._identities:
            return True
        now = list(now)
        if len(now) != len(self._kept) or not all(map(_is_kept, now, self._kept)):
            return False
        self._keep(now)
        return True


def _is_kept(now: Any, kept: Any) -> bool:
    if isinstance(now, NDArray):
        return isinstance(kept, weakref.ref) and kept() is now
    return now is kept or is_equal(now, kept)


class Numbers:
    """The bytes of a numpy array, its shape and its dtype must be the same."""

    def __init__(self, array: np.ndarray | bytearray, what: str):
        self.what = what
        self._array = array
        self._known = self._look()
        nbytes = np.asarray(array).nbytes
        if nbytes > KEPT:
            _log.warning(
                "%s, %.1f MiB on the host, is compared at each call of a captured function; an NDArray "
                "(mx.nd.array) need not be",
                *(what, nbytes / (1 << 20)),
            )

    def _look(self) -> tuple:
        array = self._array
        data = bytes(array) if isinstance(array, bytearray) else array.tobytes()
        form = () if isinstance(array, bytearray) else (array.shape, array.dtype)
        return hash(data) if len(data) > KEPT else data, *form

    def holds(self) -> bool:
        """Whether they are."""
        return self._look() == self._known
