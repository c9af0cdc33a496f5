"""Reading and writing NDArrays by index: integers, slices, Ellipsis, None, and integer arrays.

Basic indices follow numpy, with two habits of MXNet: an integer index into a 1-d array gives shape (1,),
and an empty slice is an error.
"""

import numbers

import numpy as np

from clgrad import array
from clgrad.array import NDArray
from clgrad.errors import OperatorError
from clgrad.ops import shape as shape_ops
from clgrad.ops.conversion import astype
from clgrad.ops.shape import _slice_assign, resolve_slice, take_slice
from clgrad.ops.unary import identity
from clgrad.registry import table


def read(data: NDArray, key) -> NDArray:
    """``data[key]``; recorded, and sharing memory where it is a range of the leading axis."""
    if isinstance(key, NDArray | np.ndarray | list):
        return _take(data, key)
    begin, step, size, result_shape = _basic(data.shape, key)
    part = take_slice(data, begin, step, size)
    if part.shape == result_shape:
        return part
    return shape_ops.reshape(part, shape=result_shape)


def _take(data: NDArray, key) -> NDArray:
    if isinstance(key, list):
        key = np.asarray(key)
    if isinstance(key, np.ndarray):
        if key.dtype.kind not in "iu":
            raise OperatorError(
                f"indexing: key has dtype {key.dtype}; accepted: integers, slices, Ellipsis, None, or "
                "an array of integers"
            )
        rows = data.shape[0] if data.shape else 0
        if ((key < -rows) | (key >= rows)).any():
            raise IndexError(f"indexing: an index is out of bounds for an axis of size {rows}")
        key = np.where(key < 0, key + rows, key)
        key = array.from_host(key, np.dtype("int32"), data.context)
    return table["take"](data, key, axis=0)


def write(data: NDArray, key, value) -> None:
    """``data[key] = value`` in place; a recorded value passes its gradient on."""
    begin, step, size, result_shape = _basic(data.shape, key)
    if isinstance(value, np.ndarray | list | tuple | numbers.Number | np.bool_):
        host = np.asarray(value)
        value = array.from_host(host, data._view.dtype, data.context)
    elif not isinstance(value, NDArray):
        raise OperatorError(
            f"indexing: value is {type(value).__name__}; accepted: a number, a numpy array or an NDArray"
        )
    if value.context != data.context:
        value = value.as_in_context(data.context)
    if value._view.dtype != data._view.dtype:
        value = astype(value, data._view.dtype)
    if value._view.storage is data._view.storage:  # x[1:] = x[:-1] reads what it writes
        value = identity(value)
    value = _fit(value, result_shape, size)
    _slice_assign(value, shape=data.shape, begin=begin, step=step, size=size, out=data)


def _fit(value: NDArray, result_shape, size) -> NDArray:
    """The value with its axes in line with the axes of the region that it is written to."""
    own = value.shape
    while len(own) > len(result_shape) and own[0] == 1:
        own = own[1:]
    try:
        fits = np.broadcast_shapes(own, result_shape) == tuple(result_shape)
    except ValueError:
        fits = False
    if not fits:
        raise OperatorError(
            f"indexing: value has shape {value.shape}; accepted: a shape that broadcasts to "
            f"{tuple(result_shape)}"
        )
    if tuple(size) == tuple(result_shape):
        return value if own == value.shape else shape_ops.reshape(value, shape=own)
    # Integer and None indices change the number of axes: line up by broadcasting, then relabelling.
    if own != tuple(result_shape):
        value = shape_ops.broadcast_to(value, tuple(result_shape))
    return shape_ops.reshape(value, shape=tuple(size))


def _basic(shape: tuple[int, ...], key):
    """Begin, step and size along every axis, and the shape of the result."""
    items = list(key) if isinstance(key, tuple) else [key]
    explicit = sum(item is not None and item is not Ellipsis for item in items)
    if explicit > len(shape):
        raise OperatorError(f"indexing: {explicit} indices given; accepted: up to {len(shape)}")
    if sum(item is Ellipsis for item in items) > 1:
        raise OperatorError("indexing: more than one Ellipsis given; accepted: one")
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    begin: list[int] = []
    step: list[int] = []
    size: list[int] = []
    result: list[int] = []
    axis = 0
    for item in items:
        if item is None:
            result.append(1)
            continue
        if item is Ellipsis:
            for n in shape[axis : axis + len(shape) - explicit]:
                _add(begin, step, size, (0, 1, n))
                result.append(n)
            axis += len(shape) - explicit
            continue
        n = shape[axis]
        if isinstance(item, slice):
            part = resolve_slice("indexing", _plain(item), n)
            if part[2] == 0 and n != 0:
                raise OperatorError(f"indexing: {item} selects nothing of an axis of size {n}")
            _add(begin, step, size, part)
            result.append(part[2])
        else:
            _add(begin, step, size, (_integer(item, n), 1, 1))
        axis += 1
    return begin, step, size, tuple(result) or (1,)


def _add(begin: list, step: list, size: list, part: tuple[int, int, int]) -> None:
    for target, value in zip((begin, step, size), part, strict=True):
        target.append(value)


def _plain(item: slice) -> slice:
    return slice(*(None if v is None else int(v) for v in (item.start, item.stop, item.step)))


def _integer(item, n: int) -> int:
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise OperatorError(
            f"indexing: an index is {type(item).__name__}; accepted: integers, slices, Ellipsis, None, "
            "or one array of integers"
        )
    place = item.__index__()
    if not -n <= place < n:
        raise IndexError(f"indexing: index {place} is out of bounds for an axis of size {n}")
    return place % n
