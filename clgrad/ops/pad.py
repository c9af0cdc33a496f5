"""Padding and cropping of images."""

from clgrad.errors import argument_error
from clgrad.kernels import layout
from clgrad.kernels.launch import Plan
from clgrad.kernels.layout import Operand
from clgrad.kernels.separable import AxisMap
from clgrad.ops.arguments import sizes
from clgrad.ops.resize import separable_map
from clgrad.ops.shape import copy_step, strided_slice, take_slice
from clgrad.registry import Call, Spec, composite, operator

_MATRICES = {"edge": AxisMap.edge, "reflect": AxisMap.reflect}


@operator(name="_pad", label="pad")
def constant_pad(call: Call, data: Spec, *, shape, before, value):
    """data amid elements of one value."""
    strides = layout.contiguous_strides(shape)
    place = Operand(data.dtype, strides, sum(b * s for b, s in zip(before, strides, strict=True)))
    own = layout.broadcast(data.shape, data.shape, data.dtype)
    whole = layout.broadcast(shape, shape, data.dtype)
    steps = [copy_step(call, shape, data.dtype, None, whole, value=value)]
    if 0 not in data.shape:
        steps.append(copy_step(call, data.shape, data.dtype, own, place))
    return Plan(call.device, steps, [(shape, data.dtype)], 1)


constant_pad.gradient(
    data=lambda dy, data_shape, before: strided_slice(
        dy, begin=before, step=(1,) * len(before), size=data_shape
    )
)


@composite(aliases=("Pad",))
def pad(data, mode, pad_width, constant_value=0):
    """Elements added before and behind the spatial axes of (batch, channel, ...), of 4 or 5 axes.

    ``pad_width`` counts them: before and behind the first axis, before and behind the second, and so on; 0
    for batch and channel. ``mode`` is ``constant``, for ``constant_value``; ``edge``, for the first or last
    element; or ``reflect``, for the elements mirrored at the first or last, which are not repeated.
    """
    widths = sizes("pad", "pad_width", pad_width, None)
    before, behind = widths[::2], widths[1::2]
    if data.ndim not in (4, 5):
        raise argument_error("pad", "data", f"of shape {data.shape}", "4 or 5 axes")
    if len(widths) != 2 * data.ndim or any(widths[:4]) or min(widths) < 0:
        accepted = f"{2 * data.ndim} numbers, the first four 0, the others 0 or more"
        raise argument_error("pad", "pad_width", widths, accepted)
    if mode == "constant":
        shape = tuple(b + n + e for b, n, e in zip(before, data.shape, behind, strict=True))
        return constant_pad(data, shape=shape, before=before, value=float(constant_value))
    if mode not in _MATRICES:
        raise argument_error("pad", "mode", repr(mode), "'constant', 'edge' or 'reflect'")
    axes = list(zip(data.shape[2:], before[2:], behind[2:], strict=True))
    if any((b or e) and max(b, e) * (mode == "reflect") >= n for n, b, e in axes):
        accepted = f"less than the sizes {data.shape} where mode is {mode!r}, of axes that are not empty"
        raise argument_error("pad", "pad_width", widths, accepted)
    return separable_map(data, maps=tuple(_MATRICES[mode](*axis) for axis in axes), op="pad")


@composite()
def Crop(*data, offset=(0, 0), h_w=(0, 0), center_crop=False, num_args=None):
    """A window of height and width ``h_w`` of images (batch, channel, height, width).

    A second array, if given, says height and width by its shape. The window begins at ``offset``, or lies
    in the middle (``center_crop``).
    """
    arrays = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
    if len(arrays) not in (1, 2) or any(a.ndim != 4 for a in arrays):
        shapes = [a.shape for a in arrays]
        raise argument_error("Crop", "data", f"of shapes {shapes}", "one or two arrays of 4 axes")
    images = arrays[0]
    size = arrays[1].shape[2:] if len(arrays) == 2 else sizes("Crop", "h_w", h_w, 2)
    if len(size) != 2:
        raise argument_error("Crop", "h_w", size, "height and width")
    spare = tuple(n - m for n, m in zip(images.shape[2:], size, strict=True))
    if min(size) < 1 or min(spare) < 0:
        raise argument_error("Crop", "h_w", size, f"sizes from 1 to those of data {images.shape}")
    begin = tuple(n // 2 for n in spare) if center_crop else sizes("Crop", "offset", offset, 2)
    if len(begin) != 2 or any(not 0 <= b <= n for b, n in zip(begin, spare, strict=True)):
        raise argument_error("Crop", "offset", begin, f"0 to {spare}")
    return take_slice(images, (0, 0, *begin), (1,) * 4, (*images.shape[:2], *size))
