"""Factorisations against numpy, in both kernel shapes, amid canaries; large, small and odd sizes."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import factorisation

SHAPES = ("cpu", "gpu")
DTYPES = ("float32", pytest.param("float64", marks=pytest.mark.requires("fp64")))
SIZES = ((1, 1), (3, 2), (2, 33), (1, 70))  # matrices, rows

shapes = pytest.mark.parametrize("shape", SHAPES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
sizes = pytest.mark.parametrize(("count", "n"), SIZES)


def normal(rng, *shape, dtype) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def definite(rng, count: int, n: int, dtype) -> np.ndarray:
    a = rng.standard_normal((count, n, n))
    return (a @ a.swapaxes(-1, -2) + n * np.eye(n)).astype(dtype)


def t(a: np.ndarray) -> np.ndarray:
    return a.swapaxes(-1, -2)


def close(actual: np.ndarray, expected: np.ndarray, factor: float = 1) -> None:
    """Within some units in the last place of the largest element, and more for larger matrices."""
    eps = np.finfo(actual.dtype).eps
    size = max(1.0, np.abs(expected).max(initial=0))
    limit = factor * 20 * eps * expected.shape[-1] * size
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=0, atol=limit)


@shapes
@dtypes
@sizes
@pytest.mark.parametrize("lower", [True, False])
def test_cholesky_reads_one_triangle(shape, dtype, count, n, lower, rng):
    a = definite(rng, count, n, dtype)
    spoilt = np.where((np.tril if lower else np.triu)(np.ones((n, n))), a, np.nan).astype(dtype)
    plan = factorisation.plan_cholesky(device_of_shape(shape), "cholesky", a.shape, a.dtype, lower=lower)
    (factor,) = run(plan, [spoilt])
    expected = np.linalg.cholesky(a.astype(np.float64))
    close(factor, expected if lower else t(expected))


@shapes
def test_cholesky_of_what_is_not_definite(shape, rng):
    a = definite(rng, 2, 9, "float32")
    a[0, 4, 4] = -1
    plan = factorisation.plan_cholesky(device_of_shape(shape), "cholesky", a.shape, a.dtype)
    (factor,) = run(plan, [a])
    assert np.isfinite(factor[0, :, :4]).all()
    assert np.isnan(factor[0][4:, 4:][np.tril_indices(5)]).all()
    assert np.isfinite(factor[1]).all()


@shapes
@dtypes
@pytest.mark.parametrize(("count", "n", "m"), [(1, 1, 1), (3, 2, 5), (2, 33, 1), (1, 40, 133), (2, 9, 70)])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("lower", [False, True])
def test_triangular_solve(shape, dtype, count, n, m, transpose, lower, rng):
    a = normal(rng, count, n, n, dtype=dtype) / n + 2 * np.eye(n, dtype=dtype)
    triangle = np.tril(a) if lower else np.triu(a)
    spoilt = np.where(triangle == 0, np.nan, a).astype(dtype)
    b = normal(rng, count, n, m, dtype=dtype)
    plan = factorisation.plan_triangular_solve(
        device_of_shape(shape), "trsm", a.shape, b.shape, a.dtype, transpose=transpose, lower=lower
    )
    (x,) = run(plan, [spoilt, b])
    exact = triangle.astype(np.float64)
    close(x, np.linalg.solve(t(exact) if transpose else exact, b.astype(np.float64)))


@shapes
@dtypes
@sizes
@pytest.mark.parametrize("lower", [False, True])
def test_triangular_inverse(shape, dtype, count, n, lower, rng):
    a = normal(rng, count, n, n, dtype=dtype) / n + 2 * np.eye(n, dtype=dtype)
    plan = factorisation.plan_triangular_inverse(
        device_of_shape(shape), "trtri", a.shape, a.dtype, lower=lower
    )
    (x,) = run(plan, [a])
    close(x, np.linalg.inv((np.tril if lower else np.triu)(a.astype(np.float64))))


@shapes
@dtypes
@sizes
def test_lu_and_determinant(shape, dtype, count, n, rng):
    a = normal(rng, count, n, n, dtype=dtype)
    device = device_of_shape(shape)
    det, parity, lu, order = run(factorisation.plan_determinant(device, "det", a.shape, a.dtype), [a])
    lower, upper = np.tril(lu.astype(np.float64), -1) + np.eye(n), np.triu(lu.astype(np.float64))
    close((lower @ upper).astype(dtype), np.take_along_axis(a, order[:, :, None], 1).astype(np.float64))
    assert (np.abs(lower) <= 1).all()
    np.testing.assert_array_equal(parity, [np.linalg.det(np.eye(n)[o]).round() for o in order])
    sign, log_abs = np.linalg.slogdet(a.astype(np.float64))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(det, (sign * np.exp(log_abs)).astype(dtype), rtol=1e-3)
    plan = factorisation.plan_determinant(device, "slogdet", a.shape, a.dtype, logarithm=True)
    found_sign, found_log, _, _ = run(plan, [a])
    np.testing.assert_array_equal(found_sign, sign)
    np.testing.assert_allclose(found_log, log_abs, rtol=1e-4, atol=1e-4)


@shapes
def test_the_first_of_equal_pivots_is_taken(shape):
    a = np.array([[[0, 1, 2], [3, 1, 0], [-3, 5, 1]]], np.float32)
    plan = factorisation.plan_determinant(device_of_shape(shape), "det", a.shape, a.dtype)
    assert run(plan, [a])[3].tolist() == [[1, 2, 0]]


@shapes
@dtypes
@sizes
def test_inverse(shape, dtype, count, n, rng):
    a = normal(rng, count, n, n, dtype=dtype) + 3 * np.sqrt(n).astype(dtype) * np.eye(n, dtype=dtype)[::-1]
    plan = factorisation.plan_inverse(device_of_shape(shape), "inverse", a.shape, a.dtype)
    (x,) = run(plan, [np.ascontiguousarray(a)])
    close(x, np.linalg.inv(a.astype(np.float64)))


@shapes
@dtypes
@pytest.mark.parametrize("zeros", [(), (0,), (1,), (3,), (0, 2)])
def test_adjugate_of_singular_triangles(shape, dtype, zeros, rng):
    """The adjugate's elements are minors, whatever the rank."""
    n = 4
    u = normal(rng, 2, n, n, dtype=dtype)
    u[:, zeros, zeros] = 0
    factor = np.array([1, -1], dtype)
    plan = factorisation.plan_triangular_adjugate(device_of_shape(shape), "adjugate", u.shape, u.dtype)
    (x,) = run(plan, [u, factor])
    expected = np.zeros((2, n, n))
    for number, i, j in np.ndindex(2, n, n):
        minor = np.delete(np.delete(np.triu(u[number].astype(np.float64)), j, 0), i, 1)
        expected[number, i, j] = factor[number] * (-1) ** (i + j) * np.linalg.det(minor)
    close(x, expected)


