"""Reductions: values against numpy, accumulation, NaN, integers, gradients of both orders."""

import numpy as np
import pytest
from helpers import gradient_of

from clgrad import autograd, nd
from clgrad.errors import OperatorError
from clgrad.registry import table
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "sum": (),
    "mean": (),
    "prod": (),
    "max": (),
    "min": (),
    "nansum": (),
    "nanprod": (),
    "norm": ("_norm1", "_norm2", "_squares", "_root_of_squares", "_root_of_sum"),
    "argmax": (),
    "argmin": (),
}

REFERENCES = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "nansum": np.nansum,
    "nanprod": np.nanprod,
    "norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
}
OPS = list(REFERENCES)
FP64 = pytest.mark.requires("fp64")

#: Shape and axis: each reaches another loop of the kernels (rows, columns, both, splits).
CASES = {
    "vector": ((37,), 0),
    "all": ((3, 5, 7), None),
    "all, by ()": ((3, 5), ()),
    "rows": ((5, 300), 1),
    "columns": ((300, 5), 0),
    "many columns": ((3, 1037), 0),
    "middle": ((4, 6, 5), -2),
    "outer and inner": ((3, 4, 17), (0, 2)),
    "inner pair": ((4, 3, 5), (-1, 1)),
    "size 1": ((4, 1, 3), 1),
    "split rows": ((2, 70001), 1),
    "split columns": ((70001, 2), 0),
}


def expected_of(name, x, axis, keepdims=False):
    axis = None if axis == () else axis
    result = REFERENCES[name](x, axis=axis, keepdims=keepdims)
    return np.reshape(result, np.shape(result) or (1,))


def numbers(rng, name, shape) -> np.ndarray:
    """For products, signs and few other numbers, so that the product stays in range."""
    x = rng.standard_normal(shape)
    if name in ("prod", "nanprod"):
        others = rng.random(shape) < 30 / x.size
        x = np.where(others, np.exp2(np.round(x)), np.sign(x))
    return x.astype(np.float32)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", OPS)
def test_values(name, case, rng):
    shape, axis = CASES[case]
    x = numbers(rng, name, shape)
    y = table[name](nd.array(x), axis=axis)
    expected = expected_of(name, x.astype(np.float64), axis)
    assert y.shape == expected.shape
    assert y.dtype is np.float32
    exact = name in ("max", "min", "prod", "nanprod")
    # Rounding errors walk at random through partial sums of about sqrt(n); a lost term is far larger.
    rtol, atol = (0, 0) if exact else (2e-6, 2e-6 * np.sqrt(x.size / y.size))
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", ["vector", "all", "middle", "outer and inner"])
@pytest.mark.parametrize("name", ["sum", "max", "norm"])
def test_kept_axes(name, case, rng):
    shape, axis = CASES[case]
    x = rng.standard_normal(shape).astype(np.float32)
    y = table[name](nd.array(x), axis=axis, keepdims=True)
    expected = expected_of(name, x.astype(np.float64), axis, keepdims=True)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("axis", "left"),
    [((0, 2), (0, 2)), (1, (1,)), (-1, (2,)), ((), ()), (None, ()), ((0, 1, 2), (0, 1, 2))],
)
def test_excluded_axes(axis, left, rng):
    """With exclude, the axes named are the ones that stay; no axis named means all are reduced."""
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    reduced = tuple(a for a in range(3) if a not in left)
    expected = np.sum(x.astype(np.float64), axis=reduced)
    y = nd.sum(nd.array(x), axis=axis, exclude=True)
    assert y.shape == (np.shape(expected) or (1,))
    np.testing.assert_allclose(y.asnumpy(), np.reshape(expected, y.shape), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sum_axis", "max_axis", "min_axis"])
def test_older_names(name):
    assert table[name] is table[name.removesuffix("_axis")]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean"])
def test_integers(name, dtype, rng):
    """Exact, in the dtype given (sums wrap around, as MXNet's); the mean is truncated."""
    x = rng.integers(0 if dtype == "uint8" else -9, 9, (3, 13), endpoint=True).astype(dtype)
    y = table[name](nd.array(x, dtype=dtype), axis=1)
    assert np.dtype(y.dtype) == dtype
    if name == "mean":
        expected = np.trunc(np.mean(x.astype(np.int64), axis=1)).astype(dtype)
    else:
        expected = REFERENCES[name](x.astype(np.int64), axis=1).astype(dtype)
    np.testing.assert_array_equal(y.asnumpy(), expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_extreme_integers(name, dtype):
    """The accumulator starts at the dtype's own bound, which may be the answer."""
    bound = np.iinfo(dtype).min if name == "max" else np.iinfo(dtype).max
    assert table[name](nd.array(np.full(40, bound, dtype), dtype=dtype)).asscalar() == bound


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=FP64), "float16"])
@pytest.mark.parametrize("name", OPS)
def test_other_reals(name, dtype, rng):
    x = numbers(rng, name, (5, 33)).astype(dtype)
    y = table[name](nd.array(x, dtype=dtype), axis=1)
    assert np.dtype(y.dtype) == dtype
    expected = expected_of(name, x.astype(np.float64), 1)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        y.asnumpy(), expected, rtol=eps * (40 if dtype == "float64" else 1), atol=4 * eps
    )


