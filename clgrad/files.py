"""Writing files that are either as they were or as they shall be, whatever happens meanwhile."""

import contextlib
import os
import re
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Give the file its content in one step that cannot be half done, even if the machine stops."""
    if path.exists() and not path.is_file():  # a pipe, or /dev/null
        path.write_bytes(content)
        return
    path = Path(os.path.realpath(path))  # a link stays a link
    beside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    _sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what processes have left beside a file that were killed while they replaced it."""
    path = Path(os.path.realpath(path))
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.[0-9a-f]{{8}}")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            match = pattern.fullmatch(entry.name)
            if match and not _is_running(int(match[1])):
                os.unlink(entry.path)


def _is_running(pid: int) -> bool:
    """Whether a process may still be there; its number may be another's by now."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Have the new name on disk as well, where the system knows how."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some file systems cannot
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
