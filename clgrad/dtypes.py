"""The element types that clgrad stores and computes with, and their OpenCL C spelling.

A dtype has a *storage* type (what lies in memory) and a *compute* type (what expressions use). They
differ for ``float16`` and ``bfloat16``, which are storage types on every device: kernels load them as
``float`` and round once, to nearest even, on the store. For ``float16`` these are the core built-ins
``vload_half`` and ``vstore_half`` (OpenCL C 3.0, sections 6.1.1 and 6.15.8); ``bfloat16`` is the upper half
of a ``float``'s bits, and to numpy it is the type of that name in ``ml_dtypes``.
"""

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from clgrad.errors import OperatorTypeError


@dataclass(frozen=True)
class DType:
    """How one numpy dtype is spelled in OpenCL C."""

    numpy: np.dtype
    storage: str
    compute: np.dtype
    min_literal: str
    max_literal: str

    @property
    def name(self) -> str:
        """The name that users know it by."""
        return self.numpy.name


bfloat16 = np.dtype(ml_dtypes.bfloat16)


def _dtype(dtype, storage: str, low: str, high: str, compute: str | None = None) -> DType:
    return DType(np.dtype(dtype), storage, np.dtype(compute or dtype), low, high)


_TABLE = {
    entry.numpy: entry
    for entry in (
        _dtype("float16", "half", "-INFINITY", "INFINITY", compute="float32"),
        _dtype(bfloat16, "ushort", "-INFINITY", "INFINITY", compute="float32"),
        _dtype("float32", "float", "-INFINITY", "INFINITY"),
        _dtype("float64", "double", "-INFINITY", "INFINITY"),
        _dtype("int8", "char", "CHAR_MIN", "CHAR_MAX"),
        _dtype("uint8", "uchar", "0", "UCHAR_MAX"),
        _dtype("int16", "short", "SHRT_MIN", "SHRT_MAX"),
        _dtype("int32", "int", "INT_MIN", "INT_MAX"),
        _dtype("int64", "long", "LONG_MIN", "LONG_MAX"),
        _dtype("bool", "uchar", "0", "1", compute="uint8"),
    )
}

_ACCEPTED = ", ".join(entry.name for entry in _TABLE.values())

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
int8, int16, int32, int64 = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
uint8, bool_ = np.dtype("uint8"), np.dtype("bool")


def supported() -> tuple[np.dtype, ...]:
    """Every dtype that arrays can have (``float64`` only where the device has it)."""
    return tuple(_TABLE)


_NAMES = {dtype: dtype.name for dtype in _TABLE}


def name_of(dtype: np.dtype) -> str:
    """The name of a dtype that arrays can have: numpy puts it together each time that it is asked."""
    return _NAMES[dtype]


def describe(dtype: np.dtype) -> DType:
    """OpenCL description of a numpy dtype that :func:`resolve` has accepted."""
    return _TABLE[dtype]


def resolve(dtype, op: str = "array", argument: str = "dtype") -> np.dtype:
    """Turn anything that names a dtype into a numpy dtype that clgrad stores.

    Parameters
    ----------
    dtype : str, type or numpy.dtype
        Such as ``"float32"`` or ``numpy.int64``.
    op, argument : str
        Named in the error.

    Raises
    ------
    OperatorTypeError
        The dtype is unknown or has no OpenCL storage type.
    """
    try:
        resolved = np.dtype(dtype)
    except (TypeError, ValueError):
        resolved = None
    if resolved not in _TABLE:
        given = repr(dtype) if isinstance(dtype, str | type | np.dtype) else type(dtype).__name__
        raise OperatorTypeError(f"{op}: {argument}={given} is not a dtype; accepted: {_ACCEPTED}")
    return resolved


def is_floating(dtype: np.dtype) -> bool:
    """Whether the dtype holds real numbers (and so can have a gradient)."""
    return dtype.kind == "f" or dtype == bfloat16


def compute_type(dtype: np.dtype) -> np.dtype:
    """The dtype that expressions over stored ``dtype`` use: float32 for the 16-bit ones, else itself."""
    return _TABLE[dtype].compute


def c_type(compute: np.dtype, width: int = 1) -> str:
    """OpenCL C type of a compute dtype, ``float8`` for a vector of eight float32."""
    return _TABLE[compute].storage + (str(width) if width > 1 else "")
