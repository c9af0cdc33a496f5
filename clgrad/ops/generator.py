"""Where random numbers come from: the seed of each device, and a count of its draws."""

import secrets
import threading

from clgrad.device import Context, Device, current_context
from clgrad.kernels import random


class Generator:
    """A seed for each device, and how many draws it has made since; safe to share between threads.

    Devices of one seed draw the same numbers. Before :meth:`reset` each has a seed of its own, by chance.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seed: int | None = None
        self._states: dict[Device, list[int]] = {}

    def reset(self, seed: int, device: Device | None = None) -> None:
        """Start over from a seed, on one device, or on all there are and will be."""
        with self._lock:
            if device is None:
                self._states.clear()
                self._seed = int(seed)
            else:
                self._states[device] = [int(seed), 0]

    def next(self, ctx: Context | None = None) -> dict[str, int]:
        """Seed and number of the next draw on a device (by default the current one), as ops take them."""
        device = (ctx or current_context()).device
        with self._lock:
            state = self._states.get(device)
            if state is None:
                seed = secrets.randbits(64) if self._seed is None else self._seed
                state = self._states[device] = [seed, 0]
            state[1] += 1
            return {"seed": random.as_scalar(state[0]), "draw": random.as_scalar(state[1])}


generator = Generator()
