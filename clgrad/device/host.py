"""The CPU of this machine, as far as kernels that run on it depend on it."""

import platform
import zlib
from functools import cache
from pathlib import Path


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
