"""Samples joined to a batch, on the host, and the batch's way to a device."""

from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad import array, dtypes, nd, nested
from clgrad.array import NDArray
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.gluon.data import workers


def default_batchify_fn(data):
    """Stack samples along a new first axis; of tuples, each member by itself.

    Parameters
    ----------
    data : list of NDArray, numpy.ndarray, number, list of numbers, or tuple of them

    Returns
    -------
    NDArray, or list of NDArray
        On the current context, of the samples' dtype.

    Examples
    --------
    >>> import clgrad as mx
    >>> import numpy as np
    >>> x, y = mx.gluon.data.default_batchify_fn([(np.ones(2), 1), (np.zeros(2), 0)])
    >>> x.shape, y.dtype
    ((2, 2), <class 'numpy.int64'>)
    """
    return placed(stacked(data), lambda host: array.from_host(host, host.dtype))


def default_mp_batchify_fn(data):
    """Stack samples as :func:`default_batchify_fn` does, into numpy arrays: for worker processes."""
    return stacked(data)


def stacked(data) -> Any:
    """Samples along a new first axis: NDArrays on their device, and all else on the host."""
    if not len(data):
        raise OperatorError("DataLoader: a batch has no samples; accepted: one index or more")
    first = data[0]
    if isinstance(first, NDArray):
        if workers.is_worker():
            raise OperatorTypeError(
                "DataLoader: a sample is an NDArray, and worker processes have no device; accepted: numpy "
                "arrays and numbers, or a DataLoader with thread_pool=True or num_workers=0"
            )
        return nd.stack(*data, axis=0)
    if isinstance(first, tuple):
        lengths = {len(sample) for sample in data}
        if len(lengths) > 1:
            raise OperatorError(
                f"DataLoader: samples of one batch have {sorted(lengths)} members; accepted: equally many, "
                "or a batchify_fn of your own"
            )
        return [stacked(members) for members in zip(*data, strict=True)]
    hosts = [_host(sample) for sample in data]
    shapes = sorted({host.shape for host in hosts})
    if len(shapes) > 1:
        raise OperatorError(
            f"DataLoader: samples of one batch have the shapes {', '.join(map(str, shapes[:4]))}; "
            "accepted: samples of one shape, or a batchify_fn of your own"
        )
    joined = np.stack(hosts)
    dtypes.resolve(joined.dtype, "DataLoader", "the samples' dtype")
    return joined


def _host(sample: Any) -> np.ndarray:
    """A sample as an array: a list is one, of numbers, and only a tuple has members of their own."""
    try:
        return np.asarray(sample)
    except ValueError as error:
        raise OperatorError(
            f"DataLoader: a sample is a {type(sample).__name__} that is no array ({error}); accepted: "
            "numbers and arrays, tuples of them, or a batchify_fn of your own"
        ) from error


def placed(batch: Any, place: Callable[[np.ndarray], NDArray]) -> Any:
    """A batch with all its numpy arrays placed on a device; the rest stays as it is."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        dtypes.resolve(leaf.dtype, "DataLoader", "a batch's dtype")
        return place(leaf)

    return nested.replaced(batch, moved)
