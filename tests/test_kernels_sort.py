"""Sorting kernels against numpy's stable sort, in both kernel shapes."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.errors import OperatorError
from clgrad.kernels import layout, sort

SHAPES = ("cpu", "gpu")
F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
FP64 = pytest.mark.requires("fp64")
DTYPES = ["float16", "bfloat16", "float32", pytest.param("float64", marks=FP64)]
DTYPES += ["int8", "uint8", "int16", "int32", "int64", "bool"]

#: Shape, axis, how many are kept (None: all): each reaches another part of the kernels.
CASES = {
    "one": ((1,), 0, None),
    "short": ((7, 5), -1, None),
    "list": ((3, 31), 1, None),
    "radix": ((3, 333), 1, None),
    "middle": ((2, 37, 3), 1, None),
    "leading": ((70, 11), 0, None),
    "long": ((1, 9001), 1, None),
    "long columns": ((5003, 2), 0, None),
    "first": ((5, 19), 1, 1),
    "few of many": ((2, 9001), 1, 7),
    "some of many": ((1, 9001), 1, 1500),
    "nearly all": ((1, 5000), 1, 4999),
    "all but one": ((6, 10, 3), 1, 9),
}


def stable(x: np.ndarray, axis: int, ascending: bool) -> np.ndarray:
    """Indices that sort, ties in order and NaN the largest."""
    if ascending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.flip(x, axis)
    return np.flip(x.shape[axis] - 1 - np.argsort(backwards, axis, kind="stable"), axis)


def check(device, x, axis, keep, ascending, index_dtype=I32):
    n = x.shape[axis]
    order = np.take(stable(x, axis, ascending), np.arange(n if keep is None else keep), axis)
    options = {"keep": keep, "ascending": ascending}
    plan = sort.plan(device, "sort", x.shape, axis, x.dtype, values=True, indices=index_dtype, **options)
    values, indices = run(plan, [x])
    np.testing.assert_array_equal(indices, order.astype(index_dtype))
    assert values.tobytes() == np.take_along_axis(x, order, axis).tobytes()
    (mask,) = run(sort.plan(device, "topk", x.shape, axis, x.dtype, mask=True, **options), [x])
    expected = np.zeros(x.shape, x.dtype)
    np.put_along_axis(expected, order, np.ones((), x.dtype), axis)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_sort(case, shape, rng):
    """Half of the elements have a tie. Each kernel shape sorts half of the cases downwards."""
    ascending = (list(CASES).index(case) + SHAPES.index(shape)) % 2 == 0
    data_shape, axis, keep = CASES[case]
    count = int(np.prod(data_shape))
    x = rng.integers(-count, count, data_shape).astype(F32)
    check(device_of_shape(shape), x, axis, keep, ascending)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", ["middle", "long"])
def test_64_bit_positions(case, shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_sort(case, shape, rng)


@pytest.mark.parametrize(("n", "ascending"), [(29, True), (5003, False)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, shape, n, ascending, rng):
    """Any bits: numbers of all sizes and both signs, infinities, NaN."""
    dtype = np.dtype(dtype)
    x = rng.integers(0, 256, (2, n * dtype.itemsize), np.uint8)
    x = (x % 2 if dtype == "bool" else x).view(dtype)
    if dtype.kind not in "iub":
        x[:, ::5] = np.array([0.0, -0.0, np.inf, -np.inf, np.nan]).astype(dtype)[np.arange(-(-n // 5)) % 5]
    # numpy sorts bfloat16 by comparisons that do not know NaN: float32 stands for it
    device, order = (
        device_of_shape(shape),
        stable(x.astype(F32) if dtype == "bfloat16" else x, 1, ascending),
    )
    plan = sort.plan(device, "sort", x.shape, 1, dtype, ascending=ascending, values=True, indices=I32)
    values, indices = run(plan, [x])
    np.testing.assert_array_equal(indices, order)
    assert values.tobytes() == np.take_along_axis(x, order, 1).tobytes()


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_few_of_many_with_ties_and_nan(dtype, ascending, rng):
    """A vector that is skipped though it holds a NaN, or what comes before a NaN or a zero."""
    dtype = np.dtype(dtype)
    x = rng.integers(-3, 4, (4, 333)).astype(dtype)
    if dtype.kind == "f":
        x[0, [0, 150, 331]] = np.nan
        x[1, :320] = np.nan
        x[2, 40::3] = -0.0
        x[3] = np.where(x[3] < 0, -np.inf, np.inf)
    order, device = stable(x, 1, ascending)[:, :5], device_of_shape("cpu")
    plan = sort.plan(
        device, "topk", x.shape, 1, dtype, keep=5, ascending=ascending, values=True, indices=I32
    )
    values, indices = run(plan, [x])
    np.testing.assert_array_equal(indices, order)
    assert values.tobytes() == np.take_along_axis(x, order, 1).tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint8", "int64"])
def test_dtypes_of_the_indices(dtype, shape, rng):
    x = rng.standard_normal((3, 57)).astype(F32)
    check(device_of_shape(shape), x, 1, None, True, np.dtype(dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_to_sort(shape):
    device = device_of_shape(shape)
    plan = sort.plan(device, "sort", (3, 0), 1, F32, values=True, indices=I32)
    assert [y.shape for y in run(plan, [np.zeros((3, 0), F32)])] == [(3, 0)] * 2
    plan = sort.plan(device, "sort", (3, 4), 1, F32, keep=0, mask=True)
    assert not run(plan, [np.ones((3, 4), F32)])[0].any()
    assert sort.plan(device, "sort", (3, 4), 1, F32, keep=0, values=True).outputs == (((3, 0), F32),)


def test_errors():
    device = device_of_shape("cpu")
    with pytest.raises(OperatorError, match="sort: axis=2; accepted: -2 to 1"):
        sort.plan(device, "sort", (3, 4), 2, F32, values=True)
    with pytest.raises(OperatorError, match="sort: 5 of 4 elements; accepted: up to 4"):
        sort.plan(device, "sort", (3, 4), 1, F32, values=True, keep=5)
