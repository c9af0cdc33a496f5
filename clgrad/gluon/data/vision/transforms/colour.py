"""Transforms of colours, by numbers drawn at random."""

import math
from typing import Any

import numpy as np

from clgrad import host_random, nd
from clgrad.errors import argument_error
from clgrad.gluon.data.vision.transforms.base import Transform, check_picture, constant
from clgrad.image import saturated

#: Shares of red, green and blue in brightness (ITU-R BT.601).
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def _is_coloured(owner: object, x: Any) -> bool:
    """Whether a picture has three channels, and not one of grey."""
    if x.ndim != 3 or x.shape[2] not in (1, 3):
        accepted = "(height, width, 3), or (height, width, 1) of grey"
        raise argument_error(type(owner).__name__, "x", f"of shape {x.shape}", accepted)
    return x.shape[2] == 3


def _factor(amount: float) -> float:
    """A factor around 1."""
    return float(host_random.source().uniform(max(0, 1 - amount), 1 + amount))


def _blend(x: Any, other: Any, factor: float) -> Any:
    """factor x + (1 - factor) other, of x's dtype."""
    mixed = x.astype(np.float32) * np.float32(factor) + other * np.float32(1 - factor)
    return saturated(mixed, x.dtype)


def _grey(x: Any) -> Any:
    """Brightness of each pixel, (height, width, 1)."""
    return (x.astype(np.float32) * constant(_GREY, x)).sum(axis=2, keepdims=True)


class _Jitter(Transform):
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
        check_picture(self, x)
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
        weights = constant(matrix, x)
        mixed = rows @ weights if isinstance(x, np.ndarray) else nd.dot(rows, weights)
        return saturated(mixed.reshape(x.shape), x.dtype)


class RandomColorJitter(Transform):
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


class RandomLighting(Transform):
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
        return saturated(x.astype(np.float32) + constant(_DIRECTIONS @ (amounts * _SPREADS), x), x.dtype)
