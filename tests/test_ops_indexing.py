"""take, pick, one_hot and Embedding: values against numpy, indices outside, gradients."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {"take": ("_take_grad",), "pick": ("_pick_grad",), "one_hot": (), "Embedding": ()}


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
            lambda x: nd.take(x, nd.zeros((1,)), mode="raise"),
            "take: mode is 'raise'; accepted: 'clip' or 'wrap'",
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


# Gradients


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
