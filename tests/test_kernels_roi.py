"""Pooling over regions against plain numpy, in both kernel shapes."""

import dataclasses
import math

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import layout, roi
from clgrad.kernels.roi import RoiGeometry

SHAPES = ("cpu", "gpu")
F32 = np.dtype(np.float32)

GEOMETRIES = {
    "plain": RoiGeometry(3, 2, (11, 13), 5, (3, 2), 1.0),
    "scaled": RoiGeometry(2, 3, (9, 7), 4, (2, 5), 0.5),
    "one element": RoiGeometry(1, 1, (1, 1), 3, (2, 2), 0.25),
}
ALIGN = {
    **GEOMETRIES,
    "ratio": dataclasses.replace(GEOMETRIES["plain"], ratio=3),
    "aligned": dataclasses.replace(GEOMETRIES["scaled"], aligned=True),
    "by position": RoiGeometry(2, 12, (8, 9), 4, (3, 2), 0.8, by_position=True, aligned=True, ratio=2),
}


def regions(g: RoiGeometry, rng) -> np.ndarray:
    """Regions in and out of the images, one of an image that does not exist, one upside down."""
    rois = np.empty((g.regions, 5), F32)
    rois[:, 0] = rng.integers(0, g.batch, g.regions)
    rois[:, 1:] = np.sort(rng.uniform(-3, max(g.size) / g.scale + 3, (g.regions, 2, 2)), 1).reshape(-1, 4)
    rois[0, 0] = g.batch
    rois[1, 1:] = rois[1, [3, 4, 1, 2]]
    return rois


def side_matrix(g: RoiGeometry, low, high, bins: int, n: int) -> np.ndarray:
    """Weights of the n elements along an axis in the average of each bin."""
    offset = np.float32(0.5 * g.aligned)
    low, high = (
        np.float32(low) * np.float32(g.scale) - offset,
        np.float32(high) * np.float32(g.scale) - offset,
    )
    size = np.float32(high - low if g.aligned else max(high - low, 1))
    matrix = np.zeros((bins, n))
    if size <= 0:
        return matrix
    width = np.float32(size / np.float32(bins))
    samples = g.ratio if g.ratio > 0 else math.ceil(width)
    for i in range(bins):
        for s in range(samples):
            place = low + np.float32(i) * width + np.float32(s + 0.5) * width / np.float32(samples)
            if -1 <= place <= n:
                place = min(max(float(place), 0), n - 1)
                below = int(place)
                matrix[i, below] += (1 - place + below) / samples
                matrix[i, min(below + 1, n - 1)] += (place - below) / samples
    return matrix


def aligned(g: RoiGeometry, rois: np.ndarray) -> np.ndarray:
    """The linear map from images to averages: regions, out channels, bins; batch, channels, elements."""
    m = np.zeros((g.regions, g.out_channels, *g.pooled, g.batch, g.channels, *g.size))
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        if image >= g.batch:
            continue
        wy, wx = (
            side_matrix(g, *ends, bins, n)
            for ends, bins, n in zip(((y1, y2), (x1, x2)), g.pooled, g.size, strict=True)
        )
        for c, i, j in np.ndindex(g.out_channels, *g.pooled):
            channel = (c * g.pooled[0] + i) * g.pooled[1] + j if g.by_position else c
            m[r, c, i, j, int(image), channel] = np.outer(wy[i], wx[j])
    return m


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ALIGN)
def test_align_and_its_transpose(case, shape, rng):
    g, device = ALIGN[case], device_of_shape(shape)
    rois = regions(g, rng)
    m = aligned(g, rois)
    x = rng.standard_normal(g.data_shape).astype(F32)
    (y,) = run(roi.plan_align(device, "align", g, F32), [x, rois])
    np.testing.assert_allclose(y, np.tensordot(m, x.astype(np.float64), 4), rtol=1e-4, atol=1e-4)
    dy = rng.standard_normal(g.out_shape).astype(F32)
    (dx,) = run(roi.plan_align_grad(device, "align_grad", g, F32), [dy, rois])
    np.testing.assert_allclose(dx, np.tensordot(dy.astype(np.float64), m, 4), rtol=1e-4, atol=1e-4)


