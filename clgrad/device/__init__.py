"""Devices: finding them, what each can do, and the ``with`` scope that selects one.

Importing this starts no OpenCL; the first use of a device does.
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
