"""Sparse matrices along axes against dense ones in numpy, in both kernel shapes."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import layout, separable
from clgrad.kernels.separable import AxisMap

SHAPES = ("cpu", "gpu")
F16, F32, F64 = (np.dtype(f"float{bits}") for bits in (16, 32, 64))

#: Leading axes, and the matrices of the last ones: each case reaches another part of the kernel.
CASES = {
    "one axis": ((7,), (AxisMap.bilinear(23, 31, True),)),
    "two axes": ((3, 2), (AxisMap.bilinear(11, 7, False), AxisMap.average(13, 5))),
    "three axes": ((2,), (AxisMap.edge(3, 1, 2), AxisMap.reflect(5, 4, 2), AxisMap.edge(7, 0, 3))),
    "windows": ((2, 3), (AxisMap.windows(9, 3, 2, 1, 1), AxisMap.windows(12, 2, 1, 3, 0))),
    "no leading axes": ((), (AxisMap.average(1000, 3),)),
    "rows without entries": ((2,), (AxisMap.windows(2, 2, 5, 1, 4), AxisMap.identity(17))),
    "many rows": ((1, 500), (AxisMap.identity(3), AxisMap.bilinear(2, 9, True))),
}


def applied(x: np.ndarray, maps) -> np.ndarray:
    for position, axis_map in enumerate(reversed(maps)):
        axis = x.ndim - 1 - position
        x = np.moveaxis(np.tensordot(axis_map.dense(), x.astype(np.float64), (1, axis)), 0, axis)
    return x


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_maps_are_their_matrices(case, shape, transposed, rng):
    lead, maps = CASES[case]
    maps = tuple(m.T for m in maps) if transposed else maps
    x = rng.standard_normal((*lead, *(m.size for m in maps))).astype(F32)
    (y,) = run(separable.plan(device_of_shape(shape), "separable", x.shape, maps, F32), [x])
    np.testing.assert_allclose(y, applied(x, maps), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(F16, 2e-3), pytest.param(F64, 1e-13, marks=pytest.mark.requires("fp64"))],
)
def test_other_real_dtypes(shape, dtype, tolerance, rng):
    lead, maps = CASES["two axes"]
    x = rng.standard_normal((*lead, *(m.size for m in maps))).astype(dtype)
    (y,) = run(separable.plan(device_of_shape(shape), "separable", x.shape, maps, dtype), [x])
    np.testing.assert_allclose(y, applied(x, maps), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_whole_numbers_without_weights(shape, dtype, rng):
    maps = (AxisMap.edge(5, 2, 3), AxisMap.reflect(9, 1, 4))
    x = rng.integers(0, 100, (3, 5, 9)).astype(dtype)
    (y,) = run(separable.plan(device_of_shape(shape), "separable", x.shape, maps, x.dtype), [x])
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, applied(x, maps))


@pytest.mark.parametrize("shape", SHAPES)
def test_64_bit_positions(shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *_: True)
    lead, maps = CASES["three axes"]
    x = rng.standard_normal((*lead, *(m.size for m in maps))).astype(F32)
    (y,) = run(separable.plan(device_of_shape(shape), "separable", x.shape, maps, F32), [x])
    np.testing.assert_array_equal(y, applied(x, maps).astype(F32))


def test_nothing_to_compute():
    (y,) = run(
        separable.plan(device_of_shape("cpu"), "separable", (0, 4), (AxisMap.edge(4, 1, 1),), F32),
        [np.zeros((0, 4), F32)],
    )
    assert y.shape == (0, 6)


def test_matrices():
    """The rows of the averages and of the interpolations add up to 1; a transpose's transpose is it."""
    for axis_map in (AxisMap.average(7, 3), AxisMap.bilinear(5, 9, True), AxisMap.bilinear(9, 4, False)):
        np.testing.assert_allclose(axis_map.dense().sum(1), 1)
        np.testing.assert_array_equal(axis_map.T.dense(), axis_map.dense().T)
        assert axis_map == axis_map.T.T
    padded = np.pad(np.arange(5), (2, 4), "reflect")
    np.testing.assert_array_equal(AxisMap.reflect(5, 2, 4).dense() @ np.arange(5), padded)


def test_terms_of_weight_zero_are_left_out():
    """What is infinite beside the element that a place falls on does no harm."""
    x = np.array([[1, np.inf, 3]], F32)
    plan = separable.plan(
        device_of_shape("cpu"), "separable", x.shape, (AxisMap.bilinear(3, 2, True),), F32
    )
    (y,) = run(plan, [x])
    assert y.tolist() == [[1, 3]]
