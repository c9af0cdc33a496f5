"""Planner of 3 x 3 convolutions with stride 1 by Winograd's method, on CPUs, in float32.

F(4 x 4, 3 x 3): a quarter of the multiplications, as a matrix product for each of 36 points between two
transforms of the images (see templates/winograd_data.cl.mako). The error is about twice that of the sum
itself. The gradient of the data is a convolution too, with the taps reversed; that of the weights is
F(3 x 3, 4 x 4), at the same points.
"""

from dataclasses import dataclass, replace

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import matmul_cpu, template
from clgrad.kernels.conv_direct import even, rounded
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.product import Product, ceil_div, matrix, new_scratch
from clgrad.kernels.signature import Signature

POINTS = 36
#: Channels from which on the products outweigh the transforms, on either side.
_LEAST_CHANNELS = 32
#: Patches from which on the products outweigh the transforms of the weights' gradient.
_LEAST_PATCHES = 96
#: Share of the computed outputs that must lie in the image.
_LEAST_USED = 0.55
#: Elements of all points at a time: what the last-level cache holds. Elements of a band of an image.
_AT_A_TIME, _BAND = 1 << 23, 1 << 13


@dataclass(frozen=True)
class Shape:
    """A convolution of 3 x 3 taps: sizes, and how its weights lie in memory.

    ``filter_stride`` and ``channel_stride`` are those of the weights, ``flipped`` reverses their taps.
    ``side`` is the elements of a patch along each axis.
    """

    batch: int
    channels: int
    filters: int
    size: tuple[int, int]
    out: tuple[int, int]
    pad: tuple[int, int]
    filter_stride: int
    channel_stride: int
    flipped: bool
    side: int = 6

    @property
    def patches(self) -> tuple[int, int]:
        """Patches of an image, of 4 x 4 outputs each."""
        return ceil_div(self.out[0], 4), ceil_div(self.out[1], 4)


def takes(device: Device, dtype: np.dtype, shape: Shape) -> bool:
    """Whether the method is to be used: it is exact enough in float32, and pays for many channels."""
    down, across = shape.patches
    used = shape.out[0] * shape.out[1] / (16 * down * across)
    return (
        device.kind == "cpu"
        and dtype == dtypes.float32
        and min(shape.channels, shape.filters) >= _LEAST_CHANNELS
        and used >= _LEAST_USED
        and shape.batch * down * across >= 32
        and min(shape.pad) >= 0
        and _band(device, shape) > 0
    )


def takes_grad_weight(device: Device, dtype: np.dtype, shape: Shape) -> bool:
    """The same for the gradient of the weights, where what lies at the points is as large as 4 kernels."""
    down, across = shape.patches
    return takes(device, dtype, shape) and shape.batch * down * across >= _LEAST_PATCHES


