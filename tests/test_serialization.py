"""nd.save and nd.load: MXNet's files, byte for byte; and files that are damaged or mean harm."""

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from golden.record_files import FOLDER, contents, shapes_of_numpy
from hypothesis import given
from hypothesis import strategies as st

from clgrad import nd, serialization
from clgrad.errors import MXNetError, OperatorTypeError

FP64 = pytest.mark.requires("fp64")
FILES = [pytest.param(name, marks=FP64 if name == "dtypes" else ()) for name in contents()]


def on_device(data):
    put = {k: nd.array(v, dtype=v.dtype) for k, v in pairs(data)}
    return put if isinstance(data, dict) else list(put.values())


def pairs(data) -> list[tuple]:
    return list(data.items()) if isinstance(data, dict) else list(enumerate(data))


def same(actual, expected) -> None:
    assert type(actual) is type(expected)
    assert [k for k, _ in pairs(actual)] == [k for k, _ in pairs(expected)]
    for (key, a), (_, host) in zip(pairs(actual), pairs(expected), strict=True):
        assert a.dtype == host.dtype.type, key
        assert a.shape == host.shape, key
        np.testing.assert_array_equal(a.asnumpy(), host, err_msg=str(key))


# MXNet's files


@pytest.mark.parametrize("name", FILES)
def test_reads_what_mxnet_wrote(name):
    same(nd.load(FOLDER / f"{name}.params"), contents()[name])


@pytest.mark.parametrize("name", FILES)
def test_writes_what_mxnet_writes(name, tmp_path):
    """The same bytes, so MXNet reads them."""
    nd.save(tmp_path / "x", on_device(contents()[name]))
    assert (tmp_path / "x").read_bytes() == (FOLDER / f"{name}.params").read_bytes()


def test_arrays_without_axes_or_elements(tmp_path):
    """MXNet writes these in format V3."""
    kept = FOLDER / "shapes_of_numpy.params"
    hosts = shapes_of_numpy()
    same(nd.load(kept), [np.asarray(h) for h in hosts])
    nd.save(tmp_path / "x", on_device(hosts))
    assert (tmp_path / "x").read_bytes() == kept.read_bytes()


def element(magic: int, shape=(1, 2), stype=0, device=(1, 0), dtype=0, data=b"\0\0\x40\x40\0\0\x80\x40"):
    stored = struct.pack("<i", stype) if magic != V1 else b""
    sizes = struct.pack(f"<I{len(shape)}q", len(shape), *shape)
    return struct.pack("<I", magic) + stored + sizes + struct.pack("<iii", *device, dtype) + data


def file(*arrays: bytes, count=None, names=bytes(8)) -> bytes:
    return struct.pack("<QQQ", 0x112, 0, len(arrays) if count is None else count) + b"".join(arrays) + names


V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
V0_ELEMENT = struct.pack("<III", 2, 1, 2) + struct.pack("<iii", 1, 0, 0) + struct.pack("<ff", 3, 4)


@pytest.mark.parametrize("array", [V0_ELEMENT, element(V1), element(V2), element(V3)])
def test_reads_every_version(array):
    (x,) = nd.load_frombuffer(file(array))
    assert x.asnumpy().tolist() == [[3, 4]]
    assert x.dtype is np.float32


def test_the_device_that_wrote_it_does_not_matter():
    (x,) = nd.load_frombuffer(file(element(V2, device=(2, 7))))
    assert x.context == nd.zeros((1,)).context


@pytest.mark.parametrize("dtype", ["bfloat16", "int16"])
def test_dtypes_that_mxnet_cannot_name(dtype, tmp_path):
    x = nd.array([1, -2, 3]).astype(dtype)
    nd.save(tmp_path / "x", x)
    (y,) = nd.load(tmp_path / "x")
    assert y.dtype is x.dtype
    assert y.astype("float32").asnumpy().tolist() == [1, -2, 3]


def test_any_byte_but_0_is_true():
    (x,) = nd.load_frombuffer(file(element(V2, (3,), dtype=7, data=b"\0\1\xff")))
    assert x.asnumpy().view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_buffers(kind):
    content = (FOLDER / "names.params").read_bytes()
    same(nd.load_frombuffer(kind(content)), contents()["names"])


@given(st.lists(st.integers(0, 4), max_size=5), st.sampled_from(["float32", "int64", "uint8"]), st.text())
def test_round_trip(shape, dtype, name):
    host = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    buffer = serialization.dump({name: nd.array(host, dtype=dtype)})
    same(nd.load_frombuffer(buffer), {name: host})


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="the system has no files of that kind")
def test_writing_to_a_pipe():
    """What is no file is written to, not replaced."""
    read, write = os.pipe()
    with open(read, "rb") as source:
        with open(write, "wb"):
            nd.save(f"/dev/fd/{write}", [nd.ones((1,))])
        assert source.read() == serialization.dump([nd.ones((1,))])


