"""Gradients of weights by outer products, on CPUs: tilings and launches of templates/conv_outer.cl.mako.

The implicit matrix product transposes what every tap sees; here the output's gradient is transposed
instead, once for all taps.
"""

import math
from dataclasses import dataclass

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import matmul_cpu, template
from clgrad.kernels.conv_direct import Axes, even, rounded
from clgrad.kernels.launch import Step
from clgrad.kernels.product import (
    Product,
    Roles,
    Window,
    ceil_div,
    description,
    index_wide,
    partial,
    sum_step,
)
from clgrad.kernels.signature import Signature

#: Taps from which on it pays; positions, so that sums stay in registers for a while; and rows of C up to
#: which it pays, since more of them make up for what a product has to transpose.
_LEAST_TAPS, _LEAST_POSITIONS, _MOST_ROWS = 3, 64, 96
#: Elements of a tile of A and of the image's channels, and taps of these channels, about.
_HEADS, _PLANES, _TAPS = 1 << 14, 1 << 15, 288


@dataclass(frozen=True)
class _Tiling:
    """Tunables of the template; their meaning is explained there. ``tile`` is lines and columns."""

    axes: Axes
    lanes: int
    vectors: int
    group: int
    lines_of_taps: int
    block: int
    tile: tuple[int, int]

    @property
    def width(self) -> int:
        """Rows of C that a work-item computes."""
        return self.lanes * self.vectors

    @property
    def pitch(self) -> int:
        """Elements from one line of a padded channel to the next."""
        return self.axes.reach(1, self.tile[1])

    @property
    def channel(self) -> int:
        """Elements of a padded channel."""
        return self.axes.reach(0, self.tile[0]) * self.pitch

    @property
    def planes(self) -> int:
        """Elements of all of them."""
        return rounded(self.block * self.channel)

    @property
    def heads(self) -> int:
        """Vectors of A."""
        return rounded(self.tile[0] * self.tile[1] * self.vectors, 16)

    @property
    def sums(self) -> int:
        """Vectors of C."""
        return rounded(self.block * self.axes.taps * self.vectors, 16)


def takes(device: Device, product: Product) -> bool:
    """Whether outer products are to make the product, the gradient of a convolution's weights."""
    window = product.b
    if device.kind != "cpu" or not isinstance(window, Window) or product.k == 0 or product.accumulate:
        return False
    if not window.transposed or len(window.size) > 2 or product.m > _MOST_ROWS:
        return False
    axes = Axes.of(window)
    if axes.taps < _LEAST_TAPS or axes.area < _LEAST_POSITIONS:
        return False
    if axes.kernel[1] > matmul_cpu.accumulators(device):
        return False
    tiling = _tiling(device, product)
    elements = tiling.planes + (tiling.heads + tiling.sums) * tiling.lanes
    itemsize = dtypes.compute_type(product.dtype).itemsize
    return elements * itemsize <= device.capabilities.local_memory


