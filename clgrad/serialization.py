"""Files of arrays, in MXNet's own binary format (``.params``): what either program wrote, the other reads.

All numbers are little-endian. A file is ``uint64 0x112``, ``uint64`` reserved, ``uint64`` count and that
many arrays, ``uint64`` count and that many names (``uint64`` length, UTF-8): none for a list. An array is

    uint32 magic, int32 storage type, uint32 ndim, int64 sizes, int32 device type, int32 device number,
    int32 dtype, elements in C order

with the magic number of format V2, or of V3 where the file holds arrays of 0 axes or of size 0, which V2
takes for unknown shapes. V1 has no storage type; before it, the first word was ndim, and sizes were uint32.
(MXNet 1.9.1, src/ndarray/ndarray.cc.)

Names that end in ``.safetensors`` stand for files of that format (:mod:`clgrad.safetensors`), which are
told apart by their content when they are read.

Files are data: reading executes nothing, and believes no number before the bytes that it speaks of are
known to be there.
"""

import math
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clgrad import array, dtypes, files, safetensors
from clgrad.array import NDArray
from clgrad.errors import MXNetError, OperatorTypeError

_FILE_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_CPU = 1
#: MXNet's numbers of the storage types, and of dtypes.
_STORAGE_TYPES = {0: "default", 1: "row_sparse", 2: "csr"}
_DTYPES = {
    0: dtypes.float32,
    1: dtypes.float64,
    2: dtypes.float16,
    3: dtypes.uint8,
    4: dtypes.int32,
    5: dtypes.int8,
    6: dtypes.int64,
    7: dtypes.bool_,
    8: dtypes.int16,
    12: dtypes.bfloat16,
}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
_NOT_STORED = {9: "uint16", 10: "uint32", 11: "uint64"}
#: numpy arrays have no more axes than this.
_MOST_AXES = 32


def save(fname: str | os.PathLike, data) -> None:
    """Write arrays to a file that MXNet reads as well, or to one of safetensors.

    The file appears whole or not at all: it is written beside its place, and then takes it.

    Parameters
    ----------
    fname : str or path
        Where it ends in ``.safetensors``, the file is of that format, and data is a dict.
    data : NDArray, list of NDArray, or dict of str to NDArray
        Arrays are written as if they were on ``cpu(0)``. Where one of them has no axes or no elements,
        the file is of format V3, which MXNet reads only inside ``mx.util.np_shape(True)``.

    Raises
    ------
    OperatorTypeError
        ``data`` is something else.
    OSError
        The file cannot be written; what was there before is as it was.

    Examples
    --------
    >>> import clgrad as mx
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "net.params")
    >>> mx.nd.save(path, {"weight": mx.nd.ones((2, 3))})
    >>> mx.nd.load(path)["weight"].shape
    (2, 3)
    """
    if not isinstance(fname, str | os.PathLike):
        raise OperatorTypeError(f"save: fname is {type(fname).__name__}; accepted: str or a path")
    path = Path(fname)
    files.replace(path, _dump_safetensors(data) if path.suffix == ".safetensors" else dump(data))


def load(fname: str | os.PathLike) -> list[NDArray] | dict[str, NDArray]:
    """The arrays of a file that :func:`save` or MXNet wrote, or of safetensors, on the current context.

    Returns
    -------
    list of NDArray, or dict of str to NDArray
        As it was saved (of an empty dict, an empty list, as in MXNet).

    Raises
    ------
    MXNetError
        The file is not of this format, damaged, or holds what clgrad has no arrays for.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import clgrad as mx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.params")
    ...     mx.nd.save(path, {"x": mx.nd.ones((2,))})
    ...     mx.nd.load(path)["x"].asnumpy()
    array([1., 1.], dtype=float32)
    """
    if not isinstance(fname, str | os.PathLike):
        raise OperatorTypeError(f"load: fname is {type(fname).__name__}; accepted: str or a path")
    return _parse(Path(fname).read_bytes(), f"load: {os.fspath(fname)}")


def load_frombuffer(buf: bytes | bytearray | memoryview) -> list[NDArray] | dict[str, NDArray]:
    """The arrays of a file's content, as :func:`load` returns them.

    Raises
    ------
    MXNetError
        As for :func:`load`.
    """
    if not isinstance(buf, bytes | bytearray | memoryview):
        raise OperatorTypeError(f"load_frombuffer: buf is {type(buf).__name__}; accepted: bytes")
    return _parse(bytes(buf), "load_frombuffer: buf")


# Writing


def dump(data) -> bytes:
    """What :func:`save` writes."""
    names, arrays = _names_and_arrays(data)
    hosts = [a.asnumpy() for a in arrays]
    magic = _V2 if all(host.ndim and host.size for host in hosts) else _V3
    parts = [struct.pack("<QQQ", _FILE_MAGIC, 0, len(hosts))]
    for host in hosts:
        parts.append(struct.pack("<IiI", magic, 0, host.ndim))
        parts.append(struct.pack(f"<{host.ndim}q", *host.shape))
        parts.append(struct.pack("<iii", _CPU, 0, _NUMBERS[host.dtype]))
        parts.append(host.astype(host.dtype.newbyteorder("<"), copy=False).tobytes())
    parts.append(struct.pack("<Q", len(names)))
    for name in names:
        encoded = name.encode()
        parts += struct.pack("<Q", len(encoded)), encoded
    return b"".join(parts)


def _dump_safetensors(data) -> bytes:
    if not isinstance(data, Mapping):
        given = type(data).__name__
        raise OperatorTypeError(
            f"save: data is {given}; accepted for safetensors: a dict of str to NDArray"
        )
    names, arrays = _names_and_arrays(data)
    return safetensors.dump({name: a.asnumpy() for name, a in zip(names, arrays, strict=True)})


