"""MXNet's objects that mark parts of a program in a profile: tasks, frames, events, counters, markers.

They show in whatever profile is on. With none on, they do nothing but keep a counter's value.
"""

import math
import numbers
import time
from typing import Any

from clgrad.errors import argument_error
from clgrad.profiler import session
from clgrad.profiler.host import HostLog
from clgrad.ranges import Range

#: What a marker may stand for, and how Chrome's viewers draw it: across all, the process, or the thread.
_SCOPES = {"global": "g", "process": "p", "thread": "t", "task": "t", "marker": "t"}


def _log() -> HostLog | None:
    profile = session.current()
    return None if profile is None else profile.host


def _named(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise argument_error(f"profiler.{what}", "name", repr(name), "a string")
    return name


class Domain:
    """A group of tasks, frames, counters and markers, which reports show together.

    Parameters
    ----------
    name : str

    Raises
    ------
    OperatorError
        The name is not a string.

    Examples
    --------
    >>> import clgrad as mx
    >>> domain = mx.profiler.Domain("training")
    >>> loss, epoch = domain.new_counter("loss"), domain.new_task("epoch")
    >>> with mx.profiler.profile() as p:
    ...     epoch.start()
    ...     loss.set_value(3)
    ...     epoch.stop()
    >>> [(r.name, r.category) for r in p.ranges], [(i.name, i.value) for i in p.instants]
    ([('epoch', 'training')], [('loss', 3)])
    """

    def __init__(self, name: str):
        self.name = _named("Domain", name)

    def __str__(self) -> str:
        return self.name

    def new_task(self, name: str) -> "Task":
        """A :class:`Task` of this domain."""
        return Task(self, name)

    def new_frame(self, name: str) -> "Frame":
        """A :class:`Frame` of this domain."""
        return Frame(self, name)

    def new_counter(self, name: str, value: int | None = None) -> "Counter":
        """A :class:`Counter` of this domain."""
        return Counter(self, name, value)

    def new_marker(self, name: str) -> "Marker":
        """A :class:`Marker` of this domain."""
        return Marker(self, name)


class _InDomain:
    def __init__(self, domain: Domain, name: str):
        kind = type(self).__name__
        if not isinstance(domain, Domain):
            raise argument_error(f"profiler.{kind}", "domain", repr(domain), "a Domain")
        self.domain = domain
        self.name = _named(kind, name)

    def __str__(self) -> str:
        return self.name


class Task(_InDomain):
    """A piece of work with a beginning and an end, which may overlap others and cross threads.

    Parameters
    ----------
    domain : Domain
    name : str

    Raises
    ------
    OperatorError
        ``domain`` is no Domain, or the name is not a string.
    """

    _suffix = ""

    def __init__(self, domain: Domain, name: str):
        super().__init__(domain, name)
        self._begun: tuple[HostLog, int] | None = None

    def start(self) -> None:
        """It begins now; once more, if it had begun."""
        log = _log()
        self._begun = None if log is None else (log, time.perf_counter_ns())

    def stop(self) -> None:
        """It ends now; nothing happens if it has not begun, or in another profile."""
        begun, self._begun = self._begun, None
        if begun is not None and begun[0] is _log():
            log, started = begun
            log.span(self.name, f"{self.domain.name}{self._suffix}", started)


class Frame(Task):
    """A task that is one of many of its kind, such as a step of training."""

    _suffix = ",frame"


class Event:
    """A range of the calling thread's time: a :func:`clgrad.profiler.scope` that is started and stopped.

    Parameters
    ----------
    name : str

    Raises
    ------
    OperatorError
        The name is not a string.
    """

    def __init__(self, name: str):
        self.name = _named("Event", name)
        self._range: Range | None = None

    def __str__(self) -> str:
        return self.name

    def start(self) -> None:
        """It begins now; if it had begun, that one ends."""
        self.stop()
        self._range = Range(self.name)
        self._range.__enter__()

    def stop(self) -> None:
        """It ends now; nothing happens if it has not begun."""
        begun, self._range = self._range, None
        if begun is not None:
            begun.__exit__(None, None, None)


class Counter(_InDomain):
    """A number whose course over time is shown.

    Parameters
    ----------
    domain : Domain
    name : str
    value : int, optional
        The first value; 0, and not shown, if left out.

    Raises
    ------
    OperatorError
        ``domain`` is no Domain, the name is not a string, or a value is not a number.

    Examples
    --------
    >>> import clgrad as mx
    >>> counter = mx.profiler.Domain("data").new_counter("batches", 5)
    >>> counter += 2
    >>> counter.decrement(3)
    >>> counter.value
    4
    """

    def __init__(self, domain: Domain, name: str, value: int | None = None):
        super().__init__(domain, name)
        self.value: Any = 0
        if value is not None:
            self.set_value(value)

    def set_value(self, value: int) -> None:
        """Give it a value."""
        self.value = self._number(value)
        log = _log()
        if log is not None:
            log.mark(self.name, self.domain.name, self.value)

    def increment(self, delta: int = 1) -> None:
        """Add to it."""
        self.set_value(self.value + self._number(delta))

    def decrement(self, delta: int = 1) -> None:
        """Take from it."""
        self.set_value(self.value - self._number(delta))

    def __iadd__(self, delta: int) -> "Counter":
        self.increment(delta)
        return self

    def __isub__(self, delta: int) -> "Counter":
        self.decrement(delta)
        return self

    def _number(self, value: object) -> Any:
        number = float(value) if isinstance(value, numbers.Real) else math.nan
        if not math.isfinite(number):
            raise argument_error(f"profiler.Counter {self.name}", "value", repr(value), "a finite number")
        return int(number) if number.is_integer() else number


class Marker(_InDomain):
    """A moment with a name.

    Parameters
    ----------
    domain : Domain
    name : str

    Raises
    ------
    OperatorError
        ``domain`` is no Domain, or the name is not a string.
    """

    def mark(self, scope: str = "process") -> None:
        """It is now.

        Parameters
        ----------
        scope : {"process", "global", "thread", "task", "marker"}
            How far viewers draw the line.

        Raises
        ------
        OperatorError
            There is no such scope.
        """
        if scope not in _SCOPES:
            raise argument_error("profiler.Marker.mark", "scope", repr(scope), ", ".join(_SCOPES))
        log = _log()
        if log is not None:
            log.mark(self.name, _SCOPES[scope])
