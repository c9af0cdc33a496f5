"""Parts of matrices: diagonals and triangles, and matrices made from them.

Stacks of matrices have their rows and columns on the last two axes; the axes before count the matrices.
"""

import math

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.kernels import expr, layout, map, triangle
from clgrad.kernels.launch import Plan
from clgrad.kernels.layout import Operand
from clgrad.ops.arguments import one_axis
from clgrad.ops.reduction import sum
from clgrad.ops.shape import copy_step, transpose
from clgrad.ops.unary import log
from clgrad.registry import Call, Spec, composite, operator

# What all of linear algebra checks


def check_real(op: str, axes: int = 2, **arrays: NDArray) -> None:
    """Refuse arguments of other dtypes than MXNet's linalg takes, of two dtypes, or of too few axes.

    Raises
    ------
    OperatorTypeError
        A dtype is neither float32 nor float64, or not that of the first array.
    OperatorError
        An array has fewer than ``axes`` axes.
    """
    (first, leader), *_ = arrays.items()
    for argument, array in arrays.items():
        dtype, wanted = array._view.dtype, leader._view.dtype
        if dtype not in (dtypes.float32, dtypes.float64):
            raise OperatorTypeError(f"{op}: {argument} is {dtype}; accepted: float32, float64")
        if dtype != wanted:
            raise OperatorTypeError(
                f"{op}: {argument} is {dtype}; accepted: {wanted}, the dtype of {first}"
            )
        if array.ndim < axes:
            raise argument_error(op, argument, f"of shape {array.shape}", f"at least {axes} axes")


def check_square(op: str, **arrays: NDArray) -> None:
    """As :func:`check_real`, and refuse matrices that are not square."""
    check_real(op, **arrays)
    for argument, array in arrays.items():
        if array.shape[-1] != array.shape[-2]:
            raise argument_error(
                op, argument, f"of shape {array.shape}", "square matrices on the last two axes"
            )


def transposed(data: NDArray) -> NDArray:
    """The transposes of a stack of matrices."""
    ndim = data.ndim
    return transpose(data, axes=(*range(ndim - 2), ndim - 1, ndim - 2))


# Diagonals


def _diagonal_size(op: str, argument: str, rows: int, columns: int, k: int) -> int:
    """Length of the k-th diagonal; 0 for the first ones beyond the corners."""
    size = min(rows, columns - k) if k >= 0 else min(rows + k, columns)
    if size < 0:
        raise argument_error(op, argument, k, f"{-rows} to {columns}")
    return size


def _diagonal_operand(dtype, shape, axis1: int, axis2: int, k: int) -> Operand:
    """The diagonals in place: an operand over (other axes..., position on the diagonal)."""
    strides = layout.contiguous_strides(shape)
    others = [s for a, s in enumerate(strides) if a not in (axis1, axis2)]
    base = k * strides[axis2] if k >= 0 else -k * strides[axis1]
    return Operand(dtype, (*others, strides[axis1] + strides[axis2]), base)


@operator(name="_diagonal", label="diag")
def _diagonal(call: Call, data: Spec, *, axis1, axis2, k):
    """The k-th diagonals of the matrices on two axes, along a new last axis."""
    size = _diagonal_size(call.op, "k", data.shape[axis1], data.shape[axis2], k)
    shape = (*(n for a, n in enumerate(data.shape) if a not in (axis1, axis2)), size)
    source = _diagonal_operand(data.dtype, data.shape, axis1, axis2, k)
    outputs = [map.Output(expr.operand(0, data.dtype), layout.broadcast(shape, shape, data.dtype))]
    return map.plan(call.device, call.kernel(data.dtype), shape, outputs, [source])


@operator(name="_from_diagonal", label="diag")
def _from_diagonal(call: Call, data: Spec, *, shape, axis1, axis2, k):
    """Zeros of ``shape`` with data on the k-th diagonals of the matrices on two axes."""
    place = _diagonal_operand(data.dtype, shape, axis1, axis2, k)
    steps = [copy_step(call, shape, data.dtype, None, layout.broadcast(shape, shape, data.dtype))]
    if math.prod(data.shape):
        own = layout.broadcast(data.shape, data.shape, data.dtype)
        steps.append(copy_step(call, data.shape, data.dtype, own, place))
    return Plan(call.device, steps, [(tuple(shape), data.dtype)], 1)


_diagonal.gradient(
    data=lambda dy, data_shape, axis1, axis2, k: _from_diagonal(
        dy, shape=data_shape, axis1=axis1, axis2=axis2, k=k
    )
)
_from_diagonal.gradient(data=lambda dy, axis1, axis2, k: _diagonal(dy, axis1=axis1, axis2=axis2, k=k))


@composite()
def diag(data, k=0, axis1=0, axis2=1):
    """The k-th diagonals of the matrices on two axes; of a vector, the matrix with that diagonal.

    k > 0 counts above the main diagonal, k < 0 below. The diagonals lie along a new last axis. Only
    k = -rows and k = columns, the first ones beyond the corners, are accepted as empty.
    """
    if data.ndim == 0:
        raise argument_error("diag", "data", "of shape ()", "at least one axis")
    k = int(k)
    if data.ndim == 1:
        size = data.shape[0] + abs(k)
        return _from_diagonal(data, shape=(size, size), axis1=0, axis2=1, k=k)
    first = one_axis("diag", axis1, data.ndim, "axis1")
    second = one_axis("diag", axis2, data.ndim, "axis2")
    if first == second:
        raise argument_error("diag", "axis2", axis2, f"another axis than axis1={axis1}")
    return _diagonal(data, axis1=first, axis2=second, k=k)


