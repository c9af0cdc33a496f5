"""Matrix products: MXNet's dot and batch_dot, the layer that multiplies, and those of its linalg."""

import math

from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.kernels import layout, matmul
from clgrad.kernels.launch import Affine, Plan
from clgrad.kernels.product import Axis, Product, Strided
from clgrad.ops.arguments import check_numbers
from clgrad.ops.arithmetic import multiply
from clgrad.ops.matrix import check_real, check_square, keep_triangle
from clgrad.ops.reduction import sum
from clgrad.ops.shape import reshape
from clgrad.ops.sparse import CSRNDArray, csr_dot
from clgrad.registry import Call, Spec, composite, elementwise, operator


def _rows_columns(shape: tuple[int, int], transposed: bool) -> tuple[int, int]:
    return shape[::-1] if transposed else shape


def _check_dtypes(call: Call, lhs: Spec, rhs: Spec) -> None:
    check_numbers(call.op, lhs=lhs, rhs=rhs)
    if lhs.dtype != rhs.dtype:
        raise call.error("rhs", f"{rhs.dtype}", f"{lhs.dtype}, the dtype of lhs")


def _check_storage(op: str, forward_stype: str | None) -> None:
    """Refuse what MXNet does not know as a storage type; whatever is asked for, results are dense."""
    if forward_stype not in (None, "default", "csr", "row_sparse"):
        raise argument_error(op, "forward_stype", repr(forward_stype), "default, csr, row_sparse, None")


@operator(name="_gemm", label="dot", finishes=True)
def _gemm(call: Call, lhs: Spec, rhs: Spec, *, transpose_a, transpose_b):
    """The product of two matrices, each perhaps transposed first."""
    _check_dtypes(call, lhs, rhs)
    m, k = _rows_columns(lhs.shape, transpose_a)
    inner, n = _rows_columns(rhs.shape, transpose_b)
    if inner != k:
        raise call.error("rhs", f"of shape {rhs.shape}", f"{k} terms to go with lhs {lhs.shape}")
    return matmul.plan_matmul(
        call.device,
        call.kernel(lhs.dtype),
        lhs.dtype,
        m,
        n,
        k,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        epilogue=call.epilogue,
        out_shape=(m, n),
    )


def _lhs_rule(product, dy, rhs, transpose_a, transpose_b, **rest):
    """C = op(A) op(B): the gradient of A is dC op(B)^T, or its transpose."""
    if transpose_a:
        return product(rhs, dy, transpose_a=transpose_b, transpose_b=True, **rest)
    return product(dy, rhs, transpose_a=False, transpose_b=not transpose_b, **rest)


def _rhs_rule(product, dy, lhs, transpose_a, transpose_b, **rest):
    """C = op(A) op(B): the gradient of B is op(A)^T dC, or its transpose."""
    if transpose_b:
        return product(dy, lhs, transpose_a=True, transpose_b=transpose_a, **rest)
    return product(lhs, dy, transpose_a=not transpose_a, transpose_b=False, **rest)


_gemm.gradient(
    lhs=lambda dy, rhs, transpose_a, transpose_b: _lhs_rule(_gemm, dy, rhs, transpose_a, transpose_b),
    rhs=lambda dy, lhs, transpose_a, transpose_b: _rhs_rule(_gemm, dy, lhs, transpose_a, transpose_b),
)


