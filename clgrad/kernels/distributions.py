"""Planner of random numbers by samplers that draw from uniform numbers of each element's own.

What an element gets depends on the seed, the number of the call and its position, as in
:mod:`clgrad.kernels.random`; but here each element may draw any number of uniform numbers, and have
parameters of its own. Results are the same on all devices to the last bit (see the template for how).
"""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: The distributions, and their parameters in the order of the plan's inputs or scalars.
PARAMETERS = {
    "uniform": ("low", "high"),
    "normal": ("loc", "scale"),
    "exponential": ("lam",),
    "gamma": ("alpha", "beta"),
    "poisson": ("lam",),
    "negative_binomial": ("k", "p"),
    "generalized_negative_binomial": ("mu", "alpha"),
    "randint": ("low", "high"),
}
#: How many elements of an elementwise kernel take the time of one here.
_WEIGHT = 16


def plan(
    device: Device,
    name: str,
    distribution: str,
    shape: Sequence[int],
    dtype: np.dtype,
    parameters: Sequence[np.dtype] = (),
    samples: int = 1,
) -> Plan:
    """Plan random numbers of a distribution.

    Inputs: the parameters, if they are arrays; element e takes those at e // samples. Scalars: seed and
    call, as :func:`clgrad.kernels.random.as_scalar` gives them, then the parameters that are numbers
    (those of "randint" as int64, ``high`` modulo 2**64). Outputs: the numbers.

    Parameters
    ----------
    distribution : str
        A key of :data:`PARAMETERS`.
    dtype : numpy.dtype
        float16, bfloat16, float32 or float64; for "randint" int32 or int64.
    parameters : sequence of numpy.dtype
        Dtypes of the parameters where they are arrays; empty where they are numbers.
    samples : int
        Neighbouring elements that share their parameters.
    """
    shape, elements = tuple(shape), math.prod(shape)
    names = PARAMETERS[distribution]
    if elements == 0:
        return Plan(device, [], [(shape, dtype)], inputs=len(parameters))
    arrays = [(f"{n}_", d) for n, d in zip(names, parameters, strict=False)]
    signature = Signature(layout.needs_long((elements,), []))
    for slot, (array, own) in enumerate(arrays):
        signature.array(array, own, In(slot))
    signature.array("random", dtype, Out(0))
    signature.scalar("seed", 0, dtypes.int64)
    signature.scalar("call", 1, dtypes.int64)
    for slot, scalar in enumerate(() if arrays else names):
        signature.scalar(scalar, slot + 2, dtypes.int64 if dtype.kind == "i" else dtype)
    signature.fixed("elements", elements)
    if arrays:
        signature.fixed("samples", samples)
    source = template.render(
        "distributions",
        name=name,
        distribution=distribution,
        shape=device.kind,
        signature=signature,
        storage=dtype,
        parameters=arrays,
    )
    sizes = ranges(device, elements, elements * _WEIGHT)
    return Plan(device, [Step(name, source, *sizes, signature.args)], [(shape, dtype)], len(arrays))
