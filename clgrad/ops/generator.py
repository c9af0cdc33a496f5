"""Where random numbers come from: the seed of each device, and a count of its draws."""

import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence

from clgrad import deferred
from clgrad.device import Context, Device, current_context
from clgrad.errors import AutogradError
from clgrad.kernels import random


class _Logs(threading.local):
    """What a thread notes down of its draws, and where it takes them from instead of making them."""

    def __init__(self) -> None:
        self.noting: list[list[dict[str, int]]] = []
        self.repeating: Iterator[dict[str, int]] | None = None


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
        if self._logs.repeating is None:
            drawn = deferred.host(self._draw, (ctx or current_context()).device)
        else:
            drawn = next(self._logs.repeating, None)
        if drawn is None:
            raise _differs("more")
        for noted in self._logs.noting:
            noted.append(drawn)
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
    def noted(self) -> Iterator[list[dict[str, int]]]:
        """A scope whose draws, in this thread, are in the list that it gives."""
        drawn: list[dict[str, int]] = []
        self._logs.noting.append(drawn)
        try:
            yield drawn
        finally:
            self._logs.noting[:] = [noted for noted in self._logs.noting if noted is not drawn]

    @contextlib.contextmanager
    def repeated(self, drawn: Sequence[dict[str, int]]) -> Iterator[None]:
        """A scope that makes no draws, in this thread, but has those that were noted down."""
        left = iter(drawn)
        outer, self._logs.repeating = self._logs.repeating, left
        try:
            yield
        finally:
            self._logs.repeating = outer
        if next(left, None) is not None:
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
