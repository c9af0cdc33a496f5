"""What the host did while a profile was on: ranges, nested, in each thread."""

import threading
import time
from typing import NamedTuple

#: Categories of ranges that launches are counted under.
_SCOPES = frozenset(["block", "phase", "scope"])


class HostRange(NamedTuple):
    """A range of the host's time. Times are nanoseconds since the profile began.

    Attributes
    ----------
    name, category : str
        See :class:`clgrad.profiler.scope`.
    thread : int
        Identifier of the thread.
    depth : int
        How many ranges of the thread are around it; -1 for tasks, which may overlap others.
    started, ended : int
    """

    name: str
    category: str
    thread: int
    depth: int
    started: int
    ended: int

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.ended - self.started


class Instant(NamedTuple):
    """A moment with a name, or a counter's new value; times as in :class:`HostRange`."""

    name: str
    category: str
    thread: int
    at: int
    value: float | None = None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack: list[_OpenRange | _Elsewhere] = []


class HostLog:
    """Ranges of every thread (:class:`clgrad.ranges.Recorder`), up to ``limit``."""

    def __init__(self, limit: int):
        self.ranges: list[HostRange] = []
        self.instants: list[Instant] = []
        self.left_out = 0
        self.paused = False
        self._limit = limit
        self._thread = _Thread()
        self._open: dict[int, _OpenRange] = {}
        self._is_closed = False

    def open(self, name: str, category: str) -> "_OpenRange":
        """A range begins."""
        return _OpenRange(self, name, category, self._thread.stack)

    def place(self, path: str) -> "_Elsewhere":
        """Put what the calling thread does under other scopes."""
        return _Elsewhere(path, self._thread.stack)

    def path(self) -> str:
        """Names of the scopes that the calling thread is in."""
        stack = self._thread.stack
        return stack[-1].path if stack else ""

    def mark(self, name: str, category: str, value: float | None = None) -> None:
        """Something happened, or a counter has a new value."""
        if self.paused or self._is_closed:
            return
        if len(self.instants) < self._limit:
            now = time.perf_counter_ns()
            self.instants.append(Instant(name, category, threading.get_ident(), now, value))
        else:
            self.left_out += 1

    def span(self, name: str, category: str, started: int) -> None:
        """Something that began at ``started`` ends; it may overlap others, and so has no depth."""
        if not self.paused and not self._is_closed:
            now = time.perf_counter_ns()
            self._add(HostRange(name, category, threading.get_ident(), -1, started, now))

    def close(self) -> None:
        """End what is still open."""
        for still in list(self._open.values()):
            still.close()
        self._is_closed = True

    def _begin(self, opened: "_OpenRange") -> None:
        self._open[id(opened)] = opened

    def _end(self, opened: "_OpenRange") -> None:
        if self._open.pop(id(opened), None) is None or self.paused or self._is_closed:
            return
        place = (opened.name, opened.category, opened.thread, opened.depth, opened.started)
        self._add(HostRange(*place, time.perf_counter_ns()))

    def _add(self, ended: HostRange) -> None:
        if len(self.ranges) < self._limit:
            self.ranges.append(ended)
        else:
            self.left_out += 1


class _Elsewhere:
    """Scopes of another place, on top of those that a thread is in; no range of time."""

    __slots__ = ("_stack", "path")

    def __init__(self, path: str, stack: "list[_OpenRange | _Elsewhere]"):
        self.path, self._stack = path, stack
        stack.append(self)

    def close(self) -> None:
        """Back to where the thread is."""
        if self in self._stack:
            del self._stack[self._stack.index(self) :]


class _OpenRange:
    """A range that has begun."""

    __slots__ = ("_log", "_stack", "category", "depth", "name", "path", "started", "thread")

    def __init__(self, log: HostLog, name: str, category: str, stack: "list[_OpenRange | _Elsewhere]"):
        self._log, self._stack = log, stack
        self.name, self.category = name, category
        self.depth = len(stack)
        outer: str = stack[-1].path if stack else ""
        self.path: str = outer
        if category in _SCOPES:
            self.path = f"{outer}/{name}" if outer else name
        self.thread = threading.get_ident()
        self.started = time.perf_counter_ns()
        stack.append(self)
        log._begin(self)

    def close(self) -> None:
        """It ends; so do those that were opened in it and forgotten."""
        if self in self._stack:
            inner = self._stack[self.depth + 1 :]
            del self._stack[self.depth :]
            for forgotten in inner:
                if isinstance(forgotten, _OpenRange):
                    self._log._end(forgotten)
        self._log._end(self)