@composite(sparse=True)
def dot(lhs, rhs, transpose_a=False, transpose_b=False, forward_stype=None):
    """The sum of products over the last axis of lhs and the first of rhs.

    ``transpose_a`` takes the first axis of lhs, ``transpose_b`` the last of rhs. Two vectors give shape
    (1,). lhs may be a CSRNDArray, of which rhs has the gradient.
    """
    _check_storage("dot", forward_stype)
    if isinstance(lhs, CSRNDArray):
        return csr_dot(lhs, rhs, bool(transpose_a), bool(transpose_b))
    a, b = lhs.shape, rhs.shape
    if not a or not b:
        raise argument_error("dot", "lhs, rhs", f"of shapes {a}, {b}", "at least one axis each")
    if len(a) == len(b) == 2:
        return _gemm(lhs, rhs, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b))
    # With one axis there is nothing to transpose: it is the axis of the sum.
    transpose_a = bool(transpose_a) and len(a) > 1
    transpose_b = bool(transpose_b) and len(b) > 1
    terms_a = a[0] if transpose_a else a[-1]
    terms_b = b[-1] if transpose_b else b[0]
    if terms_a != terms_b:
        raise argument_error("dot", "rhs", f"of shape {b}", f"{terms_a} terms to go with lhs {a}")
    rows, columns = (a[1:] if transpose_a else a[:-1]), (b[:-1] if transpose_b else b[1:])
    matrix_a = (terms_a, math.prod(rows)) if transpose_a else (math.prod(rows), terms_a)
    matrix_b = (math.prod(columns), terms_b) if transpose_b else (terms_b, math.prod(columns))
    result = _gemm(
        reshape(lhs, shape=matrix_a),
        reshape(rhs, shape=matrix_b),
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    return reshape(result, shape=(*rows, *columns) or (1,))


@operator(finishes=True)
def batch_dot(
    call: Call, lhs: Spec, rhs: Spec, *, transpose_a=False, transpose_b=False, forward_stype=None
):
    """The products of two stacks of matrices: the leading axes count the matrices."""
    _check_storage(call.op, forward_stype)
    _check_dtypes(call, lhs, rhs)
    if len(lhs.shape) < 3 or len(lhs.shape) != len(rhs.shape) or lhs.shape[:-2] != rhs.shape[:-2]:
        raise call.error(
            "rhs", f"of shape {rhs.shape}", f"at least 3 axes, all but two as of lhs {lhs.shape}"
        )
    m, k = _rows_columns(lhs.shape[-2:], transpose_a)
    inner, n = _rows_columns(rhs.shape[-2:], transpose_b)
    if inner != k:
        raise call.error("rhs", f"of shape {rhs.shape}", f"{k} terms to go with lhs {lhs.shape}")
    return matmul.plan_matmul(
        call.device,
        call.kernel(lhs.dtype),
        lhs.dtype,
        m,
        n,
        k,
        batch=math.prod(lhs.shape[:-2]),
        transpose_a=bool(transpose_a),
        transpose_b=bool(transpose_b),
        epilogue=call.epilogue,
        out_shape=(*lhs.shape[:-2], m, n),
    )


batch_dot.gradient(
    lhs=lambda dy, rhs, transpose_a, transpose_b: _lhs_rule(batch_dot, dy, rhs, transpose_a, transpose_b),
    rhs=lambda dy, lhs, transpose_a, transpose_b: _rhs_rule(batch_dot, dy, lhs, transpose_a, transpose_b),
)


@operator(name="_linear", label="FullyConnected", finishes=True)
def _linear(call: Call, data: Spec, weight: Spec, bias: Spec | None = None, *, transpose_b=True):
    """data weight^T + bias, or with weight as it is; all axes of data but the last count rows."""
    check_numbers(call.op, data=data)
    for argument, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.dtype != data.dtype:
            raise call.error(argument, f"{other.dtype}", f"{data.dtype}, the dtype of data")
    *rows, k = data.shape
    m, (_, n) = math.prod(rows), _rows_columns(weight.shape, transpose_b)

    def planned(bias: bool) -> Plan:
        made = matmul.plan_matmul(
            call.device,
            call.kernel(data.dtype),
            data.dtype,
            m,
            n,
            k,
            transpose_b=transpose_b,
            bias="column" if bias else None,
            epilogue=call.epilogue,
            out_shape=(*rows, n),
        )
        if transpose_b:
            made.affine = Affine(1, -1, bias, lambda: planned(True))
        return made

    return planned(bias is not None)


def _matrix(data: NDArray) -> NDArray:
    """All axes but the last as one."""
    return data if data.ndim == 2 else reshape(data, shape=(math.prod(data.shape[:-1]), data.shape[-1]))


def _linear_grad_data(dy, weight, data_shape, transpose_b):
    gradient = _gemm(_matrix(dy), weight, transpose_a=False, transpose_b=not transpose_b)
    return gradient if dy.ndim == 2 else reshape(gradient, shape=data_shape)


_linear.gradient(
    data=_linear_grad_data,
    weight=lambda dy, data, transpose_b: _rhs_rule(_gemm, _matrix(dy), _matrix(data), False, transpose_b),
    bias=lambda dy: sum(_matrix(dy), axis=0),
)


@composite()
def FullyConnected(data, weight, bias=None, num_hidden=None, no_bias=False, flatten=True):
    """y = x W^T + b, W of shape (num_hidden, inputs).

    With ``flatten`` all axes of data but the first count as inputs, else only the last.
    """
    if weight.ndim != 2 or num_hidden not in (None, weight.shape[0]):
        raise argument_error(
            "FullyConnected",
            "weight",
            f"of shape {weight.shape}",
            f"(num_hidden={num_hidden}, inputs)",
        )
    if not data.shape:
        raise argument_error("FullyConnected", "data", "of shape ()", "one axis or more")
    inputs = math.prod(data.shape[1:]) if flatten else data.shape[-1]
    if inputs != weight.shape[1]:
        raise argument_error(
            "FullyConnected",
            "weight",
            f"of shape {weight.shape}",
            f"({weight.shape[0]}, {inputs}) for data {data.shape}",
        )
    if no_bias:
        if bias is not None:
            raise argument_error("FullyConnected", "bias", "given", "none with no_bias=True")
    elif bias is None:
        raise argument_error("FullyConnected", "bias", None, "an array, or no_bias=True")
    elif bias.shape != (weight.shape[0],):
        raise argument_error("FullyConnected", "bias", f"of shape {bias.shape}", f"({weight.shape[0]},)")
    if flatten and data.ndim != 2:
        data = reshape(data, shape=(data.shape[0], inputs))
    return _linear(data, weight, bias)


# MXNet's linalg: stacks of matrices of any number of axes


def _stacked(shape: tuple[int, ...], axis: int, is_transposed: bool) -> Strided:
    """Matrices with their rows on an axis, their columns on the last one, and one for each of the rest."""
    strides = layout.contiguous_strides(shape)
    rest = [(n, s) for a, (n, s) in enumerate(zip(shape, strides, strict=True)) if a != axis][:-1]
    matrix = Strided(
        batch=Axis.of(*rest) if math.prod(n for n, _ in rest) > 1 else Axis(((1, 0),)),
        row=Axis.of((shape[axis], strides[axis])),
        column=Axis.of((shape[-1], 1)),
    )
    return matrix.swapped if is_transposed else matrix


@operator(name="_matmul", label="linalg.gemm2", finishes=True)
def matrix_product(
    call: Call, lhs: Spec, rhs: Spec, *, transpose_a=False, transpose_b=False, axis=-2
) -> Plan:
    """The products of two stacks of matrices, each perhaps transposed first; rows are on ``axis``."""
    place = axis % len(lhs.shape)
    m, k = _rows_columns((lhs.shape[place], lhs.shape[-1]), transpose_a)
    _, n = _rows_columns((rhs.shape[place], rhs.shape[-1]), transpose_b)
    shape = (*lhs.shape[:place], m, *lhs.shape[place + 1 : -1], n)
    product = Product(
        lhs.dtype, m, n, k, math.prod(shape[:place]) * math.prod(shape[place + 1 : -1]),
        a=_stacked(lhs.shape, place, transpose_a),
        b=_stacked(rhs.shape, place, transpose_b),
        c=_stacked(shape, place, False),
        epilogue=call.epilogue,
    )  # fmt: skip
    return matmul.plan_product(call.device, call.kernel(lhs.dtype), product, shape)


matrix_product.gradient(
    lhs=lambda dy, rhs, transpose_a, transpose_b, axis: _lhs_rule(
        matrix_product, dy, rhs, transpose_a, transpose_b, axis=axis
    ),
    rhs=lambda dy, lhs, transpose_a, transpose_b, axis: _rhs_rule(
        matrix_product, dy, lhs, transpose_a, transpose_b, axis=axis
    ),
)


@elementwise(name="_weighted_sum", label="linalg.gemm", broadcasts=False)
def _weighted_sum(x, y, alpha: float, beta: float):
    """alpha x + beta y."""
    return alpha * x + beta * y


_weighted_sum.gradient(x=lambda dy, alpha: dy * alpha, y=lambda dy, beta: dy * beta)


def scaled(data: NDArray, factor: float) -> NDArray:
    """An array times a number; the array itself if that is 1."""
    return data if float(factor) == 1 else multiply(data, float(factor))


def _row_axis(op: str, ndim: int, axis: int) -> int:
    if not -ndim <= axis < ndim or axis % ndim == ndim - 1:
        raise argument_error(op, "axis", axis, f"0 to {ndim - 2}, or {-ndim} to -2")
    return axis % ndim


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 : -1])


