"""Command buffers: launches that are recorded once on the device's side, and enqueued by one call.

They come with ``cl_khr_command_buffer``. A buffer keeps the kernels' arguments as they were when it was
recorded, so it is for launches whose arguments stay the same. (``cl_khr_command_buffer_mutable_dispatch``
could change them, but not for free: docs/performance.md.)
"""

import ctypes
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

import pyopencl as cl

from clgrad import config
from clgrad.device import Device
from clgrad.device.extensions import command_buffer_functions
from clgrad.errors import DeviceError
from clgrad.graph.binding import Bound, Work

#: Launches from which on a command buffer may pay: to enqueue it takes some 3 us on Intel's CPU runtime.
SHORTEST = 3

#: Launches in one command buffer, at most: what is in flight is bounded by counting it.
LONGEST = 128


def wanted(device: Device) -> bool:
    """Whether replays use command buffers: a device has them, and they pay, or the user wants them."""
    if not device.capabilities.command_buffers:
        return False
    chosen = config.command_buffers()
    return not device.quirks.slow_command_buffers if chosen is None else chosen


class CommandBuffer:
    """Launches and copies that are enqueued together.

    Parameters
    ----------
    device : Device
        With ``capabilities.command_buffers``.
    queue : pyopencl.CommandQueue
        The in-order queue that it will be enqueued to.
    work : sequence of Bound or BoundCopy
        Whose arguments are set.

    Raises
    ------
    DeviceError
        The runtime refuses.
    """

    def __init__(self, device: Device, queue: cl.CommandQueue, work: Sequence[Work]):
        self._handle: int | None = None
        self._process, self._getpid = os.getpid(), os.getpid
        self._functions = functions = command_buffer_functions(device.cl_device.platform)
        self.work = tuple(work)  # whose kernels it needs
        #: How many launches and copies it holds.
        self.launches = sum(w.launches for w in work)
        created = ctypes.c_int32(0)
        queues = (ctypes.c_void_p * 1)(queue.int_ptr)
        handle = functions.CreateCommandBuffer(1, queues, None, ctypes.byref(created))
        _check("clCreateCommandBufferKHR", created.value)
        self._handle = handle
        for w in work:
            if isinstance(w, Bound):
                self._record_launches(w)
            else:
                source, target, *numbers = w.place
                buffers = source.int_ptr, target.int_ptr
                status = functions.CommandCopyBuffer(
                    handle, None, None, *buffers, *numbers, 0, None, None, None
                )
                _check("clCommandCopyBufferKHR", status)
        _check("clFinalizeCommandBufferKHR", functions.FinalizeCommandBuffer(handle))

    def _record_launches(self, bound: Bound) -> None:
        for prepared in bound.prepared:
            step = prepared.step
            ranges = step.global_size, step.local_size
            sizes = [None if x is None else (ctypes.c_size_t * len(x))(*x) for x in ranges]
            status = self._functions.CommandNDRangeKernel(
                *(self._handle, None, None, prepared.kernel.int_ptr, len(step.global_size), None, *sizes),
                *(0, None, None, None),
            )
            _check(f"clCommandNDRangeKernelKHR of {step.kernel}", status)

    def enqueue(self) -> None:
        """Enqueue all of it.

        Raises
        ------
        DeviceError
            The runtime refuses; nothing has been enqueued.
        """
        status = self._functions.EnqueueCommandBuffer(0, None, self._handle, 0, None, None)
        if status:
            _check("clEnqueueCommandBufferKHR", status)

    def __del__(self) -> None:
        # Runtimes keep what is in flight until it has run. A forked child may not call them.
        if self._handle is not None and self._getpid() == self._process:
            self._functions.ReleaseCommandBuffer(self._handle)


def _check(function: str, status: int) -> None:
    if status:
        raise DeviceError(f"{function}: status {status}")


def runs(work: Iterable[Work]) -> Iterator[tuple[bool, list[Work]]]:
    """Launches and copies in order, in runs of which each fits a command buffer, or does not.

    Examples
    --------
    >>> [(fits, len(run)) for fits, run in runs([])]
    []
    """
    for is_fixed, members in itertools.groupby(work, key=lambda w: w.is_fixed):
        run: list[Work] = []
        for w in members:
            if run and sum(x.launches for x in run) + w.launches > LONGEST:
                yield _fits(is_fixed, run), run
                run = []
            run.append(w)
        yield _fits(is_fixed, run), run


def _fits(is_fixed: bool, run: Sequence[Work]) -> bool:
    return is_fixed and sum(w.launches for w in run) >= SHORTEST
