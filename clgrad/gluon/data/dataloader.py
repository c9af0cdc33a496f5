"""Batches of a dataset, made by this process or by others, and copied to the device meanwhile."""

import itertools
import struct
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from clgrad import array, host_random
from clgrad.array import NDArray
from clgrad.device import Context, current_context
from clgrad.errors import MXNetError, OperatorError, OperatorTypeError, argument_error
from clgrad.gluon.data import workers
from clgrad.gluon.data.batchify import default_batchify_fn, placed, stacked
from clgrad.gluon.data.dataset import Source
from clgrad.gluon.data.pump import Pump
from clgrad.gluon.data.sampler import BatchSampler, RandomSampler, SequentialSampler, give_state, state_of
from clgrad.gluon.data.workers import Pool, Task
from clgrad.memory import current_stream
from clgrad.transfer import Lane


class DataLoader:
    """Batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
        Or anything else with ``[]`` and ``len()``.
    batch_size : int
    shuffle : bool, default False
        Another order for each iteration, drawn from ``numpy.random``.
    sampler : Sampler, optional
        The order, instead of ``shuffle``.
    last_batch : str, default 'keep'
        See :class:`BatchSampler`.
    batch_sampler : Sampler, optional
        Gives lists of indices, instead of the four above.
    batchify_fn : callable, optional
        Makes a batch of a list of samples; by default :func:`default_batchify_fn`.
    num_workers : int, default 0
        How many processes read, transform and join samples. They have no device: arrays are numpy's there,
        what uses NDArrays raises, and batches come back through shared memory. With 0, it happens in this
        thread when a batch is asked for.
    pin_memory, pin_device_id
        Accepted for MXNet's sake: memory for copies is the driver's affair.
    prefetch : int, optional
        How many batches the workers prepare ahead (2 * num_workers by default). A thread copies what is
        done to the device, through a queue of its own, while the step before runs. Above 0 without
        workers, that thread reads the samples, too.
    thread_pool : bool, default False
        Workers are threads of this process, which may use NDArrays.
    timeout : float, default 120
        How many seconds to wait for a batch from a worker process.
    auto_reload, try_nopython
        Accepted for MXNet's sake, without effect.

    Raises
    ------
    OperatorError
        Arguments that contradict each other, at once; samples that do not fit together, when they are met.
    DataLoaderError
        A worker process has been killed, or takes too long.
    Exception
        Whatever the dataset raises, with the worker's traceback as its cause.

    Notes
    -----
    What transforms of ``gluon.data.vision`` draw at random depends on numpy's seed, the iteration and the
    batch: it is the same for any number of workers. In worker processes ``numpy.random`` and ``random``
    are seeded likewise for each batch.

    Examples
    --------
    >>> import clgrad as mx
    >>> import numpy as np
    >>> data = mx.gluon.data.ArrayDataset(np.arange(10).reshape(5, 2), np.arange(5))
    >>> for x, y in mx.gluon.data.DataLoader(data, batch_size=2):
    ...     print(x.shape, y.asnumpy())
    (2, 2) [0 1]
    (2, 2) [2 3]
    (1, 2) [4]
    """

    def __init__(
        self,
        dataset,
        batch_size=None,
        shuffle=False,
        sampler=None,
        last_batch=None,
        batch_sampler=None,
        batchify_fn=None,
        num_workers=0,
        pin_memory=False,
        pin_device_id=0,
        prefetch=None,
        thread_pool=False,
        timeout=120,
        auto_reload=False,
        try_nopython=None,
    ):
        for name, number in (("num_workers", num_workers), ("prefetch", prefetch or 0)):
            if not isinstance(number, int | np.integer) or number < 0:
                raise argument_error("DataLoader", name, repr(number), "a whole number from 0 on")
        if not isinstance(timeout, int | float) or not timeout > 0:
            raise argument_error("DataLoader", "timeout", repr(timeout), "a number of seconds above 0")
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            given = type(dataset).__name__
            raise OperatorTypeError(f"DataLoader: dataset is {given}; accepted: what has [] and len()")
        self._source = Source(dataset)
        self._batch_sampler = _batches(dataset, batch_size, shuffle, sampler, last_batch, batch_sampler)
        self._batchify = batchify_fn
        self._num_workers, self._timeout, self._thread_pool = num_workers, timeout, thread_pool
        self._prefetch = 2 * num_workers if prefetch is None else max(int(prefetch), num_workers)
        #: Worker processes that have nothing to do.
        self._idle: Pool | None = None
        self._epoch = 0
        self._current: weakref.ref[_Iteration] | None = None
        self._resumed: dict | None = None

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def __iter__(self) -> "Iterator":
        iteration = _Iteration(self)
        self._current = weakref.ref(iteration)
        return iteration

    def __getstate__(self) -> dict:
        """What a copy gets: it begins an iteration of its own, with workers of its own."""
        return self.__dict__ | {"_idle": None, "_current": None}

    # What an iteration asks for

    def _begin(self) -> tuple[dict, Iterator]:
        """Where the next iteration begins, and its lists of indices, behind those that a state has done."""
        resumed, self._resumed = self._resumed, None
        start = resumed or {
            "epoch": self._epoch,
            "numpy": host_random.get_state(),
            "sampler": state_of(self._batch_sampler),
            "done": 0,
        }
        self._epoch = start["epoch"] + 1
        if resumed is None:
            return start, _drawn(iter(self._batch_sampler), 0)
        now = host_random.get_state()
        host_random.set_state(start["numpy"])
        try:
            give_state(self._batch_sampler, start["sampler"])
            return start, _drawn(iter(self._batch_sampler), start["done"])
        finally:
            host_random.set_state(now)

    def _fetch(self) -> Callable:
        """What gives a sample; on the host where nothing of the user's comes in between."""
        return self._source.__getitem__ if self._batchify else self._source.host_item

    def _processes(self) -> Pool:
        pool, self._idle = self._idle, None
        if pool is None:
            self._source.to_host()
            arguments = self._source.host_item, self._batchify or stacked
            pool = Pool(self._num_workers, *arguments, self._timeout)
        return pool

    # Resuming

    def get_state(self) -> dict:
        """Where the loader is: the order of the present iteration, and how many batches it has given.

        It holds what JSON can hold. A loader over the same data that it is given to
        (:meth:`set_state`) goes on behind the last batch that this one has given, in the same order, with
        the same random transforms. See :class:`clgrad.gluon.utils.Checkpoint`.

        Returns
        -------
        dict
        """
        iteration = None if self._current is None else self._current()
        if self._resumed is not None:
            return dict(self._resumed)
        if iteration is None or iteration.is_done:
            return {"epoch": self._epoch, "done": None, "sampler": state_of(self._batch_sampler)}
        return {**iteration.start, "done": iteration.done}

    def set_state(self, state: dict) -> None:
        """Go on from where another loader was: the next iteration is the rest of that one's.

        Parameters
        ----------
        state : dict
            From :meth:`get_state`; taken between two iterations it says that the next one is a new one.

        Raises
        ------
        OperatorError
            It is something else; nothing has changed.
        """
        before = state_of(self._batch_sampler)
        try:
            epoch, resumed = _count(state["epoch"]), None
            if state["done"] is not None:
                host_random.check_state(state["numpy"])
                resumed = {name: state[name] for name in ("epoch", "numpy", "sampler")}
                resumed["done"] = _count(state["done"])
            give_state(self._batch_sampler, state["sampler"])
        except (MXNetError, KeyError, TypeError, ValueError) as error:
            give_state(self._batch_sampler, before)
            raise OperatorError(
                f"DataLoader.set_state: state is damaged ({error!r}); accepted: what get_state gives"
            ) from error
        self._epoch, self._resumed, self._current = epoch, resumed, None


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no count")
    return value


