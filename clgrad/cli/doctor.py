"""``clgrad doctor``: what is wrong with the OpenCL set-up, and what to type to mend it."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path

from clgrad.cli.child import in_child
from clgrad.device import icd
from clgrad.device.icd import Driver

_INTEL_LIBRARY = "libintelocl"
_LEAVE_OUT = (
    "copy the .icd files of the drivers that work to a folder, and\nexport OCL_ICD_VENDORS=THAT_FOLDER"
)
_REINSTALL_INTEL = "pip install --force-reinstall intel-opencl-rt intel-cmplr-lib-rt"


def examine() -> int:
    """Examine drivers, devices and permissions, and print what was found.

    Returns
    -------
    int
        The exit status: 0 if there is a device that computes, else 1.
    """
    print(versions())
    print("\nDrivers")
    _examine_drivers()
    print("\nDevices")
    usable = _examine_devices()
    print("\nAccess to GPUs")
    _examine_gpu_access()
    print()
    if usable:
        print(f"clgrad can run: {usable} usable device{'s' if usable > 1 else ''}.")
        return 0
    print("clgrad cannot run: there is no usable device.")
    return 1


def _report(status: str, subject: str, *details: str) -> None:
    print(f"  {status:6}  {subject}")
    for detail in details:
        for line in detail.splitlines():
            print(f"          {line}")


def versions() -> str:
    """clgrad's version, and those of the packages and the platform below it."""
    packages = [f"{name} {_version(name)}" for name in ("clgrad", "pyopencl", "numpy")]
    return ", ".join([*packages, f"Python {platform.python_version()}", platform.platform()])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _examine_drivers() -> None:
    """Try each driver alone."""
    vendors = icd.user_vendors()
    if vendors:
        _report("note", f"OCL_ICD_VENDORS is {vendors}", "Only the drivers there are used.")
    drivers = [*icd.user_drivers(), *icd.installed_drivers()]
    if not drivers:
        _report("none", "no .icd file was found", 'To mend it: pip install "clgrad[cpu]"')
    for driver in drivers:
        # pyopencl's loader takes the drivers beside it whatever the variable says.
        if vendors and driver.source in ("system", "pip"):
            _report("unused", _subject(driver), "OCL_ICD_VENDORS is set")
        else:
            _examine_driver(driver)
    if _version("intel-opencl-rt") != "(not installed)" and not any(
        _INTEL_LIBRARY in driver.library and driver.source == "pip" for driver in drivers
    ):
        _report(
            "FAILS",
            "the package intel-opencl-rt",
            "Its library is missing; `pip install --target` leaves it out.",
            f"To mend it: {_REINSTALL_INTEL}",
        )


def _examine_driver(driver: Driver) -> None:
    mended = [f"The file names {driver.named}, which does not exist; clgrad mends that."]
    details = mended if driver.library != driver.named and driver.source == "pip" else []
    outcome = in_child("try_driver", driver.library, driver.source)
    if outcome.error:
        remedy = f"To mend it: {_remedy(driver, outcome.error)}"
        _report("FAILS", _subject(driver), *details, outcome.error, remedy)
    elif outcome.result:
        _report("ok", _subject(driver), *details, *outcome.result)
    else:
        _report("empty", _subject(driver), *details, "It loads, but has no device.", _hint(driver))


def _subject(driver: Driver) -> str:
    return f"{driver.icd} ({driver.source}): {driver.library}"


def _remedy(driver: Driver, error: str) -> str:
    """What to type when a driver does not load."""
    missing = re.match(r"([^:]+): cannot open shared object", error)
    if missing and driver.source == "OCL_ICD_VENDORS":
        return f"unset OCL_ICD_VENDORS (or correct {driver.icd})"
    if missing and _INTEL_LIBRARY in driver.library:
        return _REINSTALL_INTEL
    if missing and missing[1] == driver.library:
        return f"install the driver again, or, if it is gone for good: sudo rm {driver.icd}"
    if missing:
        return f"install the package that has {missing[1]}; on Debian: apt-file search {missing[1]}"
    return _LEAVE_OUT


def _hint(driver: Driver) -> str:
    """Why a driver that loads may have no device."""
    name = driver.library.lower()
    if "rusticl" in name:
        return (
            "Mesa's rusticl wants to be asked: export RUSTICL_ENABLE=llvmpipe\n"
            "(or, for a GPU, the name of its Mesa driver: iris, radeonsi, nouveau, ...)"
        )
    if "mesaopencl" in name:
        return "That is normal: Clover serves old AMD GPUs alone."
    if "nvidia" in name:
        return (
            "`nvidia-smi` must list the GPU. In a container: docker run --gpus all \\\n"
            "    -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ..."
        )
    return "There is no hardware for it, or no access to it (see below)."


def _examine_devices() -> int:
    """List the devices, run a kernel on each, and count those that compute right."""
    outcome = in_child("list_devices")
    if outcome.error:
        failing_driver = f"If a driver above does so, too: {_LEAVE_OUT}"
        _report("FAILS", "listing the devices", outcome.error, failing_driver)
        return 0
    usable = 0
    for found in outcome.result:
        subject = f"{found['context']}: {found['name']}"
        error = in_child("run_kernel", found["context"]).error
        if error:
            _report("FAILS", subject, error)
        else:
            _report("ok", subject, "A kernel builds, runs, and computes right.")
            usable += 1
    return usable


def _examine_gpu_access() -> None:
    """Say which GPU nodes this user may not open, and which group would let them."""
    nodes = _gpu_nodes()
    if not nodes:
        _report("none", "there is no /dev/dri/renderD*, /dev/kfd or /dev/nvidiactl")
    for node in nodes:
        if os.access(node, os.R_OK | os.W_OK):
            _report("ok", f"{node} can be opened")
        else:
            group = _group(node)
            _report(
                "FAILS",
                f"{node} cannot be opened: you are not in the group {group}",
                f"To mend it: sudo usermod -aG {group} $USER",
                "and log in again.",
            )


def _gpu_nodes() -> list[Path]:
    """The files by which Linux gives programs access to GPUs."""
    nodes = [*sorted(Path("/dev/dri").glob("renderD*")), Path("/dev/kfd"), Path("/dev/nvidiactl")]
    return [node for node in nodes if node.exists()]


def _group(node: Path) -> str:
    try:
        return node.group()
    except KeyError:  # a container without the host's groups
        return str(node.stat().st_gid)
