"""Moving elements to places, each to one: boolean_mask, index_copy, and what they are made of."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError
from clgrad.ops.moving import move, winners
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {"boolean_mask": ("_winners", "_move"), "index_copy": ()}


def test_winners_are_the_last():
    places = nd.array([[2, 0, 2, -1, 9], [1, 1, 1, 1, 1]])
    assert winners(places, axis=1, size=4).asnumpy().tolist() == [[1, -1, 2, -1], [-1, 4, -1, -1]]
    assert winners(places, axis=0, size=2).asnumpy().tolist()[1] == [1, 1, 1, 1, 1]
    assert winners(nd.array([np.nan, -0.5, 1.9]), axis=0, size=2).asnumpy().tolist() == [1, 2]
    assert winners(nd.zeros((0,)), axis=0, size=3).asnumpy().tolist() == [-1, -1, -1]


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "int64", "bool"])
def test_winners_of_dtypes(dtype):
    places = nd.array([1, 0, 1], dtype=dtype)
    assert winners(places, axis=0, size=3).asnumpy().tolist() == [1, 2, -1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_move(axis, rng):
    x = rng.standard_normal((5, 6, 7)).astype(np.float32)
    places = rng.permutation(x.shape[axis])[:4]
    y = move(nd.array(x), nd.array(places, dtype="int32"), axis=axis)
    np.testing.assert_array_equal(y.asnumpy(), np.take(x, places, axis))
    each = np.argsort(rng.random(x.shape), axis)
    y = move(nd.array(x), nd.array(each, dtype="int32"), axis=axis)
    np.testing.assert_array_equal(y.asnumpy(), np.take_along_axis(x, each, axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_of_move(axis, rng):
    x = rng.uniform(-1, 1, (4, 4))
    places = nd.array([2, -1, 0], dtype="int32")
    gradcheck(lambda x: nd.square(move(x, places, axis=axis)), [x])
    gradgradcheck(lambda x: nd.square(move(x, places, axis=axis)), [x])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_boolean_mask_of_many(axis, rng):
    x = rng.standard_normal((63, 70, 65)).astype(np.float32)
    mask = rng.random(x.shape[axis]) < 0.4
    y = nd.boolean_mask(nd.array(x), nd.array(mask, dtype="bool"), axis=axis)
    np.testing.assert_array_equal(y.asnumpy(), np.compress(mask, x, axis))
    assert nd.boolean_mask is nd.contrib.boolean_mask


def test_boolean_mask_of_nothing():
    assert nd.boolean_mask(nd.zeros((0, 3)), nd.zeros((0,))).shape == (0, 3)
    assert nd.boolean_mask(nd.ones((2, 3)), nd.zeros((2,))).shape == (0, 3)
    x = nd.ones((2, 3))
    x.attach_grad()
    with autograd.record():
        y = nd.boolean_mask(x, nd.array([0, 0])).sum() + x.sum()
    y.backward()
    assert (x.grad.asnumpy() == 1).all()


def test_index_copy_of_the_same_row_twice():
    """The last one counts, and it alone has the gradient."""
    old, new = nd.zeros((3, 2)), nd.array([[1, 2], [3, 4], [5, 6]])
    for array in (old, new):
        array.attach_grad()
    with autograd.record():
        y = nd.index_copy(old, nd.array([1, 1, 7]), new)
    y.backward()
    assert y.asnumpy().tolist() == [[0, 0], [3, 4], [0, 0]]
    assert old.grad.asnumpy().tolist() == [[1, 1], [0, 0], [1, 1]]
    assert new.grad.asnumpy().tolist() == [[0, 0], [1, 1], [0, 0]]
    assert nd.index_copy is nd.contrib.index_copy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.boolean_mask(x, nd.zeros((3,))),
            r"boolean_mask: index is of shape \(3,\); accepted: \(2,\)",
        ),
        (
            lambda x: nd.boolean_mask(x, nd.zeros((2,)), axis=2),
            "boolean_mask: axis is 2; accepted: -2 to 1",
        ),
        (
            lambda x: nd.index_copy(x, nd.zeros((1,)), x),
            r"index_copy: new_tensor is of shape \(2, 3\); accepted: \(1, 3\)",
        ),
        (lambda x: nd.index_copy(x, x, x), r"index_copy: index_vector is of shape \(2, 3\); accepted: one"),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call(nd.zeros((2, 3)))
