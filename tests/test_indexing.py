"""Reading and writing by index, against numpy, on random expressions; with gradients of every order."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clgrad import autograd, nd
from clgrad.errors import MXNetError, OperatorError
from clgrad.test_utils import gradcheck, gradgradcheck

#: Of the ops' table, indexing needs ops of its own.
COVERS = {
    "__setitem__": ("_slice_assign", "_write_at", "_read_at", "_add_at", "_positions", "_expand_to"),
    "masks": ("_mask_counts", "_mask_positions"),
}

# Random expressions


@dataclass(frozen=True)
class Array:
    """An index array or a mask, and what kind of object holds it."""

    values: list
    kind: str

    def host(self) -> np.ndarray:
        return np.array(self.values, bool if "mask" in self.kind else np.int64)

    def given(self):
        """What clgrad is given."""
        if self.kind in ("list", "list mask") and isinstance(self.values, list):
            return self.values
        if self.kind in ("numpy", "numpy mask", "list", "list mask"):
            return self.host()
        return nd.array(self.host(), dtype="bool" if "mask" in self.kind else self.kind)


KINDS = st.sampled_from(["numpy", "list", "int32", "float32", "int64", "int8", "float16"])
MASKS = st.sampled_from(["numpy mask", "list mask", "NDArray mask"])
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@st.composite
def slices(draw, n: int) -> slice:
    """A slice of an axis of size n that selects something; bounds may lie outside or be None."""
    bounds = st.none() | st.integers(-n - 2, n + 2)
    found = slice(draw(bounds), draw(bounds), draw(st.sampled_from([None, 1, 2, 3, -1, -2, -3])))
    return found if len(range(*found.indices(n))) else slice(None, None, found.step)


@st.composite
def keys(draw, shape: tuple[int, ...], advanced: bool) -> tuple:
    """Parts for some of the axes: integers, slices, Ellipsis, None; if ``advanced``, arrays and masks."""
    common = draw(st.lists(st.integers(1, 3), max_size=2)) if advanced else []
    kinds = ["slice", "integer", "array", "mask"] if advanced else ["slice", "integer"]
    items: list = []
    axis = 0
    while axis < len(shape):
        n, kind = shape[axis], draw(st.sampled_from(kinds))
        width = 1
        if kind == "slice":
            items.append(draw(slices(n)))
        elif kind == "integer":
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            own = _narrowed(draw, common)
            numbers = draw(st.lists(st.integers(-n, n - 1), min_size=_size(own), max_size=_size(own)))
            items.append(Array(np.reshape(numbers, own).astype(int).tolist(), draw(KINDS)))
        else:
            width = draw(st.integers(1, min(2, len(shape) - axis)))
            items.append(draw(masks(shape[axis : axis + width], common)))
        axis += width
    if draw(st.booleans()):  # leave axes out
        begin = draw(st.integers(0, len(items)))
        end = draw(st.integers(begin, len(items)))
        items[begin:end] = [Ellipsis] if end < len(items) or draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return tuple(items)


@st.composite
def masks(draw, shape: tuple[int, ...], common: list[int]) -> Array:
    """As many true elements as the index arrays' last axis has, if they fit."""
    size = _size(shape)
    if common and common[-1] <= size:
        true = draw(st.permutations(range(size)))[: common[-1]]
        flat = [i in true for i in range(size)]
    else:
        flat = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return Array(np.reshape(flat, shape).tolist(), draw(MASKS))


def _narrowed(draw, shape) -> tuple[int, ...]:
    """A shape that broadcasts to another: without leading axes, or 1 along some."""
    kept = list(shape)[draw(st.integers(0, len(shape))) :]
    return tuple(n if draw(st.booleans()) else 1 for n in kept)


def _size(shape) -> int:
    return int(np.prod(shape, dtype=int))


@st.composite
def questions(draw, advanced: bool = True):
    """A shape, and a key for it."""
    shape = draw(SHAPES)
    return shape, draw(keys(shape, advanced))


def host_key(key: tuple) -> tuple:
    return tuple(part.host() if isinstance(part, Array) else part for part in key)


def given_key(key: tuple):
    parts = tuple(part.given() if isinstance(part, Array) else part for part in key)
    return parts[0] if len(parts) == 1 else parts


def places(shape: tuple[int, ...], key: tuple) -> np.ndarray | None:
    """The flat positions that numpy reads; None where it refuses."""
    try:
        return np.asarray(np.arange(_size(shape)).reshape(shape)[host_key(key)])
    except IndexError:
        return None


def check_refusal(shape, key) -> None:
    x = nd.zeros(shape)
    for action in (lambda: x[given_key(key)], lambda: x.__setitem__(given_key(key), 1)):
        with pytest.raises((OperatorError, IndexError)):
            action()


