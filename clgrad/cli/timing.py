"""How long a call takes, on average over many."""

import time
from collections.abc import Callable

from clgrad.memory import Stream


def seconds_a_call(stream: Stream, call: Callable[[], object], count: int) -> float:
    """Seconds of one of ``count`` calls, until the device has done all of them.

    What a call launches is enqueued before the next one: merged with that, it would be no repetition.
    """
    start = time.perf_counter()
    for _ in range(count):
        call()
        stream.flush()
    stream.finish()
    return (time.perf_counter() - start) / count
