"""Arrays laid over memory."""

from collections.abc import Sequence

import numpy as np

from clgrad.device import Device
from clgrad.memory.layout import Layout
from clgrad.memory.storage import Storage


class View:
    """A C-contiguous array laid over a storage at an element offset."""

    __slots__ = ("layout", "offset", "storage")

    def __init__(self, storage: Storage, offset: int, layout: Layout):
        self.storage = storage
        self.offset = offset
        self.layout = layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.layout.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.layout.size

    @property
    def nbytes(self) -> int:
        """Bytes of the elements that this view covers."""
        return self.layout.nbytes

    @property
    def device(self) -> Device:
        """The device that holds the memory."""
        return self.storage.stream.device

    def reshaped(self, shape: tuple[int, ...], offset: int = 0) -> "View":
        """The same memory, from ``offset`` elements further on, under another shape."""
        return View(self.storage, self.offset + offset, Layout(shape, self.layout.dtype))

    def overlaps(self, other: "View") -> bool:
        """Whether some byte belongs to this view and to another of the same storage."""
        begin, start = self.offset * self.dtype.itemsize, other.offset * other.dtype.itemsize
        return max(begin, start) < min(begin + self.nbytes, start + other.nbytes)


def not_written(views: Sequence["View"]) -> None:
    """Take back that a write to each was counted: there was no memory for it, and nothing was enqueued."""
    for view in views:
        view.storage.version -= 1
