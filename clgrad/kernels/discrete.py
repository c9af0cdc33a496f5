"""Planners of random choices: permutations, and classes of given probabilities.

Keyed by element as in :mod:`clgrad.kernels.random`, and made of whole numbers and sums in a fixed order:
the same on all devices to the last bit.
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Up to so many elements a permutation is found by ranks, with as many steps for each.
RANKS_LIMIT = 2048


def _scalars(signature: Signature) -> None:
    signature.scalar("seed", 0, dtypes.int64)
    signature.scalar("call", 1, dtypes.int64)


def plan_permutation(device: Device, name: str, n: int, ranks_limit: int = RANKS_LIMIT) -> Plan:
    """Plan a random permutation of 0 to n - 1, as int32, or int64 where that is too small.

    Scalars: seed, call. Outputs: the permutation. Up to ``ranks_limit`` elements every permutation is
    equally likely; beyond, it is one of 2**64 for each seed that look as if drawn among all.
    """
    dtype = dtypes.int32 if n < 2**31 else dtypes.int64
    outputs = [((n,), dtype)]
    if n == 0:
        return Plan(device, [], outputs, 0)
    if n > ranks_limit:
        steps = [_permutation_step(device, name, "feistel", n, dtype)]
        return Plan(device, steps, outputs, 0)
    steps = [_permutation_step(device, name, method, n, dtype) for method in ("keys", "ranks")]
    return Plan(device, steps, outputs, 0, scratch=[8 * n])


def _permutation_step(device: Device, name: str, method: str, n: int, dtype: np.dtype) -> Step:
    signature = Signature(layout.needs_long((n,), []))
    if method != "keys":
        signature.array("y", dtype, Out(0))
    if method != "feistel":
        signature.array("keys", dtypes.int64, Scratch(0))
    if method != "ranks":
        _scalars(signature)
    signature.fixed("n", n)
    if method == "feistel":
        left = math.isqrt(n - 1) + 1
        signature.fixed("left_size", left)
        signature.fixed("right_size", -(-n // left))
    name = f"{name}_{method}"
    source = template.render(
        "permutation", name=name, method=method, shape=device.kind, signature=signature, storage=dtype
    )
    work = {"keys": 16, "ranks": n, "feistel": 128}[method]
    return Step(name, source, *ranges(device, n, n * work), signature.args)


def plan_multinomial(
    device: Device, name: str, shape: Sequence[int], samples: int, probabilities: np.dtype, dtype: np.dtype
) -> Plan:
    """Plan classes drawn with the probabilities in rows, which need not sum to 1.

    Inputs: x, rows of probabilities. Scalars: seed, call. Outputs: classes, ``samples`` for each row. A
    row in which nothing is above 0 gives class 0.

    Parameters
    ----------
    shape : sequence of int
        Rows and classes.
    """
    rows, classes = shape
    outputs = [((rows, samples), dtype)]
    if rows * samples == 0:
        return Plan(device, [], outputs, 1)
    chunk = 1 << (max(1, classes - 1).bit_length() // 2)
    chunks = -(-classes // chunk)
    compute = dtypes.compute_type(probabilities)
    steps = []
    for method, count in (("sums", rows * chunks), ("draw", rows * samples)):
        signature = Signature(layout.needs_long((max(rows * classes, rows * samples),), []))
        signature.array("x", probabilities, In(0))
        signature.array("sums", compute, Scratch(0))
        if method == "draw":
            signature.array("y", dtype, Out(0))
            _scalars(signature)
            signature.fixed("elements", count)
            signature.fixed("samples", samples)
        else:
            signature.fixed("rows", rows)
        for size, value in (("classes", classes), ("chunk", chunk), ("chunks", chunks)):
            signature.fixed(size, value)
        source = template.render(
            "multinomial",
            name=f"{name}_{method}",
            method=method,
            shape=device.kind,
            signature=signature,
            probabilities=probabilities,
            storage=dtype,
        )
        sizes = ranges(device, count, count * 2 * chunk)
        steps.append(Step(f"{name}_{method}", source, *sizes, signature.args))
    return Plan(device, steps, outputs, 1, scratch=[rows * chunks * compute.itemsize])
