"""Direct convolutions on CPUs: tilings and launches of templates/conv_{direct,weight}.cl.mako.

They make products of a window (see :mod:`clgrad.kernels.product`) that have few rows: depthwise and other
convolutions of many groups, and gradients of images of few channels. The implicit matrix product would pack
an element once for each tap that sees it, and then use it for these few rows only.
"""

import math
from dataclasses import dataclass

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import matmul_cpu, template
from clgrad.kernels.launch import Step
from clgrad.kernels.product import (
    Product,
    Roles,
    Window,
    ceil_div,
    description,
    index_wide,
    new_scratch,
    partial,
    sum_step,
)
from clgrad.kernels.signature import Signature

#: Rows of C up to which a product is direct; for gradients of weights, rows times channels.
_MOST_ROWS, _MOST_PAIRS = 12, 64
#: Taps from which on it pays (fewer, if a group has no more rows), and up to which it is made for.
_LEAST_TAPS, _MOST_TAPS = 3, 64
#: Share of the kernel's rows that see the image, up to which the others are left out.
_SEEING = 0.75
#: Multiply-adds up to which the loop over a kernel's rows is unrolled, too.
_UNROLLED = 256
#: Elements of the padded channels of a tile: few stay in the first-level cache, many in the second.
_FEW, _MANY = 1 << 13, 1 << 15
#: Columns of a tile at most, and rows at least, if several channels have to share the space.
_COLUMNS, _LINES = 512, 4


@dataclass(frozen=True)
class Axes:
    """The spatial axes of a window, two of them: a missing one has size 1."""

    size: tuple[int, int]
    positions: tuple[int, int]
    kernel: tuple[int, int]
    scale: tuple[int, int]
    origin: tuple[int, int]
    step: tuple[int, int]

    @classmethod
    def of(cls, window: Window) -> "Axes":
        """The axes of a window that has one or two."""
        missing = {"size": 1, "positions": 1, "kernel": 1, "scale": 1, "origin": 0, "step": 1}
        lead = 2 - len(window.size)
        return cls(**{key: (one,) * lead + getattr(window, key) for key, one in missing.items()})

    def shift(self, d: int) -> int:
        """How far the last tap reaches along axis d, in positions."""
        return (self.kernel[d] - 1) * self.step[d] // self.scale[d]

    def reach(self, d: int, positions: int) -> int:
        """Elements of the image along axis d that a number of positions sees."""
        return (positions - 1) * self.scale[d] + (self.kernel[d] - 1) * self.step[d] + 1

    @property
    def seeing(self) -> float:
        """The share of a kernel's rows that see the image and not the padding above or below it."""
        lines = [self.origin[0] + line * self.scale[0] for line in range(self.positions[0])]
        taps = [tap * self.step[0] for tap in range(self.kernel[0])]
        return sum(0 <= y + t < self.size[0] for y in lines for t in taps) / (len(lines) * len(taps))

    @property
    def phases(self) -> int:
        """Planes of a channel, one for each residue modulo the stride."""
        return math.prod(self.scale)

    @property
    def taps(self) -> int:
        """Taps in all."""
        return math.prod(self.kernel)

    @property
    def area(self) -> int:
        """Positions in all."""
        return math.prod(self.positions)


