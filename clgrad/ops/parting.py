"""Ops that cut parts out of an array, sized by number or by another array."""

import itertools
from collections.abc import Sequence

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.ops.arguments import one_axis, per_axis
from clgrad.ops.shape import slice_axis, squeeze, take_slice
from clgrad.registry import composite


@composite()
def slice_like(data, shape_like, axes=()):
    """The leading corner of data with the sizes of ``shape_like`` (along ``axes``, or along all)."""
    if axes is None or axes == ():
        if shape_like.ndim != data.ndim:
            raise argument_error(
                "slice_like",
                "shape_like",
                f"of shape {shape_like.shape}",
                f"{data.ndim} axes, or axes given",
            )
        pairs = [(a, a) for a in range(data.ndim)]
    else:
        pairs = [
            (
                one_axis("slice_like", a, data.ndim, "axes"),
                one_axis("slice_like", a, shape_like.ndim, "axes"),
            )
            for a in per_axis(axes)
        ]
    sizes = list(data.shape)
    for a, b in pairs:
        sizes[a] = shape_like.shape[b]
    if any(n > m for n, m in zip(sizes, data.shape, strict=True)):
        raise argument_error(
            "slice_like", "shape_like", shape_like.shape, f"sizes up to those of {data.shape}"
        )
    return take_slice(data, (0,) * data.ndim, (1,) * data.ndim, sizes)


@composite(aliases=("SliceChannel",))
def split(data, num_outputs, axis=1, squeeze_axis=False):
    """A list of ``num_outputs`` equal parts along an axis (the array itself for one part)."""
    axis = one_axis("split", axis, data.ndim)
    return _parts(
        data, _equal_bounds("split", "num_outputs", num_outputs, data.shape[axis]), axis, squeeze_axis
    )


@composite()
def split_v2(ary, indices_or_sections, axis=0, squeeze_axis=False):
    """A list of the parts of an array along an axis (the array itself for one part).

    Parameters
    ----------
    ary : NDArray
    indices_or_sections : int or tuple of int
        The number of equal parts, or the positions, in ascending order, at which to cut.
    axis : int, default 0
    squeeze_axis : bool, default False
        Drop the axis; every part must be of size 1 along it.
    """
    axis = one_axis("split_v2", axis, ary.ndim)
    size = ary.shape[axis]
    if isinstance(indices_or_sections, int):
        bounds = _equal_bounds("split_v2", "indices_or_sections", indices_or_sections, size)
    else:
        bounds = [0, *indices_or_sections, size]
        if sorted(bounds) != bounds:
            accepted = f"positions from 0 to {size} in ascending order"
            raise argument_error("split_v2", "indices_or_sections", indices_or_sections, accepted)
    return _parts(ary, bounds, axis, squeeze_axis)


def _equal_bounds(op: str, argument: str, parts: int, size: int) -> list[int]:
    if parts < 1 or size % parts:
        raise argument_error(op, argument, parts, f"a divisor of the axis' size {size}")
    return [i * (size // parts) for i in range(parts + 1)]


def _parts(data: NDArray, bounds: Sequence[int], axis: int, squeeze_axis: bool):
    """The parts between bounds; the only one by itself, as MXNet returns it."""
    pieces = [slice_axis(data, axis, *pair) for pair in itertools.pairwise(bounds)]
    if squeeze_axis:
        pieces = [squeeze(piece, axis=axis) for piece in pieces]
    return pieces if len(pieces) > 1 else pieces[0]
