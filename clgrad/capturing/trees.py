"""Arguments and results taken apart: arrays and numbers, which may change, and what must stay."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from clgrad import nested
from clgrad.array import NDArray
from clgrad.errors import CaptureError

#: Types whose values are compared; a graph holds for one value.
PLAIN = (
    bool,
    int,
    str,
    bytes,
    complex,
    type(None),
    np.dtype,
    type,
    slice,
    type(Ellipsis),
    np.integer,
    np.bool_,
)


class _ArrayPlace:
    """Stands for an array in what a function returns."""

    def __repr__(self) -> str:
        return "ARRAY"


ARRAY = _ArrayPlace()


class Same:
    """Compares an object by identity, whatever its class says."""

    __slots__ = ("what",)

    def __init__(self, what: object):
        self.what = what

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.what is other.what

    def __hash__(self) -> int:
        return id(self.what)


def take_apart(value: Any, arrays: list[NDArray], numbers: list[float]) -> Any:
    """Collect the arrays and floats of nested tuples, lists and dicts; what remains, hashable.

    Raises
    ------
    CaptureError
        There is a numpy array, whose elements a replay could not see.
    """
    kind = type(value)
    if kind is NDArray:
        arrays.append(value)
        return value._view.layout
    if _is_number(value):
        numbers.append(float(value))
        return float
    if isinstance(value, slice):
        return (slice, value.start, value.stop, value.step)
    if isinstance(value, PLAIN):
        return (kind, value)
    if isinstance(value, list | tuple):
        return (kind, *[take_apart(v, arrays, numbers) for v in value])
    if isinstance(value, dict):
        return (kind, *[(k, take_apart(v, arrays, numbers)) for k, v in value.items()])
    if isinstance(value, np.ndarray):
        raise CaptureError(
            "capture: an argument is a numpy array, which lies on the host; accepted: NDArray (mx.nd.array)"
        )
    return Same(value)


def put_together(value: Any, arrays: Iterable[Any], numbers: Iterable[Any]) -> Any:
    """The nested value with others in the places of the arrays and floats that were collected."""
    array, number = iter(arrays), iter(numbers)

    def other(leaf: Any) -> Any:
        if type(leaf) is NDArray:
            return next(array)
        return next(number) if _is_number(leaf) else leaf

    return nested.replaced(value, other)


def _is_number(value: Any) -> bool:
    return type(value) is float or isinstance(value, np.floating)


def arrays(value: Any) -> list[NDArray]:
    """The arrays of a nested value, in the order of their places."""
    return [leaf for leaf in nested.leaves(value, NDArray) if type(leaf) is NDArray]


def with_arrays(value: Any, others: Iterable[NDArray]) -> Any:
    """The nested value with other arrays in the places of its own."""
    rest = iter(others)
    return nested.replaced(value, lambda leaf: next(rest) if type(leaf) is NDArray else leaf)
