"""Finding OpenCL devices: once per process, on first use, in order of preference."""

import atexit
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyopencl as cl

from clgrad import config
from clgrad.device.capabilities import Capabilities, read_capabilities
from clgrad.device.host import cpu_fingerprint
from clgrad.device.icd import vendor_folder
from clgrad.device.quirks import Quirks, quirks_of
from clgrad.errors import DeviceError

_NO_DEVICE = (
    "no OpenCL device was found. To run on this machine's CPU:\n"
    '    pip install "clgrad[cpu]"\n'
    "(or one of its runtimes: clgrad[intel], clgrad[pocl]). A GPU needs its vendor's driver.\n"
    "What is wrong with the drivers that are installed, says:\n"
    "    clgrad doctor"
)

_FORKED = (
    "this process was forked from one that had started OpenCL, and OpenCL drivers do not work "
    'across a fork. Start workers with multiprocessing.get_context("spawn"), let them return numpy '
    "arrays, or fork before a device is first used"
)


class Device:
    """An OpenCL device; one object for each, made by :func:`devices`.

    Attributes
    ----------
    name, vendor, platform_name, platform_version, driver_version : str
        What the driver says.
    kind : str
        ``'gpu'`` for GPUs and accelerators, ``'cpu'`` for CPUs.
    index : int
        Number within its kind in order of preference: it is ``cpu(index)`` or ``gpu(index)``.
    platform_index, device_index : int
        Number of its platform, among platforms by name and version, and its number there: the same
        in every process, while a loader lists platforms in any order.
    cl_device : pyopencl.Device
        The same, as pyopencl's object.
    capabilities : Capabilities
        What kernels may rely on.
    quirks : Quirks
        Where the device differs from what it says.
    build_options : tuple of str
        Options for every program that is built for the device.
    fingerprint : str
        For cache keys: differs between any two devices whose compiled programs may differ.

    Example
    -------
    >>> from clgrad.device import devices
    >>> device = devices()[0]
    >>> device.kind in ("cpu", "gpu")
    True
    """

    def __init__(self, cl_device: cl.Device, platform_index: int, device_index: int) -> None:
        platform = cl_device.platform
        self.name = _plain(cl_device.name)
        self.vendor = _plain(cl_device.vendor)
        self.platform_name = _plain(platform.name)
        self.platform_version = _plain(platform.version)
        self.driver_version = _plain(cl_device.driver_version)
        # A simulator may claim all types at once (Oclgrind does): it runs on the CPU.
        self.kind = "cpu" if cl_device.type & cl.device_type.CPU else "gpu"
        self.index = -1  # counted when all devices are known
        self.platform_index = platform_index
        self.device_index = device_index
        self.cl_device = cl_device
        self.quirks: Quirks = quirks_of(cl_device)
        self.capabilities: Capabilities = read_capabilities(cl_device, self.quirks.overrides)
        self.build_options = self.quirks.build_options
        self.fingerprint = "|".join((*self.identity, self.quirks.target_cpu))
        if self.kind == "cpu":
            self.fingerprint += f"|{cpu_fingerprint()}"
        self._lock = threading.Lock()
        self._cl_context: cl.Context | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What the driver calls the device; the same in every process."""
        return self.platform_name, self.platform_version, self.name, self.driver_version

    @property
    def platform_description(self) -> str:
        """Name, vendor and version of the device's platform."""
        vendor = _plain(self.cl_device.platform.vendor)
        return f"{self.platform_name} {vendor} {self.platform_version}"

    @property
    def cl_context(self) -> cl.Context:
        """The device's OpenCL context, created when it is first asked for.

        Raises
        ------
        DeviceError
            The process was forked from one that had started OpenCL, or the driver refuses.
        """
        if self._cl_context is None:
            _refuse_fork()
            with self._lock:
                if self._cl_context is None:
                    try:
                        self._cl_context = cl.Context([self.cl_device])
                    except cl.Error as error:
                        raise DeviceError(f"{self!r} gives no OpenCL context: {error}") from error
        return self._cl_context

    def __repr__(self) -> str:
        return f"<{self.kind}({self.index}): {self.name}, {self.platform_name}>"


