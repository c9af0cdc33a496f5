"""Samplers: in which order a data loader takes samples."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from clgrad.errors import OperatorError, argument_error


class Sampler:
    """An order of samples: give ``__iter__``, which yields indices, and ``__len__``.

    An order that depends on chance is drawn when iteration begins, from ``numpy.random``: so a data
    loader can repeat it (:meth:`DataLoader.get_state`).
    """

    def __iter__(self) -> Iterator:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def get_state(self) -> Any:
        """What one iteration leaves behind for the next, as JSON can hold it; None for nothing."""
        return None

    def set_state(self, state: Any) -> None:
        """Take what :meth:`get_state` gave."""
        if state is not None:
            raise OperatorError(f"{type(self).__name__}: has no state, and is given {state!r}")


class SequentialSampler(Sampler):
    """start, start + 1, ..., start + length - 1.

    Parameters
    ----------
    length : int
    start : int, default 0

    Examples
    --------
    >>> import clgrad as mx
    >>> list(mx.gluon.data.SequentialSampler(3, start=4))
    [4, 5, 6]
    """

    def __init__(self, length: int, start: int = 0):
        self._length, self._start = length, start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._start + self._length))

    def __len__(self) -> int:
        return self._length


class RandomSampler(Sampler):
    """All of 0 to length - 1, in an order that ``numpy.random`` draws: MXNet's, after the same seed.

    Parameters
    ----------
    length : int

    Examples
    --------
    >>> import clgrad as mx
    >>> sorted(mx.gluon.data.RandomSampler(4))
    [0, 1, 2, 3]
    """

    def __init__(self, length: int):
        self._length = length

    def __iter__(self) -> Iterator[int]:
        indices = np.arange(self._length)
        np.random.shuffle(indices)
        return iter(indices.tolist())

    def __len__(self) -> int:
        return self._length


class FilterSampler(Sampler):
    """Indices of the samples of which a function says true.

    Parameters
    ----------
    fn : callable
        Called with each sample, once.
    dataset : Dataset

    Examples
    --------
    >>> import clgrad as mx
    >>> list(mx.gluon.data.FilterSampler(lambda x: x > 2, [1, 5, 2, 3]))
    [1, 3]
    """

    def __init__(self, fn: Callable[[Any], Any], dataset: Any):
        self._indices = [i for i in range(len(dataset)) if fn(dataset[i])]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


class IntervalSampler(Sampler):
    """0, interval, 2 interval, ..., and then, with rollover, the same from 1 on, from 2 on, ....

    Parameters
    ----------
    length : int
    interval : int
        From 1 to length.
    rollover : bool, default True
        Whether to go on until all indices have come.

    Examples
    --------
    >>> import clgrad as mx
    >>> list(mx.gluon.data.IntervalSampler(7, interval=3))
    [0, 3, 6, 1, 4, 2, 5]
    >>> list(mx.gluon.data.IntervalSampler(7, interval=3, rollover=False))
    [0, 3, 6]
    """

    def __init__(self, length: int, interval: int, rollover: bool = True):
        if not 1 <= interval <= length:
            raise argument_error("IntervalSampler", "interval", interval, f"1 to {length}, the length")
        self._length, self._interval = length, interval
        self._starts = interval if rollover else 1

    def __iter__(self) -> Iterator[int]:
        for start in range(self._starts):
            yield from range(start, self._length, self._interval)

    def __len__(self) -> int:
        return sum(len(range(start, self._length, self._interval)) for start in range(self._starts))


class BatchSampler(Sampler):
    """Lists of ``batch_size`` indices.

    Parameters
    ----------
    sampler : Sampler
        Whose indices are joined.
    batch_size : int
    last_batch : str, default 'keep'
        What becomes of indices that fill no batch: ``'keep'`` gives a smaller one, ``'discard'`` leaves
        them out, and ``'rollover'`` puts them before those of the next iteration.

    Examples
    --------
    >>> import clgrad as mx
    >>> data = mx.gluon.data
    >>> list(data.BatchSampler(data.SequentialSampler(5), 2))
    [[0, 1], [2, 3], [4]]
    >>> batches = data.BatchSampler(data.SequentialSampler(5), 2, "rollover")
    >>> list(batches), list(batches)
    ([[0, 1], [2, 3]], [[4, 0], [1, 2], [3, 4]])
    """

    def __init__(self, sampler: Any, batch_size: int, last_batch: str = "keep"):
        if last_batch not in ("keep", "discard", "rollover"):
            raise argument_error("BatchSampler", "last_batch", repr(last_batch), "keep, discard, rollover")
        if batch_size < 1:
            raise argument_error("BatchSampler", "batch_size", batch_size, "a whole number from 1 on")
        self._sampler, self._batch_size, self._last_batch = sampler, batch_size, last_batch
        self._left: list = []

    def __iter__(self) -> Iterator[list]:
        batch, self._left = self._left, []
        for index in self._sampler:
            batch.append(index)
            if len(batch) == self._batch_size:
                yield batch
                batch = []
        if batch and self._last_batch == "keep":
            yield batch
        elif self._last_batch == "rollover":
            self._left = batch

    def __len__(self) -> int:
        count = len(self._sampler)
        if self._last_batch == "keep":
            return -(-count // self._batch_size)
        if self._last_batch == "rollover":
            count += len(self._left)
        return count // self._batch_size

    def get_state(self) -> Any:
        """Indices that roll over, and the sampler's own state."""
        return {"left": list(self._left), "sampler": state_of(self._sampler)}

    def set_state(self, state: Any) -> None:
        """Take what :meth:`get_state` gave."""
        left = list(state["left"])
        give_state(self._sampler, state["sampler"])
        self._left = left


def state_of(sampler: Any) -> Any:
    """What an iteration of a sampler leaves behind; None where it has no way to say."""
    return sampler.get_state() if hasattr(sampler, "get_state") else None


def give_state(sampler: Any, state: Any) -> None:
    """The reverse of :func:`state_of`."""
    if hasattr(sampler, "set_state"):
        sampler.set_state(state)
