"""What a device can do, as the planners see it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyopencl as cl

from clgrad import config
from clgrad.device import host
from clgrad.device.extensions import has_command_buffers

#: Built-in functions of OpenCL C of which templates/elementary.cl.mako has versions of our own.
OWN_BUILTINS = frozenset(
    [
        "cos",
        "cosh",
        "erf",
        "exp",
        "expm1",
        "log",
        "log10",
        "log1p",
        "log2",
        "pow",
        "rsqrt",
        "sin",
        "sinh",
        "tan",
        "tanh",
    ]
)


@dataclass(frozen=True)
class Capabilities:
    """Limits and features of a device; what ``CLGRAD_LIMITS`` asks for is already subtracted.

    Example
    -------
    >>> from clgrad.device import devices
    >>> devices()[0].capabilities.max_work_group_size >= 64
    True
    """

    #: Work-items in a work-group, at most.
    max_work_group_size: int
    #: Bytes of local memory that a work-group may use.
    local_memory: int
    #: Compute units: cores of a CPU, multiprocessors of a GPU.
    compute_units: int
    #: Kernels may use ``double``.
    fp64: bool
    #: Kernels may do arithmetic in ``half`` (storing it needs nothing).
    fp16: bool
    #: Kernels may use sub-groups.
    subgroups: bool
    #: Width in bytes of the vectors that kernels should be written with: 64, 32 or 16.
    vector_bytes: int
    #: Bytes of the largest single buffer.
    max_allocation: int
    #: Bytes of memory that all buffers together may take.
    global_memory: int
    #: Bytes of all the arguments of a kernel together, at most.
    max_parameter_bytes: int
    #: Device and host share their memory.
    unified_memory: bool
    #: ``fma()`` is one instruction; otherwise it is a slow library call.
    fast_fma: bool
    #: Tensor cores that inline PTX can reach: those of NVIDIA's GPUs from compute capability 8.0 on.
    tensor_cores: bool = False
    #: Launches can be recorded in a command buffer, which enqueues them all at once.
    command_buffers: bool = False
    #: Built-in functions that are slow, or wrong in vectors: kernels bring their own (elementary.cl.mako).
    own_functions: frozenset[str] = frozenset()

    def limited(self, limits: dict[str, int]) -> "Capabilities":
        """Lower what is reported to ``limits``, keyed as ``CLGRAD_LIMITS`` is; nothing is raised.

        Parameters
        ----------
        limits : dict
            As :func:`clgrad.config.limits` returns them.

        Returns
        -------
        Capabilities
            A lowered copy.

        Example
        -------
        >>> small = capabilities.limited({"work_group": 64, "fp64": 0})  # doctest: +SKIP
        """
        return replace(
            self,
            max_work_group_size=min(
                self.max_work_group_size, limits.get("work_group", self.max_work_group_size)
            ),
            local_memory=min(self.local_memory, limits.get("local_memory", self.local_memory)),
            fp64=self.fp64 and bool(limits.get("fp64", 1)),
            fp16=self.fp16 and bool(limits.get("fp16", 1)),
            subgroups=self.subgroups and bool(limits.get("subgroups", 1)),
            tensor_cores=self.tensor_cores and bool(limits.get("tensor_cores", 1)),
            command_buffers=self.command_buffers and bool(limits.get("command_buffers", 1)),
            max_allocation=min(self.max_allocation, limits.get("memory", self.max_allocation)),
            global_memory=min(self.global_memory, limits.get("memory", self.global_memory)),
        )


def read_capabilities(cl_device: cl.Device, overrides: Mapping[str, Any]) -> Capabilities:
    """Ask the driver, correct what it gets wrong, and lower the result by ``CLGRAD_LIMITS``.

    Parameters
    ----------
    cl_device : pyopencl.Device
        The device to ask.
    overrides : mapping
        Fields of :class:`Capabilities` that the driver is known to misreport (see ``quirks.py``).

    Returns
    -------
    Capabilities
        What kernels may rely on. Of memory on the host, what this process is allowed to have.

    Raises
    ------
    DeviceError
        ``CLGRAD_LIMITS`` cannot be read.
    """
    extensions = set(cl_device.extensions.split())
    is_cpu = bool(cl_device.type & cl.device_type.CPU)
    host_limit = host.memory_limit() if is_cpu else None
    reported = Capabilities(
        max_work_group_size=cl_device.max_work_group_size,
        local_memory=cl_device.local_mem_size,
        compute_units=cl_device.max_compute_units,
        fp64="cl_khr_fp64" in extensions,
        fp16="cl_khr_fp16" in extensions,
        subgroups=_has_subgroups(cl_device, extensions),
        vector_bytes=_cpu_vector_bytes(cl_device) if is_cpu else 16,
        max_allocation=cl_device.max_mem_alloc_size,
        global_memory=cl_device.global_mem_size,
        max_parameter_bytes=cl_device.max_parameter_size,
        unified_memory=bool(cl_device.host_unified_memory),
        fast_fma=bool(cl_device.single_fp_config & cl.device_fp_config.FMA),
        tensor_cores=_has_tensor_cores(cl_device, extensions),
        command_buffers=has_command_buffers(cl_device),
    )
    limits = config.limits()
    if host_limit is not None:
        limits["memory"] = min(host_limit, limits.get("memory", host_limit))
    return replace(reported, **overrides).limited(limits)


def _cpu_vector_bytes(cl_device: cl.Device) -> int:
    """Width of the SIMD registers: the native width; the preferred one may say 1 (Intel does)."""
    return min(max(4 * cl_device.native_vector_width_float, 16), 64)


def _has_subgroups(cl_device: cl.Device, extensions: set[str]) -> bool:
    """Sub-groups are an extension before OpenCL 2.1 and optional again since 3.0."""
    if extensions & {"cl_khr_subgroups", "cl_intel_subgroups"}:
        return True
    try:
        return bool(cl_device.max_num_sub_groups)
    except (cl.Error, AttributeError):
        return False


def _has_tensor_cores(cl_device: cl.Device, extensions: set[str]) -> bool:
    """By NVIDIA's compute capability: ``cp.async``, and tensor cores with bf16 and tf32, came with 8.0."""
    if "cl_nv_device_attribute_query" not in extensions:
        return False
    try:
        return bool(cl_device.compute_capability_major_nv >= 8)
    except (cl.Error, AttributeError):
        return False
