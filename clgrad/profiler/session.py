"""The profile: from when it is switched on until it is switched off, and what was seen meanwhile."""

import os
import threading
import time
from pathlib import Path
from types import TracebackType

from clgrad import files, memory
from clgrad.device import Device
from clgrad.errors import MXNetError, argument_error
from clgrad.kernels.peaks import Peaks, measured
from clgrad.memory import Stream
from clgrad.profiler import chrome, page, summary
from clgrad.profiler.clock import Clock
from clgrad.profiler.host import HostLog, HostRange, Instant
from clgrad.profiler.launches import Gap, Idleness, Kind, Launch, Queue, Row, called
from clgrad.profiler.streams import Kinds, LaneLog, QueueLog, StreamLog
from clgrad.ranges import Range

#: Launches of each stream, and ranges, that the timeline holds at most.
TIMELINE = 200_000

_lock = threading.RLock()
_current: "Profile | None" = None


def current() -> "Profile | None":
    """The profile that is on."""
    return _current


class Profile:
    """Everything that clgrad does on any device, from the beginning of the ``with`` block to its end.

    While it is on, each stream has a queue that notes times, in the place of its own; when the block is
    left, in whatever way, the calling thread's streams have their own queues again, and those of other
    threads get them back at their next launch. One profile can be on at a time.

    Parameters
    ----------
    timeline : int
        Launches of each stream, and ranges of the host, of which single times are kept. The tables count
        those that come after as well.

    Attributes
    ----------
    duration : int
        Nanoseconds that it was on.

    Raises
    ------
    OperatorError
        ``timeline`` is not a whole number of at least 0.
    MXNetError
        Entered while a profile is on, or for a second time.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((64, 32))
    >>> with mx.profiler.profile() as p:
    ...     y = mx.nd.dot(x, x.T)
    ...     y.wait_to_read()
    >>> [launch.op for launch in p.launches]
    ['transpose', 'dot']
    >>> p.launches[1].flops == 2 * 64 * 64 * 32
    True
    """

    def __init__(self, timeline: int = TIMELINE):
        if isinstance(timeline, bool) or not isinstance(timeline, int) or timeline < 0:
            accepted = "a whole number of at least 0"
            raise argument_error("profiler.profile", "timeline", repr(timeline), accepted)
        self._timeline = timeline
        #: Ranges and moments of the host, as they come in.
        self.host = HostLog(timeline)
        self._kinds = Kinds(self.host.path)
        self._logs: list[QueueLog] = []
        #: Logs of copies beside streams, by device and thread.
        self._lanes: dict[tuple[Device, int], LaneLog] = {}
        self._threads: dict[int, str] = {}
        self._started: int | None = None
        self._ended: int | None = None

    def __enter__(self) -> "Profile":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Switch it on: what ``with`` does at its beginning."""
        global _current
        with _lock:
            if self._started is not None:
                raise MXNetError("profiler: this profile has been on before; accepted: a new one")
            if _current is not None:
                raise MXNetError("profiler: a profile is on already; accepted: one at a time")
            memory.flush()  # what was called before is not part of it
            self._started = time.perf_counter_ns()
            try:
                _current = self
                memory.observe(self._observe)
                Range.recorder = self.host
                for stream in memory.all_streams():
                    own = isinstance(stream.observer, StreamLog)  # it was opened just now
                    if stream.thread != -1 and not own:  # nor the parent's, before a fork
                        stream.observer = self._observe(stream)
            except BaseException:  # an interrupt
                self.stop()
                raise

    def _observe(self, stream: Stream) -> StreamLog | None:
        with _lock:
            if _current is not self:  # the profile has ended while a thread opened its stream
                return None
            self._name_threads()
            log = StreamLog(stream, self._kinds, self._timeline, self._beside)
            self._logs.append(log)
            return log

    def _beside(self, device: Device) -> LaneLog | None:
        with _lock:
            if _current is not self:
                return None
            place = device, threading.get_ident()
            log = self._lanes.get(place)
            if log is None:
                self._name_threads()
                log = self._lanes[place] = LaneLog(*place, self._kinds, self._timeline)
                log.paused = self.host.paused
                self._logs.append(log)
            return log

    def _name_threads(self) -> None:
        for thread in threading.enumerate():
            if thread.ident is not None:
                self._threads[thread.ident] = thread.name

    def stop(self) -> None:
        """Switch it off, once what was launched has run: what ``with`` does at its end."""
        global _current
        with _lock:
            if _current is not self:
                return
            Range.recorder = None
            memory.observe(None)
            try:
                self._name_threads()
                for log in self._logs:
                    log.close()
            finally:
                for log in self._logs:  # those that an interrupt has left
                    log.release()
                self.host.close()
                self._ended = time.perf_counter_ns()
                _current = None

    def pause(self) -> None:
        """Note nothing until :meth:`resume`."""
        self.host.paused = True
        for log in list(self._logs):
            log.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self.host.paused = False
        for log in list(self._logs):
            log.resume()

    # What was seen

    @property
    def duration(self) -> int:
        """Nanoseconds that it has been on."""
        if self._started is None:
            return 0
        return (self._ended or time.perf_counter_ns()) - self._started

    @property
    def devices(self) -> list[Device]:
        """Devices on which something was launched."""
        return list(dict.fromkeys(kind.device for kind in self.kinds))

    @property
    def kinds(self) -> list[Kind]:
        """Every kind of launch, with its sums (:class:`clgrad.profiler.launches.Kind`)."""
        self._gather()
        return [kind for kind in self._kinds if kind.count]

    @property
    def launches(self) -> list[Launch]:
        """What was launched, in the order in which the devices ran it.

        A list of :class:`clgrad.profiler.launches.Launch`, as far as the timeline goes.
        """
        found = []
        for queue in self.queues:
            for row in queue.rows:
                work, scope = self._kinds[row.kind].work, self._kinds[row.kind].scope
                place = (scope, called(queue.device), queue.thread)
                found.append(Launch._make((*vars(work).values(), *place, *row[1:], queue.is_beside)))
        return sorted(found, key=lambda launch: launch.started)

    @property
    def queues(self) -> list[Queue]:
        """The timeline of each queue; a row's ``kind`` is an index of :attr:`numbered`."""
        self._gather()
        return [
            Queue(log.device, log.thread, log.is_beside, self._rows(log))
            for log in self._logs
            if len(log.columns)
        ]

    def _rows(self, log: QueueLog) -> list[Row]:
        origin, clock = self.started, Clock(log.readings[0], log.readings[-1])
        return [
            Row._make(
                (
                    kind,
                    begun - origin,
                    enqueued - origin,
                    *[clock.host(t) - origin for t in times],
                    in_use,
                )
            )
            for kind, begun, enqueued, *times, in_use in log.columns
        ]

    @property
    def numbered(self) -> list[Kind]:
        """Every kind of launch, in the order in which they came up."""
        return list(self._kinds)

    @property
    def ranges(self) -> list[HostRange]:
        """Ranges of the host's time: scopes, and clgrad's own work (``plan``, ``build``, ``wait``)."""
        origin = self.started
        return sorted(
            [r._replace(started=r.started - origin, ended=r.ended - origin) for r in self.host.ranges],
            key=lambda r: (r.started, r.depth),
        )

    @property
    def instants(self) -> list[Instant]:
        """Markers and counters (:class:`Marker`, :class:`Counter`)."""
        return [i._replace(at=i.at - self.started) for i in self.host.instants]

    @property
    def gaps(self) -> list[Gap]:
        """The longest times in which a stream's queue had nothing to run, the longest first."""
        self._gather()
        found = []
        for log in self._streams():
            if log.readings:
                clock = Clock(log.readings[0], log.readings[-1])
                for gap in log.gaps:
                    started, ended = clock.host(gap.started), clock.host(gap.ended)
                    found.append(gap._replace(started=started - self.started, ended=ended - self.started))
        return sorted(found, key=lambda gap: -gap.duration)

    @property
    def idleness(self) -> dict[tuple[str, int], Idleness]:
        """How each stream's queue spent its time, by the device's name and the thread."""
        self._gather()
        streams = self._streams()
        return {(called(log.device), log.thread): log.idleness for log in streams if log.idleness.total}

    def _streams(self) -> list[QueueLog]:
        """Logs of those whose idle time counts: what copies beside a stream waits for the loader's data."""
        return [log for log in self._logs if not log.is_beside]

    @property
    def left_out(self) -> int:
        """Launches and ranges that the timeline had no room for; the tables count the launches."""
        return sum(log.columns.left_out for log in self._logs) + self.host.left_out

    @property
    def timed(self) -> int:
        """Launches on the timeline."""
        return sum(len(log.columns) for log in self._logs)

    @property
    def untimed(self) -> int:
        """Launches that have no times, and are in no table."""
        return sum(log.untimed for log in self._logs)

    @property
    def started(self) -> int:
        """When it was switched on, by ``time.perf_counter_ns``; 0 if it was not."""
        return self._started or 0

    @property
    def threads(self) -> dict[int, str]:
        """Names of the threads by their identifiers."""
        return dict(self._threads)

    def peaks(self) -> dict[Device, Peaks | None]:
        """What the devices can do, measured at the first call; None where they have no room for it.

        Bytes that a copy moves in a second, and float32 additions and multiplications in a second.
        """
        return {device: measured(device) for device in self.devices}

    def _gather(self) -> None:
        if _current is self:
            for log in list(self._logs):
                log.gather()

    # Reports

    def table(self, group: str = "op", sort: str = "total", limit: int | None = 40) -> str:
        """A table of what took how long.

        Parameters
        ----------
        group : {"op", "kernel", "shapes", "scope"}
            What a row stands for: an op, a kernel, a kernel on certain shapes, or a scope.
        sort : {"total", "count", "mean", "min", "max", "bandwidth", "flops", "limit", "name"}
            By what; names ascend, all else descends.
        limit : int, optional
            Rows at most.

        Returns
        -------
        str
            Time on the device, GB/s, GFLOP/s of products, and the share of what the device could do at best
            (the roofline model of Williams, Waterman and Patterson, Communications of the ACM 52:4, 2009);
            below it, how the queues spent their time, and the longest gaps.

        Raises
        ------
        OperatorError
            There is no such ``group`` or ``sort``, or ``limit`` is not a whole number of at least 1.

        Examples
        --------
        >>> import clgrad as mx
        >>> with mx.profiler.profile() as p:
        ...     y = mx.nd.ones((2, 3)).exp()
        >>> print(p.table(group="kernel"))
        Profile of ...
        """
        return summary.table(self, group, sort, limit)

    def __str__(self) -> str:
        return self.table()

    def save_chrome_trace(self, path: str | os.PathLike) -> None:
        """Write the timeline as a Chrome trace (JSON), which https://ui.perfetto.dev opens.

        Rows of devices and of the host's threads, with scopes, launches, memory in use, and an arrow from
        each call to its launch. The format is that of the "Trace Event Format" document of the Chromium
        project.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all.
        """
        files.replace(Path(path), chrome.trace([self]).encode())

    def save_html(self, path: str | os.PathLike, title: str = "clgrad profile") -> None:
        """Write a report: one HTML file that needs nothing else, with a timeline, tables and a roofline.

        Parameters
        ----------
        path : str or os.PathLike
            Written whole or not at all.
        title : str
            Its heading.
        """
        files.replace(Path(path), page.page(self, title).encode())


def _forget() -> None:
    """In a forked child no profile is on: the streams are the parent's."""
    global _current, _lock
    _current, _lock = None, threading.RLock()
    Range.recorder = None
    memory.observe(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
