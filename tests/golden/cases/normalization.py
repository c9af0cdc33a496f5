"""Standardising by mean and variance, and division by norms."""

from dataclasses import replace

import numpy as np

from golden.case import REAL, Case, uniform, values

CASES = []
SCALE = {"low": 0.5, "high": 2.0}


def add(op, args, attributes=None, tag="", **options):
    CASES.append(Case(op, args, attributes or {}, tag, **options))


def vectors(size, count=2):
    return tuple(uniform(size, **SCALE) for _ in range(count))


# Of a row, an instance, a group. The statistics that are returned have no gradient.
add("LayerNorm", (uniform(2, 5), *vectors(5)), tag="main", sweep=True, dtypes=REAL)
add("LayerNorm", (uniform(2, 3, 4), *vectors(3)), {"axis": 1, "eps": 0.1}, "axis 1")
add("LayerNorm", (uniform(3, 1, 4), *vectors(3)), {"axis": -3}, "axis -3")
add("LayerNorm", (uniform(5), *vectors(5)), {}, "vector")
add("LayerNorm", (uniform(3, 1), *vectors(1)), {}, "rows of one", atol=1e-5)
add("LayerNorm", (uniform(2, 3, 4), *vectors(3)), {"axis": 1, "output_mean_var": True}, "three", orders=0)
add("LayerNorm", (uniform(5), *vectors(5)), {"output_mean_var": True}, "three of a vector", orders=0)
special = values([[1, np.nan, 2], [3, np.inf, -np.inf], [0.0, -0.0, 1]])
add("LayerNorm", (special, *vectors(3)), {}, "special", orders=0)
add("LayerNorm", (uniform(2, 5), *vectors(4)), {}, "gamma", error=True)
add("LayerNorm", (uniform(2, 5), *vectors(5)), {"axis": 2}, "axis", error=True)

add("InstanceNorm", (uniform(2, 3, 4), *vectors(3)), tag="main", sweep=True, dtypes=("float32", "float64"))
add("InstanceNorm", (uniform(2, 3, 2, 2), *vectors(3)), {"eps": 0.1}, "4 axes")
add("InstanceNorm", (uniform(1, 2, 1, 2, 3), *vectors(2)), {}, "5 axes")
add("InstanceNorm", (uniform(2, 3), *vectors(3)), {}, "2 axes", error=True)
add("InstanceNorm", (uniform(2, 3, 4), *vectors(2)), {}, "gamma", error=True)

groups = {"num_groups": 2}
add("GroupNorm", (uniform(2, 4, 3), *vectors(2)), groups, "main", sweep=True, dtypes=REAL)
add("GroupNorm", (uniform(2, 3, 2), *vectors(1)), {}, "one group")
add("GroupNorm", (uniform(2, 2, 2, 3), *vectors(2)), {"num_groups": 2, "eps": 0.1}, "4 axes")
add("GroupNorm", (uniform(2, 4, 3), *vectors(2)), groups | {"output_mean_var": True}, "three", orders=0)
add("GroupNorm", (uniform(2, 4, 3), *vectors(3)), {"num_groups": 3}, "groups", error=True)
add("GroupNorm", (uniform(2, 4), *vectors(2)), groups, "2 axes", error=True)


def batch(*shape, axis=1, dtype=None):
    """Data, gamma, beta and the moving averages."""
    rest = [replace(v, dtype=dtype) for v in vectors(shape[axis], 4)]
    return (uniform(*shape), *rest[:2], *(v.constant() for v in rest[2:]))


def batch_norm(x, gamma, beta, mean, var):
    """What MXNet computes with a gamma that it takes as 1."""
    axes = tuple(a for a in range(x.ndim) if a != 1)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-3) + beta.reshape(-1, *[1] * (x.ndim - 2))


