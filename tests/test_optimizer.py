"""Parameter updates against their formula in numpy."""

import numpy as np
import pytest

from clgrad import autograd, nd

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {"sgd_update": ("_sgd_step",)}


def sgd(weight, grad, lr, wd=0.0, rescale_grad=1.0, clip_gradient=-1.0):
    step = rescale_grad * grad
    if clip_gradient >= 0:
        step = np.clip(step, -clip_gradient, clip_gradient)
    return weight - lr * (step + wd * weight)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", pytest.param("float64", marks=pytest.mark.requires("fp64"))]
)
@pytest.mark.parametrize(
    "attributes",
    [
        {"lr": 0.1},
        {"lr": 0.1, "wd": 0.01},
        {"lr": 0.5, "rescale_grad": 1 / 32, "wd": 0.1},
        {"lr": 0.1, "clip_gradient": 0.5},
        {"lr": 0.1, "clip_gradient": 0.0, "wd": 0.1},
        {"lr": 0.1, "clip_gradient": 0.5, "rescale_grad": 0.5},
    ],
)
def test_sgd_update(attributes, dtype, rng):
    weight, grad = (rng.standard_normal((5, 19)).astype(dtype) for _ in "wg")
    w, g = nd.array(weight, dtype=dtype), nd.array(grad, dtype=dtype)
    updated = nd.sgd_update(w, g, **attributes)
    expected = sgd(weight.astype(np.float64), grad.astype(np.float64), **attributes)
    eps = np.finfo(dtype).eps
    assert np.dtype(updated.dtype) == dtype
    np.testing.assert_allclose(updated.asnumpy(), expected, rtol=4 * eps, atol=2 * eps)
    np.testing.assert_array_equal(w.asnumpy(), weight)  # without out, the weight stays


def test_in_place():
    """With out=weight the weight's own memory changes, and its gradient stays attached."""
    weight = nd.array([1.0, 2.0])
    weight.attach_grad()
    handle = weight.handle
    with autograd.record():
        loss = weight * weight
    loss.backward()
    assert nd.sgd_update(weight, weight.grad, lr=0.25, out=weight) is weight
    assert weight.handle == handle
    assert weight.asnumpy().tolist() == [0.5, 1.0]
    assert weight.grad.asnumpy().tolist() == [2, 4]


def test_a_learning_rate_that_changes_needs_no_new_kernel(rng):
    """Numbers are arguments of the kernel: each step uses its own."""
    weight, grad = np.float32([1.0]), np.float32([1.0])
    w, g = nd.array(weight), nd.array(grad)
    for lr in (0.5, 0.25, 0.125):
        nd.sgd_update(w, g, lr=lr, out=w)
        weight = sgd(weight, grad, lr)
    np.testing.assert_array_equal(w.asnumpy(), weight)


def test_descent_reaches_the_minimum():
    x = nd.array([3.0, -2.0])
    x.attach_grad()
    for _ in range(60):
        with autograd.record():
            loss = nd.sum((x - nd.array([1.0, 2.0])) ** 2)
        loss.backward()
        nd.sgd_update(x, x.grad, lr=0.2, out=x)
    np.testing.assert_allclose(x.asnumpy(), [1, 2], rtol=1e-5)