def bins(low, high, scale, count, n):
    start, end = (int(np.floor(abs(v * scale) + 0.5) * np.sign(v)) for v in (low, high))
    size = np.float32(max(end - start + 1, 1)) / np.float32(count)
    for i in range(count):
        first = math.floor(np.float32(i) * size) + start
        last = math.ceil(np.float32(i + 1) * size) + start
        yield slice(min(max(first, 0), n), min(max(last, 0), n))


def maxima(g: RoiGeometry, x, rois):
    y, places = np.zeros(g.out_shape, F32), np.full(g.out_shape, -1, np.int32)
    whole = np.arange(math.prod(g.size)).reshape(g.size)
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        if image >= g.batch:
            continue
        for i, rows in enumerate(bins(y1, y2, np.float32(g.scale), g.pooled[0], g.size[0])):
            for j, columns in enumerate(bins(x1, x2, np.float32(g.scale), g.pooled[1], g.size[1])):
                taken = whole[rows, columns].ravel()
                if taken.size:
                    values = x[int(image)].reshape(g.channels, -1)[:, taken]
                    y[r, :, i, j] = values.max(1)
                    places[r, :, i, j] = taken[values.argmax(1)]
    return y, places


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", GEOMETRIES)
def test_maxima_and_their_derivatives(case, shape, rng):
    g, device = GEOMETRIES[case], device_of_shape(shape)
    rois = regions(g, rng)
    x = rng.standard_normal(g.data_shape).astype(F32)
    y, places = run(roi.plan_max(device, "roi_max", g, F32), [x, rois])
    expected, where = maxima(g, x, rois)
    np.testing.assert_array_equal(places, where)
    np.testing.assert_array_equal(y, expected)
    (again,) = run(roi.plan_max_gather(device, "gather", g, F32), [x, rois, places])
    np.testing.assert_array_equal(again, y)
    dy = rng.standard_normal(g.out_shape).astype(F32)
    (dx,) = run(roi.plan_max_scatter(device, "scatter", g, F32), [dy, rois, places])
    scattered = np.zeros((g.batch, g.channels, math.prod(g.size)))
    for r, c, i, j in np.argwhere(places >= 0):
        scattered[int(rois[r, 0]), c, places[r, c, i, j]] += dy[r, c, i, j]
    np.testing.assert_allclose(dx, scattered.reshape(dx.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ratio", [0, 2])
def test_nonsense_in_regions_ends_and_stays_within_the_arrays(shape, ratio):
    far = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, 0, 2]
    rois = np.array([[image, a, b, b, a] for image in (0, -1, 7, np.nan) for a in far for b in far], F32)
    g = RoiGeometry(1, 1, (4, 5), len(rois), (2, 3), 1.0, ratio)
    device = device_of_shape(shape)
    x, dy = np.ones(g.data_shape, F32), np.ones(g.out_shape, F32)
    (y,) = run(roi.plan_align(device, "align", g, F32), [x, rois])
    assert np.isfinite(y).all()
    (dx,) = run(roi.plan_align_grad(device, "align_grad", g, F32), [dy, rois])
    assert np.isfinite(dx).all()
    _, places = run(roi.plan_max(device, "roi_max", g, F32), [x, rois])
    assert (places < 20).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_maximum_is_nan_where_its_bin_holds_one(shape):
    g = RoiGeometry(1, 1, (1, 4), 1, (1, 2), 1.0)
    x = np.array([1, np.nan, 3, 4], F32).reshape(g.data_shape)
    y, places = run(
        roi.plan_max(device_of_shape(shape), "roi_max", g, F32), [x, np.array([[0, 0, 0, 3, 0]], F32)]
    )
    assert np.isnan(y[..., 0]).all()
    assert y[..., 1].item() == 4
    assert places.ravel().tolist() == [1, 3]


@pytest.mark.parametrize("shape", SHAPES)
def test_64_bit_positions(shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *_: True)
    g, device = GEOMETRIES["plain"], device_of_shape(shape)
    rois, x = regions(g, rng), rng.standard_normal(g.data_shape).astype(F32)
    (y,) = run(roi.plan_align(device, "align", g, F32), [x, rois])
    np.testing.assert_allclose(y, np.tensordot(aligned(g, rois), x, 4), rtol=1e-4, atol=1e-4)
    y, _ = run(roi.plan_max(device, "roi_max", g, F32), [x, rois])
    np.testing.assert_array_equal(y, maxima(g, x, rois)[0])
