"""The planner of transposes: tiles, their edges and the matrices' axes, against numpy."""

import dataclasses

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad import memory
from clgrad.device import current_context
from clgrad.kernels import copy, layout, parameters, transpose, tuning

#: Shape of the source and order of its axes.
CASES = {
    "whole tiles": ((64, 128), (1, 0)),
    "edges on both sides": ((67, 75), (1, 0)),
    "less than a tile": ((17, 21), (1, 0)),
    "few columns": ((3, 501), (1, 0)),
    "few rows: no tiles": ((501, 3), (1, 0)),
    "several tiles each way": ((67, 270), (1, 0)),
    "tiles above each other": ((35, 1030), (1, 0)),
    "matrices": ((3, 33, 18), (0, 2, 1)),
    "matrices of two axes": ((2, 33, 3, 18), (2, 0, 3, 1)),
    "rows apart": ((33, 2, 20), (2, 1, 0)),
    "rows that move whole": ((5, 7, 40), (1, 0, 2)),
    "merged axes": ((6, 4, 5, 9), (2, 3, 0, 1)),
    "nothing": ((0, 5), (1, 0)),
}


def check(shape, source_shape, order, dtype, rng):
    device = device_of_shape(shape)
    count = int(np.prod(source_shape)) * np.dtype(dtype).itemsize
    x = rng.integers(0, 2 if dtype == "bool" else 256, count, np.uint8).view(dtype).reshape(source_shape)
    strides = layout.contiguous_strides(source_shape)
    expected = np.ascontiguousarray(x.transpose(order))
    plan = transpose.plan(device, "test", expected.shape, [strides[a] for a in order], x.dtype)
    assert run(plan, [x])[0].tobytes() == expected.tobytes()
    return plan


@pytest.mark.parametrize("shape", ["cpu", "gpu"])
@pytest.mark.parametrize("case", CASES)
def test_order_of_axes(case, shape, rng):
    """A stride of the wrong axis, or an edge of a tile that is left out or written twice."""
    check(shape, *CASES[case], "float32", rng)


@pytest.mark.parametrize("shape", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
def test_sizes_of_elements(dtype, shape, rng):
    """Bits are moved as they are, whatever they mean: also those of NaN."""
    if dtype == "float64" and not device_of_shape(shape).capabilities.fp64:
        pytest.skip("the device has no float64")
    check(shape, (67, 43), (1, 0), dtype, rng)


def test_dtypes_of_one_size_share_a_program(rng):
    """The source knows only how large an element is."""
    sources = {check("cpu", (33, 65), (1, 0), dtype, rng).steps[0].source for dtype in ("int32", "float32")}
    assert len(sources) == 1


@pytest.mark.parametrize("shape", ["cpu", "gpu"])
def test_positions_of_64_bits(shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    check(shape, *CASES["matrices of two axes"], "float32", rng)


def test_large_results_are_stored_past_the_caches(rng):
    """Stores to an address that is not aligned, as those of every second row: fault, or wrong values."""
    cpu = device_of_shape("cpu")
    default = parameters.MapCpu.default(cpu.capabilities)
    x = rng.standard_normal((160, 131)).astype(np.float32)
    with tuning.forced(dataclasses.replace(default, stream_bytes=1 << 16)):
        plan = check("cpu", (160, 131), (1, 0), "float32", rng)
    assert ("STREAM(" in plan.steps[0].source) == (default.vector_bytes == copy.LINE_BYTES)
    stream = memory.current_stream(current_context().device)
    view = memory.empty(stream, x.shape, x.dtype)
    memory.upload(stream, x, view)
    (aligned,) = (memory.download(stream, y) for y in plan.run(stream, [view]))
    np.testing.assert_array_equal(aligned, x.T)
