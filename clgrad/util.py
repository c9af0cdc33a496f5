"""``mx.util``: MXNet's switches for its numpy interface, which clgrad has not, and a look at GPUs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from clgrad.device import gpu_memory_info, num_gpus
from clgrad.errors import AbsentError, OperatorTypeError

__all__ = [
    "get_gpu_count",
    "get_gpu_memory",
    "getenv",
    "is_np_array",
    "is_np_shape",
    "makedirs",
    "np_array",
    "np_shape",
    "reset_np",
    "set_np",
    "set_np_shape",
    "setenv",
    "use_np",
    "use_np_array",
    "use_np_shape",
]

Decorated = TypeVar("Decorated", bound=Callable)


def get_gpu_count() -> int:
    """Number of GPUs: see :func:`clgrad.num_gpus`."""
    return num_gpus()


def get_gpu_memory(gpu_dev_id: int) -> tuple[int, int]:
    """Free and total memory of a GPU in bytes: see :func:`clgrad.device.gpu_memory_info`."""
    return gpu_memory_info(gpu_dev_id)


def makedirs(d: str | os.PathLike) -> None:
    """Make a folder, and those above it, unless they are there."""
    os.makedirs(os.path.expanduser(d), exist_ok=True)


def getenv(name: str) -> str | None:
    """The value of an environment variable, or None."""
    return os.environ.get(name)


def setenv(name: str, value: str | None) -> None:
    """Set an environment variable of this process; None removes it."""
    if value is None:
        os.environ.pop(name, None)
    elif isinstance(value, str):
        os.environ[name] = value
    else:
        raise OperatorTypeError(f"setenv: value is {type(value).__name__}; accepted: str or None")


# Arrays of any shape, without axes or without elements too, need no switch here


def is_np_shape() -> bool:
    """Whether MXNet's numpy shapes are switched on: False, though arrays may have any shape."""
    return False


def set_np_shape(active: bool) -> bool:
    """Change nothing: arrays may have any shape anyway. Returns False, as it was before."""
    return False


@contextlib.contextmanager
def np_shape(active: bool = True) -> Iterator[None]:
    """A scope in which nothing changes: arrays may have any shape anyway.

    Examples
    --------
    >>> import clgrad as mx
    >>> with mx.util.np_shape(True):
    ...     mx.nd.zeros((0, 3)).shape
    (0, 3)
    """
    yield


def use_np_shape(func: Decorated) -> Decorated:
    """The function or class itself."""
    return func


# The numpy interface


def is_np_array() -> bool:
    """Whether MXNet's numpy interface is switched on: False."""
    return False


def _refuse(name: str, active: bool = True) -> None:
    if active:
        raise AbsentError(f"util.{name}: MXNet's numpy interface is not part of clgrad; use mx.nd")


@contextlib.contextmanager
def np_array(active: bool = True) -> Iterator[None]:
    """A scope without MXNet's numpy interface; asking for it raises AbsentError."""
    _refuse("np_array", active)
    yield


def set_np(shape: bool = True, array: bool = True) -> None:
    """Raise AbsentError, unless ``array`` is False."""
    _refuse("set_np", array)


def reset_np() -> None:
    """Change nothing: MXNet's numpy interface is off."""


def use_np(func: Any) -> Any:
    """Raise AbsentError: the function or class wants MXNet's numpy interface."""
    _refuse("use_np")


def use_np_array(func: Any) -> Any:
    """Raise AbsentError: the function or class wants MXNet's numpy interface."""
    _refuse("use_np_array")
