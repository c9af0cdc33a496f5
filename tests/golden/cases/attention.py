"""Attention: on interleaved projections, and in one op."""

import numpy as np

from golden.case import Case, uniform, values

CASES = []


def add(op, args, attributes=None, tag="main", sweep=True, **options):
    CASES.append(Case(f"contrib.interleaved_matmul_{op}", args, attributes or {}, tag, sweep, **options))


FLOATS = {"dtypes": ("float16", "float32", "float64")}
add("selfatt_qk", (uniform(3, 1, 12),), {"heads": 2}, **FLOATS)
add("selfatt_valatt", (uniform(3, 1, 12), uniform(2, 3, 3)), {"heads": 2}, **FLOATS)
add("encdec_qk", (uniform(2, 2, 4), uniform(3, 2, 8)), {"heads": 2}, **FLOATS)
add("encdec_valatt", (uniform(3, 2, 8), uniform(4, 2, 3)), {"heads": 2}, **FLOATS)
add("selfatt_qk", (uniform(2, 2, 6),), {"heads": 1}, "one head", sweep=False)


def flash(query, key, value, mask, causal=False):
    """contrib.flash_attention, which MXNet lacks, by numpy."""
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    weights = np.exp(scores)
    return weights / np.maximum(weights.sum(-1, keepdims=True), 1e-30) @ value


ARRAYS = (uniform(2, 1, 3, 2), uniform(2, 1, 4, 2), uniform(2, 1, 4, 2))
SEEN = values([1, 0, 1, 1, 0, 0, 0, 0], (2, 1, 1, 4)).as_dtype("bool")
OWN = {"reference": flash, "why": "MXNet has no such op"}


def add_flash(tag, mask, attributes, **options):
    CASES.append(Case("contrib.flash_attention", (*ARRAYS, mask), attributes, tag, **OWN, **options))


add_flash("main", uniform(1, 1, 3, 4), {"causal": True}, sweep=True, **FLOATS)
add_flash("keys that are hidden", SEEN, {})
