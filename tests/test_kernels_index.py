"""Taking rows by index and adding them up again, against numpy, in both kernel shapes."""

import dataclasses

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.errors import OperatorError
from clgrad.kernels import copy, index, layout, parameters, tuning

SHAPES = ("cpu", "gpu")
F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
FP64 = pytest.mark.requires("fp64")

#: Data shape, axis, indices shape: each case reaches another part of the kernels.
CASES = {
    "flat": ((41,), 0, (7, 3)),
    "embedding": ((9, 70), 0, (5, 2)),
    "narrow": ((11, 3), 0, (40,)),
    "middle": ((2, 6, 33), 1, (8,)),
    "last": ((5, 19), -1, (6,)),
    "last of many rows": ((19, 23), -1, (6,)),
    "many_rows": ((1000, 17), 0, (3,)),
    "wide": ((3, 3000), 0, (2,)),
}


def rows_taken(indices: np.ndarray, n: int, mode: str) -> np.ndarray:
    whole = np.trunc(indices.astype(np.float64)).astype(np.int64)
    return np.clip(whole, 0, n - 1) if mode == "clip" else whole % n


def expected_grad(dy, indices, data_shape, axis, mode):
    axis %= len(data_shape)
    dx = np.zeros(data_shape)
    rows = rows_taken(indices, data_shape[axis], mode).ravel()
    inner = data_shape[axis + 1 :]
    dy = dy.astype(np.float64).reshape(*data_shape[:axis], rows.size, *inner)
    np.add.at(np.moveaxis(dx, axis, 0), rows, np.moveaxis(dy, axis, 0))
    return dx


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_take_and_its_gradient(shape, case, rng):
    data_shape, axis, indices_shape = CASES[case]
    device, mode = device_of_shape(shape), "wrap" if case in ("middle", "flat") else "clip"
    n = data_shape[axis]
    data = rng.standard_normal(data_shape).astype(F32)
    indices = rng.integers(-n - 2, 2 * n + 3, indices_shape).astype(I32)
    arguments = (data_shape, indices_shape, axis, mode, F32, I32)
    (y,) = run(index.plan_take(device, "take_forward", *arguments), [data, indices])
    np.testing.assert_array_equal(y, np.take(data, rows_taken(indices, n, mode), axis))
    dy = rng.standard_normal(y.shape).astype(F32)
    (dx,) = run(index.plan_take_grad(device, "take_grad", *arguments), [dy, indices])
    expected = expected_grad(dy, indices, data_shape, axis, mode)
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["flat", "embedding"])  # wrap and clip
def test_64_bit_positions(shape, case, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_take_and_its_gradient(shape, case, rng)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", pytest.param("float64", marks=FP64), "int8", "int64", "bool"])
def test_dtypes_of_the_data(shape, dtype, rng):
    data = rng.integers(0, 256, (6, 37 * np.dtype(dtype).itemsize), np.uint8)
    data = (data % 2 if dtype == "bool" else data).view(dtype)  # any bits, NaNs among them
    indices = np.array([5, 0, 3], I32)
    plan = index.plan_take(device_of_shape(shape), "take", data.shape, (3,), 0, "clip", data.dtype, I32)
    (y,) = run(plan, [data, indices])
    assert y.tobytes() == data[indices].tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", pytest.param("float64", marks=FP64), "int64"])
def test_dtypes_of_the_gradient(shape, dtype, rng):
    indices = rng.integers(0, 3, 500).astype(I32)
    dy = (100 * rng.random((500, 37))).astype(dtype)
    plan = index.plan_take_grad(
        device_of_shape(shape), "take_grad", (3, 37), (500,), 0, "clip", dy.dtype, I32
    )
    (dx,) = run(plan, [dy, indices])
    # 500 terms in float16 would be off by a percent: they are added in float and rounded once.
    tolerance = np.finfo(dy.dtype).eps if dy.dtype.kind == "f" else 0
    expected = expected_grad(dy, indices, (3, 37), 0, "clip")
    np.testing.assert_allclose(dx, expected, rtol=8 * tolerance if dtype == "float64" else tolerance)


@pytest.mark.parametrize("mode", ["clip", "wrap"])
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", pytest.param("float64", marks=FP64), "int8", "uint8", "int64"]
)
def test_dtypes_of_the_indices(dtype, mode):
    numbers = [0, 4, 5, -1, -5, -6, 7, 11, 127]
    if np.dtype(dtype).kind == "f":
        numbers += [-0.9, 0.9, 4.9, -1.5, 1000.5]
    if dtype == "uint8":
        numbers = [0, 4, 5, 200, 255]
    if dtype == "int64":
        numbers += [2**40 + 3, -(2**40) - 3]
    indices = np.array(numbers, dtype)
    data = np.arange(5, dtype=F32)
    plan = index.plan_take(device_of_shape("cpu"), "take", (5,), indices.shape, 0, mode, F32, indices.dtype)
    (y,) = run(plan, [data, indices])
    np.testing.assert_array_equal(y, rows_taken(indices, 5, mode))


