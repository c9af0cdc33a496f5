"""Functions of OpenCL's extensions that pyopencl does not bind: those of ``cl_khr_command_buffer``."""

import ctypes
import functools
from collections.abc import Callable

import pyopencl as cl
from pyopencl import _cl

from clgrad.errors import DeviceError

_POINTER, _SIZE, _STATUS, _UINT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_uint32

#: Result and parameters of each function, in the extension's version 1.0.
_COMMAND_BUFFERS: dict[str, tuple[type, ...]] = {
    "clCreateCommandBufferKHR": (_POINTER, _UINT, _POINTER, _POINTER, _POINTER),
    "clFinalizeCommandBufferKHR": (_STATUS, _POINTER),
    "clReleaseCommandBufferKHR": (_STATUS, _POINTER),
    "clEnqueueCommandBufferKHR": (_STATUS, _UINT, _POINTER, _POINTER, _UINT, _POINTER, _POINTER),
    "clCommandNDRangeKernelKHR": (
        *(_STATUS, _POINTER, _POINTER, _POINTER, _POINTER, _UINT, _POINTER, _POINTER, _POINTER),
        *(_UINT, _POINTER, _POINTER, _POINTER),
    ),
    "clCommandCopyBufferKHR": (
        *(_STATUS, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _SIZE),
        *(_UINT, _POINTER, _POINTER, _POINTER),
    ),
}


def has_command_buffers(cl_device: cl.Device) -> bool:
    """Whether a device has command buffers as ratified: ``cl_khr_command_buffer``, version 1.

    Provisional versions are others: until 0.9.4, copies lack a parameter; until 0.9.7, a buffer may not be
    enqueued again before it has run, unless it was made for that. PoCL 3.1's (0.9.0) takes the kernels'
    arguments when it is enqueued, and not when they are recorded.

    Example
    -------
    >>> from clgrad.device import devices
    >>> has_command_buffers(devices()[0].cl_device)  # doctest: +SKIP
    True
    """
    if "cl_khr_command_buffer" not in cl_device.extensions.split():
        return False
    try:
        found = cl_device.extensions_with_version
    except (cl.Error, AttributeError):  # older than OpenCL 3.0
        return False
    versions = [x.version >> 22 for x in found if x.name == "cl_khr_command_buffer"]
    return versions == [1]


class CommandBufferFunctions:
    """The functions of ``cl_khr_command_buffer`` on a platform, under their names without cl and KHR.

    Raises
    ------
    DeviceError
        The platform lacks one.
    """

    CreateCommandBuffer: Callable[..., int | None]
    FinalizeCommandBuffer: Callable[..., int]
    ReleaseCommandBuffer: Callable[..., int]
    EnqueueCommandBuffer: Callable[..., int]
    CommandNDRangeKernel: Callable[..., int]
    CommandCopyBuffer: Callable[..., int]

    def __init__(self, platform: cl.Platform):
        for name, (result, *parameters) in _COMMAND_BUFFERS.items():
            address = _address_finder()(platform.int_ptr, name.encode())
            if not address:
                raise DeviceError(f"{platform.name} reports cl_khr_command_buffer, and has no {name}")
            function = ctypes.CFUNCTYPE(result, *parameters)(address)
            setattr(self, name.removeprefix("cl").removesuffix("KHR"), function)


@functools.cache
def command_buffer_functions(platform: cl.Platform) -> CommandBufferFunctions:
    """The functions of a platform; asked for once.

    Raises
    ------
    DeviceError
        The platform lacks one.
    """
    return CommandBufferFunctions(platform)


@functools.cache
def _address_finder() -> Callable[[int, bytes], int | None]:
    """clGetExtensionFunctionAddressForPlatform of the loader that pyopencl uses."""
    find = ctypes.CDLL(_cl.__file__).clGetExtensionFunctionAddressForPlatform
    find.restype, find.argtypes = _POINTER, [_POINTER, ctypes.c_char_p]
    return find
