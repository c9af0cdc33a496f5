"""Softmax and its kin, and the cross-entropy."""

import numpy as np

from golden.case import REAL, Case, distinct, integers, uniform, values

CASES = []


def add(op, args, attributes=None, tag="", **options):
    CASES.append(Case(op, args, attributes or {}, tag, **options))


def by_numpy(op):
    """A row that holds NaN or infinity, or nothing to compare with, is NaN throughout."""

    def reference(x, **attributes):
        z = np.array(-x if op == "softmin" else x, np.float64)
        z = z - z.max(-1, keepdims=True)
        total = np.exp(z).sum(-1, keepdims=True)
        return (z - np.log(total) if op == "log_softmax" else np.exp(z) / total).astype(x.dtype)

    return {"reference": reference, "why": "a NaN of the sum is in every element that is divided by it"}


special = values([[1, np.nan, 2], [3, np.inf, 1], [-np.inf, 0.0, -0.0], [1e30, -1e30, 1e30]])
for op in ("softmax", "log_softmax", "softmin"):
    add(op, (uniform(3, 5),), {}, "main", sweep=True, dtypes=REAL)
    add(op, (uniform(2, 3, 4),), {"axis": 1, "temperature": 2.5}, "axis 1")
    add(op, (uniform(2, 3, 2, 2),), {"axis": -4}, "axis -4")
    add(op, (uniform(7),), {"axis": 0}, "vector")
    add(op, (uniform(3, 1),), {}, "of one")
    add(op, (special,), {}, "special", orders=0, **by_numpy(op))
    add(op, (uniform(3, 4).as_dtype("float32"),), {"dtype": "float64"}, "wider", orders=0, rtol=1e-5)
    add(op, (uniform(3, 4).as_dtype("float64"),), {"dtype": "float32"}, "narrower", orders=0)
    add(op, (uniform(3, 4),), {"axis": 2}, "axis", error=True)
    add(op, (integers(3, 4, low=0, high=5).as_dtype("int32"),), {}, "whole", error=True)

lengths = values([2, 0, 4]).as_dtype("int32")
add("softmax", (uniform(3, 4), lengths), {"use_length": True}, "length", sweep=True, dtypes=REAL)
wide = values([[1, 3], [2, 0]]).as_dtype("int64")
add("softmax", (uniform(2, 3, 2), wide), {"use_length": True, "axis": 1}, "length, axis 1")
add(
    "softmax",
    (uniform(4, 3), values([4, 0, 3]).as_dtype("int32")),
    {"use_length": True, "axis": 0},
    "length, axis 0",
)
add("softmax", (uniform(3, 4), lengths), {}, "length unused", error=True)
add("softmax", (uniform(3, 4),), {"use_length": True}, "length missing", error=True)
add("softmax", (uniform(3, 4), values([2.0, 0, 4])), {"use_length": True}, "length real", error=True)

for mode, shape in (("instance", (2, 6)), ("channel", (2, 3, 4))):
    add(
        "SoftmaxActivation", (uniform(*shape),), {"mode": mode}, mode, sweep=mode == "instance", dtypes=REAL
    )


def of_instance(x):
    """Over all axes but the first, as MXNet documents it; its build for CPUs takes the last axis."""
    e = np.exp(x.reshape(len(x), -1))
    return (e / e.sum(1, keepdims=True)).reshape(x.shape)


why = "documented so, and computed so on GPUs"
add("SoftmaxActivation", (uniform(2, 3, 2),), {}, "3 axes", reference=of_instance, why=why)
add("SoftmaxActivation", (uniform(2, 3),), {"mode": "channel"}, "2 axes", error=True)

label = values([0, 1, 3]).constant()
add("softmax_cross_entropy", (distinct(3, 4), label), {}, "main", sweep=True, dtypes=REAL)
add("softmax_cross_entropy", (distinct(3, 4), values([0, 1]).constant()), {}, "labels", error=True)
