"""An array taken to pieces that share its memory: many parts, one node of the tape."""

from clgrad.array import NDArray
from clgrad.memory import Layout, View
from clgrad.ops.creation import zeros
from clgrad.ops.shape import concat, with_shape
from clgrad.registry import grouped


@grouped(name="_unpack")
def unpack(data, *, shapes):
    """Consecutive pieces of an array, of these shapes, sharing its memory; as a list."""
    view = data._view
    pieces, offset, layout = [], view.offset, Layout((), view.dtype)
    for shape in shapes:
        if shape != layout.shape:  # many pieces of one shape are the rule
            layout = Layout(shape, view.dtype)
        pieces.append(NDArray(View(view.storage, offset, layout)))
        offset += layout.size
    return pieces


@unpack.joint_gradient("data")
def _(dys, data_shape, shapes):
    """The pieces' gradients, joined."""
    known = next(dy for dy in dys if dy is not None)
    parts = [
        zeros(shape, known.context, known._view.dtype) if dy is None else dy
        for dy, shape in zip(dys, shapes, strict=True)
    ]
    flat = concat(*(with_shape(part, shape=(part.size,)) for part in parts), dim=0)
    return (with_shape(flat, shape=data_shape),)


def rows_of(data: NDArray | None, count: int) -> list:
    """The elements along axis 0; nothing for each of ``count`` where there is no array."""
    if data is None:
        return [None] * count
    return unpack(data, shapes=(data.shape[1:],) * count)
