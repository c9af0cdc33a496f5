"""Resizing of images: interpolation, adaptive averages, repetition.

All are linear, with a sparse matrix along each axis (:mod:`clgrad.kernels.separable`): one op, whose
gradient is itself with the matrices transposed.
"""

import numpy as np

from clgrad.errors import argument_error
from clgrad.kernels import separable
from clgrad.kernels.pool import PoolGeometry
from clgrad.kernels.separable import AxisMap
from clgrad.ops.arguments import check_floating, sizes
from clgrad.ops.arithmetic import add_n
from clgrad.ops.convolution import Deconvolution
from clgrad.ops.pooling import sum_pool
from clgrad.ops.shape import broadcast_to, concat, with_shape
from clgrad.registry import Call, Spec, composite, kernel_name, operator


@operator(name="_separable")
def separable_map(call: Call, data: Spec, *, maps: tuple[AxisMap, ...], op: str):
    """A sparse matrix along each of the last axes, as part of the op named."""
    what = "grad_data" if any(m.transposed for m in maps) else "forward"
    return separable.plan(call.device, kernel_name(op, what, data.dtype), data.shape, maps, data.dtype)


separable_map.gradient(data=lambda dy, maps, op: separable_map(dy, maps=tuple(m.T for m in maps), op=op))


@composite(name="contrib.BilinearResize2D")
def _bilinear_resize(
    data,
    like=None,
    height=1,
    width=1,
    scale_height=None,
    scale_width=None,
    mode="size",
    align_corners=True,
):
    """Images (batch, channel, height, width) interpolated to another size, bilinearly.

    ``mode`` says what the size is: ``size``, that of ``height`` and ``width``, or the old one times
    ``scale_height`` and ``scale_width``, rounded down; ``odd_scale``, the same for even sizes, and
    (size - 1) * scale + 1 for odd ones; ``like``, that of the array ``like``; ``to_even_down``,
    ``to_even_up``, ``to_odd_down`` and ``to_odd_up``, the nearest even or odd one.

    With ``align_corners`` the corner elements stay where they are; without, elements are cells of a grid
    that keeps its extent, and the outermost halves of cells are constant.
    """
    op = "BilinearResize2D"
    _check_images(op, data)
    if (like is not None) != (mode == "like"):
        raise argument_error(
            op, "like", "None" if like is None else "an array", "an array in mode 'like' only"
        )
    if mode == "like":
        target = like.shape[2:]
    else:
        given = ((height, scale_height), (width, scale_width))
        target = tuple(_resized(op, n, mode, *g) for n, g in zip(data.shape[2:], given, strict=True))
    if len(target) != 2 or min(target) < 1:
        raise argument_error(op, "height, width", target, "1 or more")
    maps = tuple(
        AxisMap.bilinear(n, m, bool(align_corners)) for n, m in zip(data.shape[2:], target, strict=True)
    )
    return separable_map(data, maps=maps, op=op)


def _resized(op: str, size: int, mode: str, wanted, scale) -> int:
    if mode in ("to_even_down", "to_odd_down"):
        return size - (size % 2 != (mode == "to_odd_down"))
    if mode in ("to_even_up", "to_odd_up"):
        return size + (size % 2 != (mode == "to_odd_up"))
    if mode not in ("size", "odd_scale"):
        accepted = "size, odd_scale, like, to_even_down, to_even_up, to_odd_down or to_odd_up"
        raise argument_error(op, "mode", repr(mode), accepted)
    if scale is None:
        if mode == "odd_scale":
            raise argument_error(op, "scale_height, scale_width", None, "numbers in mode 'odd_scale'")
        return int(wanted)
    if not 0 < scale < 2**31:
        raise argument_error(op, "scale_height, scale_width", scale, "above 0, and finite")
    odd = mode == "odd_scale" and size % 2
    return int(np.float32(scale) * (size - odd)) + odd