@shapes
@dtypes
@pytest.mark.parametrize(("count", "m", "n"), [(1, 1, 1), (2, 1, 7), (3, 4, 4), (2, 13, 33), (1, 50, 70)])
def test_lq(shape, dtype, count, m, n, rng):
    a = normal(rng, count, m, n, dtype=dtype)
    q, lower = run(factorisation.plan_lq(device_of_shape(shape), "lq", a.shape, a.dtype), [a])
    close((lower.astype(np.float64) @ q).astype(dtype), a.astype(np.float64))
    close((q.astype(np.float64) @ t(q)).astype(dtype), np.broadcast_to(np.eye(m), (count, m, m)))
    np.testing.assert_array_equal(np.triu(lower, 1), 0)
    # The signs are LAPACK's: those of numpy's QR of the transposed matrix.
    expected = np.stack([np.linalg.qr(x.T.astype(np.float64))[1].T for x in a])
    close(lower, expected, factor=10)


@shapes
@dtypes
@pytest.mark.parametrize("scale", [1e-25, 1, 1e25])
def test_lq_does_not_overflow(shape, dtype, scale, rng):
    a = (rng.standard_normal((1, 3, 5)) * scale).astype(dtype)
    q, lower = run(factorisation.plan_lq(device_of_shape(shape), "lq", a.shape, a.dtype), [a])
    np.testing.assert_allclose(lower.astype(np.float64) @ q, a, rtol=1e-4, atol=1e-5 * scale)


