"""Batches handed from one process to another in memory that both see.

Where the system has anonymous files in memory (Linux), a batch's arrays are written to one, and its
descriptor is handed over: it has no name, so it is gone with the last process that holds it, however that
ends. Elsewhere the bytes go through the connection.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from clgrad import nested

_HAS_MEMFD = hasattr(os, "memfd_create") and hasattr(reduction, "send_handle")
#: Arrays begin at multiples of this, for the sake of vector loads.
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Place:
    """Where an array of a batch lies."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


def send(connection: Connection, number: int, batch: Any, pid: int) -> None:
    """Send a batch, which may hold arrays at any depth of lists, tuples and dictionaries, to a process."""
    arrays: list[np.ndarray] = []
    places: list[_Place] = []

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or leaf.dtype.hasobject:
            return leaf
        end = places[-1].offset + arrays[-1].nbytes if arrays else 0
        places.append(_Place(-(-end // _ALIGNMENT) * _ALIGNMENT, leaf.shape, leaf.dtype))
        arrays.append(leaf)
        return places[-1]

    described = nested.replaced(batch, placed)
    size = places[-1].offset + arrays[-1].nbytes if arrays else 0
    if not size or not _HAS_MEMFD:
        connection.send((number, described, None, arrays))
        return
    descriptor = os.memfd_create("clgrad-batch", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        with mmap.mmap(descriptor, size) as memory:
            for array, place in zip(arrays, places, strict=True):
                _at(memory, place)[...] = array
        connection.send((number, described, size, None))
        reduction.send_handle(connection, descriptor, pid)
    finally:
        os.close(descriptor)


def _at(memory: mmap.mmap, place: _Place) -> np.ndarray:
    return np.ndarray(place.shape, place.dtype, memory, place.offset)


def receive(connection: Connection) -> tuple[int, Any]:
    """A batch and its number, from :func:`send`; arrays lie in the memory that was sent."""
    number, described, size, arrays = connection.recv()
    if size is None:
        left = iter(arrays)
        return number, _filled(described, lambda _: next(left))
    descriptor = reduction.recv_handle(connection)
    try:
        memory = mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
    return number, _filled(described, lambda place: _at(memory, place))


def _filled(described: Any, array_of: Callable[[_Place], np.ndarray]) -> Any:
    return nested.replaced(described, lambda leaf: array_of(leaf) if isinstance(leaf, _Place) else leaf)
