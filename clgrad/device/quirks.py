"""What is known about particular OpenCL runtimes, each quirk with its reason.

Devices describe themselves well enough to be used; this is where they do not. Each quirk says what
it was measured on, so that it can be dropped when that is gone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyopencl as cl

from clgrad.device import pocl_wheel
from clgrad.device.capabilities import OWN_BUILTINS
from clgrad.device.host import cpu_flags

# Order among the runtimes of one machine's CPU, or of one GPU: the faster one first.
_RANK_INTEL = 0
_RANK_POCL = 1
_RANK_OTHER = 2
_RANK_POCL_WHEEL = 3
_RANK_MESA = 4
_RANK_WRONG = 5
_RANK_SIMULATOR = 6

#: PoCL 3.0 and 3.1 compute all of these slowly. One infinity, or number beyond 1e5, in a vector of floats
#: spoils the sine, cosine and tangent of all the others, by up to 0.016: they are reduced by as many steps
#: as the largest one needs.
_POCL_OWN_FUNCTIONS = OWN_BUILTINS

#: Intel's are vectorised well, but for these: two of ours take half the time, and Intel's rsqrt does not
#: round vectors as it does scalars.
_INTEL_OWN_FUNCTIONS = frozenset(["expm1", "rsqrt", "tanh"])

#: PoCL compiles a kernel when it is first enqueued, for the very work-group size. To be asked for a binary
#: makes it compile another, for any size, that it then leaves aside: of 428 kernels' builds that took 80 s
#: of 197, and with these binaries the next process took 63 s, with PoCL's own cache 18.
_POCL_CACHES_PROGRAMS = True


@dataclass(frozen=True)
class Quirks:
    """How a device differs from what it says of itself, and how its runtime compares to others."""

    #: Order among runtimes for the same class of device: the lowest is preferred.
    rank: int = _RANK_OTHER
    #: Fields of ``Capabilities`` that the driver misreports, and their true values.
    overrides: Mapping[str, Any] = field(default_factory=dict)
    #: Options for every program that is built for the device.
    build_options: tuple[str, ...] = ()
    #: The CPU that kernels are compiled for, where clgrad chose it.
    target_cpu: str = ""
    #: Whether the runtime itself keeps what it builds on disk, so that clgrad need not.
    caches_programs: bool = False
    #: Whether launches cost more in a command buffer than one by one.
    slow_command_buffers: bool = False


def quirks_of(cl_device: cl.Device) -> Quirks:
    """What is known about the device's runtime; may repair the device (see ``pocl_wheel.py``).

    Parameters
    ----------
    cl_device : pyopencl.Device
        Any device.

    Returns
    -------
    Quirks
        The defaults for a runtime that nothing is known about.

    Example
    -------
    >>> quirks_of(cl_device).overrides["fast_fma"]  # of the PoCL wheel  # doctest: +SKIP
    False
    """
    platform = cl_device.platform.name.strip()
    if pocl_wheel.is_pocl_wheel(cl_device):
        return _pocl_wheel(cl_device)
    if platform == "Portable Computing Language":
        return Quirks(
            _RANK_POCL, {"own_functions": _POCL_OWN_FUNCTIONS}, caches_programs=_POCL_CACHES_PROGRAMS
        )
    if platform.startswith("Intel") and cl_device.type & cl.device_type.CPU:
        return _intel_cpu(cl_device.driver_version)
    if platform == "Oclgrind":
        # An interpreter that checks every access: right, and thousands of times slower than a CPU.
        return Quirks(rank=_RANK_SIMULATOR)
    if platform in ("rusticl", "Clover"):
        # llvmpipe takes 300 us a launch; on a GPU, the vendor's own driver is the faster one.
        return Quirks(rank=_RANK_MESA)
    return Quirks()


def _intel_cpu(driver_version: str) -> Quirks:
    """Intel's CPU runtime: first, since it launches faster than PoCL.

    Measured against Debian's PoCL 3.1 on a 2-core Zen 5: a packed GEMM runs at the same 230-290
    GFLOP/s; a launch that is waited for takes 4-10 us instead of 40-66; exp on vectors streams
    92-102 GB/s from the cache instead of 40-83, add 180-250 instead of 64-145. It has half
    arithmetic, sub-groups and float atomics as well. PoCL builds faster, but only from its cache.

    In a command buffer, launches are submitted in half the time, but take up to 1.4 times as long until
    they are done (docs/performance.md).

    It does not report fused multiply-add, and yet compiles ``fma`` to one instruction (measured as
    fast as a contracted ``a * b + c``), which takes a CPU that has it.

    Driver 2024.18 (the wheel 2025.0) computes wrong values on Zen 5: what a kernel writes to local
    memory is lost where it comes from ``exp``. From 2025.19 (the wheel 2025.1) on, it is right.
    """
    known_right = tuple(map(int, re.findall(r"\d+", driver_version)[:2])) >= (2025, 19)
    rank = _RANK_INTEL if known_right else _RANK_WRONG
    overrides = {"fast_fma": "fma" in cpu_flags(), "own_functions": _INTEL_OWN_FUNCTIONS}
    return Quirks(rank, overrides, slow_command_buffers=True)


def _pocl_wheel(cl_device: cl.Device) -> Quirks:
    """PoCL 3.0, LLVM 14: after newer runtimes, and with care.

    It compiles for the CPU whose name it has, which is set here if its LLVM does not know the CPU, or
    takes it for an older one without AVX-512. As ``skylake-avx512``, vectors of any width work. As
    ``haswell`` or ``znver3``, ``float16`` crashes where the CPU has AVX-512: the library that PoCL links
    passes such vectors in registers that the kernel does not have.

    It reports fused multiply-add on every CPU. As ``skylake-avx512``, ``fma`` is as fast as a
    contracted ``a * b + c``; else it is a library call that takes 5 to 8 times as long.
    """
    target_cpu = pocl_wheel.set_known_cpu(cl_device) or ""
    vector_bytes = {"skylake-avx512": 64, "x86-64": 16}.get(target_cpu, 32)
    overrides: dict[str, Any] = {
        "vector_bytes": vector_bytes,
        "fast_fma": target_cpu == "skylake-avx512",
        "own_functions": _POCL_OWN_FUNCTIONS,
    }
    # PoCL keys its disk cache by the name that was replaced; the options are part of its key, too.
    options = (f"-DCLGRAD_TARGET_CPU_{target_cpu.replace('-', '_')}",) if target_cpu else ()
    return Quirks(_RANK_POCL_WHEEL, overrides, options, target_cpu, _POCL_CACHES_PROGRAMS)
