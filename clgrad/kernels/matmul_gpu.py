"""Matrix products on GPUs: tilings and launches of templates/matmul_gpu.cl.mako, and of kernels like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import template, tuning
from clgrad.kernels.launch import Step
from clgrad.kernels.parameters import MatmulGpu
from clgrad.kernels.product import (
    Product,
    Roles,
    ceil_div,
    declare_result,
    description,
    index_wide,
    partial,
    sum_step,
)
from clgrad.kernels.signature import Signature


class Tiling(Protocol):
    """Parameters of a kernel whose work-groups each compute a tile of C."""

    @property
    def tile_m(self) -> int:
        """Rows of a tile."""

    @property
    def tile_n(self) -> int:
        """Columns of a tile."""

    @property
    def group(self) -> int:
        """Work-items of a work-group."""


T = TypeVar("T", bound=Tiling)


@dataclass(frozen=True)
class Kernel:
    """A template for a tiling, with its own parameters; ``depth`` is what it takes of k at a time."""

    template: str
    tiling: Tiling
    depth: int
    parameters: Mapping[str, object]


def _tiles(tiling: Tiling, product: Product) -> int:
    """Work-groups that the product makes."""
    return product.batch * ceil_div(product.m, tiling.tile_m) * ceil_div(product.n, tiling.tile_n)


def from_first(first: T, ladder: Sequence[T]) -> list[T]:
    """The first tiling, then those of the others that are no larger."""
    area = first.tile_m * first.tile_n
    return [first, *(t for t in ladder if t.tile_m * t.tile_n <= area)]


def busy_tiling(device: Device, product: Product, tilings: Sequence[T], parts: int = 1) -> T:
    """The first of the tilings that keeps the device's compute units busy; the last one if none does.

    Each tile may be made by as many work-groups as the sum has ``parts``.
    """
    units = device.capabilities.compute_units
    return next((t for t in tilings if parts * _tiles(t, product) >= units), tilings[-1])


def add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    """Append the launches of a product, and the bytes of the temporary memory that they need."""
    capabilities = device.capabilities
    compute = dtypes.compute_type(product.dtype)
    first = tuning.of(device, MatmulGpu)
    fitting = [
        t
        for t in from_first(first, MatmulGpu.ladder())
        if t.group <= capabilities.max_work_group_size
        and t.local_bytes(compute.itemsize) <= capabilities.local_memory
    ]
    tiling = busy_tiling(device, product, fitting)
    kernel = Kernel(
        "matmul_gpu", tiling, 1,
        {
            "tile_m": tiling.tile_m, "tile_n": tiling.tile_n, "depth": tiling.depth,
            "item_m": tiling.item_m, "item_n": tiling.item_n,
            "fast_fma": capabilities.fast_fma and compute.kind == "f",
        },
    )  # fmt: skip
    add_tiled(device, name, product, roles, steps, scratch, kernel, first.groups_per_unit)


def add_tiled(
    device: Device,
    name: str,
    product: Product,
    roles: Roles,
    steps: list[Step],
    scratch: list[int],
    kernel: Kernel,
    groups_per_unit: int,
) -> None:
    """Append the launch of a kernel, or its launch on parts of k and that of their sum.

    k is split where that makes no more than ``groups_per_unit`` work-groups a compute unit.
    """
    wanted = groups_per_unit * device.capabilities.compute_units
    splits = max(1, min(wanted // _tiles(kernel.tiling, product), product.k // 256))
    depth = ceil_div(ceil_div(product.k, splits), kernel.depth) * kernel.depth
    if depth:
        splits = ceil_div(product.k, depth)
    final = product
    if splits > 1:
        product, roles["partial"] = partial(product, splits, scratch)
    steps.append(_tiled_step(name, product, roles, kernel, splits, depth))
    if splits > 1:
        group = min(64, device.capabilities.max_work_group_size)
        steps.append(sum_step(name, final, roles, splits, group))


def _tiled_step(name: str, product: Product, roles: Roles, kernel: Kernel, splits: int, depth: int) -> Step:
    tiling, split = kernel.tiling, splits > 1
    result = dtypes.compute_type(product.dtype) if split else product.dtype
    signature = Signature(index_wide(product))
    signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    declare_result(signature, product, roles, result, "partial" if split else "c")
    for key in ("m", "n", "k"):
        signature.fixed(key, getattr(product, key))
    if split:
        signature.fixed("splits", splits)
        signature.fixed("split_depth", depth)
    for prefix, operand in (("a", product.a), ("b", product.b), ("c", product.c)):
        for key, value in operand.parameters(prefix):
            signature.fixed(key, value)
    source = template.render(
        kernel.template,
        name=name, signature=signature, result=result, split=split, **description(product),
        **kernel.parameters,
    )  # fmt: skip
    global_size = (
        ceil_div(product.n, tiling.tile_n) * tiling.group,
        ceil_div(product.m, tiling.tile_m),
        product.batch * splits,
    )
    return Step(name, source, global_size, (tiling.group, 1, 1), signature.args, product.flops)