def _product_shape(op: str, A, B, transpose_a: bool, transpose_b: bool, axis: int) -> tuple[int, ...]:
    """Shape of the products, after a check of the arguments."""
    check_real(op, A=A, B=B)
    place = _row_axis(op, A.ndim, int(axis))
    a, b = A.shape, B.shape
    if len(a) != len(b) or _without(a, place) != _without(b, place):
        raise argument_error(op, "B", f"of shape {b}", f"that of A {a} but for rows and columns")
    m, k = _rows_columns((a[place], a[-1]), transpose_a)
    inner, n = _rows_columns((b[place], b[-1]), transpose_b)
    if inner != k:
        raise argument_error(op, "B", f"of shape {b}", f"{k} terms to go with A {a}")
    return (*a[:place], m, *a[place + 1 : -1], n)


@composite(name="linalg.gemm2", aliases=("linalg_gemm2",))
def gemm2(A, B, transpose_a=False, transpose_b=False, alpha=1.0, axis=-2):
    """alpha op(A) op(B), for stacks of matrices: op transposes, or not.

    Rows are on ``axis``, columns on the last axis; the other axes count the matrices, and are the same in
    A and B.
    """
    transpose_a, transpose_b = bool(transpose_a), bool(transpose_b)
    _product_shape("linalg.gemm2", A, B, transpose_a, transpose_b, axis)
    product = matrix_product(A, B, transpose_a=transpose_a, transpose_b=transpose_b, axis=int(axis))
    return scaled(product, alpha)


