"""Transforms of pictures, as blocks: of (height, width, channels) until :class:`ToTensor`.

Each takes NDArrays and numpy arrays, and gives what it is given. What is drawn at random is drawn for each
picture; it follows ``numpy.random.seed``, and in a data loader does not depend on the number of workers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad import absent as _absent
from clgrad import dtypes, host_random, image, nd
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.block import Block
from clgrad.gluon.nn import Sequential
from clgrad.image import saturated

__getattr__ = _absent.getter("gluon.data.vision.transforms", __name__)

#: Shares of red, green and blue in brightness (ITU-R BT.601).
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def _size(op: str, size: Any) -> tuple[int, int]:
    """(width, height); a number stands for both."""
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in pair):
        raise argument_error(op, "size", repr(size), "a whole number from 1 on, or (width, height)")
    return pair


def _constant(values: Any, x: Any, dtype: Any = np.float32) -> Any:
    """Numbers as an array of x's kind."""
    host = np.asarray(values, np.float32)
    return host.astype(dtype) if isinstance(x, np.ndarray) else nd.array(host, x.context, dtype)


def _each(x: Any, change: Callable[[Any], Any]) -> Any:
    """A change of a picture, or of all pictures of a batch: they are channels of one meanwhile."""
    if x.ndim != 4:
        return change(x)
    count, height, width, channels = x.shape
    changed = change(x.transpose((1, 2, 0, 3)).reshape((height, width, count * channels)))
    return changed.reshape((*changed.shape[:2], count, channels)).transpose((2, 0, 1, 3))


def _check_picture(owner: object, x: Any) -> None:
    if x.ndim != 3:
        accepted = "(height, width, channels)"
        raise argument_error(type(owner).__name__, "x", f"of shape {x.shape}", accepted)


def _is_coloured(owner: object, x: Any) -> bool:
    """Whether a picture has three channels, and not one of grey."""
    if x.ndim != 3 or x.shape[2] not in (1, 3):
        accepted = "(height, width, 3), or (height, width, 1) of grey"
        raise argument_error(type(owner).__name__, "x", f"of shape {x.shape}", accepted)
    return x.shape[2] == 3


class Compose(Sequential):
    """Transforms one after the other.

    Parameters
    ----------
    transforms : list of Block

    Examples
    --------
    >>> import clgrad as mx
    >>> transforms = mx.gluon.data.vision.transforms
    >>> prepare = transforms.Compose([transforms.Resize(8), transforms.ToTensor()])
    >>> prepare(mx.nd.ones((16, 12, 3), dtype="uint8")).shape
    (3, 8, 8)
    """

    def __init__(self, transforms: Sequence[Block]):
        super().__init__()
        self.add(*transforms)

    @property
    def takes_numpy(self) -> bool:
        """Whether all transforms take numpy arrays."""
        return all(getattr(block, "takes_numpy", False) for block in self._children.values())


class RandomApply(Compose):
    """All of some transforms, or none of them.

    Parameters
    ----------
    transforms : Block or list of Block
    p : float, default 0.5
        How probable it is that they are applied.
    """

    def __init__(self, transforms: Block | Sequence[Block], p: float = 0.5):
        super().__init__([transforms] if isinstance(transforms, Block) else transforms)
        self.p = p

    def forward(self, x):
        """Apply them or not."""
        return super().forward(x) if host_random.source().uniform() < self.p else x


class _Transform(Block):
    """A transform that takes NDArrays and numpy arrays."""

    takes_numpy = True

    def __call__(self, *args):
        """Run it on a picture; what follows that one in a sample is handed through."""
        for x in args[:1]:
            if not isinstance(x, NDArray | np.ndarray):
                raise OperatorTypeError(
                    f"{type(self).__name__}: x is {type(x).__name__}; accepted: NDArray or numpy.ndarray"
                )
        if len(args) > 1:
            return (super().__call__(args[0]), *args[1:])
        return super().__call__(*args)


