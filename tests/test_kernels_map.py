"""The elementwise planner: strides, vector tails, dtypes, index operands, both kernel shapes."""

import dataclasses

import numpy as np
import plan_harness
import pytest

from clgrad import memory
from clgrad.device import current_context
from clgrad.kernels import expr, layout, map, parameters, tuning
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.layout import Operand

FLOAT = np.dtype("float32")
SHAPES = ("cpu", "gpu")


def device(shape):
    return plan_harness.device_of_shape(shape)


def dense(shape, dtype=FLOAT):
    return layout.broadcast(shape, shape, dtype)


def plan(kernel_shape, shape, value, operands, **options):
    outputs = [map.Output(value, dense(shape, options.pop("dtype", FLOAT)))]
    return map.plan(device(kernel_shape), "test", shape, outputs, operands, **options)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000, 40_003])
def test_every_element_once_at_any_size(kernel_shape, size, rng):
    """A tail that is skipped, done twice, or stored past the end breaks this (canaries)."""
    x = rng.standard_normal(size).astype(FLOAT)
    (y,) = plan_harness.run(
        plan(kernel_shape, (size,), expr.operand(0, FLOAT) * 2 + 1, [dense((size,))]), [x]
    )
    np.testing.assert_array_equal(y, x * 2 + 1)


