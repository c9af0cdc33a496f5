"""Matrix products on CPUs: tilings and launches of templates/matmul_{cpu,pack,dot}.cl.mako."""

from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import template, tuning
from clgrad.kernels.launch import Step
from clgrad.kernels.parameters import MatmulCpu
from clgrad.kernels.product import (
    Product,
    Roles,
    Strided,
    ceil_div,
    declare_result,
    description,
    index_wide,
    new_scratch,
    partial,
    sum_step,
)
from clgrad.kernels.signature import Signature

#: Panels of A up to which B is read in place for each of them, rather than packed for all: 1.1 to 1.3 times
#: as fast at Intel's runtime, the same at PoCL; from 5 on it depends.
_DIRECT_PANELS = 4
#: Depth from which on, and columns up to which, a product of operands that lie across k is transposed if it
#: has twice as many rows as columns: 1.1 to 1.9 times as fast, outside of that up to 1.2 times as slow.
_DEEP, _NARROW = 1024, 256
#: Columns of A that a work-item of the packing kernel takes.
_PACK_DEPTH = 64


@dataclass(frozen=True)
class CpuTiling:
    """Tunables of templates/matmul_cpu.cl.mako; their meaning is explained there."""

    lanes: int
    rows: int
    vectors: int
    depth: int
    chunk: int
    splits: int
    span: int
    packed_a: bool
    direct_b: bool

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.lanes * self.vectors


