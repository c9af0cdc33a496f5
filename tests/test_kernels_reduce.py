"""The map-and-reduce planner: axes, loops, splits, special values, accuracy, both kernel shapes."""

import itertools

import numpy as np
import plan_harness
import pytest

from clgrad.kernels import expr, layout, reduce

FLOAT = np.dtype("float32")
SHAPES = ("cpu", "gpu")


def plan(kernel_shape, shape, axes, how="sum", finish=lambda t: t, dtype=FLOAT, value=None, **options):
    dtype = np.dtype(dtype)
    reduction = reduce.Reduction(expr.operand(0, dtype) if value is None else value, how, dtype, finish)
    operands = options.pop("operands", [layout.broadcast(shape, shape, dtype)])
    device = plan_harness.device_of_shape(kernel_shape)
    return reduce.plan(device, "test", shape, axes, [reduction], operands, **options)


def subsets(ndim):
    return itertools.chain.from_iterable(itertools.combinations(range(ndim), n) for n in range(1, ndim + 1))


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("shape", [(5, 7, 33), (64, 3, 17)])
def test_every_choice_of_axes(kernel_shape, shape, rng):
    """Wrong strides of kept or reduced axes, a lost tail, a lost split."""
    x = rng.standard_normal(shape).astype(FLOAT)
    for axes in subsets(len(shape)):
        (y,) = plan_harness.run(plan(kernel_shape, shape, axes), [x])
        np.testing.assert_allclose(y, x.sum(axes, dtype="float64"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((300_001,), (0,)),
        ((70_003, 2), (0,)),
        ((3, 50_021), (1,)),
        ((4099, 3), (1,)),
        ((1, 1), (0,)),
    ],
)
def test_long_short_and_split_reductions(kernel_shape, shape, axes, rng):
    """A partial result that is dropped or counted twice when work is split over the device."""
    x = rng.standard_normal(shape).astype(FLOAT)
    finish = (lambda total: total * 0.5 + 1) if len(shape) == 1 else (lambda total: total)
    (y,) = plan_harness.run(plan(kernel_shape, shape, axes, finish=finish), [x])
    expected = x.sum(axes, dtype="float64")
    expected = expected * 0.5 + 1 if len(shape) == 1 else expected
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("how", ["max", "min"])
def test_extrema_propagate_nan_from_any_place(kernel_shape, how, rng):
    """fmax drops NaN; a NaN in the vector body, the tail, another lane or accumulator must survive."""
    for size, place in ((37, 0), (37, 5), (37, 16), (37, 36), (333, 18), (333, 60), (333, 262), (333, 332)):
        x = rng.standard_normal((2, size)).astype(FLOAT)
        x[1, place] = np.nan
        (y,) = plan_harness.run(plan(kernel_shape, (2, size), (1,), how), [x])
        np.testing.assert_array_equal(y, getattr(x, how)(1))


@pytest.mark.parametrize("how", ["max", "min"])
def test_extrema_of_infinities(how):
    """An identity of the largest finite number instead of infinity breaks this."""
    x = np.full((3, 20), np.inf if how == "min" else -np.inf, FLOAT)
    (y,) = plan_harness.run(plan("cpu", (3, 20), (1,), how), [x])
    np.testing.assert_array_equal(y, x[:, 0])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("how", ["sum", "prod", "max", "min"])
def test_integers(dtype, how, rng):
    """Sums wrap around as numpy's in the same dtype do; extrema start from the dtype's own limits."""
    x = rng.integers(1, 100, (3, 21)).astype(dtype)
    (y,) = plan_harness.run(plan("cpu", (3, 21), (1,), how, dtype=dtype), [x])
    kwargs = {"dtype": dtype} if how in ("sum", "prod") else {}
    np.testing.assert_array_equal(y, getattr(x, how)(1, **kwargs))


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_a_sum_of_many_terms_keeps_its_digits(kernel_shape):
    """A single running float32 sum of 2^24 + 2^20 ones would stop growing at 2^24."""
    size = 2**24 + 2**20
    one = expr.constant(1, FLOAT) + 0 * expr.operand(0, FLOAT)
    operands = [layout.broadcast((1,), (size,), FLOAT)]
    made = plan(kernel_shape, (size,), (0,), value=one, operands=operands)
    (y,) = plan_harness.run(made, [np.zeros(1, FLOAT)])
    assert y == size