@pytest.mark.parametrize(("mode", "rows"), [("clip", [0, 4, 0, 4, 0]), ("wrap", [0, 0, 0, 0, 0])])
def test_indices_that_no_integer_holds(mode, rows):
    indices = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], F32)
    plan = index.plan_take(device_of_shape("cpu"), "take", (5,), (5,), 0, mode, F32, F32)
    (y,) = run(plan, [np.arange(5, dtype=F32), indices])
    np.testing.assert_array_equal(y, rows)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_taken_gives_a_gradient_of_zeros(shape):
    plan = index.plan_take_grad(device_of_shape(shape), "take_grad", (4, 5), (0,), 0, "clip", F32, I32)
    (dx,) = run(plan, [np.empty((0, 5), F32), np.empty(0, I32)])
    np.testing.assert_array_equal(dx, np.zeros((4, 5)))


def test_taking_nothing():
    plan = index.plan_take(device_of_shape("cpu"), "take", (0, 5), (0,), 0, "clip", F32, I32)
    (y,) = run(plan, [np.empty((0, 5), F32), np.empty(0, I32)])
    assert y.shape == (0, 5)


def test_gradient_is_the_same_in_every_run(rng):
    device = device_of_shape("gpu")
    indices = rng.integers(0, 3, 2000).astype(I32)
    dy = rng.standard_normal((2000, 5)).astype(F32)
    plan = index.plan_take_grad(device, "take_grad", (3, 5), (2000,), 0, "clip", F32, I32)
    first = run(plan, [dy, indices])[0]
    in_order = np.zeros((3, 5), F32)
    for row, values in zip(indices, dy, strict=True):
        in_order[row] += values
    np.testing.assert_array_equal(first, in_order)
    np.testing.assert_array_equal(first, run(plan, [dy, indices])[0])


@pytest.mark.parametrize("planner", [index.plan_take, index.plan_take_grad])
@pytest.mark.parametrize(
    ("data_shape", "axis", "mode", "message"),
    [
        ((3, 4), 2, "clip", "take: axis=2; accepted: -2 to 1"),
        ((3, 4), 0, "raise", "take: mode='raise'; accepted: clip, wrap"),
        ((0, 4), 0, "clip", r"take: data has shape \(0, 4\), nothing to take along axis 0"),
    ],
)
def test_bad_arguments_are_named(planner, data_shape, axis, mode, message):
    with pytest.raises(OperatorError, match=message):
        planner(device_of_shape("cpu"), "take", data_shape, (2,), axis, mode, F32, I32)


@pytest.mark.parametrize("columns", [83, 16, 208])
def test_large_results_are_stored_past_the_caches(columns, rng):
    """Rows at addresses that are not aligned, tails of rows, rows left over: fault, or wrong values."""
    cpu, data = device_of_shape("cpu"), rng.standard_normal((3, 9, columns)).astype(F32)
    default = parameters.MapCpu.default(cpu.capabilities)
    indices = rng.integers(0, 9, 501).astype(I32)
    with tuning.forced(dataclasses.replace(default, stream_bytes=1 << 16)):
        plan = index.plan_take(cpu, "take", data.shape, indices.shape, 1, "clip", F32, I32)
    assert ("STREAM(" in plan.steps[0].source) == (default.vector_bytes == copy.LINE_BYTES)
    (y,) = run(plan, [data, indices])
    np.testing.assert_array_equal(y, data[:, indices])