def _names_and_arrays(data) -> tuple[Sequence[str], Sequence[NDArray]]:
    if isinstance(data, NDArray):
        return [], [data]
    if isinstance(data, Mapping):
        names, arrays = list(data.keys()), list(data.values())
    elif isinstance(data, list | tuple):
        names, arrays = [], list(data)
    else:
        raise OperatorTypeError(
            f"save: data is {type(data).__name__}; accepted: NDArray, a list of them, or a dict of str to "
            "NDArray"
        )
    for place, value in zip(names or range(len(arrays)), arrays, strict=True):
        if not isinstance(value, NDArray) or (names and not isinstance(place, str)):
            raise OperatorTypeError(
                f"save: data[{place!r}] is {type(value).__name__}; accepted: names that are str, and "
                "values that are NDArray"
            )
    return names, arrays


# Reading


class _Reader:
    """Takes a file apart; every error says where."""

    def __init__(self, content: bytes, what: str):
        self.content, self.what, self.position = content, what, 0

    def error(self, problem: str) -> MXNetError:
        return MXNetError(f"{self.what}: at byte {self.position}: {problem}")

    @property
    def remaining(self) -> int:
        return len(self.content) - self.position

    def take(self, size: int, of: str) -> memoryview:
        """The next bytes, without a copy."""
        if size > self.remaining:
            raise self.error(f"{of} would take {size:,} bytes, and {self.remaining:,} are left: cut short")
        start, self.position = self.position, self.position + size
        return memoryview(self.content)[start : self.position]

    def numbers(self, form: str, of: str) -> tuple[int, ...]:
        """The next numbers, in the notation of :mod:`struct`."""
        form = f"<{form}"
        return struct.unpack(form, self.take(struct.calcsize(form), of))

    def count(self, of: str, smallest: int) -> int:
        """How many there are of what takes at least ``smallest`` bytes each."""
        (count,) = self.numbers("Q", f"the number of {of}")
        if count * smallest > self.remaining:
            raise self.error(f"{count:,} {of} are announced, more than {self.remaining:,} bytes can hold")
        return count


def _parse(content: bytes, what: str) -> list[NDArray] | dict[str, NDArray]:
    if safetensors.is_written_so(content):
        hosts_by_name = safetensors.parse(content, what)
        return {name: array.from_host(host, host.dtype) for name, host in hosts_by_name.items()}
    reader = _Reader(content, what)
    magic, _ = reader.numbers("QQ", "the header")
    if magic != _FILE_MAGIC:
        reader.position = 0
        raise reader.error(f"begins with {magic:#x}, not with {_FILE_MAGIC:#x}: not a file of arrays")
    hosts = [_array(reader) for _ in range(reader.count("arrays", 4))]
    names = [_name(reader) for _ in range(reader.count("names", 8))]
    if names and len(names) != len(hosts):
        raise reader.error(f"{len(hosts)} arrays, but {len(names)} names")
    if reader.remaining:
        raise reader.error(f"{reader.remaining:,} bytes follow the last name")
    arrays = [array.from_host(host, host.dtype) for host in hosts]
    return dict(zip(names, arrays, strict=True)) if names else arrays


def _array(reader: _Reader) -> np.ndarray:
    (magic,) = reader.numbers("I", "the first word of an array")
    if magic in (_V2, _V3):
        (stype,) = reader.numbers("i", "the storage type")
        if stype != 0:
            name = _STORAGE_TYPES.get(stype, f"number {stype}")
            raise reader.error(f"an array has the storage type {name}; accepted: default (dense)")
    shape = _shape(reader, magic)
    reader.numbers("ii", "the device")
    (number,) = reader.numbers("i", "the dtype")
    dtype = _DTYPES.get(number)
    if dtype is None:
        name = _NOT_STORED.get(number, f"number {number}")
        accepted = ", ".join(d.name for d in _DTYPES.values())
        raise reader.error(f"an array has the dtype {name}; accepted: {accepted}")
    raw = reader.take(math.prod(shape) * dtype.itemsize, f"an array of shape {shape} and dtype {dtype}")
    if dtype == dtypes.bool_:  # any byte but 0 means True, and numpy knows of 1 only
        return (np.frombuffer(raw, np.uint8) != 0).reshape(shape)
    host = np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)
    return host.astype(dtype, copy=False)


def _shape(reader: _Reader, magic: int) -> tuple[int, ...]:
    if magic in (_V1, _V2, _V3):
        (ndim,) = reader.numbers("I", "the number of axes")
        size = "q"
    else:
        ndim, size = magic, "I"
        if ndim > _MOST_AXES:
            reader.position -= 4
            raise reader.error(f"an array begins with {magic:#x}; accepted: formats V0, V1, V2 and V3")
    if ndim > _MOST_AXES:
        raise reader.error(f"an array has {ndim:,} axes; accepted: up to {_MOST_AXES}")
    if ndim == 0 and magic != _V3:
        raise reader.error("an array has no shape; accepted: arrays with a value")
    shape = reader.numbers(f"{ndim}{size}", "the sizes of an array")
    if any(n < 0 or (n == 0 and magic != _V3) for n in shape):
        raise reader.error(f"an array has the shape {shape}; accepted: known sizes")
    if math.prod(filter(None, shape)) > sys.maxsize // 8:  # what numpy cannot hold even where it is empty
        raise reader.error(f"an array has the shape {shape}; accepted: a shape that memory can hold")
    return shape


def _name(reader: _Reader) -> str:
    (length,) = reader.numbers("Q", "the length of a name")
    encoded = bytes(reader.take(length, "a name"))
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise reader.error(f"a name is not UTF-8 ({error.reason})") from None