free = {"fix_gamma": False, "eps": 2.0**-10}
add("BatchNorm", batch(4, 3, 2), free, "main", sweep=True, dtypes=("float32", "float64"))
add("BatchNorm", batch(4, 3, 2, dtype="float32"), free, "half", sweep=True, dtypes=("float16", "float32"))
overwritten = {"reference": batch_norm, "why": "gamma stays as it is; MXNet writes ones into it"}
add("BatchNorm", batch(4, 3, 2), {}, "fixed gamma", **overwritten)
add("BatchNorm", batch(6, 3), free | {"eps": 0.1}, "2 axes")
add("BatchNorm", batch(2, 3, 2, 2), free, "4 axes")
add("BatchNorm", batch(2, 2, 1, 2, 2), free, "5 axes")
add("BatchNorm", batch(2, 2, 3, axis=-1), free | {"axis": -1}, "last axis")
add("BatchNorm", batch(3, 2, 2, axis=0), free | {"axis": 0}, "first axis")
# MXNet's backward takes the batch's mean and variance whatever forward took: no gradient of predictions.
add("BatchNorm", batch(4, 3, 2), free, "prediction", train=False, orders=0)
add("BatchNorm", batch(4, 3, 2), free | {"use_global_stats": True}, "global")
add("BatchNorm", batch(1, 3), free, "batch of one", atol=1e-5)
add("BatchNorm", batch(4, 3, 2), free | {"output_mean_var": True}, "three", orders=0)
add("BatchNorm", batch(4, 3, 2), free | {"output_mean_var": True}, "three pred", orders=0, train=False)
add("BatchNorm", (special, *batch(3, 3)[1:]), free, "special", orders=0)
add("BatchNorm", (uniform(4, 3), *batch(4, 2)[1:]), free, "gamma", error=True)
add("BatchNorm", batch(4, 3), free | {"axis": 2}, "axis", error=True)

key = {"key": "a", "fix_gamma": False}
add("contrib.SyncBatchNorm", batch(4, 3, 2), key, "main", sweep=True, dtypes=("float32", "float64"))
add("contrib.SyncBatchNorm", batch(4, 3, 2), key | {"output_mean_var": True}, "three", orders=0)
add("contrib.SyncBatchNorm", batch(4, 3, 2), key, "prediction", train=False, orders=0)


def batch_norm_relu(x, gamma, beta, mean, var, fix_gamma, eps):
    """What MXNet computes on devices that it has the op for."""
    mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    return np.maximum((x - mean) / np.sqrt(var + eps) * gamma[:, None] + beta[:, None], 0)


add(
    "contrib.BatchNormWithReLU",
    batch(4, 3, 2),
    free,
    "main",
    sweep=True,
    dtypes=("float32", "float64"),
    reference=batch_norm_relu,
    why="MXNet has it with MKL-DNN only",
)

add("moments", (uniform(2, 3, 4),), {"axes": (1,)}, "main", sweep=True, dtypes=REAL)
add("moments", (uniform(2, 3, 4),), {"axes": (0, -1), "keepdims": True}, "kept")
add("moments", (uniform(2, 3),), {"axes": (0, 1)}, "all")
add("moments", (special,), {"axes": (1,)}, "special", orders=0)
add("moments", (uniform(2, 3),), {"axes": (2,)}, "axis", error=True)

# By norms.
for mode, shape in (("instance", (3, 4)), ("channel", (2, 3, 2)), ("spatial", (2, 2, 3))):
    add("L2Normalization", (uniform(*shape),), {"mode": mode}, mode, sweep=True, dtypes=REAL)
    add("L2Normalization", (uniform(2, 2, 2, 2),), {"mode": mode, "eps": 0.5}, f"{mode}, 4 axes")
add("L2Normalization", (uniform(2, 3),), {"mode": "channel"}, "2 axes", error=True)
add("L2Normalization", (uniform(2, 3),), {"mode": "rows"}, "mode", error=True)
add(
    "LRN",
    (uniform(2, 5, 1, 2),),
    {"nsize": 3, "alpha": 0.5},
    "main",
    sweep=True,
    dtypes=("float32", "float64"),
)
add("LRN", (uniform(1, 3, 2, 2),), {"nsize": 5, "alpha": 1.0, "beta": 0.5, "knorm": 1.0}, "wide")
add("LRN", (uniform(1, 4, 2, 1),), {"nsize": 1}, "alone")
add("LRN", (uniform(1, 4, 2),), {"nsize": 3}, "3 axes", error=True)
add("LRN", (uniform(1, 4, 2, 1),), {"nsize": 2, "alpha": 0.5}, "even")
