"""What queues are given while a profile is on: events, harvested in rounds, and what they add up to."""

import contextlib
import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyopencl as cl

from clgrad.bounded import Bounded
from clgrad.device import Device
from clgrad.errors import MXNetError
from clgrad.memory import Stream, View
from clgrad.profiler import clock
from clgrad.profiler.launches import Columns, Gap, Idleness, Kind, Row, Work

#: Launches whose events are held before the older half of them is read and let go of. Reading takes time,
#: and most profiles are over before that.
ROUND = 8192
#: Longest gaps that are kept for each stream.
_GAPS = 16
#: What is asked of an event, in the order of :meth:`QueueLog._add`.
_TIMES = tuple(getattr(cl.profiling_info, what) for what in ("QUEUED", "SUBMIT", "START", "END"))
#: Steps whose work is remembered, so that it need not be described at each launch.
_STEPS_KEPT = 2_000


class _Pending(NamedTuple):
    """A launch whose event has not been read."""

    event: cl.Event
    kind: int
    begun: int
    enqueued: int
    memory: int


class QueueLog:
    """Events of one in-order queue.

    Parameters
    ----------
    device : Device
    kinds : Kinds
        Those of the whole profile.
    limit : int
        Launches that the timeline may hold.
    """

    #: Whether the queue runs beside the stream of its thread.
    is_beside = False

    def __init__(self, device: Device, thread: int, kinds: "Kinds", limit: int):
        self.device, self.thread = device, thread
        self.columns = Columns(limit)
        self.idleness = Idleness()
        #: Launches that have no times: the driver gave none, or the queue was not one that profiles yet.
        self.untimed = 0
        self.readings: list[clock.Reading] = []
        self.paused = False
        #: Whether nothing is noted any more.
        self._is_closed = False
        self._kinds = kinds
        self._queue: cl.CommandQueue | None = None
        self._begun = 0
        self._pending: list[_Pending] = []
        self._gaps: list[tuple[int, int, Gap]] = []
        #: End of the launch before, and its kind.
        self._last: tuple[int, Kind] | None = None
        #: The rounds of another thread, which ends the profile, come one by one with this thread's.
        self._lock = threading.RLock()

    def _make_queue(self) -> cl.CommandQueue:
        """A queue that profiles."""
        kind = cl.command_queue_properties.PROFILING_ENABLE
        return cl.CommandQueue(self.device.cl_context, self.device.cl_device, kind)

    def _note(self, kind: int, event: cl.Event, in_use: int) -> None:
        """Note a launch: its kind, and how many bytes are in use."""
        now = time.perf_counter_ns()
        with self._lock:
            if self._is_closed or self.paused:
                return
            if self._queue is None:  # enqueued by another thread, or begun before the profile
                self.untimed += 1
                return
            begun = self._begun or now
            self._begun = now  # the next step of the same plan is enqueued from here on
            self._pending.append(_Pending(event, kind, begun, now, in_use))
            if len(self._pending) >= ROUND:
                self._harvest(ROUND // 2)

    # Reading events

    def _harvest(self, count: int) -> None:
        """Read the times of the oldest launches; waits for them."""
        done, self._pending = self._pending[:count], self._pending[count:]
        if done:
            with contextlib.suppress(cl.Error):
                done[-1].event.wait()  # the queue runs them in order
        with self._kinds.lock:
            for pending in done:
                try:
                    times = _times_of(pending.event)
                except cl.Error:
                    self.untimed += 1
                else:
                    self._add(pending, *times)

    def _add(self, pending: _Pending, queued: int, submitted: int, started: int, ended: int) -> None:
        queued = queued or submitted
        # Drivers that round each time by itself may have an end before the beginning.
        submitted = max(submitted, queued)
        started = max(started, submitted)
        ended = max(ended, started)
        kind = self._kinds[pending.kind]
        kind.add(ended - started)
        self._add_gap(kind, queued, started, ended)
        host = (pending.kind, pending.begun, pending.enqueued)
        self.columns.append(Row(*host, queued, submitted, started, ended, pending.memory))

    def _add_gap(self, kind: Kind, queued: int, started: int, ended: int) -> None:
        """Count the time since the launch before."""
        idleness = self.idleness
        if self._last is None:
            idleness.busy += ended - started
        else:
            before, previous = self._last
            started = max(started, before)
            host = min(max(queued - before, 0), started - before)
            idleness.busy += max(ended - started, 0)
            idleness.host += host
            idleness.latency += started - before - host
            if started > before:
                duration = started - before
                if len(self._gaps) < _GAPS or duration > self._gaps[0][0]:
                    gap = Gap(before, started, host, previous, kind)
                    heapq.heappush(self._gaps, (duration, -before, gap))
                    if len(self._gaps) > _GAPS:
                        heapq.heappop(self._gaps)
        self._last = (max(ended, 0 if self._last is None else self._last[0]), kind)

    @property
    def gaps(self) -> list[Gap]:
        """The longest gaps, by the device's clock."""
        return [gap for _, _, gap in self._gaps]

    def pause(self) -> None:
        """Note nothing from here on; the time until :meth:`resume` is no gap."""
        with self._lock:
            self._harvest(len(self._pending))
            self.paused, self._last = True, None

    def resume(self) -> None:
        """Note launches again."""
        with self._lock:
            self.paused = False

    def gather(self) -> None:
        """Read all events; waits for the device."""
        with self._lock:
            self._harvest(len(self._pending))
            if self._queue is not None:
                with contextlib.suppress(cl.Error):  # that is for the program's next op to say
                    self._queue.finish()
                    self.readings.append(clock.read(self._queue))
            del self.readings[1:-1]

    def close(self) -> None:
        """Read the events that are left, and note no more."""
        if not self._is_closed:
            try:
                self.gather()
            finally:
                self.release()

    def release(self) -> None:
        """Note no more, whatever has been read."""
        with self._lock:
            self._is_closed, self._queue = True, None


class StreamLog(QueueLog):
    """The observer of one stream (:class:`clgrad.memory.Observer`).

    Parameters
    ----------
    stream : Stream
    kinds, limit
        See :class:`QueueLog`.
    beside : callable
        Gives the log of what the calling thread copies beside its stream on a device.
    """

    def __init__(
        self,
        stream: Stream,
        kinds: "Kinds",
        limit: int,
        beside: "Callable[[Device], LaneLog | None]" = lambda _: None,
    ):
        super().__init__(stream.device, stream.thread, kinds, limit)
        self._stream: Stream | None = stream
        self._beside = beside
        previous = stream.observer
        #: The stream's own queue; known already where it has not been taken back after another profile.
        self._plain: cl.CommandQueue | None = previous.plain if isinstance(previous, _Return) else None
        #: Whether the driver has no queue that profiles.
        self._is_refused = False
        self._managed = 0

    # As an observer

    def begin(self, stream: Stream, may_exchange: bool = True) -> None:
        """Have the stream use a queue that profiles; note when the host began."""
        if self._queue is not None:
            self._settle_pool(stream)
        elif may_exchange and self._stream is not None and not self._is_refused:
            try:
                stream.exchange_queue(self._profiling)
            except cl.Error:  # the program goes on all the same, on the queue that it has
                self._is_refused = True
        self._begun = time.perf_counter_ns()

    def launched(
        self, stream: Stream, plan: Any, step: Any, views: Sequence[View], event: cl.Event
    ) -> None:
        """Note a launch."""
        self._note(self._kinds.of_step(self.device, plan, step, views), event, stream.bytes_in_use)

    def copied(self, stream: Stream, what: str, view: View, event: cl.Event) -> None:
        """Note a copy."""
        self._note(self._kinds.of_copy(self.device, what, view), event, stream.bytes_in_use)

    def beside(self) -> "LaneLog | None":
        """Who is told of copies of the calling thread through another queue to the device."""
        return None if self._is_closed else self._beside(self.device)

    def _profiling(self, present: cl.CommandQueue) -> cl.CommandQueue:
        """The queue to exchange for the present one, which may be that of another profile."""
        if self._plain is not None and present is not self._plain:
            queue = present
        else:
            self._plain = present
            queue = self._make_queue()
        reading = clock.read(queue)
        self.readings.append(reading)
        self._queue = queue
        return queue

    def _settle_pool(self, stream: Stream) -> None:
        """Wait until the pool, which has the stream's own queue, has given new memory to the device."""
        managed = stream.bytes_reserved
        if managed != self._managed:
            self._managed = managed
            assert self._plain is not None
            self._plain.finish()

    def close(self) -> None:
        """Have what waits enqueued, read the events that are left, give the stream its own queue back."""
        if self._stream is None:
            return
        try:
            with contextlib.suppress(MXNetError):  # it goes on waiting, and the next op will say so
                self._stream.flush()
            self.gather()
        finally:
            self.release()

    def release(self) -> None:
        """See no more of the stream, and give its own queue back to it, whatever has been read."""
        with self._lock:
            stream, self._stream = self._stream, None
            plain, self._plain = self._plain, None
            super().release()
        if stream is not None and stream.observer is self:
            back = None if plain is None else _Return(plain)
            stream.observer = back
            if back is not None:
                back.begin(stream)


class LaneLog(QueueLog):
    """What one thread copies through queues beside the stream's (:class:`clgrad.transfer.Lane`).

    It waits for each of them, so all may go through one queue while the profile is on.
    """

    is_beside = True

    def begin(self) -> cl.CommandQueue | None:
        """The queue to copy through; None where the driver has none that profiles."""
        with self._lock:
            if self._queue is None and not self._is_closed:
                with contextlib.suppress(cl.Error):
                    queue = self._make_queue()
                    self.readings.append(clock.read(queue))
                    self._queue = queue
            self._begun = time.perf_counter_ns()
            return self._queue

    def copied(self, view: View, event: cl.Event) -> None:
        """Note a copy from the host."""
        self._note(self._kinds.of_copy(self.device, "prefetch", view), event, 0)


def _times_of(event: cl.Event) -> list[int]:
    try:
        return [event.get_profiling_info(what) for what in _TIMES]
    except cl.Error:  # it has not run: the one that was waited for has failed
        event.wait()
        return [event.get_profiling_info(what) for what in _TIMES]


class _Return:
    """The observer of a stream whose profile has ended, until its thread takes back its own queue."""

    def __init__(self, plain: cl.CommandQueue):
        self.plain = plain

    def begin(self, stream: Stream, may_exchange: bool = True) -> None:
        """Take the queue back, if this is the stream's thread."""
        if may_exchange and stream.exchange_queue(lambda _: self.plain) and stream.observer is self:
            stream.observer = None

    def launched(self, *_: object) -> None:
        """Nobody wants to know any more."""

    def copied(self, *_: object) -> None:
        """Nobody wants to know any more."""

    def beside(self) -> None:
        """Nobody wants to know any more."""


class Kinds:
    """Every kind of launch in a profile, numbered.

    Parameters
    ----------
    scope : callable
        Names of the scopes that the calling thread is in.
    """

    def __init__(self, scope: Callable[[], str]):
        self._scope = scope
        self._all: list[Kind] = []
        self._numbers: dict[tuple[Work, Device, str], int] = {}
        #: By step and scope; holds the step, so that no other has its address.
        self._known: Bounded[tuple[int, str], tuple[object, int]] = Bounded(_STEPS_KEPT)
        #: Held by whoever counts launches.
        self.lock = threading.Lock()

    def __getitem__(self, number: int) -> Kind:
        return self._all[number]

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._all))

    def of_step(self, device: Device, plan: Any, step: Any, views: Sequence[View]) -> int:
        """The kind of a launch."""
        scope = self._scope()
        known = self._known.get((id(step), scope))
        if known is None:
            number = self._number(Work.of_step(plan, step, views), device, scope)
            with self.lock:
                self._known[id(step), scope] = (step, number)
            return number
        return known[1]

    def of_copy(self, device: Device, what: str, view: View) -> int:
        """The kind of a copy."""
        return self._number(Work.of_copy(what, view), device, self._scope())

    def _number(self, work: Work, device: Device, scope: str) -> int:
        with self.lock:
            number = self._numbers.get((work, device, scope))
            if number is None:
                number = self._numbers[work, device, scope] = len(self._all)
                self._all.append(Kind(work, device, scope))
            return number