def _power_of_two(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def _depth(k: int, wanted: int) -> int:
    """Depth of the blocks that k is cut into: about what is wanted, equal, of few different values."""
    if k <= 64:
        return max(_power_of_two(k), 16)
    blocks = max(1, round(k / wanted))
    return ceil_div(ceil_div(k, blocks), 64) * 64


def accumulators(device: Device) -> int:
    """How many vectors of sums a kernel may keep in registers."""
    return tuning.of(device, MatmulCpu).accumulators


def register_tile(device: Device, compute: np.dtype, m: int, n: int) -> tuple[int, int, int]:
    """Lanes, vectors and rows of the register tile."""
    tuned = tuning.of(device, MatmulCpu)
    lanes = min(tuned.vector_bytes // compute.itemsize, 16)
    accumulators = tuned.accumulators
    widest = tuned.vectors if m > accumulators // 4 else max(4, tuned.vectors)
    if m == 1 and n >= 2048:  # long contiguous pieces of B's rows, for the prefetcher
        widest = 8
    vectors = min(ceil_div(n, lanes), widest)
    most_rows = accumulators // vectors
    rows = ceil_div(m, ceil_div(m, most_rows))
    return lanes, vectors, rows


def _padded_area(device: Device, product: Product) -> int:
    """Elements of C that are computed, those beyond its edges included."""
    compute = dtypes.compute_type(product.dtype)
    lanes, vectors, rows = register_tile(device, compute, product.m, product.n)
    width = lanes * vectors
    return ceil_div(product.m, rows) * rows * ceil_div(product.n, width) * width


def better_swapped(device: Device, product: Product) -> bool:
    """Whether transpose(C) is made faster.

    It may waste fewer elements beyond the edges of the register tiles. And gradients of weights read both
    operands along k, across their rows: there the larger one is better packed panel by panel, once.
    """
    if device.kind != "cpu" or not isinstance(product.b, Strided):
        return False
    deep = product.k >= _DEEP and product.m >= 2 * product.n and product.n <= _NARROW
    if deep and product.a.unit == "row" and product.b.unit == "column":
        return True
    return _padded_area(device, product.swapped) < 0.7 * _padded_area(device, product)


def _cpu_tiling(device: Device, product: Product) -> CpuTiling:
    m, n, k = product.m, product.n, product.k
    tuned = tuning.of(device, MatmulCpu)
    compute = dtypes.compute_type(product.dtype)
    lanes, vectors, rows = register_tile(device, compute, m, n)
    width = lanes * vectors
    row_bytes = width * compute.itemsize
    local_rows = device.capabilities.local_memory // row_bytes  # of panel and sums together
    depth = min(_depth(k, tuned.depth), max(local_rows // 2 // lanes * lanes, lanes))
    blocked = k > depth
    row_panels = ceil_div(m, rows)
    most_panels = max(min(local_rows - depth, tuned.chunk) // rows, 1) if blocked else row_panels
    items = ceil_div(n, width) * product.batch
    wanted = tuned.items_per_unit * device.capabilities.compute_units
    # Too few panels for the cores: cut k, which costs a sum, rather than m, which packs B again.
    splits = max(1, min(ceil_div(wanted, items), k // 1024))
    chunks = min(ceil_div(wanted, items * splits), max(row_panels // 4, 1))
    chunk_panels = ceil_div(row_panels, max(chunks, ceil_div(row_panels, most_panels)))
    packed_a = not product.a.plain or (ceil_div(n, width) >= tuned.pack_panels and m * k > 1 << 15)
    direct_b = product.b.unit == "column" and chunk_panels <= _DIRECT_PANELS
    # Positions of a window cost time to find: do it once for many groups, if there is work for all.
    items *= ceil_div(row_panels, chunk_panels)
    shared = product.b.kind == "window" and splits == 1
    span = max(1, min(product.batch, items // (4 * wanted))) if shared else 1
    return CpuTiling(lanes, rows, vectors, depth, chunk_panels * rows, splits, span, packed_a, direct_b)


def add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    """Append the launches of a product, and the bytes of the temporary memory that they need."""
    tiling = _cpu_tiling(device, product)
    if _few_inner_products(product, tiling.lanes):
        steps.append(_dot_step(device, name, product, roles, tiling.lanes))
        return
    if tiling.packed_a:
        elements = product.batch * _packed_elements(product, tiling)
        itemsize = dtypes.compute_type(product.dtype).itemsize
        roles["packed"] = new_scratch(scratch, elements * itemsize)
        steps.append(pack_step(device, name, product, roles, tiling.rows))
    final = product
    if tiling.splits > 1:
        product, roles["partial"] = partial(product, tiling.splits, scratch)
    steps.append(_cpu_step(device, name, product, roles, tiling))
    if tiling.splits > 1:
        steps.append(sum_step(name, final, roles, tiling.splits, 1))


def _few_inner_products(product: Product, lanes: int) -> bool:
    """Whether B is used so few times that packing it would cost more than the product."""
    contiguous = product.a.unit == "column" and product.b.unit == "row"
    return contiguous and product.m <= 4 and product.k >= 2 * lanes


def _dot_step(device: Device, name: str, product: Product, roles: Roles, lanes: int) -> Step:
    items = 8 * device.capabilities.compute_units
    share = ceil_div(ceil_div(product.n, items), 4) * 4
    signature = Signature(index_wide(product))
    signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    declare_result(signature, product, roles, product.dtype)
    for key, value in (("n", product.n), ("k", product.k), ("share", share)):
        signature.fixed(key, value)
    for prefix, operand in (("a", product.a), ("b", product.b), ("c", product.c)):
        for key, value in operand.parameters(prefix):
            signature.fixed(key, value)
    source = template.render(
        "matmul_dot",
        name=name, signature=signature, m=product.m, lanes=lanes, result=product.dtype,
        **description(product),
    )  # fmt: skip
    groups = (ceil_div(product.n, share), product.batch, 1)
    return Step(name, source, groups, (1, 1, 1), signature.args, product.flops)


def _packed_elements(product: Product, tiling: CpuTiling) -> int:
    """Elements of one packed A, its last panel filled up."""
    return ceil_div(product.m, tiling.rows) * tiling.rows * product.k


def pack_step(device: Device, name: str, product: Product, roles: Roles, rows: int) -> Step:
    """The launch that packs A in panels of ``rows`` rows."""
    compute = dtypes.compute_type(product.dtype)
    panels = ceil_div(product.m, rows)
    blocks = ceil_div(product.k, _PACK_DEPTH)
    wanted = 4 * device.capabilities.compute_units
    span = ceil_div(panels, min(panels, ceil_div(wanted, blocks * product.batch)))
    signature = Signature(index_wide(product))
    signature.array("a", product.dtype, roles["a"])
    signature.array("packed", compute, roles["packed"])
    for key in ("m", "k"):
        signature.fixed(key, getattr(product, key))
    signature.fixed("depth", _PACK_DEPTH)
    signature.fixed("span", span)
    for key, value in product.a.parameters("a"):
        signature.fixed(key, value)
    source = template.render(
        "matmul_pack",
        name=f"{name}_pack", signature=signature, rows=rows, **description(product),
    )  # fmt: skip
    groups = (ceil_div(panels, span), blocks, product.batch)
    return Step(f"{name}_pack", source, groups, (1, 1, 1), signature.args)


def _cpu_step(device: Device, name: str, product: Product, roles: Roles, tiling: CpuTiling) -> Step:
    compute = dtypes.compute_type(product.dtype)
    split = tiling.splits > 1
    split_depth = ceil_div(product.k, tiling.splits)
    blocked = split_depth > tiling.depth
    result = compute if split else product.dtype
    signature = Signature(index_wide(product))
    if tiling.packed_a:
        signature.array("a", compute, roles["packed"])
    else:
        signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    declare_result(signature, product, roles, result, "partial" if split else "c")
    for key in ("m", "n", "k"):
        signature.fixed(key, getattr(product, key))
    signature.fixed("chunk", tiling.chunk)
    if tiling.packed_a:
        signature.fixed("a_matrix", _packed_elements(product, tiling))
    if split:
        signature.fixed("splits", tiling.splits)
        signature.fixed("split_depth", split_depth)
    else:
        signature.fixed("batches", product.batch)
        signature.fixed("span", tiling.span)
    operands = [("b", product.b), ("c", product.c)]
    operands += [] if tiling.packed_a else [("a", product.a)]
    for prefix, operand in operands:
        for key, value in operand.parameters(prefix):
            signature.fixed(key, value)
    source = template.render(
        "matmul_cpu",
        name=name, signature=signature, result=result, **description(product, tiling.lanes),
        lanes=tiling.lanes, rows=tiling.rows, vectors=tiling.vectors, depth=tiling.depth,
        most_rows=tiling.chunk if blocked else 0, packed_a=tiling.packed_a,
        direct_b=tiling.direct_b, split=split, blocked=blocked,
    )  # fmt: skip
    groups = (
        ceil_div(product.n, tiling.width),
        ceil_div(product.m, tiling.chunk),
        ceil_div(product.batch, tiling.span) * tiling.splits,
    )
    return Step(name, source, groups, (1, 1, 1), signature.args, product.flops)
