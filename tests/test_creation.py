"""Arrays from nothing and from the host: values, dtypes, shapes, contexts, errors."""

import numpy as np
import pytest

import clgrad as mx
from clgrad import nd
from clgrad.errors import OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "zeros": ("_full",),
    "arange": ("_arange",),
    "linspace": ("_linspace",),
    "eye": ("_eye",),
    "zeros_like": (),
    "ones_like": (),
    "full_like": (),
    "shape_array": (),
    "size_array": (),
}

FP64 = pytest.mark.requires("fp64")
DTYPES = [
    "float32",
    pytest.param("float64", marks=FP64),
    "float16",
    "int64",
    "int32",
    "int8",
    "uint8",
    "bool",
]


def equal(x: nd.NDArray, expected, dtype="float32") -> None:
    assert np.dtype(x.dtype) == dtype
    assert x.shape == np.shape(expected)
    np.testing.assert_array_equal(x.asnumpy(), expected)


# From the host


@pytest.mark.parametrize(
    "source",
    [[[1, 2], [3, 4]], ((1, 2), (3, 4)), np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4.0]])],
)
def test_an_array_is_float32_unless_asked_for(source):
    equal(nd.array(source), [[1, 2], [3, 4]])
    equal(nd.array(source, dtype="int64"), [[1, 2], [3, 4]], "int64")
    equal(nd.array(source, dtype=np.uint8), [[1, 2], [3, 4]], "uint8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_way_there_and_back(dtype, rng):
    host = rng.integers(0, 2, (3, 7)).astype(dtype)
    equal(nd.array(host, dtype=dtype), host, dtype)
    equal(nd.from_numpy(host), host, dtype)


def test_arrays_that_are_not_contiguous(rng):
    host = rng.standard_normal((6, 8)).astype(np.float32)
    for view in (
        host.T,
        host[::2, 1:],
        host[::-1],
        np.asfortranarray(host),
        np.broadcast_to(host[0], (3, 8)),
    ):
        equal(nd.array(view), view)


def test_other_byte_orders():
    equal(nd.array(np.arange(5, dtype=">f4")), [0, 1, 2, 3, 4])


def test_scalars_and_nothing():
    equal(nd.array(3.5), 3.5)
    equal(nd.array([]), [])
    equal(nd.array(np.zeros((2, 0, 3))), np.zeros((2, 0, 3)))


def test_an_array_keeps_its_dtype_and_is_copied():
    x = nd.array([1, 2], dtype="int32")
    y = nd.array(x)
    equal(y, [1, 2], "int32")
    y[:] = 5
    equal(x, [1, 2], "int32")
    equal(nd.array(x, dtype="float16"), [1, 2], "float16")


def test_the_host_array_may_change_at_once(rng):
    """The upload has read the numpy array before nd.array returns."""
    host = rng.standard_normal(1 << 18).astype(np.float32)
    expected = host.copy()
    x = nd.array(host)
    host[:] = 0
    equal(x, expected)


def test_what_asnumpy_returns_is_the_users():
    x = nd.array([1, 2])
    host = x.asnumpy()
    host[0] = 7
    equal(x, [1, 2])
    assert host.flags.c_contiguous
    assert host.flags.writeable


@pytest.mark.parametrize("source", [[[1, 2], [3]], ["a"], [None], object()])
def test_what_is_not_an_array_is_named(source):
    with pytest.raises(OperatorTypeError, match="array: source_array is not a regular array of numbers"):
        nd.array(source)


@pytest.mark.parametrize("dtype", ["complex64", "S3", "nothing", "uint16"])
def test_unknown_dtypes_are_named(dtype):
    with pytest.raises(
        OperatorTypeError, match=f"array: dtype='{dtype}' is not a dtype; accepted: float16"
    ):
        nd.array([1], dtype=dtype)


@pytest.mark.skipif("mx.current_context().device.capabilities.fp64")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nd.zeros((2,), dtype="float64"),
        lambda: nd.array([1], dtype="float64"),
        lambda: nd.ones((2,)).astype("float64"),
    ],
)
def test_a_device_without_double_precision_says_so(make):
    with pytest.raises(OperatorError, match=r"dtype float64: the device .* has no double precision"):
        make()


# From nothing


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants(dtype):
    equal(nd.zeros((2, 17), dtype=dtype), np.zeros((2, 17)), dtype)
    equal(nd.ones((2, 17), dtype=dtype), np.ones((2, 17)), dtype)
    equal(nd.full((35,), 1, dtype=dtype), np.ones(35), dtype)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (-7, "int8"),
        (255, "uint8"),
        (2**53 + 1, "int64"),
        (-(2**31), "int32"),
        (1e30, "float32"),
        (0.1, "float16"),
        (np.nan, "float32"),
        (-np.inf, "float16"),
    ],
)
def test_constants_that_a_detour_would_spoil(value, dtype):
    """Through float32 a large integer would lose digits."""
    equal(nd.full((3,), value, dtype=dtype), np.full(3, value, dtype), dtype)