def _check_offset(op: str, n: int, offset: int) -> int:
    offset = int(offset)
    if abs(offset) >= n and (n or offset):
        raise argument_error(op, "offset", offset, f"{1 - n} to {n - 1} for {n} by {n} matrices")
    return offset


@composite(name="linalg.extractdiag", aliases=("linalg_extractdiag",))
def extractdiag(A, offset=0):
    """The diagonals of square matrices; ``offset`` counts above (> 0) or below the main diagonal."""
    check_square("linalg.extractdiag", A=A)
    k = _check_offset("linalg.extractdiag", A.shape[-1], offset)
    return _diagonal(A, axis1=A.ndim - 2, axis2=A.ndim - 1, k=k)


@composite(name="linalg.makediag", aliases=("linalg_makediag",))
def makediag(A, offset=0):
    """Square matrices with the vectors of A, of n elements, on a diagonal: n + abs(offset) rows."""
    check_real("linalg.makediag", axes=1, A=A)
    size = A.shape[-1] + abs(int(offset))
    shape = (*A.shape[:-1], size, size)
    return _from_diagonal(A, shape=shape, axis1=A.ndim - 1, axis2=A.ndim, k=int(offset))


@composite(name="linalg.sumlogdiag", aliases=("linalg_sumlogdiag",))
def sumlogdiag(A):
    """The sum of the logarithms of each square matrix's diagonal; of one matrix, shape (1,)."""
    check_square("linalg.sumlogdiag", A=A)
    return sum(log(_diagonal(A, axis1=A.ndim - 2, axis2=A.ndim - 1, k=0)), axis=-1)


# Triangles


@operator(name="_triangle")
def keep_triangle(call: Call, data: Spec, *, lower=True, diagonal=1.0):
    """One triangle of each matrix, the diagonal times a number; zeros elsewhere."""
    ndim = len(data.shape)
    row, column = expr.index(1), expr.index(2)
    value = expr.operand(0, data.dtype)
    zero = expr.constant(0, value.dtype)
    if diagonal != 1:
        edge = value * diagonal if diagonal else zero
        value = expr.where(row == column, edge, value)
    outside = column > row if lower else column < row
    kept = expr.where(outside, zero, value)
    dense = layout.broadcast(data.shape, data.shape, data.dtype)
    operands = [dense, layout.index(ndim - 2, ndim), layout.index(ndim - 1, ndim)]
    return map.plan(call.device, call.kernel(data.dtype), data.shape, [map.Output(kept, dense)], operands)


keep_triangle.gradient(data=lambda dy, lower, diagonal: keep_triangle(dy, lower=lower, diagonal=diagonal))


@operator(name="_pack_triangle", label="linalg.extracttrian")
def _pack(call: Call, data: Spec, *, offset, lower):
    """The elements of a triangle of each matrix: a lower one by rows, an upper one by columns."""
    return triangle.plan_pack(call.device, call.kernel(data.dtype), data.shape, data.dtype, offset, lower)


@operator(name="_unpack_triangle", label="linalg.maketrian")
def _unpack(call: Call, data: Spec, *, offset, lower):
    """Zeros with the elements of data on a triangle of each matrix, in the order of extracttrian."""
    return triangle.plan_unpack(call.device, call.kernel(data.dtype), data.shape, data.dtype, offset, lower)


_pack.gradient(data=lambda dy, offset, lower: _unpack(dy, offset=offset, lower=lower))
_unpack.gradient(data=lambda dy, offset, lower: _pack(dy, offset=offset, lower=lower))


@composite(name="linalg.extracttrian", aliases=("linalg_extracttrian",))
def extracttrian(A, offset=0, lower=True):
    """A triangle of each square matrix as a vector: a lower one row by row, an upper one column by column.

    Its long side is the diagonal ``offset``: the triangle above it for offset > 0, below for
    offset < 0, and as ``lower`` says for the main diagonal.
    """
    check_square("linalg.extracttrian", A=A)
    offset = _check_offset("linalg.extracttrian", A.shape[-1], offset)
    return _pack(A, offset=offset, lower=offset < 0 or (offset == 0 and bool(lower)))


@composite(name="linalg.maketrian", aliases=("linalg_maketrian",))
def maketrian(A, offset=0, lower=True):
    """Square matrices that are 0 but for a triangle: what extracttrian takes apart."""
    check_real("linalg.maketrian", axes=1, A=A)
    offset = int(offset)
    if triangle.side(A.shape[-1]) is None:
        raise argument_error(
            "linalg.maketrian", "A", f"of shape {A.shape}", "1, 3, 6, 10... elements: those of a triangle"
        )
    return _unpack(A, offset=offset, lower=offset < 0 or (offset == 0 and bool(lower)))