class _State:
    """What this process knows of OpenCL."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.started = False
        self.forked = False
        self.devices: list[Device] | None = None


_state = _State()

#: OpenCL objects that a forked child inherited; releasing them there could hang, so they are kept.
_inherited: list[object] = []


def devices() -> list[Device]:
    """All devices, the preferred one first. The first call starts OpenCL.

    Discrete GPUs and accelerators come before integrated GPUs, and these before CPUs; in each
    class, faster runtimes come first, then devices with more compute units and a higher clock.

    Returns
    -------
    list of Device
        At least one.

    Raises
    ------
    DeviceError
        There is no device; or the process was forked from one that had started OpenCL; or
        ``CLGRAD_LIMITS`` cannot be read.

    Example
    -------
    >>> from clgrad.device import devices
    >>> [device.name for device in devices() if device.capabilities.fp64]  # doctest: +SKIP
    ['AMD EPYC']
    """
    _refuse_fork()
    with _state.lock:
        if _state.devices is None:
            _state.started = True
            _state.devices = _discover()
        return list(_state.devices)


def _discover() -> list[Device]:
    with vendor_folder(), _driver_caches():
        try:
            platforms = cl.get_platforms()
        except cl.Error as error:  # how a loader says that it found no driver
            raise DeviceError(_NO_DEVICE) from error
    # A loader may list a platform twice; but two equal GPUs in one platform are two devices.
    distinct: dict[tuple[str, ...], list[cl.Device]] = {}
    for platform in platforms:
        cl_devices = _usable_devices(platform)
        names = [f"{cl_device.name} {cl_device.driver_version}" for cl_device in cl_devices]
        if cl_devices:
            distinct.setdefault((platform.name, platform.version, *names), cl_devices)
    found = [
        device
        for platform_index, key in enumerate(sorted(distinct))
        for device in _describe(distinct[key], platform_index)
    ]
    if not found:
        raise DeviceError(_NO_DEVICE)
    found.sort(key=_preference)
    for kind in ("cpu", "gpu"):
        for index, device in enumerate(device for device in found if device.kind == kind):
            device.index = index
    return found


@contextmanager
def _driver_caches() -> Iterator[None]:
    """Within, runtimes that keep built programs themselves learn where, unless the user has told them.

    PoCL reads its variables once, when its devices are asked for. Nothing is left for other processes.
    """
    folder = config.cache_dir()
    name = "POCL_CACHE_DIR" if folder else "POCL_KERNEL_CACHE"
    if name in os.environ:
        yield
        return
    if folder is None:
        value = "0"
    elif _writable(folder / "pocl"):
        value = str(folder / "pocl")
    else:  # without a folder, PoCL has no devices
        value = tempfile.mkdtemp(prefix="clgrad-pocl-")
        atexit.register(shutil.rmtree, value, ignore_errors=True)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _usable_devices(platform: cl.Platform) -> list[cl.Device]:
    """The devices of a platform that can be given work."""
    try:
        found = platform.get_devices()
        return [device for device in found if device.available and device.compiler_available]
    except cl.Error:  # how some drivers say that they have none
        return []


def _describe(cl_devices: list[cl.Device], platform_index: int) -> Iterator[Device]:
    """The devices of a platform, without those whose driver cannot tell what they are."""
    for device_index, cl_device in enumerate(cl_devices):
        try:
            yield Device(cl_device, platform_index, device_index)
        except cl.Error as error:
            warnings.warn(f"clgrad ignores {cl_device!r}: {error}", RuntimeWarning, stacklevel=2)


def _preference(device: Device) -> tuple[int, int, int]:
    """Sort key: class of device, then speed of its runtime, then its size."""
    integrated = device.capabilities.unified_memory
    device_class = 2 if device.kind == "cpu" else 1 if integrated else 0
    clock = max(device.cl_device.max_clock_frequency, 1)  # Intel's CPU runtime says 0
    return device_class, device.quirks.rank, -device.capabilities.compute_units * clock


def _plain(text: str) -> str:
    """Without the blanks and NULs that drivers pad their strings with."""
    return " ".join(text.replace("\0", " ").split())


def _refuse_fork() -> None:
    if _state.forked:
        raise DeviceError(_FORKED)


def _after_fork_in_child() -> None:
    """Forget what does not survive the fork, so that its next use ends in a clear error."""
    _state.lock = threading.Lock()  # another thread of the parent may have held it
    _state.forked = _state.forked or _state.started
    if _state.devices is not None:
        for device in _state.devices:
            _inherited.append(device._cl_context)
            device._cl_context = None
            device._lock = threading.Lock()
        _inherited.append(_state.devices)
        _state.devices = None


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
