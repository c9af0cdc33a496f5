"""Reading and writing by index, against numpy, on seeded random expressions; with gradients."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import MXNetError, OperatorError
from clgrad.test_utils import gradcheck, gradgradcheck

#: Of the ops' table, writing needs one op of its own.
COVERS = {"__setitem__": ("_slice_assign",)}


def random_key(rng, shape) -> tuple:
    """Integers, slices with steps of either sign, Ellipsis and None; no axis left empty."""
    items: list = []
    for n in shape:
        kind = rng.choice(["slice", "integer", "all"], p=[0.5, 0.25, 0.25])
        whole = slice(None) if kind == "all" else random_slice(rng, n)
        items.append(int(rng.integers(-n, n)) if kind == "integer" else whole)
    begin, end = sorted(rng.integers(0, len(items) + 1, 2))
    if rng.random() < 0.3:
        items[begin:end] = [Ellipsis]
    elif rng.random() < 0.3:
        del items[end:]
    if rng.random() < 0.3:
        items.insert(int(rng.integers(0, len(items) + 1)), None)
    return tuple(items)


def random_slice(rng, n: int) -> slice:
    """A slice of an axis of size n that selects something; bounds may lie outside or be None."""
    while True:
        start, stop = (None if rng.random() < 0.3 else int(rng.integers(-n - 2, n + 3)) for _ in "ab")
        step = int(rng.choice([-3, -2, -1, 1, 1, 2, 3]))
        if len(range(*slice(start, stop, step).indices(n))):
            return slice(start, stop, step if step != 1 or rng.random() < 0.5 else None)


def expected_read(x: np.ndarray, key) -> np.ndarray:
    """As numpy, but a single element is an array of shape (1,), as in MXNet."""
    part = np.asarray(x[key])
    return part.reshape(1) if part.ndim == 0 else part


SHAPES = [(7,), (4, 5), (3, 4, 5), (2, 3, 4, 5), (1, 6, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_random_reads(shape, rng):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    y = nd.array(x)
    for _ in range(60):
        key = random_key(rng, shape)
        expected, actual = expected_read(x, key), y[key]
        assert actual.shape == expected.shape, key
        np.testing.assert_array_equal(actual.asnumpy(), expected, err_msg=str(key))


@pytest.mark.parametrize("kind", ["number", "numpy", "NDArray"])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_writes(shape, kind, rng):
    """What is written, and that nothing else is; values of its shape and broadcast ones."""
    host = rng.standard_normal(shape).astype(np.float32)
    x = nd.array(host)
    for _ in range(30):
        key = random_key(rng, shape)
        region = host[key].shape
        value = float(rng.integers(100))
        if kind != "number":
            keep = rng.integers(0, len(region) + 1) if region else 0
            own = tuple(1 if rng.random() < 0.3 else n for n in region[keep:])
            value = rng.standard_normal(own).astype(np.float32)
        host[key] = value
        x[key] = nd.array(value) if kind == "NDArray" else value
        np.testing.assert_array_equal(x.asnumpy(), host, err_msg=f"{key} {np.shape(value)}")


@pytest.mark.parametrize("shape", SHAPES)
def test_random_gradients(shape, rng):
    """The gradient of a read is 1 where it reads: numpy writes what clgrad gathers."""
    x = nd.array(rng.standard_normal(shape))
    for _ in range(15):
        key = random_key(rng, shape)
        x.attach_grad()
        with autograd.record():
            y = x[key]
        dy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(nd.array(dy))
        expected = np.zeros(shape, np.float32)
        expected[key] = dy.reshape(expected[key].shape)
        np.testing.assert_array_equal(x.grad.asnumpy(), expected, err_msg=str(key))


@pytest.mark.parametrize(
    "key",
    [np.s_[1], np.s_[:, 1:], np.s_[::2, ::-1], np.s_[1:, None, -1], np.s_[..., 0], np.s_[1, 2]],
)
def test_second_gradients_of_reads(key, rng):
    x = rng.uniform(0.5, 2, (3, 4))
    gradcheck(lambda x: x[key], [x])
    gradgradcheck(lambda x: x[key] ** 3, [x])


# Shared memory


def test_rows_share_memory():
    x = nd.array(np.arange(12).reshape(4, 3))
    for part in (x[1], x[1:3], x[-1:], x[:], x[2, :]):
        assert part.handle == x.handle
    x[1:3][0] = 7
    assert x.asnumpy().tolist() == [[0, 1, 2], [7, 7, 7], [6, 7, 8], [9, 10, 11]]
    for copy in (x[:, 1], x[::2], x[::-1]):
        assert copy.handle != x.handle


def test_rows_of_rows(rng):
    """Offsets add up, and kernels read and write at them."""
    host = rng.standard_normal((5, 6, 7)).astype(np.float32)
    part = nd.array(host)[1:4][1][2:5]
    np.testing.assert_array_equal(part.asnumpy(), host[1:4][1][2:5])
    np.testing.assert_array_equal((part * 2 + part).asnumpy(), host[1:4][1][2:5] * 3)
    np.testing.assert_array_equal(part.T.asnumpy(), host[1:4][1][2:5].T)
    np.testing.assert_allclose(
        nd.sum(part, axis=0).asnumpy(), host[2, 2:5].sum(axis=0), rtol=1e-5, atol=1e-6
    )


# Kinds of keys and values


def test_iteration_gives_rows():
    x = nd.array(np.arange(6).reshape(3, 2))
    assert [row.asnumpy().tolist() for row in x] == [[0, 1], [2, 3], [4, 5]]
    assert [v.shape for v in nd.array([1, 2])] == [(1,), (1,)]


def test_numpy_and_nd_integers_are_indices():
    x = nd.array(np.arange(12).reshape(3, 4))
    assert x[np.int64(1), np.uint8(2)].asscalar() == 6
    assert x[np.int32(1) : np.int64(3)].shape == (2, 4)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_an_array_of_integers_takes_rows(dtype, rng):
    host = rng.standard_normal((5, 3)).astype(np.float32)
    x = nd.array(host)
    rows = np.array([[0, 4], [-1, 2]], dtype)
    np.testing.assert_array_equal(x[rows].asnumpy(), host[rows])
    np.testing.assert_array_equal(x[[3, -5]].asnumpy(), host[[3, -5]])
    positive = rows % 5
    np.testing.assert_array_equal(x[nd.array(positive, dtype=dtype)].asnumpy(), host[positive])


@pytest.mark.parametrize("key", [[0, 3], np.array([-4])])
def test_an_array_of_integers_out_of_bounds(key):
    """``take`` would move them to the nearest end, silently."""
    with pytest.raises(IndexError, match="out of bounds for an axis of size 3"):
        nd.ones((3, 2))[key]


def test_gradient_of_rows_taken_twice():
    x = nd.array(np.ones((3, 2)))
    x.attach_grad()
    with autograd.record():
        y = x[[1, 1, 0]] * nd.array([[1.0], [10.0], [100.0]])
    y.backward()
    assert x.grad.asnumpy().tolist() == [[100, 100], [11, 11], [0, 0]]


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        pytest.param("float64", marks=pytest.mark.requires("fp64")),
        "int64",
        "uint8",
        "bool",
    ],
)
def test_other_dtypes(dtype, rng):
    host = rng.integers(0, 2, (4, 19)).astype(dtype)
    x = nd.array(host, dtype=dtype)
    np.testing.assert_array_equal(x[1:, ::3].asnumpy(), host[1:, ::3])
    host[:, 1:18] = 1 - host[:, 1:18].astype("int8")
    x[:, 1:18] = host[:, 1:18]
    x[0] = host[0] = True
    np.testing.assert_array_equal(x.asnumpy(), host)
    assert x[0].dtype == np.dtype(dtype).type


def test_values_are_converted():
    x = nd.zeros((2, 2), dtype="int32")
    x[0] = nd.array([1.9, -1.9])
    x[1] = [3, 4.5]
    assert x.asnumpy().tolist() == [[1, -1], [3, 4]]
    x[:] = np.float64(7.5)
    assert x.asnumpy().tolist() == [[7, 7], [7, 7]]


def test_leading_axes_of_size_1_of_a_value_are_dropped():
    x = nd.zeros((2, 3))
    x[1] = nd.ones((1, 1, 3))
    assert x.asnumpy().tolist() == [[0, 0, 0], [1, 1, 1]]


# Writes and the tape


def test_gradient_of_what_is_written():
    """``t[:] = recorded`` on a fresh array passes gradients on, also where it is broadcast."""
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        t = nd.empty((2, 3))
        t[:] = x * x
        y = t * nd.array([[1.0], [10.0]])
    y.backward()
    assert x.grad.asnumpy().tolist() == [22, 44, 66]


def test_writing_to_a_recorded_array_while_recording():
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = x * 2
        with pytest.raises(MXNetError, match="in-place write"):
            y[0] = 1
        with pytest.raises(MXNetError, match="in-place write"):
            x[:] = 1


def test_writing_to_an_array_that_backward_reads():
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = x * x
    x[1:] = 5
    with pytest.raises(MXNetError, match=r"written\s+in place after the forward pass read it"):
        y.backward()


# Errors


@pytest.mark.parametrize("key", [4, -5, (0, 3), (0, -4)])
def test_out_of_bounds(key):
    with pytest.raises(IndexError, match=r"index -?\d is out of bounds for an axis of size [34]"):
        nd.zeros((4, 3))[key]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 0, 0), "indexing: 3 indices given; accepted: up to 2"),
        ((Ellipsis, Ellipsis), "indexing: more than one Ellipsis given; accepted: one"),
        (slice(2, 1), r"indexing: slice\(2, 1, None\) selects nothing of an axis of size 4"),
        ("a", "indexing: an index is str; accepted: integers, slices"),
        (1.0, "indexing: an index is float; accepted"),
        ((0, slice(None, None, 0)), "indexing: step is 0; accepted: a step other than 0"),
        (np.array([0.5]), "indexing: key has dtype float64; accepted"),
    ],
)
def test_bad_keys_are_named(key, message):
    with pytest.raises(OperatorError, match=message):
        nd.zeros((4, 3))[key]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.zeros(4),
            r"indexing: value has shape \(4,\); accepted: a shape that broadcasts to \(2, 3\)",
        ),
        (np.zeros((3, 2, 3)), r"indexing: value has shape \(3, 2, 3\)"),
        ("a", "indexing: value is str; accepted: a number, a numpy array or an NDArray"),
    ],
)
def test_bad_values_are_named(value, message):
    x = nd.zeros((4, 3))
    with pytest.raises(OperatorError, match=message):
        x[1:3] = value
