"""Matrix products, linalg's too: values against numpy in float64, shapes, gradients of both orders."""

import numpy as np
import pytest
from helpers import normal

from clgrad import nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.ops.product import _linear
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "dot": ("_gemm",),
    "batch_dot": (),
    "FullyConnected": ("_linear",),
    "linalg.gemm": ("_matmul", "_weighted_sum"),
    "linalg.trmm": ("_triangle",),
}

FP64 = pytest.mark.requires("fp64")
FLAGS = [(False, False), (True, False), (False, True), (True, True)]


def exact(*arrays) -> list[np.ndarray]:
    return [a.astype(np.float64) for a in arrays]


def close(actual: nd.NDArray, expected: np.ndarray, terms: int) -> None:
    """Sums of products of normal numbers: the rounding errors grow with the root of the terms."""
    assert actual.shape == expected.shape
    eps = np.finfo(actual.dtype).eps
    tolerance = 8 * eps * (1 + np.sqrt(terms))
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("transpose_a", "transpose_b"), FLAGS)
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (3, 5, 2), (17, 33, 65), (130, 70, 99), (1, 300, 40), (40, 300, 1)]
)
def test_dot_of_matrices(m, k, n, transpose_a, transpose_b, rng):
    """Sizes that are no multiples of a tile, and products that are matrix times vector."""
    a, b = normal(rng, (k, m) if transpose_a else (m, k), (n, k) if transpose_b else (k, n))
    y = nd.dot(nd.array(a), nd.array(b), transpose_a=transpose_a, transpose_b=transpose_b)
    a64, b64 = exact(a.T if transpose_a else a, b.T if transpose_b else b)
    close(y, a64 @ b64, k)


@pytest.mark.parametrize(
    ("a_shape", "b_shape", "shape"),
    [
        ((5,), (5,), (1,)),
        ((3, 5), (5,), (3,)),
        ((5,), (5, 2), (2,)),
        ((2, 3, 5), (5, 4), (2, 3, 4)),
        ((3, 5), (5, 2, 4), (3, 2, 4)),
        ((2, 3, 5), (5, 2, 4), (2, 3, 2, 4)),
    ],
)
def test_dot_sums_over_the_last_axis_and_the_first(a_shape, b_shape, shape, rng):
    a, b = normal(rng, a_shape, b_shape)
    expected = np.tensordot(*exact(a, b), axes=1).reshape(shape)
    close(nd.dot(nd.array(a), nd.array(b)), expected, 5)


def test_transposed_dot_of_more_axes(rng):
    """transpose_a takes the first axis of lhs, transpose_b the last of rhs."""
    a, b = normal(rng, (5, 2, 3), (2, 4, 5))
    a64, b64 = exact(a, b)
    y = nd.dot(nd.array(a), nd.array(b), transpose_a=True, transpose_b=True)
    close(y, np.tensordot(a64, b64, axes=([0], [2])), 5)


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=FP64), "float16"])
def test_other_dtypes(dtype, rng):
    """Halves are multiplied and added in float32."""
    a, b = normal(rng, (19, 300), (300, 23), dtype=dtype)
    y = nd.dot(nd.array(a, dtype=dtype), nd.array(b, dtype=dtype))
    assert np.dtype(y.dtype) == dtype
    eps = np.finfo(dtype).eps
    factor = 1 if dtype == "float16" else 200
    np.testing.assert_allclose(y.asnumpy(), np.matmul(*exact(a, b)), rtol=factor * eps, atol=factor * eps)


def test_nothing_to_sum():
    np.testing.assert_array_equal(nd.dot(nd.zeros((2, 0)), nd.zeros((0, 3))).asnumpy(), np.zeros((2, 3)))
    assert nd.dot(nd.zeros((0, 4)), nd.zeros((4, 3))).shape == (0, 3)


def test_matmul_operator(rng):
    a, b = normal(rng, (3, 4), (4, 5))
    close(nd.array(a) @ nd.array(b), np.matmul(*exact(a, b)), 4)