@composite(name="linalg.gemm", aliases=("linalg_gemm",))
def gemm(A, B, C, transpose_a=False, transpose_b=False, alpha=1.0, beta=1.0, axis=-2):
    """alpha op(A) op(B) + beta C, for stacks of matrices: op transposes, or not.

    Rows are on ``axis``, columns on the last axis; the other axes count the matrices, and are the same in
    A, B and C. Where beta is 0, C is not read.
    """
    transpose_a, transpose_b = bool(transpose_a), bool(transpose_b)
    shape = _product_shape("linalg.gemm", A, B, transpose_a, transpose_b, axis)
    check_real("linalg.gemm", A=A, C=C)
    if C.shape != shape:
        raise argument_error("linalg.gemm", "C", f"of shape {C.shape}", f"{shape}, that of the product")
    product = matrix_product(A, B, transpose_a=transpose_a, transpose_b=transpose_b, axis=int(axis))
    if float(beta) == 0:
        return scaled(product, alpha)
    return _weighted_sum(product, C, float(alpha), float(beta))


@composite(name="linalg.syrk", aliases=("linalg_syrk",))
def syrk(A, transpose=False, alpha=1.0):
    """alpha A A^T, or alpha A^T A with ``transpose``: symmetric, both triangles given."""
    check_real("linalg.syrk", A=A)
    transpose = bool(transpose)
    return scaled(matrix_product(A, A, transpose_a=transpose, transpose_b=not transpose), alpha)


def check_triangular(op: str, A, B, rightside: bool) -> None:
    """Refuse a B that the square matrices A cannot multiply."""
    check_square(op, A=A)
    check_real(op, A=A, B=B)
    n = A.shape[-1]
    if A.shape[:-2] != B.shape[:-2] or B.shape[-1 if rightside else -2] != n:
        wanted = (*A.shape[:-2], "any", n) if rightside else (*A.shape[:-2], n, "any")
        accepted = f"({', '.join(map(str, wanted))}) for A {A.shape}"
        raise argument_error(op, "B", f"of shape {B.shape}", accepted)


@composite(name="linalg.trmm", aliases=("linalg_trmm",))
def trmm(A, B, transpose=False, rightside=False, lower=True, alpha=1.0):
    """alpha op(A) B, or alpha B op(A) with ``rightside``, for triangular A: the rest is not read."""
    check_triangular("linalg.trmm", A, B, rightside)
    triangle, transpose = keep_triangle(A, lower=bool(lower)), bool(transpose)
    if rightside:
        return scaled(matrix_product(B, triangle, transpose_b=transpose), alpha)
    return scaled(matrix_product(triangle, B, transpose_a=transpose), alpha)


@composite()
def khatri_rao(*matrices, num_args=None):
    """The column-wise Kronecker product of matrices with the same number of columns.

    Column j is the Kronecker product of the matrices' columns j; the rows of the first matrix vary
    slowest (Khatri & Rao, 1968).
    """
    if len(matrices) == 1 and isinstance(matrices[0], list | tuple):
        matrices = tuple(matrices[0])
    if not matrices:
        raise OperatorTypeError("khatri_rao: no arrays given; accepted: one or more matrices")
    for position, matrix in enumerate(matrices):
        _check_columns(position, matrix, matrices[0])
    result = matrices[0]
    for matrix in matrices[1:]:
        columns = matrix.shape[1]
        pairs = multiply(
            reshape(result, shape=(result.shape[0], 1, columns)),
            reshape(matrix, shape=(1, matrix.shape[0], columns)),
        )
        result = reshape(pairs, shape=(result.shape[0] * matrix.shape[0], columns))
    return result


def _check_columns(position: int, matrix: NDArray, first: NDArray) -> None:
    """Refuse what is no matrix, or has other columns than the first one."""
    given = f"of shape {matrix.shape}"
    if matrix.ndim != 2:
        raise argument_error("khatri_rao", f"matrix {position}", given, "two axes")
    if matrix.shape[1] != first.shape[1]:
        accepted = f"{first.shape[1]} columns, as the first matrix has"
        raise argument_error("khatri_rao", f"matrix {position}", given, accepted)
