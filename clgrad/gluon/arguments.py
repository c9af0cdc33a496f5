"""Arguments of layers: sizes, and one of them for each axis."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from clgrad.errors import argument_error

Sizes = int | Sequence[int]


def size(layer: str, argument: str, value: Any, least: int = 1) -> int:
    """A whole number; 0 and -1, where they are accepted, stand for what the first input tells."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise argument_error(layer, argument, repr(value), f"a whole number of at least {least}")
    return int(value)


def number(layer: str, argument: str, value: Any) -> Any:
    """A real number, unchanged."""
    if not isinstance(value, numbers.Real):
        raise argument_error(layer, argument, repr(value), "a number")
    return value


def per_axis(layer: str, argument: str, value: Any, axes: int) -> tuple[int, ...]:
    """One number for each axis, from one for all or from as many as there are axes."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(sizes) != axes or not all(isinstance(n, int | np.integer) for n in sizes):
        raise argument_error(layer, argument, repr(value), f"a number, or {axes} of them")
    return tuple(map(int, sizes))
