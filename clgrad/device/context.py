"""MXNet's contexts: the names of devices, and the ``with`` scope that selects one.

Every device has exactly one context: devices are numbered within their kind in order of preference,
and there is one :class:`Context` object for each name.
"""

import os
import re
import threading
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, cast

import pyopencl as cl

from clgrad import config
from clgrad.device.discovery import Device, devices
from clgrad.errors import DeviceError

#: MXNet's device types and the kind that each means: host memory needs no pinning by hand here.
_KINDS = {"cpu": "cpu", "gpu": "gpu", "cpu_pinned": "cpu", "cpu_shared": "cpu"}


class _Scopes(threading.local):
    """The contexts that this thread has entered and not left, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Context] = []


_scopes = _Scopes()


class _DefaultContext:
    """MXNet's older spelling of :func:`current_context`, an attribute of the class."""

    def __get__(self, instance: object, owner: type) -> "Context":
        return current_context()


class Context:
    """A device by kind and number; as a ``with`` scope, the device of new arrays.

    Contexts of the same name are the same object. Constructing one asks nothing of the machine:
    ``gpu(0)`` exists without a GPU, and raises when it is used.

    Parameters
    ----------
    device_type : str or Context
        ``'cpu'`` or ``'gpu'``; ``'cpu_pinned'`` and ``'cpu_shared'`` mean ``'cpu'``. A context
        stands for itself.
    device_id : int, default 0
        Number of the device within its kind.

    Raises
    ------
    DeviceError
        ``device_type`` or ``device_id`` is none of these.

    Example
    -------
    >>> from clgrad.device import Context, cpu, current_context
    >>> with Context("cpu", 0):
    ...     current_context()
    cpu(0)
    >>> Context("cpu") is cpu()
    True
    """

    __slots__ = ("_device", "_id", "_kind")

    #: The innermost context of this thread, as :func:`current_context` returns it.
    default_ctx: ClassVar[_DefaultContext] = _DefaultContext()
    #: What keeps memory of devices for later, and gives that of a device back when called.
    keepers: ClassVar[list[Callable[[Device], None]]] = []
    #: Says how many bytes of a device's memory this process has taken.
    taken: ClassVar[list[Callable[[Device], int]]] = []
    _interned: ClassVar[dict[tuple[str, int], "Context"]] = {}

    _kind: str
    _id: int
    _device: Device | None

    def __new__(cls, device_type: "str | Context", device_id: int = 0) -> "Context":
        """Return the object of this name, made at its first mention."""
        if isinstance(device_type, Context):
            return device_type
        if not isinstance(device_type, str) or device_type not in _KINDS:
            accepted = ", ".join(map(repr, _KINDS))
            raise DeviceError(f"device_type {device_type!r} is unknown; accepted are {accepted}")
        if not hasattr(device_id, "__index__") or device_id < 0:
            raise DeviceError(f"device_id {device_id!r} must be an integer that is not negative")
        key = _KINDS[device_type], device_id.__index__()
        context = cls._interned.get(key)
        if context is None:
            context = super().__new__(cls)
            context._kind, context._id = key
            context._device = None
            # Atomic: threads that meet here leave with the same object.
            context = cls._interned.setdefault(key, context)
        return context

    @property
    def device_type(self) -> str:
        """``'cpu'`` or ``'gpu'``."""
        return self._kind

    @property
    def device_id(self) -> int:
        """Number of the device within its kind."""
        return self._id

    @property
    def device(self) -> Device:
        """The device of this name. The first use of a device in a process starts OpenCL.

        Raises
        ------
        DeviceError
            There is no such device, or :func:`devices` finds none at all.
        """
        return self._device or self._find_device()

    def empty_cache(self) -> None:
        """Give memory that clgrad keeps for arrays to come back to the device (:func:`clgrad.empty_cache`).

        Raises
        ------
        DeviceError
            There is no such device.

        Example
        -------
        >>> cpu().empty_cache()
        """
        for give_back in self.keepers:
            give_back(self.device)

    def _find_device(self) -> Device:
        for device in devices():
            if device.kind == self._kind and device.index == self._id:
                self._device = device
                return device
        raise DeviceError(_no_device(str(self)))

    def __enter__(self) -> "Context":
        _scopes.stack.append(self)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The innermost one of this name: scopes in interleaved generators end in any order.
        stack = _scopes.stack
        for position in reversed(range(len(stack))):
            if stack[position] is self:
                del stack[position]
                return

    def __repr__(self) -> str:
        return f"{self._kind}({self._id})"

    def __reduce__(self) -> tuple[type["Context"], tuple[str, int]]:
        return Context, (self._kind, self._id)  # copies and pickles are the interned object, too