@pytest.mark.parametrize("how", ["sum", "prod"])
def test_reducing_nothing_gives_the_identity(how):
    """numpy: an empty sum is 0, an empty product 1."""
    (y,) = plan_harness.run(plan("cpu", (3, 0), (1,), how), [np.empty((3, 0), FLOAT)])
    np.testing.assert_array_equal(y, np.full(3, float(how == "prod")))


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_several_reductions_in_one_pass(kernel_shape, rng):
    """Accumulators, partial results or outputs that are mixed up."""
    shape, axes = (6, 40, 51), (0, 2)
    x, y = (rng.standard_normal(shape).astype(FLOAT) for _ in range(2))
    a, b = expr.operand(0, FLOAT), expr.operand(1, FLOAT)
    reductions = [reduce.Reduction(a, "sum", FLOAT), reduce.Reduction(a * b, "max", FLOAT)]
    device = plan_harness.device_of_shape(kernel_shape)
    operands = [layout.broadcast(shape, shape, FLOAT)] * 2
    made = reduce.plan(device, "test", shape, axes, reductions, operands)
    total, largest = plan_harness.run(made, [x, y])
    np.testing.assert_allclose(total, x.sum(axes), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(largest, (x * y).max(axes))


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_the_same_bits_on_every_run(kernel_shape, rng):
    """Atomics, or a split that depends on timing, would change the order of additions."""
    x = rng.standard_normal(100_003).astype(FLOAT)
    made = plan(kernel_shape, (100_003,), (0,))
    runs = {plan_harness.run(made, [x])[0].tobytes() for _ in range(5)}
    assert len(runs) == 1


@pytest.mark.parametrize("shape", [(3, 130, 1000), (1, 20_003, 67)])
def test_long_columns_are_reduced_side_by_side(shape, rng):
    """What is left over beside blocks of 16 or 4 vectors; parts, where there are few columns; NaN."""
    x = rng.standard_normal(shape).astype(FLOAT)
    x[0, 77, [5, -1]] = np.nan
    value = expr.operand(0, FLOAT)
    reductions = [reduce.Reduction(value, how, FLOAT) for how in ("sum", "max", "deviation")]
    cpu, operand = plan_harness.device_of_shape("cpu"), layout.broadcast(shape, shape, FLOAT)
    made = reduce.plan(cpu, "test", shape, (1,), reductions, [operand])
    assert "unrolled" in made.steps[0].source
    assert len(made.steps) == (2 if shape[0] == 1 else 1)
    total, largest, squares = plan_harness.run(made, [x])
    np.testing.assert_allclose(total, x.sum(1, dtype="float64"), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(largest, x.max(1))
    np.testing.assert_allclose(squares, x.var(1, dtype="float64") * shape[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 290, 83), "float32"),
        ((1, 20_003, 67), "float32"),
        ((2, 35, 5000), "float32"),
        ((2, 41, 77), "int8"),
    ],
)
def test_rows_are_reduced_in_the_order_of_memory(shape, dtype, rng, monkeypatch):
    """Rows that are left over; a row's last vector, in the last row too; panels; parts; NaN."""
    monkeypatch.setattr(reduce, "PANEL_ELEMENTS", 1)
    monkeypatch.setattr(reduce, "PANEL_VECTORS", 1)
    dtype = np.dtype(dtype)
    x = rng.integers(-9, 9, shape).astype(dtype)
    if dtype.kind == "f":
        x[0, 13, [5, -1]] = np.nan
    scale, shift = (rng.integers(1, 4, n).astype(dtype) for n in shape[1:])
    a, b, c = (expr.operand(slot, dtype) for slot in range(3))
    product = a * expr.cast(expr.index(3), dtype) * b
    reductions = [reduce.Reduction(product, "sum", dtype), reduce.Reduction(a + c, "max", dtype)]
    cpu, dense = plan_harness.device_of_shape("cpu"), layout.broadcast(shape, shape, dtype)
    rows, columns = layout.Operand(dtype, (0, 1, 0)), layout.Operand(dtype, (0, 0, 1))
    made = reduce.plan(
        cpu, "test", shape, (1,), reductions, [dense, rows, columns, layout.index(2, 3)],
    )  # fmt: skip
    assert "__local" in made.steps[0].source
    assert len(made.steps) == 2 or shape[0] > 1  # parts, so that few results fill the device
    total, largest = plan_harness.run(made, [x, scale, shift])
    expected = (x * np.arange(shape[2]).astype(dtype) * scale[:, None]).sum(1, dtype=dtype)
    np.testing.assert_allclose(total, expected, rtol=1e-5 if dtype.kind == "f" else 0)
    np.testing.assert_array_equal(largest, (x + shift).max(1))