class Cast(_Transform):
    """Another dtype.

    Parameters
    ----------
    dtype : str or type, default 'float32'
    """

    def __init__(self, dtype="float32"):
        super().__init__()
        self._to = dtypes.resolve(dtype, "Cast")

    def forward(self, x):
        """Convert."""
        return x.astype(self._to)


class ToTensor(_Transform):
    """x / 255 as float32, with channels first: (channels, height, width); batches of four axes likewise.

    Examples
    --------
    >>> import clgrad as mx
    >>> to_tensor = mx.gluon.data.vision.transforms.ToTensor()
    >>> to_tensor(mx.nd.full((2, 4, 3), 51, dtype="uint8"))[0].asnumpy().round(3)
    array([[0.2, 0.2, 0.2, 0.2],
           [0.2, 0.2, 0.2, 0.2]], dtype=float32)
    """

    def forward(self, x):
        """Convert."""
        if x.ndim not in (3, 4):
            accepted = "(height, width, channels), or a batch of such"
            raise argument_error("ToTensor", "x", f"of shape {x.shape}", accepted)
        axes = (2, 0, 1) if x.ndim == 3 else (0, 3, 1, 2)
        return x.transpose(axes).astype(np.float32) / np.float32(255)


class Normalize(_Transform):
    """(x - mean) / std of each channel, behind :class:`ToTensor`.

    Parameters
    ----------
    mean, std : float or tuple of float
        One for all channels, or one for each.
    """

    def __init__(self, mean=0.0, std=1.0):
        super().__init__()
        self._mean, self._std = (np.float32(v).reshape(-1, 1, 1) for v in (mean, std))
        if not self._std.all():
            raise argument_error("Normalize", "std", repr(std), "numbers other than 0")

    def forward(self, x):
        """Normalise."""
        dtype = np.dtype(x.dtype)
        if dtype.kind in "biu":
            accepted = "floating point, as ToTensor gives"
            raise argument_error("Normalize", "x", f"of dtype {dtype}", accepted)
        return (x - _constant(self._mean, x, dtype)) / _constant(self._std, x, dtype)


# Sizes


class Resize(_Transform):
    """Another size, of a picture or of all in a batch.

    Parameters
    ----------
    size : int or (int, int)
        (width, height). A number stands for both; with ``keep_ratio``, for the shorter edge.
    keep_ratio : bool, default False
    interpolation : int, default 1
        See :func:`clgrad.image.imresize`.
    """

    def __init__(self, size, keep_ratio=False, interpolation=1):
        super().__init__()
        self._size, self._interpolation = _size("Resize", size), interpolation
        self._short = size if keep_ratio and isinstance(size, int) else None

    def forward(self, x):
        """Resize."""
        return _each(x, self._resized)

    def _resized(self, x):
        if self._short is not None:
            return image.resize_short(x, self._short, self._interpolation)
        return image.imresize(x, *self._size, interp=self._interpolation)


class CropResize(_Transform):
    """A part of the picture, or of all in a batch, at a fixed place; resized where ``size`` is given.

    Parameters
    ----------
    x, y : int
        Where its left upper corner is.
    width, height : int
    size : int or (int, int), optional
        (width, height) of the result.
    interpolation : int, optional
        See :func:`clgrad.image.imresize`; linear by default.
    """

    def __init__(self, x, y, width, height, size=None, interpolation=None):
        super().__init__()
        self._place = x, y, width, height
        self._size = None if size is None else _size("CropResize", size)
        self._interpolation = 1 if interpolation is None else interpolation

    def forward(self, x):
        """Crop."""
        return _each(x, self._cropped)

    def _cropped(self, x):
        return image.fixed_crop(x, *self._place, size=self._size, interp=self._interpolation)


