"""Arguments as ops are given them: axes, shapes that follow from them, dtypes."""

from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.registry import Spec


def per_axis(value) -> tuple:
    """A tuple of what may be one thing or several."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def one_axis(op: str, axis, ndim: int, argument: str = "axis", also: str = "") -> int:
    """An axis counted from the first, checked; ``also`` says what else the op accepts."""
    if not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        given = axis if isinstance(axis, int | np.integer) else repr(axis)
        raise argument_error(op, argument, given, f"{-ndim} to {ndim - 1}{also}")
    return int(axis) % ndim


def distinct_axes(op: str, argument: str, axes: Sequence[int], ndim: int, also: str = "") -> list[int]:
    """Axes counted from the first, checked; none may come twice."""
    found = [one_axis(op, a, ndim, argument, also) for a in axes]
    if len(set(found)) < len(found):
        raise argument_error(op, argument, tuple(axes), "each axis once")
    return found


def reduced_axes(op: str, ndim: int, axis, exclude: bool = False) -> tuple[int, ...]:
    """The axes to reduce, sorted, from MXNet's ``axis`` and ``exclude``."""
    if axis is None or axis == ():
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim and not exclude:  # the usual case
        return (axis % ndim,)
    chosen = set(distinct_axes(op, "axis", per_axis(axis), ndim, f" for an array of {ndim} axes"))
    return tuple(sorted(set(range(ndim)) - chosen if exclude else chosen))


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with the reduced axes kept as size 1."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


def ones_behind(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The shape with axes of size 1 behind, ``ndim`` axes in all: it broadcasts along these."""
    return (*shape, *(1,) * (ndim - len(shape)))


def check_floating(op: str, **arrays: NDArray) -> None:
    """Refuse arrays of whole numbers."""
    for argument, array in arrays.items():
        dtype = array._view.dtype
        if not dtypes.is_floating(dtype):
            raise OperatorTypeError(
                f"{op}: {argument} is of dtype {dtype}; accepted: a floating-point dtype"
            )


def check_numbers(op: str, **arrays: NDArray | Spec | None) -> None:
    """Refuse masks: products and sums of them, made in their 8 bits, would wrap around."""
    for argument, array in arrays.items():
        if array is not None and array.dtype == np.dtype(bool):
            raise OperatorTypeError(f"{op}: {argument} is of dtype bool; accepted: numbers, see astype")


def sizes(op: str, argument: str, value, rank: int | None) -> tuple[int, ...]:
    """One number for each spatial axis, of one number for all or of a sequence.

    Nothing where nothing is given; without ``rank``, any number of them.
    """
    if value is None:
        return ()
    if isinstance(value, int | np.integer):
        return (int(value),) * (1 if rank is None else rank)
    given = tuple(int(v) for v in value)
    if rank is not None and len(given) not in (0, rank):
        raise argument_error(op, argument, given, f"{rank} numbers, one for each spatial axis")
    return given
