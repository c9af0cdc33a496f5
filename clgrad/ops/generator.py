"""Where random numbers come from: the seed of each device, and a count of its draws."""

import contextlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from clgrad import deferred
from clgrad.device import Context, Device, current_context
from clgrad.errors import AutogradError
from clgrad.kernels import random


class Draws:
    """Draws that were noted down, to be repeated.

    A function that is being captured gets its draws as numbers that a replay computes anew. Where it
    repeats some of its own, a replay must do so, too: these are kept as they are. Whoever else repeats them
    wants the plain numbers.
    """

    def __init__(self) -> None:
        #: What was being captured when they were noted down, if anything was.
        self.capture = deferred.current()
        self._drawn: list[tuple[dict[str, int], dict[str, int]]] = []
        self._taken = 0

    def note(self, drawn: dict[str, Any]) -> None:
        """Add a draw."""
        plain = {key: n.value if isinstance(n, deferred.Number) else n for key, n in drawn.items()}
        self._drawn.append((plain, drawn))

    def again(self) -> "Draws":
        """The same, to be taken from the first one on."""
        draws = Draws()
        draws.capture, draws._drawn = self.capture, self._drawn
        return draws

    def take(self) -> dict[str, int]:
        """The next one."""
        if self._taken == len(self._drawn):
            raise _differs("more")
        self._taken += 1
        plain, drawn = self._drawn[self._taken - 1]
        return drawn if self.is_of_capture() else plain

    def is_of_capture(self) -> bool:
        """Whether what is being captured now is what they belong to."""
        return self.capture is not None and self.capture is deferred.current()

    def left(self) -> int:
        """How many were not taken."""
        return len(self._drawn) - self._taken


class _Logs(threading.local):
    """What a thread notes down of its draws, and where it takes them from instead of making them."""

    def __init__(self) -> None:
        self.noting: list[Draws] = []
        self.repeating: Draws | None = None


class Generator:
    """A seed for each device, and how many draws it has made since; safe to share between threads.

    Devices of one seed draw the same numbers. Before :meth:`reset` each has a seed of its own, by chance.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seed: int | None = None
        self._states: dict[Device, list[int]] = {}
        self._logs = _Logs()

    def reset(self, seed: int, device: Device | None = None) -> None:
        """Start over from a seed, on one device, or on all there are and will be."""
        if self._logs.repeating is not None:
            return  # what is repeated has done so, and others have drawn since
        deferred.host(self._reset, int(seed), device)

    def _reset(self, seed: int, device: Device | None) -> None:
        if self._logs.repeating is not None:
            return
        with self._lock:
            if device is None:
                self._states.clear()
                self._seed = seed
            else:
                self._states[device] = [seed, 0]

    def get_state(self) -> dict:
        """The seeds and counts, as JSON can hold them; a seed that is still left to chance is drawn now."""
        with self._lock:
            if self._seed is None:
                self._seed = secrets.randbits(64)
            states = {str(Context(d.kind, d.index)): list(state) for d, state in self._states.items()}
            return {"seed": self._seed, "devices": states}

    def set_state(self, state: dict) -> None:
        """Go on from where :meth:`get_state` was called.

        Raises
        ------
        KeyError, TypeError, ValueError, DeviceError
            It is something else, or of devices that are not here; nothing has changed.
        """
        states = {}
        for name, (seed, count) in state["devices"].items():
            kind, _, index = name.rstrip(")").partition("(")
            states[Context(kind, int(index)).device] = [int(seed), int(count)]
        seed = int(state["seed"])
        with self._lock:
            self._seed, self._states = seed, states

    def next(self, ctx: Context | None = None) -> dict[str, int]:
        """Seed and number of the next draw on a device (by default the current one), as ops take them."""
        repeating = self._logs.repeating
        if repeating is not None and repeating.is_of_capture():
            drawn = repeating.take()
        else:
            drawn = deferred.host(self._next, (ctx or current_context()).device)
        for draws in self._logs.noting:
            if draws.is_of_capture():
                draws.note(drawn)
        return drawn

    def _next(self, device: Device) -> dict[str, int]:
        """What :meth:`next` does outside of captured functions, and when they are replayed."""
        repeating = self._logs.repeating
        drawn = self._draw(device) if repeating is None else repeating.take()
        for draws in self._logs.noting:
            if draws.capture is None:
                draws.note(drawn)
        return drawn

    def _draw(self, device: Device) -> dict[str, int]:
        with self._lock:
            state = self._states.get(device)
            if state is None:
                seed = secrets.randbits(64) if self._seed is None else self._seed
                state = self._states[device] = [seed, 0]
            state[1] += 1
            return {"seed": random.as_scalar(state[0]), "draw": random.as_scalar(state[1])}

    @contextlib.contextmanager
    def noted(self) -> Iterator[Draws]:
        """A scope whose draws, in this thread, are noted down."""
        noted = Draws()
        self._logs.noting.append(noted)
        try:
            yield noted
        finally:
            self._logs.noting[:] = [draws for draws in self._logs.noting if draws is not noted]

    @contextlib.contextmanager
    def repeated(self, noted: Draws) -> Iterator[None]:
        """A scope that makes no draws, in this thread, but has those that were noted down."""
        draws = noted.again()
        outer, self._logs.repeating = self._logs.repeating, draws
        try:
            yield
        finally:
            self._logs.repeating = outer
        if draws.left():
            raise _differs("fewer")

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """A scope whose draws, in this thread, are made once only: neither noted nor repeated."""
        logs = self._logs
        outer, logs.noting, logs.repeating = (logs.noting, logs.repeating), [], None
        try:
            yield
        finally:
            logs.noting, logs.repeating = outer


def _differs(how: str) -> AutogradError:
    return AutogradError(
        f"checkpoint: backward draws {how} random numbers than the forward pass did; accepted: a function "
        "that does the same each time"
    )


generator = Generator()
