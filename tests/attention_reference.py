"""Attention and its gradients by numpy, in float64."""

import numpy as np


def attention(query, key, value, dy, *, scale, causal=False, mask=None, factors=1.0):
    """The result, and the gradients of query, key, value and scores; ``factors`` are those of dropout.

    Queries that see no key give 0.
    """
    q, k, v, dy = (np.asarray(a, np.float64) for a in (query, key, value, dy))
    scores = scale * (q @ k.swapaxes(-1, -2))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask.astype(np.float64)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isneginf(largest), 0, largest))
    total = weights.sum(-1, keepdims=True)
    weights /= np.where(total == 0, 1, total)
    slopes = factors * (dy @ v.swapaxes(-1, -2))
    slopes = weights * (slopes - (weights * slopes).sum(-1, keepdims=True))
    weights = weights * factors
    d_query, d_key = scale * (slopes @ k), scale * (slopes.swapaxes(-1, -2) @ q)
    return weights @ v, d_query, d_key, weights.swapaxes(-1, -2) @ dy, slopes
