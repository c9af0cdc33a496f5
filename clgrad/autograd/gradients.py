"""What gradients are made of and checked by."""

import numpy as np

from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.registry import filled


def as_list(value) -> list:
    """One array, or several, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def fits(gradient, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether something given as a gradient is an array of the shape and dtype."""
    if not isinstance(gradient, NDArray):
        return False
    return gradient.shape == shape and gradient._view.dtype == dtype


def described(value) -> str:
    """Something given, for an error."""
    if isinstance(value, NDArray):
        return f"NDArray {value._view.dtype} {value.shape}"
    return type(value).__name__


def zeros(context: Context, shape: tuple[int, ...], dtype: np.dtype, out=None) -> NDArray:
    """Zeros on a device; where no gradient flows."""
    return filled(context, shape, dtype, 0, out)