@pytest.mark.parametrize(("transpose_a", "transpose_b"), FLAGS)
@pytest.mark.parametrize("stack", [(4,), (2, 3)])
def test_batch_dot(stack, transpose_a, transpose_b, rng):
    m, k, n = 7, 19, 5
    a, b = normal(
        rng,
        (*stack, k, m) if transpose_a else (*stack, m, k),
        (*stack, n, k) if transpose_b else (*stack, k, n),
    )
    y = nd.batch_dot(nd.array(a), nd.array(b), transpose_a=transpose_a, transpose_b=transpose_b)
    a64, b64 = exact(a, b)
    expected = np.matmul(
        a64.swapaxes(-1, -2) if transpose_a else a64, b64.swapaxes(-1, -2) if transpose_b else b64
    )
    close(y, expected, k)


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("no_bias", [True, False])
def test_fully_connected(flatten, no_bias, rng):
    x, b = normal(rng, (6, 3, 4), (5,))
    (w,) = normal(rng, (5, 12 if flatten else 4))
    bias = [] if no_bias else [nd.array(b)]
    y = nd.FullyConnected(nd.array(x), nd.array(w), *bias, num_hidden=5, no_bias=no_bias, flatten=flatten)
    x64, w64, b64 = exact(x.reshape(6, 12) if flatten else x, w, b)
    close(y, x64 @ w64.T + (0 if no_bias else b64), 12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gemm_with_rows_on_an_axis(axis, rng):
    """What numpy does by moving axes, one launch does by strides."""
    m, k, n, rest = 33, 19, 21, (3, 2)
    shapes = [[*rest, columns] for columns in (k, n, n)]
    for shape, rows in zip(shapes, (m, k, m), strict=True):
        shape.insert(axis, rows)
    a, b, c = normal(rng, *map(tuple, shapes))
    y = nd.linalg.gemm(nd.array(a), nd.array(b), nd.array(c), alpha=2.0, beta=-0.5, axis=axis)
    a64, b64, c64 = (np.moveaxis(x, axis, -2) for x in exact(a, b, c))
    close(y, np.moveaxis(2 * a64 @ b64 - 0.5 * c64, -2, axis), 4 * k)


def test_gemm_does_not_read_c_where_beta_is_0():
    y = nd.linalg.gemm(nd.ones((2, 3)), nd.ones((3, 2)), nd.full((2, 2), np.nan), beta=0)
    np.testing.assert_array_equal(y.asnumpy(), np.full((2, 2), 3))


@pytest.mark.parametrize("rightside", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("lower", [False, True])
def test_trmm_reads_one_triangle(rightside, transpose, lower, rng):
    a, b = normal(rng, (2, 37, 37), (2, 29, 37) if rightside else (2, 37, 29))
    settings = {"rightside": rightside, "transpose": transpose, "lower": lower, "alpha": -1.5}
    triangle = np.tril(a) if lower else np.triu(a)
    spoilt = np.where(triangle == 0, np.nan, a)  # the other triangle may hold anything
    y = nd.linalg.trmm(nd.array(spoilt), nd.array(b), **settings)
    t64, b64 = exact(triangle, b)
    t64 = t64.swapaxes(-1, -2) if transpose else t64
    close(y, -1.5 * (b64 @ t64 if rightside else t64 @ b64), 37)


def test_products_of_nothing():
    y = nd.linalg.gemm2(nd.zeros((2, 3, 0)), nd.zeros((2, 0, 4)))
    np.testing.assert_array_equal(y.asnumpy(), np.zeros((2, 3, 4)))
    assert nd.linalg.gemm2(nd.zeros((0, 3, 2)), nd.zeros((0, 2, 4))).shape == (0, 3, 4)
    assert nd.linalg.syrk(nd.zeros((0, 2))).shape == (0, 0)
    assert nd.khatri_rao(nd.zeros((0, 2)), nd.zeros((3, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nd.linalg.gemm2(nd.zeros((2, 3)), nd.zeros((2, 3))),
            r"linalg.gemm2: B is of shape \(2, 3\); accepted: 3 terms to go with A \(2, 3\)",
        ),
        (
            lambda: nd.linalg.gemm2(nd.zeros((2, 3)), nd.zeros((3, 2)), axis=-1),
            "linalg.gemm2: axis is -1; accepted: 0 to 0, or -2 to -2",
        ),
        (
            lambda: nd.linalg.gemm(nd.zeros((2, 3)), nd.zeros((3, 2)), nd.zeros((2, 3))),
            r"linalg.gemm: C is of shape \(2, 3\); accepted: \(2, 2\), that of the product",
        ),
        (
            lambda: nd.linalg.trmm(nd.zeros((2, 3)), nd.zeros((3, 2))),
            r"linalg.trmm: A is of shape \(2, 3\); accepted: square matrices",
        ),
        (
            lambda: nd.linalg.trmm(nd.zeros((2, 2)), nd.zeros((3, 2))),
            r"linalg.trmm: B is of shape \(3, 2\); accepted: \(2, any\) for A \(2, 2\)",
        ),
        (
            lambda: nd.khatri_rao(nd.zeros((2, 3)), nd.zeros((3, 2))),
            r"khatri_rao: matrix 1 is of shape \(3, 2\); accepted: 3 columns",
        ),
        (
            lambda: nd.dot(nd.zeros((2, 3)), nd.zeros((4, 5))),
            r"dot: rhs is of shape \(4, 5\); accepted: 3 terms to go with lhs \(2, 3\)",
        ),
        (
            lambda: nd.dot(nd.zeros((2, 3)), nd.zeros((3, 5), dtype="float16")),
            "dot: rhs is float16; accepted: float32, the dtype of lhs",
        ),
        (
            lambda: nd.dot(nd.zeros((2, 3, 4)), nd.zeros((5,))),
            r"dot: rhs is of shape \(5,\); accepted: 4 terms",
        ),
        (
            lambda: nd.batch_dot(nd.zeros((2, 3, 4)), nd.zeros((3, 4, 5))),
            r"batch_dot: rhs is of shape \(3, 4, 5\); accepted: at least 3 axes",
        ),
        (
            lambda: nd.batch_dot(nd.zeros((2, 3, 4)), nd.zeros((2, 3, 5))),
            r"batch_dot: rhs is of shape \(2, 3, 5\); accepted: 4 terms",
        ),
        (
            lambda: nd.FullyConnected(nd.zeros((2, 3)), nd.zeros((5, 4)), no_bias=True),
            r"FullyConnected: weight is of shape \(5, 4\); accepted: \(5, 3\) for data \(2, 3\)",
        ),
        (
            lambda: nd.FullyConnected(nd.zeros((2, 3)), nd.zeros((5, 3)), num_hidden=6, no_bias=True),
            r"FullyConnected: weight is of shape \(5, 3\); accepted: \(num_hidden=6, inputs\)",
        ),
        (
            lambda: nd.FullyConnected(nd.zeros((2, 3)), nd.zeros((5, 3))),
            "FullyConnected: bias is None; accepted: an array, or no_bias=True",
        ),
        (
            lambda: nd.FullyConnected(nd.zeros((2, 3)), nd.zeros((5, 3)), nd.zeros((3,))),
            r"FullyConnected: bias is of shape \(3,\); accepted: \(5,\)",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message) as raised:
        call()
    assert isinstance(raised.value, ValueError)


def test_other_dtypes_are_refused():
    with pytest.raises(OperatorTypeError, match=r"linalg.gemm2: B is float16; accepted: float32, float64"):
        nd.linalg.gemm2(nd.zeros((2, 3)), nd.zeros((3, 2), dtype="float16"))
    mask = nd.ones((2, 2), dtype="bool")
    for op in (nd.dot, lambda a, b: nd.FullyConnected(a, b, no_bias=True)):
        with pytest.raises(OperatorTypeError, match="is of dtype bool; accepted: numbers, see astype"):
            op(mask, mask)


# Gradients


@pytest.mark.parametrize(("transpose_a", "transpose_b"), FLAGS)
def test_gradients_of_dot(transpose_a, transpose_b, rng):
    shapes = (3, 2) if transpose_a else (2, 3), (2, 3) if transpose_b else (3, 2)

    def f(a, b):
        return nd.dot(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    inputs = normal(rng, *shapes)
    gradcheck(f, inputs)
    gradgradcheck(f, inputs)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 2, 3), (3, 2))])
def test_gradients_of_dot_with_other_axes(shapes, rng):
    inputs = normal(rng, *shapes)
    gradcheck(nd.dot, inputs)
    gradgradcheck(nd.dot, inputs)


@pytest.mark.parametrize(("transpose_a", "transpose_b"), FLAGS)
def test_gradients_of_batch_dot(transpose_a, transpose_b, rng):
    shapes = (2, 3, 2) if transpose_a else (2, 2, 3), (2, 2, 3) if transpose_b else (2, 3, 2)

    def f(a, b):
        return nd.batch_dot(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    inputs = normal(rng, *shapes)
    gradcheck(f, inputs)
    gradgradcheck(f, inputs)


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("no_bias", [True, False])
def test_gradients_of_fully_connected(flatten, no_bias, rng):
    inputs = normal(rng, (2, 2, 2), (3, 4 if flatten else 2), *([] if no_bias else [(3,)]))

    def f(*arrays):
        return nd.FullyConnected(*arrays, num_hidden=3, no_bias=no_bias, flatten=flatten)

    gradcheck(f, inputs)
    gradgradcheck(f, inputs)


def test_second_gradients_through_two_layers(rng):
    """What the layers' rules are for: a gradient penalty differentiates through both."""

    def f(x, w, v):
        return nd.dot(nd.tanh(nd.dot(x, w)), v)

    gradgradcheck(f, normal(rng, (2, 3), (3, 3), (3, 1)))


def test_linear_by_weights_that_are_transposed_already(rng):
    """As recurrent layers have them: the same result, and gradients of both orders."""
    inputs = x, w, b = normal(rng, (3, 5), (5, 4), (4,))
    y = _linear(*map(nd.array, inputs), transpose_b=False)
    close(y, exact(x)[0] @ exact(w)[0] + b, terms=6)
    gradcheck(lambda *arrays: _linear(*arrays, transpose_b=False), inputs)
    gradgradcheck(lambda *arrays: _linear(*arrays, transpose_b=False), inputs)
