"""Diagonals, triangles and factorisations against numpy on larger and odd sizes."""

import numpy as np
import pytest
from helpers import gradient_of

from clgrad import nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.test_utils import gradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "diag": ("_diagonal", "_from_diagonal"),
    "linalg.extracttrian": ("_pack_triangle",),
    "linalg.maketrian": ("_unpack_triangle",),
    "linalg.potrf": ("_potrf",),
    "linalg.potri": ("_triangular_inverse",),
    "linalg.trsm": ("_trsm",),
    "linalg.inverse": ("_inverse",),
    "linalg.det": ("_det", "_cofactors", "_unit_lower_inverse", "_triangular_adjugate"),
    "linalg.slogdet": ("_slogdet",),
    "linalg.gelqf": ("_gelqf",),
    "linalg.syevd": ("_syevd", "_inverse_gap"),
}


@pytest.mark.parametrize("k", [0, 3, -5, 29, -37])
@pytest.mark.parametrize(("axis1", "axis2"), [(0, 1), (-1, 0), (1, 2)])
def test_diag_is_numpys(k, axis1, axis2, rng):
    a = rng.standard_normal((37, 38, 37)).astype("float32")
    k = int(np.clip(k, -a.shape[axis1], a.shape[axis2]))
    y = nd.array(a).diag(k=k, axis1=axis1, axis2=axis2)
    np.testing.assert_array_equal(y.asnumpy(), np.diagonal(a, k, axis1, axis2))


@pytest.mark.parametrize("offset", [0, 2, -2])
def test_triangles_there_and_back(offset, rng):
    a = rng.standard_normal((2, 33, 33)).astype("float32")
    for lower in (True, False):
        vector = nd.linalg.extracttrian(nd.array(a), offset=offset, lower=lower)
        back = nd.linalg.maketrian(vector, offset=offset, lower=lower)
        below = offset < 0 or (offset == 0 and lower)
        np.testing.assert_array_equal(back.asnumpy(), np.tril(a, offset) if below else np.triu(a, offset))


def test_nothing_in_matrices():
    assert nd.diag(nd.zeros((0,)), k=1).shape == (1, 1)
    assert nd.diag(nd.zeros((3, 4)), k=4).shape == (0,)
    assert nd.linalg.extractdiag(nd.zeros((2, 0, 0))).shape == (2, 0)
    assert nd.linalg.extracttrian(nd.zeros((0, 3, 3))).shape == (0, 6)
    assert nd.linalg.maketrian(nd.zeros((2, 0))).shape == (2, 0, 0)


def test_determinants_of_nothing_are_1():
    np.testing.assert_array_equal(nd.linalg.det(nd.zeros((2, 0, 0))).asnumpy(), [1, 1])
    sign, logarithm = nd.linalg.slogdet(nd.zeros((1, 0, 0)))
    assert (sign.asnumpy(), logarithm.asnumpy()) == (1, 0)
    assert nd.linalg.det(nd.zeros((0, 3, 3))).shape == (0,)
    assert nd.linalg.inverse(nd.zeros((2, 0, 0))).shape == (2, 0, 0)
    assert [y.shape for y in nd.linalg.syevd(nd.zeros((2, 0, 0)))] == [(2, 0, 0), (2, 0)]
    assert [y.shape for y in nd.linalg.gelqf(nd.zeros((0, 2, 3)))] == [(0, 2, 3), (0, 2, 2)]


# Factorisations


def normal(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape).astype("float32")


def definite(rng, *shape) -> np.ndarray:
    a = normal(rng, *shape)
    return a @ a.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1], dtype="float32")


def test_a_few_hundred_rows(rng):
    n = 261
    s, b = definite(rng, n, n), normal(rng, n, 37)
    factor = nd.linalg.potrf(nd.array(s))
    x = nd.linalg.trsm(factor, nd.linalg.trsm(factor, nd.array(b)), transpose=True)
    np.testing.assert_allclose(x.asnumpy(), np.linalg.solve(s.astype("f8"), b), rtol=1e-3, atol=1e-5)
    inverses = nd.linalg.inverse(nd.array(s)), nd.linalg.potri(factor)
    for inverse in inverses:
        np.testing.assert_allclose(inverse.asnumpy() @ s, np.eye(n), atol=1e-4)
    logarithm = nd.linalg.slogdet(nd.array(s))[1]
    np.testing.assert_allclose(logarithm.asnumpy(), 2 * np.log(np.diag(factor.asnumpy())).sum(), rtol=1e-5)
    u, values = (y.asnumpy() for y in nd.linalg.syevd(nd.array(s)))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(s.astype("f8")), rtol=1e-4)
    np.testing.assert_allclose(u.T @ (values[:, None] * u), s, atol=2e-5 * values.max())
    q, lower = (y.asnumpy() for y in nd.linalg.gelqf(nd.array(s)))
    np.testing.assert_allclose(lower @ q, s, atol=1e-5 * values.max())


def test_the_same_bits_twice(rng):
    a, s = nd.array(normal(rng, 3, 67, 67)), nd.array(definite(rng, 3, 67, 67))

    def all_of_them():
        one = [nd.linalg.potrf(s), nd.linalg.inverse(a), nd.linalg.trsm(s, a)]
        return [*one, *nd.linalg.slogdet(a), *nd.linalg.gelqf(a), *nd.linalg.syevd(s)]

    for first, second in zip(all_of_them(), all_of_them(), strict=True):
        np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())


