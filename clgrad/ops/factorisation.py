"""Factorisations of matrices, and what follows from them: solutions, inverses, determinants.

They take stacks of matrices, on the last two axes. Gradient rules are matrix products and triangular
solves, so every order of derivative follows. Sources: Murray, Differentiation of the Cholesky
decomposition, arXiv:1602.07527, 2016; Seeger, Hetzel, Dai & Lawrence, Auto-differentiating linear algebra,
arXiv:1710.08717, 2017; Giles, An extended collection of matrix derivative results, 2008.
"""

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import factorisation
from clgrad.ops.arithmetic import add, multiply, subtract
from clgrad.ops.matrix import check_real, check_square, keep_triangle, makediag, transposed
from clgrad.ops.product import check_triangular, matrix_product, scaled
from clgrad.ops.reduction import sum
from clgrad.ops.selection import select
from clgrad.ops.shape import expand_dims, reshape
from clgrad.ops.unary import negative
from clgrad.registry import Call, Spec, composite, elementwise, grouped, operator


def _both_triangles(data: NDArray) -> NDArray:
    """The symmetric matrices with the lower triangles of data."""
    half = keep_triangle(data, lower=True, diagonal=0.5)
    return add(half, transposed(half))


def _symmetric_part(data: NDArray) -> NDArray:
    return scaled(add(data, transposed(data)), 0.5)


# Cholesky factors, and what is made of triangular matrices


@operator(name="_potrf", label="linalg.potrf")
def _potrf(call: Call, A: Spec, *, lower):
    return factorisation.plan_cholesky(call.device, call.kernel(A.dtype), A.shape, A.dtype, lower=lower)


@_potrf.joint_gradient("A")
def _(dy, y, lower):
    """L^-T S L^-1 / 2, S having the lower triangle of L^T dL; the gradient in symmetric matrices."""
    product = matrix_product(y, dy, transpose_a=lower, transpose_b=not lower)
    middle = scaled(_both_triangles(product), 0.5)
    solved = triangular_solve(y, middle, transpose=lower, lower=lower)
    return (transposed(triangular_solve(y, transposed(solved), transpose=lower, lower=lower)),)


@composite(name="linalg.potrf", aliases=("linalg_potrf",))
def potrf(A, lower=True):
    """Cholesky factors: L with A = L L^T, or with ``lower=False`` U with A = U^T U.

    Only that triangle of A is read. The gradient is that in symmetric matrices, as MXNet's. A matrix that
    is not positive definite gives NaN, since clgrad does not wait for the device to tell.
    """
    check_square("linalg.potrf", A=A)
    return _potrf(A, lower=bool(lower))


@operator(name="_trsm", label="linalg.trsm")
def triangular_solve(call: Call, A: Spec, B: Spec, *, transpose=False, lower=True):
    """X with op(A) X = B, A triangular; the other triangle is not read."""
    return factorisation.plan_triangular_solve(
        call.device, call.kernel(A.dtype), A.shape, B.shape, A.dtype, transpose=transpose, lower=lower
    )


@triangular_solve.joint_gradient("A", "B")
def _(dy, y, A, transpose, lower):
    d_b = triangular_solve(A, dy, transpose=not transpose, lower=lower)
    first, second = (y, d_b) if transpose else (d_b, y)
    d_a = matrix_product(first, second, transpose_b=True)
    return keep_triangle(negative(d_a), lower=lower), d_b


@composite(name="linalg.trsm", aliases=("linalg_trsm",))
def trsm(A, B, transpose=False, rightside=False, lower=True, alpha=1.0):
    """X with op(A) X = alpha B, or X op(A) = alpha B with ``rightside``, for triangular A.

    The other triangle of A is not read. A zero on the diagonal gives infinities or NaN.
    """
    check_triangular("linalg.trsm", A, B, rightside)
    transpose, lower = bool(transpose), bool(lower)
    right = scaled(B, alpha)
    if not rightside:
        return triangular_solve(A, right, transpose=transpose, lower=lower)
    return transposed(triangular_solve(A, transposed(right), transpose=not transpose, lower=lower))


