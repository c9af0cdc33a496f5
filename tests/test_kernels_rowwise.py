"""Softmax, log-softmax, cross-entropy and LayerNorm against numpy in float64, in both kernel shapes."""

import dataclasses

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.errors import OperatorError
from clgrad.kernels import layout, parameters, rowwise, tuning

SHAPES = ("cpu", "gpu")
FP64 = pytest.mark.requires("fp64")
F32 = np.dtype(np.float32)

#: Shape and axis: long, short and single rows; columns that fill vectors, and that do not.
CASES = {
    "rows": ((7, 333), 1),
    "short_rows": ((130, 5), -1),
    "rows_of_10": ((37, 10), 1),
    "one_row": ((1000,), 0),
    "rows_of_one": ((6, 1), 1),
    "columns": ((3, 40, 37), 1),
    "few_columns": ((2, 9, 3), -2),
    "first_axis": ((21, 65), 0),
}


def softmax(x: np.ndarray, axis: int, log: bool, temperature: float) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        z = x.astype(np.float64) / temperature
        z = z - z.max(axis, keepdims=True)
        total = np.exp(z).sum(axis, keepdims=True)
        return z - np.log(total) if log else np.exp(z) / total


def softmax_grad(dy, y, axis: int, log: bool, temperature: float) -> np.ndarray:
    dy, y = dy.astype(np.float64), y.astype(np.float64)
    if log:
        return (dy - np.exp(y) * dy.sum(axis, keepdims=True)) / temperature
    return y * (dy - (dy * y).sum(axis, keepdims=True)) / temperature


def check(shape, size, axis, log, temperature, dtype, rng):
    device, dtype = device_of_shape(shape), np.dtype(dtype)
    settings = {"log": log, "temperature": temperature}
    x = (4 * rng.standard_normal(size)).astype(dtype)
    plan = rowwise.plan_softmax(device, "softmax_forward", size, axis, dtype, **settings)
    (y,) = run(plan, [x])
    # What exp and a sum of a thousand terms may lose, and the rounding of y. Logarithms near 0 are
    # differences of larger numbers: only their absolute error is small.
    tolerance = {"float16": 1e-3, "float32": 5e-6, "float64": 1e-14}[dtype.name]
    absolute = tolerance if log else np.finfo(dtype).smallest_subnormal
    expected = softmax(x, axis, log, temperature)
    np.testing.assert_allclose(y, expected, rtol=2 * tolerance, atol=absolute)
    dy = rng.standard_normal(size).astype(dtype)
    plan = rowwise.plan_softmax_grad(device, "softmax_grad", size, axis, dtype, **settings)
    (dx,) = run(plan, [dy, y])
    expected = softmax_grad(dy, y, axis, log, temperature)
    np.testing.assert_allclose(dx, expected, rtol=2 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_softmax_and_its_gradient(shape, case, rng):
    check(shape, *CASES[case], log=False, temperature=1.0, dtype=F32, rng=rng)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["rows", "columns"])
@pytest.mark.parametrize(("log", "temperature"), [(True, 1.0), (True, 2.5), (False, -0.5)])
def test_logarithm_and_temperature(shape, case, log, temperature, rng):
    check(shape, *CASES[case], log=log, temperature=temperature, dtype=F32, rng=rng)


@pytest.mark.parametrize(("size", "log"), [((7, 333), True), ((2, 9, 37), False)])
def test_results_past_the_caches(size, log, rng, monkeypatch):
    """Such a store of exponentials that are read again, or of a row's last vector at an odd address."""
    monkeypatch.setattr(rowwise, "LONG_ROW", 1)
    default = parameters.MapCpu.default(device_of_shape("cpu").capabilities)
    with tuning.forced(dataclasses.replace(default, stream_bytes=1)):
        made = rowwise.plan_softmax_grad(device_of_shape("cpu"), "softmax_grad", size, 1, F32, log=log)
        assert "STREAM(float," in made.steps[0].source
        check("cpu", size, 1, log=log, temperature=1.0, dtype=F32, rng=rng)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", pytest.param("float64", marks=FP64)])
