"""Sorting and scans: what golden cases do not show (sizes, determinism, errors, layouts)."""

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.ops.scan import product_before, recurrence
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "sort": ("_sort",),
    "argsort": ("_argsort",),
    "topk": ("_topk_mask",),
    "cumsum": ("_cumsum",),
    "histogram": ("_histogram_parts", "_bin_edges"),
    "prod": ("_product_before", "_recurrence"),
}


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_sort_and_argsort_agree_with_numpy(axis, rng):
    x = rng.integers(0, 50, (7, 113, 5)).astype(np.float32)
    data = nd.array(x)
    np.testing.assert_array_equal(nd.sort(data, axis=axis).asnumpy(), np.sort(x, axis))
    indices = nd.argsort(data, axis=axis, dtype="int32").asnumpy()
    np.testing.assert_array_equal(indices, np.argsort(x, axis, kind="stable"))
    assert data.sort(axis=0).shape == data.argsort(axis=0).shape == x.shape


def test_topk_puts_nan_first_as_max_does():
    data = nd.array([1.0, np.nan, 3.0, np.inf])
    values, indices = data.topk(k=3, ret_typ="both")
    np.testing.assert_array_equal(values.asnumpy(), [np.nan, np.inf, 3])
    assert indices.asnumpy().tolist() == [1, 3, 2]
    assert np.isnan(nd.max(data).asscalar())


def test_empty_arrays():
    empty = nd.zeros((3, 0))
    assert (
        nd.sort(empty).shape == nd.argsort(empty, axis=0).shape == nd.cumsum(empty, axis=1).shape == (3, 0)
    )
    assert nd.topk(empty, k=0, ret_typ="value").shape == (3, 0)
    assert nd.cumsum(empty).shape == (0,)


def test_out_receives_each_result(rng):
    x = nd.array(rng.standard_normal((3, 5)))
    values, indices = nd.zeros((3, 2)), nd.zeros((3, 2))
    nd.topk(x, k=2, ret_typ="both", out=[values, indices])
    expected = nd.topk(x, k=2, ret_typ="both")
    np.testing.assert_array_equal(values.asnumpy(), expected[0].asnumpy())
    np.testing.assert_array_equal(indices.asnumpy(), expected[1].asnumpy())
    nd.sort(x, out=x)
    assert (np.diff(x.asnumpy()) >= 0).all()


def test_gradient_of_ties_follows_the_order():
    x = nd.array([1.0, 0.0, 1.0, 1.0])
    x.attach_grad()
    with autograd.record():
        y = nd.topk(x, k=2, ret_typ="value")
    y.backward(nd.array([5.0, 7.0]))
    assert x.grad.asnumpy().tolist() == [5, 0, 7, 0]


def test_indices_have_no_gradient():
    x = nd.array([1.0, 0.0, 2.0])
    x.attach_grad()
    with autograd.record():
        values, indices = nd.topk(x, k=2, ret_typ="both")
        y = values * indices
    y.backward()
    assert x.grad.asnumpy().tolist() == [0, 0, 2]


@pytest.mark.parametrize("axis", [0, 1, None])
def test_cumsum_of_many(axis, rng):
    x = rng.standard_normal((301, 67)).astype(np.float32)
    expected = np.cumsum(x.astype(np.float64), axis)
    result = nd.cumsum(nd.array(x), axis=axis).asnumpy()
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)
    assert nd.cumsum(nd.array(x), axis=axis).asnumpy().tobytes() == result.tobytes()


def test_cumsum_is_computed_in_float32_for_float16():
    """One by one, in float16, this would stay at 2048."""
    x = nd.array([2048.0] + [1.0] * 8, dtype="float16")
    assert nd.cumsum(x).asnumpy()[-1] == 2056


