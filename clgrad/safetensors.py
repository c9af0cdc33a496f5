"""Files of arrays in the format of safetensors, which many libraries read and write.

A file is ``uint64`` size of the header, the header, and the elements of all arrays, little-endian and in
C order. The header is a JSON object in UTF-8, perhaps with spaces behind it: of each array, by its name,
``dtype``, ``shape`` and ``data_offsets`` (where its bytes begin and end, counted from the header's end);
and perhaps ``__metadata__``, an object of strings. Arrays leave no gaps.
(https://huggingface.co/docs/safetensors, "Format".)

Files are data: reading executes nothing, and believes no number before the bytes that it speaks of are
known to be there.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.errors import MXNetError, OperatorTypeError

_METADATA = "__metadata__"
_DTYPES = {
    "F64": dtypes.float64,
    "F32": dtypes.float32,
    "F16": dtypes.float16,
    "BF16": dtypes.bfloat16,
    "I64": dtypes.int64,
    "I32": dtypes.int32,
    "I16": dtypes.int16,
    "I8": dtypes.int8,
    "U8": dtypes.uint8,
    "BOOL": dtypes.bool_,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
#: The format's own limit.
_LARGEST_HEADER = 100_000_000
#: numpy arrays have no more axes than this.
_MOST_AXES = 32


def is_written_so(content: bytes) -> bool:
    """Whether the content of a file looks like this format, which MXNet's never does."""
    return content[8:9] == b"{"


def dump(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What a file of these arrays contains: elements begin at multiples of 8 bytes.

    Raises
    ------
    OperatorTypeError
        An array's name is the format's own.
    """
    if _METADATA in arrays:
        raise OperatorTypeError(f"save: an array is named {_METADATA!r}; accepted: any other name")
    # Wide elements first, so that all of them are aligned
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header, position, parts = {}, 0, []
    for name, host in ordered:
        end = position + host.nbytes
        header[name] = {
            "dtype": _NAMES[host.dtype],
            "shape": list(host.shape),
            "data_offsets": [position, end],
        }
        parts.append(host.astype(host.dtype.newbyteorder("<"), copy=False).tobytes())
        position = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def parse(content: bytes, what: str) -> dict[str, np.ndarray]:
    """The arrays of a file's content, by name, in the order of the header.

    Raises
    ------
    MXNetError
        It is damaged, or holds what clgrad has no arrays for; the message begins with ``what``.
    """
    header, data = _header(content, what)
    found, spans = {}, []
    for name, described in header.items():
        if name == _METADATA:
            if not isinstance(described, dict) or not all(isinstance(v, str) for v in described.values()):
                raise MXNetError(f"{what}: {_METADATA} is damaged; accepted: an object of strings")
            continue
        try:
            dtype, shape, begin, end = _description(described, len(data))
        except (KeyError, TypeError, ValueError) as error:
            raise MXNetError(f"{what}: the array {name!r}: {error}") from None
        spans.append((begin, end))
        found[name] = _array(data[begin:end], dtype, shape)
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise MXNetError(
                f"{what}: arrays overlap, or leave a gap, at byte {min(begin, position):,} of the data"
            )
        position = end
    if position != len(data):
        raise MXNetError(f"{what}: {len(data) - position:,} bytes follow the last array")
    return found


def _header(content: bytes, what: str) -> tuple[dict[str, Any], memoryview]:
    if len(content) < 8:
        raise MXNetError(f"{what}: {len(content)} bytes, too few for the size of the header: cut short")
    (size,) = struct.unpack("<Q", content[:8])
    if size > min(len(content) - 8, _LARGEST_HEADER):
        left = min(len(content) - 8, _LARGEST_HEADER)
        raise MXNetError(
            f"{what}: a header of {size:,} bytes is announced; there can be {left:,}: cut short"
        )
    try:
        header = json.loads(content[8 : 8 + size].decode(), object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise MXNetError(f"{what}: the header is damaged: {error}") from None
    return header, memoryview(content)[8 + size :]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _description(described: Any, available: int) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Dtype, shape and place of an array, checked against how many bytes there are."""
    if not isinstance(described, dict) or set(described) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("its description is damaged; accepted: dtype, shape and data_offsets")
    dtype = _DTYPES.get(described["dtype"]) if isinstance(described["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"has the dtype {described['dtype']!r}; accepted: {', '.join(_DTYPES)}")
    shape, offsets = described["shape"], described["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
            raise ValueError(f"{numbers!r} are no sizes or places")
    if len(shape) > _MOST_AXES:
        raise ValueError(f"has {len(shape)} axes; accepted: up to {_MOST_AXES}")
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= available:
        raise ValueError(f"its bytes are from {offsets} of {available:,}: cut short")
    size = math.prod(shape) * dtype.itemsize
    if size != offsets[1] - offsets[0] or math.prod(filter(None, shape)) >= 2**60:
        raise ValueError(f"of shape {shape} and dtype {dtype} has {size:,} bytes, not those from {offsets}")
    return dtype, tuple(shape), *offsets


def _array(raw: memoryview, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == dtypes.bool_:  # any byte but 0 means True, and numpy knows of 1 only
        return (np.frombuffer(raw, np.uint8) != 0).reshape(shape)
    return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
