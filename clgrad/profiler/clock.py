"""The device's clock, in terms of the host's.

OpenCL 1.2 leaves open what a device counts its nanoseconds from (CPU runtimes take the machine's clocks,
GPUs their own). A marker that is enqueued between two readings of the host's clock has been queued between
them; of several, the shortest pair says best.
"""

import time
from typing import NamedTuple

import pyopencl as cl

#: Markers for one reading.
_TRIES = 8


class Reading(NamedTuple):
    """The two clocks at one moment, in nanoseconds."""

    host: int
    device: int


def read(queue: cl.CommandQueue) -> Reading:
    """Read both clocks; the queue is one that profiles, and has nothing to do."""
    best: tuple[int, Reading] | None = None
    for _ in range(_TRIES):
        before = time.perf_counter_ns()
        event = cl.enqueue_marker(queue)
        after = time.perf_counter_ns()
        event.wait()
        reading = Reading((before + after) // 2, queued_at(event))
        if best is None or after - before < best[0]:
            best = (after - before, reading)
    assert best is not None
    return best[1]


def queued_at(event: cl.Event) -> int:
    """When a command was enqueued, by the device's clock."""
    # Intel's CPU runtime 2026 has 0 for markers, and knows when they were submitted.
    return event.profile.queued or event.profile.submit


class Clock:
    """From the device's clock to the host's, by a reading before and one after.

    Parameters
    ----------
    first, last : Reading
        Between them the clocks may drift apart; beyond them, they are taken to run alike.
    """

    def __init__(self, first: Reading, last: Reading):
        self._first, self._last = first, last
        span = last.device - first.device
        #: Nanoseconds that the host's clock gains in one of the device's.
        self._drift = ((last.host - first.host) - span) / span if span > 0 else 0.0

    def host(self, device: int) -> int:
        """The host's time when the device's clock showed ``device``."""
        since = device - self._first.device
        inside = min(max(since, 0), max(self._last.device - self._first.device, 0))
        return self._first.host + since + round(self._drift * inside)
