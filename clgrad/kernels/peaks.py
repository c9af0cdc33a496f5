"""What a device can do at best: bytes copied and multiply-adds done in a second, measured."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyopencl as cl

from clgrad.device import Device
from clgrad.errors import DeviceMemoryError, KernelError
from clgrad.kernels import program
from clgrad.memory import Stream, current_stream

#: Chains of multiply-adds that do not wait for each other. Two fused units that take 4 cycles need 8.
_CHAINS = 12
#: Multiply-adds of each chain in one launch.
_STEPS = 20_000
#: Work-items for each compute unit of a GPU, and in a work-group.
_ITEMS, _GROUP = 2048, 256
#: Bytes of a copy that is to measure memory rather than a cache.
_COPIED = 1 << 26
#: Seconds that a launch should take, for the host to time it; launches that are timed.
_SECONDS, _TIMES = 2e-3, 12

_COPY = """
__kernel void copy(__global const {vector} *x, __global {vector} *y, const ulong count)
{{
  const ulong share = {share};
  for (ulong i = {first}; i < {last}; i += {step})
    y[i] = x[i];
}}
"""

_MULTIPLY_ADD = """
__kernel void multiply_add(__global float *y, const int steps)
{{
  const {vector} factor = ({vector})(0.999f), summand = ({vector})(1e-3f);
  {start}
  for (int i = 0; i < steps; ++i) {{
    {step}
  }}
  const {vector} sum = {sum};
  y[get_global_id(0)] = {total};
}}
"""


class Peaks(NamedTuple):
    """What a device does at best.

    Attributes
    ----------
    bandwidth : float
        Bytes in a second, read and written, by a copy.
    rate : float
        Float32 additions and multiplications in a second.
    """

    bandwidth: float
    rate: float

    def seconds(self, nbytes: int, operations: int) -> float:
        """What work takes at least (the roofline model)."""
        return max(nbytes / self.bandwidth, operations / self.rate)


@dataclass(frozen=True)
class Load:
    """One launch that is bound by one thing alone.

    Attributes
    ----------
    call : callable
        Enqueues it.
    traffic, operations : int
        Bytes that it reads and writes; floating-point additions and multiplications.
    buffers : sequence
        Its memory: a kernel does not hold its arguments.
    """

    call: Callable[[], object]
    traffic: int
    operations: int
    buffers: Sequence[object]


_measured: dict[Device, Peaks | None] = {}
_lock = threading.Lock()


def measured(device: Device) -> Peaks | None:
    """What the device does at best, measured at the first call, in a tenth of a second on a fast device.

    None where there is no memory for it.
    """
    with _lock:
        if device not in _measured:
            try:
                _measured[device] = _measure(current_stream(device))
            except (DeviceMemoryError, KernelError, cl.Error):
                _measured[device] = None
        return _measured[device]


def _measure(stream: Stream) -> Peaks:
    capabilities = stream.device.capabilities
    room = min(capabilities.max_allocation, capabilities.global_memory // 16)
    nbytes = _grown(stream, lambda n: copy(stream, n)[0], 1 << 20, min(_COPIED, room >> 20 << 20))
    copies = [_seconds(stream, load, _TIMES) for load in copy(stream, nbytes)]
    steps = _grown(stream, lambda n: multiply_add(stream, n), _STEPS // 100, _STEPS)
    load = multiply_add(stream, steps)
    return Peaks(2 * nbytes / min(copies), load.operations / _seconds(stream, load, _TIMES))


def _grown(stream: Stream, make: Callable[[int], Load], size: int, most: int) -> int:
    """A size at which a launch takes long enough to be timed, or the largest."""
    while size < most and _seconds(stream, make(size), 2) < _SECONDS:
        size = min(4 * size, most)
    return size


def _seconds(stream: Stream, load: Load, times: int) -> float:
    """The shortest of some launches, after one to warm up."""
    best = math.inf
    for _ in range(1 + times):
        stream.finish()
        start = time.perf_counter()
        load.call()
        stream.finish()
        best = min(best, time.perf_counter() - start)
    return best


def copy(stream: Stream, nbytes: int) -> list[Load]:
    """A buffer of ``nbytes`` copied: by a kernel, and by the driver. The better one counts."""
    device = stream.device
    source, target = (stream.allocate(nbytes) for _ in range(2))
    cl.enqueue_fill_buffer(stream.queue, source, np.float32(1), 0, nbytes)
    kernel, items, group = _copy_kernel(device)
    kernel.set_args(source, target, np.uint64(nbytes // (4 * _width(device))))

    def by_kernel() -> None:
        cl.enqueue_nd_range_kernel(stream.queue, kernel, (items,), (group,))

    def by_driver() -> None:
        cl.enqueue_copy(stream.queue, target, source, byte_count=nbytes)

    traffic, buffers = 2 * nbytes, (source, target)
    return [Load(by_kernel, traffic, 0, buffers), Load(by_driver, traffic, 0, buffers)]


def _copy_kernel(device: Device) -> tuple[cl.Kernel, int, int]:
    items, group = _ranges(device)
    share = "(count + get_global_size(0) - 1) / get_global_size(0)"
    id_, size = "(ulong)get_global_id(0)", "get_global_size(0)"
    if device.kind == "cpu":  # a part of its own for each core, neighbours for neighbours on a GPU
        loop = {"first": f"{id_} * share", "last": f"min(count, ({id_} + 1) * share)", "step": "1"}
    else:
        loop = {"first": id_, "last": "count", "step": size}
    source = _COPY.format(vector=_vector(device), share=share, **loop)
    return program.kernel(device, "copy", source), items, group


def multiply_add(stream: Stream, steps: int = _STEPS) -> Load:
    """Independent chains of float32 multiply-adds, as many as keep the device's units busy."""
    kernel, items, group = _multiply_add_kernel(stream.device)
    result = stream.allocate(4 * items)
    kernel.set_args(result, np.int32(steps))

    def run() -> None:
        cl.enqueue_nd_range_kernel(stream.queue, kernel, (items,), (group,))

    return Load(run, 0, 2 * _CHAINS * _width(stream.device) * steps * items, (result,))


def _multiply_add_kernel(device: Device) -> tuple[cl.Kernel, int, int]:
    vector, width = _vector(device), _width(device)
    names = [f"a{i}" for i in range(_CHAINS)]
    form = "fma({0}, factor, summand)" if device.capabilities.fast_fma else "{0} * factor + summand"
    source = _MULTIPLY_ADD.format(
        vector=vector,
        start=" ".join(
            f"{vector} {a} = ({vector})(get_global_id(0) + {i}.0f);" for i, a in enumerate(names)
        ),
        step=" ".join(f"{a} = {form.format(a)};" for a in names),
        sum=" + ".join(names),
        total=" + ".join(f"sum.s{i:x}" for i in range(width)),
    )
    return program.kernel(device, "multiply_add", source), *_ranges(device)


def _ranges(device: Device) -> tuple[int, int]:
    """Global and local size."""
    units = device.capabilities.compute_units
    if device.kind == "cpu":
        return units, 1
    group = min(_GROUP, device.capabilities.max_work_group_size)
    return units * _ITEMS // group * group, group


def _width(device: Device) -> int:
    """Elements of a float32 vector: the registers of a CPU, 16 bytes on a GPU for its memory."""
    return device.capabilities.vector_bytes // 4 if device.kind == "cpu" else 4


def _vector(device: Device) -> str:
    return f"float{_width(device)}"
