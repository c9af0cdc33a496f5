"""``clgrad devices``: the devices, and which of them is the default."""

import os

from clgrad import config
from clgrad.device import Device, current_context, devices

_HEADER = (
    "",
    "context",
    "name",
    "platform",
    "driver",
    "index",
    "fp64",
    "fp16",
    "subgroups",
    "tensor cores",
    "memory",
    "units",
)


def show_devices() -> int:
    """Print a table of the devices, marking the default and saying why it is the default.

    Returns
    -------
    int
        The exit status 0.

    Raises
    ------
    DeviceError
        There is no device, or none that ``CLGRAD_DEVICE`` names.
    """
    default = current_context()
    rows: list[tuple[str, ...]] = [_HEADER]
    rows += [_row(device, device is default.device) for device in devices()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    print(f"* {default} is the default: {_reason()}.")
    if config.limits():
        print(f"What devices report is lowered by CLGRAD_LIMITS={os.environ['CLGRAD_LIMITS']}.")
    return 0


def _reason() -> str:
    """Why the default device is the default."""
    if config.device():
        return f"CLGRAD_DEVICE is {config.device()!r}"
    return (
        "the first in order of preference (GPUs, then CPUs; faster runtimes first).\n"
        "  CLGRAD_DEVICE chooses another: a context, part of a name or platform, or an index"
    )


def _row(device: Device, is_default: bool) -> tuple[str, ...]:
    can = device.capabilities
    return (
        "*" if is_default else "",
        f"{device.kind}({device.index})",
        device.name,
        device.platform_name,
        device.driver_version,
        f"{device.platform_index}:{device.device_index}",
        _yes(can.fp64),
        _yes(can.fp16),
        _yes(can.subgroups),
        _yes(can.tensor_cores),
        f"{can.global_memory / 2**30:.1f} GiB",
        str(can.compute_units),
    )


def _yes(feature: bool) -> str:
    return "yes" if feature else "no"