@pytest.mark.parametrize(("rows", "columns"), [(1, 4096), (3, 1003)])
def test_large_results_are_stored_past_the_caches(rows, columns, rng):
    """Stores to an address that is not aligned, a row's tail left out: fault, or wrong values."""
    cpu, shape = device("cpu"), (rows, columns)
    default = parameters.MapCpu.default(cpu.capabilities)
    x = rng.standard_normal(shape).astype(FLOAT)
    source = Operand(FLOAT, (columns + 2, 1))  # so that the rows stay apart
    outputs = [
        map.Output(expr.operand(0, FLOAT) * 2, dense(shape)),
        map.Output(expr.operand(0, FLOAT) > 0, dense(shape, np.dtype(np.float16))),
        map.Output(expr.cast(expr.operand(0, FLOAT), np.dtype(np.int32)), dense(shape, np.dtype(np.int32))),
    ]
    with tuning.forced(dataclasses.replace(default, stream_bytes=1 << 14)):
        made = map.plan(cpu, "test", shape, outputs, [source])
    assert "STREAM(float," in made.steps[0].source
    assert ("lanes_before" in made.steps[0].source) == (rows > 1)  # up to whole lines by scalars
    padded = np.pad(x, ((0, 0), (0, 2)))
    stream = memory.current_stream(current_context().device)
    view = memory.empty(stream, padded.shape, FLOAT)
    memory.upload(stream, padded, view)
    aligned = [memory.download(stream, y) for y in made.run(stream, [view])]
    for results in (aligned, plan_harness.run(made, [padded])):
        for found, expected in zip(results, (x * 2, x > 0, x.astype(int)), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_broadcast_operands_are_repeated(kernel_shape, rng):
    """A wrong stride, or axes merged that do not go together, breaks this."""
    shapes = [(3, 1, 37), (5, 1), (1,), (3, 5, 37)]
    arrays = [rng.standard_normal(s).astype(FLOAT) for s in shapes]
    total = sum((expr.operand(i, FLOAT) for i in range(1, 4)), expr.operand(0, FLOAT))
    operands = [layout.broadcast(s, (3, 5, 37), FLOAT) for s in shapes]
    (y,) = plan_harness.run(plan(kernel_shape, (3, 5, 37), total, operands), arrays)
    a, b, c, d = arrays
    np.testing.assert_array_equal(y, a + b + c + d)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("columns", [37, 9])
def test_what_is_the_same_along_a_row_is_made_once_for_it(kernel_shape, columns, rng):
    """A row counted wrong where axes carry or a work-item begins, or a value of the row before."""
    shape = (3, 50, 7, columns)
    shapes = [shape, (3, 50, 1, 1), (1, 50, 7, 1)]
    arrays = [rng.random(s).astype(FLOAT) for s in shapes]
    x, a, b = (expr.operand(i, FLOAT) for i in range(3))
    same = expr.call("sqrt", a * 2 + b) + expr.cast(expr.index(3), FLOAT)
    value = expr.where(b > 0.5, x * same, same)
    operands = [*(layout.broadcast(s, shape, FLOAT) for s in shapes), layout.index(1, 4)]
    wanted = device(kernel_shape)
    small = dataclasses.replace(parameters.MapCpu.default(wanted.capabilities), grain=64, items_per_unit=16)
    with tuning.forced(small):
        made = plan(kernel_shape, shape, value, operands)
    assert made.steps[0].source.count("sqrt(") == 1
    (y,) = plan_harness.run(made, arrays)
    x, a, b = arrays
    same = np.sqrt(a * 2 + b) + np.arange(50, dtype=FLOAT).reshape(50, 1, 1)
    np.testing.assert_allclose(y, np.where(b > 0.5, x * same, same), rtol=1e-6)


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_reads_and_writes_by_stride(kernel_shape, rng):
    """Negative strides, gathers and strided stores: a reversed transpose into every second column."""
    x = rng.standard_normal((7, 5)).astype(FLOAT)
    source = Operand(FLOAT, (1, -5), base=30)
    target = Operand(FLOAT, (14, 2))
    made = map.plan(
        device(kernel_shape),
        "test",
        (5, 7),
        [map.Output(expr.operand(0, FLOAT), target)],
        [source],
        out_shapes=[(5, 14)],
    )
    (y,) = plan_harness.run(made, [x])
    np.testing.assert_array_equal(y[:, ::2], x[::-1].T)


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_index_operands_are_positions(kernel_shape):
    """An index that is off by a vector, or wrong after axes were merged, breaks this."""
    shape = (3, 41)
    value = expr.cast(expr.index(0) * 100 + expr.index(1), FLOAT)
    operands = [layout.index(0, 2), layout.index(1, 2)]
    (y,) = plan_harness.run(plan(kernel_shape, shape, value, operands), [])
    np.testing.assert_array_equal(y, np.arange(3)[:, None] * 100 + np.arange(41))


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_several_outputs_and_scalars(kernel_shape, rng):
    """A scalar in the wrong slot, or outputs exchanged, breaks this."""
    x = rng.standard_normal(50).astype(FLOAT)
    a, b = expr.scalar(0, FLOAT), expr.scalar(1, FLOAT)
    outputs = [
        map.Output(expr.operand(0, FLOAT) * a, dense((50,))),
        map.Output(expr.operand(0, FLOAT) + b, dense((50,))),
    ]
    made = map.plan(device(kernel_shape), "test", (50,), outputs, [dense((50,))], [FLOAT, FLOAT])
    for scalars in ((2.0, 3.0), (-1.0, 0.5)):
        times, plus = plan_harness.run(made, [x], scalars)
        np.testing.assert_array_equal(times, x * np.float32(scalars[0]))
        np.testing.assert_array_equal(plus, x + np.float32(scalars[1]))


@pytest.mark.parametrize("storage", ["float16", "int8", "uint8", "int32", "int64", "bool"])
def test_storage_types_convert_on_load_and_store(storage, rng):
    """A half that is not rounded to nearest, or a bool that keeps a 2, breaks this."""
    dtype = np.dtype(storage)
    x = rng.integers(0, 4, 67).astype(dtype)
    value = expr.operand(0, dtype) + expr.operand(0, dtype)
    (y,) = plan_harness.run(plan("cpu", (67,), value, [dense((67,), dtype)], dtype=dtype), [x])
    np.testing.assert_array_equal(y, (x + x).astype(dtype))
    assert y.dtype == dtype


def test_half_is_rounded_once_to_nearest(rng):
    """Truncation, or arithmetic in half precision, breaks this."""
    half = np.dtype("float16")
    x = rng.standard_normal(1001).astype(half)
    value = expr.operand(0, half) * expr.operand(0, half) + 1
    (y,) = plan_harness.run(plan("cpu", (1001,), value, [dense((1001,), half)], dtype=half), [x])
    np.testing.assert_array_equal(y, (x.astype(FLOAT) ** 2 + 1).astype(half))


def test_an_empty_space_launches_nothing():
    """OpenCL refuses zero-size buffers and ranges."""
    made = plan("cpu", (0, 3), expr.operand(0, FLOAT), [dense((0, 3))])
    assert made.steps == ()
    (y,) = plan_harness.run(made, [np.empty((0, 3), FLOAT)])
    assert y.shape == (0, 3)


def test_offsets_beyond_32_bits_are_planned_wide():
    """A space whose addresses overflow an int must use long positions; a small one must not."""
    small = Operand(FLOAT, (1,))
    far = Operand(FLOAT, (2**20,))
    assert not layout.needs_long((4096,), [small])
    assert layout.needs_long((4096,), [far])


@pytest.mark.parametrize(
    ("shape", "strides", "merged"),
    [
        ((2, 3, 4), [(12, 4, 1), (12, 4, 1)], (24,)),
        ((2, 3, 4), [(12, 4, 1), (0, 4, 1)], (2, 12)),
        ((2, 1, 4), [(4, 4, 1), (4, 0, 1)], (8,)),
        ((1, 1), [(1, 1)], (1,)),
    ],
)
def test_axes_are_merged_only_where_every_operand_allows(shape, strides, merged):
    """Merging too much reads wrong elements; merging too little costs speed."""
    assert layout.merge_axes(shape, strides)[0] == merged


def test_emitted_code_names_no_double_literal():
    """A bare double literal does not compile on devices without fp64."""
    emitter = Emitter(1, lambda slot: f"x{slot}", lambda slot: f"c{slot}")
    x = expr.operand(0, FLOAT)
    emitter.value(expr.where(x > 0.1, x * 1e-8, float("inf")) + 3)
    for line in emitter.lines:
        assert "1e-08f" in line or "e-08" not in line
        assert "0.1)" not in line


def test_a_symbolic_operand_has_no_truth_value():
    """``if x > 0`` in a formula would silently take one branch for all elements."""
    with pytest.raises(TypeError, match="where"):
        bool(expr.operand(0, FLOAT) > 0)


def test_plans_survive_a_change_of_offsets(rng):
    """An offset argument that is left over from the run before reads the wrong place."""
    made = plan("cpu", (40,), expr.operand(0, FLOAT) + 1, [dense((40,))])
    from_harness = rng.standard_normal(40).astype(FLOAT)
    plan_harness.run(made, [from_harness])  # at an odd offset
    stream = plan_harness.memory.current_stream(current_context().device)
    view = plan_harness.memory.empty(stream, (40,), FLOAT)
    plan_harness.memory.upload(stream, from_harness, view)
    (result,) = made.run(stream, [view])
    np.testing.assert_array_equal(plan_harness.memory.download(stream, result), from_harness + 1)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8", "int64"])
def test_lookups(kernel_shape, dtype, rng):
    """Elements at computed addresses: x[p, c] for places p, in every vector width."""
    dtype, places = np.dtype(dtype), np.dtype("int32")
    x, p = rng.integers(-9, 9, (5, 37)).astype(dtype), rng.integers(0, 5, 41).astype(places)
    address = expr.cast(expr.operand(1, places), np.dtype("int64")) * 37 + expr.index(2)
    operands = [Operand(dtype, (0, 0)), Operand(places, (1, 0)), layout.index(1, 2)]
    value = expr.lookup(0, dtype, address)
    (y,) = plan_harness.run(plan(kernel_shape, (41, 37), value, operands, dtype=dtype), [x, p])
    np.testing.assert_array_equal(y, x[p])
