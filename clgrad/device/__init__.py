"""Devices: finding them, what each can do, and the ``with`` scope that selects one.

Importing this starts no OpenCL; the first use of a device does.

================  ==================================================================================
module            holds
================  ==================================================================================
``discovery``     the devices of this machine, in order of preference
``icd``           the vendors' libraries that the OpenCL loader is to load
``capabilities``  what a device can do, as planners see it
``quirks``        what is known of particular runtimes
``pocl_wheel``    makes PoCL's wheel compile for CPUs that are newer than its LLVM
``extensions``    functions of OpenCL's extensions that pyopencl does not bind
``host``          the CPU of this machine
``context``       MXNet's names of devices, and the scope that selects one
================  ==================================================================================
"""

from clgrad.device.capabilities import Capabilities
from clgrad.device.context import (
    Context,
    as_context,
    cpu,
    cpu_pinned,
    current_context,
    device,
    gpu,
    gpu_memory_info,
    num_gpus,
)
from clgrad.device.discovery import Device, devices

__all__ = [
    "Capabilities",
    "Context",
    "Device",
    "as_context",
    "cpu",
    "cpu_pinned",
    "current_context",
    "device",
    "devices",
    "gpu",
    "gpu_memory_info",
    "num_gpus",
]
