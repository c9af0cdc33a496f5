"""Scaled dot-product attention that never stores the matrix of scores (Dao et al., 2022).

``_attention`` and ``_attention_grad`` are kernels. Under ``create_graph=True``, and where the device's
local memory does not hold their tiles, the same is computed by other ops, which do store it.
"""

import math

import numpy as np

from clgrad import array, tape
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.kernels import attention
from clgrad.ops import reduction
from clgrad.ops.arguments import check_floating
from clgrad.ops.conversion import cast
from clgrad.ops.creation import arange
from clgrad.ops.dropout import _dropout_mask
from clgrad.ops.generator import generator
from clgrad.ops.product import batch_dot
from clgrad.ops.selection import select
from clgrad.ops.shape import expand_dims, slice_axis, sum_to, with_shape
from clgrad.ops.softmax import _softmax
from clgrad.registry import Call, Spec, composite, operator
from clgrad.registry.arrays import no_array

_OP = "contrib.flash_attention"
#: What the kernels are told anew at each run, in the order of their scalars.
_NUMBERS = ("scale", "seed", "draw", "keep")


def _problem(query: Spec, key: Spec, mask: Spec | None, causal: bool, dropout: bool) -> attention.Problem:
    batch, heads, queries, size = query.shape
    shown = None if mask is None else (mask.dtype, mask.shape)
    return attention.Problem(batch, heads, queries, key.shape[2], size, query.dtype, causal, dropout, shown)


@operator(name="_attention", label=_OP, outputs=("y", "lse"), numbers=_NUMBERS)
def _attention(
    call: Call, query: Spec, key: Spec, value: Spec, mask: Spec | None = None, *,
    causal, dropout, scale, seed, draw, keep,
):  # fmt: skip
    """The result, and for each query the logarithm of the sum of its exponentials."""
    problem = _problem(query, key, mask, causal, dropout)
    return attention.plan_forward(call.device, call.kernel(query.dtype), problem)


@operator(name="_attention_grad", label=_OP, outputs=("d_query", "d_key", "d_value"), numbers=_NUMBERS)
def _attention_grad(
    call: Call, grad: Spec, y: Spec, lse: Spec, query: Spec, key: Spec, value: Spec,
    mask: Spec | None = None, *, causal, dropout, scale, seed, draw, keep,
):  # fmt: skip
    """The gradients of queries, keys and values; scores and draws are computed again."""
    problem = _problem(query, key, mask, causal, dropout)
    return attention.plan_grad(call.device, call.kernel(query.dtype, "grad"), problem)


@_attention.joint_gradient("query", "key", "value")
def _(d_y, query, key, value, mask, y, lse, causal, dropout, scale, seed, draw, keep):
    """By kernels, or by recorded ops under create_graph."""
    drawn = {"seed": seed, "draw": draw, "keep": keep} if dropout else None
    if tape.state.recording:
        return _Scores(query, key, mask, causal, scale, drawn).gradients(d_y, value)
    arrays = [d_y, y, lse, query, key, value] + ([] if mask is None else [mask])
    return tuple(
        _attention_grad(
            *arrays, causal=causal, dropout=dropout, scale=scale, seed=seed, draw=draw, keep=keep
        )
    )


def _mask_rule(d_y, query, key, value, mask, causal, dropout, scale, seed, draw, keep):
    """The gradient of the scores, which is as large as they are, so kernels would gain nothing."""
    drawn = {"seed": seed, "draw": draw, "keep": keep} if dropout else None
    return _Scores(query, key, mask, causal, scale, drawn).gradient_of_mask(d_y, value)


_attention.gradient(mask=_mask_rule)


