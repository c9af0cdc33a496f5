"""``mx.nd``: every op of the table as a function of arrays, and the creation functions."""

from clgrad import absent as _absent
from clgrad import methods as _methods  # noqa: F401  (gives NDArray its operators)
from clgrad import random
from clgrad.array import NDArray
from clgrad.dlpack import from_dlpack, to_dlpack_for_read, to_dlpack_for_write
from clgrad.memory import all_streams as _all_streams
from clgrad.nd import contrib, image, linalg, sparse
from clgrad.ops.creation import arange, empty, eye, full, linspace, ones, zeros
from clgrad.ops.creation import array_of as array
from clgrad.registry import table as _table
from clgrad.serialization import load, load_frombuffer, save

#: Ops of this namespace itself; a dot in a name means a namespace within it.
_OPS = {name: op for name, op in _table.items() if not name.startswith("_") and "." not in name}
globals().update(_OPS)
__getattr__ = _absent.getter("nd", __name__)


def waitall() -> None:
    """Wait until everything that any thread has enqueued on any device has run."""
    for stream in _all_streams():
        stream.finish()


def from_numpy(ndarray, zero_copy: bool = True) -> NDArray:
    """A device copy of a numpy array, of the same dtype.

    ``zero_copy`` is accepted for MXNet's sake; the array always moves to the device, and stays writable.
    """
    return array(ndarray, dtype=ndarray.dtype)


__all__ = [
    "NDArray",
    "arange",
    "array",
    "contrib",
    "empty",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "image",
    "linalg",
    "linspace",
    "load",
    "load_frombuffer",
    "ones",
    "random",
    "save",
    "sparse",
    "to_dlpack_for_read",
    "to_dlpack_for_write",
    "waitall",
    "zeros",
    *_OPS,
]
