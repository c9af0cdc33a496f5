"""Matrix products."""

import math

import numpy as np

from clgrad.errors import argument_error
from clgrad.kernels import matmul
from clgrad.ops.reduction import sum
from clgrad.ops.shape import reshape
from clgrad.registry import Call, Spec, composite, operator


def _rows_columns(shape: tuple[int, int], transposed: bool) -> tuple[int, int]:
    return shape[::-1] if transposed else shape


def _check_dtypes(call: Call, lhs: Spec, rhs: Spec) -> None:
    if lhs.dtype != rhs.dtype:
        raise call.error("rhs", f"{rhs.dtype}", f"{lhs.dtype}, the dtype of lhs")


@operator(name="_gemm", label="dot")
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
        out_shape=(m, n),
    )


def _lhs_rule(product, dy, rhs, transpose_a, transpose_b):
    """C = op(A) op(B): the gradient of A is dC op(B)^T, or its transpose."""
    if transpose_a:
        return product(rhs, dy, transpose_a=transpose_b, transpose_b=True)
    return product(dy, rhs, transpose_a=False, transpose_b=not transpose_b)


def _rhs_rule(product, dy, lhs, transpose_a, transpose_b):
    """C = op(A) op(B): the gradient of B is op(A)^T dC, or its transpose."""
    if transpose_b:
        return product(dy, lhs, transpose_a=True, transpose_b=transpose_a)
    return product(lhs, dy, transpose_a=not transpose_a, transpose_b=False)


_gemm.gradient(
    lhs=lambda dy, rhs, transpose_a, transpose_b: _lhs_rule(_gemm, dy, rhs, transpose_a, transpose_b),
    rhs=lambda dy, lhs, transpose_a, transpose_b: _rhs_rule(_gemm, dy, lhs, transpose_a, transpose_b),
)


@composite()
def dot(lhs, rhs, transpose_a=False, transpose_b=False, forward_stype=None):
    """The sum of products over the last axis of lhs and the first of rhs.

    ``transpose_a`` takes the first axis of lhs, ``transpose_b`` the last of rhs. Two vectors give shape
    (1,).
    """
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


@operator()
def batch_dot(
    call: Call, lhs: Spec, rhs: Spec, *, transpose_a=False, transpose_b=False, forward_stype=None
):
    """The products of two stacks of matrices: the leading axes count the matrices."""
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
        out_shape=(*lhs.shape[:-2], m, n),
    )


batch_dot.gradient(
    lhs=lambda dy, rhs, transpose_a, transpose_b: _lhs_rule(batch_dot, dy, rhs, transpose_a, transpose_b),
    rhs=lambda dy, lhs, transpose_a, transpose_b: _rhs_rule(batch_dot, dy, lhs, transpose_a, transpose_b),
)


@operator(name="_linear", label="FullyConnected")
def _linear(call: Call, data: Spec, weight: Spec, bias: Spec | None = None):
    """data weight^T + bias, for matrices."""
    _check_dtypes(call, data, weight)
    m, k = data.shape
    n = weight.shape[0]
    return matmul.plan_matmul(
        call.device,
        call.kernel(data.dtype),
        data.dtype,
        m,
        n,
        k,
        transpose_b=True,
        bias="column" if bias else None,
        out_shape=(m, n),
    )


_linear.gradient(
    data=lambda dy, weight: _gemm(dy, weight, transpose_a=False, transpose_b=False),
    weight=lambda dy, data: _gemm(dy, data, transpose_a=True, transpose_b=False),
    bias=lambda dy: sum(dy, axis=0),
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
    inputs = math.prod(data.shape[1:]) if flatten else data.shape[-1]
    if inputs != weight.shape[1]:
        raise argument_error(
            "FullyConnected",
            "weight",
            f"of shape {weight.shape}",
            f"({weight.shape[0]}, {inputs}) for data {data.shape}",
        )
    if no_bias:
        bias = None
    elif bias is None:
        raise argument_error("FullyConnected", "bias", None, "an array, or no_bias=True")
    elif bias.shape != (weight.shape[0],):
        raise argument_error("FullyConnected", "bias", f"of shape {bias.shape}", f"({weight.shape[0]},)")
    rows = data.size // inputs if inputs else int(np.prod(data.shape[:-1]))
    matrix = data if data.ndim == 2 else reshape(data, shape=(rows, inputs))
    y = _linear(matrix, weight, bias)
    return y if flatten or data.ndim == 2 else reshape(y, shape=(*data.shape[:-1], weight.shape[0]))