@composite(name="contrib.AdaptiveAvgPooling2D")
def _adaptive_average(data, output_size=()):
    """Averages over windows that share out an image (batch, channel, height, width) evenly.

    Along each axis, element i of ``output_size`` is the average of the elements from
    floor(i * size / output_size) to ceil((i + 1) * size / output_size), the last excluded; one number for
    both axes, and 1 by default.
    """
    op = "AdaptiveAvgPooling2D"
    _check_images(op, data)
    given = sizes(op, "output_size", output_size, None)
    target = {0: (1, 1), 1: given * 2, 2: given}.get(len(given))
    if target is None or min(target) < 1:
        raise argument_error(op, "output_size", output_size, "one or two numbers, of 1 or more")
    size = data.shape[2:]
    if all(n % m == 0 for n, m in zip(size, target, strict=True)):
        kernel = tuple(n // m for n, m in zip(size, target, strict=True))
        return sum_pool(
            data, geometry=PoolGeometry.of(op, data.shape, kernel=kernel, stride=kernel), average=True
        )
    maps = tuple(AxisMap.average(n, m) for n, m in zip(size, target, strict=True))
    return separable_map(data, maps=maps, op=op)


@composite()
def UpSampling(
    *data,
    scale: int,
    sample_type,
    num_filter=0,
    multi_input_mode="concat",
    num_args=None,
    workspace=512,
):
    """Images (batch, channel, height, width) enlarged ``scale`` times.

    ``nearest`` repeats elements; of several images, each is enlarged to the size that the first comes to,
    and they are joined along the channels (``concat``) or added (``sum``). ``bilinear`` is the transposed
    convolution of data, each channel by itself, with a second array, the weight, of shape (channel, 1, k,
    k), k = 2 * scale - scale % 2. ``num_filter``, ``num_args`` and ``workspace`` have no effect.
    """
    op = "UpSampling"
    arrays = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
    if not arrays:
        raise argument_error(op, "data", "missing", "one or more arrays")
    _check_images(op, *arrays)
    scale = int(scale)
    if scale < 1:
        raise argument_error(op, "scale", scale, "1 or more")
    if sample_type == "bilinear":
        return _upsampled_by_weight(op, arrays, scale)
    if sample_type != "nearest":
        raise argument_error(op, "sample_type", repr(sample_type), "'nearest' or 'bilinear'")
    if multi_input_mode not in ("concat", "sum"):
        raise argument_error(op, "multi_input_mode", repr(multi_input_mode), "'concat' or 'sum'")
    size = tuple(scale * n for n in arrays[0].shape[2:])
    parts = [_repeated(op, a, size) for a in arrays]
    if len(parts) == 1:
        return parts[0]
    return concat(*parts, dim=1) if multi_input_mode == "concat" else add_n(*parts)


def _repeated(op: str, data, size: tuple[int, ...]):
    batch, channels, height, width = data.shape
    if not height or not width or size[0] % height or size[1] % width:
        raise argument_error(op, "data", f"of shape {data.shape}", f"sizes that divide {size}")
    parts = (batch, channels, height, size[0] // height, width, size[1] // width)
    apart = with_shape(data, shape=(batch, channels, height, 1, width, 1))
    return with_shape(broadcast_to(apart, shape=parts), shape=(batch, channels, *size))


def _upsampled_by_weight(op: str, arrays, scale: int):
    if len(arrays) != 2:
        raise argument_error(op, "data", f"{len(arrays)} arrays", "data and weight where bilinear")
    data, weight = arrays
    channels, taps = data.shape[1], 2 * scale - scale % 2
    if weight.shape != (channels, 1, taps, taps):
        raise argument_error(op, "weight", f"of shape {weight.shape}", f"({channels}, 1, {taps}, {taps})")
    pad = scale // 2
    return Deconvolution(data, weight, stride=(scale, scale), pad=(pad, pad), num_group=channels)


def _check_images(op: str, *arrays) -> None:
    for a in arrays:
        if a.ndim != 4:
            raise argument_error(op, "data", f"of shape {a.shape}", "(batch, channel, height, width)")
        check_floating(op, data=a)
