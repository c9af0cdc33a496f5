"""Planner of matrix products, on virtual matrices: dot, batch_dot, FullyConnected and convolution.

One operation, ``C[batch, i, j] = sum_k A[batch, i, k] * B[batch, k, j] (+ bias)``, whose operands
need not lie in memory as matrices: :class:`Strided` says how an index becomes an element offset,
and :class:`Window` is im2col. The kernels are templates/matmul_*.cl.mako:

========  ========================================================================================
template  when
========  ========================================================================================
cpu       CPUs: register tiles from panels packed in the cache; A after ``pack`` if reused often
dot       CPUs: a few rows times a matrix that is contiguous along k, which is read once, in place
gpu       GPUs: register tiles from slabs in local memory
sum       second launch of a product whose sum was split to occupy all compute units
========  ========================================================================================
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.signature import Signature


@dataclass(frozen=True)
class Axis:
    """Element offset of an index: the dot product of its mixed-radix digits with strides.

    Attributes
    ----------
    digits : tuple of (extent, stride)
        The fastest digit first. One digit is an ordinary stride.
    """

    digits: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, *digits: tuple[int, int]) -> "Axis":
        """An axis of (extent, stride) digits, slowest first as in shapes; merged if possible."""
        merged: list[tuple[int, int]] = []
        for extent, stride in reversed(digits):
            if extent == 1:
                continue
            if merged and stride == merged[-1][0] * merged[-1][1]:
                merged[-1] = (merged[-1][0] * extent, merged[-1][1])
            else:
                merged.append((extent, stride))
        return cls(tuple(merged) or ((1, 1),))

    @property
    def plain(self) -> bool:
        """Whether the offset is index * stride."""
        return len(self.digits) == 1

    @property
    def reach(self) -> int:
        """The largest offset."""
        return sum((extent - 1) * max(stride, 0) for extent, stride in self.digits)

    @property
    def unit(self) -> bool:
        """Whether neighbours are neighbours in memory (within the fastest digit)."""
        return self.digits[0][1] == 1

    def offset(self, prefix: str, index: str) -> str:
        """C expression of the offset of ``index``, in terms of :meth:`parameters`."""
        terms, rest = [], index
        for d in range(len(self.digits)):
            last = d == len(self.digits) - 1
            digit = rest if last else f"({rest}) % {prefix}_extent{d}"
            unit = d == 0 and self.unit
            terms.append(f"({digit})" if unit else f"({digit}) * {prefix}_stride{d}")
            rest = f"({rest}) / {prefix}_extent{d}"
        return f"({' + '.join(terms)})"

    def parameters(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and values of the kernel arguments that :meth:`offset` uses."""
        for d, (extent, stride) in enumerate(self.digits):
            yield f"{prefix}_stride{d}", stride
            if d < len(self.digits) - 1:
                yield f"{prefix}_extent{d}", extent