@given(questions(advanced=False) | questions())
@example(((2, 3, 4), (slice(None), Array([0, 1], "numpy"), Array([1, 2], "int32"))))
@example(((2, 3, 4), (Array([0, 1], "float32"), slice(None), Array([1, 2, -1, 0], "list"))))
@example(((2, 3, 4), (Array([0, 1], "float32"), slice(None), Array([1, 2], "list"))))
@example(((2, 3, 4), (0, slice(None), Array([1, 2], "int64"))))
@example(((2, 3, 4), (slice(None), Array([0], "list"), Ellipsis, Array([1], "list"))))
@example(((2, 3, 1), (slice(None), Array([0], "list"), Ellipsis, Array([0], "list"))))
@example(((2, 3), (None, Array([[True, False, True], [False, False, True]], "NDArray mask"))))
@example(((2, 3, 2, 4), (slice(None, None, -1), Array([0, 2], "int8"), None, Array([1], "list"))))
@example(((2, 3), (Array(1, "int32"), Array([True, False, True], "NDArray mask"))))
def test_reads(question):
    """As numpy, but a single element is an array of shape (1,), as in MXNet."""
    shape, key = question
    expected = places(shape, key)
    if expected is None:
        check_refusal(shape, key)
        return
    y = nd.array(np.arange(_size(shape)).reshape(shape))[given_key(key)]
    assert y.shape == (expected.shape or (1,))
    np.testing.assert_array_equal(y.asnumpy().reshape(expected.shape), expected)


@st.composite
def writes(draw):
    """A question, the shape of a value, and what kind of object holds it."""
    shape, key = draw(questions(advanced=False) | questions())
    found = places(shape, key)
    region = () if found is None else found.shape
    kind = draw(st.sampled_from(["number", "numpy", "NDArray", "list"]))
    return shape, key, _narrowed(draw, region) if kind != "number" else (), kind


@settings(max_examples=60)  # each new kind of key builds kernels
@given(writes())
@example(((3,), (Array([1, 1, 0, 1], "int32"),), (4,), "NDArray"))
@example(((3, 2), (Array([1, 1, 0], "list"), slice(None)), (3, 1), "numpy"))
def test_writes(question):
    """What is written, and that nothing else is; of what is written twice, the last."""
    shape, key, own, kind = question
    at = places(shape, key)
    if at is None:
        check_refusal(shape, key)
        return
    value = (np.arange(_size(own)) + 0.5).reshape(own)
    expected = np.arange(_size(shape), dtype=np.float32) * 10
    expected[at.ravel()] = np.broadcast_to(value, at.shape).ravel()
    x = nd.array(np.arange(_size(shape)).reshape(shape) * 10)
    given_value = {"number": float, "numpy": np.array, "NDArray": nd.array, "list": np.ndarray.tolist}[kind]
    x[given_key(key)] = given_value(value)
    np.testing.assert_array_equal(x.asnumpy().ravel(), expected)


def cotangent(shape) -> np.ndarray:
    """Whole numbers, whose sums are exact in any order."""
    return (1 + np.arange(_size(shape), dtype=np.float32) * 7 % 11).reshape(shape)


@settings(max_examples=60)
@given(questions())
@example(((3, 2), (Array([1, 1, 0, 1], "numpy"),)))
@example(((3, 2), (Array([1, 1, 0, 1], "int32"),)))
def test_gradients_of_reads(question):
    """Each element gets what was given to its copies: a read's transpose adds."""
    shape, key = question
    at = places(shape, key)
    if at is None:
        return
    x = nd.zeros(shape)
    x.attach_grad()
    with autograd.record():
        y = x[given_key(key)]
    dy = cotangent(at.shape)
    y.backward(nd.array(dy.reshape(y.shape)))
    expected = np.zeros(_size(shape), np.float32)
    np.add.at(expected, at.ravel(), dy.ravel())
    np.testing.assert_array_equal(x.grad.asnumpy().ravel(), expected)


@given(writes())
@example(((3,), (Array([1, 1, 0, 1], "int32"),), (4,), "NDArray"))
@example(((3, 2), (Array([1, 1, 0], "list"),), (2,), "NDArray"))
def test_gradients_of_writes(question):
    """What was written last has a gradient, and nothing else."""
    shape, key, own, kind = question
    at = places(shape, key)
    if at is None or kind != "NDArray":
        return
    value = nd.ones(own)
    value.attach_grad()
    with autograd.record():
        x = nd.zeros(shape)
        x[given_key(key)] = value * 1
    dx = cotangent(shape)
    x.backward(nd.array(dx))
    last = np.full(_size(shape), -1)
    last[at.ravel()] = np.arange(at.size)
    taken = dx.ravel()[at.ravel()] * (last[at.ravel()] == np.arange(at.size))
    numbered = np.broadcast_to(np.arange(_size(own)).reshape(own), at.shape).ravel()
    expected = np.bincount(numbered, taken, minlength=_size(own))
    np.testing.assert_array_equal(value.grad.asnumpy().ravel(), expected)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[1],
        np.s_[:, 1:],
        np.s_[::2, ::-1],
        np.s_[1:, None, -1],
        np.s_[..., 0],
        np.s_[1, 2],
        ([2, 0, 2],),
        ([2, 0, 2], slice(1, None)),
        (slice(None), [[1, 1], [3, 0]]),
        ([[True, False, True, True]] * 3,),
        (slice(None), None, [True, False, True, True]),
    ],
    ids=str,
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