@shapes
def test_lq_of_what_has_no_rank(shape):
    a = np.zeros((1, 2, 3), np.float32)
    q, lower = run(factorisation.plan_lq(device_of_shape(shape), "lq", a.shape, a.dtype), [a])
    np.testing.assert_array_equal(lower, np.zeros((1, 2, 2)))
    np.testing.assert_array_equal(q[0], np.eye(2, 3))


def check_eigen(shape, a, factor=1.0):
    """Eigenvalues are numpy's, eigenvectors orthonormal, and together they make the matrix again."""
    n = a.shape[-1]
    u, values = run(
        factorisation.plan_symmetric_eigen(device_of_shape(shape), "eigh", a.shape, a.dtype), [a]
    )
    exact = np.tril(a.astype(np.float64)) + t(np.tril(a.astype(np.float64), -1))
    size = max(np.abs(exact).max(), np.finfo(a.dtype).tiny)
    close((values / size).astype(a.dtype), np.linalg.eigvalsh(exact / size), factor)
    u64 = u.astype(np.float64)
    close((u64 @ t(u64)).astype(a.dtype), np.broadcast_to(np.eye(n), a.shape), factor)
    close((t(u64) @ (values[..., None] / size * u64)).astype(a.dtype), exact / size, factor)
    return u


@shapes
@dtypes
@sizes
def test_symmetric_eigen(shape, dtype, count, n, rng):
    a = normal(rng, count, n, n, dtype=dtype)  # of which the lower triangle counts
    u = check_eigen(shape, a)
    assert (np.take_along_axis(u, np.abs(u).argmax(-1)[..., None], -1) > 0).all()


@shapes
@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((6, 6)),
        np.eye(7)[::-1],
        np.ones((9, 9)),
        np.diag([3.0, -1, 2, 2, 0]),
        np.diag([1.0] * 11, 1) + np.diag([1.0] * 11, -1),
        np.diag(np.abs(np.arange(-10.0, 11))) + np.diag(np.ones(20), 1) + np.diag(np.ones(20), -1),
        1 / (np.arange(12)[:, None] + np.arange(12) + 1.0),
        np.diag([1e-20, 1.0, 1e20]) + np.diag([1e-10, 1e10], 1) + np.diag([1e-10, 1e10], -1),
    ],
    ids=["zero", "exchange", "ones", "diagonal", "path", "wilkinson", "hilbert", "graded"],
)
@pytest.mark.parametrize("scale", [1e-20, 1, 1e15])
def test_eigen_of_special_matrices(shape, matrix, scale):
    check_eigen(shape, (matrix[None] * scale).astype(np.float32), factor=2)


@shapes
def test_eigen_of_nan_ends(shape):
    a = np.full((1, 5, 5), np.nan, np.float32)
    plan = factorisation.plan_symmetric_eigen(device_of_shape(shape), "eigh", a.shape, a.dtype)
    assert np.isnan(run(plan, [a])[1]).any()


@shapes
def test_nothing(shape):
    device, f32 = device_of_shape(shape), np.dtype(np.float32)
    empty = np.empty((2, 0, 0), f32)
    det = run(factorisation.plan_determinant(device, "det", empty.shape, f32), [empty])[0]
    np.testing.assert_array_equal(det, [1, 1])
    assert run(factorisation.plan_cholesky(device, "cholesky", empty.shape, f32), [empty])[0].shape == (
        2,
        0,
        0,
    )
    assert run(factorisation.plan_lq(device, "lq", (2, 0, 3), f32), [np.empty((2, 0, 3), f32)])[1].size == 0