def _register_tile(device: Device, axes: Axes, m: int, lanes: int) -> tuple[int, int, int]:
    """Vectors, channels and rows of the kernel whose sums are in registers: the most work for the loads."""
    most = matmul_cpu.accumulators(device)
    best, lowest = (1, 1, 1), math.inf
    for vectors in (1, 2, 3, 4):
        lines = min(max(most // (axes.kernel[1] * vectors), 1), axes.kernel[0])
        group = max(most // (axes.taps * vectors), 1)
        sets = ceil_div(axes.kernel[0], lines)
        # Two elements of the image are loaded in the time of one product, each vector of A in that of one.
        loads = group * axes.taps / 2 + sets * vectors
        wasted = ceil_div(m, vectors * lanes) * vectors * lanes / m
        cost = wasted * (1 + loads / (group * axes.taps * vectors))
        if axes.kernel[1] * vectors <= most and cost < lowest:
            best, lowest = (vectors, group, lines), cost
    return best


def _tiling(device: Device, product: Product) -> _Tiling:
    assert isinstance(product.b, Window)
    axes = Axes.of(product.b)
    compute = dtypes.compute_type(product.dtype)
    lanes = matmul_cpu.register_tile(device, compute, 1, 1)[0]
    vectors, group, lines_of_taps = _register_tile(device, axes, product.m, lanes)
    room = device.capabilities.local_memory // compute.itemsize // 4
    columns = even(axes.positions[1], max(min(_HEADS, room) // (vectors * lanes) // 2, 1))
    lines = max(min(_HEADS, room) // (vectors * lanes * columns), 1)
    lines = even(axes.positions[0], min(lines, axes.positions[0]))
    channels = product.n // axes.taps
    area = axes.reach(0, lines) * axes.reach(1, columns)
    most = min(min(_PLANES, room) // area, room // (axes.taps * vectors * lanes))
    block = even(channels, max(min(ceil_div(_TAPS, axes.taps), most) // group, 1) * group)
    return _Tiling(axes, lanes, vectors, group, lines_of_taps, block, (lines, columns))


def add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    """Append the launches of a product, and the bytes of the temporary memory that they need."""
    tiling = _tiling(device, product)
    images = product.k // tiling.axes.area
    items = ceil_div(product.m, tiling.width) * ceil_div(product.n // tiling.axes.taps, tiling.block)
    parts = ceil_div(4 * device.capabilities.compute_units, items * product.batch)
    share = ceil_div(images, min(parts, images))
    splits = ceil_div(images, share)
    final = product
    if splits > 1:
        product, roles["partial"] = partial(product, splits, scratch)
    steps.append(_step(name, product, roles, tiling, share, splits))
    if splits > 1:
        steps.append(sum_step(name, final, roles, splits, 1))


def _step(name: str, product: Product, roles: Roles, tiling: _Tiling, share: int, splits: int) -> Step:
    axes, a, b, c = tiling.axes, product.a, product.b, product.c
    assert isinstance(b, Window)
    result = dtypes.compute_type(product.dtype) if splits > 1 else product.dtype
    channels = product.n // axes.taps
    blocks = ceil_div(channels, tiling.block)
    down, across = (ceil_div(axes.positions[d], tiling.tile[d]) for d in (0, 1))
    signature = Signature(index_wide(product, splits))
    signature.array("a", product.dtype, roles["a"])
    signature.array("b", product.dtype, roles["b"])
    signature.array("c", result, roles["partial" if splits > 1 else "c"])
    signature.sizes(m=product.m, channels=channels, block=tiling.block, blocks=blocks)
    signature.sizes(images=product.k // axes.area, share=share, splits=splits, tiles=down * across)
    signature.sizes(
        size0=axes.size[0],
        size1=axes.size[1],
        positions0=axes.positions[0],
        positions1=axes.positions[1],
        tiles1=across,
        tile_rows=tiling.tile[0],
        tile_columns=tiling.tile[1],
        pitch=tiling.pitch,
        channel=tiling.channel,
        b_batch_stride=b.batch_stride,
        b_image_stride=b.image_stride,
        b_channel_stride=b.channel_stride,
    )
    signature.sizes(a_base=a.base, a_batch=a.batch.at(1), a_row=a.row.at(1), a_image=a.column.at(axes.area))
    signature.sizes(c_base=c.base, c_batch=c.batch.at(1), c_row=c.row.at(1), c_column=c.column.at(1))
    source = template.render(
        "conv_outer",
        name=name, signature=signature, result=result, **description(product),
        lanes=tiling.lanes, vectors=tiling.vectors, group=tiling.group, lines_of_taps=tiling.lines_of_taps,
        planes=tiling.planes, heads=tiling.heads, sums=tiling.sums,
        kernel=axes.kernel, scale=axes.scale, origin=axes.origin, step=axes.step, phases=(1, 1),
        piece=1 << (min(axes.size[1], tiling.pitch, tiling.lanes).bit_length() - 1),
    )  # fmt: skip
    groups = (ceil_div(product.m, tiling.width), splits, product.batch * blocks)
    return Step(name, source, groups, (1, 1, 1), signature.args, product.flops)