def test_ways_to_give_a_shape():
    for shape in (3, (3,), [3], np.int64(3), (np.int32(3),)):
        equal(nd.zeros(shape), [0, 0, 0])
    equal(nd.ones(()), 1)
    equal(nd.ones((0, 2)), np.ones((0, 2)))
    assert nd.empty((2, 3), dtype="int8").shape == (2, 3)
    assert nd.empty(3).dtype is np.float32
    with pytest.raises(OperatorTypeError, match=r"zeros: argument 'shape' is \(2.5,\); accepted: size"):
        nd.zeros((2.5,))
    for shape in (-1, (2, -1)):
        with pytest.raises(OperatorError, match=r"shape is .*; accepted: whole numbers not below 0"):
            nd.zeros(shape)


def test_out():
    x = nd.zeros((2, 3), dtype="int32")
    assert nd.ones((2, 3), out=x) is x
    equal(x, np.ones((2, 3)), "int32")
    nd.full((2, 3), 4, out=x)
    equal(x, np.full((2, 3), 4), "int32")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"start": 5}, [0, 1, 2, 3, 4]),
        ({"start": 2, "stop": 10, "step": 3}, [2, 5, 8]),
        ({"start": 5, "stop": 1, "step": -2}, [5, 3]),
        ({"start": 1, "stop": 2, "step": 0.25}, [1, 1.25, 1.5, 1.75]),
        ({"start": 3, "repeat": 2}, [0, 0, 1, 1, 2, 2]),
        ({"start": 2, "stop": 2}, []),
        ({"start": 2, "stop": -3}, []),
        ({"start": 40, "stop": 0, "step": -1}, list(range(40, 0, -1))),
    ],
)
def test_arange(arguments, expected):
    equal(nd.arange(**arguments), expected)


def test_arange_of_other_dtypes():
    equal(nd.arange(20, dtype="int32"), range(20), "int32")
    equal(nd.arange(2**40, 2**40 + 3, dtype="int64"), [2**40, 2**40 + 1, 2**40 + 2], "int64")
    equal(nd.arange(5, dtype="float16"), range(5), "float16")
    equal(nd.arange(250, 255, dtype="uint8"), range(250, 255), "uint8")
    with pytest.raises(OperatorError, match="arange: step is 0"):
        nd.arange(0, 1, 0)


def test_linspace():
    equal(nd.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1])
    equal(nd.linspace(0, 1, 4, endpoint=False), [0, 0.25, 0.5, 0.75])
    equal(nd.linspace(3, 7, 1), [3])
    equal(nd.linspace(2, -2, 3), [2, 0, -2])


@pytest.mark.parametrize("dtype", ["float32", "float16", pytest.param("float64", marks=FP64)])
def test_linspace_ends_where_it_is_told_to(dtype):
    x = nd.linspace(-1, 0.7, 1001, dtype=dtype).asnumpy()
    expected = np.linspace(-1, 0.7, 1001)
    assert x[-1] == np.dtype(dtype).type(0.7)
    np.testing.assert_allclose(x.astype(np.float64), expected, atol=4 * np.finfo(dtype).eps)


def test_linspace_of_whole_numbers_drops_fractions():
    equal(nd.linspace(0, 10, 5, dtype="int32"), [0, 2, 5, 7, 10], "int32")
    equal(nd.linspace(0, 1, 4, dtype="uint8"), [0, 0, 0, 1], "uint8")
    with pytest.raises(OperatorError, match=r"linspace: num is -1; accepted: a whole number not below 0"):
        nd.linspace(0, 1, -1)


@pytest.mark.parametrize("k", [-2, 0, 1, 5])
@pytest.mark.parametrize(("n", "m"), [(3, 0), (3, 5), (20, 19)])
def test_eye(n, m, k):
    equal(nd.eye(n, m, k), np.eye(n, m or None, k))


def test_eye_of_integers():
    equal(nd.eye(2, dtype="int32"), np.eye(2), "int32")


def test_like_another_array():
    x = nd.array([[1, 2, 3]], dtype="int32")
    equal(nd.zeros_like(x), [[0, 0, 0]], "int32")
    equal(x.ones_like(), [[1, 1, 1]], "int32")
    equal(nd.full_like(x, 7), [[7, 7, 7]], "int32")
    equal(nd.full_like(x, 7.5, dtype="float16"), [[7.5, 7.5, 7.5]], "float16")
    equal(nd.shape_array(x), [1, 3], "int64")
    equal(nd.size_array(x), [3], "int64")


def test_contexts():
    ctx = mx.current_context()
    for x in (
        nd.zeros((2,), ctx=ctx),
        nd.array([1], ctx=ctx),
        nd.arange(3, ctx=ctx),
        nd.eye(2, ctx=ctx),
    ):
        assert x.context == ctx


def test_sparse_storage_is_refused():
    for make in (nd.zeros, nd.empty):
        assert make((2,), None, "int8", "default").dtype is np.int8
        with pytest.raises(NotImplementedError, match="stype is 'csr'; accepted: 'default'"):
            make((2,), stype="csr")


def test_onehot_encode_writes_to_its_argument():
    out = nd.full((3, 4), 9)
    assert nd.onehot_encode(nd.array([1, 0, 2]), out) is out
    equal(out, np.eye(3, 4)[[1, 0, 2]])


def test_errors_name_the_argument():
    with pytest.raises(OperatorError, match=r"eye: N is -1; accepted: a whole number not below 0"):
        nd.eye(-1)
    with pytest.raises(OperatorError, match=r"arange: repeat is 0; accepted: 1 or more"):
        nd.arange(3, repeat=0)
