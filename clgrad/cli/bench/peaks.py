"""What a device can do at best: bytes copied and multiply-adds done in a second, measured."""

import numpy as np
import pyopencl as cl

from clgrad.cli.bench.workloads import Workload
from clgrad.device import Device
from clgrad.kernels import program
from clgrad.memory import Stream

#: Chains of multiply-adds that do not wait for each other. Two fused units that take 4 cycles need 8.
_CHAINS = 12
#: Multiply-adds of each chain in one launch.
_STEPS = 20_000
#: Work-items for each compute unit of a GPU, and in a work-group.
_ITEMS, _GROUP = 2048, 256

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


def copy(stream: Stream, nbytes: int) -> list[Workload]:
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

    traffic = 2 * nbytes
    return [
        Workload("copy by a kernel", "peak", by_kernel, traffic, 0),
        Workload("copy by the driver", "peak", by_driver, traffic, 0),
    ]


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


def multiply_add(stream: Stream) -> Workload:
    """Independent chains of float32 multiply-adds, as many as keep the device's units busy."""
    kernel, items, group = _multiply_add_kernel(stream.device)
    kernel.set_args(stream.allocate(4 * items), np.int32(_STEPS))

    def run() -> None:
        cl.enqueue_nd_range_kernel(stream.queue, kernel, (items,), (group,))

    return Workload("multiply-adds", "peak", run, 0, 2 * _CHAINS * _width(stream.device) * _STEPS * items)


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
