"""Files of safetensors: those of the package, our own, and those that are damaged or mean harm."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from golden.record_safetensors import FILE, contents
from hypothesis import given
from hypothesis import strategies as st

import clgrad as mx
from clgrad import nd, safetensors
from clgrad.errors import MXNetError, OperatorTypeError

pytestmark = pytest.mark.once


def same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, host in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (host.dtype, host.shape)
        np.testing.assert_array_equal(ours[name], host)


def test_reads_what_the_package_wrote():
    same(safetensors.parse(FILE.read_bytes(), "file"), contents())


def test_writes_what_the_package_would_write():
    """But for its metadata, and the order of arrays of one width."""
    content = safetensors.dump(contents())
    ours, theirs = (_header_of(c) for c in (content, FILE.read_bytes()))
    assert theirs.pop("__metadata__") == {"format": "np"}
    ends = {name: described.pop("data_offsets") for name, described in ours.items()}
    for described in theirs.values():
        described.pop("data_offsets")
    assert ours == theirs
    for name, (begin, _) in ends.items():
        assert begin % contents()[name].itemsize == 0  # aligned, so that readers can map the file
    same(safetensors.parse(content, "file"), contents())


def _header_of(content: bytes) -> dict:
    (size,) = struct.unpack("<Q", content[:8])
    assert size % 8 == 0
    return json.loads(content[8 : 8 + size])


def test_round_trip_of_nets_and_arrays(tmp_path):
    net, other = (mx.gluon.nn.Dense(2, in_units=3) for _ in range(2))
    net.initialize()
    path = tmp_path / "net.safetensors"
    net.save_parameters(path)
    assert set(_header_of(path.read_bytes())) == {"weight", "bias"}
    renamed = path.rename(tmp_path / "net.params")  # told by its content
    other.load_parameters(renamed)
    np.testing.assert_array_equal(other.weight.data().asnumpy(), net.weight.data().asnumpy())
    arrays = {"half": nd.ones((2,), dtype="bfloat16"), "empty": nd.zeros((0, 2))}
    nd.save(path, arrays)
    loaded = nd.load(path)
    assert loaded["half"].dtype == ml_dtypes.bfloat16
    assert loaded["empty"].shape == (0, 2)
    nd.save(path, {})
    assert nd.load(path) == {}
    for data, complaint in (
        ([nd.ones(2)], "a dict of str"),
        ({"__metadata__": nd.ones(2)}, "any other name"),
    ):
        with pytest.raises(OperatorTypeError, match=complaint):
            nd.save(path, data)
    assert nd.load(path) == {}


GOOD = safetensors.dump({"a": np.float32([[1, 2]]), "b": np.uint8([3])})


@pytest.mark.parametrize("length", range(9, len(GOOD)))
def test_files_cut_short(length):
    with pytest.raises(MXNetError, match="load_frombuffer: buf"):
        nd.load_frombuffer(GOOD[:length])


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_damaged_files(position, difference):
    content = bytearray(GOOD)
    content[position] ^= difference
    try:
        loaded = safetensors.parse(bytes(content), "file")
    except MXNetError:
        return
    assert sum(host.nbytes for host in loaded.values()) == 9


def file_of(header, data: bytes = b"\0" * 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more) -> dict:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (struct.pack("<Q", 2**63) + b"{}", "a header of 9,223,372,036,854,775,808 bytes is announced"),
        (file_of(b"{" * 100_000), "the header is damaged"),
        (file_of(b'{"a":' * 50_000), "the header is damaged"),
        (file_of(b"{\xff}"), "the header is damaged"),
        (file_of(b'{"a": 1, "a": 2}'), "a name comes twice"),
        (file_of({"a": 5}), "its description is damaged"),
        (file_of(entry(more=1)), "its description is damaged"),
        (file_of(entry("U64")), "has the dtype 'U64'; accepted: F64"),
        (file_of(entry(["F32"])), "has the dtype"),
        (file_of(entry(shape=(-2,))), r"\[-2\] are no sizes"),
        (file_of(entry(shape=(True,))), "are no sizes"),
        (file_of(entry(shape=(2.0,))), "are no sizes"),
        (file_of(entry(shape=(2**70,))), "are no sizes"),
        (file_of(entry(shape=(2**40, 2**40))), "has .* bytes, not those from"),
        (file_of(entry(shape=(0, 2**62, 2**62), offsets=(0, 0)), b""), "has 0 bytes, not those from"),
        (file_of(entry(shape=(1,) * 33 + (2,))), "has 34 axes"),
        (file_of(entry(offsets=(0, 16))), "its bytes are from .* cut short"),
        (file_of(entry(offsets=(8, 0))), "its bytes are from"),
        (file_of(entry(offsets=(0,))), "its bytes are from"),
        (file_of(entry(shape=(3,))), "has 12 bytes, not those from"),
        (file_of(entry(shape=(1,), offsets=(4, 8))), "overlap, or leave a gap, at byte 0"),
        (file_of(entry(shape=(1,), offsets=(0, 4))), "4 bytes follow the last array"),
        (file_of(entry() | {"b": entry()["a"]}), "overlap, or leave a gap"),
        (file_of(entry() | {"__metadata__": {"x": 1}}), "__metadata__ is damaged"),
    ],
)
def test_hostile_files(content, complaint):
    with pytest.raises(MXNetError, match=complaint):
        nd.load_frombuffer(content)
