"""From a key with index arrays to the arguments of the ops of :mod:`clgrad.ops.positions`."""

import functools

import numpy as np

from clgrad import array, dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorError
from clgrad.ndindex.keys import Advanced, Index
from clgrad.ops.positions import mask_counts, mask_positions, positions_of
from clgrad.ops.shape import with_shape


class Region:
    """Positions on the device, and how the rest of a key is strided.

    Attributes
    ----------
    positions : NDArray
    shape : tuple of int
        What numpy gives to the result: () for a single element.
    attributes : dict
        Of the ops, except for shapes: strides, base, axis, and whether no position comes twice.
    """

    def __init__(self, data: NDArray, key: Advanced, ask_unique: bool):
        self.positions, unique = _positions(data, key.indices, ask_unique)
        own = self.positions.shape
        sides = (*key.before, *((n, 0) for n in own), *key.after)
        self.shape = tuple(n for n, _ in sides)
        self.attributes = {
            "strides": tuple(stride for _, stride in sides),
            "base": key.base,
            "axis": len(key.before),
            "unique": unique,
        }


def _positions(data: NDArray, indices: tuple[Index, ...], ask_unique: bool) -> tuple[NDArray, bool]:
    """The sum of index times stride, and whether no sum is known to come twice."""
    wide = data.size > np.iinfo(np.int32).max
    dtype = dtypes.int64 if wide else dtypes.int32
    terms = [i.array * i.stride for i in indices if isinstance(i.array, np.ndarray)]
    if len(terms) == len(indices):
        _broadcast([t.shape for t in terms])
        total: np.ndarray = functools.reduce(np.add, terms)
        unique = ask_unique and (data.size == 0 or _all_differ(total, data.size))
        return array.from_host(total, dtype, data.context), unique
    if len(indices) == 1 and indices[0].mask:
        return _of_mask(data, indices[0], indices[0].stride, dtype), True
    arrays = [_on_device(data, i, dtype) for i in indices]
    _broadcast([a.shape for a in arrays])
    extents, strides = tuple(i.extent for i in indices), tuple(i.stride for i in indices)
    if any(i.extent == 0 for i in indices):  # of nothing; there is no last element to move indices to
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        return array.empty(shape, dtype, data.context), True
    return positions_of(*arrays, extents=extents, strides=strides, dtype=dtype.name), False


def _broadcast(shapes: list[tuple[int, ...]]) -> None:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        given = ", ".join(map(str, shapes))
        raise OperatorError(
            f"indexing: index arrays have shapes {given}; accepted: shapes that broadcast"
        ) from None


def _all_differ(positions: np.ndarray, size: int) -> bool:
    seen = np.zeros(size, bool)
    seen[positions] = True
    return int(np.count_nonzero(seen)) == positions.size


def _on_device(data: NDArray, index: Index, dtype: np.dtype) -> NDArray:
    """The indices themselves, of an array that may be a mask or lie on the host."""
    if index.mask:
        return _of_mask(data, index, 1, dtype)
    if isinstance(index.array, np.ndarray):
        return array.from_host(index.array, dtype, data.context)
    return index.array


def _of_mask(data: NDArray, index: Index, stride: int, dtype: np.dtype) -> NDArray:
    """The places of the true elements, times a stride. The host waits for their number."""
    mask = index.array
    if mask.size == 0:
        return array.empty((0,), dtype, data.context)
    flat = with_shape(mask, shape=(mask.size,))
    counts = mask_counts(flat)
    true = int(counts.asnumpy().sum())
    return mask_positions(flat, counts, true=true, stride=stride, dtype=dtype.name)