@pytest.mark.parametrize(("case", "log"), [("rows", False), ("columns", False), ("rows", True)])
def test_other_dtypes(shape, dtype, case, log, rng):
    check(shape, *CASES[case], log=log, temperature=1.0, dtype=dtype, rng=rng)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["rows", "columns"])
def test_64_bit_positions(shape, case, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_softmax_and_its_gradient(shape, case, rng)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("axis", "n"), [(0, 83), (1, 83), (1, 10)])
@pytest.mark.parametrize("log", [False, True])
def test_infinity_and_nan(shape, axis, n, log, rng):
    rows = rng.standard_normal((6, n)).astype(F32)
    rows[0, -3] = np.nan
    rows[1, 5] = np.inf
    rows[2, :] = -np.inf
    rows[3, 1:] = -np.inf
    rows[4] += 1e30  # nothing may overflow
    rows[5, 7] = -np.inf
    x = np.ascontiguousarray(rows if axis else rows.T)
    plan = rowwise.plan_softmax(device_of_shape(shape), "softmax", x.shape, axis, F32, log=log)
    (y,) = run(plan, [x])
    expected = softmax(x, axis, log, 1.0)
    assert np.isnan(expected).any()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-7)


def test_no_elements():
    plan = rowwise.plan_softmax(device_of_shape("cpu"), "softmax", (0, 4), 1, F32)
    assert run(plan, [np.empty((0, 4), F32)])[0].shape == (0, 4)


@pytest.mark.parametrize("planner", [rowwise.plan_softmax, rowwise.plan_softmax_grad])
@pytest.mark.parametrize(
    ("axis", "temperature", "message"),
    [
        (2, 1.0, "softmax: axis=2; accepted: -2 to 1"),
        (0, 0.0, "softmax: temperature=0.0; accepted: any number but 0"),
    ],
)
def test_bad_arguments_are_named(planner, axis, temperature, message):
    with pytest.raises(OperatorError, match=message):
        planner(device_of_shape("cpu"), "softmax", (3, 4), axis, F32, temperature=temperature)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
def test_lengths(shape, case, kind, rng):
    """Elements behind the length are 0 and do not count; a row of none is 0; too long is all."""
    size, axis = CASES[case]
    x = (4 * rng.standard_normal(size)).astype(F32)
    n, others = size[axis], tuple(m for a, m in enumerate(size) if a != axis % len(size)) or (1,)
    lengths = rng.integers(0 if kind == "uint8" else -2, min(n + 3, 255), others).astype(kind)
    plan = rowwise.plan_softmax(device_of_shape(shape), "softmax", size, axis, F32, lengths=lengths.dtype)
    (y,) = run(plan, [x, lengths])
    kept = (
        np.moveaxis(np.arange(n) < lengths.reshape(others)[..., None], -1, axis)
        if x.ndim > 1
        else (np.arange(n) < lengths)
    )
    e = np.where(kept, np.exp(x.astype(np.float64) - x.max()), 0)
    total = e.sum(axis, keepdims=True)
    np.testing.assert_allclose(y, e / np.where(total == 0, 1, total), rtol=1e-5, atol=1e-12)


#: Rows and classes: short and long rows, one class, and rows for more than one work-item of a CPU.
CROSS_ENTROPIES = {
    "short_rows": (130, 5),
    "rows": (7, 333),
    "one_class": (3, 1),
    "many_rows": (600, 43),
}


