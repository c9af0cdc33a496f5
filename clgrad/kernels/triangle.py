"""Planners that take triangles of matrices apart to vectors, and put them together again."""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import template
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature


def side(elements: int) -> int | None:
    """Rows of the triangle that has so many elements, if there is one."""
    rows = (math.isqrt(8 * elements + 1) - 1) // 2
    return rows if rows * (rows + 1) // 2 == elements else None


def plan_pack(
    device: Device, name: str, shape: Sequence[int], dtype: np.dtype, offset: int, lower: bool
) -> Plan:
    """Plan the vectors of the triangles of matrices of ``shape``, from diagonal ``offset`` on."""
    size = shape[-1] - abs(offset)
    result = (*shape[:-2], size * (size + 1) // 2)
    batch = math.prod(shape[:-2])
    return _plan(device, name, dtype, batch, size, offset, lower, result, pack=True)


def plan_unpack(
    device: Device, name: str, shape: Sequence[int], dtype: np.dtype, offset: int, lower: bool
) -> Plan:
    """Plan the matrices that have the vectors of ``shape`` as triangles, and zeros elsewhere."""
    size = side(shape[-1])
    assert size is not None, "no triangle has so many elements"
    n = size + abs(offset)
    return _plan(
        device, name, dtype, math.prod(shape[:-1]), size, offset, lower, (*shape[:-1], n, n), pack=False
    )


def _plan(device, name, dtype, batch, size, offset, lower, result, *, pack: bool) -> Plan:
    n = size + abs(offset)
    outputs = [(result, dtype)]
    if math.prod(result) == 0:
        return Plan(device, [], outputs, 1)
    signature = Signature(batch * n * n >= 1 << 31)
    signature.array("x", dtype, In(0))
    signature.array("y", dtype, Out(0))
    signature.sizes(batch=batch, n=n, size=size, top=max(-offset, 0), left=max(offset, 0))
    source = template.render(
        "triangle",
        name=name,
        signature=signature,
        T=dtypes.c_type(dtype),
        pack=pack,
        lower=lower,
    )
    step = Step(name, source, *ranges(device, batch * n, batch * n * n), signature.args)
    return Plan(device, [step], outputs, 1)