class _Iteration:
    """One pass over a data loader."""

    def __init__(self, loader: DataLoader):
        self.start, indices = loader._begin()
        #: How many batches have been given since the pass began, by this one or by the one it resumes.
        self.done: int = self.start["done"]
        self.is_done = False
        self._source = _source(loader, _tasks(self.start, indices))

    def __iter__(self) -> "_Iteration":
        return self

    def __next__(self) -> Any:
        try:
            batch = next(self._source)
        except StopIteration:
            self.is_done = True
            raise
        self.done += 1
        return batch


def _tasks(start: dict, indices: Iterator) -> Iterator[Task]:
    """What there is to do; the seed of a batch depends on iteration and number alone."""
    base = host_random.fingerprint(start["numpy"])
    for number, chosen in enumerate(indices, start["done"]):
        yield Task(number, chosen, zlib.crc32(struct.pack("<3Q", base, start["epoch"], number)))


def _source(loader: DataLoader, tasks: Iterator[Task]) -> Iterator:
    """Batches on the device. A thread that makes them holds nothing that waits for them."""
    fetch, depth, count = loader._fetch(), loader._prefetch, loader._num_workers
    if not depth:
        batchify = loader._batchify or default_batchify_fn
        return (workers.make_batch(fetch, batchify, task) for task in tasks)
    context, batchify = current_context(), loader._batchify or stacked
    if not count:
        made = _made_here(tasks, fetch, batchify)
    elif loader._thread_pool:
        made = _made_by_threads(tasks, fetch, batchify, count, depth)
    else:
        pool = loader._processes()
        return Pump(
            _made_by_processes(tasks, pool, depth, weakref.ref(loader)), _placer(context), 2, context
        )
    return Pump(made, _placer(context), depth, context)