def labels_of(kind: str, rows: int, classes: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Labels, some of them of no class, and the places that they stand for."""
    label = rng.integers(0, classes, rows).astype(kind)
    label[:2] = [0, 200]
    if np.dtype(kind).kind == "f":
        label[:4] = [classes - 0.5, -7, np.nan, np.inf][:rows]
    whole = np.where(np.isnan(label), 0, label)
    return label, np.clip(whole, 0, classes - 1).astype(int)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("case", "kind", "dtype"),
    [(case, "int32", "float32") for case in CROSS_ENTROPIES]
    + [("short_rows", "float32", "float32"), ("rows", "uint8", "float16")]
    + [pytest.param("rows", "int64", "float64", marks=FP64)],
)
def test_cross_entropy_and_its_gradient(shape, case, kind, dtype, rng):
    size, dtype = CROSS_ENTROPIES[case], np.dtype(dtype)
    x = (4 * rng.standard_normal(size)).astype(dtype)
    label, places = labels_of(kind, *size, rng)
    chosen = np.eye(size[1])[places]
    tolerance = {"float16": 1e-3, "float32": 5e-6, "float64": 1e-14}[dtype.name]

    arguments = device_of_shape(shape), "cross_entropy", size, dtype, label.dtype
    (total,) = run(rowwise.plan_cross_entropy(*arguments), [x, label])
    expected = -(softmax(x, 1, True, 1.0) * chosen).sum()
    assert total.shape == (1,)
    np.testing.assert_allclose(total, [expected], rtol=tolerance, atol=tolerance)

    (losses,) = run(rowwise.plan_cross_entropies(*arguments), [x, label])
    expected = -(softmax(x, 1, True, 1.0) * chosen).sum(1)
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance)

    grad = np.array([-1.5], dtype)
    difference = softmax(x, 1, False, 1.0) - chosen
    (dx,) = run(rowwise.plan_cross_entropy_grad(*arguments), [grad, x, label])
    np.testing.assert_allclose(dx, -1.5 * difference, rtol=1e-3, atol=tolerance)
    grads = rng.standard_normal(size[0]).astype(dtype)
    (dx,) = run(rowwise.plan_cross_entropy_grad(*arguments, apart=True), [grads, x, label])
    np.testing.assert_allclose(dx, grads[:, None] * difference, rtol=1e-3, atol=4 * tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_of_infinity_and_nan(shape, rng):
    """A row with NaN or infinity makes the sum NaN; a class of probability 0 costs infinity."""
    for value, expected in ((np.nan, np.nan), (np.inf, np.nan), (-np.inf, np.inf)):
        x, label = rng.standard_normal((9, 5)).astype(F32), np.zeros(9, np.int32)
        x[4, 0] = value
        x[5] += 1e30  # nothing may overflow
        plan = rowwise.plan_cross_entropy(device_of_shape(shape), "loss", x.shape, F32, label.dtype)
        np.testing.assert_array_equal(run(plan, [x, label])[0], [np.float32(expected)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        ((130, 5), "float32"),
        ((7, 333), "float32"),
        ((7, 333), "float16"),
        pytest.param((7, 333), "float64", marks=FP64),
    ],
)
def test_rows_standardised(shape, size, dtype, rng):
    """Rows far from 0 as well: the mean and the variance do not suffer."""
    dtype = np.dtype(dtype)
    wide = F32 if dtype == np.float16 else dtype
    x = rng.standard_normal(size)
    x[1::2] += 100 if dtype == np.float16 else 1e4
    x = x.astype(dtype)
    gamma, beta = rng.standard_normal((2, size[1])).astype(wide)
    kinds = {"x": dtype, "gamma": wide, "beta": wide}
    shapes = [size, (size[0], 1), (size[0], 1)]
    plan = rowwise.plan_standardize(device_of_shape(shape), "layer_norm", size, kinds, shapes)
    y, mean, var = run(plan, [x, gamma, beta], [0.01])
    exact = x.astype(np.longdouble)
    tolerance = {"float16": 1e-3, "float32": 5e-6, "float64": 1e-13}[dtype.name]
    centred = exact - exact.mean(1, keepdims=True)
    variance = (centred**2).mean(1, keepdims=True)
    np.testing.assert_allclose(mean, exact.mean(1, keepdims=True), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(var, variance, rtol=2 * tolerance)
    expected = gamma * centred / np.sqrt(variance + 0.01) + beta
    np.testing.assert_allclose(y, expected, rtol=2 * tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_standardised_with_numbers_of_their_own(shape, rng):
    """A number of the row before, or of the column; results past the caches at addresses of all kinds."""
    x = rng.standard_normal((14, 333)).astype(F32)
    gamma, beta = rng.standard_normal((2, 7)).astype(F32)
    device, kinds = device_of_shape(shape), dict.fromkeys(("x", "gamma", "beta"), F32)
    past_caches = dataclasses.replace(parameters.MapCpu.default(device.capabilities), stream_bytes=1 << 12)
    with tuning.forced(past_caches):
        plan = rowwise.plan_standardize(
            device, "group_norm", x.shape, kinds, [x.shape, (14,), (14,)], period=7
        )
    y, mean, var = run(plan, [x, gamma, beta], [0.01])
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 0.01)
    expected = np.tile(gamma, 2)[:, None] * expected + np.tile(beta, 2)[:, None]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mean, exact.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var, exact.var(1), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        ((2 * rowwise.LANE_TERMS + 1, 6), "float32"),
        ((7, 333), "float32"),
        ((7, 333), "float16"),
        pytest.param((7, 333), "float64", marks=FP64),
    ],
)
def test_gradients_of_rows_standardised(shape, size, dtype, rng):
    """A last vector that counts twice, rows that no work-item has, or sums of theirs that are left out."""
    dtype, n = np.dtype(dtype), size[1]
    wide = F32 if dtype == np.float16 else dtype
    dy, x = rng.standard_normal((2, *size)).astype(dtype)
    gamma = rng.standard_normal(n).astype(wide)
    device = device_of_shape(shape)
    past_caches = dataclasses.replace(parameters.MapCpu.default(device.capabilities), stream_bytes=1 << 12)
    exact, g = x.astype(np.longdouble), dy.astype(np.longdouble) * gamma
    mean, var = exact.mean(1, keepdims=True), exact.var(1, keepdims=True)
    with tuning.forced(past_caches):
        plan = rowwise.plan_standardize_grad(
            device, "layer_norm_grad", size, {"x": dtype, "gamma": wide}, [(n,), (n,), size]
        )
    assert ("STREAM(" in plan.steps[0].source) == (shape == "cpu")
    d_gamma, d_beta, dx = run(plan, [dy, x, mean.astype(wide), var.astype(wide), gamma], [0.01])
    scale = 1 / np.sqrt(var + 0.01)
    z = (exact - mean) * scale
    expected = scale * (g - g.mean(1, keepdims=True) - z * (g * z).mean(1, keepdims=True))
    tolerance = {"float16": 2e-3, "float32": 5e-6, "float64": 1e-13}[dtype.name]
    np.testing.assert_allclose(dx, expected, rtol=tolerance, atol=tolerance)
    rounding = (1e-13 if dtype == np.float64 else 1e-6) * size[0]
    np.testing.assert_allclose(d_gamma, (dy * z).sum(0), rtol=tolerance, atol=rounding)
    np.testing.assert_allclose(d_beta, dy.astype(np.longdouble).sum(0), rtol=tolerance, atol=rounding)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_standardised_with_nan_and_infinity(shape, rng):
    x = rng.standard_normal((4, 40)).astype(F32)
    x[0, 0], x[1, 39], x[2, 7] = np.inf, np.nan, -np.inf
    kinds = dict.fromkeys(("x", "gamma", "beta"), F32)
    device, shapes = device_of_shape(shape), [x.shape, (4,), (4,)]
    plan = rowwise.plan_standardize(device, "layer_norm", x.shape, kinds, shapes)
    y, mean, var = run(plan, [x, np.ones(40, F32), np.zeros(40, F32)], [1e-5])
    assert np.isnan(y[:3]).all()
    assert np.isnan(var[:3]).all()
    assert not np.isfinite(mean[:3]).any()
    assert np.isfinite(y[3]).all()
