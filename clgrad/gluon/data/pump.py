"""A thread that has batches ready on the device before they are asked for."""

import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from clgrad.device import Context
from clgrad.errors import DeviceError

#: How often a thread that waits looks whether anybody still wants what it has, in seconds.
_LOOK = 0.1
_END = object()


class _Raised:
    """An exception on its way to the thread that asks for batches."""

    def __init__(self, exception: BaseException):
        self.exception = exception


class Pump:
    """Takes batches from a source, places them, and keeps a number of them ready.

    Parameters
    ----------
    batches : callable
        Called in the thread with a function that says whether to stop; gives an iterator of batches.
    place : callable
        Puts a batch onto the device.
    depth : int
        How many batches may be ready at once.
    context : Context
        The thread's current context.
    """

    def __init__(
        self,
        batches: Callable[[Callable[[], bool]], Iterator],
        place: Callable[[Any], Any],
        depth: int,
        context: Context,
    ):
        self._process = os.getpid()
        self._ready: queue.Queue = queue.Queue(depth)
        stopped = threading.Event()
        thread = threading.Thread(
            target=_run,
            args=(batches, place, context, self._ready, stopped),
            name="clgrad-data",
            daemon=True,
        )
        self.close = weakref.finalize(self, _stop, thread, stopped)
        thread.start()

    def __iter__(self) -> "Pump":
        return self

    def __next__(self) -> Any:
        if os.getpid() != self._process:  # the thread is the parent's
            raise DeviceError(
                "DataLoader: this process was forked during the iteration, which only its parent can go on "
                "with; begin another one"
            )
        found = self._ready.get() if self.close.alive else _END
        if found is _END:
            self.close()
            raise StopIteration
        if isinstance(found, _Raised):
            self.close()
            raise found.exception
        return found


def _run(batches, place, context: Context, ready: queue.Queue, stopped: threading.Event) -> None:
    def hand_over(found: Any) -> None:
        while not stopped.is_set():
            try:
                ready.put(found, timeout=_LOOK)
                return
            except queue.Full:
                continue

    try:
        with context:
            for batch in batches(stopped.is_set):
                hand_over(place(batch))
                if stopped.is_set():
                    return
        hand_over(_END)
    except BaseException as error:
        hand_over(_Raised(error))


def _stop(thread: threading.Thread, stopped: threading.Event) -> None:
    stopped.set()
    if thread is not threading.current_thread():
        thread.join()
