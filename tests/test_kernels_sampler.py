"""Bilinear sampling kernels against the sum over all elements, in both kernel shapes."""

import dataclasses

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import layout, sampler
from clgrad.kernels.sampler import SampleGeometry

SHAPES = ("cpu", "gpu")
F16, F32 = np.dtype(np.float16), np.dtype(np.float32)

#: Each reaches another part of the kernels: many channels, rows enough for several owners, one element.
GEOMETRIES = {
    "plain": SampleGeometry(2, 3, (5, 7), (4, 6)),
    "one image": SampleGeometry(1, 1, (37, 5), (9, 11)),
    "channels": SampleGeometry(1, 70, (3, 3), (2, 1)),
    "one element": SampleGeometry(2, 2, (1, 1), (3, 2)),
    "row": SampleGeometry(1, 2, (1, 9), (1, 5)),
}


def triangle(coordinate: np.ndarray, n: int, order: int) -> np.ndarray:
    """Weights of the n elements along an axis, for each coordinate: 1 minus the distance, or its slope."""
    place = (coordinate + 1) * (n - 1) / 2
    step = np.arange(n) - np.floor(place)[..., None]
    share = (place - np.floor(place))[..., None]
    if order:
        return (np.where(step == 0, -1, 0) + np.where(step == 1, 1, 0)) * (n - 1) / 2
    return np.where(step == 0, 1 - share, 0) + np.where(step == 1, share, 0)


def matrix(g: SampleGeometry, grid: np.ndarray) -> np.ndarray:
    """The linear map from images to samples: batch, places, height, width."""
    grid = grid.astype(np.float64).reshape(g.batch, 2, -1)
    wx = triangle(grid[:, 0], g.size[1], g.order[0])
    wy = triangle(grid[:, 1], g.size[0], g.order[1])
    return wy[..., None] * wx[:, :, None, :]


def arrays(g: SampleGeometry, rng, dtype=F32):
    x = rng.standard_normal(g.data_shape).astype(dtype)
    grid = rng.uniform(-1.4, 1.4, g.grid_shape).astype(dtype)
    dy = rng.standard_normal(g.out_shape).astype(dtype)
    return x, grid, dy


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize("order", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", GEOMETRIES)
def test_samples_and_their_transpose(case, shape, order, rng):
    g = dataclasses.replace(GEOMETRIES[case], order=order)
    x, grid, dy = arrays(g, rng)
    m = matrix(g, grid)
    device = device_of_shape(shape)
    (y,) = run(sampler.plan_sample(device, "sample", g, F32), [x, grid])
    close(y, np.einsum("nphw,nchw->ncp", m, x.astype(np.float64)), 2e-5)
    (dx,) = run(sampler.plan_spread(device, "spread", g, F32), [dy, grid])
    flat = dy.astype(np.float64).reshape(*dy.shape[:2], -1)
    close(dx, np.einsum("nphw,ncp->nchw", m, flat), 2e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", GEOMETRIES)
def test_gradient_of_the_grid(case, shape, rng):
    g = GEOMETRIES[case]
    x, grid, dy = arrays(g, rng)
    (dgrid,) = run(sampler.plan_grid(device_of_shape(shape), "grid", g, F32), [dy, x, grid])
    flat = dy.astype(np.float64).reshape(*dy.shape[:2], -1)
    slopes = [matrix(dataclasses.replace(g, order=order), grid) for order in ((1, 0), (0, 1))]
    expected = [np.einsum("nphw,nchw,ncp->np", m, x.astype(np.float64), flat) for m in slopes]
    close(dgrid, np.stack(expected, 1), 5e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_float16_is_summed_in_float32(shape, rng):
    """1 at a place of one element, 3000 times: float16 alone would stop at 2048."""
    g = SampleGeometry(1, 1, (1, 1), (30, 100))
    dy, grid = np.ones(g.out_shape, F16), np.zeros(g.grid_shape, F16)
    (dx,) = run(sampler.plan_spread(device_of_shape(shape), "spread", g, F16), [dy, grid])
    assert dx.item() == 3000


@pytest.mark.parametrize("shape", SHAPES)
def test_places_that_are_no_numbers(shape):
    """They give NaN, nothing to the transpose, and read and write nothing outside the arrays."""
    g = SampleGeometry(1, 1, (3, 4), (1, 6))
    grid = np.zeros(g.grid_shape, F32)
    grid[0, 0, 0] = [np.nan, np.inf, -np.inf, 0, 1e30, -1e30]
    device = device_of_shape(shape)
    (y,) = run(sampler.plan_sample(device, "sample", g, F32), [np.ones(g.data_shape, F32), grid])
    assert np.isnan(y.ravel()[:3]).all()
    assert y.ravel()[3:].tolist() == [1, 0, 0]
    (dx,) = run(sampler.plan_spread(device, "spread", g, F32), [np.ones(g.out_shape, F32), grid])
    assert dx.sum() == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_64_bit_positions(shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *_: True)
    g = GEOMETRIES["plain"]
    x, grid, dy = arrays(g, rng)
    device, m = device_of_shape(shape), matrix(g, grid)
    (y,) = run(sampler.plan_sample(device, "sample", g, F32), [x, grid])
    close(y, np.einsum("nphw,nchw->ncp", m, x.astype(np.float64)), 2e-5)
    (dx,) = run(sampler.plan_spread(device, "spread", g, F32), [dy, grid])
    close(dx, np.einsum("nphw,ncp->nchw", m, dy.astype(np.float64).reshape(2, 3, -1)), 2e-5)
