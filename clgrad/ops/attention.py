"""Multi-head attention on interleaved projections.

A sequence of projections is (length, batch, heads * parts * size), the parts of one head next to each
other: queries, keys and values (self-attention), or keys and values. Matrices are (batch * heads, length,
...).
"""

import math

from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, map
from clgrad.kernels.layout import Operand
from clgrad.ops.arguments import check_floating
from clgrad.ops.arithmetic import divide
from clgrad.ops.product import batch_dot
from clgrad.registry import Call, Spec, composite, operator


def _strides(length: int, batch: int, heads: int, parts: int, size: int) -> tuple[int, ...]:
    """Strides of a projection over (batch, head, place, element of one part)."""
    head = parts * size
    return (heads * head, head, batch * heads * head, 1)


@operator(name="_split_heads", numbers=("scale",))
def _split_heads(call: Call, data: Spec, *, heads, parts, part, scale):
    """One part of a projection, times a number, as (batch * heads, length, size)."""
    length, batch, width = data.shape
    size = width // (heads * parts)
    shape = (batch, heads, length, size)
    source = Operand(data.dtype, _strides(length, batch, heads, parts, size), base=part * size)
    value = expr.operand(0, data.dtype) * expr.scalar(0, data.dtype)
    outputs = [map.Output(value, layout.broadcast(shape, shape, data.dtype))]
    out_shape = [(batch * heads, length, size)]
    name = call.kernel(data.dtype)
    return map.plan(call.device, name, shape, outputs, [source], [data.dtype], out_shape)


@operator(name="_join_heads", numbers=("scale",))
def _join_heads(call: Call, data: Spec, *, heads, parts, part, scale):
    """The adjoint: (batch * heads, length, size), times a number, as one part; 0 in the others."""
    rows, length, size = data.shape
    batch = rows // heads
    shape = (length, batch, heads, parts, size)
    source = Operand(data.dtype, (size, heads * length * size, length * size, 0, 1))
    value = expr.operand(0, data.dtype) * expr.scalar(0, data.dtype)
    if parts > 1:
        value = expr.where(expr.index(1) == part, value, 0)
    outputs = [map.Output(value, layout.broadcast(shape, shape, data.dtype))]
    operands = [source, layout.index(3, 5)]
    out_shape = [(length, batch, heads * parts * size)]
    name = call.kernel(data.dtype)
    return map.plan(call.device, name, shape, outputs, operands, [data.dtype], out_shape)


_split_heads.gradient(
    data=lambda dy, heads, parts, part, scale: _join_heads(
        dy, heads=heads, parts=parts, part=part, scale=scale
    )
)
_join_heads.gradient(
    data=lambda dy, heads, parts, part, scale: _split_heads(
        dy, heads=heads, parts=parts, part=part, scale=scale
    )
)


def _part(op: str, argument: str, data, heads: int, parts: int, part: int, scaled: bool = False):
    """Queries (scaled by the square root of their size), keys or values."""
    check_floating(op, **{argument: data})
    if data.ndim != 3 or heads < 1 or data.shape[2] % (heads * parts):
        accepted = f"3 axes, the last a multiple of {heads * parts} for heads={heads}"
        raise argument_error(op, argument, f"of shape {data.shape}", accepted)
    size = data.shape[2] // (heads * parts)
    scale = 1 / math.sqrt(size) if scaled and size else 1.0
    return _split_heads(data, heads=heads, parts=parts, part=part, scale=scale)


def _weighted(op: str, attention, values, heads: int):
    """The values of each head, weighted, side by side again: (length, batch, heads * size)."""
    if (
        attention.ndim != 3
        or attention.shape[0] != values.shape[0]
        or attention.shape[2] != values.shape[1]
    ):
        accepted = f"({values.shape[0]}, length of the queries, {values.shape[1]})"
        raise argument_error(op, "attention", f"of shape {attention.shape}", accepted)
    return _join_heads(batch_dot(attention, values), heads=heads, parts=1, part=0, scale=1.0)


@composite(name="contrib.interleaved_matmul_selfatt_qk")
def interleaved_matmul_selfatt_qk(queries_keys_values, heads):
    """Q K^T / sqrt(size) for each head, of queries, keys and values interleaved (Vaswani et al., 2017).

    (length, batch, heads * 3 * size) gives (batch * heads, length, length).
    """
    op, projections = "contrib.interleaved_matmul_selfatt_qk", queries_keys_values
    queries = _part(op, "queries_keys_values", projections, heads, 3, 0, scaled=True)
    keys = _part(op, "queries_keys_values", projections, heads, 3, 1)
    return batch_dot(queries, keys, transpose_b=True)


@composite(name="contrib.interleaved_matmul_selfatt_valatt")
def interleaved_matmul_selfatt_valatt(queries_keys_values, attention, heads):
    """A V for each head, of queries, keys and values interleaved, and attention A.

    (length, batch, heads * 3 * size) and (batch * heads, length, length) give (length, batch, heads *
    size).
    """
    op = "contrib.interleaved_matmul_selfatt_valatt"
    values = _part(op, "queries_keys_values", queries_keys_values, heads, 3, 2)
    return _weighted(op, attention, values, heads)


@composite(name="contrib.interleaved_matmul_encdec_qk")
def interleaved_matmul_encdec_qk(queries, keys_values, heads):
    """Q K^T / sqrt(size) for each head, of queries, and of keys and values interleaved.

    (length, batch, heads * size) and (other length, batch, heads * 2 * size) give (batch * heads, length,
    other length).
    """
    op = "contrib.interleaved_matmul_encdec_qk"
    wanted = _part(op, "queries", queries, heads, 1, 0, scaled=True)
    keys = _part(op, "keys_values", keys_values, heads, 2, 0)
    if wanted.shape[0] != keys.shape[0] or wanted.shape[2] != keys.shape[2]:
        given = f"of shape {keys_values.shape}"
        raise argument_error(op, "keys_values", given, f"batch and size of queries {queries.shape}")
    return batch_dot(wanted, keys, transpose_b=True)


@composite(name="contrib.interleaved_matmul_encdec_valatt")
def interleaved_matmul_encdec_valatt(keys_values, attention, heads):
    """A V for each head, of keys and values interleaved, and attention A.

    (other length, batch, heads * 2 * size) and (batch * heads, length, other length) give (length, batch,
    heads * size).
    """
    op = "contrib.interleaved_matmul_encdec_valatt"
    values = _part(op, "keys_values", keys_values, heads, 2, 1)
    return _weighted(op, attention, values, heads)


@composite(name="contrib.div_sqrt_dim", aliases=("div_sqrt_dim",))
def div_sqrt_dim(data):
    """x / sqrt(n), n the size of the last axis."""
    if not data.shape:
        raise argument_error("div_sqrt_dim", "data", "of shape ()", "one axis or more")
    return divide(data, math.sqrt(data.shape[-1]))