def _images_at_a_time(shape: Shape) -> int:
    down, across = shape.patches
    per_image = POINTS * (shape.channels + shape.filters) * down * across
    return even(shape.batch, max(_AT_A_TIME // per_image, 1))


def plan(device: Device, name: str, shape: Shape, bias: bool) -> Plan:
    """Plan the convolution; inputs are images, weights and, if any, bias [filter]."""
    down, across = shape.patches
    images = _images_at_a_time(shape)
    count = images * down * across
    scratch: list[int] = []
    weights = new_scratch(scratch, 4 * POINTS * shape.filters * shape.channels)
    data = new_scratch(scratch, 4 * POINTS * shape.channels * count)
    # Vectors read beyond the last patch.
    products = new_scratch(scratch, 4 * (POINTS * shape.filters * count + 16))
    steps = [_weight_step(device, name, shape, weights)]
    for first in range(0, shape.batch, images):
        part = min(images, shape.batch - first)
        steps.append(_data_step(device, name, shape, In(0), data, first, part))
        patches = part * down * across
        product = Product(
            dtypes.float32, shape.filters, patches, shape.channels, POINTS,
            a=matrix(shape.filters, shape.channels, False, POINTS),
            b=matrix(shape.channels, patches, False, POINTS),
            c=matrix(shape.filters, patches, False, POINTS),
        )  # fmt: skip
        roles: dict[str, In | Out | Scratch] = {"a": weights, "b": data, "c": products}
        matmul_cpu.add_steps(device, f"{name}_points", product, roles, steps, scratch)
        steps.append(_output_step(device, name, shape, products, first, part, bias))
    outputs = [((shape.batch, shape.filters, *shape.out), dtypes.float32)]
    return Plan(device, steps, outputs, 3 if bias else 2, scratch)


def plan_grad_weight(device: Device, name: str, shape: Shape) -> Plan:
    """Plan the gradient of the weights; inputs are images and the output's gradient."""
    down, across = shape.patches
    images = _images_at_a_time(shape)
    count = images * down * across
    scratch: list[int] = []
    data = new_scratch(scratch, 4 * POINTS * shape.channels * count)
    heads = new_scratch(scratch, 4 * POINTS * shape.filters * count)
    products = new_scratch(scratch, 4 * (POINTS * shape.filters * shape.channels + 16))
    steps: list[Step] = []
    for first in range(0, shape.batch, images):
        part = min(images, shape.batch - first)
        steps.append(_data_step(device, name, shape, In(0), data, first, part))
        steps.append(_data_step(device, name, _heads(shape), In(1), heads, first, part))
        patches = part * down * across
        product = Product(
            dtypes.float32, shape.filters, shape.channels, patches, POINTS,
            a=matrix(shape.filters, patches, False, POINTS),
            b=matrix(patches, shape.channels, True, POINTS),
            c=matrix(shape.filters, shape.channels, False, POINTS),
            accumulate=first > 0,
        )  # fmt: skip
        roles: dict[str, In | Out | Scratch] = {"a": heads, "b": data, "c": products}
        matmul_cpu.add_steps(device, f"{name}_points", product, roles, steps, scratch)
    steps.append(_gradient_step(device, name, shape, products))
    outputs = [((shape.filters, shape.channels, 3, 3), dtypes.float32)]
    return Plan(device, steps, outputs, 2, scratch)


def _heads(shape: Shape) -> Shape:
    """The output's gradient as images, in patches of 4 x 4."""
    return replace(shape, channels=shape.filters, size=shape.out, pad=(0, 0), side=4)


def _band(device: Device, shape: Shape) -> int:
    """Lines of patches that a work-item takes, or 0 if the local memory has no room for one."""
    down, across = shape.patches
    most = min(_BAND, device.capabilities.local_memory // 4 // 2)
    lines = (most // (4 * across + 2) - 2) // 4  # of the larger patches: one band for both kinds
    return even(down, min(lines, down)) if lines > 0 else 0


def _lanes(device: Device) -> int:
    return matmul_cpu.register_tile(device, dtypes.float32, 1, 1)[0]


def _constants(device: Device, shape: Shape) -> dict[str, object]:
    """Template parameters that the kernels share; those of conv_tiles.mako see a patch as a kernel."""
    across = shape.patches[1]
    band = _band(device, shape)
    lanes = _lanes(device)
    pitch = 4 * across + shape.side - 4
    return {
        "T": "float",
        "lanes": lanes,
        "storage": dtypes.float32,
        "flipped": shape.flipped,
        "kernel": (shape.side, shape.side),
        "scale": (4, 4),
        "step": (1, 1),
        "phases": (1, 1),
        "origin": (-shape.pad[0], -shape.pad[1]),
        "planes": rounded((4 * band + shape.side - 4) * pitch),
        "outputs": rounded(4 * (band + 1) * 4 * across),
        "patches": ceil_div(band * across, lanes) * lanes,
    }


def _tile_sizes(device: Device, shape: Shape) -> dict[str, int]:
    down, across = shape.patches
    return {
        "size0": shape.size[0],
        "size1": shape.size[1],
        "positions0": down,
        "positions1": across,
        "tiles1": 1,
        "tile_rows": _band(device, shape),
        "tile_columns": across,
        "pitch": 4 * across + shape.side - 4,
    }


def _wide(shape: Shape, images: int) -> bool:
    """Whether some element offset needs 64 bits."""
    down, across = shape.patches
    patches = images * down * across + 16
    most = max(shape.channels, shape.filters)
    pixels = shape.batch * most * max(shape.size[0] * shape.size[1], 16 * down * across)
    return max(POINTS * most * patches, pixels, POINTS * shape.channels * shape.filters) >= 1 << 31


def _weight_step(device: Device, name: str, shape: Shape, weights: Scratch) -> Step:
    signature = Signature(_wide(shape, 1))
    signature.array("w", dtypes.float32, In(1))
    signature.array("points", dtypes.float32, weights)
    signature.sizes(channels=shape.channels, w_filter=shape.filter_stride, w_channel=shape.channel_stride)
    signature.sizes(plane=shape.filters * shape.channels)
    name = f"{name}_weight"
    constants = _constants(device, shape)
    source = template.render("winograd_weight", name=name, signature=signature, **constants)
    return Step(name, source, (shape.filters, 1, 1), (1, 1, 1), signature.args)


def _data_step(
    device: Device, name: str, shape: Shape, source: In, points: Scratch, first: int, images: int
) -> Step:
    down, across = shape.patches
    patches = images * down * across
    area = shape.size[0] * shape.size[1]
    signature = Signature(_wide(shape, images))
    signature.array("b", dtypes.float32, source)
    signature.array("points", dtypes.float32, points)
    signature.sizes(**_tile_sizes(device, shape), first_image=first, images=images)
    signature.sizes(b_image=shape.channels * area, b_channel=area)
    signature.sizes(all_patches=patches, plane=shape.channels * patches)
    kind = "data" if shape.side == 6 else "head"
    name = f"{name}_{kind}"
    piece = 1 << (min(shape.size[1], _lanes(device)).bit_length() - 1)
    constants = _constants(device, shape)
    code = template.render(
        "winograd_data", name=name, signature=signature, piece=piece, kind=kind, **constants
    )
    groups = (ceil_div(down, _band(device, shape)), shape.channels, 1)
    return Step(name, code, groups, (1, 1, 1), signature.args)


def _output_step(
    device: Device, name: str, shape: Shape, products: Scratch, first: int, images: int, bias: bool
) -> Step:
    down, across = shape.patches
    patches = images * down * across
    area = shape.size[0] * shape.size[1]
    signature = Signature(_wide(shape, images))
    signature.array("points", dtypes.float32, products)
    signature.array("b", dtypes.float32, In(0))
    signature.array("w", dtypes.float32, In(1))
    if bias:
        signature.array("bias", dtypes.float32, In(2))
    signature.array("c", dtypes.float32, Out(0))
    signature.sizes(**_tile_sizes(device, shape), first_image=first, images=images)
    signature.sizes(b_image=shape.channels * area, b_channel=area, channels=shape.channels)
    signature.sizes(w_filter=shape.filter_stride, w_channel=shape.channel_stride)
    signature.sizes(all_patches=patches, plane=shape.filters * patches)
    signature.sizes(out0=shape.out[0], out1=shape.out[1], c_filter=shape.out[0] * shape.out[1])
    signature.sizes(c_image=shape.filters * shape.out[0] * shape.out[1])
    piece = 1 << (min(shape.out[1], _lanes(device)).bit_length() - 1)
    constants = _constants(device, shape)
    source = template.render(
        "winograd_output", name=name, signature=signature, piece=piece, bias=bias, **constants
    )
    groups = (ceil_div(down, _band(device, shape)), shape.filters, 1)
    return Step(name, source, groups, (1, 1, 1), signature.args)


def _gradient_step(device: Device, name: str, shape: Shape, products: Scratch) -> Step:
    area, out = shape.size[0] * shape.size[1], shape.out[0] * shape.out[1]
    signature = Signature(_wide(shape, 1))
    signature.array("points", dtypes.float32, products)
    signature.array("b", dtypes.float32, In(0))
    signature.array("head", dtypes.float32, In(1))
    signature.array("w", dtypes.float32, Out(0))
    signature.sizes(channels=shape.channels, plane=shape.filters * shape.channels, images=shape.batch)
    signature.sizes(size0=shape.size[0], size1=shape.size[1], out0=shape.out[0], out1=shape.out[1])
    signature.sizes(b_image=shape.channels * area, b_channel=area)
    signature.sizes(head_image=shape.filters * out, head_filter=out)
    constants = _constants(device, shape)
    source = template.render("winograd_gradient", name=name, signature=signature, **constants)
    return Step(name, source, (shape.filters, 1, 1), (1, 1, 1), signature.args)
