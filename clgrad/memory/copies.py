"""New arrays, and copies between them and the host."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pyopencl as cl

from clgrad.memory.layout import Layout
from clgrad.memory.storage import Storage
from clgrad.memory.stream import Stream
from clgrad.memory.view import View


def empty(stream: Stream, shape: tuple[int, ...], dtype: np.dtype, label: str = "array") -> View:
    """Uninitialised memory for an array."""
    layout = Layout(tuple(shape), dtype)
    return View(Storage(stream, layout.nbytes, label), 0, layout)


def upload(stream: Stream, host: np.ndarray, view: View) -> None:
    """Copy a C-contiguous host array of the view's dtype and size into it."""
    if view.size:
        with _on(stream, view):
            event = cl.enqueue_copy(
                _queue_to_copy(stream),
                view.storage.buffer,
                _bytes_of(np.ascontiguousarray(host)),
                dst_offset=view.offset * view.dtype.itemsize,
                is_blocking=True,
            )
            if stream.recorder is not None:
                stream.recorder.uploaded(host, view)
            if stream.observer is not None:
                stream.observer.copied(stream, "upload", view, event)


def download(stream: Stream, view: View) -> np.ndarray:
    """The view's elements as a new numpy array; waits for the device."""
    if stream.recorder is not None:
        stream.recorder.refuse_read()
    host = np.empty(view.shape, view.dtype)
    if view.size:
        with _on(stream, view):
            event = cl.enqueue_copy(
                _queue_to_copy(stream),
                _bytes_of(host),
                view.storage.buffer,
                src_offset=view.offset * view.dtype.itemsize,
                is_blocking=True,
            )
            if stream.observer is not None:
                stream.observer.copied(stream, "download", view, event)
    return host


def _bytes_of(host: np.ndarray) -> np.ndarray:
    """The memory of a C-contiguous array as bytes: not every dtype has Python's buffer protocol."""
    return host.reshape(-1).view(np.uint8)


def copy(stream: Stream, source: View, target: View) -> None:
    """Copy a view into another of the same layout."""
    if source.size:
        with _on(stream, source), _on(stream, target):
            event = cl.enqueue_copy(
                _queue_to_copy(stream),
                target.storage.buffer,
                source.storage.buffer,
                src_offset=source.offset * source.dtype.itemsize,
                dst_offset=target.offset * target.dtype.itemsize,
                byte_count=source.nbytes,
            )
            if stream.recorder is not None:
                stream.recorder.copied(source, target)
            if stream.observer is not None:
                stream.observer.copied(stream, "copy", source, event)


def _queue_to_copy(stream: Stream) -> cl.CommandQueue:
    if stream.observer is not None:
        stream.observer.begin(stream)
    return stream.queue


@contextlib.contextmanager
def _on(stream: Stream, view: View) -> Iterator[None]:
    foreign = view.storage.stream is not stream
    if foreign:
        view.storage.stream.finish()
    yield
    if foreign:
        stream.finish()
