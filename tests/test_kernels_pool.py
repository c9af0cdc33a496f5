"""Pooling kernels against windows cut out with numpy, in both kernel shapes."""

import itertools
import math

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.errors import OperatorError
from clgrad.kernels import layout, pool
from clgrad.kernels.pool import PoolGeometry

SHAPES = ("cpu", "gpu")
F32 = np.dtype(np.float32)

#: Data shape and arguments: each case reaches another part of the kernels.
CASES = {
    "1d": ((2, 2, 53), {"kernel": (3,), "stride": (1,), "pad": (1,)}),
    "1d_stride_3": (
        (1, 3, 131),
        {"kernel": (5,), "stride": (3,), "pad": (2,), "convention": "full"},
    ),
    "1d_stride_5": (
        (1, 2, 97),
        {"kernel": (3,), "stride": (5,), "pad": (1,), "convention": "full"},
    ),
    "1d_same": ((1, 2, 38), {"kernel": (3,), "stride": (2,), "convention": "same"}),
    "1d_tiles": ((1, 1, 9001), {"kernel": (3,), "stride": (2,)}),
    "2d_halves": ((2, 3, 14, 28), {"kernel": (2, 2), "stride": (2, 2)}),
    "2d_overlap": ((2, 2, 9, 65), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1)}),
    "2d_full": (
        (1, 2, 6, 45),
        {"kernel": (3, 2), "stride": (4, 2), "pad": (1, 1), "convention": "full"},
    ),
    "2d_beyond": ((1, 1, 9, 40), {"kernel": (3, 3), "stride": (5, 1), "convention": "full"}),
    "2d_pad_only": ((1, 1, 4, 37), {"kernel": (2, 2), "stride": (1, 1), "pad": (2, 3)}),
    "3d": ((1, 2, 5, 4, 39), {"kernel": (2, 3, 3), "stride": (1, 2, 1), "pad": (1, 1, 1)}),
    "global": ((2, 3, 23, 29), {"global_pool": True}),
    "one_window": ((1, 2, 5, 33), {"kernel": (2, 30), "stride": (1, 9), "pad": (0, 2)}),
    "long": ((1, 2, 3, 300), {"kernel": (2, 270), "stride": (1, 7), "pad": (1, 5)}),
}
#: Cases for the GPU shape, which has one body for all of these.
GPU_CASES = ("1d_same", "2d_beyond", "2d_pad_only", "3d", "global")
SETTINGS = [("cpu", case) for case in CASES] + [("gpu", case) for case in GPU_CASES]
#: How an average counts: with the padding everywhere, without it and not at all where that differs.
SUM_SETTINGS = [(shape, case, True, True) for shape, case in SETTINGS] + [
    ("cpu", "1d", True, False),
    ("cpu", "1d_stride_3", True, False),
    ("cpu", "2d_pad_only", True, False),
    ("cpu", "one_window", True, False),
    ("gpu", "3d", True, False),
    ("cpu", "2d_overlap", False, True),
    ("gpu", "2d_pad_only", False, True),
]


def geometry_of(case: str, **more) -> PoolGeometry:
    shape, arguments = CASES[case]
    return PoolGeometry.of("Pooling", shape, **arguments, **more)


def windows(g: PoolGeometry):
    """Each output position, the data slices that its window covers, the count of an average."""
    for position in itertools.product(*map(range, g.out)):
        starts = [o * s - p for o, s, p in zip(position, g.stride, g.pad, strict=True)]
        low = [max(0, a) for a in starts]
        high = [min(n, a + k) for n, a, k in zip(g.size, starts, g.kernel, strict=True)]
        padded = [min(n + p, a + k) - a for n, a, k, p in zip(g.size, starts, g.kernel, g.pad, strict=True)]
        inside = [max(0, b - a) for a, b in zip(low, high, strict=True)]
        window = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        count = math.prod(padded if g.include_pad else inside)
        yield (..., *position), (..., *window), max(1, count)


def expected_max(g: PoolGeometry, x: np.ndarray):
    flat = np.arange(math.prod(g.size)).reshape(g.size)
    y = np.empty(g.out_shape, x.dtype)
    index = np.empty(g.out_shape, np.int32)
    for position, window, _ in windows(g):
        values = x[window].reshape(*g.lead, -1)
        if values.shape[-1] == 0:
            y[position], index[position] = np.finfo(x.dtype).min, -1
        else:
            y[position] = values.max(-1)
            index[position] = flat[window].ravel()[values.argmax(-1)]  # argmax: the first; NaN wins
    return y, index


