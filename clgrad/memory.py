"""Device memory: streams with their pools, storages, and views that lay a shape over a storage."""

import contextlib
import gc
import itertools
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import pyopencl as cl

from clgrad.bounded import Bounded
from clgrad.device import Device
from clgrad.errors import MXNetError
from clgrad.pool import Pool, all_pools
from clgrad.ranges import Range

#: Launches between two waits, at most, and at first. This bounds the work in flight, since some drivers
#: reset a device after seconds of queued work (i915 after some 20).
LAUNCHES_IN_FLIGHT, FIRST_ROUND = 128, 16

#: Seconds. After a wait that takes longer, half as many launches come before the next one; after a short
#: one, twice as many.
LONG_WAIT = 0.25

_now = time.monotonic

#: Plans that a stream keeps. More than a large net has; but a program with ever other shapes must not grow:
#: Intel's CPU runtime takes 3 MB of memory for a kernel.
PLANS_KEPT = 2_000

#: Launches that wait for each other, at most, unless a thread asks for another number; up to 1, none waits.
BULK_SIZE = 12


class Waiting(Protocol):
    """Launches that a stream has not enqueued yet."""

    #: The plan of the one launch that has done the work of all of them, once that has happened.
    merged: Any

    def enqueue(self, queue: cl.CommandQueue) -> None:
        """Enqueue them to the stream's queue: given, since whoever asks the stream for it comes here."""

    def keep(self, view: "View") -> Any:
        """What stands for a result on the tape, without holding its memory; None for other arrays."""


class Observer(Protocol):
    """What is told of everything that a stream enqueues: a profile."""

    def begin(self, stream: "Stream", may_exchange: bool = True) -> None:
        """The thread is about to enqueue. The stream's queue may be exchanged now, or if not, not yet."""

    def launched(
        self, stream: "Stream", plan: Any, step: Any, views: "Sequence[View]", event: cl.Event
    ) -> None:
        """A step of a plan was enqueued, with these views as the plan's arrays."""

    def copied(self, stream: "Stream", what: str, view: "View", event: cl.Event) -> None:
        """An array was copied: ``what`` is ``"upload"``, ``"download"`` or ``"copy"``."""

    def beside(self) -> "LaneObserver | None":
        """Who is told of what the calling thread copies to the device beside the stream, if anybody is."""


class LaneObserver(Protocol):
    """What is told of copies beside a stream (:class:`clgrad.transfer.Lane`)."""

    def begin(self) -> cl.CommandQueue | None:
        """The thread is about to copy; the queue to take instead of its own, if any."""

    def copied(self, view: "View", event: cl.Event) -> None:
        """An array was copied to the device."""


class Recorder(Protocol):
    """What keeps the work of a stream while a function is captured (:mod:`clgrad.graph`)."""

    def launched(self, plan: Any, inputs: Sequence["View"], outputs: Sequence["View"], numbers) -> Sequence:
        """Keep a plan's launches; the numbers as kernels take them."""

    def copied(self, source: "View", target: "View") -> None:
        """Keep a copy."""

    def uploaded(self, host: np.ndarray, target: "View") -> None:
        """Numbers from the host were written to an array."""

    def swapped(self, one: "Storage", other: "Storage") -> None:
        """Two storages have exchanged their memory."""

    def refuse_read(self) -> None:
        """Raise: a value is about to be read on the host."""


class Reader(Protocol):
    """Something that will read a storage, and wants to know before it is written to."""

    def settle(self) -> None:
        """Read it now."""