def test_columns_that_are_read_backwards(rng, monkeypatch):
    """Addresses that fall as those of the results grow: no vector may reach beyond the beginning."""
    monkeypatch.setattr(reduce, "PANEL_ELEMENTS", 1)
    x = rng.standard_normal((40, 99)).astype(FLOAT)
    backwards = layout.Operand(FLOAT, (-99, 1), base=39 * 99)
    (y,) = plan_harness.run(plan("cpu", x.shape, (0,), operands=[backwards]), [x])
    np.testing.assert_allclose(y, x.sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "dtype"),
    [
        (9, "float32"),
        (21, "float32"),
        (100, "float32"),
        pytest.param(21, "float64", marks=pytest.mark.requires("fp64")),
        (21, "int8"),
    ],
)
def test_short_rows_are_reduced_together(columns, dtype, rng):
    """Lanes that end up in another row's total; what the last vector of a row has of the next one."""
    shape, dtype = (1003, columns), np.dtype(dtype)
    x = rng.integers(-9, 9, shape).astype(dtype)
    if dtype.kind == "f":
        x[[0, 17, 18, -1], [0, -1, 0, -1]] = np.nan
    scale = rng.integers(1, 4, len(x)).astype(dtype)
    a, b = expr.operand(0, dtype), expr.operand(1, dtype)
    product = a * expr.cast(expr.index(2), a.dtype) * b
    reductions = [reduce.Reduction(product, "sum", dtype), reduce.Reduction(a, "max", dtype)]
    cpu, dense = plan_harness.device_of_shape("cpu"), layout.broadcast(shape, shape, dtype)
    operands = [dense, layout.Operand(dtype, (1, 0)), layout.index(1, 2)]
    made = reduce.plan(cpu, "test", shape, (1,), reductions, operands)
    wide = cpu.capabilities.vector_bytes >= 32  # places are longs
    assert ("rows0" in made.steps[0].source) == wide
    total, largest = plan_harness.run(made, [x, scale])
    expected = (x * np.arange(columns).astype(dtype) * scale[:, None]).sum(1, dtype=dtype)
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(largest, x.max(1))