@operator(name="_triangular_inverse", label="linalg.potri")
def _triangular_inverse(call: Call, A: Spec, *, lower):
    """Inverses of triangular matrices; the other triangle is not read."""
    return factorisation.plan_triangular_inverse(
        call.device, call.kernel(A.dtype), A.shape, A.dtype, lower=lower
    )


def _inverse_rule(dy: NDArray, y: NDArray) -> NDArray:
    """Y = A^-1: - Y^T dY Y^T."""
    right = matrix_product(dy, y, transpose_b=True)
    return negative(matrix_product(y, right, transpose_a=True))


_triangular_inverse.gradient(A=lambda dy, y, lower: keep_triangle(_inverse_rule(dy, y), lower=lower))


@composite(name="linalg.potri", aliases=("linalg_potri",))
def potri(A, lower=True):
    """Inverses of matrices from their Cholesky factors: (A A^T)^-1, or (A^T A)^-1 for an upper A.

    The other triangle of A is not read. A zero on the diagonal gives infinities or NaN.
    """
    check_square("linalg.potri", A=A)
    lower = bool(lower)
    inverse = _triangular_inverse(A, lower=lower)
    return matrix_product(inverse, inverse, transpose_a=lower, transpose_b=not lower)


# LU factors: inverses and determinants


@operator(name="_inverse", label="linalg.inverse")
def _inverse(call: Call, A: Spec):
    return factorisation.plan_inverse(call.device, call.kernel(A.dtype), A.shape, A.dtype)


_inverse.gradient(A=_inverse_rule)


@composite(name="linalg.inverse", aliases=("linalg_inverse",))
def inverse(A):
    """Inverses of square matrices, by LU factors; a singular one gives infinities or NaN."""
    check_square("linalg.inverse", A=A)
    return _inverse(A)


@operator(name="_unit_lower_inverse", label="linalg.det")
def _unit_lower_inverse(call: Call, A: Spec, order: Spec):
    """L^-1 P, L being the lower triangles of A with ones on the diagonal, P the order of the rows."""
    name = call.kernel(A.dtype)
    return factorisation.plan_triangular_inverse(
        call.device, name, A.shape, A.dtype, unit=True, ordered=True
    )


@operator(name="_triangular_adjugate", label="linalg.det")
def _triangular_adjugate(call: Call, A: Spec, factor: Spec):
    """The adjugates of the upper triangles of A, each times a number."""
    return factorisation.plan_triangular_adjugate(
        call.device, call.kernel(A.dtype, "adjugate"), A.shape, A.dtype
    )


@grouped(name="_cofactors", label="linalg.det")
def _cofactors(A, lu, order, parity):
    """Cofactors of A, the gradient of its determinant, finite and right for singular matrices too.

    From A = P^T L U: adj(A) = adj(U) L^-1 adj(P^T), and the cofactors are its transpose.
    """
    lower = _unit_lower_inverse(lu, order)
    upper = _triangular_adjugate(lu, parity)
    return matrix_product(lower, upper, transpose_a=True, transpose_b=True)


@_cofactors.joint_gradient("A")
def _(dy, A):
    """With B = A^-T: det(A) (<dC, B> B - B dC^T B); needs an inverse."""
    inverted = inverse(A)
    turned = matrix_product(matrix_product(inverted, dy), inverted)
    along = sum(multiply(dy, transposed(inverted)), axis=(-2, -1))
    scale = _over_matrices(det(A), A)
    difference = subtract(multiply(_over_matrices(along, A), inverted), turned)
    return (multiply(scale, transposed(difference)),)


def _over_matrices(numbers: NDArray, A: NDArray) -> NDArray:
    """One number for each matrix of A, with two axes of size 1 to go with its rows and columns."""
    return reshape(numbers, shape=(*A.shape[:-2], 1, 1))


@operator(name="_det", label="linalg.det", outputs=("det", "parity", "lu", "order"))
def _det(call: Call, A: Spec):
    return factorisation.plan_determinant(call.device, call.kernel(A.dtype), A.shape, A.dtype)