# Accuracy


def test_halves_are_added_in_float32():
    """In float16 the sum of ones stops at 2048."""
    assert nd.sum(nd.ones((4096,), dtype="float16")).asscalar() == 4096
    assert nd.mean(nd.ones((100, 100), dtype="float16")).asscalar() == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_long_sums_are_accurate(axis, rng):
    """One running total in float32 loses digits with each of a million terms: here 3e-5."""
    x = np.float32(0.1) + rng.random((1 << 20, 1)).astype(np.float32)
    x = x if axis == 0 else x.T
    total = nd.sum(nd.array(x), axis=axis).asscalar()
    assert total == pytest.approx(x.sum(dtype=np.float64), rel=1e-6)


# NaN and infinities


@pytest.mark.parametrize("place", [0, 5, 36])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["max", "min", "sum", "prod", "mean", "norm"])
def test_nan_propagates(name, axis, place):
    """From any lane of a vector, and from the tail, in both orders of the loops."""
    x = np.arange(2 * 37, dtype=np.float32).reshape(2, 37) / 37 - 1
    x[1, place] = np.nan
    x = x if axis == 1 else x.T
    y = table[name](nd.array(x.copy()), axis=axis).asnumpy()
    np.testing.assert_array_equal(np.isnan(y), [False, True])


