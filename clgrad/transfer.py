"""Copies to a device that do not wait for the work that is enqueued there: through a queue of their own."""

import numpy as np
import pyopencl as cl

from clgrad.errors import DeviceMemoryError
from clgrad.memory import Layout, Storage, Stream, View


class Lane:
    """A second queue to the device of a stream; any one thread at a time may copy through it.

    The memory comes from the driver and not from the stream's pool, whose free blocks may still be read by
    what is enqueued: so a copy can begin at once. The driver keeps memory as long as launches use it, so
    it may be let go of at any time, too. What has arrived belongs to the stream.
    """

    def __init__(self, stream: Stream):
        self._stream = stream
        self._queue = cl.CommandQueue(stream.device.cl_context, stream.device.cl_device)

    def upload(self, host: np.ndarray) -> View:
        """A copy of a host array on the device, once it has arrived.

        Raises
        ------
        DeviceMemoryError
            The device has no room for it.
        """
        host = np.ascontiguousarray(host)
        layout = Layout(host.shape, host.dtype)
        if not host.size:
            return View(Storage(self._stream, 0, "batch"), 0, layout)
        device = self._stream.device
        of_stream = self._stream.observer
        observer = None if of_stream is None else of_stream.beside()
        queue = None if observer is None else observer.begin()
        try:
            buffer = cl.Buffer(device.cl_context, cl.mem_flags.READ_WRITE, host.nbytes)
            source = host.reshape(-1).view(np.uint8)
            event = cl.enqueue_copy(queue or self._queue, buffer, source, is_blocking=True)
        except cl.Error as error:
            raise DeviceMemoryError(
                f"a batch of {host.nbytes:,} bytes does not fit on {device.name} ({error})"
            ) from error
        view = View(Storage.holding(self._stream, buffer, host.nbytes, "batch"), 0, layout)
        if observer is not None:
            observer.copied(view, event)
        return view
