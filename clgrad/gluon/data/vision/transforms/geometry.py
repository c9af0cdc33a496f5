"""Transforms of places: sizes, parts, mirrors and rotations of pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad import host_random, image, nd
from clgrad.errors import argument_error
from clgrad.gluon.data.vision.transforms.base import Transform, check_picture


def _size(op: str, size: Any) -> tuple[int, int]:
    """(width, height); a number stands for both."""
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in pair):
        raise argument_error(op, "size", repr(size), "a whole number from 1 on, or (width, height)")
    return pair


def _each(x: Any, change: Callable[[Any], Any]) -> Any:
    """A change of a picture, or of all pictures of a batch: they are channels of one meanwhile."""
    if x.ndim != 4:
        return change(x)
    count, height, width, channels = x.shape
    changed = change(x.transpose((1, 2, 0, 3)).reshape((height, width, count * channels)))
    return changed.reshape((*changed.shape[:2], count, channels)).transpose((2, 0, 1, 3))


class Resize(Transform):
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


class CropResize(Transform):
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


class CenterCrop(Transform):
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


class RandomCrop(Transform):
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
        check_picture(self, x)
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


class RandomResizedCrop(Transform):
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


class Rotate(Transform):
    """A picture behind :class:`ToTensor`, or each of a batch, turned by an angle.

    Parameters
    ----------
    rotation_degrees : float
    zoom_in, zoom_out : bool, default False
        Enlarge so that nothing beyond the edges is seen, or shrink so that all of the picture is: see
        :func:`clgrad.image.imrotate`.

    Examples
    --------
    >>> import clgrad as mx
    >>> turn = mx.gluon.data.vision.transforms.Rotate(90)
    >>> turn(mx.nd.array([[[1, 2], [3, 4]]])).asnumpy().round(3)
    array([[[2., 4.],
            [1., 3.]]], dtype=float32)
    """

    def __init__(self, rotation_degrees, zoom_in=False, zoom_out=False):
        super().__init__()
        _check_zooms(self, zoom_in, zoom_out)
        self._arguments = rotation_degrees, zoom_in, zoom_out

    def forward(self, x):
        """Turn."""
        return image.imrotate(x, *self._arguments)


class RandomRotation(Transform):
    """A picture behind :class:`ToTensor`, or each of a batch, turned by an angle drawn uniformly.

    Parameters
    ----------
    angle_limits : (float, float)
        In degrees, at least and at most.
    zoom_in, zoom_out : bool, default False
        As for :class:`Rotate`.
    rotate_with_proba : float, default 1
        How probable it is that anything is turned.
    """

    def __init__(self, angle_limits, zoom_in=False, zoom_out=False, rotate_with_proba=1.0):
        super().__init__()
        lower, upper = angle_limits
        if not lower < upper:
            raise argument_error("RandomRotation", "angle_limits", angle_limits, "two that increase")
        if not 0 <= rotate_with_proba <= 1:
            raise argument_error("RandomRotation", "rotate_with_proba", rotate_with_proba, "0 to 1")
        _check_zooms(self, zoom_in, zoom_out)
        self._arguments = (lower, upper), zoom_in, zoom_out
        self._probability = rotate_with_proba

    def forward(self, x):
        """Turn or not."""
        if host_random.source().uniform() > self._probability:
            return x
        return image.random_rotate(x, *self._arguments)


def _check_zooms(owner: object, zoom_in: bool, zoom_out: bool) -> None:
    if zoom_in and zoom_out:
        name = type(owner).__name__
        raise argument_error(name, "zoom_in, zoom_out", "both True", "one of them at most")


class RandomFlipLeftRight(Transform):
    """Mirrored from left to right, or not, with equal probability."""

    def forward(self, x):
        """Flip or not."""
        check_picture(self, x)
        return _flipped(x, 1) if host_random.source().uniform() < 0.5 else x


class RandomFlipTopBottom(Transform):
    """Upside down, or not, with equal probability."""

    def forward(self, x):
        """Flip or not."""
        check_picture(self, x)
        return _flipped(x, 0) if host_random.source().uniform() < 0.5 else x


def _flipped(x: Any, axis: int) -> Any:
    return np.ascontiguousarray(np.flip(x, axis)) if isinstance(x, np.ndarray) else nd.flip(x, axis=axis)