def test_nan_counts_as_nothing():
    x = nd.array([[np.nan, 2, 3], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(nd.nansum(x, axis=1).asnumpy(), [5, 0])
    np.testing.assert_array_equal(nd.nanprod(x, axis=1).asnumpy(), [6, 1])


def test_infinities():
    x = nd.array([[np.inf, 1], [-np.inf, 1], [np.inf, -np.inf]])
    np.testing.assert_array_equal(nd.max(x, axis=1).asnumpy(), [np.inf, 1, np.inf])
    np.testing.assert_array_equal(nd.min(x, axis=1).asnumpy(), [1, -np.inf, -np.inf])
    np.testing.assert_array_equal(nd.sum(x, axis=1).asnumpy(), [np.inf, -np.inf, np.nan])
    assert nd.max(nd.full((9,), -np.inf)).asscalar() == -np.inf


# Arrays without elements


def test_reducing_nothing_gives_the_neutral_element():
    x = nd.zeros((0, 3))
    np.testing.assert_array_equal(nd.sum(x, axis=0).asnumpy(), [0, 0, 0])
    np.testing.assert_array_equal(nd.prod(x, axis=0).asnumpy(), [1, 1, 1])
    np.testing.assert_array_equal(nd.mean(x, axis=0).asnumpy(), [np.nan] * 3)
    assert nd.sum(x).asnumpy().tolist() == [0]
    assert nd.sum(x, axis=1).shape == (0,)
    with pytest.raises(OperatorError, match=r"max: data is of shape \(0, 3\); accepted: at least one"):
        nd.max(x, axis=0)


# Places of extrema


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_of_extrema(name, axis, rng):
    """The first of several; float32 indices for float32 data, as in MXNet."""
    x = rng.integers(0, 5, (7, 300)).astype(np.float32)
    y = table[name](nd.array(x), axis=axis)
    assert y.dtype is np.float32
    expected = REFERENCES_OF_PLACES[name](x, axis=axis)
    np.testing.assert_array_equal(y.asnumpy(), np.reshape(expected, y.shape))
    assert y.shape == (np.shape(expected) or (1,))


REFERENCES_OF_PLACES = {"argmax": np.argmax, "argmin": np.argmin}


@pytest.mark.parametrize("axis", [None, 1])
def test_sums_of_masks_are_whether_any_is_true(axis):
    """As in MXNet; a count in 8 bits would come back to 0."""
    mask = nd.ones((2, 256), dtype="bool")
    for y in (nd.sum(mask, axis=axis), nd.nansum(mask, axis=axis), nd.norm(mask, ord=1, axis=axis)):
        assert y.dtype == np.bool_
        assert y.asnumpy().all()
    assert not nd.sum(nd.zeros((2, 256), dtype="bool"), axis=axis).asnumpy().any()


def test_places_in_masks_are_numbers():
    host = np.zeros((2, 3001), bool)
    host[1, 3000] = True
    y = nd.argmax(nd.array(host, dtype="bool"), axis=1)
    assert (y.dtype, y.asnumpy().tolist()) == (np.float32, [0, 3000])


def test_places_keep_axes_and_dtype():
    x = nd.array([[1, 5], [7, 2]], dtype="int32")
    y = nd.argmax(x, axis=1, keepdims=True)
    assert y.dtype is np.int32
    assert y.asnumpy().tolist() == [[1], [0]]
    assert nd.argmax(x, keepdims=True).asnumpy().tolist() == [[2]]


def test_place_of_the_first_nan():
    """As numpy: NaN is the extremum, wherever it is."""
    assert nd.argmax(nd.array([1, np.nan, 3, np.nan])).asscalar() == 1
    assert nd.argmin(nd.array([[1, np.nan], [2, 1]]), axis=1).asnumpy().tolist() == [1, 1]


def test_place_among_large_integers():
    """Compared as integers: as float64 these would tie."""
    x = nd.array(np.array([2**60, 2**60 + 1, 2**60]), dtype="int64")
    assert nd.argmax(x).asscalar() == 1


# Norms


def test_norms():
    x = nd.array([[3.0, -4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(nd.norm(x, axis=1).asnumpy(), [5, 0])
    np.testing.assert_array_equal(nd.norm(x, ord=1, axis=1).asnumpy(), [7, 0])
    np.testing.assert_array_equal(nd.norm(x, ord=1, axis=1, keepdims=True).asnumpy(), [[7], [0]])
    assert nd.norm(x, out_dtype="float16").dtype is np.float16
    assert nd.norm(nd.array([3, 4], dtype="int32")).asscalar() == 5
    with pytest.raises(OperatorError, match="norm: ord is 3; accepted: 1 or 2"):
        nd.norm(x, ord=3)


# Arguments


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (2, "sum: axis is 2; accepted: -2 to 1 for an array of 2 axes"),
        ((0, -3), r"sum: axis is -3; accepted: -2 to 1"),
        ((1, -1), r"sum: axis is \(1, -1\); accepted: each axis once"),
    ],
)
def test_bad_axes_are_named(axis, message):
    with pytest.raises(OperatorError, match=message):
        nd.sum(nd.ones((2, 3)), axis=axis)


# Gradients

#: Shape, and attributes: full, along a leading, middle or last axis, kept, excluded.
GRADIENT_CASES = {
    "all": ((2, 3), {}),
    "leading": ((3, 2), {"axis": 0}),
    "pair": ((2, 3, 2), {"axis": (0, 2)}),
    "kept": ((2, 3), {"axis": -1, "keepdims": True}),
}


def apart(rng, shape) -> np.ndarray:
    """Numbers of either sign, no two of one size: extrema and absolute values are smooth there."""
    x = np.arange(1, 1 + np.prod(shape)) / 4 + rng.uniform(0, 0.1, int(np.prod(shape)))
    x = rng.permutation(x) * rng.choice([-1, 1], x.size)
    return x.reshape(shape)


def gradient_call(name, attributes):
    if name == "norm1":
        return lambda x: nd.norm(x, ord=1, **attributes)
    return lambda x: table[name](x, **attributes)


@pytest.mark.parametrize("case", GRADIENT_CASES)
@pytest.mark.parametrize("name", [*OPS, "norm1"])
def test_gradients(name, case, rng):
    shape, attributes = GRADIENT_CASES[case]
    f, x = gradient_call(name, attributes), apart(rng, shape)
    gradcheck(f, [x])
    gradgradcheck(f, [x])


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_gradients_with_exclude(name, rng):
    x = apart(rng, (2, 3, 2))
    gradcheck(lambda x: table[name](x, axis=1, exclude=True), [x])


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        pytest.param(nd.max, [2.0, 1.0, 2.0], [1, 0, 1], id="max: every tied element"),
        pytest.param(lambda x: nd.min(x, axis=1), [[1, 1], [2, 1]], [[1, 1], [0, 1]], id="min"),
        pytest.param(nd.norm, [0.0, 0.0], [0, 0], id="norm at 0"),
        pytest.param(lambda x: nd.norm(x, ord=1), [0.0, -2.0], [0, -1], id="1-norm at 0"),
        pytest.param(nd.prod, [0.0, 2.0, 3.0], [6, 0, 0], id="prod beside one 0"),
        pytest.param(nd.prod, [0.0, 0.0, 3.0], [0, 0, 0], id="prod beside two 0"),
        pytest.param(
            lambda x: nd.prod(x, axis=0), [[0, 2], [3, 4]], [[3, 4], [0, 2]], id="prod by columns"
        ),
        pytest.param(nd.nansum, [np.nan, 2.0], [0, 1], id="nansum"),
        pytest.param(nd.nanprod, [np.nan, 2.0, 3.0], [0, 3, 2], id="nanprod"),
    ],
)
def test_gradient_where_it_takes_care(f, x, expected):
    np.testing.assert_array_equal(gradient_of(f, x), expected)


@pytest.mark.parametrize("axis", [None, 1])
def test_second_gradient_of_a_product_with_zeros(axis):
    """Each mixed derivative is the product without two factors, also where one or both are 0."""
    for x in ([[0.0, 2.0, 3.0]], [[0.0, 0.0, 3.0]], [[2.0, 0.0, 3.0]]):
        gradgradcheck(lambda x: nd.prod(x, axis=axis), [np.array(x)])


def test_places_have_no_gradient():
    x = nd.array([1.0, 3.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = x * nd.argmax(x)
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [1, 1, 1])