_det.gradient(
    A=lambda d_det, A, parity, lu, order: multiply(
        _over_matrices(d_det, A), _cofactors(A, lu, order, parity)
    )
)


@composite(name="linalg.det", aliases=("linalg_det",))
def det(A):
    """Determinants of square matrices; of one matrix, shape (1,).

    The first derivative is finite and right for singular matrices as well; those of higher order hold the
    inverse, and are not.
    """
    check_square("linalg.det", A=A)
    return _det(A)[0]


@operator(name="_slogdet", label="linalg.slogdet", outputs=("sign", "log_abs", "lu", "order"))
def _slogdet(call: Call, A: Spec):
    return factorisation.plan_determinant(
        call.device, call.kernel(A.dtype), A.shape, A.dtype, logarithm=True
    )


_slogdet.gradient(A=lambda d_log_abs, A: multiply(_over_matrices(d_log_abs, A), transposed(inverse(A))))


@composite(name="linalg.slogdet", aliases=("linalg_slogdet",))
def slogdet(A):
    """Sign and logarithm of the absolute value of determinants: 0 and -inf for a singular matrix."""
    check_square("linalg.slogdet", A=A)
    return _slogdet(A)[:2]


# LQ factors


@operator(name="_gelqf", label="linalg.gelqf", outputs=("Q", "L"))
def _gelqf(call: Call, A: Spec):
    return factorisation.plan_lq(call.device, call.kernel(A.dtype), A.shape, A.dtype)


@_gelqf.joint_gradient("A")
def _(d_Q, d_L, Q, L):
    """L^-T (dQ + S Q), S having the lower triangle of L^T dL - dQ Q^T (Seeger et al., section 3.2)."""
    from_l = matrix_product(L, d_L, transpose_a=True)
    from_q = matrix_product(d_Q, Q, transpose_b=True)
    both = _both_triangles(subtract(from_l, from_q))
    return (triangular_solve(L, add(d_Q, matrix_product(both, Q)), transpose=True, lower=True),)


@composite(name="linalg.gelqf", aliases=("linalg_gelqf",))
def gelqf(A):
    """Q and L with A = L Q: Q's rows are orthonormal, L is lower triangular.

    A has no more rows than columns. The signs are LAPACK's; gradients need full rank.
    """
    check_real("linalg.gelqf", A=A)
    if A.shape[-2] > A.shape[-1]:
        raise argument_error("linalg.gelqf", "A", f"of shape {A.shape}", "no more rows than columns")
    return _gelqf(A)


# Eigenvalues


@elementwise(name="_inverse_gap", label="linalg.syevd")
def _inverse_gap(data):
    """1 / x, and 0 where x is 0."""
    return select(data == 0, 0, 1 / data)


_inverse_gap.gradient(data=lambda dy, y: -dy * y * y)


@operator(name="_syevd", label="linalg.syevd", outputs=("U", "L"))
def _syevd(call: Call, A: Spec):
    return factorisation.plan_symmetric_eigen(call.device, call.kernel(A.dtype), A.shape, A.dtype)


@_syevd.joint_gradient("A")
def _(d_U, d_L, U, L):
    """U^T (sym(F * (dU U^T)) + diag(dL)) U, F_ij = 1 / (L_i - L_j) (Seeger et al., section 3.3)."""
    gaps = subtract(expand_dims(L, axis=-1), expand_dims(L, axis=-2))
    turned = multiply(_inverse_gap(gaps), matrix_product(d_U, U, transpose_b=True))
    inner = add(_symmetric_part(turned), makediag(d_L))
    return (matrix_product(matrix_product(U, inner, transpose_a=True), U),)


@composite(name="linalg.syevd", aliases=("linalg_syevd",))
def syevd(A):
    """U and L with A = U^T diag(L) U: U's rows are eigenvectors of symmetric A, L ascending eigenvalues.

    Only the lower triangle of A is read. The first of the largest elements of each eigenvector is
    positive. Gradients are those in symmetric matrices; those of eigenvectors are right only where no
    eigenvalue is multiple.
    """
    check_square("linalg.syevd", A=A)
    return _syevd(A)