class CenterCrop(_Transform):
    """The middle of the picture; where the picture is smaller, enlarged.

    Parameters
    ----------
    size : int or (int, int)
        (width, height).
    interpolation : int, default 1
    """

    def __init__(self, size, interpolation=1):
        super().__init__()
        self._size, self._interpolation = _size("CenterCrop", size), interpolation

    def forward(self, x):
        """Crop."""
        return image.center_crop(x, self._size, self._interpolation)[0]


class RandomCrop(_Transform):
    """A part of the picture, at a random place, after zeros have been added around it.

    Parameters
    ----------
    size : int or (int, int)
        (width, height).
    pad : int, optional
        How many rows and columns of zeros to add on each side.
    interpolation : int, default 1
    """

    def __init__(self, size, pad=None, interpolation=1):
        super().__init__()
        self._size, self._pad = _size("RandomCrop", size), pad or 0
        self._interpolation = interpolation

    def forward(self, x):
        """Pad and crop."""
        _check_picture(self, x)
        if self._pad:
            height, width, channels = x.shape
            shape, pad = (height + 2 * self._pad, width + 2 * self._pad, channels), self._pad
            if isinstance(x, np.ndarray):
                padded: Any = np.zeros(shape, x.dtype)
            else:
                padded = nd.zeros(shape, dtype=x.dtype, ctx=x.context)
            padded[pad : pad + height, pad : pad + width] = x
            x = padded
        return image.random_crop(x, self._size, self._interpolation)[0]


class RandomResizedCrop(_Transform):
    """A part of random size, proportions and place, resized (Szegedy et al., 2015).

    Parameters
    ----------
    size : int or (int, int)
        (width, height) of the result.
    scale : (float, float), default (0.08, 1)
        The share of the picture, at least and at most.
    ratio : (float, float), default (3 / 4, 4 / 3)
        Proportions, at least and at most.
    interpolation : int, default 1
    """

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3.0 / 4.0, 4.0 / 3.0), interpolation=1):
        super().__init__()
        self._arguments = _size("RandomResizedCrop", size), scale, ratio, interpolation

    def forward(self, x):
        """Crop and resize."""
        return image.random_size_crop(x, *self._arguments)[0]


# Chance


class RandomFlipLeftRight(_Transform):
    """Mirrored from left to right, or not, with equal probability."""

    def forward(self, x):
        """Flip or not."""
        _check_picture(self, x)
        return _flipped(x, 1) if host_random.source().uniform() < 0.5 else x


class RandomFlipTopBottom(_Transform):
    """Upside down, or not, with equal probability."""

    def forward(self, x):
        """Flip or not."""
        _check_picture(self, x)
        return _flipped(x, 0) if host_random.source().uniform() < 0.5 else x


def _flipped(x: Any, axis: int) -> Any:
    return np.ascontiguousarray(np.flip(x, axis)) if isinstance(x, np.ndarray) else nd.flip(x, axis=axis)


def _factor(amount: float) -> float:
    """A factor around 1."""
    return float(host_random.source().uniform(max(0, 1 - amount), 1 + amount))


def _blend(x: Any, other: Any, factor: float) -> Any:
    """factor x + (1 - factor) other, of x's dtype."""
    mixed = x.astype(np.float32) * np.float32(factor) + other * np.float32(1 - factor)
    return saturated(mixed, x.dtype)


def _grey(x: Any) -> Any:
    """Brightness of each pixel, (height, width, 1)."""
    return (x.astype(np.float32) * _constant(_GREY, x)).sum(axis=2, keepdims=True)


class _Jitter(_Transform):
    """A transform by a factor around 1.

    Parameters
    ----------
    amount : float
        The factor is drawn from max(0, 1 - amount) to 1 + amount.
    """

    def __init__(self, amount: float):
        super().__init__()
        if not amount >= 0:
            raise argument_error(type(self).__name__, "the amount", repr(amount), "a number from 0 on")
        self._amount = amount

    def forward(self, x):
        """Draw the factor, and change the picture by it."""
        _check_picture(self, x)
        return self.changed(x, _factor(self._amount))

    def changed(self, x: Any, factor: float) -> Any:
        """The picture, changed by a factor."""
        raise NotImplementedError


