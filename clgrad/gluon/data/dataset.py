"""Datasets: samples by number, and what is made of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.data import workers
from clgrad.gluon.data.sampler import FilterSampler, SequentialSampler


class Dataset:
    """Samples by number: give ``__getitem__`` and ``__len__``.

    In the worker processes of a :class:`DataLoader` there is no device: where a sample holds arrays, its
    functions get numpy arrays there, and NDArrays elsewhere.

    Examples
    --------
    >>> import clgrad as mx
    >>> class Squares(mx.gluon.data.Dataset):
    ...     def __getitem__(self, index):
    ...         return index * index
    ...
    ...     def __len__(self):
    ...         return 5
    >>> list(Squares().take(3).transform(lambda x: x + 1))
    [1, 2, 5]
    """

    def __getitem__(self, idx):
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def _host_item(self, idx):
        """A sample, with arrays on the host where nobody's own function comes in between."""
        return self[idx]

    def _to_host(self) -> None:
        """Have a copy of everything on the host: a process without a device is about to start."""

    def filter(self, fn: Callable[[Any], Any]) -> "Dataset":
        """The samples of which a function says true; it is called with each of them now."""
        return self.sample(FilterSampler(fn, self))

    def shard(self, num_shards: int, index: int) -> "Dataset":
        """One of ``num_shards`` parts that differ by one sample at most: shuffle after, and not before.

        Examples
        --------
        >>> import clgrad as mx
        >>> [list(mx.gluon.data.SimpleDataset(range(5)).shard(3, i)) for i in range(3)]
        [[0, 1], [2, 3], [4]]
        """
        if num_shards < 1:
            raise argument_error("shard", "num_shards", num_shards, "a whole number from 1 on")
        if not 0 <= index < num_shards:
            raise argument_error("shard", "index", index, f"0 to {num_shards - 1}")
        size, rest = divmod(len(self), num_shards)
        start = size * index + min(index, rest)
        return self.sample(SequentialSampler(size + (index < rest), start))

    def take(self, count: int | None) -> "Dataset":
        """The first samples, at most ``count``; all of them for None."""
        if count is not None and count < 0:
            raise argument_error("take", "count", count, "a whole number from 0 on, or None")
        return self.sample(SequentialSampler(len(self) if count is None else min(count, len(self))))

    def sample(self, sampler) -> "Dataset":
        """The samples whose numbers a sampler yields, in its order, which is asked for once."""
        return _Sampled(self, sampler)

    def transform(self, fn: Callable, lazy: bool = True) -> "Dataset":
        """What a function makes of each sample; a sample that is a tuple gives its arguments.

        Parameters
        ----------
        fn : callable
        lazy : bool, default True
            Call it when a sample is asked for, each time; else once for each, now.
        """
        lazily = _Transformed(self, fn)
        return lazily if lazy else SimpleDataset(list(lazily))

    def transform_first(self, fn: Callable, lazy: bool = True) -> "Dataset":
        """What a function makes of the first member of each sample; the others stay as they are."""
        return self.transform(_First(fn), lazy)


class SimpleDataset(Dataset):
    """Anything with ``[]`` and ``len()`` as a dataset.

    Parameters
    ----------
    data : list, numpy.ndarray, NDArray or similar
    """

    def __init__(self, data):
        self._source = Source(data)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, idx):
        return self._source[idx]

    def _host_item(self, idx):
        return self._source.host_item(idx)

    def _to_host(self) -> None:
        self._source.to_host()


