"""Finding the vendor libraries (ICDs) that the OpenCL loader should load.

A loader reads a folder of ``.icd`` files, each of which names a vendor library:
``/etc/OpenCL/vendors``, or the folder that ``OCL_ICD_VENDORS`` names. That misses what pip
installs: a wheel cannot write to ``/etc``, and Intel's wheel brings an ``.icd`` file with a path
that only exists on the machine that built it. :func:`vendor_folder` makes up for this while the
loader starts.

pyopencl's wheels bundle a loader (ocl-icd) that also reads the ``.icd`` files beside itself, where
the PoCL wheel puts its own, whatever ``OCL_ICD_VENDORS`` says.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Wheels that bring Intel's CPU runtime and the libraries that it depends on.
_INTEL_WHEELS = ("intel-opencl-rt", "intel-cmplr-lib-rt", "tbb", "tcmlib", "umf")

#: Intel's FPGA emulator: a second, slower view of the same CPU that only confuses.
_UNWANTED = "libintelocl_emu"


@dataclass(frozen=True)
class Driver:
    """A vendor library that an ``.icd`` file names.

    Example
    -------
    >>> from clgrad.device import icd
    >>> names = [driver.library for driver in icd.installed_drivers()]
    """

    #: The ``.icd`` file.
    icd: Path
    #: What the file says.
    named: str
    #: What to load: ``named``, or the path where the library really is.
    library: str
    #: Who put the file there: ``'OCL_ICD_VENDORS'``, ``'system'``, ``'pip'`` or ``'pyopencl'``.
    source: str


def user_vendors() -> str | None:
    """What the user set ``OCL_ICD_VENDORS`` to, or None; it replaces all but pyopencl's own."""
    return os.environ.get("OCL_ICD_VENDORS") or None


def user_drivers() -> list[Driver]:
    """The drivers that ``OCL_ICD_VENDORS`` selects: taken as they are, wrong paths and all.

    Returns
    -------
    list of Driver
        Empty when the variable is not set.
    """
    vendors = user_vendors()
    if vendors is None:
        return []
    path = Path(vendors)
    if path.is_dir():
        files = sorted(path.glob("*.icd"))
    elif path.suffix == ".icd":
        files = [path]
    else:  # the loader takes anything else for the name of a library
        return [Driver(path, vendors, vendors, "OCL_ICD_VENDORS")]
    return [Driver(file, _read(file), _read(file), "OCL_ICD_VENDORS") for file in files]


def installed_drivers() -> list[Driver]:
    """The drivers of the system, of pip and beside pyopencl, wrong paths mended.

    Returns
    -------
    list of Driver
        Each library once.
    """
    # ocl-icd's own name for the system's folder.
    system = Path(os.environ.get("OPENCL_VENDOR_PATH") or "/etc/OpenCL/vendors")
    found = [(file, "system") for file in sorted(system.glob("*.icd"))]
    prefix = Path(sys.prefix, "etc/OpenCL/vendors")
    found += [(file, "pip") for file in sorted(prefix.glob("*.icd"))]
    # Installed with `pip install --user`, or below the virtual environment: outside sys.prefix.
    found += [(file, "pip") for file in _wheel_files() if file.suffix == ".icd"]
    found += [(file, "pyopencl") for file in sorted(_pyopencl_folder().glob("*.icd"))]
    drivers: dict[str, Driver] = {}
    for file, source in found:
        named = _read(file)
        if named and _UNWANTED not in named:
            library = _locate(named, file)
            drivers.setdefault(library, Driver(file, named, library, source))
    return list(drivers.values())


@contextmanager
def vendor_folder() -> Iterator[None]:
    """Within, the OpenCL loader finds every installed driver when it starts.

    The loader reads its folder once, in the process's first OpenCL call, so the folder is private,
    temporary and gone afterwards: nothing is shared with other processes, and nothing is inherited
    by children. Only Linux needs this, and only when there is something that the loader would not
    find by itself; a folder that the user chose is left alone. A process that made OpenCL calls
    before is beyond help, but no worse off.

    Example
    -------
    >>> import pyopencl
    >>> with vendor_folder():
    ...     platforms = pyopencl.get_platforms()
    """
    drivers = installed_drivers() if sys.platform == "linux" and not user_vendors() else []
    bundled_loader = any(_pyopencl_folder().glob("libOpenCL*"))
    hidden = {"pip"} if bundled_loader else {"pip", "pyopencl"}
    if not any(driver.source in hidden for driver in drivers):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="clgrad-icd-") as folder:
        for number, driver in enumerate(drivers):
            if driver.source == "pip":
                preload(driver.library)
            if driver.source in hidden | {"system"}:
                Path(folder, f"{number:03}.icd").write_text(f"{driver.library}\n")
        os.environ["OCL_ICD_VENDORS"] = folder
        try:
            yield
        finally:
            del os.environ["OCL_ICD_VENDORS"]


def preload(library: str) -> str | None:
    """Load a pip-installed vendor library and, by full path, the dependencies it does not find.

    Wheels expect one another's libraries in their own folder; that fails when they were installed
    in different places (one below a virtual environment, one in it). ``LD_LIBRARY_PATH`` is only
    read when a process starts, but a library that is loaded already is found by its name.

    Parameters
    ----------
    library : str
        Path of the vendor library.

    Returns
    -------
    str or None
        Why it does not load; None when it does.
    """
    tried = set()
    while True:
        try:
            ctypes.CDLL(library)
            return None
        except OSError as error:
            message = str(error)
            missing = re.match(r"([^/:]+): cannot open shared object", message)
            if missing is None or missing[1] in tried:
                return message
            tried.add(missing[1])
            files = [file for file in _wheel_files() if file.name == missing[1]]
            # A dependency may miss dependencies of its own.
            if not files or preload(str(files[0])) is not None:
                return message


def _read(file: Path) -> str:
    """The first line of an ``.icd`` file; nothing when it cannot be read."""
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return ""
    return lines[0].strip()


def _locate(named: str, file: Path) -> str:
    """Where the library that ``file`` names really is; ``named`` itself if that is not known."""
    if not os.path.isabs(named):
        candidates = [file.parent / named]
    elif os.path.exists(named):
        return named
    else:
        name = os.path.basename(named)
        prefix = file.parent.parent.parent.parent  # the file is PREFIX/etc/OpenCL/vendors/*.icd
        candidates = [prefix / "lib" / name, *(f for f in _wheel_files() if f.name == name)]
    return next((str(path) for path in candidates if path.is_file()), named)


def _wheel_files() -> list[Path]:
    """All files that the wheels of Intel's runtime brought, wherever pip put them."""
    files: list[Path] = []
    for wheel in _INTEL_WHEELS:
        try:
            distribution = importlib.metadata.distribution(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
        located = (Path(str(distribution.locate_file(f))) for f in distribution.files or ())
        files += [Path(os.path.normpath(path)) for path in located if path.exists()]
    return files


def _pyopencl_folder() -> Path:
    """Where pyopencl's wheel keeps its loader, and the PoCL wheel its library."""
    spec = importlib.util.find_spec("pyopencl")
    if spec is None or spec.origin is None:
        return Path(os.devnull)
    return Path(spec.origin).parent / ".libs"
