"""What the initialisation of parameters depends on: shapes that may be known in part, and contexts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clgrad.array import NDArray
from clgrad.device import Context, as_context
from clgrad.errors import argument_error

Shape = tuple[int, ...]


class Deferred(NamedTuple):
    """What to do once the shape is known."""

    init: Any
    contexts: list[Context]
    default_init: Any
    data: NDArray | None


def as_contexts(ctx: Any) -> list[Context]:
    """The contexts that an argument ``ctx`` names, each once; the current one for None."""
    given = ctx if isinstance(ctx, list | tuple) else [ctx]
    contexts = [as_context(c) for c in given]
    if not contexts or len(set(contexts)) < len(contexts):
        raise argument_error("initialize", "ctx", repr(ctx), "one context, or a list of different ones")
    return contexts


def is_known(shape: Shape | None) -> bool:
    """Whether a shape says the size of every axis: 0 and -1 stand for unknown ones."""
    return shape is not None and len(shape) > 0 and all(n > 0 for n in shape)


def as_shape(name: str, shape: int | Sequence[int] | None) -> Shape | None:
    """The shape that a parameter is given, as a tuple."""
    if shape is None:
        return None
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= -1 for n in sizes):
        raise argument_error(f"Parameter {name}", "shape", repr(shape), "sizes; 0 or -1 where unknown")
    return tuple(int(n) for n in sizes)
