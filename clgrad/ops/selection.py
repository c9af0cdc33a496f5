"""Choosing between two arrays element by element."""

import numpy as np

from clgrad.array import NDArray
from clgrad.kernels import expr
from clgrad.registry import composite, elementwise, table


@elementwise(name="_select", label="where", free=("condition",), reference=np.where, domain=(-1, 1))
def select(condition, x, y):
    """x where the condition is not 0, else y."""
    return expr.where(condition, x, y)


select.gradient(
    x=lambda dy, condition: select(condition, dy, 0),
    y=lambda dy, condition: select(condition, 0, dy),
)


@composite()
def where(condition, x, y):
    """Elements of x where the condition is not 0, else of y.

    The condition has the shape of x and y, or is a vector that chooses whole rows of them.
    """
    arrays = [v for v in (condition, x, y) if isinstance(v, NDArray)]
    ndim = max(a.ndim for a in arrays)
    if isinstance(condition, NDArray) and condition.ndim == 1 and ndim > 1:
        condition = table["reshape"](condition, shape=(-1,) + (1,) * (ndim - 1))
    return select(condition, x, y)
