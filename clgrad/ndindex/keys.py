"""What a key means for an array of some shape: a strided region, or one at positions from index arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad.array import NDArray
from clgrad.errors import OperatorError
from clgrad.kernels import layout
from clgrad.ops.shape import resolve_slice


@dataclass(frozen=True)
class Basic:
    """Integers, slices, Ellipsis and None: a strided region, and the shape of what is read from it."""

    begin: tuple[int, ...]
    step: tuple[int, ...]
    size: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Index:
    """An index array: what it holds is multiplied by ``stride`` to give a position.

    ``mask`` says that the array is one of truth values, over axes of ``extent`` elements in all, of which
    the places of the true ones are the indices.
    """

    array: np.ndarray | NDArray
    extent: int
    stride: int
    mask: bool = False


@dataclass(frozen=True)
class Advanced:
    """Index arrays, perhaps amid slices, None and Ellipsis.

    ``before`` and ``after`` are the sizes and strides of the result's axes on either side of those that
    the index arrays broadcast to.
    """

    indices: tuple[Index, ...]
    before: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]
    base: int


def parse(shape: tuple[int, ...], key) -> Basic | Advanced:
    """Sort out a key.

    Raises
    ------
    IndexError
        An index is out of bounds, or a mask has another shape than the axes that it is for.
    OperatorError
        The key is of a kind that no array can be indexed by, or has too many parts.
    """
    items = [_item(part) for part in (key if isinstance(key, tuple) else (key,))]
    items = _expanded(items, shape)
    if any(isinstance(item, np.ndarray | NDArray) for item in items):
        return _advanced(shape, items)
    return _basic(shape, items)


# Parts of a key


def _item(part):
    """None, Ellipsis, slice, int, or an array of indices or of truth values."""
    if part is None or part is Ellipsis or isinstance(part, slice | NDArray):
        return part
    if isinstance(part, bool | np.bool_):
        return np.asarray(part)
    if isinstance(part, list | tuple | range):
        return _host_array(_array_of(part))
    if isinstance(part, np.ndarray) and (part.ndim or part.dtype.kind == "b"):
        return _host_array(part)
    if hasattr(part, "__index__"):
        return part.__index__()
    raise OperatorError(
        f"indexing: an index is {type(part).__name__}; accepted: integers, slices, Ellipsis, None, and "
        "arrays of integers or of truth values"
    )


def _array_of(part) -> np.ndarray:
    try:
        return np.asarray(part) if len(part) else np.empty(0, np.int64)
    except ValueError as error:
        raise OperatorError(f"indexing: a list is no array ({error}); accepted: regular lists") from None


def _host_array(values: np.ndarray) -> np.ndarray:
    kind = values.dtype.kind
    whole = kind == "f" and np.isfinite(values).all() and (values == np.trunc(values)).all()
    if kind not in "iub" and not whole:
        raise OperatorError(
            f"indexing: key has dtype {values.dtype}; accepted: integers, slices, Ellipsis, None, and "
            "arrays of integers or of truth values"
        )
    return values.astype(np.int64) if whole else values


def _axes_of(item) -> int:
    """How many axes of the array a part of the key is for."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if _is_mask(item) else 1


def _is_mask(item) -> bool:
    return isinstance(item, np.ndarray | NDArray) and np.dtype(item.dtype).kind == "b"


def _expanded(items: list, shape: tuple[int, ...]) -> list:
    """The parts with slices in the place of Ellipsis, or behind the last part."""
    given = sum(_axes_of(item) for item in items)
    if given > len(shape):
        raise OperatorError(f"indexing: {given} indices given; accepted: up to {len(shape)}")
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise OperatorError("indexing: more than one Ellipsis given; accepted: one")
    rest: list = [slice(None)] * (len(shape) - given)
    if not ellipses:
        return items + rest
    (place,) = ellipses
    return items[:place] + (rest or [Ellipsis]) + items[place + 1 :]


def _slice(item: slice, n: int) -> tuple[int, int, int]:
    """Begin, step and count."""
    plain = slice(*(None if v is None else _bound(v) for v in (item.start, item.stop, item.step)))
    part = resolve_slice("indexing", plain, n)
    if part[2] == 0 and n != 0:
        raise OperatorError(f"indexing: {item} selects nothing of an axis of size {n}")
    return part


def _bound(value) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise OperatorError(
            f"indexing: a slice's bound is {value!r}; accepted: whole numbers and None"
        ) from None


def _integer(place: int, n: int) -> int:
    if not -n <= place < n:
        raise IndexError(f"indexing: index {place} is out of bounds for an axis of size {n}")
    return place % n


# Basic keys


def _basic(shape: tuple[int, ...], items: Sequence) -> Basic:
    parts: list[tuple[int, int, int]] = []
    result: list[int] = []
    for item in items:
        if item is Ellipsis:
            continue
        if item is None:
            result.append(1)
            continue
        n = shape[len(parts)]
        if isinstance(item, slice):
            parts.append(_slice(item, n))
            result.append(parts[-1][2])
        else:
            parts.append((_integer(item, n), 1, 1))
    begin, step, size = zip(*parts, strict=True) if parts else ((), (), ())
    return Basic(begin, step, size, tuple(result) or (1,))


# Advanced keys


def _advanced(shape: tuple[int, ...], items: Sequence) -> Advanced:
    """Beside an index array, integers are index arrays too.

    The axes that index arrays broadcast to take the place of the first of them if they stand together,
    else they come first. (numpy's documentation, "Combining advanced and basic indexing".)
    """
    strides = layout.contiguous_strides(shape)
    indices: list[Index] = []
    sides: tuple[list, list] = ([], [])
    places = [i for i, item in enumerate(items) if isinstance(item, int | np.ndarray | NDArray)]
    together = places[-1] - places[0] + 1 == len(places)
    axis = base = 0
    for i, item in enumerate(items):
        side = sides[int(not together or i > places[0])]
        if item is None:
            side.append((1, 0))
        elif isinstance(item, slice):
            begin, step, size = _slice(item, shape[axis])
            side.append((size, strides[axis] * step))
            base += begin * strides[axis]
        elif isinstance(item, int):
            base += _integer(item, shape[axis]) * strides[axis]
        elif item is not Ellipsis:
            indices.append(_index(item, shape, strides, axis))
        axis += _axes_of(item)
    return Advanced(tuple(indices), tuple(sides[0]), tuple(sides[1]), base)


def _index(item, shape: tuple[int, ...], strides: tuple[int, ...], axis: int) -> Index:
    if not _is_mask(item):
        n = shape[axis]
        if isinstance(item, np.ndarray):
            item = _in_bounds(item, n)
        elif n == 0 and item.size:
            raise IndexError("indexing: an index is out of bounds for an axis of size 0")
        return Index(item, n, strides[axis])
    covered = shape[axis : axis + item.ndim]
    if item.shape != covered:
        raise IndexError(
            f"indexing: a mask has shape {item.shape}; accepted: {covered}, the sizes of the axes it is for"
        )
    stride = strides[axis + item.ndim - 1] if item.ndim else 0
    if isinstance(item, np.ndarray):
        return Index(np.flatnonzero(item), math.prod(covered), stride)
    return Index(item, math.prod(covered), stride, mask=True)


def _in_bounds(values: np.ndarray, n: int) -> np.ndarray:
    outside = (values < -n) | (values >= n)
    if outside.any():
        raise IndexError(f"indexing: index {values[outside][0]} is out of bounds for an axis of size {n}")
    whole = values.astype(np.int64)
    return np.where(whole < 0, whole + n, whole)