class Stream(Pool):
    """One in-order command queue of a device for one thread, with its memory pool."""

    def __init__(self, device: Device):
        super().__init__(device)
        #: Identifier of the thread that opened the stream; others enqueue at most what it has left waiting.
        self.thread = threading.get_ident()
        #: Plans that this thread has made for the device (their kernel objects hold arguments).
        self.plans: Bounded = Bounded(PLANS_KEPT)
        #: Sequences of calls that have waited together, with their kernels (registry/sequence.py).
        self.sequences: Bounded = Bounded(PLANS_KEPT)
        #: Launches that wait to be merged into one. Only the thread that opened the stream lets launches
        #: wait, but any thread may enqueue them: both do so under the lock.
        self.waiting: Waiting | None = None
        self.bulk_size: int = getattr(_threads, "bulk_size", BULK_SIZE)
        #: Keeps what is enqueued while a function is captured.
        self.recorder: Recorder | None = getattr(_threads, "elsewhere", None)
        self.lock = threading.RLock()
        #: Whoever is told of what is enqueued, if anybody is.
        self.observer: Observer | None = None
        self._flushing = False
        #: How many launches make a round now, how many of them there have been, and the last one's last.
        self._round = FIRST_ROUND
        self._launches = 0
        self._marker: cl.Event | None = None
        if _observe is not None:
            self.observer = _observe(self)

    @property
    def queue(self) -> cl.CommandQueue:
        """The command queue, after what has waited was enqueued to it: so program order is kept."""
        if self.waiting is not None:
            self.flush()
        return self._queue

    def flush(self) -> None:
        """Enqueue the launches that wait; where that fails they go on waiting, for the next call."""
        if self.waiting is None:
            return
        with self.lock:
            waiting = self.waiting
            if waiting is not None:
                if self.observer is not None and not self._flushing:
                    self.observer.begin(self)
                outermost, self._flushing = not self._flushing, True
                try:
                    waiting.enqueue(self._queue)
                finally:
                    self._flushing = not outermost
                if self.waiting is waiting:  # else a signal's handler, meanwhile, has come here before
                    self.waiting = None

    def exchange_queue(self, make: Callable[[cl.CommandQueue], cl.CommandQueue]) -> bool:
        """Go on with another queue, which ``make`` gives for the present one, once that has run dry.

        What waits to be enqueued goes to the other one.
        Returns whether that was possible: not in another thread than the stream's, which may be about
        to enqueue, nor while what waits is being enqueued.
        """
        if self.thread != threading.get_ident():
            return False
        with self.lock:
            if self._flushing:
                return False
            self._queue.finish()
            self._queue = make(self._queue)
        return True

    def holders(self) -> dict[str, tuple[int, int]]:
        """How many arrays, and bytes of them, are there on the device of the results of each op."""
        return held_by_label(self.device)

    def count_launch(self, event: cl.Event | None, number: int = 1) -> None:
        """Keep the queue bounded, in launches and in time: after each round, wait for the one before.

        The event is that of the last of so many launches, if it has one.
        """
        self._launches += number
        if self._launches >= self._round:
            self._end_round(event)

    def _end_round(self, event: cl.Event | None) -> None:
        self._launches = 0
        self._queue.flush()
        marker = self._marker
        self._marker = cl.enqueue_marker(self._queue) if event is None else event
        if marker is not None:
            start = _now()
            marker.wait()
            waited = _now() - start
            if waited > LONG_WAIT:
                self._round = max(1, self._round // 2)
            elif waited < LONG_WAIT / 4:
                self._round = min(2 * self._round, LAUNCHES_IN_FLIGHT)
        self.trim()

    def close(self) -> None:
        """Belong to no thread any more, since it has ended, and let go of what was kept for its calls.

        Arrays that it has made live on.
        """
        with contextlib.suppress(MXNetError, cl.Error):  # then it goes on waiting for whoever reads
            self.flush()
        self.thread = 0
        for plan in self.plans.values():  # some find others, and themselves, in a cache of their own
            getattr(plan, "cache", {}).clear()
        self.plans.clear()
        self.sequences.clear()

    def disown(self) -> None:
        """Belong to no thread any more: the process was forked, and the queue is the parent's."""
        self.thread = -1
        self.waiting = self.observer = None
        self.lock = threading.RLock()  # the parent's may have been held by a thread that is not here

    def finish(self) -> None:
        """Wait until everything that was enqueued here has run.

        Raises
        ------
        DeviceError
            The queue was inherited across a fork.
        """
        if self.thread == -1:
            current_stream(self.device)  # raises
        queue = self.queue
        with Range("wait", "wait"):
            queue.finish()


class _Streams(dict[Device, Stream]):
    """A thread's streams, by device."""

    def __init__(self) -> None:
        super().__init__()
        self._process, self._getpid = os.getpid(), os.getpid
        self._is_ending = sys.is_finalizing

    def __del__(self) -> None:
        # The thread has ended. Plans hold memory, which holds its stream, which holds the plans: without
        # this, all that would wait for the garbage collector. (A forked child may not touch them, and
        # at the end of the program modules are taken apart already.)
        if self._getpid() == self._process and not self._is_ending():
            for stream in self.values():
                stream.close()


_threads = threading.local()


def current_stream(device: Device) -> Stream:
    """The calling thread's stream on the device."""
    try:
        return _threads.streams[device]
    except AttributeError:
        _threads.streams = _Streams()
    except KeyError:
        pass
    stream = _threads.streams[device] = Stream(device)
    return stream


def flush() -> None:
    """Enqueue what waits in the calling thread's streams."""
    for stream in _streams():
        stream.flush()


def set_bulk_size(size: int) -> int:
    """How many launches of the calling thread may wait for each other, from now on; what it was."""
    flush()
    previous, _threads.bulk_size = getattr(_threads, "bulk_size", BULK_SIZE), size
    for stream in _streams():
        stream.bulk_size = size
    return previous


def set_recorder(stream: Stream, recorder: Recorder | None, elsewhere: Recorder | None) -> None:
    """Tell a recorder what a stream of the calling thread enqueues, and another what all others do."""
    _threads.elsewhere = elsewhere
    for other in _streams():
        other.recorder = recorder if other is stream else elsewhere


def _streams() -> list[Stream]:
    return list(getattr(_threads, "streams", {}).values())


#: Gives streams that are opened from now on their observer.
_observe: Callable[[Stream], Observer | None] | None = None


def observe(observe: Callable[[Stream], Observer | None] | None) -> None:
    """Give every stream that is opened from now on an observer, or none."""
    global _observe
    _observe = observe


#: Queues and pools that a forked child inherited; releasing them there could hang, so they are kept.
_inherited: list[object] = []


def all_streams() -> list[Stream]:
    """Every stream that some thread has opened and somebody still holds."""
    return [stream for stream in all_pools() if isinstance(stream, Stream)]


def _after_fork_in_child() -> None:
    """Disown the parent's queues, so that their next use ends in DeviceError and not in a hang."""
    for stream in all_streams():
        stream.disown()
        _inherited.append(stream)
    _threads.streams = _Streams()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


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

    def __init__(self, stream: Stream, nbytes: int, label: str = ""):
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
    def holding(cls, stream: Stream, buffer: cl.MemoryObject, nbytes: int, label: str = "") -> "Storage":
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


def not_written(views: Sequence["View"]) -> None:
    """Take back that a write to each was counted: there was no memory for it, and nothing was enqueued."""
    for view in views:
        view.storage.version -= 1


class Layout:
    """Shape and dtype of a C-contiguous array. One object for each: compared and hashed by identity."""

    __slots__ = ("dtype", "nbytes", "shape", "size")
    dtype: np.dtype
    nbytes: int
    shape: tuple[int, ...]
    size: int
    _interned: ClassVar[dict[tuple, "Layout"]] = {}
    #: How many there are when those that nobody holds are forgotten: twice as many as there were then.
    _limit: ClassVar[int] = 4096

    def __new__(cls, shape: tuple[int, ...], dtype: np.dtype) -> "Layout":
        """The object of this shape and dtype, made at its first mention."""
        layout = cls._interned.get((shape, dtype))
        if layout is None:
            layout = super().__new__(cls)
            layout.shape = shape
            layout.dtype = dtype
            layout.size = math.prod(shape)
            layout.nbytes = layout.size * dtype.itemsize
            if len(cls._interned) >= cls._limit:
                cls._forget()
            layout = cls._interned.setdefault((shape, dtype), layout)
        return layout

    @classmethod
    def _forget(cls) -> None:
        # If another thread asks for one of them right now, there are two of it: some call is planned twice.
        for key in list(cls._interned):
            if sys.getrefcount(cls._interned.get(key)) <= 2:  # the dictionary's, and that of this call
                cls._interned.pop(key, None)
        cls._limit = max(cls._limit, 2 * len(cls._interned))

    def __iter__(self):
        """Unpack as (shape, dtype)."""
        yield self.shape
        yield self.dtype


class View:
    """A C-contiguous array laid over a storage at an element offset."""

    __slots__ = ("layout", "offset", "storage")

    def __init__(self, storage: Storage, offset: int, layout: Layout):
        self.storage = storage
        self.offset = offset
        self.layout = layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.layout.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.layout.size

    @property
    def nbytes(self) -> int:
        """Bytes of the elements that this view covers."""
        return self.layout.nbytes

    @property
    def device(self) -> Device:
        """The device that holds the memory."""
        return self.storage.stream.device

    def reshaped(self, shape: tuple[int, ...], offset: int = 0) -> "View":
        """The same memory, from ``offset`` elements further on, under another shape."""
        return View(self.storage, self.offset + offset, Layout(shape, self.layout.dtype))

    def overlaps(self, other: "View") -> bool:
        """Whether some byte belongs to this view and to another of the same storage."""
        begin, start = self.offset * self.dtype.itemsize, other.offset * other.dtype.itemsize
        return max(begin, start) < min(begin + self.nbytes, start + other.nbytes)


def empty(stream: Stream, shape: tuple[int, ...], dtype: np.dtype, label: str = "array") -> View:
    """Uninitialised memory for an array."""
    layout = Layout(tuple(shape), dtype)
    return View(Storage(stream, layout.nbytes, label), 0, layout)


def upload(stream: Stream, host: np.ndarray, view: View) -> None:
    """Copy a C-contiguous host array of the view's dtype and size into it."""
    if view.size:
        with _on(stream, view):
            event = cl.enqueue_copy(
                _queue_to_copy(stream),
                view.storage.buffer,
                _bytes_of(np.ascontiguousarray(host)),
                dst_offset=view.offset * view.dtype.itemsize,
                is_blocking=True,
            )
            if stream.recorder is not None:
                stream.recorder.uploaded(host, view)
            if stream.observer is not None:
                stream.observer.copied(stream, "upload", view, event)


def download(stream: Stream, view: View) -> np.ndarray:
    """The view's elements as a new numpy array; waits for the device."""
    if stream.recorder is not None:
        stream.recorder.refuse_read()
    host = np.empty(view.shape, view.dtype)
    if view.size:
        with _on(stream, view):
            event = cl.enqueue_copy(
                _queue_to_copy(stream),
                _bytes_of(host),
                view.storage.buffer,
                src_offset=view.offset * view.dtype.itemsize,
                is_blocking=True,
            )
            if stream.observer is not None:
                stream.observer.copied(stream, "download", view, event)
    return host


def _bytes_of(host: np.ndarray) -> np.ndarray:
    """The memory of a C-contiguous array as bytes: not every dtype has Python's buffer protocol."""
    return host.reshape(-1).view(np.uint8)


def copy(stream: Stream, source: View, target: View) -> None:
    """Copy a view into another of the same layout."""
    if source.size:
        with _on(stream, source), _on(stream, target):
            event = cl.enqueue_copy(
                _queue_to_copy(stream),
                target.storage.buffer,
                source.storage.buffer,
                src_offset=source.offset * source.dtype.itemsize,
                dst_offset=target.offset * target.dtype.itemsize,
                byte_count=source.nbytes,
            )
            if stream.recorder is not None:
                stream.recorder.copied(source, target)
            if stream.observer is not None:
                stream.observer.copied(stream, "copy", source, event)


def _queue_to_copy(stream: Stream) -> cl.CommandQueue:
    if stream.observer is not None:
        stream.observer.begin(stream)
    return stream.queue


@contextlib.contextmanager
def _on(stream: Stream, view: View) -> Iterator[None]:
    foreign = view.storage.stream is not stream
    if foreign:
        view.storage.stream.finish()
    yield
    if foreign:
        stream.finish()
