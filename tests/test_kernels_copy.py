"""The planner of copies: rows of any length, in any order, into parts of arrays, against numpy."""

import dataclasses

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad import memory
from clgrad.device import current_context
from clgrad.kernels import copy, layout, parameters, tuning
from clgrad.kernels.launch import Plan
from clgrad.kernels.layout import Operand

FLOAT = np.dtype(np.float32)
#: Shape of the source, shape of the result, its strides over the source, and where it begins.
CASES = {
    "one row": ((20011,), (20011,), (1,), 0),
    "rows of a slice": ((7, 61), (7, 45), (61, 1), 9),
    "rows shorter than a vector": ((40, 9), (40, 3), (9, 1), 2),
    "backwards": ((5, 83), (5, 83), (83, -1), 82),
    "both axes backwards": ((6, 37), (6, 37), (-37, -1), 6 * 37 - 1),
    "rows repeated": ((1, 50), (9, 50), (0, 1), 0),
    "one element for each row": ((21, 1), (21, 75), (1, 0), 0),
    "three outer axes": ((3, 4, 5, 17), (5, 3, 4, 17), (17, 340, 85, 1), 0),
    "no neighbours": ((30, 8), (8, 30), (1, 8), 0),
}


def taken(x, shape, strides, base):
    steps = [s * x.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(x.ravel()[base:], shape, steps)


@pytest.mark.parametrize("shape", ["cpu", "gpu"])
@pytest.mark.parametrize("case", CASES)
def test_rows_move_as_they_are(case, shape, rng):
    """A tail that is left out or written twice, an axis that is not stepped back at its end."""
    source, size, strides, base = CASES[case]
    x = rng.standard_normal(source).astype(FLOAT)
    plan = copy.plan(device_of_shape(shape), "test", size, Operand(FLOAT, strides, base))
    np.testing.assert_array_equal(run(plan, [x])[0], taken(x, size, strides, base))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bool"])
def test_sizes_of_elements(dtype, rng):
    """Bits are moved as they are, whatever they mean: also those of NaN."""
    count = 6 * 75 * np.dtype(dtype).itemsize
    x = rng.integers(0, 2 if dtype == "bool" else 256, count, np.uint8).view(dtype).reshape(6, 75)
    plan = copy.plan(device_of_shape("cpu"), "test", (6, 61), Operand(x.dtype, (75, 1), 3))
    assert run(plan, [x])[0].tobytes() == np.ascontiguousarray(x[:, 3:64]).tobytes()


def test_into_a_part_of_an_array(rng):
    """A row that is written where another one lies."""
    device, x = device_of_shape("cpu"), rng.standard_normal((3, 4, 20)).astype(FLOAT)
    target = Operand(FLOAT, (7 * 20, 20, 1), 2 * 20)
    step = copy.step(device, "test", x.shape, layout.broadcast(x.shape, x.shape, FLOAT), target)
    (y,) = run(Plan(device, [step], [((3, 7, 20), FLOAT)], 1), [x])
    np.testing.assert_array_equal(y[:, 2:6], x)


@pytest.mark.parametrize(
    ("source", "shape", "strides", "base"),
    [
        ((3, 301, 7), (3 * 301 * 7,), (1,), 0),
        ((5, 8, 3, 32), (3, 5, 8, 32), (32, 768, 96, 1), 0),
        ((4, 601), (4, 598), (601, -1), 600),
    ],
)
def test_large_results_are_stored_past_the_caches(source, shape, strides, base, rng):
    """Stores to an address that is not aligned, a row before its first line: fault, or wrong values."""
    cpu, x = device_of_shape("cpu"), rng.standard_normal(source).astype(FLOAT)
    expected = np.ascontiguousarray(taken(x, shape, strides, base))
    operand = Operand(FLOAT, strides, base)
    default = parameters.MapCpu.default(cpu.capabilities)
    with tuning.forced(dataclasses.replace(default, stream_bytes=1 << 16)):
        step = copy.step(
            cpu,
            "test",
            expected.shape,
            operand,
            layout.broadcast(expected.shape, expected.shape, FLOAT),
            nbytes=1 << 16,
        )
        plan = Plan(cpu, [step], [(expected.shape, FLOAT)], 1)
    assert ("STREAM(" in step.source) == (default.vector_bytes == copy.LINE_BYTES)
    stream = memory.current_stream(current_context().device)
    view = memory.empty(stream, x.shape, FLOAT)
    memory.upload(stream, x, view)
    (aligned,) = (memory.download(stream, y) for y in plan.run(stream, [view]))
    for found in (aligned, *run(plan, [x])):
        np.testing.assert_array_equal(found, expected)
