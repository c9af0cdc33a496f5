"""Blocks of device memory, and how often each was written to."""

import gc
import itertools
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyopencl as cl

from clgrad.device import Device
from clgrad.memory.protocols import Reader

if TYPE_CHECKING:
    from clgrad.memory.stream import Stream

_serials = itertools.count(1)

#: How often storages have exchanged their memory: whoever has set a kernel's arguments looks at it.
swaps = 0


class Storage:
    """A block of device memory.

    ``version`` counts the in-place writes, so that the tape can see them; ``serial`` grows from storage
    to storage, so that backward can tell memory of its own making from memory that others hold. ``label``
    names the op whose result it is (:func:`held_by_label`).
    """

    __slots__ = (
        "__weakref__",
        "_readers",
        "buffer",
        "handle",
        "label",
        "nbytes",
        "serial",
        "stream",
        "version",
    )

    def __init__(self, stream: "Stream", nbytes: int, label: str = ""):
        self.stream = stream
        self.nbytes = nbytes
        self.label = label
        self.buffer = stream.allocate(nbytes, label) if nbytes else None
        #: The ``cl_mem`` handle as an integer; 0 for an array of size 0, which owns no buffer.
        self.handle: int = 0 if self.buffer is None else self.buffer.int_ptr
        self.version = 0
        self.serial = next(_serials)
        self._readers: weakref.WeakSet[Reader] | None = None

    @classmethod
    def holding(cls, stream: "Stream", buffer: cl.MemoryObject, nbytes: int, label: str = "") -> "Storage":
        """A block that was allocated elsewhere than in the stream's pool."""
        storage = cls(stream, 0, label)
        storage.nbytes, storage.buffer, storage.handle = nbytes, buffer, buffer.int_ptr
        return storage

    def add_reader(self, reader: "Reader") -> None:
        """Let something know before the memory is written to, as long as it is there."""
        if self._readers is None:
            self._readers = weakref.WeakSet()
        self._readers.add(reader)

    def begin_write(self) -> None:
        """Count a write that is about to be made in place."""
        self.stream.flush()
        if self._readers:
            for reader in list(self._readers):
                reader.settle()
            self._readers = None
        self.version += 1

    def swap(self, other: "Storage") -> None:
        """Exchange the memory of two storages of one size and stream."""
        global swaps
        self.stream.flush()
        if self.stream.recorder is not None:
            self.stream.recorder.swapped(self, other)
        swaps += 1
        self.buffer, other.buffer = other.buffer, self.buffer
        self.handle, other.handle = other.handle, self.handle
        self.label, other.label = other.label, self.label


def _of_original(slot: str) -> Any:
    def read(self: "Twin") -> Any:
        return getattr(self.original, slot)

    def write(self: "Twin", value: Any) -> None:
        setattr(self.original, slot, value)

    return property(read, write)


class Twin(Storage):
    """Another name for a storage, with a serial of its own: to tell two ways of reaching it apart."""

    __slots__ = ("original",)

    def __init__(self, original: Storage):
        self.original = original
        self.stream, self.nbytes, self.label = original.stream, original.nbytes, original.label
        self.serial = next(_serials)

    buffer = _of_original("buffer")
    handle = _of_original("handle")
    version = _of_original("version")
    _readers = _of_original("_readers")


def held_by_label(device: Device) -> dict[str, tuple[int, int]]:
    """How many arrays, and bytes of them, are there of the results of each op on a device.

    Found among Python's objects, so that it costs nothing unless it is asked for.
    """
    held: dict[str, tuple[int, int]] = {}
    # type(), since isinstance() would ask proxies; and a storage that is being made has no buffer yet
    storages = [
        s for s in gc.get_objects() if type(s) is Storage and getattr(s, "buffer", None) is not None
    ]
    for storage in {id(s.buffer): s for s in storages}.values():  # twins have one buffer
        if storage.stream.device is device:
            label = storage.label or "other"
            count, nbytes = held.get(label, (0, 0))
            held[label] = count + 1, nbytes + storage.nbytes
    return held


def last_serial() -> int:
    """A number that every storage made from now on exceeds."""
    return next(_serials)


def begin_writes(storages: Sequence[Storage]) -> None:
    """Count writes to several storages, as ``begin_write`` does for each, in less time."""
    for stream in {storage.stream for storage in storages}:
        stream.flush()
    for storage in storages:
        if storage._readers:
            storage.begin_write()
        else:
            storage.version += 1
