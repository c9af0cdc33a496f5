"""Planner of matrix products, on virtual matrices: dot, batch_dot, FullyConnected and convolution.

One operation, ``C[batch, i, j] = sum_k A[batch, i, k] * B[batch, k, j] (+ bias)``, whose operands
need not lie in memory as matrices (see :mod:`clgrad.kernels.product`): ``Strided`` says how an index
becomes an element offset, and ``Window`` is im2col. The kernels are templates/matmul_*.cl.mako:

========  ========================================================================================
template  when
========  ========================================================================================
cpu       CPUs: register tiles from panels packed in the cache; A after ``pack`` if reused often
dot       CPUs: a few rows times a matrix that is contiguous along k, which is read once, in place
conv_*    CPUs: products of windows without im2col (conv_direct.py and conv_outer.py)
gpu       GPUs: register tiles from slabs in local memory
tensor    NVIDIA's GPUs: the same on tensor cores, of 16-bit numbers, and of tf32 where that is allowed
sum       second launch of a product whose sum was split to occupy all compute units
========  ========================================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clgrad.device import Device
from clgrad.kernels import conv_direct, conv_outer, matmul_cpu, matmul_gpu, matmul_tensor
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.product import (
    Product,
    Roles,
    matrix,
    partial,
    sum_step,
)


def plan_matmul(
    device: Device,
    name: str,
    dtype: np.dtype,
    m: int,
    n: int,
    k: int,
    *,
    batch: int = 1,
    transpose_a: bool = False,
    transpose_b: bool = False,
    a_batched: bool = True,
    b_batched: bool = True,
    bias: str | None = None,
    accumulate: bool = False,
    epilogue: Epilogue | None = None,
    out_shape: tuple[int, ...],
) -> Plan:
    """Plan C = op(A) op(B) (+ bias) of row-major matrices; inputs are A, B and, if any, bias.

    Parameters
    ----------
    device : Device
    name : str
        Name of the kernel.
    dtype : numpy.dtype
        Of all arrays.
    m, n, k : int
        op(A) is m by k, op(B) is k by n.
    batch : int
        Number of products.
    transpose_a, transpose_b : bool
        A is stored k by m; B is stored n by k.
    a_batched, b_batched : bool
        Whether there is a matrix for each product, or one for all.
    bias : {None, "row", "column"}
        Adds bias[i], or bias[j], to element (i, j).
    accumulate : bool
        Adds to what the output holds, which the caller then passes to ``Plan.run``.
    epilogue : Epilogue, optional
        What to store instead; its arrays are further inputs, its values the outputs.
    out_shape : tuple of int
        Shape of the output, of batch * m * n elements.
    """
    product = Product(
        dtype, m, n, k, batch,
        a=matrix(m, k, transpose_a, batch if a_batched else 1),
        b=matrix(k, n, transpose_b, batch if b_batched else 1),
        c=matrix(m, n, False, batch),
        bias=bias,
        accumulate=accumulate,
        epilogue=epilogue,
    )  # fmt: skip
    return plan_product(device, name, product, out_shape)


@dataclass(frozen=True, eq=False)
class Formula:
    """What a plan computes, for those who plan it with other operands, or with an epilogue.

    Operands A and B are the inputs ``a`` and ``b``.
    """

    name: str
    product: Product
    out_shape: tuple[int, ...]
    a: int
    b: int

    def plan(self, device: Device, product: Product) -> Plan:
        """The same of another product."""
        return plan_product(device, self.name, product, self.out_shape, self.a, self.b)


def plan_product(
    device: Device, name: str, product: Product, out_shape: tuple[int, ...], a: int = 0, b: int = 1
) -> Plan:
    """Plan one product; inputs are A and B, at ``a`` and ``b``, bias if any, and the epilogue's arrays."""
    roles: Roles = {"a": In(a), "b": In(b), "bias": In(2), "c": Out(0)}
    inputs, outputs = 3 if product.bias else 2, 1
    if product.epilogue is not None:
        roles |= product.epilogue.roles(inputs)
        inputs, outputs = inputs + len(product.epilogue.arrays), len(product.epilogue.values)
    made = plan(device, name, [product], roles, [(out_shape, product.dtype)] * outputs, inputs)
    made.formula = Formula(name, product, out_shape, a, b)
    return made


def plan(
    device: Device,
    name: str,
    products: Sequence[Product],
    roles: Roles,
    outputs: Sequence[tuple[tuple[int, ...], np.dtype]],
    inputs: int,
) -> Plan:
    """Plan products that together make the outputs (several if a convolution has phases)."""
    steps: list[Step] = []
    scratch: list[int] = []
    finishes = len(products) == 1
    for product in products:
        if product.batch * product.m * product.n:
            finishes &= _add_steps(device, name, product, dict(roles), steps, scratch)
    made = Plan(device, steps, outputs, inputs, scratch)
    made.finishes = finishes
    return made


def plan_batch_sum(
    device: Device,
    name: str,
    product: Product,
    roles: Roles,
    outputs: Sequence[tuple[tuple[int, ...], np.dtype]],
    inputs: int,
) -> Plan:
    """Plan the sum over the batch, C = sum_b A[b] B[b], on a CPU: a C for each, which are then added.

    C has no batch, and its dtype is one that is computed in. It is made as it is, or transposed if it has
    more columns than rows: what is packed of B serves all rows.
    """
    roles, steps, scratch = dict(roles), list[Step](), list[int]()
    if product.n > product.m:
        product = product.swapped
        roles["a"], roles["b"] = roles["b"], roles["a"]
    parts, roles["partial"] = partial(product, 1, scratch)
    matmul_cpu.add_steps(device, name, parts, {**roles, "c": roles["partial"]}, steps, scratch)
    steps.append(sum_step(name, replace(product, batch=1), roles, product.batch, 1))
    return Plan(device, steps, outputs, inputs, scratch)


def _add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> bool:
    """Append the launches of a product; whether its kernel may have an epilogue."""
    if product.k == 0:  # an empty sum: the operands are not read
        nothing = matrix(product.m, 0, False, 1)
        product = replace(product, a=nothing, b=matrix(0, product.n, False, 1))
    if matmul_cpu.better_swapped(device, product):
        product = product.swapped
        roles["a"], roles["b"] = roles["b"], roles["a"]
    for direct in (conv_direct, conv_outer):
        if direct.takes(device, product):
            assert product.epilogue is None, "the plan without one does not finish"
            direct.add_steps(device, name, product, roles, steps, scratch)
            return False
    if matmul_tensor.takes(device, product):
        matmul_tensor.add_steps(device, name, product, roles, steps, scratch)
    elif device.kind == "cpu":
        matmul_cpu.add_steps(device, name, product, roles, steps, scratch)
    else:
        matmul_gpu.add_steps(device, name, product, roles, steps, scratch)
    return True