@dataclass(frozen=True)
class _Tiling:
    """Tunables of the templates; their meaning is explained there.

    ``height`` is the rows of C, whole register tiles; ``block`` is the channels packed at a time; ``tile``
    is lines and columns of positions.
    """

    axes: Axes
    lanes: int
    rows: int
    vectors: int
    height: int
    block: int
    tile: tuple[int, int]

    @property
    def pitch(self) -> int:
        """Flat indices from one line of a tile to the next."""
        return self.tile[1] + self.axes.shift(1)

    @property
    def plane(self) -> int:
        """Elements of one phase of a channel."""
        return (self.tile[0] + self.axes.shift(0)) * self.pitch

    @property
    def channel(self) -> int:
        """Elements of all phases of a channel."""
        return self.axes.phases * self.plane

    @property
    def flat(self) -> int:
        """Flat indices of a tile, whole vectors."""
        count = (self.tile[0] - 1) * self.pitch + self.tile[1]
        return ceil_div(count, self.lanes * self.vectors) * self.lanes * self.vectors

    @property
    def planes(self) -> int:
        """Elements of all planes, and what vectors read behind them."""
        shift = self.axes.shift(0) * self.pitch + self.axes.shift(1)
        return rounded(self.block * self.channel - self.plane + shift + self.flat)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles along each axis."""
        down, across = (ceil_div(self.axes.positions[d], self.tile[d]) for d in (0, 1))
        return down, across

    @property
    def efficiency(self) -> float:
        """The share of what is computed that is used."""
        return self.axes.area / (math.prod(self.tiles) * self.flat)


def takes(device: Device, product: Product) -> bool:
    """Whether a direct kernel is to make the product."""
    window = product.b
    if device.kind != "cpu" or not isinstance(window, Window) or product.k == 0 or product.accumulate:
        return False
    taps, channels = math.prod(window.kernel), product.n // math.prod(window.kernel)
    least_taps = 1 if product.batch > 1 and product.m <= _LEAST_TAPS else _LEAST_TAPS
    if len(window.size) > 2 or max(window.scale) > 2 or not least_taps <= taps <= _MOST_TAPS:
        return False
    # A matrix product wastes nothing behind the ends of rows, and gains with rows.
    if window.transposed:
        if product.m * channels > _MOST_PAIRS:
            return False
        tiling, least = _weight_tiling(device, product), 0.25
    else:
        seeing = Axes.of(window).seeing
        if product.m > (_MOST_ROWS if seeing > _SEEING else 2 * _MOST_ROWS):
            return False
        tiling, least = _tiling(device, product), min(max(product.m, 4), _MOST_ROWS) / 16 * seeing
    return tiling.efficiency >= least and _fits(device, product, tiling)


def add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    """Append the launches of a product, and the bytes of the temporary memory that they need."""
    assert isinstance(product.b, Window)
    if product.b.transposed:
        _add_weight_steps(device, name, product, roles, steps, scratch)
        return
    tiling = _tiling(device, product)
    elements = product.batch * _packed_elements(product, tiling)
    roles["packed"] = new_scratch(scratch, elements * dtypes.compute_type(product.dtype).itemsize)
    steps.append(matmul_cpu.pack_step(device, name, product, roles, tiling.rows))
    steps.append(_step(device, name, product, roles, tiling))


def _add_weight_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    tiling = _weight_tiling(device, product)
    images = product.k // tiling.axes.area
    parts = ceil_div(4 * device.capabilities.compute_units, product.batch)
    share = ceil_div(images, min(parts, images))
    splits = ceil_div(images, share)
    final = product
    if splits > 1:
        product, roles["partial"] = partial(product, splits, scratch)
    steps.append(_weight_step(device, name, product, roles, tiling, share, splits))
    if splits > 1:
        steps.append(sum_step(name, final, roles, splits, 1))


def _tiling(device: Device, product: Product) -> _Tiling:
    """Tiles of whole rows, of as many lines as the cache holds of all channels, or of a block of them."""
    assert isinstance(product.b, Window)
    axes = Axes.of(product.b)
    compute = dtypes.compute_type(product.dtype)
    channels = product.k // axes.taps
    columns = even(axes.positions[1], _COLUMNS)
    pitch = columns + axes.shift(1)
    lanes, vectors, rows = matmul_cpu.register_tile(device, compute, product.m, axes.positions[0] * pitch)
    budget = min(_FEW if channels <= 4 else _MANY, _room(device, product) // 4)
    height = ceil_div(product.m, rows) * rows
    lines, block = 0, 2 * channels
    while lines < min(_LINES, axes.positions[0]) and block > 1:
        block = ceil_div(block, 2)
        lines = min(budget // (block * axes.phases * pitch) - axes.shift(0), budget // (height * pitch))
    lines = even(axes.positions[0], max(lines, 1))
    return _Tiling(axes, lanes, rows, vectors, height, block, (lines, columns))


def _weight_tiling(device: Device, product: Product) -> _Tiling:
    """The same for the gradient of weights, which needs all channels at once."""
    assert isinstance(product.b, Window)
    axes = Axes.of(product.b)
    compute = dtypes.compute_type(product.dtype)
    channels = product.n // axes.taps
    columns = even(axes.positions[1], _COLUMNS)
    pitch = columns + axes.shift(1)
    lanes, _, _ = matmul_cpu.register_tile(device, compute, 1, 1)
    budget = min(_FEW, _room(device, product) // 4)
    lines = min(budget // (channels * axes.phases * pitch) - axes.shift(0), budget // (product.m * pitch))
    lines = even(axes.positions[0], max(lines, 1))
    rows = 2 if product.m % 2 == 0 and 2 * axes.taps <= matmul_cpu.accumulators(device) else 1
    return _Tiling(axes, lanes, rows, 1, product.m, channels, (lines, columns))


def even(n: int, most: int) -> int:
    """The size of the pieces that n is cut into: at most ``most``, and about equal."""
    return ceil_div(n, ceil_div(n, most))


def rounded(elements: int, to: int = 256) -> int:
    """A size of local memory; few different ones, so that shapes share programs."""
    return ceil_div(elements, to) * to


def _packed_elements(product: Product, tiling: _Tiling) -> int:
    return ceil_div(product.m, tiling.rows) * tiling.rows * product.k


def _fits(device: Device, product: Product, tiling: _Tiling) -> bool:
    """Whether the local memory has room for a tile."""
    elements = tiling.planes + (tiling.height + 1) * rounded(tiling.flat)
    if isinstance(product.b, Window) and product.b.transposed:
        elements += _weight_sums(tiling) * tiling.lanes
    return elements <= _room(device, product)


def _room(device: Device, product: Product) -> int:
    """Elements that fit the local memory."""
    return device.capabilities.local_memory // dtypes.compute_type(product.dtype).itemsize


def _weight_sums(tiling: _Tiling) -> int:
    """Vectors of sums of the gradient of the weights."""
    return rounded(tiling.height * tiling.block * tiling.axes.taps, 16)


def _step(device: Device, name: str, product: Product, roles: Roles, tiling: _Tiling) -> Step:
    axes, c = tiling.axes, product.c
    channels = product.k // axes.taps
    images = product.n // axes.area
    row = rounded(tiling.flat)
    items = math.prod(tiling.tiles) * images * product.batch
    share = max(1, min(images, items // (16 * device.capabilities.compute_units)))
    signature = Signature(index_wide(product))
    signature.array("a", dtypes.compute_type(product.dtype), roles["packed"])
    signature.array("b", product.dtype, roles["b"])
    if product.bias:
        signature.array("bias", product.dtype, roles["bias"])
        signature.fixed("bias_batch", product.bias_batch)
    signature.array("c", product.dtype, roles["c"])
    signature.sizes(m=product.m, channels=channels, block=tiling.block, images=images, share=share)
    signature.sizes(a_matrix=_packed_elements(product, tiling), **_window_sizes(product, tiling))
    signature.sizes(
        c_base=c.base,
        c_batch=c.batch.at(1),
        c_row=c.row.at(1),
        c_image=c.column.at(axes.area),
        c_line=c.column.at(axes.positions[1]),
        c_step=c.column.at(1),
    )
    source = template.render(
        "conv_direct",
        name=name, signature=signature, **description(product), **_constants(tiling),
        rows_of_c=tiling.rows, vectors=tiling.vectors, row=row, sums=tiling.height * row,
        blocked=tiling.block < channels,
        skips=axes.seeing <= _SEEING,
        unrolled=axes.seeing > _SEEING and axes.taps * tiling.rows * tiling.vectors <= _UNROLLED,
        dense=axes.positions[1] == 1 or c.column.at(1) == 1,
    )  # fmt: skip
    groups = (math.prod(tiling.tiles), ceil_div(images, share), product.batch)
    return Step(name, source, groups, (1, 1, 1), signature.args, product.flops)


def _weight_step(
    device: Device,
    name: str,
    product: Product,
    roles: Roles,
    tiling: _Tiling,
    share: int,
    splits: int,
) -> Step:
    axes, a, c = tiling.axes, product.a, product.c
    result = dtypes.compute_type(product.dtype) if splits > 1 else product.dtype
    row = rounded(tiling.flat)
    signature = Signature(index_wide(product, splits))
    signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    signature.array("c", result, roles["partial" if splits > 1 else "c"])
    signature.sizes(m=product.m, channels=tiling.block, images=product.k // axes.area, share=share)
    signature.sizes(splits=splits, tiles=math.prod(tiling.tiles), **_window_sizes(product, tiling))
    signature.sizes(a_base=a.base, a_batch=a.batch.at(1), a_row=a.row.at(1), a_image=a.column.at(axes.area))
    signature.sizes(c_base=c.base, c_batch=c.batch.at(1), c_row=c.row.at(1), c_column=c.column.at(1))
    source = template.render(
        "conv_weight",
        name=name, signature=signature, result=result, **description(product), **_constants(tiling),
        rows_of_c=tiling.rows, row=row, heads=tiling.height * row, sums=_weight_sums(tiling),
        set_of_taps=even(axes.taps, matmul_cpu.accumulators(device) // tiling.rows),
    )  # fmt: skip
    return Step(name, source, (splits, product.batch, 1), (1, 1, 1), signature.args, product.flops)


def _window_sizes(product: Product, tiling: _Tiling) -> dict[str, int]:
    """The kernel arguments that describe image and tile."""
    axes, window = tiling.axes, product.b
    assert isinstance(window, Window)
    return {
        "size0": axes.size[0],
        "size1": axes.size[1],
        "positions0": axes.positions[0],
        "positions1": axes.positions[1],
        "tiles1": tiling.tiles[1],
        "tile_rows": tiling.tile[0],
        "tile_columns": tiling.tile[1],
        "pitch": tiling.pitch,
        "plane": tiling.plane,
        "channel": tiling.channel,
        "b_batch_stride": window.batch_stride,
        "b_image_stride": window.image_stride,
        "b_channel_stride": window.channel_stride,
    }


def _constants(tiling: _Tiling) -> dict[str, object]:
    """The parameters of conv_tiles.mako."""
    axes = tiling.axes
    return {
        "lanes": tiling.lanes,
        "piece": 1 << (min(tiling.tile[1], tiling.lanes).bit_length() - 1),
        "planes": tiling.planes,
        "kernel": axes.kernel,
        "phases": axes.scale,
        "scale": axes.scale,
        "origin": axes.origin,
        "step": axes.step,
    }
