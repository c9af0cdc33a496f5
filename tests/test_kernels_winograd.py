"""3 x 3 convolutions by Winograd's method, against plain numpy."""

import numpy as np
import plan_harness
import pytest
from test_kernels_conv import reference

from clgrad.kernels import conv, winograd
from clgrad.kernels.conv import ConvGeometry

FLOAT = np.dtype("float32")
GEOMETRIES = {
    "edges": ConvGeometry(3, 33, 35, (13, 22), (3, 3), pad=(0, 2)),
    "patches_of_many_images": ConvGeometry(9, 40, 37, (7, 7), (3, 3), pad=(1, 1)),
}
CASES = [("edges", "whole"), ("patches_of_many_images", "parts")]


def is_winograd(plan):
    return any("winograd" in step.kernel or "_points" in step.kernel for step in plan.steps)


def operands(g, rng):
    return [rng.standard_normal(s).astype(FLOAT) for s in (g.data_shape, g.weight_shape, g.output_shape)]


def assert_close(given, expected):
    """The error is some 2e-7 of the sum's own size, which cancels in places, times a few for the worst."""
    scale = np.std(expected[np.isfinite(expected)])
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize(("name", "parts"), CASES)
def test_forward_and_data_gradient(name, parts, rng, monkeypatch):
    """Patches beyond the edges, the last few of a vector, bands and parts of the images."""
    if parts == "parts":
        monkeypatch.setattr(winograd, "_BAND", 300)
        monkeypatch.setattr(winograd, "_AT_A_TIME", 1 << 16)
    g, cpu = GEOMETRIES[name], plan_harness.device_of_shape("cpu")
    x, w, dy = operands(g, rng)
    forward = conv.plan_forward(cpu, "test_conv", FLOAT, g, bias=True)
    backward = conv.plan_grad_data(cpu, "test_conv_data", FLOAT, g)
    assert is_winograd(forward)
    assert is_winograd(backward)
    y, dx, _ = reference(x, w, dy, g)
    bias = rng.standard_normal(g.out_channels).astype(FLOAT)
    (out,) = plan_harness.run(forward, [x, w, bias])
    assert_close(out, y + bias[:, None, None])
    (out,) = plan_harness.run(backward, [dy, w])
    assert_close(out, dx)


@pytest.mark.parametrize(("name", "parts"), CASES)
def test_weight_gradient(name, parts, rng, monkeypatch):
    """Parts of the images add up; patches of the gradient beyond its edges are zeros."""
    monkeypatch.setattr(winograd, "_LEAST_PATCHES", 1)
    if parts == "parts":
        monkeypatch.setattr(winograd, "_BAND", 300)
        monkeypatch.setattr(winograd, "_AT_A_TIME", 1 << 16)
    g = GEOMETRIES[name]
    x, w, dy = operands(g, rng)
    plan = conv.plan_grad_weight(plan_harness.device_of_shape("cpu"), "test_conv_weight", FLOAT, g)
    assert is_winograd(plan)
    (out,) = plan_harness.run(plan, [x, dy])
    assert_close(out, reference(x, w, dy, g)[2])


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinity_and_nan_stay_where_they_are_seen(rng, monkeypatch):
    """At the points they spread over a patch, and infinity less infinity is NaN."""
    g = GEOMETRIES["edges"]
    x, w, dy = operands(g, rng)
    x[0, 3, 5, 6], x[1, 0, 12, 21], x[2, 7, 0, 0], x[2, 7, 0, 1] = np.inf, np.nan, np.inf, -np.inf
    x[1, 20, 12, 4] = np.inf  # the last row, which the last taps alone see
    dy[1, 2, 0, 8] = np.nan
    monkeypatch.setattr(winograd, "_LEAST_PATCHES", 1)
    y, _, dw = reference(x, w, dy, g)
    cpu = plan_harness.device_of_shape("cpu")
    (out,) = plan_harness.run(conv.plan_forward(cpu, "test_conv", FLOAT, g), [x, w])
    assert_close(out, y)
    (out,) = plan_harness.run(conv.plan_grad_weight(cpu, "test_conv_weight", FLOAT, g), [x, dy])
    assert_close(out, dw)


def test_what_overflows_at_the_points_alone_is_computed_tap_by_tap(rng):
    g = GEOMETRIES["edges"]
    x, w, dy = operands(g, rng)
    x, w = (x * 1e36).astype(FLOAT), (w * 1e-2).astype(FLOAT)
    x[0, 5, 2:8, 2:8] = 3e38
    y = reference(x, w, dy, g)[0]
    assert np.abs(y).max() < np.finfo(FLOAT).max
    plan = conv.plan_forward(plan_harness.device_of_shape("cpu"), "test_conv", FLOAT, g)
    (out,) = plan_harness.run(plan, [x, w])
    assert_close(out, y)


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": (3, 5)},
        {"stride": (1, 2)},
        {"dilate": (2, 1)},
        {"groups": 2, "in_channels": 64, "out_channels": 64},
        {"in_channels": 8},
        {"pad": (3, 3), "size": (5, 5)},
    ],
)
def test_others_are_left_alone(change):
    arguments = {"batch": 3, "in_channels": 32, "out_channels": 32, "size": (12, 12), "kernel": (3, 3)}
    g = ConvGeometry(**(arguments | change))
    shape = conv.winograd_shape(g, gradient=True)
    assert shape is None or not winograd.takes(plan_harness.device_of_shape("cpu"), FLOAT, shape)
