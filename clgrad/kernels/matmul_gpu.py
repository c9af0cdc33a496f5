"""Matrix products on GPUs: tilings and launches of templates/matmul_gpu.cl.mako."""

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import template, tuning
from clgrad.kernels.launch import Step
from clgrad.kernels.parameters import MatmulGpu
from clgrad.kernels.product import (
    Product,
    Roles,
    ceil_div,
    description,
    index_wide,
    partial,
    sum_step,
)
from clgrad.kernels.signature import Signature


def _tiles(tiling: MatmulGpu, product: Product) -> int:
    """Work-groups that the product makes."""
    return product.batch * ceil_div(product.m, tiling.tile_m) * ceil_div(product.n, tiling.tile_n)


def _gpu_tiling(device: Device, product: Product) -> MatmulGpu:
    """The largest tile that the device can hold and that keeps its compute units busy."""
    capabilities = device.capabilities
    itemsize = dtypes.compute_type(product.dtype).itemsize
    first = tuning.of(device, MatmulGpu)
    area = first.tile_m * first.tile_n
    smaller = [t for t in MatmulGpu.ladder() if t.tile_m * t.tile_n <= area]
    fitting = [
        t
        for t in (first, *smaller)
        if t.group <= capabilities.max_work_group_size
        and t.local_bytes(itemsize) <= capabilities.local_memory
    ]
    busy = (t for t in fitting if _tiles(t, product) >= capabilities.compute_units)
    return next(busy, fitting[-1])


def add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    """Append the launches of a product, and the bytes of the temporary memory that they need."""
    tiling = _gpu_tiling(device, product)
    wanted = tuning.of(device, MatmulGpu).groups_per_unit * device.capabilities.compute_units
    splits = max(1, min(wanted // _tiles(tiling, product), product.k // 256))
    final = product
    if splits > 1:
        product, roles["partial"] = partial(product, splits, scratch)
    steps.append(_gpu_step(device, name, product, roles, tiling, splits))
    if splits > 1:
        group = min(64, device.capabilities.max_work_group_size)
        steps.append(sum_step(name, final, roles, splits, group))


def _gpu_step(
    device: Device, name: str, product: Product, roles: Roles, tiling: MatmulGpu, splits: int
) -> Step:
    compute = dtypes.compute_type(product.dtype)
    split = splits > 1
    result = compute if split else product.dtype
    signature = Signature(index_wide(product))
    signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    if product.bias:
        signature.array("bias", product.dtype, roles["bias"])
        signature.fixed("bias_batch", product.bias_batch)
    signature.array("c", result, roles["partial"] if split else roles["c"])
    for key in ("m", "n", "k"):
        signature.fixed(key, getattr(product, key))
    if split:
        signature.fixed("splits", splits)
        signature.fixed("split_depth", ceil_div(product.k, splits))
    for prefix, operand in (("a", product.a), ("b", product.b), ("c", product.c)):
        for key, value in operand.parameters(prefix):
            signature.fixed(key, value)
    source = template.render(
        "matmul_gpu",
        name=name, signature=signature, result=result, split=split, **description(product),
        tile_m=tiling.tile_m, tile_n=tiling.tile_n, depth=tiling.depth, item_m=tiling.item_m,
        item_n=tiling.item_n, fast_fma=device.capabilities.fast_fma and compute.kind == "f",
    )  # fmt: skip
    global_size = (
        ceil_div(product.n, tiling.tile_n) * tiling.group,
        ceil_div(product.m, tiling.tile_m),
        product.batch * splits,
    )
    return Step(name, source, global_size, (tiling.group, 1, 1), signature.args)