def test_results_can_replace_their_inputs(rng):
    s = definite(rng, 33, 33)
    x = nd.array(s)
    nd.linalg.potrf(x, out=x)
    np.testing.assert_allclose(x.asnumpy(), np.linalg.cholesky(s), rtol=1e-4, atol=1e-4)
    u, values = nd.zeros((33, 33)), nd.zeros((33,))
    nd.linalg.syevd(nd.array(s), out=[u, values])
    np.testing.assert_allclose(values.asnumpy(), np.linalg.eigvalsh(s), rtol=1e-4)


@pytest.mark.parametrize(
    ("matrix", "cofactors"),
    [
        ([[1, 2], [2, 4]], [[4, -2], [-2, 1]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[-3, 6, -3], [6, -12, 6], [-3, 6, -3]]),
        ([[0, 0, 0], [0, 2, 0], [0, 0, 3]], [[6, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([[0, 1, 0], [0, 0, 0], [2, 0, 0]], [[0, 0, 0], [0, 0, 2], [0, 0, 0]]),
    ],
)
def test_gradients_of_determinants_of_singular_matrices(matrix, cofactors):
    """The cofactors, where det(A) A^-T is NaN."""
    actual = gradient_of(nd.linalg.det, np.array(matrix, "float32"))
    np.testing.assert_allclose(actual, cofactors, atol=2e-5)


def test_singular_matrices_do_not_stop_anything():
    """MXNet raises; clgrad does not wait for the device, and gives infinities or NaN."""
    singular = nd.array([[[1, 2], [2, 4]], [[2, 0], [0, 2]]])
    inverse = nd.linalg.inverse(singular).asnumpy()
    assert not np.isfinite(inverse[0]).all()
    np.testing.assert_array_equal(inverse[1], [[0.5, 0], [0, 0.5]])
    sign, logarithm = nd.linalg.slogdet(singular)
    np.testing.assert_array_equal(sign.asnumpy(), [0, 1])
    np.testing.assert_allclose(logarithm.asnumpy(), [-np.inf, np.log(4)], rtol=1e-6)


def test_gradient_of_eigenvalues_that_are_equal():
    """That of a function of the eigenvalues alone is right where eigenvectors are not unique."""
    actual = gradient_of(lambda x: nd.square(nd.linalg.syevd(x)[1]).sum(), 2 * np.eye(3, dtype="float32"))
    np.testing.assert_allclose(actual, 4 * np.eye(3), atol=1e-6)


def test_gradient_of_a_log_likelihood(rng):
    """Of a Gaussian, by its Cholesky factor: trsm, sumlogdiag and potrf together."""
    s, b = definite(rng, 3, 3).astype("float64"), rng.standard_normal((3, 2))

    def likelihood(s, b):
        factor = nd.linalg.potrf((s + s.T) / 2)
        return nd.square(nd.linalg.trsm(factor, b)).sum() + 2 * nd.linalg.sumlogdiag(factor)

    gradcheck(likelihood, [s, b])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nd.linalg.potrf(nd.zeros((2, 3))),
            r"linalg.potrf: A is of shape \(2, 3\); accepted: square matrices on the last two axes",
        ),
        (
            lambda: nd.linalg.trsm(nd.zeros((2, 2)), nd.zeros((2, 3)), rightside=True),
            r"linalg.trsm: B is of shape \(2, 3\); accepted: \(any, 2\) for A \(2, 2\)",
        ),
        (
            lambda: nd.linalg.gelqf(nd.zeros((3, 2))),
            r"linalg.gelqf: A is of shape \(3, 2\); accepted: no more rows than columns",
        ),
        (
            lambda: nd.linalg.det(nd.zeros((3,))),
            r"linalg.det: A is of shape \(3,\); accepted: at least 2 axes",
        ),
        (lambda: nd.diag(nd.zeros((2, 3)), k=5), "diag: k is 5; accepted: -2 to 3"),
        (lambda: nd.diag(nd.zeros((2, 3)), axis1=2), "diag: axis1 is 2; accepted: -2 to 1"),
        (lambda: nd.diag(nd.zeros((2, 3)), axis1=-1), "diag: axis2 is 1; accepted: another axis"),
        (
            lambda: nd.linalg.extractdiag(nd.zeros((3, 3)), offset=3),
            "linalg.extractdiag: offset is 3; accepted: -2 to 2 for 3 by 3 matrices",
        ),
        (
            lambda: nd.linalg.maketrian(nd.zeros((2, 4))),
            r"linalg.maketrian: A is of shape \(2, 4\); accepted: 1, 3, 6, 10... elements",
        ),
        (
            lambda: nd.linalg.sumlogdiag(nd.zeros((3, 4))),
            r"linalg.sumlogdiag: A is of shape \(3, 4\); accepted: square matrices",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call()


def test_other_dtypes_are_refused():
    with pytest.raises(
        OperatorTypeError, match=r"linalg.extractdiag: A is int32; accepted: float32, float64"
    ):
        nd.linalg.extractdiag(nd.zeros((3, 3), dtype="int32"))
