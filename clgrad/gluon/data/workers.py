"""Worker processes of data loaders: they read and transform samples on the host, and know of no device."""

import contextlib
import gc
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any, NamedTuple

import numpy as np

from clgrad import host_random
from clgrad.errors import MXNetError
from clgrad.gluon.data import shared

#: How often a process that waits looks whether the other is still there, in seconds.
_LOOK = 0.1
_METHOD = "fork" if sys.platform.startswith("linux") else "spawn"

_state = {"is_worker": False}


class DataLoaderError(MXNetError):
    """A worker of a data loader has ended, or is not done in time."""


class WorkerTraceback(Exception):  # noqa: N818 (it is shown as the cause of another)
    """Where in a worker an exception was raised."""

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


class Task(NamedTuple):
    """A batch to make."""

    number: int
    indices: Any
    seed: int


class Failure(NamedTuple):
    """An exception of a worker: itself, where it can be sent, and its traceback as text."""

    exception: bytes | None
    text: str

    def raised(self, worker: str) -> Exception:
        """The exception to raise, with the traceback as its cause."""
        exception: Any = None
        if self.exception is not None:
            with contextlib.suppress(Exception):
                exception = pickle.loads(self.exception)
        if not isinstance(exception, Exception):
            exception = DataLoaderError(f"DataLoader: {worker} raised {self.text.splitlines()[-1]}")
        exception.__cause__ = WorkerTraceback(self.text)
        return exception


def is_worker() -> bool:
    """Whether this process is a worker of a data loader, without a device."""
    return _state["is_worker"]


def make_batch(fetch: Callable, batchify: Callable, task: Task) -> Any:
    """A batch; what is drawn at random for it depends on the task alone."""
    with host_random.seeded(task.seed):
        return batchify([fetch(i) for i in task.indices])


class Pool:
    """Worker processes, each with the dataset. Batches come back in the order in which they were asked for.

    Parameters
    ----------
    count : int
    fetch : callable
        Gives the sample of an index, on the host.
    batchify : callable
        Makes a batch of samples.
    timeout : float
        How long to wait for a batch, in seconds.
    """

    def __init__(self, count: int, fetch: Callable, batchify: Callable, timeout: float):
        self._timeout = timeout
        self._tasks: list[Task] = []
        self._asked = 0
        made: Any = multiprocessing.get_context(_METHOD)
        self._connections: list = []
        self._processes: list = []
        self.close = weakref.finalize(self, _close, os.getpid(), self._processes, self._connections)
        with _quiet():
            for number in range(count):
                ours, theirs = made.Pipe()
                arguments = (theirs, [*self._connections, ours], os.getpid(), fetch, batchify)
                process = made.Process(
                    target=_work, args=arguments, name=f"clgrad-data-{number}", daemon=True
                )
                self._connections.append(ours)
                process.start()
                self._processes.append(process)
                theirs.close()

    def __len__(self) -> int:
        return len(self._processes)

    def ask(self, task: Task) -> None:
        """Have a batch made by the next worker in turn."""
        worker = self._asked % len(self)
        self._asked += 1
        self._tasks.append(task)
        with contextlib.suppress(OSError):  # the worker has ended: said when its batch is waited for
            self._connections[worker].send(task)

    def next(self, is_stopped: Callable[[], bool]) -> Any:
        """The batch that was asked for first, among those still to come; None once ``is_stopped``.

        Raises
        ------
        DataLoaderError
            The worker has ended, or is not done in time.
        Exception
            What the worker raised.
        """
        worker = (self._asked - len(self._tasks)) % len(self)
        process, incoming = self._processes[worker], self._connections[worker]
        end = time.monotonic() + self._timeout
        while not incoming.poll(0):
            ready = connection.wait([incoming, process.sentinel], min(_LOOK, self._timeout))
            if is_stopped():
                return None
            if process.sentinel in ready and not incoming.poll(0):
                raise DataLoaderError(f"DataLoader: {self._named(worker)} {_end_of(process)}")
            if time.monotonic() > end:
                raise DataLoaderError(
                    f"DataLoader: {self._named(worker)} has made no batch in {self._timeout:g} s; give a "
                    "larger timeout if it may take longer"
                )
        try:
            number, batch = shared.receive(incoming)
        except (EOFError, OSError) as error:
            raise DataLoaderError(f"DataLoader: {self._named(worker)} {_end_of(process)}") from error
        asked = self._tasks.pop(0)
        assert number == asked.number
        if isinstance(batch, Failure):
            raise batch.raised(self._named(worker))
        return batch

    def _named(self, worker: int) -> str:
        return f"worker {worker} (process {self._processes[worker].pid})"


def _end_of(process: Any) -> str:
    process.join(1)
    code = process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
    return f"has ended with exit code {code}"


def _close(owner: int, processes: Sequence[Any], connections: Sequence[Any]) -> None:
    """End worker processes, in whatever state they are; but not those of this process's parent."""
    if os.getpid() != owner:
        return
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
    for opened in connections:
        opened.close()


@contextlib.contextmanager
def _quiet():
    """A scope without garbage collection: a child must not free what belongs to the parent's devices."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        with (
            warnings.catch_warnings()
        ):  # Python's, of forks beside threads: a worker starts and takes no lock
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        if was_on:
            gc.enable()


# In the worker


def _work(ours: Any, others: Sequence[Any], parent: int, fetch: Callable, batchify: Callable) -> None:
    """Make batches until nobody wants any."""
    gc.freeze()
    gc.enable()
    _state["is_worker"] = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    if _METHOD == "fork":
        for other in others:
            other.close()
    with contextlib.suppress(EOFError, ConnectionError):
        while os.getppid() == parent:
            if ours.poll(10 * _LOOK):
                _answer(ours, ours.recv(), parent, fetch, batchify)


def _answer(ours: Any, task: Task, parent: int, fetch: Callable, batchify: Callable) -> None:
    random.seed(task.seed)  # for functions that draw from these: else all workers would draw the same
    np.random.seed(task.seed)
    try:
        batch = make_batch(fetch, batchify, task)
    except Exception as error:
        batch = _failure(error)
    try:
        shared.send(ours, task.number, batch, parent)
    except ConnectionError:
        raise
    except Exception as error:  # something that cannot be sent
        shared.send(ours, task.number, _failure(error), parent)


def _failure(error: Exception) -> Failure:
    text = "".join(traceback.format_exception(error))
    try:
        sent = pickle.dumps(error)
        pickle.loads(sent)
    except Exception:
        return Failure(None, text)
    return Failure(sent, text)
