"""``x[key] = value``."""

import numbers

import numpy as np

from clgrad import array, dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorError, argument_error
from clgrad.ndindex.keys import Basic, parse
from clgrad.ndindex.region import Region
from clgrad.ops.conversion import astype
from clgrad.ops.creation import _full
from clgrad.ops.positions import write_at
from clgrad.ops.shape import _slice_assign, expand_to, with_shape
from clgrad.ops.unary import identity


def write(data: NDArray, key, value) -> None:
    """``data[key] = value`` in place; a recorded value passes its gradient on.

    Where index arrays name an element twice, the last value in C order stays, and it alone gets a gradient.
    """
    if type(key) is slice and key == _WHOLE and data.ndim:
        _fill(data, value)
        return
    parsed = parse(data.shape, key)
    value = _as_array(data, value)
    if isinstance(parsed, Basic):
        value = _along(_fit(value, parsed.shape), parsed.shape, parsed.size)
        _slice_assign(
            value, shape=data.shape, begin=parsed.begin, step=parsed.step, size=parsed.size, out=data
        )
        return
    region = Region(data, parsed, ask_unique=True)
    value = _fit(value, region.shape)
    if not region.attributes["unique"] and value.shape != region.shape:
        value = expand_to(value, shape=region.shape)
    write_at(value, region.positions, shape=data.shape, size=region.shape, **region.attributes, out=data)


#: What stands between the brackets of ``x[:] = value``.
_WHOLE = slice(None)


def _fill(data: NDArray, value) -> None:
    """``data[:] = value``: in one launch, also of a number."""
    if isinstance(value, _NUMBER):
        _number(data, value, data.shape, out=data)
        return
    value = _fit(_as_array(data, value), data.shape)
    if value.shape == data.shape:
        identity(value, out=data)
    else:
        expand_to(value, shape=data.shape, out=data)


def _number(data: NDArray, value, shape: tuple[int, ...], out: NDArray | None = None) -> NDArray:
    """A number in an array's dtype: by a launch, since a transfer would wait for the device."""
    dtype = dtypes.name_of(data._view.dtype)
    try:
        return _full.create(data.context, out=out, shape=shape, dtype=dtype, value=value)
    except OperatorError:
        raise argument_error("indexing", "value", value, f"a number within {dtype}") from None


_NUMBER = numbers.Real | np.bool_


def _as_array(data: NDArray, value) -> NDArray:
    """The value on the device, in the dtype, and outside the memory of the array that it is written to."""
    if isinstance(value, _NUMBER):
        return _number(data, value, ())
    if isinstance(value, np.ndarray | list | tuple):
        value = array.from_host(_host(value), data._view.dtype, data.context)
    elif not isinstance(value, NDArray):
        raise OperatorError(
            f"indexing: value is {type(value).__name__}; accepted: a number, a numpy array or an NDArray"
        )
    if value._view.device is not data._view.device:
        value = value.as_in_context(data.context)
    if value._view.dtype != data._view.dtype:
        value = astype(value, data._view.dtype)
    if value._view.storage is data._view.storage:  # x[1:] = x[:-1] reads what it writes
        value = identity(value)
    return value


def _host(value) -> np.ndarray:
    try:
        host = np.asarray(value)
    except ValueError as error:
        raise OperatorError(f"indexing: value is no regular array ({error})") from None
    if host.dtype.kind not in "fiub" and not dtypes.is_floating(host.dtype):
        raise OperatorError(f"indexing: value has dtype {host.dtype}; accepted: numbers")
    return host


def _fit(value: NDArray, shape: tuple[int, ...]) -> NDArray:
    """The value without leading axes of size 1 that the region does not have."""
    own = value.shape
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    try:
        fits = np.broadcast_shapes(own, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise OperatorError(
            f"indexing: value has shape {value.shape}; accepted: a shape that broadcasts to {shape}"
        )
    return value if own == value.shape else with_shape(value, shape=own)


def _along(value: NDArray, shape: tuple[int, ...], size: tuple[int, ...]) -> NDArray:
    """The value with its axes in line with those of the array, which integers and None make differ."""
    if shape == size:
        return value
    if value.shape != shape:
        value = expand_to(value, shape=shape)
    return with_shape(value, shape=size)