# Index arrays and masks


@pytest.mark.parametrize("key", [[0, 3], np.array([-4]), ([0], [3]), (slice(None), [[2]])])
def test_indices_that_the_host_knows_are_checked(key):
    x = nd.ones((3, 2))
    with pytest.raises(IndexError, match=r"index -?\d is out of bounds for an axis of size [23]"):
        x[key]
    with pytest.raises(IndexError, match="out of bounds"):
        x[key] = 1
    assert x.asnumpy().sum() == 6


def test_indices_on_the_device_stay_inside():
    """The host does not wait for them; what lies outside means the nearest end."""
    x = nd.array([10, 11, 12])
    indices = nd.array([-7, -3, -1, 0, 2, 3, 100], dtype="int32")
    assert x[indices].asnumpy().tolist() == [10, 10, 12, 10, 12, 12, 12]
    assert x[nd.array([0.9, 2.9, -1.5, np.nan, np.inf])].asnumpy().tolist() == [10, 12, 12, 10, 12]
    x[nd.array([2**40], dtype="int64")] = 7
    assert x.asnumpy().tolist() == [10, 11, 7]


def test_real_numbers_are_indices_where_they_are_whole():
    x = nd.array([10, 11, 12])
    assert x[np.array([1.0, -1.0])].asnumpy().tolist() == [11, 12]
    assert x[[2.0]].asnumpy().tolist() == [12]


def test_comparisons_are_index_arrays_until_they_are_masks():
    """MXNet's comparisons give real numbers, and these are indices."""
    x = nd.array([10, 11, 12])
    assert (x > 10).dtype is np.float32
    assert x[x > 10].asnumpy().tolist() == [10, 11, 11]
    assert x[(x > 10).astype("bool")].asnumpy().tolist() == [11, 12]


def test_masks_of_no_axes():
    x = nd.array([[1, 2]])
    assert x[True].shape == (1, 1, 2)
    assert x[False].shape == (0, 1, 2)
    assert x[:, np.True_].shape == (1, 1, 2)
    x[False] = 7
    x[True, 0, 1] = 5
    assert x.asnumpy().tolist() == [[1, 5]]


@pytest.mark.parametrize("mask", [[True, False], np.ones((3, 3), bool), np.ones((2, 2), bool)])
def test_masks_of_other_shapes(mask):
    for given_mask in (mask, nd.array(mask, dtype="bool")):
        with pytest.raises(IndexError, match=r"a mask has shape .*; accepted: \(3,(| 2)\)"):
            nd.ones((3, 2))[given_mask]


@pytest.mark.parametrize("empty", [[], np.empty((0,), np.int32), np.empty((0, 2), np.int64), [[], []]])
def test_no_indices(empty):
    x = nd.ones((3, 2))
    x.attach_grad()
    with autograd.record():
        y = x[empty]
        z = y.sum() + x.sum()
    assert y.shape == (*np.shape(empty), 2)
    z.backward()
    assert x.grad.asnumpy().sum() == 6
    x[empty] = 7
    assert x.asnumpy().sum() == 6


def test_masks_without_true_elements():
    x = nd.ones((3, 2))
    for mask in (np.zeros((3, 2), bool), nd.zeros((3, 2), dtype="bool"), [False] * 3):
        x[mask] = 7
        assert x[mask].size == 0
    assert x.asnumpy().sum() == 6


def test_arrays_without_elements():
    x = nd.zeros((0, 3))
    assert x[nd.zeros((0, 3), dtype="bool")].shape == (0,)
    assert x[:, [0, 2]].shape == (0, 2)
    assert x[nd.zeros((0,), dtype="int32")].shape == (0, 3)
    assert x[None].shape == (1, 0, 3)
    x[:, [0, 2]] = 1
    for key in ([0], nd.array([0], dtype="int32")):
        with pytest.raises(IndexError, match="out of bounds for an axis of size 0"):
            x[key]


