"""DLPack: arrays handed to and taken from other libraries, as copies in host memory.

The protocol's device types for OpenCL name a ``cl_mem`` that no consumer in Python takes, so what clgrad
hands out is a copy in host memory (``kDLCPU``), and nothing written to it reaches the device.
https://dmlc.github.io/dlpack/latest/python_spec.html
"""

import numpy as np

from clgrad import array, dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError

#: (kDLCPU, 0): where the copies lie.
_HOST = (1, 0)
#: numpy tells versions of the protocol apart from 2.1 on.
_VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


def export(data: NDArray, *, stream=None, max_version=None, dl_device=None, copy=None):
    """A DLPack capsule with a copy of the elements in host memory; waits for the device.

    Raises
    ------
    BufferError
        ``copy`` is False, ``dl_device`` is not the host, or DLPack has no such dtype.
    """
    if copy is False:
        raise BufferError("__dlpack__: copy=False; accepted: None or True, for the array lies on a device")
    if dl_device is not None and tuple(dl_device) != _HOST:
        raise BufferError(f"__dlpack__: dl_device={tuple(dl_device)}; accepted: {_HOST}, the host")
    host = data.asnumpy()
    if _VERSIONED and max_version is not None:
        return host.__dlpack__(max_version=max_version)
    return host.__dlpack__()


def device_of(data: NDArray) -> tuple[int, int]:
    """``(kDLCPU, 0)``: what :func:`export` hands out lies in host memory."""
    return _HOST


def from_dlpack(dlpack) -> NDArray:
    """A device copy of another library's array, of the same dtype, on the current context.

    Parameters
    ----------
    dlpack : object or capsule
        An array in host memory with a ``__dlpack__`` method, or what such a method returned.

    Raises
    ------
    OperatorTypeError
        It is neither, its memory is not the host's, or its dtype is none of clgrad's.

    Examples
    --------
    >>> import clgrad as mx
    >>> import numpy as np
    >>> mx.nd.from_dlpack(np.float32([1, 2])).shape
    (2,)
    """
    if type(dlpack).__name__ == "PyCapsule":
        dlpack = _Holder(dlpack)
    elif not hasattr(dlpack, "__dlpack__"):
        raise OperatorTypeError(
            f"from_dlpack: dlpack is {type(dlpack).__name__}; accepted: an object with __dlpack__, or a "
            "capsule"
        )
    try:
        host = np.from_dlpack(dlpack)
    except (RuntimeError, ValueError, TypeError, BufferError) as error:
        raise OperatorTypeError(
            f"from_dlpack: numpy cannot see the memory ({error}); accepted: numbers in host memory"
        ) from error
    return array.from_host(host, dtypes.resolve(host.dtype, "from_dlpack"))


class _Holder:
    """A capsule, as an object that hands it out."""

    def __init__(self, capsule):
        self._capsule = capsule

    def __dlpack__(self, **_):
        return self._capsule

    def __dlpack_device__(self):
        return _HOST


def to_dlpack_for_read(data: NDArray):
    """A DLPack capsule with a copy of the elements in host memory; waits for the device."""
    return export(data)


def to_dlpack_for_write(data: NDArray):
    """A DLPack capsule with a copy of the elements in host memory; waits for the device.

    Unlike MXNet's, it does not lead back: what is written to the copy does not reach the array.
    """
    return export(data)
