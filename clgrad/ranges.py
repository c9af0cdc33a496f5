"""Ranges of the host's time, with names: what a program was doing while a profile was on.

They nest, and belong to the thread that opens them. With no profile on, opening one reads a variable.
The profiler (:mod:`clgrad.profiler`) is far above; this is what the modules below it name their work with.
"""

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Protocol, TypeVar

from clgrad.errors import argument_error

F = TypeVar("F", bound=Callable)


class Open(Protocol):
    """A range that has begun."""

    def close(self) -> None:
        """It ends now."""


class Recorder(Protocol):
    """Whoever wants to know of ranges."""

    def open(self, name: str, category: str) -> Open:
        """A range begins now, in the calling thread."""

    def path(self) -> str:
        """Names of the scopes that the calling thread is in."""

    def place(self, path: str) -> Open:
        """What the calling thread does until this is closed belongs to the scopes of ``path``."""


class Place:
    """Where in the program work was asked for that is done later: the scopes around the call.

    ``with place:`` puts what is done inside under these scopes.
    """

    __slots__ = ("_open", "_path")

    def __init__(self, recorder: Recorder):
        self._path = recorder.path()
        self._open: Open | None = None

    def __enter__(self) -> None:
        recorder = Range.recorder
        self._open = None if recorder is None else recorder.place(self._path)

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()


def place() -> Place | None:
    """Where the calling thread is, while a profile is on."""
    recorder = Range.recorder
    return None if recorder is None else Place(recorder)


class Range:
    """A range of time with a name, as a context manager or a decorator.

    Parameters
    ----------
    name : str
        What reports call it.
    category : str
        Who opened it: ``"scope"`` the user, ``"block"`` a Gluon block, ``"phase"`` backward and steps of a
        Trainer; launches count under the names of these. Other categories are clgrad's own work.

    Raises
    ------
    OperatorError
        The name is not a string.

    Examples
    --------
    >>> import clgrad as mx
    >>> with mx.profiler.profile() as p:
    ...     with mx.profiler.scope("forward"):
    ...         y = mx.nd.ones((2, 3)) + 1
    >>> [launch.scope for launch in p.launches]
    ['forward', 'forward']

    As a decorator, it names every call of a function:

    >>> @mx.profiler.scope("step")
    ... def step(x):
    ...     return x * 2
    >>> step(mx.nd.ones((2,))).asnumpy()
    array([2., 2.], dtype=float32)
    """

    __slots__ = ("_opened", "category", "name")

    #: Set while a profile is on.
    recorder: ClassVar[Recorder | None] = None

    def __init__(self, name: str, category: str = "scope"):
        if not isinstance(name, str):
            raise argument_error("profiler.scope", "name", repr(name), "a string")
        self.name = name
        self.category = category
        #: What it has opened, the last one last: it may be entered again inside.
        self._opened: list[Open] | None = None

    def __enter__(self) -> "Range":
        recorder = Range.recorder
        if recorder is not None:
            if self._opened is None:
                self._opened = []
            self._opened.append(recorder.open(self.name, self.category))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened:
            self._opened.pop().close()

    def __call__(self, function: F) -> F:
        """The function, each call of which is such a range."""

        @functools.wraps(function)
        def inside(*args, **kwargs):
            with Range(self.name, self.category):
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]