# What cannot be saved


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("x", "save: data is str; accepted: NDArray, a list of them"),
        ([1], r"save: data\[0\] is int; accepted: names that are str"),
        ({"a": np.ones(2)}, r"save: data\['a'\] is ndarray"),
        ({1: "NDArray"}, r"save: data\[1\] is"),
    ],
)
def test_what_cannot_be_saved(data, message, tmp_path):
    with pytest.raises(OperatorTypeError, match=message):
        nd.save(tmp_path / "x", data)
    assert os.listdir(tmp_path) == []


def test_names_of_files():
    with pytest.raises(OperatorTypeError, match="save: fname is int; accepted"):
        nd.save(1, [])
    with pytest.raises(OperatorTypeError, match="load: fname is int; accepted"):
        nd.load(1)
    with pytest.raises(OperatorTypeError, match="load_frombuffer: buf is str; accepted: bytes"):
        nd.load_frombuffer("x")
    with pytest.raises(FileNotFoundError):
        nd.load("/nowhere/at/all")


# Atomic writes


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    nd.save(path, nd.ones((2,)))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        nd.save(path, nd.zeros((1000,)))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]


def test_links_stay_links(tmp_path):
    (tmp_path / "link").symlink_to("x")
    nd.save(tmp_path / "link", nd.ones((1,)))
    assert (tmp_path / "link").is_symlink()
    assert nd.load(tmp_path / "x")[0].asscalar() == 1


# Damaged and hostile files

GOOD = (FOLDER / "names.params").read_bytes()


@pytest.mark.parametrize("length", [*range(0, len(GOOD), 7), len(GOOD) - 1])
def test_files_cut_short(length):
    with pytest.raises(MXNetError, match=r"load_frombuffer: buf: at byte \d+: .*(cut short|can hold)"):
        nd.load_frombuffer(GOOD[:length])


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_damaged_files(position, difference):
    """A changed byte gives other values or an error, and nothing else."""
    damaged = bytearray(GOOD)
    damaged[position] ^= difference
    try:
        result = nd.load_frombuffer(damaged)
    except MXNetError as error:
        assert "at byte" in str(error) or "cl_khr_fp64" in str(error)  # noqa: PT017
    else:
        assert len(result) <= 3


BIG = 2**62
HOSTILE = {
    "not a file": (b"PK\3\4" * 10, "begins with .* not a file of arrays"),
    "nothing": (b"", "the header would take 16 bytes"),
    "many arrays": (file(count=2**64 - 1), "arrays are announced, more than"),
    "many names": (file(element(V2), names=struct.pack("<Q", BIG)), "names are announced, more than"),
    "long name": (file(element(V2), names=struct.pack("<QQ", 1, BIG)), "a name would take"),
    "fewer names": (
        file(element(V2), element(V2), names=struct.pack("<QQ", 1, 1) + b"a"),
        "2 arrays, but 1 names",
    ),
    "a name in no alphabet": (file(element(V2), names=struct.pack("<QQ", 1, 1) + b"\xff"), "not UTF-8"),
    "huge": (file(element(V2, (2**40, 2))), "an array of shape .* would take"),
    "huger": (file(element(V2, (BIG, BIG))), "accepted: a shape that memory can hold"),
    "huge and empty": (
        file(element(V3, (BIG, BIG, 0), data=b"")),
        "accepted: a shape that memory can hold",
    ),
    "negative": (file(element(V2, (-1, 2))), r"has the shape \(-1, 2\); accepted: known sizes"),
    "negative twice": (file(element(V2, (-1, -2))), "accepted: known sizes"),
    "unknown": (file(element(V2, (0, 2))), "accepted: known sizes"),
    "no shape": (file(element(V2, ())), "has no shape"),
    "many axes": (file(struct.pack("<IiI", V2, 0, 2**32 - 1) + bytes(100)), "axes; accepted: up to 32"),
    "another magic": (file(struct.pack("<I", 0xF993FACB) + bytes(100)), "begins with 0xf993facb"),
    "a dtype of others": (file(element(V2, dtype=10)), "dtype uint32; accepted: float32"),
    "a dtype of nobody": (file(element(V2, dtype=99)), "dtype number 99"),
    "a storage type of nobody": (file(element(V2, stype=5)), "storage type number 5"),
    "something behind": (file(element(V2)) + b"x", "1 bytes follow the last name"),
    "a pickle": (pickle.dumps({"a": 1}) + bytes(20), "not a file of arrays"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files(what):
    """An error that says what is wrong, before memory is asked for."""
    content, message = HOSTILE[what]
    tracemalloc.start()
    try:
        with pytest.raises(MXNetError, match=message):
            nd.load_frombuffer(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
def test_sparse_files(stype):
    with pytest.raises(MXNetError, match=f"storage type {stype}; accepted: default"):
        nd.load(FOLDER / f"{stype}.params")