def test_cumsum_of_booleans_counts():
    x = nd.array([True, False, True], dtype="bool")
    assert nd.cumsum(x).asnumpy().tolist() == [1, 1, 2]
    assert nd.cumsum(x).dtype == np.int64


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_of_products_and_recurrences(axis, reverse, rng):
    """Zeros among the factors: nothing is divided by them."""
    x = rng.uniform(0.5, 1.5, (3, 4))
    x[1, 1] = x[2, 0] = 0
    gradcheck(lambda a: nd.prod(a, axis=axis), [x])
    gradcheck(lambda a: product_before(a, axis=axis, reverse=reverse), [x])
    gradgradcheck(lambda a: product_before(a, axis=axis, reverse=reverse), [x], order=3)
    b = rng.uniform(-1, 1, (3, 4))
    gradcheck(lambda a, b: recurrence(a, b, axis=axis, reverse=reverse), [x, b])
    gradgradcheck(lambda a, b: recurrence(a, b, axis=axis, reverse=reverse), [x, b], order=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nd.sort(x, axis=2), "sort: axis is 2; accepted: -2 to 1, or None"),
        (lambda x: nd.topk(x, k=4), "topk: k is 4; accepted: a whole number up to 3, the size"),
        (lambda x: nd.topk(x, k="x"), "topk: argument 'k' is 'x'; accepted: int"),
        (lambda x: nd.sort(x, axis=1.5), "sort: argument 'axis' is 1.5; accepted: int or None"),
        (lambda x: nd.topk(x, ret_typ="x"), "topk: ret_typ is 'x'; accepted: 'value', 'indices'"),
        (lambda x: nd.argsort(x, dtype="int8"), "argsort: dtype is int8; accepted: uint8, int32"),
        (
            lambda x: nd.argsort(nd.zeros((300,)), dtype="uint8"),
            "argsort: dtype is uint8; accepted: one that holds the indices 0 to 299",
        ),
        (lambda x: nd.cumsum(x, axis=-3), "cumsum: axis is -3; accepted: -2 to 1, or None"),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises((OperatorError, OperatorTypeError), match=message):
        call(nd.zeros((2, 3)))


@pytest.mark.parametrize("wrong", [None, 3.0, [1, 2], np.ones(3)])
def test_other_objects_are_refused(wrong):
    for op in (nd.sort, nd.argsort, nd.topk, nd.cumsum, nd.histogram, nd.unravel_index, nd.SequenceMask):
        with pytest.raises(
            OperatorTypeError, match=f"{op.name}: argument '.*' is {type(wrong).__name__}; acc"
        ):
            op(wrong)


def test_numpy_arrays_beside_an_array():
    x = nd.array([[1, 2], [3, 4]])
    assert nd.gather_nd(x, np.array([[1], [0]])).asnumpy().tolist() == [3]
    assert nd.boolean_mask(x, np.array([False, True])).asnumpy().tolist() == [[3, 4]]
    assert nd.take(x, np.array([1])).asnumpy().tolist() == [[3, 4]]
    assert nd.Embedding(np.array([1]), x).asnumpy().tolist() == [[3, 4]]


def test_repeats_to_the_bit(rng):
    x = nd.array(rng.integers(0, 9, (5, 999)))
    x.attach_grad()
    results = []
    for _ in range(2):
        with autograd.record():
            y = nd.sort(x, axis=1) * nd.cumsum(x, axis=1)
        y.backward()
        results.append(x.grad.asnumpy().tobytes())
    assert results[0] == results[1]
    assert mx.nd.sort is nd.sort


@pytest.mark.parametrize("bins", [1, 7, 1000])
def test_histogram_of_many(bins, rng):
    x = rng.standard_normal((211, 317)).astype(np.float32)
    counts, edges = nd.histogram(nd.array(x), bins=bins, range=(-2, 2.5))
    np.testing.assert_allclose(edges.asnumpy(), np.linspace(-2, 2.5, bins + 1), atol=1e-6)
    np.testing.assert_array_equal(counts.asnumpy(), np.histogram(x, edges.asnumpy())[0])
    assert counts.dtype == np.int64
    counts, edges = nd.histogram(nd.array(x), bins=bins)
    np.testing.assert_allclose(edges.asnumpy(), np.linspace(x.min(), x.max(), bins + 1), atol=1e-5)
    assert counts.sum().asscalar() == x.size, "the smallest or the largest lies in no bin"
    assert edges.asnumpy()[[0, -1]].tolist() == [x.min(), x.max()]


def test_histogram_of_nothing_and_of_nan():
    counts, edges = nd.histogram(nd.zeros((0,)), bins=2)
    assert counts.asnumpy().tolist() == [0, 0]
    assert edges.asnumpy().tolist() == [0, 0.5, 1]
    counts, edges = nd.histogram(nd.array([1.0, np.nan]), bins=2)
    assert np.isnan(edges.asnumpy()).all()
    assert counts.asnumpy().tolist() == [0, 0]
    with pytest.raises(OperatorError, match="histogram: bins is of shape"):
        nd.histogram(nd.zeros((3,)), bins=nd.zeros((1,)))
    with pytest.raises(OperatorError, match="histogram: bins is of dtype int32; accepted: float32"):
        nd.histogram(nd.zeros((3,)), bins=nd.zeros((2,), dtype="int32"))
    with pytest.raises(TypeError, match="histogram: bins is list; accepted: int or NDArray"):
        nd.histogram(nd.zeros((3,)), bins=[1, 2])
