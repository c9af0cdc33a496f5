"""``mx.nd``: every op of the table as a function of arrays, and the creation functions."""

from clgrad import methods as _methods  # noqa: F401  (gives NDArray its operators)
from clgrad import random
from clgrad.array import NDArray
from clgrad.memory import all_streams as _all_streams
from clgrad.nd import contrib, linalg
from clgrad.ops.creation import arange, empty, eye, full, linspace, ones, zeros
from clgrad.ops.creation import array_of as array
from clgrad.registry import table as _table

#: Ops of this namespace itself; a dot in a name means a namespace within it.
_OPS = {name: op for name, op in _table.items() if not name.startswith("_") and "." not in name}
globals().update(_OPS)


random_normal = random.normal
random_uniform = random.uniform


def waitall() -> None:
    """Wait until everything that any thread has enqueued on any device has run."""
    for stream in _all_streams():
        stream.finish()


def from_numpy(ndarray, zero_copy: bool = False) -> NDArray:
    """A device copy of a numpy array, of the same dtype.

    ``zero_copy`` is accepted for MXNet's sake; the array always moves to the device.
    """
    return array(ndarray, dtype=ndarray.dtype)


__all__ = [
    "NDArray",
    "arange",
    "array",
    "contrib",
    "empty",
    "eye",
    "from_numpy",
    "full",
    "linalg",
    "linspace",
    "ones",
    "random",
    "waitall",
    "zeros",
    *_OPS,
]
