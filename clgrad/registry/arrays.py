"""Whether what an op is given as arrays, or as the arrays to write, is what it takes."""

from collections.abc import Iterable, Sequence

import numpy as np

from clgrad import array
from clgrad.array import NDArray
from clgrad.device import Context, Device
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError


def checked_out(op: str, out, outputs: Sequence[Iterable], device: Device) -> list[NDArray]:
    """The arrays of ``out``, one for each output, given by shape and dtype.

    Raises
    ------
    OperatorError
        They are not as many, or of another shape, dtype or device.
    OperatorTypeError
        Something else than arrays.
    """
    results = list(out) if isinstance(out, list | tuple) else [out]
    if len(results) != len(outputs):
        raise OperatorError(f"{op}: out has {len(results)} arrays; accepted: {len(outputs)}")
    for result, (shape, dtype) in zip(results, outputs, strict=True):
        if not isinstance(result, NDArray):
            raise no_array(op, "out", result, "NDArray")
        if result.shape != shape or result._view.dtype != dtype:
            raise OperatorError(
                f"{op}: out has shape {result.shape} and dtype {result._view.dtype}; "
                f"accepted: shape {shape} and dtype {dtype}"
            )
        if result._view.device is not device:
            home = Context(device.kind, device.index)
            raise OperatorError(
                f"{op}: out is on {result.context}; accepted: {home}, the device of the arguments"
            )
    return results


def no_array(op: str, argument: str, value: object, accepted: str) -> MXNetError:
    """The error for an argument that is no array; or is one, in a storage type that the op cannot read."""
    stype = getattr(value, "stype", "default")
    if stype != "default":
        return AbsentError(
            f"{op}: argument {argument!r} has storage type {stype!r}; accepted: 'default' (convert with "
            "tostype)"
        )
    return OperatorTypeError(f"{op}: argument {argument!r} is {type(value).__name__}; accepted: {accepted}")


def of_numpy(op: str, argument: str, value: np.ndarray, like: NDArray) -> NDArray:
    """A numpy array of real numbers as an NDArray beside another one, in its dtype and on its device."""
    if value.dtype.kind not in "biuf" and value.dtype.name != "bfloat16":  # the real part is not all of it
        raise OperatorTypeError(
            f"{op}: argument {argument!r} is a numpy array of {value.dtype}; accepted: real numbers"
        )
    return array.from_host(value, like._view.dtype, like.context)


def all_arrays(values: Sequence) -> bool:
    """Whether every value is an NDArray (a loop: all() of a generator takes twice as long)."""
    for value in values:  # noqa: SIM110
        if type(value) is not NDArray:
            return False
    return True
