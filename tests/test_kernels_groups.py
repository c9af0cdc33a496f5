"""One operation on many groups of arrays: tails, empty groups, launches, numbers, both kernel shapes."""

import dataclasses

import numpy as np
import plan_harness
import pytest

from clgrad.kernels import expr, groups

SHAPES = ("cpu", "gpu")
FLOAT, HALF = np.dtype("float32"), np.dtype("float16")
GROUPS = [(3,), (16,), (257,), (1, 1), (0, 4), (19, 33), (5000,)]


def poor(kernel_shape):
    """A device that takes no more kernel arguments than every device does."""
    device = plan_harness.device_of_shape(kernel_shape)
    copy = type(device)(device)
    copy.capabilities = dataclasses.replace(device.capabilities, max_parameter_bytes=1024)
    return copy


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("copies", [1, 5])
def test_formula_with_numbers_of_each_group(kernel_shape, copies, rng):
    """Two results of different dtypes, a shared number, one of each group, and two tables."""
    shapes = GROUPS * copies
    a, b = expr.operand(0, FLOAT), expr.operand(1, HALF)
    shared, own, every, single = (expr.scalar(i, FLOAT) for i in range(4))
    outputs = [(a * own + b * shared, FLOAT), (b * every + single, HALF)]
    plan = groups.plan(
        poor(kernel_shape), "test", shapes, [FLOAT, HALF], outputs, 1, 1, [(FLOAT, True), (FLOAT, False)]
    )
    assert len(plan.steps) == -(-6 * copies // 12)
    hosts = [rng.standard_normal(s).astype(d) for s in shapes for d in (FLOAT, HALF)]
    tables = [rng.standard_normal(n).astype(FLOAT) for n in (len(shapes), 1)]
    numbers = rng.standard_normal(1 + len(shapes)).tolist()
    found = plan_harness.run(plan, [*hosts, *tables], numbers)
    for k in range(len(shapes)):
        x, y = (h.astype(np.float64) for h in hosts[2 * k : 2 * k + 2])
        np.testing.assert_allclose(found[k], x * numbers[1 + k] + y * numbers[0], rtol=1e-5, atol=1e-5)
        second = y * tables[0][k] + tables[1][0]
        np.testing.assert_allclose(found[len(shapes) + k], second, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("kernel_shape", "dtype", "parts"),
    [("cpu", "float32", 1), ("cpu", "float16", 7), ("gpu", "float32", 7), ("gpu", "float16", 1)],
)
def test_sums_of_many(kernel_shape, dtype, parts, rng):
    hosts = [rng.standard_normal(s).astype(dtype) for s in GROUPS * 9]
    sizes = [h.size for h in hosts]
    device = poor(kernel_shape)
    plan = groups.plan_sums(device, "test", sizes, np.dtype(dtype), parts, lambda x: x * x)
    assert len(plan.steps) == 2
    (sums,) = plan_harness.run(plan, hosts)
    expected = [(h.astype(np.float64) ** 2).sum() for h in hosts]
    np.testing.assert_allclose(sums.sum(1), expected, rtol=1e-5)
