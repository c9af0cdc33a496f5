"""The CPU of this machine, as far as kernels that run on it depend on it."""

import platform
import sys
import zlib
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import resource

#: Where Linux shows processes, and what limits groups of them.
PROCESS, GROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU, as Linux on x86 names them (``'avx2'``); empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def cpu_fingerprint() -> str:
    """Differs between CPUs with different instruction sets, which drivers may call the same."""
    text = " ".join([platform.machine(), platform.processor(), *sorted(cpu_flags())])
    return f"{zlib.crc32(text.encode()):08x}"


def memory_limit() -> int | None:
    """Bytes that arrays of this process may have in the memory of the host; None where nothing limits them.

    The least of what containers (control groups of Linux) and ``ulimit -v`` allow. Drivers of CPUs know
    neither, and say how much memory the machine has: the process is killed, or they crash, where there is
    less. A fourth of what is left of ``ulimit -v`` is for compilers and the like.
    """
    limits = [*_group_limits(), *_address_space()]
    return min(limits, default=None)


def _group_limits() -> list[int]:
    """What the control groups allow that the process is in, of both versions, and those around them."""
    found = []
    for line in _read(PROCESS / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):  # version 2, and version 1
            root, name = (
                (GROUPS / "memory", "memory.limit_in_bytes") if controllers else (GROUPS, "memory.max")
            )
            inner = root / path.strip("/")
            # a container may see its own group only, as the root
            folders = [root, *(f for f in (inner, *inner.parents) if root in f.parents)]
            found += [int(text) for f in folders if (text := _read(f / name).strip()).isdigit()]
    return [limit for limit in found if limit < 1 << 60]  # version 1 says a huge number for none


def _address_space() -> list[int]:
    if sys.platform == "win32":
        return []
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    taken = _read(PROCESS / "statm").partition(" ")[0]
    if limit == resource.RLIM_INFINITY or not taken:
        return []
    return [max(limit - int(taken) * resource.getpagesize(), 0) * 3 // 4]


def _read(path: Path) -> str:
    """A file of the kernel's; nothing where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
