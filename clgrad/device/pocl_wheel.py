"""Making the PoCL 3.0 wheel compile for CPUs that are newer than its LLVM.

The wheel (``pocl-binary-distribution``, the only PoCL that pip has) contains LLVM 14 of 2022. On a
CPU that this LLVM does not know, such as AMD's Zen 5, it takes the name ``generic`` for the target,
and then refuses that name: every build fails with "unknown target CPU 'generic'". Build options are
of no help, since PoCL appends its own ``-target-cpu`` after them. But PoCL keeps the name in its
device structure, beside the target triplet, and reads it at each build: here it is replaced by the
name of an older CPU with the same instruction sets, and only where everything looks exactly as in
that wheel.

The same is done where this LLVM takes a CPU with AVX-512 for an older one without it, as it does with
Zen 4 (``znver3``). PoCL then links its library for AVX-512 to a kernel that is compiled for less. LLVM
does not inline a function that needs more than its caller has, so each ``vload8``, ``min`` and ``exp``
would be a call that saves all registers, and one that passes a ``float16`` would crash, since the two
sides disagree on how.
"""

import ctypes
import os
import platform
import struct
import sys

import pyopencl as cl

from clgrad.device.host import cpu_flags

#: How much of ``struct _cl_device_id`` is searched; the triplet is at 632 in the wheel.
_SEARCHED_BYTES = 2048
_TRIPLET = b"x86_64-unknown-linux-gnu"
_UNKNOWN = b"generic"
#: Names, without AVX-512, that LLVM 14 gives to CPUs that have it.
_TOO_OLD = (b"znver1", b"znver2", b"znver3", b"alderlake")

#: Names put into device structures; PoCL keeps the addresses, so these are never freed.
_names: dict[str, ctypes.Array[ctypes.c_char]] = {}


def is_pocl_wheel(cl_device: cl.Device) -> bool:
    """Whether the device belongs to PoCL 3.0, which is what pip installs."""
    platform_ = cl_device.platform
    return platform_.name.strip() == "Portable Computing Language" and "PoCL 3.0" in platform_.version


def known_cpu(flags: frozenset[str]) -> str:
    """Name of a CPU that LLVM 14 knows and that has no instruction sets but those in ``flags``."""
    if flags >= {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx2", "fma"}:
        return "skylake-avx512"
    if flags >= {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}:
        return "haswell"
    return "x86-64"


def set_known_cpu(cl_device: cl.Device) -> str | None:
    """Give the device a CPU name that its LLVM knows, if it has none or one without AVX-512.

    Parameters
    ----------
    cl_device : pyopencl.Device
        Any device.

    Returns
    -------
    str or None
        The name that was set, now or by an earlier call; None when the device was left alone.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or not is_pocl_wheel(cl_device):
        return None
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        return None
    try:
        return _replace(memory, cl_device.int_ptr)
    finally:
        os.close(memory)


def _replace(memory: int, structure: int) -> str | None:
    """Find the pair (triplet, CPU) of string pointers in the structure and replace the second."""
    # Reading a word that is no address is a mere error through /proc/self/mem, elsewhere a crash.
    try:
        structure_bytes = os.pread(memory, _SEARCHED_BYTES, structure)
    except (OSError, OverflowError):
        return None
    words = [word for (word,) in struct.iter_unpack("=Q", structure_bytes)]
    pairs = [i for i, word in enumerate(words[:-1]) if _string_at(memory, word) == _TRIPLET]
    if len(pairs) != 1:
        return None
    position = pairs[0] + 1
    for name, buffer in _names.items():
        if words[position] == ctypes.addressof(buffer):
            return name
    current, name = _string_at(memory, words[position]), known_cpu(cpu_flags())
    if current != _UNKNOWN and not (current in _TOO_OLD and name == "skylake-avx512"):
        return None
    buffer = _names.setdefault(name, ctypes.create_string_buffer(name.encode()))
    ctypes.c_uint64.from_address(structure + 8 * position).value = ctypes.addressof(buffer)
    return name


def _string_at(memory: int, address: int) -> bytes:
    """The short C string at ``address``; empty where there is none."""
    try:
        return os.pread(memory, 64, address).partition(b"\0")[0]
    except (OSError, OverflowError):
        return b""
