"""Kernels of compressed rows against numpy, in both shapes: odd sizes, empty rows, nothing stored."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad import dtypes
from clgrad.kernels import csr

SHAPES = ("cpu", "gpu")
#: Rows and columns, and the share of elements that are not 0. 300 rows are more than a work-group.
MATRICES = [
    ((13, 37), 0.3),
    ((300, 5), 0.5),
    ((1, 1), 1.0),
    ((7, 9), 0.0),
    ((3, 200), 1.0),
    ((0, 4), 0),
    ((4, 0), 0),
]


def matrix(rng, shape, share, dtype="float32") -> np.ndarray:
    values = rng.integers(1, 100, shape) * (rng.random(shape) < share)
    return values.astype(dtypes.resolve(dtype))


def compressed(dense: np.ndarray) -> list[np.ndarray]:
    """data, indices and indptr by numpy."""
    rows, columns = np.nonzero(dense)
    counts = np.bincount(rows, minlength=len(dense))
    return [dense[rows, columns], columns.astype(np.int64), np.r_[0, np.cumsum(counts)].astype(np.int64)]


def equal(results, expected):
    for actual, wanted in zip(results, expected, strict=True):
        assert actual.dtype == wanted.dtype
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("device", SHAPES)
@pytest.mark.parametrize(("shape", "share"), MATRICES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int64"])
def test_to_and_from_dense(device, shape, share, dtype, rng):
    dense = matrix(rng, shape, share, dtype)
    data, indices, indptr = compressed(dense)
    device = device_of_shape(device)
    equal(run(csr.plan_pointers(device, "p", shape, dense.dtype), [dense]), [indptr])
    plan = csr.plan_compress(device, "c", shape, dense.dtype, len(data))
    equal(run(plan, [dense, indptr]), [data, indices])
    equal(run(csr.plan_dense(device, "d", shape, dense.dtype), [data, indices, indptr]), [dense])


@pytest.mark.parametrize("device", SHAPES)
@pytest.mark.parametrize(("shape", "share"), MATRICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transpose(device, shape, share, dtype, rng):
    dense = matrix(rng, shape, share, dtype)
    parts = compressed(dense)
    plan = csr.plan_transpose(device_of_shape(device), "t", shape, dense.dtype, len(parts[0]))
    equal(run(plan, parts), compressed(dense.T))


@pytest.mark.parametrize("device", SHAPES)
@pytest.mark.parametrize(("shape", "share"), MATRICES)
@pytest.mark.parametrize("width", [0, 1, 19])
def test_dot(device, shape, share, width, rng):
    dense = matrix(rng, shape, share)
    rhs = rng.integers(-9, 9, (shape[1], width)).astype(np.float32)
    plan = csr.plan_dot(device_of_shape(device), "m", shape, width, dense.dtype, inputs=4)
    (y,) = run(plan, [rhs, *compressed(dense)])
    np.testing.assert_array_equal(y, dense @ rhs)  # whole numbers: exact in any order


@pytest.mark.parametrize("device", SHAPES)
def test_elements_stored_twice_are_added(device):
    data, indices, indptr = np.float32([1, 2, 4]), np.int64([1, 1, 0]), np.int64([0, 2, 3])
    plan = csr.plan_dense(device_of_shape(device), "d", (2, 2), data.dtype)
    np.testing.assert_array_equal(run(plan, [data, indices, indptr])[0], [[0, 3], [4, 0]])


@pytest.mark.parametrize("device", SHAPES)
def test_nan_is_an_element_and_minus_zero_is_not(device):
    dense = np.float32([[np.nan, -0.0], [0.0, np.inf]])
    plan = csr.plan_pointers(device_of_shape(device), "p", (2, 2), dense.dtype)
    np.testing.assert_array_equal(run(plan, [dense])[0], [0, 1, 2])