class _Scores:
    """The weights of attention as a matrix, by differentiable ops; in float32 for 16-bit arrays."""

    def __init__(self, query, key, mask, causal: bool, scale: float, drawn: dict | None):
        self.dtype = query._view.dtype
        self.query, self.key, self.scale = _wide(query), _wide(key), scale
        self.mask = mask
        adds = mask is not None and mask._view.dtype.kind != "b"
        scores = batch_dot(self.query, self.key, transpose_b=True) * scale
        if adds:
            self.mask = _wide(mask)
            scores = scores + select(self.mask.detach() != -math.inf, self.mask, 0)
        shown = self._shown(causal, adds)
        if shown is not None:
            scores = select(shown, scores, float(np.finfo(np.float32).min))
        self.weights = _softmax(scores, axis=3, temperature=1.0, log=False)
        if shown is not None:  # of a query without any key too
            self.weights = self.weights * shown
        self.factors = None if drawn is None else self._factors(drawn)

    def _shown(self, causal: bool, adds: bool):
        """1 where a query sees a key, else 0; None where every query sees all of them."""
        shown = None
        if self.mask is not None:
            mask = self.mask.detach()
            shown = mask != -math.inf if adds else cast(mask, dtype=self.query._view.dtype.name)
        if causal:
            ctx, dtype = self.query.context, self.query._view.dtype.name
            rows = arange(0, self.query.shape[2], dtype=dtype, ctx=ctx)
            columns = arange(0, self.key.shape[2], dtype=dtype, ctx=ctx)
            before = expand_dims(columns, axis=0) <= expand_dims(rows, axis=1)
            before = with_shape(before, shape=(1, 1, *before.shape))
            shown = before if shown is None else shown * before
        return shown

    def _factors(self, drawn: dict):
        """The factors of dropout, as the kernels draw them: rows are filled up to multiples of 4."""
        columns = self.key.shape[2]
        shape = (*self.query.shape[:3], -(-columns // 4) * 4)
        name = self.query._view.dtype.name
        factors = _dropout_mask.create(self.query.context, shape=shape, dtype=name, **drawn)
        return factors if shape[3] == columns else slice_axis(factors, axis=3, begin=0, end=columns)

    def _dropped(self, x):
        return x if self.factors is None else x * self.factors

    def result(self, value):
        """What attention gives."""
        return self._narrow(batch_dot(self._dropped(self.weights), _wide(value)))

    def _narrow(self, x):
        return x if x._view.dtype == self.dtype else cast(x, dtype=self.dtype.name)

    def _slopes(self, dy, value):
        """The gradient of the scores, behind scale and mask."""
        slopes = self._dropped(batch_dot(dy, _wide(value), transpose_b=True))
        total = reduction.sum(self.weights * slopes, axis=3, keepdims=True)
        return self.weights * (slopes - total)

    def gradients(self, dy, value):
        """Those of query, key and value."""
        dy = _wide(dy)
        slopes = self._slopes(dy, value) * self.scale
        found = (
            batch_dot(slopes, self.key),
            batch_dot(slopes, self.query, transpose_a=True),
            batch_dot(self._dropped(self.weights), dy, transpose_a=True),
        )
        return tuple(self._narrow(x) for x in found)

    def gradient_of_mask(self, dy, value):
        """That of a mask that is added."""
        slopes = self._slopes(_wide(dy), value)
        if slopes.shape != self.mask.shape:
            slopes = sum_to(slopes, shape=self.mask.shape)
        return self._narrow(slopes)


def _wide(x: NDArray) -> NDArray:
    """In float32, where the dtype has 16 bits."""
    return cast(x, dtype="float32") if x._view.dtype.itemsize == 2 else x


def _checked_mask(mask, query: NDArray, shape: tuple[int, ...]) -> NDArray:
    """The mask with four axes."""
    if isinstance(mask, np.ndarray):
        dtype = mask.dtype if mask.dtype == bool else query._view.dtype
        mask = array.from_host(mask, dtype, query.context)
    if type(mask) is not NDArray:
        raise no_array(_OP, "mask", mask, "NDArray or None")
    if mask._view.dtype not in (np.dtype(bool), query._view.dtype):
        raise OperatorTypeError(
            f"{_OP}: mask is of dtype {mask._view.dtype}; accepted: bool, or {query._view.dtype}, the "
            "dtype of query"
        )
    padded = (1,) * (len(shape) - mask.ndim) + mask.shape
    if len(padded) != len(shape) or any(n not in (1, m) for n, m in zip(padded, shape, strict=True)):
        raise argument_error(_OP, "mask", f"of shape {mask.shape}", f"what broadcasts to {shape}")
    return mask if mask.ndim == len(shape) else with_shape(mask, shape=padded)


def _check_shapes(query: NDArray, key: NDArray, value: NDArray) -> None:
    check_floating(_OP, query=query, key=key, value=value)
    if query.ndim != 4 or query.shape[3] == 0:
        accepted = "(batch, heads, length, head_dim), with head_dim above 0"
        raise argument_error(_OP, "query", f"of shape {query.shape}", accepted)
    batch, heads, _, size = query.shape
    for name, other in (("key", key), ("value", value)):
        if other._view.dtype != query._view.dtype:
            raise OperatorTypeError(
                f"{_OP}: {name} is of dtype {other._view.dtype}; accepted: {query._view.dtype}, the dtype "
                "of query"
            )
        if other.ndim != 4 or (*other.shape[:2], other.shape[3]) != (batch, heads, size):
            accepted = f"({batch}, {heads}, length, {size}), to go with query"
            raise argument_error(_OP, name, f"of shape {other.shape}", accepted)
    if key.shape != value.shape:
        raise argument_error(_OP, "value", f"of shape {value.shape}", f"{key.shape}, the shape of key")


@composite(name=_OP)
def flash_attention(
    query: NDArray, key: NDArray, value: NDArray, mask=None, causal=False,
    scale: float | None = None, dropout=0.0,
):  # fmt: skip
    """softmax(scale Q K^T + mask) V for each head, without storing the matrix of scores.

    A query that sees no key at all gives 0, and gradients of 0. Memory grows with the length, not with
    its square, also in the backward pass; only the gradient of ``mask``, where it is asked for, and
    derivatives of second and higher order (``create_graph=True``) take a matrix of scores.

    Parameters
    ----------
    query : NDArray
        Of shape (batch, heads, queries, head_dim) and a floating-point dtype; sums of 16-bit dtypes are
        kept in float32.
    key : NDArray
        Of shape (batch, heads, keys, head_dim) and query's dtype.
    value : NDArray
        Of key's shape and dtype.
    mask : NDArray, optional
        Broadcast to (batch, heads, queries, keys). Of dtype bool: True where a query sees a key. Of query's
        dtype: added to the scores; -infinity hides a key. Comparisons of arrays of real numbers are real
        numbers: convert them with ``astype("bool")``. Values of hidden keys must be finite.
    causal : bool, default False
        Query i sees the keys 0 to i only, also where there are more or fewer keys than queries.
    scale : float, optional
        Factor of the products; 1 / sqrt(head_dim) by default.
    dropout : float, default 0.0
        In training mode, the probability that a weight is set to 0; the others are divided by 1 - dropout.
        Draws are not stored but repeated.

    Returns
    -------
    NDArray
        Of query's shape and dtype.

    Raises
    ------
    OperatorError
        Shapes that do not go together, or a dropout outside of 0 to 1.
    OperatorTypeError
        Dtypes that do not go together, or something that is no array.

    Notes
    -----
    Differentiable, to any order, with respect to query, key, value, and a mask of real numbers.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.array([[1, 0], [0, 1]]).reshape((1, 1, 2, 2))
    >>> mx.nd.contrib.flash_attention(x, x, x, causal=True, scale=0)[0, 0].asnumpy()
    array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)

    Sources: A. Vaswani et al.: Attention is all you need, NIPS 2017; T. Dao, D. Fu, S. Ermon, A. Rudra,
    C. Re: FlashAttention: fast and memory-efficient exact attention with IO-awareness, NeurIPS 2022;
    T. Dao: FlashAttention-2, 2023; M. Milakov, N. Gimelshein: Online normalizer calculation for softmax,
    2018.
    """
    _check_shapes(query, key, value)
    if mask is not None:
        mask = _checked_mask(mask, query, (*query.shape[:3], key.shape[2]))
    if not 0 <= dropout <= 1:
        raise argument_error(_OP, "dropout", dropout, "0 <= dropout <= 1")
    scale = 1 / math.sqrt(query.shape[3]) if scale is None else scale
    drops = dropout > 0 and tape.state.training
    drawn = {**generator.next(query.context), "keep": 1 - dropout} if drops else None
    fits = attention.fits(query._view.device, query.shape[3], query._view.dtype)
    if not (fits and query.size and key.size):
        return _Scores(query, key, mask, causal, scale, drawn).result(value)
    arrays = [query, key, value] + ([] if mask is None else [mask])
    numbers = drawn or {"seed": 0, "draw": 0, "keep": 1.0}
    return _attention(*arrays, causal=causal, dropout=drops, scale=scale, **numbers)[0]
