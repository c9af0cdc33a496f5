"""Planners of random numbers: Philox4x32-10, a counter-based generator.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: "Parallel random numbers: as easy as 1, 2, 3",
SC'11. The generator is a function of a key and a counter, without state. Here the key is the seed,
and the counter is (number of the block of elements, number of the call), 64 bits each: what an
element gets depends on the seed, the call and its position alone, not on the device, the work-group
size or the vector width. Each block holds four 32-bit words.

Every plan takes the seed and the number of the call as its first two scalars, as int64 whose bits
count as unsigned (:func:`as_scalar`). Two runs with the same seed and call give the same words, so
count the calls. Integers and uniform numbers are the same on all devices to the last bit; normal
numbers to the accuracy of the device's log, sqrt, sinpi and cospi.
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.access import vector_width
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature


def as_scalar(number: int) -> int:
    """A seed or a call count (its lowest 64 bits) as the int64 that plans take.

    Example
    -------
    >>> as_scalar(2**64 - 1)
    -1
    """
    return (number + 2**63) % 2**64 - 2**63


def plan_bits(device: Device, name: str, shape: Sequence[int]) -> Plan:
    """Plan random integers, uniform over 0 to 2**32 - 1, stored as int64.

    Scalars: seed, call. Outputs: the integers; element e is word e % 4 of block e // 4.
    """
    return _plan(device, name, "bits", shape, dtypes.int64, ())


def plan_uniform(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan random numbers, uniform over [low, high): high itself never comes.

    Scalars: seed, call, low, high (low < high). Outputs: the numbers, from the highest 24 bits of a
    word for float32 and float16 (which is rounded down), from 53 bits of two words for float64.
    """
    return _plan(device, name, "uniform", shape, dtype, ("low", "high"))


def plan_normal(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan normally distributed random numbers; before ``loc`` and ``scale``, all are below 9.

    Scalars: seed, call, loc, scale. Outputs: the numbers, in pairs from two uniform ones of the
    same block by the transform of G. E. P. Box and M. E. Muller (1958).
    """
    return _plan(device, name, "normal", shape, dtype, ("loc", "scale"))


def plan_mask(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan a dropout mask: 1 / keep with probability ``keep``, else 0.

    Scalars: seed, call, keep. Outputs: the mask.
    """
    return _plan(device, name, "mask", shape, dtype, ("keep",))


def plan_dropout(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan dropout in one launch.

    Inputs: x. Scalars: seed, call, keep. Outputs: y = x * mask, and the mask that :func:`plan_mask`
    gives for the same scalars. What is dropped of infinity or NaN is NaN, as in the product.
    """
    return _plan(device, name, "dropout", shape, dtype, ("keep",))


def _plan(
    device: Device,
    name: str,
    distribution: str,
    shape: Sequence[int],
    dtype: np.dtype,
    scalars: Sequence[str],
) -> Plan:
    shape, elements = tuple(shape), math.prod(shape)
    dropout = distribution == "dropout"
    outputs = [(shape, dtype)] * (2 if dropout else 1)
    if elements == 0:
        return Plan(device, [], outputs, inputs=int(dropout))
    signature = Signature(layout.needs_long((elements,), []))
    if dropout:
        signature.array("x", dtype, In(0))
        signature.array("y", dtype, Out(0))
    signature.array("random", dtype, Out(int(dropout)))
    for slot, scalar in enumerate(("seed", "call", *scalars)):
        signature.scalar(scalar, slot, dtypes.int64 if slot < 2 else dtype)
    signature.fixed("elements", elements)
    # One vector holds the same word of many blocks: on a CPU of as many as fill a register.
    width = vector_width(device.capabilities.vector_bytes, [dtype]) if device.kind == "cpu" else 1
    per_block = 2 if dtype == dtypes.float64 else 4
    source = template.render(
        "random",
        name=name,
        distribution=distribution,
        shape=device.kind,
        signature=signature,
        storage=dtype,
        width=width,
        per_block=per_block,
    )
    groups = -(-elements // (per_block * width))
    sizes = ranges(device, groups, elements)
    return Plan(device, [Step(name, source, *sizes, signature.args)], outputs, inputs=int(dropout))
