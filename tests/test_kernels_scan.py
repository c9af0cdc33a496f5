"""Scan kernels against a loop in numpy, in both kernel shapes."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.errors import OperatorError
from clgrad.kernels import layout, scan

SHAPES = ("cpu", "gpu")
F32 = np.dtype(np.float32)
FP64 = pytest.mark.requires("fp64")

#: Shape and axis: each reaches another part of the kernels.
CASES = {
    "one": ((1,), 0),
    "short": ((5, 7), -1),
    "long": ((20011,), 0),
    "middle": ((2, 130, 3), 1),
    "columns": ((3, 67, 37), 1),
    "few columns": ((40009, 2), 0),
    "long columns": ((9001, 19), 0),
}


def expected(how, arrays, axis, reverse, exclusive):
    """The definition, in float64 (or in whole numbers)."""
    moved = [np.moveaxis(np.flip(x, axis) if reverse else x, axis, 0) for x in arrays]
    state = np.full(moved[0].shape[1:], how == "product", moved[0].dtype)
    states = []
    for at in range(len(moved[0])):
        before = state
        if how == "recurrence":
            state = moved[1][at] + moved[0][at] * state
        else:
            state = state + moved[0][at] if how == "sum" else state * moved[0][at]
        states.append(before if exclusive else state)
    y = np.moveaxis(np.stack(states), 0, axis)
    return np.flip(y, axis) if reverse else y


def draw(how, shape, rng):
    """Arrays whose running states stay small."""
    if how == "sum":
        return [rng.standard_normal(shape)]
    factors = np.exp(rng.uniform(-0.03, 0.03, shape)) * rng.choice([-1, 1], shape)
    return [factors] if how == "product" else [factors * 0.9, rng.standard_normal(shape)]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("how", ["sum", "product", "recurrence"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_scan(case, shape, how, reverse, exclusive, rng):
    data_shape, axis = CASES[case]
    arrays = [x.astype(F32) for x in draw(how, data_shape, rng)]
    options = {"reverse": reverse, "exclusive": exclusive}
    dtypes = [F32] * len(arrays)
    plan = scan.plan(device_of_shape(shape), f"scan_{how}", data_shape, axis, how, dtypes, F32, **options)
    (y,) = run(plan, arrays)
    reference = expected(how, [x.astype(np.float64) for x in arrays], axis, reverse, exclusive)
    np.testing.assert_allclose(y, reference, rtol=1e-3, atol=1e-5 * np.abs(reference).max())
    assert run(plan, arrays)[0].tobytes() == y.tobytes(), "another run, another result"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["long", "columns", "few columns"])
def test_64_bit_positions(case, shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_scan(case, shape, "recurrence", False, True, rng)


@pytest.mark.parametrize("shape", SHAPES)
def test_zeros_and_infinities(shape):
    """A product that has passed a 0 stays 0; infinity times 0 is NaN, as in the definition."""
    x = np.ones((1, 300), F32)
    x[0, 100], x[0, 200] = 0, np.inf
    plan = scan.plan(device_of_shape(shape), "scan", x.shape, 1, "product", [F32], F32)
    (y,) = run(plan, [x])
    assert (y[0, :100] == 1).all()
    assert (y[0, 100:200] == 0).all()
    assert np.isnan(y[0, 200:]).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float16", "float16"),
        ("bfloat16", "float32"),
        pytest.param("float32", "float64", marks=FP64),
        ("float32", "int8"),
        ("int8", "int8"),
        ("int16", "int64"),
        ("uint8", "float32"),
        ("int32", "float16"),
        ("bool", "int64"),
    ],
)
def test_dtypes(source, target, shape, rng):
    """Elements are converted first; whole numbers wrap."""
    x = rng.integers(0, 2, (3, 300)).astype(source)
    plan = scan.plan(device_of_shape(shape), "scan", x.shape, 1, "sum", [x.dtype], np.dtype(target))
    (y,) = run(plan, [x])
    with np.errstate(over="ignore"):
        reference = np.cumsum(x.astype(np.int64), 1).astype(target)
    np.testing.assert_array_equal(y, reference)


@pytest.mark.parametrize("shape", SHAPES)
def test_long_sums_are_accurate(shape):
    """One after the other, float32 would lose a thousandth of this."""
    x = np.full((1 << 18,), 0.1, F32)
    plan = scan.plan(device_of_shape(shape), "scan", x.shape, 0, "sum", [F32], F32)
    np.testing.assert_allclose(run(plan, [x])[0], np.cumsum(x.astype(np.float64)), rtol=1e-5)


def test_nothing_and_errors():
    device = device_of_shape("cpu")
    plan = scan.plan(device, "scan", (3, 0), 1, "sum", [F32], F32)
    assert run(plan, [np.zeros((3, 0), F32)])[0].shape == (3, 0)
    with pytest.raises(OperatorError, match="scan: axis=1; accepted: -1 to 0"):
        scan.plan(device, "scan", (3,), 1, "sum", [F32], F32)
