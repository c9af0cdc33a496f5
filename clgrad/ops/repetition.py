"""Ops that repeat elements: along axes of size 1, whole arrays, or each element beside itself."""

from collections.abc import Sequence

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.ops.arguments import distinct_axes, one_axis, per_axis
from clgrad.ops.shape import broadcast_to, strided_slice, with_shape
from clgrad.registry import composite


@composite()
def broadcast_like(lhs, rhs, lhs_axes=None, rhs_axes=None):
    """lhs broadcast to the shape of rhs (or only along ``lhs_axes``, to the sizes of ``rhs_axes``)."""
    if lhs_axes is None or rhs_axes is None:
        return broadcast_to(lhs, rhs.shape)
    own = distinct_axes("broadcast_like", "lhs_axes", per_axis(lhs_axes), lhs.ndim)
    others = [one_axis("broadcast_like", a, rhs.ndim, "rhs_axes") for a in per_axis(rhs_axes)]
    if len(own) != len(others):
        raise argument_error("broadcast_like", "rhs_axes", rhs_axes, f"one axis for each of {lhs_axes}")
    return _broadcast_along("broadcast_like", lhs, own, [rhs.shape[a] for a in others])


@composite(aliases=("broadcast_axes",))
def broadcast_axis(data, axis=(), size=()):
    """Axes of size 1 repeated to the sizes given."""
    axes, sizes = distinct_axes("broadcast_axis", "axis", per_axis(axis), data.ndim), per_axis(size)
    if len(axes) != len(sizes):
        raise argument_error("broadcast_axis", "size", size, f"one size for each axis of {axis}")
    return _broadcast_along("broadcast_axis", data, axes, sizes)


def _broadcast_along(op: str, data: NDArray, axes: Sequence[int], sizes: Sequence[int]) -> NDArray:
    shape = list(data.shape)
    for a, n in zip(axes, sizes, strict=True):
        if shape[a] not in (1, n):
            raise argument_error(op, "axis", a, f"an axis of size 1 of {data.shape}")
        shape[a] = n
    return _repeated(data, shape)


def _repeated(data: NDArray, shape: Sequence[int]) -> NDArray:
    """Axes of size 1 repeated to the sizes of ``shape``, of which 0 means 0."""
    if 0 in shape and 0 not in data.shape:
        nothing = strided_slice(data, begin=(0,) * data.ndim, step=(1,) * data.ndim, size=(0,) * data.ndim)
        return with_shape(nothing, shape=tuple(shape))
    return broadcast_to(data, shape=tuple(shape))


@composite()
def tile(data, reps):
    """The whole array repeated ``reps[i]`` times along axis i.

    The shorter of shape and reps gets ones in front.

    Parameters
    ----------
    reps : int or tuple of int
        Numbers of repetitions, not below 0.
    """
    counts = tuple(per_axis(reps))
    if any(n < 0 for n in counts):
        raise argument_error("tile", "reps", reps, "whole numbers not below 0")
    ndim = max(data.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - data.ndim) + data.shape
    apart = with_shape(data, shape=tuple(m for n in shape for m in (1, n)))
    repeated = _repeated(apart, [m for pair in zip(counts, shape, strict=True) for m in pair])
    return with_shape(repeated, shape=tuple(n * m for n, m in zip(counts, shape, strict=True)))


@composite()
def repeat(data, repeats, axis=None):
    """Each element repeated along an axis, beside itself; without an axis, of the flattened array.

    Parameters
    ----------
    repeats : int
        How often, not below 0.
    """
    if repeats < 0:
        raise argument_error("repeat", "repeats", repeats, "a whole number not below 0")
    if axis is None:
        data, axis = with_shape(data, shape=(data.size,)), 0
    axis = one_axis("repeat", axis, data.ndim)
    lead, size, rest = data.shape[:axis], data.shape[axis], data.shape[axis + 1 :]
    repeated = _repeated(with_shape(data, shape=(*lead, size, 1, *rest)), (*lead, size, repeats, *rest))
    return with_shape(repeated, shape=(*lead, size * repeats, *rest))