class RandomBrightness(_Jitter):
    """factor x.

    Parameters
    ----------
    brightness : float
        The factor is drawn from max(0, 1 - brightness) to 1 + brightness.
    """

    def __init__(self, brightness):
        super().__init__(brightness)

    def changed(self, x, factor):
        """The picture with another brightness."""
        return _blend(x, 0, factor)


class RandomContrast(_Jitter):
    """factor x + (1 - factor) mean brightness.

    Parameters
    ----------
    contrast : float
        The factor is drawn from max(0, 1 - contrast) to 1 + contrast.
    """

    def __init__(self, contrast):
        super().__init__(contrast)

    def changed(self, x, factor):
        """The picture with another contrast."""
        _is_coloured(self, x)
        return _blend(x, _grey(x).mean(), factor)


class RandomSaturation(_Jitter):
    """factor x + (1 - factor) brightness of the pixel.

    Parameters
    ----------
    saturation : float
        The factor is drawn from max(0, 1 - saturation) to 1 + saturation.
    """

    def __init__(self, saturation):
        super().__init__(saturation)

    def changed(self, x, factor):
        """The picture with other colours; one of grey stays as it is."""
        return _blend(x, _grey(x), factor) if _is_coloured(self, x) else x


#: From red, green and blue to brightness and two axes of colour (YIQ, NTSC 1953), and back.
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


class RandomHue(_Jitter):
    """Colours turned by factor times a whole turn, in the plane of colours of YIQ.

    Parameters
    ----------
    hue : float
        The factor is drawn from max(0, 1 - hue) to 1 + hue.
    """

    def __init__(self, hue):
        super().__init__(hue)

    def changed(self, x, factor):
        """The picture with turned colours; one of grey stays as it is."""
        if not _is_coloured(self, x):
            return x
        turn = 2 * math.pi * factor
        turned = np.array(
            [[1, 0, 0], [0, math.cos(turn), -math.sin(turn)], [0, math.sin(turn), math.cos(turn)]]
        )
        matrix = (_FROM_YIQ @ turned @ _TO_YIQ).T
        rows = x.astype(np.float32).reshape((-1, 3))
        weights = _constant(matrix, x)
        mixed = rows @ weights if isinstance(x, np.ndarray) else nd.dot(rows, weights)
        return saturated(mixed.reshape(x.shape), x.dtype)


class RandomColorJitter(_Transform):
    """Brightness, contrast, saturation and hue changed at random, in a random order.

    Parameters
    ----------
    brightness, contrast, saturation, hue : float, default 0
        See the transform of each; 0 leaves it alone.
    """

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        super().__init__()
        kinds = (RandomBrightness, RandomContrast, RandomSaturation, RandomHue)
        amounts = brightness, contrast, saturation, hue
        self._jitters = tuple(k(n) for k, n in zip(kinds, amounts, strict=True) if n)
        for jitter in self._jitters:
            self.register_child(jitter)

    def forward(self, x):
        """Change it."""
        for number in host_random.source().permutation(len(self._jitters)):
            x = self._jitters[number](x)
        return x


#: Standard deviations and directions of the colours of ImageNet (Krizhevsky et al., 2012).
_SPREADS = np.array([55.46, 4.794, 1.148])
_DIRECTIONS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


class RandomLighting(_Transform):
    """A random colour added to all pixels, along the principal axes of ImageNet's colours.

    Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks, 2012.

    Parameters
    ----------
    alpha : float
        Standard deviation of the amounts along the axes.
    """

    def __init__(self, alpha):
        super().__init__()
        self._alpha = alpha

    def forward(self, x):
        """Add it; a picture of grey stays as it is."""
        if not _is_coloured(self, x):
            return x
        amounts = host_random.source().normal(0, self._alpha, 3)
        return saturated(x.astype(np.float32) + _constant(_DIRECTIONS @ (amounts * _SPREADS), x), x.dtype)
