"""Blocks and windows of images as channels or as columns, and back."""

import math

from clgrad.errors import argument_error
from clgrad.kernels.separable import AxisMap
from clgrad.ops.arguments import sizes
from clgrad.ops.convolution import LAYOUTS
from clgrad.ops.resize import separable_map
from clgrad.ops.shape import transpose, with_shape
from clgrad.registry import composite


@composite()
def depth_to_space(data, block_size):
    """Channels of (batch, channel, height, width) moved into blocks of the image.

    y[n, c, h * b + i, w * b + j] = data[n, (i * b + j) * C + c, h, w], with b = ``block_size`` and C the
    channels of y.
    """
    b, (batch, channels, height, width) = _block("depth_to_space", data, block_size)
    if channels % (b * b):
        raise argument_error("depth_to_space", "block_size", b, f"its square divides {channels} channels")
    apart = with_shape(data, shape=(batch, b, b, channels // (b * b), height, width))
    moved = transpose(apart, axes=(0, 3, 4, 1, 5, 2))
    return with_shape(moved, shape=(batch, channels // (b * b), height * b, width * b))


@composite()
def space_to_depth(data, block_size):
    """Blocks of images (batch, channel, height, width) moved into channels: undoes ``depth_to_space``."""
    b, (batch, channels, height, width) = _block("space_to_depth", data, block_size)
    if height % b or width % b:
        raise argument_error("space_to_depth", "block_size", b, f"a divisor of {(height, width)}")
    apart = with_shape(data, shape=(batch, channels, height // b, b, width // b, b))
    moved = transpose(apart, axes=(0, 3, 5, 1, 2, 4))
    return with_shape(moved, shape=(batch, channels * b * b, height // b, width // b))


def _block(op: str, data, block_size) -> tuple[int, tuple[int, int, int, int]]:
    if data.ndim != 4:
        raise argument_error(op, "data", f"of shape {data.shape}", "(batch, channel, height, width)")
    if int(block_size) < 1:
        raise argument_error(op, "block_size", block_size, "1 or more")
    return int(block_size), data.shape


class _Windows:
    """The windows that a convolution of these arguments would multiply with its weight."""

    def __init__(self, op: str, lead: tuple[int, int], size, kernel, stride, dilate, pad):
        rank = len(size)
        if rank not in LAYOUTS:
            raise argument_error(op, "spatial axes", rank, "1 to 3")
        self.lead, self.size = lead, tuple(size)
        self.kernel = sizes(op, "kernel", kernel, rank)
        stride = sizes(op, "stride", stride, rank) or (1,) * rank
        dilate = sizes(op, "dilate", dilate, rank) or (1,) * rank
        pad = sizes(op, "pad", pad, rank) or (0,) * rank
        for argument, given, least in (
            ("kernel", self.kernel, 1),
            ("stride", stride, 1),
            ("dilate", dilate, 1),
            ("pad", pad, 0),
        ):
            if len(given) != rank or min(given) < least:
                raise argument_error(op, argument, given, f"{rank} numbers of {least} or more")
        axes = list(zip(size, self.kernel, stride, dilate, pad, strict=True))
        if any(d * (k - 1) + 1 > n + 2 * p for n, k, _, d, p in axes):
            raise argument_error(op, "kernel", self.kernel, f"no more than the padded size of {self.size}")
        self.maps = tuple(AxisMap.windows(*axis) for axis in axes)
        self.positions = tuple(m.result // k for m, k in zip(self.maps, self.kernel, strict=True))

    @property
    def columns_shape(self) -> tuple[int, int, int]:
        """Batch, channels times taps, positions."""
        batch, channels = self.lead
        return batch, channels * math.prod(self.kernel), math.prod(self.positions)

    @property
    def apart(self) -> tuple[int, ...]:
        """Batch and channels, then taps and positions of each axis in turn."""
        pairs = zip(self.kernel, self.positions, strict=True)
        return (*self.lead, *(n for pair in pairs for n in pair))

    @property
    def order(self) -> tuple[int, ...]:
        """Where the axes of ``apart`` go: first all taps, then all positions."""
        rank = len(self.size)
        return (0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2))


@composite()
def im2col(data, kernel, stride=(), dilate=(), pad=()):
    """The windows that a convolution multiplies with its weight, each as a column.

    Of data (batch, channel, ...), with 1 to 3 spatial axes, (batch, channel * taps, windows). The product
    of a convolution's weight, as a matrix, with the columns is the convolution.
    """
    w = _Windows("im2col", data.shape[:2], data.shape[2:], kernel, stride, dilate, pad)
    taken = separable_map(data, maps=w.maps, op="im2col")
    moved = transpose(with_shape(taken, shape=w.apart), axes=w.order)
    return with_shape(moved, shape=w.columns_shape)


@composite()
def col2im(data, output_size, kernel, stride=(), dilate=(), pad=()):
    """The transpose of ``im2col``: columns added up in an image of spatial size ``output_size``."""
    if data.ndim != 3:
        raise argument_error("col2im", "data", f"of shape {data.shape}", "(batch, channel * taps, windows)")
    size = sizes("col2im", "output_size", output_size, None)
    taps = math.prod(sizes("col2im", "kernel", kernel, len(size)))
    lead = (data.shape[0], data.shape[1] // max(taps, 1))
    w = _Windows("col2im", lead, size, kernel, stride, dilate, pad)
    if data.shape != w.columns_shape:
        raise argument_error(
            "col2im", "data", f"of shape {data.shape}", f"{w.columns_shape}, as im2col gives"
        )
    order = [w.order.index(a) for a in range(len(w.order))]
    taken = with_shape(data, shape=tuple(w.apart[a] for a in w.order))
    moved = with_shape(transpose(taken, axes=tuple(order)), shape=(*lead, *(m.result for m in w.maps)))
    return separable_map(moved, maps=tuple(m.T for m in w.maps), op="col2im")