@pytest.mark.parametrize("how", ["sum", "deviation"])
def test_rows_of_a_result_that_lie_far_apart(how, rng, monkeypatch):
    """Rows of several images and channels that are joined with those of another channel."""
    monkeypatch.setattr(reduce, "READS_ON", (4096, 1))
    shape = (3, 2, 5, 7, 160)
    x = rng.standard_normal(shape).astype(FLOAT)
    made = plan("cpu", shape, (0, 1, 3, 4), how)
    assert len(made.steps) == 2
    (y,) = plan_harness.run(made, [x])
    expected = x.sum((0, 1, 3, 4), dtype="float64")
    if how == "deviation":
        expected = x.var((0, 1, 3, 4), dtype="float64") * (x.size // 5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("axis", "order"), [(0, "columns"), (1, "rows")])
def test_large_operands_choose_the_loop(axis, order):
    """Vectors lie along the contiguous axis of the matrix, whatever vectors it is combined with."""
    shape, dense = (40, 50), layout.Operand(FLOAT, (50, 1))
    small = [layout.Operand(FLOAT, (1, 0) if axis == 0 else (0, 1))] * 2
    value = expr.operand(0, FLOAT) * expr.operand(1, FLOAT) * expr.operand(2, FLOAT)
    results = [reduce.Reduction(value, "sum", FLOAT)]
    device = plan_harness.device_of_shape("cpu")
    space = reduce._Space(device, shape, [1 - axis], [axis], results, [dense, *small])
    assert space.order == order


# Sums of squares about the mean


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("shape", [(5, 7, 33), (6, 3, 85), (1, 1)])
def test_deviation_along_every_choice_of_axes(kernel_shape, shape, rng):
    """Accumulators of lanes, of work-items and of parts whose counts differ."""
    x = rng.standard_normal(shape).astype(FLOAT)
    for axes in subsets(len(shape)):
        (y,) = plan_harness.run(plan(kernel_shape, shape, axes, "deviation"), [x])
        expected = x.var(axes, dtype="float64") * (x.size // max(1, y.size))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize(("shape", "axes"), [((300_001,), (0,)), ((70_003, 2), (0,)), ((3, 50_021), (1,))])
def test_deviation_in_parts(kernel_shape, shape, axes, rng):
    """Work that is split over the device: parts whose means lie far from each other."""
    (axis,) = axes
    ramp = np.linspace(0, 100, shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    x = (rng.standard_normal(shape) + ramp).astype(FLOAT)
    made = plan(kernel_shape, shape, axes, "deviation")
    (y,) = plan_harness.run(made, [x])
    expected = x.var(axes, dtype="float64") * shape[axis]
    np.testing.assert_allclose(y, expected, rtol=3e-6)


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_deviation_beside_a_sum(kernel_shape, rng):
    """Two results of one launch, of which one has a larger accumulator; halves are computed in float32."""
    x = rng.standard_normal((4, 77)).astype("float16")
    half = np.dtype("float16")
    value = expr.operand(0, half)
    results = [
        reduce.Reduction(value, "deviation", FLOAT, lambda t: t / 77),
        reduce.Reduction(value, "sum", half),
    ]
    device = plan_harness.device_of_shape(kernel_shape)
    made = reduce.plan(device, "test", x.shape, (1,), results, [layout.broadcast(x.shape, x.shape, half)])
    var, total = plan_harness.run(made, [x])
    np.testing.assert_allclose(var, x.astype("float64").var(1), rtol=1e-6)
    np.testing.assert_allclose(total, x.astype("float64").sum(1), rtol=2e-3, atol=1e-3)


# Places of extrema


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("how", ["argmax", "argmin"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((37, 333), 1), ((2, 290, 83), 1), ((1003, 21), 1), ((3, 50_021), 1), ((90, 7), 0), ((2, 5, 300), 1)],
)
def test_the_first_place_of_an_extremum(kernel_shape, how, shape, axis, rng, monkeypatch):
    """Ties and NaN between lanes, accumulators, work-items, parts, rows and panels."""
    monkeypatch.setattr(reduce, "PANEL_ELEMENTS", 1)
    x = rng.integers(0, 9, shape).astype(FLOAT)
    lines = np.moveaxis(x, axis, -1).reshape(-1, shape[axis])
    lines[1, [shape[axis] // 3, -1]] = np.nan
    lines[-1] = -np.inf if how == "argmax" else np.inf
    x = np.moveaxis(lines.reshape([*np.delete(shape, axis), shape[axis]]), -1, axis).copy()
    ndim, device = len(shape), plan_harness.device_of_shape(kernel_shape)
    place = reduce.Reduction(
        expr.operand(0, FLOAT), how, np.dtype("int32"), place=expr.index(1, narrow=True)
    )
    total = reduce.Reduction(expr.operand(0, FLOAT), "sum", FLOAT)
    operands = [layout.broadcast(shape, shape, FLOAT), layout.index(axis, ndim, narrow=True)]
    made = reduce.plan(device, "test", shape, (axis,), [place, total], operands)
    y, sums = plan_harness.run(made, [x])
    np.testing.assert_array_equal(y, getattr(np, how)(x, axis))
    np.testing.assert_allclose(sums, x.sum(axis), rtol=1e-5)