def expected_sum(g: PoolGeometry, x: np.ndarray, average: bool):
    y = np.empty(g.out_shape)
    for position, window, count in windows(g):
        axes = tuple(range(2, x.ndim))
        y[position] = x[window].astype(np.float64).sum(axes) / (count if average else 1)
    return y


def expected_sum_grad(g: PoolGeometry, dy: np.ndarray, average: bool):
    dx = np.zeros(g.data_shape)
    for position, window, count in windows(g):
        share = dy[position].astype(np.float64) / (count if average else 1)
        dx[window] += share.reshape(*g.lead, *[1] * len(g.size))
    return dx


def expected_scatter(g: PoolGeometry, dy: np.ndarray, index: np.ndarray):
    channels = math.prod(g.lead)
    dx = np.zeros((channels, math.prod(g.size)))
    for channel, (values, places) in enumerate(
        zip(dy.reshape(channels, -1), index.reshape(channels, -1), strict=True)
    ):
        np.add.at(dx[channel], places[places >= 0], values[places >= 0])
    return dx.reshape(g.data_shape)


@pytest.mark.parametrize(("shape", "case"), SETTINGS)
def test_max_and_its_derivatives(shape, case, rng):
    g, device = geometry_of(case), device_of_shape(shape)
    x = rng.integers(-9, 9, g.data_shape).astype(F32)  # with many ties
    y, index = run(pool.plan_max(device, "max_forward", g, F32), [x])
    expected, places = expected_max(g, x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)

    dy = rng.standard_normal(g.out_shape).astype(F32)
    (dx,) = run(pool.plan_max_scatter(device, "max_scatter", g, F32), [dy, index])
    np.testing.assert_allclose(dx, expected_scatter(g, dy, index), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_derivative_of_max(shape, rng):
    g, device = geometry_of("2d_pad_only"), device_of_shape(shape)
    index = expected_max(g, rng.standard_normal(g.data_shape).astype(F32))[1]
    assert (index < 0).any()
    tangent = rng.standard_normal(g.data_shape).astype(F32)
    (moved,) = run(pool.plan_max_gather(device, "max_gather", g, F32), [tangent, index])
    channels = tangent.reshape(*g.lead, -1)
    taken = np.take_along_axis(channels, np.maximum(index, 0).reshape(*g.lead, -1), -1)
    np.testing.assert_array_equal(moved, np.where(index < 0, 0, taken.reshape(index.shape)))


@pytest.mark.parametrize(("shape", "case", "average", "include_pad"), SUM_SETTINGS)
def test_sum_average_and_their_gradients(shape, case, average, include_pad, rng):
    g, device = geometry_of(case, count_include_pad=include_pad), device_of_shape(shape)
    x = rng.standard_normal(g.data_shape).astype(F32)
    (y,) = run(pool.plan_sum(device, "sum_forward", g, F32, average=average), [x])
    np.testing.assert_allclose(y, expected_sum(g, x, average), rtol=1e-5, atol=1e-4)
    dy = rng.standard_normal(g.out_shape).astype(F32)
    (dx,) = run(pool.plan_sum_grad(device, "sum_grad", g, F32, average=average), [dy])
    np.testing.assert_allclose(dx, expected_sum_grad(g, dy, average), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", pytest.param("float64", marks=pytest.mark.requires("fp64"))])
@pytest.mark.parametrize("case", ["2d_pad_only", "global"])
def test_other_dtypes(shape, dtype, case, rng):
    g, device, dtype = geometry_of(case), device_of_shape(shape), np.dtype(dtype)
    x = rng.integers(-9, 9, g.data_shape).astype(dtype)
    y, index = run(pool.plan_max(device, "max_forward", g, dtype), [x])
    expected, places = expected_max(g, x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)
    dy = rng.standard_normal(g.out_shape).astype(dtype)
    tolerance = {"rtol": 4 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    (dx,) = run(pool.plan_max_scatter(device, "max_scatter", g, dtype), [dy, index])
    np.testing.assert_allclose(dx, expected_scatter(g, dy, index), **tolerance)
    (mean,) = run(pool.plan_sum(device, "sum_forward", g, dtype, average=True), [x])
    np.testing.assert_allclose(mean, expected_sum(g, x, True), **tolerance)
    (dx,) = run(pool.plan_sum_grad(device, "sum_grad", g, dtype, average=True), [dy])
    np.testing.assert_allclose(dx, expected_sum_grad(g, dy, True), **tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["2d_overlap", "global", "long"])
def test_max_of_nan_and_infinity(shape, case, rng):
    g = geometry_of(case)
    x = rng.standard_normal(g.data_shape).astype(F32)
    x[rng.random(x.shape) < 0.02] = np.nan
    x[0, 0] = -np.inf  # windows of nothing else: the first one is taken, not the padding
    x[0, 1][rng.random(g.size) < 0.1] = np.inf
    y, index = run(pool.plan_max(device_of_shape(shape), "max_forward", g, F32), [x])
    expected, places = expected_max(g, x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_does_not_spread_nan_to_elements_that_were_not_taken(shape):
    g = PoolGeometry.of("Pooling", (1, 1, 64), kernel=(2,), stride=(2,))
    index = np.arange(0, 64, 2, dtype=np.int32).reshape(g.out_shape)
    dy = np.full(g.out_shape, np.nan, F32)
    (dx,) = run(pool.plan_max_scatter(device_of_shape(shape), "scatter", g, F32), [dy, index])
    np.testing.assert_array_equal(dx[0, 0, 1::2], 0)
    assert np.isnan(dx[0, 0, ::2]).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["2d_overlap", "global"])
def test_64_bit_positions(shape, case, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_max_and_its_derivatives(shape, case, rng)
    test_sum_average_and_their_gradients(shape, case, True, False, rng)


def test_values_alone():
    g = geometry_of("2d_overlap")
    x = np.arange(math.prod(g.data_shape), dtype=F32).reshape(g.data_shape)
    plan = pool.plan_max(device_of_shape("cpu"), "max_forward", g, F32, with_index=False)
    (y,) = run(plan, [x])
    np.testing.assert_array_equal(y, expected_max(g, x)[0])


def test_no_channels():
    g = PoolGeometry.of("Pooling", (0, 3, 8), kernel=(2,))
    plan = pool.plan_max(device_of_shape("cpu"), "max_forward", g, F32)
    y, index = run(plan, [np.empty((0, 3, 8), F32)])
    assert y.shape == index.shape == (0, 3, 7)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "convention", "out"),
    [  # from MXNet 1.9.1
        (7, 3, 2, 0, "valid", 3),
        (8, 3, 2, 1, "valid", 4),
        (8, 3, 2, 1, "full", 5),
        (5, 2, 2, 1, "full", 4),
        (9, 3, 5, 0, "full", 3),
        (9, 3, 4, 0, "same", 3),
        (5, 2, 1, 0, "same", 5),
    ],
)
def test_output_size(size, kernel, stride, pad, convention, out):
    g = PoolGeometry.of(
        "Pooling",
        (1, 1, size),
        kernel=(kernel,),
        stride=(stride,),
        pad=(pad,),
        convention=convention,
    )
    assert g.out == (out,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": (2,)}, r"Pooling: kernel=\(2,\); accepted: 2 integers"),
        ({"kernel": (2, 0)}, r"kernel=\(2, 0\); accepted: 2 integers of 1 or more"),
        ({"kernel": (2, 2), "stride": (0, 1)}, r"stride=\(0, 1\)"),
        ({"kernel": (2, 2), "pad": (-1, 0)}, r"pad=\(-1, 0\)"),
        ({"kernel": (2, 9), "pad": (0, 1)}, r"kernel=\(2, 9\) does not fit.*up to 8"),
        ({"kernel": (2, 2), "convention": "half"}, r"pooling_convention='half'; accepted: valid"),
        ({"kernel": (2, 2), "pad": (1, 0), "convention": "same"}, r"pad=\(1, 0\) with .*'same'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(OperatorError, match=message):
        PoolGeometry.of("Pooling", (1, 1, 5, 6), **arguments)


@pytest.mark.parametrize("shape", [(2, 3), (1, 1, 2, 2, 2, 2), (1, 1, 0)])
def test_bad_data_is_named(shape):
    with pytest.raises(OperatorError, match=r"Pooling: data has shape"):
        PoolGeometry.of("Pooling", shape, global_pool=True)
