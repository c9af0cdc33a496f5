"""Command queues with their pools of memory, one for each thread and device."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

import pyopencl as cl

from clgrad.bounded import Bounded
from clgrad.device import Device
from clgrad.errors import MXNetError
from clgrad.memory.protocols import Observer, Recorder, Waiting
from clgrad.memory.storage import held_by_label
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