def cpu(device_id: int = 0) -> Context:
    """The context of a CPU; the same object at each call.

    Parameters
    ----------
    device_id : int, default 0
        0 is the CPU device with the fastest runtime, 1 the next (mostly the same CPU by another).

    Returns
    -------
    Context

    Raises
    ------
    DeviceError
        ``device_id`` is not a number that a device can have.

    Example
    -------
    >>> cpu(1)
    cpu(1)
    """
    return Context("cpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """The context of a CPU, as :func:`cpu`: host memory needs no pinning by hand here.

    Parameters
    ----------
    device_id : int, default 0
        As of :func:`cpu`.

    Returns
    -------
    Context

    Raises
    ------
    DeviceError
        ``device_id`` is not a number that a device can have.

    Example
    -------
    >>> cpu_pinned()
    cpu(0)
    """
    return Context("cpu_pinned", device_id)


def gpu(device_id: int = 0) -> Context:
    """The context of a GPU, or of another accelerator; the same object at each call.

    Parameters
    ----------
    device_id : int, default 0
        0 is the preferred GPU. That it exists is only checked when it is used.

    Returns
    -------
    Context

    Raises
    ------
    DeviceError
        ``device_id`` is not a number that a device can have.

    Example
    -------
    >>> gpu()
    gpu(0)
    """
    return Context("gpu", device_id)


def device(name: str) -> Context:
    """The context of the device of a name.

    Parameters
    ----------
    name : str
        ``"gpu"``, ``"cpu:1"`` or ``"cpu(1)"``; or indices of platform and device, as ``clgrad
        devices`` shows them: ``"0:1"``; or part of the name, vendor or version of a platform, else
        of the name of a device, whatever the case of the letters: ``"intel"``, ``"pocl 3.1"``. Of
        several matches, the preferred one.

    Returns
    -------
    Context

    Raises
    ------
    DeviceError
        There is no such device; the message lists those that exist.

    Example
    -------
    >>> with device("cpu:0") as context:
    ...     context
    cpu(0)
    """
    if not isinstance(name, str):
        raise DeviceError(f"device: name is {type(name).__name__}; accepted: str, such as 'gpu' or 'cpu:1'")
    found = _match(name.strip().lower())
    if found is None:
        raise DeviceError(_no_device(repr(name)))
    return Context(found.kind, found.index)


def _match(name: str) -> Device | None:
    """The preferred device that ``name``, in small letters, means."""
    everything = devices()
    kind = re.fullmatch(r"(cpu|gpu)(?:[:(]?(\d+)\)?)?", name)
    indices = re.fullmatch(r"(\d+):(\d+)", name)
    if kind:
        wanted = kind[1], int(kind[2] or 0)
        matches = [d for d in everything if (d.kind, d.index) == wanted]
    elif indices:
        wanted_indices = int(indices[1]), int(indices[2])
        matches = [d for d in everything if (d.platform_index, d.device_index) == wanted_indices]
    elif name:
        # A platform is better known by its vendor ("pocl"); its version tells it from an older one.
        matches = [d for d in everything if name in d.platform_description.lower()]
        matches += [d for d in everything if name in d.name.lower()]
    else:
        matches = []
    return matches[0] if matches else None


def _no_device(wanted: str) -> str:
    """The message for a device that does not exist."""
    lines = [
        f"    {d.kind}({d.index})  {d.platform_index}:{d.device_index}  {d.name}, {d.platform_name}"
        for d in devices()
    ]
    return "\n".join([f"there is no device {wanted}; there are:", *lines])


def current_context() -> Context:
    """The innermost context that this thread has entered; outside of any, the default.

    The default is what ``CLGRAD_DEVICE`` names, else the first of :func:`devices`; it is settled
    when it is first needed, and stays.

    Returns
    -------
    Context

    Raises
    ------
    DeviceError
        The default is needed, and there is no device or none that ``CLGRAD_DEVICE`` names.

    Example
    -------
    >>> with cpu(0):
    ...     current_context()
    cpu(0)
    """
    stack = _scopes.stack
    return stack[-1] if stack else _default or _settle_default()


def as_context(given: "Context | str | None") -> Context:
    """A context, also from MXNet's spelling of one, such as ``'cpu(0)'``; the current one for None.

    Raises
    ------
    DeviceError
        Neither of these.
    """
    if given is None:
        return current_context()
    if isinstance(given, Context):
        return given
    kind, number = "", "0"
    if isinstance(given, str):
        kind, _, number = given.rstrip(")").partition("(")
    if kind not in _KINDS or not (number or "0").isdecimal():
        shown = repr(given) if isinstance(given, str) else type(given).__name__
        raise DeviceError(f"ctx is {shown}; accepted: a Context, such as cpu(0), or its name")
    return Context(kind, int(number or 0))


_default: Context | None = None


def _settle_default() -> Context:
    global _default
    name = config.device()
    if name is None:
        best = devices()[0]
        _default = Context(best.kind, best.index)
    else:
        try:
            _default = device(name)
        except DeviceError as error:
            raise DeviceError(f"CLGRAD_DEVICE={name}: {error}") from None
    return _default


def num_gpus() -> int:
    """Number of GPUs and other accelerators.

    Returns
    -------
    int

    Raises
    ------
    DeviceError
        There is no device at all.

    Example
    -------
    >>> context = gpu() if num_gpus() else cpu()
    """
    return sum(device.kind == "gpu" for device in devices())


def gpu_memory_info(device_id: int = 0) -> tuple[int, int]:
    """Free and total memory of a GPU in bytes.

    Parameters
    ----------
    device_id : int, default 0
        Number of the GPU.

    Returns
    -------
    tuple of int
        ``(free, total)``. OpenCL itself does not know what is free: where the driver has no
        extension for it (AMD's has), ``free`` is what this process has not taken.

    Raises
    ------
    DeviceError
        There is no such GPU.

    Example
    -------
    >>> free, total = gpu_memory_info(0)  # doctest: +SKIP
    """
    found = gpu(device_id).device
    total = found.capabilities.global_memory
    if "cl_amd_device_attribute_query" not in found.cl_device.extensions:
        return total - sum(taken(found) for taken in Context.taken), total
    free = found.cl_device.get_info(cl.device_info.GLOBAL_FREE_MEMORY_AMD)
    return cast(list[int], free)[0] * 1024, total


def _after_fork_in_child() -> None:
    """Devices found by the parent are of no use; finding them again ends in a clear error."""
    global _default
    _default = None
    for context in Context._interned.values():
        context._device = None


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
