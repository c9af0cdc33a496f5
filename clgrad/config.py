"""Every environment variable that clgrad reads, on one page.

Values are read when they are asked for, not at import, so that tests and programs can set them late.

==========================  =========================================================================
variable                    meaning
==========================  =========================================================================
``CLGRAD_DEVICE``           default device: ``gpu``, ``cpu:1``, part of a platform or device name
                            (``intel``), or ``platform:device`` indices (``0:1``)
``CLGRAD_CACHE_DIR``        folder of the on-disk kernel cache (PoCL, which has its own, keeps it in
                            ``pocl`` there, unless ``POCL_CACHE_DIR`` says otherwise; what holds at the
                            first call counts); empty string: no disk cache
``CLGRAD_DUMP_KERNELS``     folder that receives the source of every kernel that is built
``CLGRAD_TUNING``           file of the user's own tuned parameters, in the place of
                            ``~/.config/clgrad/tuning.json`` (or ``XDG_CONFIG_HOME`` for ``~/.config``);
                            ``off``: neither these nor those that clgrad brings along (docs/tuning.md)
``CLGRAD_ALLOW_TF32``       ``1``: tensor cores may make products of float32, of numbers rounded to 10 bits
                            behind the point (``clgrad.allow_tf32`` overrules it)
``CLGRAD_COMMAND_BUFFERS``  ``1``: captured functions are replayed by command buffers where the device has
                            them; ``0``: never; default: where they are not known to be slower
``CLGRAD_LIMITS``           lower the capabilities that devices report, for tests: ``strict``, or
                            ``key=value`` pairs such as ``work_group=64,local_memory=16384,fp64=0``;
                            ``memory=1000000`` lets arrays have so many bytes
``MXNET_HOME``              folder of MXNet's data, in the place of ``~/.mxnet``; its folder ``datasets``
                            has one for each dataset
``DMLC_NUM_WORKER``         set by MXNet's launcher: how many processes train together (clgrad: 1)
==========================  =========================================================================
"""

import os
from pathlib import Path

from clgrad.errors import DeviceError

#: The poorest device that clgrad supports (see ``CLGRAD_LIMITS``).
STRICT_LIMITS = {
    "work_group": 64,
    "local_memory": 16384,
    "fp64": 0,
    "fp16": 0,
    "subgroups": 0,
    "tensor_cores": 0,
    "command_buffers": 0,
}

#: Names of the limits.
LIMITS = (*STRICT_LIMITS, "memory")


def device() -> str | None:
    """Name of the default device, or None when the user leaves the choice to clgrad."""
    return os.environ.get("CLGRAD_DEVICE") or None


def cache_dir() -> Path | None:
    """Folder of the on-disk kernel cache, or None when the user turned it off."""
    configured = os.environ.get("CLGRAD_CACHE_DIR")
    if configured is not None:
        return Path(configured) if configured else None
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "clgrad"


def dump_dir() -> Path | None:
    """Folder that receives generated kernel sources, or None."""
    configured = os.environ.get("CLGRAD_DUMP_KERNELS")
    return Path(configured) if configured else None


def tuning_file() -> Path | None:
    """File of the user's tuned parameters, which need not exist, or None when tuning is off."""
    configured = os.environ.get("CLGRAD_TUNING")
    if configured:
        return None if configured == "off" else Path(configured)
    root = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(root, "clgrad", "tuning.json")


def allow_tf32() -> bool:
    """Whether the user lets float32 be rounded to tf32 in matrix products."""
    configured = os.environ.get("CLGRAD_ALLOW_TF32", "")
    if configured not in ("", "0", "1"):
        raise DeviceError(f"CLGRAD_ALLOW_TF32: cannot read {configured!r}; accepted are '0' and '1'")
    return configured == "1"


def command_buffers() -> bool | None:
    """Whether the user wants command buffers, or None when the choice is left to clgrad."""
    configured = os.environ.get("CLGRAD_COMMAND_BUFFERS", "")
    if configured not in ("", "0", "1"):
        raise DeviceError(f"CLGRAD_COMMAND_BUFFERS: cannot read {configured!r}; accepted are '0' and '1'")
    return configured == "1" if configured else None


def limits() -> dict[str, int]:
    """Upper limits that ``CLGRAD_LIMITS`` puts on reported capabilities."""
    text = os.environ.get("CLGRAD_LIMITS", "").strip()
    if not text:
        return {}
    if text == "strict":
        return dict(STRICT_LIMITS)
    result = {}
    for pair in text.split(","):
        key, _, value = pair.partition("=")
        if key.strip() not in LIMITS or not value.strip().isdigit():
            raise DeviceError(
                f"CLGRAD_LIMITS: cannot read {pair!r}; accepted are 'strict' or "
                f"comma-separated KEY=INTEGER with KEY one of {', '.join(LIMITS)}"
            )
        result[key.strip()] = int(value)
    return result


def datasets() -> Path:
    """Folder that has a folder for each dataset."""
    return Path(os.environ.get("MXNET_HOME") or "~/.mxnet").expanduser() / "datasets"


def workers() -> str:
    """How many processes a launcher says that train together."""
    return os.environ.get("DMLC_NUM_WORKER", "1")
