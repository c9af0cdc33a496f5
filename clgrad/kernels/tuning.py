"""Which parameters a kernel family has on a device.

The first that fits is taken, of

1. the user's own file (``CLGRAD_TUNING``, written by ``clgrad tune``),
2. the files that clgrad brings along (``clgrad/tuned/*.json``),
3. the safe default.

Within 1 and within 2, an entry for the very device and driver comes before one for its architecture, that
before one for the vendor, and that before one for the class of devices. What an entry says is checked
against the device; where it does not hold, a warning says so and the next entry is taken. Reading the files
is all that is ever done here: nothing is measured on first use. A process keeps what it has chosen, so
plans need not say it in their keys.
"""

import functools
import platform
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyopencl as cl

from clgrad import config
from clgrad.device import Device
from clgrad.kernels import database
from clgrad.kernels.database import Entry
from clgrad.kernels.parameters import P, Tunables

_SHIPPED = Path(__file__).resolve().parents[1] / "tuned"


@dataclass(frozen=True)
class Choice:
    """Parameters, and where they come from."""

    parameters: Tunables
    source: str


_choices: dict[tuple[Device, type[Tunables], Path | None], Choice] = {}
_forced: dict[type[Tunables], Tunables] = {}
_lock = threading.Lock()


def of(device: Device, kind: type[P]) -> P:
    """The parameters of a family on a device.

    Parameters
    ----------
    device : Device
    kind : type
        Class of the parameters (``parameters.py``).

    Returns
    -------
    Tunables
        Of that class; the device can run them.

    Example
    -------
    >>> from clgrad.device import devices
    >>> from clgrad.kernels.parameters import MapCpu
    >>> of(devices()[0], MapCpu).items_per_unit >= 1
    True
    """
    if kind in _forced:
        return cast(P, _forced[kind])
    return cast(P, choose(device, kind).parameters)


def choose(device: Device, kind: type[Tunables]) -> Choice:
    """The same, with the place where the parameters were found."""
    key = device, kind, config.tuning_file()
    choice = _choices.get(key)
    if choice is None:
        with _lock:
            choice = _choices.get(key) or _choose(device, kind, key[2])
            _choices[key] = choice
    return choice


@contextmanager
def forced(*parameters: Tunables) -> Iterator[None]:
    """Within, these parameters hold on every device, whatever files say.

    For tuning and tests, which make their own plans: those that a stream keeps know nothing of it.
    """
    _forced.update({type(p): p for p in parameters})
    try:
        yield
    finally:
        for p in parameters:
            _forced.pop(type(p), None)


def forget() -> None:
    """Read the files anew at the next use."""
    with _lock:
        _choices.clear()
        _read.cache_clear()


def identity(device: Device) -> dict[str, str]:
    """What entries can name of a device."""
    gpu = "integrated gpu" if device.capabilities.unified_memory else "gpu"
    return {
        "class": "cpu" if device.kind == "cpu" else gpu,
        "vendor": device.vendor,
        "architecture": architecture(device),
        "platform": device.platform_name,
        "device": device.name,
        "driver": device.driver_version,
    }


def architecture(device: Device) -> str:
    """What devices have in common for which the same code is good.

    For a CPU, its machine language, the width of its vectors and the runtime that compiles for it: two
    of one name may differ in these (virtual machines call all of a maker's CPUs the same). For NVIDIA's
    GPUs the compute capability; for others the name, which at AMD is the architecture.
    """
    if device.kind == "cpu":
        bits = 8 * device.capabilities.vector_bytes
        return f"{platform.machine()}, {bits}-bit vectors, {device.platform_name}"
    try:
        major = device.cl_device.compute_capability_major_nv
        return f"sm_{major}{device.cl_device.compute_capability_minor_nv}"
    except (cl.Error, AttributeError):
        return device.name


def _choose(device: Device, kind: type[Tunables], own: Path | None) -> Choice:
    default = Choice(kind.default(device.capabilities), "safe default")
    if own is None:
        return default
    known = identity(device)
    for file in (own, *sorted(_SHIPPED.glob("*.json"))):
        entries = [e for e in _read(file) if kind.family in e.parameters and e.is_for(known)]
        for entry in sorted(entries, key=lambda entry: -entry.level):
            choice = _check(entry, device, kind)
            if choice:
                return choice
    return default


@functools.cache
def _read(file: Path) -> list[Entry]:
    return database.read(file)


def _check(entry: Entry, device: Device, kind: type[Tunables]) -> Choice | None:
    given = entry.parameters[kind.family]
    try:
        found = kind.read(given, device.capabilities)
    except ValueError as error:
        warnings.warn(
            f"clgrad ignores the {kind.family} parameters for {dict(entry.devices)} in {entry.source} "
            f"on {device.name}: {error}",
            RuntimeWarning,
            stacklevel=5,
        )
        return None
    return Choice(found, f"{entry.source}, by its {database.KEYS[entry.level]}")