def test_arrays_without_axes():
    x = nd.array(3.0)
    assert x[()].asscalar() == x[...].asscalar() == x[None].asscalar() == 3
    assert x[nd.array(1, dtype="bool").reshape((1,))[0:1].reshape(())].shape == (1,)
    x[()] = 4
    assert x[True].asnumpy().tolist() == [4]


@pytest.mark.parametrize("key", [[0, 1, 1], (slice(None), [1, 1]), np.eye(2, 3, dtype=bool)])
def test_reads_by_host_and_device_arrays_agree(key):
    """To the bit, gradients too: the order of a sum does not depend on who knows the indices."""
    parts = key if isinstance(key, tuple) else (key,)
    arrays = [np.asarray(p) if isinstance(p, list) else p for p in parts]
    on_device = tuple(nd.array(p, dtype=p.dtype) if isinstance(p, np.ndarray) else p for p in arrays)
    x = nd.array(np.random.default_rng(0).standard_normal((2, 3)))
    found = []
    for one in (parts, on_device):
        x.attach_grad()
        with autograd.record():
            y = x[one] ** 3
        y.backward()
        found.append((y.asnumpy().tobytes(), x.grad.asnumpy().tobytes()))
    assert found[0] == found[1]


def test_gradients_repeat_to_the_bit(rng):
    x = nd.array(rng.standard_normal((5, 70)))
    rows = nd.array(rng.integers(0, 5, 3001), dtype="int32")
    dy = nd.array(rng.standard_normal((3001, 70)))
    found = set()
    for _ in range(3):
        x.attach_grad()
        with autograd.record():
            y = x[rows]
        y.backward(dy)
        found.add(x.grad.asnumpy().tobytes())
    assert len(found) == 1


def test_an_array_indexed_by_itself():
    x = nd.array([2, 0, 1], dtype="int32")
    x[x] = x
    assert x.asnumpy().tolist() == [0, 1, 2]
    y = nd.array([1, 2, 3])
    y[[2, 1, 0]] = y
    assert y.asnumpy().tolist() == [3, 2, 1]
    y[[0, 1]] = y[1:]
    assert y.asnumpy().tolist() == [2, 1, 1]


@pytest.mark.parametrize("key", [([2, 0, 2],), (slice(None), [1, 1]), ([[True, False, True, True]] * 3,)])
def test_second_gradients_of_writes(key, rng):
    region = np.zeros((3, 4))[key].shape

    def write(value):
        x = nd.ones((3, 4), dtype=value.dtype)
        x[key] = value**3
        return x * x

    value = rng.uniform(0.5, 2, region)
    gradcheck(write, [value])
    gradgradcheck(write, [value])


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
    np.testing.assert_array_equal(x[[2, 2, 0], 3:].asnumpy(), host[[2, 2, 0], 3:])
    host[:, 1:18] = 1 - host[:, 1:18].astype("int8")
    x[:, 1:18] = host[:, 1:18]
    x[0] = host[0] = True
    x[[3, 3], ::-2] = host[[3, 3], ::-2] = 1 - host[[1, 2], ::2].astype("int8")
    np.testing.assert_array_equal(x.asnumpy(), host)
    assert x[0].dtype == np.dtype(dtype).type


def test_values_are_converted():
    x = nd.zeros((2, 2), dtype="int32")
    x[0] = nd.array([1.9, -1.9])
    x[1] = [3, 4.5]
    assert x.asnumpy().tolist() == [[1, -1], [3, 4]]
    x[:] = np.float64(7.5)
    assert x.asnumpy().tolist() == [[7, 7], [7, 7]]


@pytest.mark.parametrize("value", [float("nan"), 2**40])
@pytest.mark.parametrize("key", [0, [0]])
def test_numbers_that_the_dtype_lacks(key, value):
    x = nd.zeros((2,), dtype="int32")
    with pytest.raises(OperatorError, match=r"indexing: value is .*; accepted: a number within int32"):
        x[key] = value
    assert x.asnumpy().tolist() == [0, 0]


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
        ([0, "a"], "indexing: key has dtype <U"),
        ([[0], [0, 1]], "indexing: a list is no array"),
        (([0, 1], [0, 1, 2]), r"indexing: index arrays have shapes \(2,\), \(3,\); accepted"),
        (([0, 1], slice(2, 1)), r"indexing: slice\(2, 1, None\) selects nothing of an axis of size 3"),
        (slice("a", None), "indexing: a slice's bound is 'a'; accepted"),
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
        (1j, "indexing: value is complex; accepted"),
        (["a"], "indexing: value has dtype <U1; accepted: numbers"),
        ([[1], [1, 2]], "indexing: value is no regular array"),
    ],
)
def test_bad_values_are_named(value, message):
    x = nd.zeros((4, 3))
    for key in (np.s_[1:3], [1, 2]):
        with pytest.raises(OperatorError, match=message):
            x[key] = value