@dataclass(frozen=True)
class Strided:
    """A matrix whose element offset is base + batch(b) + row(i) + column(j)."""

    batch: Axis
    row: Axis
    column: Axis
    base: int = 0

    kind = "strided"
    transposed = False

    @property
    def plain(self) -> bool:
        """Whether rows and columns have one stride each."""
        return self.row.plain and self.column.plain

    @property
    def unit(self) -> str | None:
        """Which index of a plain matrix is contiguous: ``"column"``, ``"row"`` or none."""
        if self.plain and self.column.unit:
            return "column"
        return "row" if self.plain and self.row.unit else None

    @property
    def reach(self) -> int:
        """The largest element offset."""
        return self.base + self.batch.reach + self.row.reach + self.column.reach

    @property
    def swapped(self) -> "Strided":
        """The transposed matrix."""
        return replace(self, row=self.column, column=self.row)

    def parameters(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and values of the kernel arguments that describe the matrix."""
        yield f"{prefix}_base", self.base
        for axis in ("batch", "row", "column"):
            yield from getattr(self, axis).parameters(f"{prefix}_{axis}")


@dataclass(frozen=True)
class Window:
    """im2col of a tensor [image][channel][spatial...], zero outside the image.

    Rows count taps (channel, kernel position), columns count positions (image, output position);
    the other way round when ``transposed``. Along spatial axis ``d``, tap ``t`` at position ``o``
    sees coordinate ``o * scale[d] + origin[d] + t * step[d]``.
    """

    batch_stride: int
    image_stride: int
    channel_stride: int
    total: int
    size: tuple[int, ...]
    positions: tuple[int, ...]
    kernel: tuple[int, ...]
    scale: tuple[int, ...]
    origin: tuple[int, ...]
    step: tuple[int, ...]
    transposed: bool = False

    kind = "window"
    unit = None
    plain = False

    @property
    def reach(self) -> int:
        """The largest element offset, the rows beyond the edge included that loads shift by."""
        return 2 * self.total

    @property
    def bounded(self) -> tuple[int, ...]:
        """Spatial axes along which some tap of some position falls outside the image."""
        return tuple(d for d in range(len(self.size)) if self._leaves(d))

    def _leaves(self, d: int) -> bool:
        reach = (self.kernel[d] - 1) * self.step[d]
        first = self.origin[d]
        last = first + (self.positions[d] - 1) * self.scale[d]
        return first + min(reach, 0) < 0 or last + max(reach, 0) >= self.size[d]

    @property
    def masked(self) -> bool:
        """Whether masks of the taps that fall outside are worth a table (they fit the cache)."""
        return sum(self.kernel[d] for d in self.bounded) <= 64

    def parameters(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and values of the kernel arguments that describe the tensor."""
        yield f"{prefix}_batch_stride", self.batch_stride
        yield f"{prefix}_image_stride", self.image_stride
        yield f"{prefix}_channel_stride", self.channel_stride
        yield f"{prefix}_total", self.total
        for d, (size, positions) in enumerate(zip(self.size, self.positions, strict=True)):
            yield f"{prefix}_size{d}", size
            yield f"{prefix}_positions{d}", positions


@dataclass(frozen=True)
class Product:
    """A product to plan. ``bias`` is ``"row"`` (bias[i]), ``"column"`` (bias[j]) or None."""

    dtype: np.dtype
    m: int
    n: int
    k: int
    batch: int
    a: Strided
    b: Strided | Window
    c: Strided
    bias: str | None = None
    bias_batch: int = 0
    accumulate: bool = False

    @property
    def swapped(self) -> "Product":
        """The same product computed as transpose(C) = transpose(B) transpose(A)."""
        assert isinstance(self.b, Strided)
        other = {"row": "column", "column": "row", None: None}[self.bias]
        a, b, c = self.b.swapped, self.a.swapped, self.c.swapped
        return replace(self, m=self.n, n=self.m, a=a, b=b, c=c, bias=other)


#: Operands of a product among a plan's arguments, by the kernels' names for them.
Roles = dict[str, In | Out | Scratch]


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
    out_shape : tuple of int
        Shape of the output, of batch * m * n elements.
    """
    product = Product(
        dtype, m, n, k, batch,
        a=_matrix(m, k, transpose_a, batch if a_batched else 1),
        b=_matrix(k, n, transpose_b, batch if b_batched else 1),
        c=_matrix(m, n, False, batch),
        bias=bias,
        accumulate=accumulate,
    )  # fmt: skip
    roles: Roles = {"a": In(0), "b": In(1), "bias": In(2), "c": Out(0)}
    return plan(device, name, [product], roles, [(out_shape, dtype)], inputs=3 if bias else 2)


def _matrix(rows: int, columns: int, transposed: bool, batch: int) -> Strided:
    row, column = (1, rows) if transposed else (columns, 1)
    return Strided(
        batch=Axis.of((batch, rows * columns)) if batch > 1 else Axis(((1, 0),)),
        row=Axis.of((rows, row)),
        column=Axis.of((columns, column)),
    )


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
    for product in products:
        if product.batch * product.m * product.n:
            _add_steps(device, name, product, dict(roles), steps, scratch)
    return Plan(device, steps, outputs, inputs, scratch)


def _add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    if product.k == 0:  # an empty sum: the operands are not read
        nothing = _matrix(product.m, 0, False, 1)
        product = replace(product, a=nothing, b=_matrix(0, product.n, False, 1))
    if _better_swapped(device, product):
        product = product.swapped
        roles["a"], roles["b"] = roles["b"], roles["a"]
    add = _add_cpu_steps if device.kind == "cpu" else _add_gpu_steps
    add(device, name, product, roles, steps, scratch)


def _index_wide(product: Product, splits: int = 1) -> bool:
    """Whether some element offset, of the packed and partial matrices too, needs 64 bits."""
    m, n, k = (_ceil_div(x, 128) * 128 for x in (product.m, product.n, product.k))
    operands = (product.a, product.b, product.c)
    largest = max(*(x.reach for x in operands), product.batch * max(m * k, m * n * splits))
    return largest >= 1 << 31


# ---- CPU -----------------------------------------------------------------------------------------

#: Accumulator vectors that fit the register file beside the operands, by vector width in bytes.
_ACCUMULATORS = {64: 24, 32: 12, 16: 12}


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


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _power_of_two(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def _depth(k: int) -> int:
    """Depth of the blocks that k is cut into: some 512, about equal, of few different values."""
    if k <= 64:
        return max(_power_of_two(k), 16)
    blocks = max(1, round(k / 512))
    return _ceil_div(_ceil_div(k, blocks), 64) * 64


def _tile(device: Device, compute: np.dtype, m: int, n: int) -> tuple[int, int, int]:
    """Lanes, vectors and rows of the register tile."""
    vector_bytes = device.capabilities.vector_bytes
    lanes = min(vector_bytes // compute.itemsize, 16)
    accumulators = _ACCUMULATORS[vector_bytes]
    widest = 2 if m > accumulators // 4 else 4
    if m == 1 and n >= 2048:  # long contiguous pieces of B's rows, for the prefetcher
        widest = 8
    vectors = min(_ceil_div(n, lanes), widest)
    most_rows = accumulators // vectors
    rows = _ceil_div(m, _ceil_div(m, most_rows))
    return lanes, vectors, rows


def _padded_area(device: Device, product: Product) -> int:
    """Elements of C that are computed, those beyond its edges included."""
    compute = dtypes.compute_type(product.dtype)
    lanes, vectors, rows = _tile(device, compute, product.m, product.n)
    width = lanes * vectors
    return _ceil_div(product.m, rows) * rows * _ceil_div(product.n, width) * width


def _better_swapped(device: Device, product: Product) -> bool:
    if device.kind != "cpu" or not isinstance(product.b, Strided):
        return False
    return _padded_area(device, product.swapped) < 0.7 * _padded_area(device, product)


def _cpu_tiling(device: Device, product: Product) -> CpuTiling:
    m, n, k = product.m, product.n, product.k
    compute = dtypes.compute_type(product.dtype)
    lanes, vectors, rows = _tile(device, compute, m, n)
    width = lanes * vectors
    row_bytes = width * compute.itemsize
    local_rows = device.capabilities.local_memory // row_bytes  # of panel and sums together
    depth = min(_depth(k), max(local_rows // 2 // lanes * lanes, lanes))
    blocked = k > depth
    row_panels = _ceil_div(m, rows)
    most_panels = max(min(local_rows - depth, 768) // rows, 1) if blocked else row_panels
    items = _ceil_div(n, width) * product.batch
    wanted = 4 * device.capabilities.compute_units
    # Too few panels for the cores: cut k, which costs a sum, rather than m, which packs B again.
    splits = max(1, min(_ceil_div(wanted, items), k // 1024))
    chunks = min(_ceil_div(wanted, items * splits), max(row_panels // 4, 1))
    chunk_panels = _ceil_div(row_panels, max(chunks, _ceil_div(row_panels, most_panels)))
    packed_a = not product.a.plain or (_ceil_div(n, width) >= 8 and m * k >= 1 << 15)
    direct_b = product.b.unit == "column" and chunk_panels <= 2
    # Positions of a window cost time to find: do it once for many groups, if there is work for all.
    items *= _ceil_div(row_panels, chunk_panels)
    shared = product.b.kind == "window" and splits == 1
    span = max(1, min(product.batch, items // (4 * wanted))) if shared else 1
    return CpuTiling(
        lanes, rows, vectors, depth, chunk_panels * rows, splits, span, packed_a, direct_b
    )


def _add_cpu_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    tiling = _cpu_tiling(device, product)
    if _few_inner_products(product, tiling.lanes):
        steps.append(_dot_step(device, name, product, roles, tiling.lanes))
        return
    if tiling.packed_a:
        elements = product.batch * _packed_elements(product, tiling)
        itemsize = dtypes.compute_type(product.dtype).itemsize
        roles["packed"] = _new_scratch(scratch, elements * itemsize)
        steps.append(_pack_step(device, name, product, roles, tiling))
    final = product
    if tiling.splits > 1:
        product, roles["partial"] = _partial(product, tiling.splits, scratch)
    steps.append(_cpu_step(device, name, product, roles, tiling))
    if tiling.splits > 1:
        steps.append(_sum_step(name, final, roles, tiling.splits, 1))


def _few_inner_products(product: Product, lanes: int) -> bool:
    """Whether B is used so few times that packing it would cost more than the product."""
    contiguous = product.a.unit == "column" and product.b.unit == "row"
    return contiguous and product.m <= 4 and product.k >= 2 * lanes


def _dot_step(device: Device, name: str, product: Product, roles: Roles, lanes: int) -> Step:
    items = 8 * device.capabilities.compute_units
    share = _ceil_div(_ceil_div(product.n, items), 4) * 4
    signature = Signature(_index_wide(product))
    signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    if product.bias:
        signature.array("bias", product.dtype, roles["bias"])
        signature.fixed("bias_batch", product.bias_batch)
    signature.array("c", product.dtype, roles["c"])
    for key, value in (("n", product.n), ("k", product.k), ("share", share)):
        signature.fixed(key, value)
    for prefix, operand in (("a", product.a), ("b", product.b), ("c", product.c)):
        for key, value in operand.parameters(prefix):
            signature.fixed(key, value)
    source = template.render(
        "matmul_dot",
        name=name, signature=signature, m=product.m, lanes=lanes, **_description(product),
    )  # fmt: skip
    groups = (_ceil_div(product.n, share), product.batch, 1)
    return Step(name, source, groups, (1, 1, 1), signature.args)


def _description(product: Product) -> dict[str, object]:
    """Template parameters that all the kernels share; T and M are the compute and the mask type."""
    compute = dtypes.compute_type(product.dtype)
    return {
        "storage": product.dtype,
        "compute": compute,
        "T": dtypes.c_type(compute),
        "M": dtypes.c_type(np.dtype(f"int{8 * compute.itemsize}")),
        "a": product.a,
        "b": product.b,
        "c": product.c,
        "bias": product.bias,
        "accumulate": product.accumulate,
    }


def _packed_elements(product: Product, tiling: CpuTiling) -> int:
    """Elements of one packed A, its last panel filled up."""
    return _ceil_div(product.m, tiling.rows) * tiling.rows * product.k


def _new_scratch(scratch: list[int], nbytes: int) -> Scratch:
    scratch.append(max(nbytes, 1))
    return Scratch(len(scratch) - 1)


def _partial(product: Product, splits: int, scratch: list[int]) -> tuple[Product, Scratch]:
    """The product that writes one C for each split of k, in the compute type."""
    compute = dtypes.compute_type(product.dtype)
    area = product.m * product.n
    role = _new_scratch(scratch, product.batch * splits * area * compute.itemsize)
    c = _matrix(product.m, product.n, False, product.batch * splits)
    return replace(product, c=c, bias=None, accumulate=False), role


def _pack_step(
    device: Device, name: str, product: Product, roles: Roles, tiling: CpuTiling
) -> Step:
    compute = dtypes.compute_type(product.dtype)
    panels = _ceil_div(product.m, tiling.rows)
    blocks = _ceil_div(product.k, _PACK_DEPTH)
    wanted = 4 * device.capabilities.compute_units
    span = _ceil_div(panels, min(panels, _ceil_div(wanted, blocks * product.batch)))
    signature = Signature(_index_wide(product))
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
        name=f"{name}_pack", signature=signature, rows=tiling.rows, **_description(product),
    )  # fmt: skip
    groups = (_ceil_div(panels, span), blocks, product.batch)
    return Step(f"{name}_pack", source, groups, (1, 1, 1), signature.args)


def _cpu_step(device: Device, name: str, product: Product, roles: Roles, tiling: CpuTiling) -> Step:
    compute = dtypes.compute_type(product.dtype)
    split = tiling.splits > 1
    split_depth = _ceil_div(product.k, tiling.splits)
    blocked = split_depth > tiling.depth
    result = compute if split else product.dtype
    signature = Signature(_index_wide(product))
    if tiling.packed_a:
        signature.array("a", compute, roles["packed"])
    else:
        signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    if product.bias:
        signature.array("bias", product.dtype, roles["bias"])
        signature.fixed("bias_batch", product.bias_batch)
    signature.array("c", result, roles["partial"] if split else roles["c"])
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
        name=name, signature=signature, result=result, **_description(product),
        lanes=tiling.lanes, rows=tiling.rows, vectors=tiling.vectors, depth=tiling.depth,
        most_rows=tiling.chunk if blocked else 0, packed_a=tiling.packed_a,
        direct_b=tiling.direct_b, split=split, blocked=blocked,
    )  # fmt: skip
    groups = (
        _ceil_div(product.n, tiling.width),
        _ceil_div(product.m, tiling.chunk),
        _ceil_div(product.batch, tiling.span) * tiling.splits,
    )
    return Step(name, source, groups, (1, 1, 1), signature.args)


def _sum_step(name: str, product: Product, roles: Roles, splits: int, group: int) -> Step:
    compute = dtypes.compute_type(product.dtype)
    signature = Signature(_index_wide(product, splits))
    signature.array("partial", compute, roles["partial"])
    if product.bias:
        signature.array("bias", product.dtype, roles["bias"])
        signature.fixed("bias_batch", product.bias_batch)
    signature.array("c", product.dtype, roles["c"])
    for key in ("m", "n"):
        signature.fixed(key, getattr(product, key))
    signature.fixed("batch_size", product.batch)
    signature.fixed("splits", splits)
    for key, value in product.c.parameters("c"):
        signature.fixed(key, value)
    source = template.render(
        "matmul_sum",
        name=f"{name}_sum", signature=signature, result=product.dtype, **_description(product),
    )  # fmt: skip
    items = _ceil_div(product.batch * product.m * product.n, group) * group
    return Step(f"{name}_sum", source, (items,), (group,) if group > 1 else None, signature.args)


# ---- GPU -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GpuTiling:
    """Tunables of templates/matmul_gpu.cl.mako; their meaning is explained there."""

    tile_m: int
    tile_n: int
    depth: int
    item_m: int
    item_n: int

    @property
    def group(self) -> int:
        """Work-items in a work-group."""
        return (self.tile_m // self.item_m) * (self.tile_n // self.item_n)

    def local_bytes(self, itemsize: int) -> int:
        """Local memory of a work-group: two slabs of A and of B, padded."""
        return 2 * self.depth * (self.tile_m + self.tile_n + 8) * itemsize

    def tiles(self, product: Product) -> int:
        """Work-groups that the product makes."""
        return product.batch * _ceil_div(product.m, self.tile_m) * _ceil_div(product.n, self.tile_n)


#: Largest first. The last one runs with 64 work-items and 16 KiB of local memory, doubles included.
_GPU_TILINGS = (
    GpuTiling(128, 128, 8, 8, 8),
    GpuTiling(64, 128, 8, 4, 8),
    GpuTiling(64, 64, 8, 4, 4),
    GpuTiling(64, 64, 8, 8, 8),
    GpuTiling(32, 32, 8, 4, 4),
)


def _gpu_tiling(device: Device, product: Product) -> GpuTiling:
    """The largest tile that the device can hold and that keeps its compute units busy."""
    capabilities = device.capabilities
    itemsize = dtypes.compute_type(product.dtype).itemsize
    fitting = [
        t
        for t in _GPU_TILINGS
        if t.group <= capabilities.max_work_group_size
        and t.local_bytes(itemsize) <= capabilities.local_memory
    ]
    busy = (t for t in fitting if t.tiles(product) >= capabilities.compute_units)
    return next(busy, fitting[-1])


def _add_gpu_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    tiling = _gpu_tiling(device, product)
    wanted = 2 * device.capabilities.compute_units
    splits = max(1, min(wanted // tiling.tiles(product), product.k // 256))
    final = product
    if splits > 1:
        product, roles["partial"] = _partial(product, splits, scratch)
    steps.append(_gpu_step(device, name, product, roles, tiling, splits))
    if splits > 1:
        group = min(64, device.capabilities.max_work_group_size)
        steps.append(_sum_step(name, final, roles, splits, group))


def _gpu_step(
    device: Device, name: str, product: Product, roles: Roles, tiling: GpuTiling, splits: int
) -> Step:
    compute = dtypes.compute_type(product.dtype)
    split = splits > 1
    result = compute if split else product.dtype
    signature = Signature(_index_wide(product))
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
        signature.fixed("split_depth", _ceil_div(product.k, splits))
    for prefix, operand in (("a", product.a), ("b", product.b), ("c", product.c)):
        for key, value in operand.parameters(prefix):
            signature.fixed(key, value)
    source = template.render(
        "matmul_gpu",
        name=name, signature=signature, result=result, split=split, **_description(product),
        tile_m=tiling.tile_m, tile_n=tiling.tile_n, depth=tiling.depth, item_m=tiling.item_m,
        item_n=tiling.item_n, fast_fma=device.capabilities.fast_fma and compute.kind == "f",
    )  # fmt: skip
    global_size = (
        _ceil_div(product.n, tiling.tile_n) * tiling.group,
        _ceil_div(product.m, tiling.tile_m),
        product.batch * splits,
    )
    return Step(name, source, global_size, (tiling.group, 1, 1), signature.args)
