"""take, pick, one_hot and Embedding: values against numpy, indices outside, gradients."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "take": ("_take", "_take_grad", "_count_outside"),
    "pick": ("_pick", "_pick_grad"),
    "one_hot": (),
    "Embedding": (),
    "gather_nd": ("_flat_index",),
    "scatter_nd": (),
    "ravel_multi_index": ("_ravel_multi_index",),
    "unravel_index": ("_unravel_index",),
    "index_array": ("_index_array",),
    "batch_take": (),
    "fill_element_0index": ("_inside",),
}


@pytest.mark.parametrize("mode", ["clip", "wrap"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take(axis, mode, rng):
    """Indices outside are moved to the ends, or counted around."""
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    indices = rng.integers(-7, 12, (2, 6))
    y = nd.take(nd.array(x), nd.array(indices, dtype="int32"), axis=axis, mode=mode)
    np.testing.assert_array_equal(y.asnumpy(), np.take(x, indices, axis=axis, mode=mode))


def test_take_clips_by_default_and_truncates_real_indices():
    x = nd.array([10.0, 11.0, 12.0])
    assert nd.take(x, nd.array([-1.0, 0.9, 2.9, 7.0])).asnumpy().tolist() == [10, 10, 12, 12]
    assert x.take(nd.array([1])).asnumpy().tolist() == [11]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_pick(axis, dtype, rng):
    x = rng.standard_normal((5, 7)).astype(np.float32)
    n = x.shape[axis]
    index = rng.integers(0, n, x.shape[1 - axis % 2])
    expected = np.take_along_axis(x, np.expand_dims(index, axis), axis)
    y = nd.pick(nd.array(x), nd.array(index, dtype=dtype), axis=axis)
    np.testing.assert_array_equal(y.asnumpy(), expected.squeeze(axis))
    kept = nd.pick(nd.array(x), nd.array(index, dtype=dtype), axis=axis, keepdims=True)
    np.testing.assert_array_equal(kept.asnumpy(), expected)


def test_pick_outside():
    x, index = nd.array([[1, 2, 3]] * 3), nd.array([-1, 3, 4])
    assert nd.pick(x, index).asnumpy().tolist() == [1, 3, 3]
    assert nd.pick(x, index, mode="wrap").asnumpy().tolist() == [3, 1, 2]


def test_pick_beside_nan_and_infinity():
    """What is not picked does not count, whatever it is."""
    x = nd.array([[1.0, np.nan, np.inf], [np.nan, 2.0, -np.inf]])
    assert nd.pick(x, nd.array([0, 1])).asnumpy().tolist() == [1, 2]


def test_pick_along_the_middle(rng):
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    index = rng.integers(0, 5, (2, 1, 3))
    expected = np.take_along_axis(x, index, 1)
    assert nd.choose_element_0index is nd.pick
    for shape in ((2, 1, 3), (2, 3)):
        y = nd.pick(nd.array(x), nd.array(index.reshape(shape)), axis=1)
        np.testing.assert_array_equal(y.asnumpy(), expected.squeeze(1))


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "float16"])
def test_one_hot(dtype):
    y = nd.one_hot(nd.array([[1, 0], [2, 3], [-1, 1]]), 3, dtype=dtype)
    assert np.dtype(y.dtype) == dtype
    rows = {0: [1, 0, 0], 1: [0, 1, 0], 2: [0, 0, 1]}
    none = [0, 0, 0]
    assert y.asnumpy().tolist() == [[rows[1], rows[0]], [rows[2], none], [none, rows[1]]]


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_no_class_is_taken_for_one_far_outside(dtype):
    """Numbers that 32 bits do not hold are no class, whatever is left of them there."""
    far = [2.0**32 + 2**16, -(2.0**32), 2.0**40, 2.0] + [np.inf, -np.inf] * (dtype == "float32")
    y = nd.one_hot(nd.array(np.array(far, dtype), dtype=dtype), 3).asnumpy()
    expected = np.zeros((len(far), 3))
    expected[3, 2] = 1
    np.testing.assert_array_equal(y, expected)


def test_one_hot_with_other_values():
    y = nd.one_hot(nd.array([1], dtype="int64"), depth=3, on_value=5, off_value=-1)
    assert y.asnumpy().tolist() == [[-1, 5, -1]]
    assert nd.one_hot(nd.zeros((2,)), 0).shape == (2, 0)


def test_embedding(rng):
    weight = rng.standard_normal((6, 4)).astype(np.float32)
    data = rng.integers(0, 6, (3, 2))
    y = nd.Embedding(nd.array(data), nd.array(weight), input_dim=6, output_dim=4)
    np.testing.assert_array_equal(y.asnumpy(), weight[data])
    outside = nd.Embedding(nd.array([-3, 9]), nd.array(weight), input_dim=6, output_dim=4)
    np.testing.assert_array_equal(outside.asnumpy(), weight[[0, 5]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nd.take(x, nd.zeros((1,)), axis=2), "take: axis is 2; accepted: -2 to 1"),
        (
            lambda x: nd.take(x, nd.zeros((1,)), mode="last"),
            "take: mode is 'last'; accepted: 'clip', 'wrap' or 'raise'",
        ),
        (
            lambda x: nd.pick(x, nd.zeros((3,))),
            r"pick: index is of shape \(3,\); accepted: \(2, 1\)",
        ),
        (lambda x: nd.pick(x, nd.zeros((2,)), mode="raise"), "pick: mode is 'raise'; accepted"),
        (lambda x: nd.one_hot(x, -1), "one_hot: depth is -1; accepted: a whole number not below 0"),
        (
            lambda x: nd.Embedding(nd.zeros((1,)), x, input_dim=3, output_dim=3),
            r"Embedding: weight is of shape \(2, 3\); accepted: \(3, 3\)",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call(nd.zeros((2, 3)))


def test_take_that_refuses_indices_outside():
    x = nd.array([10.0, 11.0, 12.0])
    assert nd.take(x, nd.array([2, 0]), mode="raise").asnumpy().tolist() == [12, 10]
    for index in (3, -1, np.nan):
        with pytest.raises(OperatorError, match="take: indices is 1 times outside; accepted: 0 to 2"):
            nd.take(x, nd.array([0, index]), mode="raise")
    big = nd.zeros((300,))
    assert nd.take(big, nd.array([200], dtype="uint8"), mode="raise").shape == (1,)


@pytest.mark.parametrize("index", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_no_index_reads_outside(index):
    x, far = nd.array([[1.0, 2.0, 3.0]]), nd.array([index])
    expected = 3 if index > 0 else 1
    assert nd.pick(x, far).asscalar() == expected
    assert nd.take(x, far, axis=1).asscalar() == expected
    assert nd.gather_nd(x, nd.array([[0], [index]])).asscalar() == expected
    assert nd.pick(x, far, mode="wrap").asscalar() in (1, 2, 3)
    assert nd.fill_element_0index(x, nd.array([9.0]), far).sum().asscalar() in (6, 14)
    scattered = nd.scatter_nd(nd.array([9.0]), nd.array([[index]]), shape=(2,))
    assert scattered.sum().asscalar() == (9 if np.isnan(index) else 0)


def test_pick_of_all_elements():
    x = nd.array([[1, 2, 3], [4, 5, 6]])
    assert nd.pick(x, nd.array([5, 0, 4, 9]), axis=None).asnumpy().tolist() == [6, 1, 5, 6]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_gather_nd_of_many(axes, rng):
    x = rng.standard_normal((9, 11, 17)).astype(np.float32)
    indices = np.stack([rng.integers(-n, n, (4, 33)) for n in x.shape[:axes]])
    y = nd.gather_nd(nd.array(x), nd.array(indices, dtype="int32"))
    np.testing.assert_array_equal(y.asnumpy(), x[tuple(indices)])


@pytest.mark.parametrize("axes", [1, 2])
def test_scatter_nd_of_many(axes, rng):
    shape = (19, 23)
    places = rng.permutation(np.prod(shape[:axes]))[:13]
    indices = np.stack(np.unravel_index(places, shape[:axes]))
    data = rng.standard_normal((13, *shape[axes:])).astype(np.float32)
    expected = np.zeros(shape, np.float32)
    expected[tuple(indices)] = data
    y = nd.scatter_nd(nd.array(data), nd.array(indices), shape=shape)
    np.testing.assert_array_equal(y.asnumpy(), expected)
    y = nd.scatter_nd(
        nd.array(data).reshape((1, *data.shape)), nd.array(indices).expand_dims(1), shape=shape
    )
    np.testing.assert_array_equal(y.asnumpy(), expected)


def test_scattering_twice_leaves_the_last():
    data = nd.array([1.0, 2.0, 3.0, 4.0])
    data.attach_grad()
    with autograd.record():
        y = nd.scatter_nd(data, nd.array([[1, 0, -2, 5]]), shape=(3,))
    y.backward(nd.array([10.0, 20.0, 30.0]))
    assert y.asnumpy().tolist() == [2, 3, 0]
    assert data.grad.asnumpy().tolist() == [0, 10, 20, 0]


def test_ravel_and_unravel_are_inverse(rng):
    shape = (7, 5, 3)
    places = nd.array(rng.permutation(105).reshape(5, 21), dtype="int64")
    indices = nd.unravel_index(places, shape=shape)
    assert indices.shape == (3, 5, 21)
    np.testing.assert_array_equal(nd.ravel_multi_index(indices, shape=shape).asnumpy(), places.asnumpy())
    everything = nd.index_array(nd.zeros(shape)).reshape((-1, 3)).T
    assert nd.ravel_multi_index(everything, shape=shape).asnumpy().tolist() == list(range(105))


def test_batch_take_of_more_axes(rng):
    x, indices = rng.standard_normal((2, 3, 4)).astype(np.float32), rng.integers(0, 4, (2, 3))
    y = nd.batch_take(nd.array(x), nd.array(indices, dtype="int32"))
    np.testing.assert_array_equal(y.asnumpy(), np.take_along_axis(x, indices[..., None], 2)[..., 0])


def test_sizes_of_zero():
    nothing = nd.zeros((2, 0))
    assert nd.gather_nd(nd.ones((3, 4)), nothing).shape == (0,)
    assert nd.scatter_nd(nd.zeros((0,)), nothing, shape=(2, 2)).asnumpy().tolist() == [[0, 0], [0, 0]]
    assert nd.ravel_multi_index(nothing, shape=(2, 2)).shape == (0,)
    assert nd.unravel_index(nd.zeros((0,)), shape=(2, 2)).shape == (2, 0)
    assert nd.index_array(nothing).shape == (2, 0, 2)
    assert nd.pick(nothing, nd.zeros((0,)), axis=0).shape == (0,)
    with pytest.raises(OperatorError, match="pick: data"):
        nd.pick(nothing, nd.zeros((2,)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.gather_nd(x, nd.zeros((3,))),
            r"gather_nd: indices is of shape \(3,\); acc",
        ),
        (
            lambda x: nd.gather_nd(x, nd.zeros((3, 1))),
            r"gather_nd: indices is of shape \(3, 1\); a",
        ),
        (
            lambda x: nd.scatter_nd(x, nd.zeros((1, 2)), shape=(4, 4)),
            r"scatter_nd: data is of shape \(2, 3\); accepted: \(2, 4\)",
        ),
        (
            lambda x: nd.ravel_multi_index(x, shape=(2, 2, 2)),
            r"ravel_multi_index: data is of shape \(2, 3\); accepted: \(3, ...\)",
        ),
        (lambda x: nd.unravel_index(x), "unravel_index: shape is None; accepted: the sizes"),
        (lambda x: nd.index_array(x, axes=(2,)), r"index_array: axes is 2; accepted: -2 to 1"),
        (
            lambda x: nd.batch_take(x, nd.zeros((3,))),
            r"batch_take: indices is of shape \(3,\); acc",
        ),
        (
            lambda x: nd.fill_element_0index(x, nd.zeros((3,)), nd.zeros((2,))),
            r"fill_element_0index: lhs is of shape \(2, 3\), with mhs",
        ),
    ],
)
def test_errors_of_multi_indices(call, message):
    with pytest.raises(OperatorError, match=message):
        call(nd.zeros((2, 3)))


# Gradients


def test_gradient_of_gathering_twice_adds_up_in_order():
    """In float32, for float16 would stop at 2048; the same bits in every run."""
    x = nd.zeros((3, 2), dtype="float16")
    x.attach_grad()
    with autograd.record():
        y = nd.gather_nd(x, nd.array(np.ones((2, 4096)), dtype="int32"))
    y.backward()
    assert x.grad.asnumpy().tolist() == [[0, 0], [0, 4096], [0, 0]]


@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_of_take(axis, rng):
    """Elements that are taken twice, once and never."""
    indices = nd.array([0, 2, 2, 7], dtype="int32")

    def f(x):
        return nd.square(nd.take(x, indices, axis=axis))

    x = rng.uniform(0.5, 2, (4, 4))
    gradcheck(f, [x])
    gradgradcheck(f, [x])


@pytest.mark.parametrize(("axis", "keepdims"), [(0, False), (1, True)])
def test_gradients_of_pick(axis, keepdims, rng):
    def f(x):
        return nd.square(nd.pick(x, nd.array([1, 0, 5]), axis=axis, keepdims=keepdims))

    x = rng.uniform(0.5, 2, (3, 3))
    gradcheck(f, [x])
    gradgradcheck(f, [x])


def test_gradients_of_embedding(rng):
    def f(weight):
        return nd.square(nd.Embedding(nd.array([[1, 1], [0, 3]]), weight, input_dim=4, output_dim=2))

    weight = rng.uniform(0.5, 2, (4, 2))
    gradcheck(f, [weight])
    gradgradcheck(f, [weight])


def test_gradient_of_many_equal_indices_is_exact():
    """Added up in order, in float32: in float16 it would stop at 2048, with atomics vary."""
    weight = nd.zeros((3, 2), dtype="float16")
    weight.attach_grad()
    with autograd.record():
        y = nd.take(weight, nd.array(np.full(4096, 1), dtype="int32"))
    y.backward()
    assert weight.grad.asnumpy().tolist() == [[0, 0], [4096, 4096], [0, 0]]


def test_indices_get_no_gradient():
    x, indices = nd.array([1.0, 2.0]), nd.array([1.0, 0.0, 1.0])
    for array in (x, indices):
        array.attach_grad()
    with autograd.record():
        y = nd.take(x, indices) + nd.pick(nd.ones((3, 2)), indices)
    y.backward()
    assert x.grad.asnumpy().tolist() == [1, 2]
    assert indices.grad.asnumpy().tolist() == [0, 0, 0]