class ArrayDataset(Dataset):
    """Samples ``(x1[i], x2[i], ...)`` of arrays, lists or datasets of one length; of one, just ``x1[i]``.

    Parameters
    ----------
    *args : NDArray, numpy.ndarray, list or Dataset
        An NDArray of one axis gives numbers, any other gives NDArrays.

    Examples
    --------
    >>> import clgrad as mx
    >>> import numpy as np
    >>> data = mx.gluon.data.ArrayDataset(np.eye(3, dtype="float32"), [5, 6, 7])
    >>> data[1]
    (array([0., 1., 0.], dtype=float32), 6)
    """

    def __init__(self, *args):
        if not args:
            raise argument_error("ArrayDataset", "args", "empty", "one array or more")
        lengths = [len(data) for data in args]
        if len(set(lengths)) > 1:
            raise argument_error("ArrayDataset", "args", f"of lengths {lengths}", "arrays of one length")
        first = (d.asnumpy() if isinstance(d, NDArray) and d.ndim == 1 else d for d in args)
        self._sources = [Source(data) for data in first]

    def __len__(self) -> int:
        return len(self._sources[0])

    def __getitem__(self, idx):
        items = tuple(source[idx] for source in self._sources)
        return items if len(items) > 1 else items[0]

    def _host_item(self, idx):
        items = tuple(source.host_item(idx) for source in self._sources)
        return items if len(items) > 1 else items[0]

    def _to_host(self) -> None:
        for source in self._sources:
            source.to_host()


def takes_numpy(fn: Callable) -> bool:
    """Whether a function of samples says that it takes numpy arrays as it takes NDArrays."""
    return getattr(fn, "takes_numpy", False)


class Source:
    """Data of a dataset, with its copy on the host where it is an NDArray."""

    def __init__(self, data: Any):
        self.data = data
        self._host: np.ndarray | None = None
        self._version = -1

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, idx):
        if isinstance(self.data, NDArray) and workers.is_worker():
            return self.host_item(idx)
        return self.data[idx]

    def host_item(self, idx):
        """A member, as numpy array where it would be an NDArray."""
        if isinstance(self.data, NDArray):
            if not workers.is_worker():
                self.to_host()
            assert self._host is not None
            return self._host[idx]
        return self.data._host_item(idx) if isinstance(self.data, Dataset) else self.data[idx]

    def to_host(self) -> None:
        """Bring the copy on the host up to date."""
        if isinstance(self.data, NDArray):
            version = self.data._view.storage.version
            if self._host is None or version != self._version:
                self._host, self._version = self.data.asnumpy(), version
        elif isinstance(self.data, Dataset):
            self.data._to_host()

    def __getstate__(self) -> dict:
        """What a process that is not forked gets: no device there either."""
        if not isinstance(self.data, NDArray):
            return {"data": self.data, "_host": None, "_version": -1}
        self.to_host()
        return {"data": self._host, "_host": None, "_version": -1}


class _Sampled(Dataset):
    """Samples of a dataset, by the numbers of a sampler."""

    def __init__(self, dataset: Any, sampler):
        if not hasattr(sampler, "__iter__"):
            given = type(sampler).__name__
            raise OperatorTypeError(f"sample: sampler is {given}; accepted: a Sampler, or a list of int")
        self._source = Source(dataset)
        self._indices = list(sampler)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, idx):
        return self._source[self._indices[idx]]

    def _host_item(self, idx):
        return self._source.host_item(self._indices[idx])

    def _to_host(self) -> None:
        self._source.to_host()


class _Transformed(Dataset):
    """What a function makes of the samples of a dataset."""

    def __init__(self, dataset: Any, fn: Callable):
        self._source = Source(dataset)
        self._fn = fn

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, idx):
        return self._call(self._source[idx])

    def _call(self, item):
        return self._fn(*item) if isinstance(item, tuple) else self._fn(item)

    def _host_item(self, idx):
        if takes_numpy(self._fn):
            return self._call(self._source.host_item(idx))
        return self[idx]

    def _to_host(self) -> None:
        self._source.to_host()


class _First:
    """A function of the first member of a sample."""

    def __init__(self, fn: Callable):
        self._fn = fn
        self.takes_numpy = takes_numpy(fn)

    def __call__(self, first, *others):
        return (self._fn(first), *others) if others else self._fn(first)
