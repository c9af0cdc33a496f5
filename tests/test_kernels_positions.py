"""Reading, writing and adding at positions, and the places of a mask, in both kernel shapes."""

import numpy as np
import pytest
from plan_harness import CANARY, device_of_shape, run

from clgrad import dtypes
from clgrad.kernels import layout, positions
from clgrad.kernels.positions import Region

SHAPES = ("cpu", "gpu")
F32, I32, I64 = dtypes.float32, dtypes.int32, dtypes.int64
FP64 = pytest.mark.requires("fp64")

#: Array shape, first axis that is indexed and the one behind the last, shape of positions, steps of the
#: other axes: each case reaches another part of the kernels.
CASES = {
    "rows": ((9, 70), 0, 1, (5, 2), (1,)),
    "elements": ((41,), 0, 1, (7, 3), ()),
    "all_axes": ((5, 7), 0, 2, (23,), ()),
    "columns": ((5, 19), 1, 2, (6,), (1,)),
    "middle": ((2, 6, 33), 1, 2, (8,), (1, 1)),
    "steps": ((5, 6, 4, 33), 1, 2, (3,), (-2, 1, 3)),
    "many_rows": ((70, 4, 3), 1, 2, (3, 1), (1, 2)),
    "wide": ((3, 3000), 0, 1, (2,), (1,)),
    "many": ((50, 3), 0, 1, (20_011,), (1,)),
    "one": ((4, 3), 0, 1, (), (1,)),
}


