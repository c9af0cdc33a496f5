"""Shapes with dtypes."""

import math
import sys
from typing import ClassVar

import numpy as np


class Layout:
    """Shape and dtype of a C-contiguous array. One object for each: compared and hashed by identity."""

    __slots__ = ("dtype", "nbytes", "shape", "size")
    dtype: np.dtype
    nbytes: int
    shape: tuple[int, ...]
    size: int
    _interned: ClassVar[dict[tuple, "Layout"]] = {}
    #: How many there are when those that nobody holds are forgotten: twice as many as there were then.
    _limit: ClassVar[int] = 4096

    def __new__(cls, shape: tuple[int, ...], dtype: np.dtype) -> "Layout":
        """The object of this shape and dtype, made at its first mention."""
        layout = cls._interned.get((shape, dtype))
        if layout is None:
            layout = super().__new__(cls)
            layout.shape = shape
            layout.dtype = dtype
            layout.size = math.prod(shape)
            layout.nbytes = layout.size * dtype.itemsize
            if len(cls._interned) >= cls._limit:
                cls._forget()
            layout = cls._interned.setdefault((shape, dtype), layout)
        return layout

    @classmethod
    def _forget(cls) -> None:
        # If another thread asks for one of them right now, there are two of it: some call is planned twice.
        for key in list(cls._interned):
            if sys.getrefcount(cls._interned.get(key)) <= 2:  # the dictionary's, and that of this call
                cls._interned.pop(key, None)
        cls._limit = max(cls._limit, 2 * len(cls._interned))

    def __iter__(self):
        """Unpack as (shape, dtype)."""
        yield self.shape
        yield self.dtype
