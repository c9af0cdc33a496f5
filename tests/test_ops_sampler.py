"""Spatial transformers: what the recorded answers of MXNet cannot show."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError

COVERS = {
    "BilinearSampler": ("_sample", "_sample_grad_data", "_sample_grad_grid"),
    "GridGenerator": ("_affine_basis", "_flow"),
    "SpatialTransformer": (),
}
AFFINE = {"transform_type": "affine"}


def arrays(rng, *shapes) -> list[nd.NDArray]:
    found = [nd.array(rng.uniform(-1.2, 1.2, shape)) for shape in shapes]
    for a in found:
        a.attach_grad()
    return found


def test_the_identity_samples_the_image(rng):
    (x,) = arrays(rng, (2, 3, 5, 7))
    loc = nd.array([[1, 0, 0, 0, 1, 0]] * 2)
    y = nd.SpatialTransformer(x, loc, (5, 7), "affine", "bilinear")
    np.testing.assert_allclose(y.asnumpy(), x.asnumpy(), rtol=1e-5, atol=1e-5)


def test_a_warp_of_whole_steps_shifts(rng):
    (x,) = arrays(rng, (1, 2, 4, 6))
    flow = nd.zeros((1, 2, 4, 6))
    flow[:, 0] = 2
    grid = nd.GridGenerator(flow, transform_type="warp")
    y = nd.BilinearSampler(x, grid).asnumpy()
    np.testing.assert_allclose(y[..., :4], x.asnumpy()[..., 2:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[..., 4:], 0, atol=1e-5)


def test_the_fast_gradient_is_the_recorded_one(rng):
    x, grid = arrays(rng, (2, 5, 6, 7), (2, 2, 4, 3))
    with autograd.record():
        y = nd.BilinearSampler(x, grid)
    dy = nd.array(rng.standard_normal(y.shape))
    fast = autograd.grad(y, [x, grid], dy, retain_graph=True)
    recorded = autograd.grad(y, [x, grid], dy, create_graph=True)
    for one, other in zip(fast, recorded, strict=True):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-5, atol=1e-5)


def test_gradients_repeat_to_the_bit(rng):
    x, grid = arrays(rng, (2, 3, 9, 9), (2, 2, 40, 40))
    found = set()
    for _ in range(2):
        with autograd.record():
            y = nd.BilinearSampler(x, grid)
        y.backward()
        found.add(x.grad.asnumpy().tobytes() + grid.grad.asnumpy().tobytes())
    assert len(found) == 1


def test_an_empty_batch():
    x, grid = nd.zeros((0, 2, 3, 3)), nd.zeros((0, 2, 4, 4))
    x.attach_grad()
    with autograd.record():
        y = nd.BilinearSampler(x, grid)
    y.backward()
    assert y.shape == (0, 2, 4, 4)


def test_axes_of_one_place_are_in_the_middle():
    grid = nd.GridGenerator(nd.array([[1, 0, 0, 0, 1, 0]]), target_shape=(1, 3), **AFFINE)
    assert grid.asnumpy().tolist() == [[[[-1, 0, 1]], [[0, 0, 0]]]]
    flow = nd.GridGenerator(nd.zeros((1, 2, 1, 3)), transform_type="warp")
    assert flow.asnumpy().tolist() == [[[[-1, 0, 1]], [[0, 0, 0]]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.BilinearSampler(x, nd.ones((1, 2, 3, 3))),
            r"grid is float32 \(1, 2, 3, 3\); acc",
        ),
        (
            lambda x: nd.BilinearSampler(x.astype("int32"), x),
            "data is of dtype int32; accepted",
        ),
        (lambda x: nd.BilinearSampler(x[0], x), r"data is of shape \(2, 4, 4\); accepted"),
        (
            lambda x: nd.GridGenerator(x, transform_type="bend"),
            "transform_type is 'bend'; accepted",
        ),
        (
            lambda x: nd.GridGenerator(nd.ones((2, 5)), **AFFINE),
            r"data is of shape \(2, 5\); accepted",
        ),
        (lambda x: nd.GridGenerator(nd.ones((2, 6)), **AFFINE), r"target_shape is \(0, 0\); accepted: two"),
        (lambda x: nd.SpatialTransformer(x, nd.ones((2, 6)), **AFFINE), "sampler_type is None; accepted"),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises((OperatorError, OperatorTypeError), match=message):
        call(nd.ones((2, 2, 4, 4)))