class Problem:
    """A region with random positions, and the addresses that it means."""

    def __init__(self, case: str, rng, unique: bool):
        shape, first, stop, own, steps = CASES[case]
        self.array_shape = shape
        block, stride = shape[first:stop], layout.contiguous_strides(shape)[stop - 1]
        size, count = int(np.prod(block)), int(np.prod(own, dtype=int))
        self.unique = unique and count <= size
        chosen = rng.permutation(size)[:count] if self.unique else rng.integers(0, size, count)
        self.positions = (chosen * stride).astype(I32).reshape(own)
        others = [a for a in range(len(shape)) if not first <= a < stop]
        sizes, strides, self.base = {}, {}, 0
        for axis, step in zip(others, steps, strict=True):
            sizes[axis] = -(-shape[axis] // abs(step))
            strides[axis] = layout.contiguous_strides(shape)[axis] * step
            self.base -= min(0, strides[axis] * (sizes[axis] - 1))
        before, after = [a for a in others if a < first], [a for a in others if a >= stop]
        self.region = Region(
            (*(sizes[a] for a in before), *own, *(sizes[a] for a in after)),
            (*(strides[a] for a in before), *(0 for _ in own), *(strides[a] for a in after)),
            self.base,
            len(before),
            len(own),
        )

    def addresses(self) -> np.ndarray:
        region = self.region
        grid = np.indices(region.shape) if region.shape else np.zeros((0,))
        total = np.full(region.shape, region.base)
        for place, stride in zip(grid, region.strides, strict=True):
            total += place * stride
        after = len(region.shape) - region.axis - region.places
        return total + self.positions.reshape(self.positions.shape + (1,) * after)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_reads(shape, case, rng):
    problem = Problem(case, rng, unique=False)
    data = rng.standard_normal(problem.array_shape).astype(F32)
    plan = positions.plan_read(device_of_shape(shape), "read", problem.region, F32, I32)
    (y,) = run(plan, [data, problem.positions])
    np.testing.assert_array_equal(y, data.ravel()[problem.addresses()])


@pytest.mark.parametrize("unique", [True, False], ids=["unique", "repeated"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_sums(shape, case, unique, rng):
    problem = Problem(case, rng, unique)
    dy = rng.standard_normal(problem.region.shape).astype(F32)
    plan = positions.plan_add(
        device_of_shape(shape), "add", problem.region, problem.array_shape, F32, I32, problem.unique
    )
    (dx,) = run(plan, [dy, problem.positions])
    expected = np.zeros(problem.array_shape)
    np.add.at(expected.ravel(), problem.addresses().ravel(), dy.ravel())
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-3)
    (again,) = run(plan, [dy, problem.positions])
    assert again.tobytes() == dx.tobytes()


@pytest.mark.parametrize("unique", [True, False], ids=["unique", "repeated"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_writes(shape, case, unique, rng):
    """The last value of each place, and nothing elsewhere."""
    problem = Problem(case, rng, unique)
    value = rng.standard_normal(problem.region.shape).astype(F32)
    plan = positions.plan_write(
        device_of_shape(shape),
        "write",
        problem.region,
        value.shape,
        problem.array_shape,
        F32,
        I32,
        problem.unique,
    )
    (y,) = run(plan, [value, problem.positions])
    expected = np.full(y.nbytes, CANARY, np.uint8).view(F32)
    for address, element in zip(problem.addresses().ravel(), value.ravel(), strict=True):
        expected[address] = element
    assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_values_that_are_broadcast(shape, rng):
    region = Region((2, 6, 33), (198, 0, 1), 0, 1, 1)
    at = (rng.permutation(6) * 33).astype(I32)
    for own in ((33,), (2, 1, 1), (6, 1), ()):
        value = rng.standard_normal(own).astype(F32)
        plan = positions.plan_write(
            device_of_shape(shape), "write", region, own, (2, 6, 33), F32, I32, unique=True
        )
        (y,) = run(plan, [value, at])
        expected = np.empty((2, 6, 33), F32)
        expected[:, at // 33] = value
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["steps", "all_axes"])
def test_64_bit_positions(shape, case, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_reads(shape, case, rng)
    test_sums(shape, case, False, rng)
    test_writes(shape, case, True, rng)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["rows", "middle", "elements"])
def test_64_bit_index_arrays(shape, case, rng):
    """Of arrays with more than 2**31 elements."""
    problem = Problem(case, rng, unique=False)
    device, at = device_of_shape(shape), problem.positions.astype(I64)
    data = rng.standard_normal(problem.array_shape).astype(F32)
    (y,) = run(positions.plan_read(device, "read", problem.region, F32, I64), [data, at])
    np.testing.assert_array_equal(y, data.ravel()[problem.addresses()])
    plan = positions.plan_add(device, "add", problem.region, problem.array_shape, F32, I64, unique=False)
    (dx,) = run(plan, [np.ones_like(y), at])
    counts = np.bincount(problem.addresses().ravel(), minlength=data.size)
    np.testing.assert_array_equal(dx.ravel(), counts)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", pytest.param("float64", marks=FP64), "int8", "int64", "bool"])
def test_bits_are_copied(shape, dtype, rng):
    """Of NaNs as well."""
    dtype = np.dtype(dtype)
    data = rng.integers(0, 256, (6, 37 * dtype.itemsize), np.uint8)
    data = (data % 2 if dtype == dtypes.bool_ else data).view(dtype)
    region = Region((3, 37), (0, 1), 0, 0, 1)
    at = np.int32([5, 0, 3]) * 37
    (y,) = run(positions.plan_read(device_of_shape(shape), "read", region, dtype, I32), [data, at])
    assert y.tobytes() == data[[5, 0, 3]].tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", pytest.param("float64", marks=FP64), "int64"])
def test_dtypes_of_sums(shape, dtype, rng):
    """The 16-bit types are added up in float32 and rounded once."""
    dtype = dtypes.resolve(dtype)
    wider = F32 if dtype.itemsize == 2 else dtype
    dy = (100 * rng.random((500, 37))).astype(dtype)
    at = rng.integers(0, 3, 500).astype(I32)
    region = Region((500, 37), (0, 1), 0, 0, 1)
    plan = positions.plan_add(device_of_shape(shape), "add", region, (3, 37), dtype, I32, unique=False)
    (dx,) = run(plan, [dy, at * np.int32(37)])
    expected = np.zeros((3, 37), wider)
    for row, place in zip(dy, at, strict=True):  # in the same order: to the bit
        expected[place] += row.astype(wider)
    assert dx.tobytes() == expected.astype(dtype).tobytes()


# Indices


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", [I32, I64])
def test_positions_of_indices(shape, target):
    """From the end where negative, at the nearest end where outside, without their fraction."""
    real = np.float32([[0.9, -0.9, -1, 1.5, 7, -9, np.nan, np.inf, -np.inf, 3e38]])
    whole = np.array([[2], [-1], [100], [-100]], np.int64)
    small = np.uint8([[200]])
    arrays = [real, whole, small]
    plan = positions.plan_positions(
        device_of_shape(shape),
        "positions",
        [(a.shape, a.dtype) for a in arrays],
        (3, 4, 7),
        (28, 7, 1),
        target,
    )
    (y,) = run(plan, arrays)
    assert y.dtype == target
    expected = 28 * np.array([0, 0, 2, 1, 2, 0, 0, 2, 0, 2]) + 7 * np.array([[2], [3], [3], [0]]) + 6
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 63, 64, 1000, 300_001])
@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_places_of_a_mask(shape, size, share, rng):
    mask = rng.random(size) < share
    device = device_of_shape(shape)
    (counts,) = run(positions.plan_mask_counts(device, "counts", size), [mask])
    true = int(mask.sum())
    assert counts.sum() == true
    (places,) = run(positions.plan_mask_positions(device, "fill", size, true, 3, I32), [mask, counts])
    np.testing.assert_array_equal(places, 3 * np.flatnonzero(mask))