def _drawn(indices: Iterator, done: int) -> Iterator:
    """Lists of indices without the first ones; their order has been drawn, in this thread."""
    first = list(itertools.islice(indices, done, done + 1))
    return itertools.chain(first, indices)


def _batches(dataset, batch_size, shuffle, sampler, last_batch, batch_sampler) -> Any:
    """What gives lists of indices."""
    if batch_sampler is not None:
        if batch_size is not None or shuffle or sampler is not None or last_batch is not None:
            accepted = "None beside batch_size, shuffle, sampler or last_batch"
            raise argument_error("DataLoader", "batch_sampler", type(batch_sampler).__name__, accepted)
        return batch_sampler
    if batch_size is None:
        raise argument_error("DataLoader", "batch_size", None, "a whole number, or a batch_sampler")
    if sampler is None:
        sampler = RandomSampler(len(dataset)) if shuffle else SequentialSampler(len(dataset))
    elif shuffle:
        raise argument_error("DataLoader", "shuffle", True, "False beside a sampler")
    return BatchSampler(sampler, batch_size, last_batch or "keep")


def _placer(context: Context) -> Callable[[Any], Any]:
    """What puts batches onto a device, for the use of this thread, while another one waits for them."""
    lane = Lane(current_stream(context.device))

    def place(host: np.ndarray) -> NDArray:
        array.check_dtype(host.dtype, context.device)
        return NDArray(lane.upload(host))

    return lambda batch: placed(batch, place)


def _made_here(tasks: Iterator[Task], fetch: Callable, batchify: Callable) -> Callable:
    return lambda is_stopped: (workers.make_batch(fetch, batchify, task) for task in tasks)


def _made_by_threads(
    tasks: Iterator[Task], fetch: Callable, batchify: Callable, count: int, depth: int
) -> Callable:
    """Batches in the order of the tasks, of which threads have up to ``depth`` in work."""
    context = current_context()

    def make(task: Task) -> Any:
        with context:
            return workers.make_batch(fetch, batchify, task)

    def batches(is_stopped: Callable[[], bool]) -> Iterator:
        executor = ThreadPoolExecutor(count, "clgrad-data")
        try:
            futures = deque(executor.submit(make, task) for task in itertools.islice(tasks, depth))
            while futures and not is_stopped():
                batch = futures.popleft().result()
                futures.extend(executor.submit(make, task) for task in itertools.islice(tasks, 1))
                yield batch
        finally:
            executor.shutdown(cancel_futures=True)

    return batches


def _made_by_processes(
    tasks: Iterator[Task], pool: Pool, depth: int, loader: "weakref.ref[DataLoader]"
) -> Callable:
    """Batches in the order of the tasks, of which processes have up to ``depth`` in work."""

    def batches(is_stopped: Callable[[], bool]) -> Iterator:
        waited_for = 0
        try:
            for task in itertools.islice(tasks, depth):
                pool.ask(task)
                waited_for += 1
            while waited_for:
                batch = pool.next(is_stopped)
                if is_stopped():
                    return
                waited_for -= 1
                for task in itertools.islice(tasks, 1):
                    pool.ask(task)
                    waited_for += 1
                yield batch
            owner = loader()
            if owner is not None and owner._idle is None:
                owner._idle = pool  # for the next iteration
        finally:
            owner = loader()
            if owner is None or owner._idle is not pool:
                pool.close()

    return batches
