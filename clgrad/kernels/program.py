"""Source to kernel objects, through a cache in memory and on disk.

The disk cache keeps one file for each (device, driver, options, source): a checksum and the binary that
the driver gave. A stale, truncated or foreign file fails its checksum or its build and is replaced by a
build from source. Files are written beside their place and renamed, so processes can share the folder.
A runtime with a cache of its own (PoCL) keeps it, in a folder of ours (``device/discovery.py``).
"""

import hashlib
import logging
import os
import re
import tempfile
import threading
import warnings
from pathlib import Path

import pyopencl as cl

from clgrad import config
from clgrad.bounded import Bounded
from clgrad.device import Device
from clgrad.errors import KernelError
from clgrad.ranges import Range

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_CHECKSUM_BYTES = 32

#: Programs that stay in memory, besides those of which a plan has kernels. They cost up to 3 MB each (see
#: ``memory.stream.PLANS_KEPT``).
PROGRAMS_KEPT = 1_000
_programs: Bounded[tuple[Device, str], cl.Program] = Bounded(PROGRAMS_KEPT)


#: What keeps compilers from trying to make vectors of neighbouring work-items.
_ONE_BY_ONE = "__attribute__((vec_type_hint(float16)))"


def one_by_one(source: str) -> str:
    """The source of kernels whose work-items, alone in their groups, loop over vectors: marked as such.

    Intel's runtime compiles kernels for one work-item and for several at a time, and chooses when they are
    launched. Without the second, which is of no use then, kernels build in two thirds of the time.
    """
    return re.sub(r"^__kernel ", f"{_ONE_BY_ONE}\n__kernel ", source, flags=re.MULTILINE)


def kernel(device: Device, name: str, source: str) -> cl.Kernel:
    """A kernel object of its own (they hold arguments, so they are not shared) from ``source``.

    Raises
    ------
    KernelError
        The source does not build; the message holds source, options and the compiler's log.
    """
    program = _program(device, name, source)
    try:
        return cl.Kernel(program, name)
    except cl.Error as error:  # a driver's own cache holds something broken, say
        raise _failure(device, name, source, f"{name} was built without an error, but: {error}") from error


def forget() -> None:
    """Let go of the programs in memory: the next kernels are loaded from disk, or built, and dumped, again.

    The pages of docs/site, which show the kernels of each op, ask for it.
    """
    with _lock:
        _programs.clear()


def _program(device: Device, name: str, source: str) -> cl.Program:
    key = (device, source)
    program = _programs.get(key)
    if program is None:
        with _lock:
            program = _programs.get(key)
            if program is None:
                with Range(f"build {name}", "build"):
                    _dump(name, source)
                    program = _programs[key] = _load(device, source) or _build(device, name, source)
    return program


def _load(device: Device, source: str) -> cl.Program | None:
    path = _cache_path(device, source)
    if path is None or not path.exists():
        return None
    try:
        content = path.read_bytes()
        binary = content[_CHECKSUM_BYTES:]
        if hashlib.sha256(binary).digest() != content[:_CHECKSUM_BYTES]:
            raise ValueError("checksum does not match")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = cl.Program(device.cl_context, [device.cl_device], [binary])
            return program.build(list(device.build_options))
    except (OSError, ValueError, cl.Error) as error:
        _log.warning("kernel cache: %s is unusable (%s); building from source", path, error)
        return None


def _build(device: Device, name: str, source: str) -> cl.Program:
    options = list(device.build_options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compilers chat on success; failures carry the log
            program = cl.Program(device.cl_context, source).build(options, cache_dir=False)
    except cl.Error as error:
        raise _failure(device, name, source, str(error)) from error
    _store(device, source, program)
    return program


def _failure(device: Device, name: str, source: str, log: str) -> KernelError:
    numbered = "\n".join(f"{i:4} {line}" for i, line in enumerate(source.splitlines(), 1))
    return KernelError(
        f"kernel {name} does not build on {device.name} ({device.platform_name})\n"
        f"options: {' '.join(device.build_options) or '(none)'}\nlog: {log}\nsource:\n{numbered}"
    )


def _store(device: Device, source: str, program: cl.Program) -> None:
    path = _cache_path(device, source)
    if path is None:
        return
    try:
        binary = program.get_info(cl.program_info.BINARIES)[0]
        if not binary:
            return  # the driver gives no binary: memory cache only
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(binary).digest() + binary)
        os.replace(partial, path)
    except (OSError, cl.Error) as error:
        _log.warning("kernel cache: cannot write %s (%s)", path, error)


def _cache_path(device: Device, source: str) -> Path | None:
    folder = config.cache_dir()
    if folder is None or device.quirks.caches_programs:
        return None
    key = "\0".join((device.fingerprint, *device.build_options, source))
    digest = hashlib.sha256(key.encode()).hexdigest()
    return folder / digest[:2] / digest


def _dump(name: str, source: str) -> None:
    folder = config.dump_dir()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(source.encode()).hexdigest()[:8]
        (folder / f"{name}_{digest}.cl").write_text(source)
