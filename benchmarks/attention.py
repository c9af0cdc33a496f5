"""Attention: in one op where there is one, and by its parts, which store the matrix of scores."""

import math

import numpy as np

from benchmarks.cases import Op, descriptions, normal, runners, with_gradients

BAR = {"torch": 1.0}

BATCH, HEADS, SIZE = 8, 4, 64


def _hidden(length: int) -> np.ndarray:
    """Added to scores, it hides from each query the keys that come later."""
    return np.triu(np.full((1, length, length), -1e30, np.float32), 1)


def _by_parts(nd, query, key, value, hidden, causal: bool):
    """Products, a mask, and softmax."""
    length = query.shape[2]
    query, key, value = (x.reshape((-1, length, SIZE)) for x in (query, key, value))
    scores = nd.batch_dot(query, key, transpose_b=True) / math.sqrt(SIZE)
    if causal:
        scores = nd.broadcast_add(scores, hidden)
    return nd.batch_dot(nd.softmax(scores), value).reshape((BATCH, HEADS, length, SIZE))


def _attention(length: int, causal: bool = False, parts: bool = False) -> Op:
    def mxnet(nd, *arrays):
        if parts or not hasattr(nd.contrib, "flash_attention"):  # MXNet has only the parts
            return _by_parts(nd, *arrays, causal)
        return nd.contrib.flash_attention(*arrays[:3], causal=causal)

    def torch(torch, query, key, value, _):
        if parts:
            scores = query @ key.transpose(-1, -2) / math.sqrt(SIZE)
            return torch.softmax(scores, -1) @ value
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=causal)

    def tinygrad(tensor, query, key, value, _):
        return query.scaled_dot_product_attention(key, value, is_causal=causal)

    return Op(
        f"{BATCH} sequences of {length}, {HEADS} heads of {SIZE}" + (", causal" if causal else ""),
        [normal(BATCH, HEADS, length, SIZE, seed=seed) for seed in range(3)],
        constants=[lambda: _hidden(length)],
        mxnet=mxnet,
        torch=torch,
        tinygrad=None if parts else tinygrad,
        work=4 * BATCH * HEADS * length**2 * SIZE / (2 if causal else 1),
    )


OPS = with_gradients(
    {
        "attention 128": _attention(128),
        "attention 512": _attention(512),
        "attention 1024": _attention(1024),
        "attention 1024, causal": _attention(1024, causal=True),
        "attention 512, by parts": _attention(512, parts=True),
    },
    factor=3.5,
)
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
