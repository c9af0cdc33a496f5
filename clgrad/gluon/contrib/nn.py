"""Further layers (``mx.gluon.contrib.nn``)."""

import math
from collections.abc import Sequence

from clgrad.errors import AbsentError, argument_error
from clgrad.gluon.arguments import per_axis
from clgrad.gluon.block import HybridBlock
from clgrad.gluon.nn.containers import Concurrent, HybridConcurrent, Identity
from clgrad.gluon.nn.norm_layers import BatchNorm

__all__ = [
    "Concurrent",
    "HybridConcurrent",
    "Identity",
    "PixelShuffle1D",
    "PixelShuffle2D",
    "PixelShuffle3D",
    "SparseEmbedding",
    "SyncBatchNorm",
]


class SparseEmbedding(HybridBlock):
    """Absent: arrays are dense here; use ``nn.Embedding``.

    Raises
    ------
    AbsentError
        Always.
    """

    def __init__(self, *args, **kwargs):
        raise AbsentError("SparseEmbedding: clgrad stores parameters densely; use nn.Embedding")


class SyncBatchNorm(BatchNorm):
    """Batch normalisation along axis 1, over the whole batch: an array lies on one device here.

    Parameters
    ----------
    in_channels : int, default 0
        0 means those of the first input.
    num_devices : int, optional
        Accepted for MXNet's sake.
    momentum, epsilon, center, scale, use_global_stats
        As in :class:`clgrad.gluon.nn.BatchNorm`.
    beta_initializer, gamma_initializer : Initializer or str
    running_mean_initializer, running_variance_initializer : Initializer or str
    """

    def __init__(
        self,
        in_channels=0,
        num_devices=None,
        momentum=0.9,
        epsilon=1e-5,
        center=True,
        scale=True,
        use_global_stats=False,
        beta_initializer="zeros",
        gamma_initializer="ones",
        running_mean_initializer="zeros",
        running_variance_initializer="ones",
        **kwargs,
    ):
        super().__init__(
            1,
            momentum,
            epsilon,
            center,
            scale,
            use_global_stats,
            beta_initializer,
            gamma_initializer,
            running_mean_initializer,
            running_variance_initializer,
            in_channels,
            **kwargs,
        )
        del self._kwargs["axis"]
        self._kwargs |= {"ndev": num_devices or 1, "key": self.prefix}

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        """Normalise, and in training update the running mean and variance."""
        return F.contrib.SyncBatchNorm(
            x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs
        )


class _PixelShuffle(HybridBlock):
    """What the layers of one, two and three axes share."""

    _axes: int

    def __init__(self, factor: int | Sequence[int]):
        super().__init__()
        name = type(self).__name__
        self._factors = per_axis(name, "factor", factor, self._axes)
        if min(self._factors) < 1:
            raise argument_error(name, "factor", repr(factor), "positive numbers")

    def hybrid_forward(self, F, x):
        """Part the channels into factors, and put each factor behind its axis."""
        n = self._axes
        # The factors go past one axis after the other, and each leaves its own there: MXNet, which reads
        # exported nets, moves no more than six axes.
        x = F.reshape(x, (0, -4, -1, math.prod(self._factors), *[0] * n))  # (N, C, f1 f2, H, W)
        for axis, factor in enumerate(self._factors):
            rest = math.prod(self._factors[axis + 1 :])
            x = F.swapaxes(x, axis + 2, axis + 3)  # (N, C, H, f1 f2, W)
            x = F.reshape(x, (*[0] * (axis + 3), -4, factor, rest, *[0] * (n - axis - 1)))
            x = F.reshape(x, (*[0] * (axis + 2), -3, *[0] * (n - axis)))  # (N, C, H f1, f2, W)
        return F.reshape(x, (*[0] * (n + 1), -3))  # without the last 1

    def __repr__(self) -> str:
        shown = self._factors if self._axes > 1 else self._factors[0]
        return f"{type(self).__name__}({shown})"


class PixelShuffle1D(_PixelShuffle):
    """(N, f C, W) to (N, C, f W): values of f channels become f neighbours.

    Parameters
    ----------
    factor : int or tuple of 1 int

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.contrib.nn.PixelShuffle1D(2)(mx.nd.zeros((1, 8, 3))).shape
    (1, 4, 6)
    """

    _axes = 1


class PixelShuffle2D(_PixelShuffle):
    """(N, f1 f2 C, H, W) to (N, C, f1 H, f2 W) (Shi et al., 2016).

    Parameters
    ----------
    factor : int or tuple of 2 int

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.contrib.nn.PixelShuffle2D((2, 3))(mx.nd.zeros((1, 12, 3, 5))).shape
    (1, 2, 6, 15)
    """

    _axes = 2


class PixelShuffle3D(_PixelShuffle):
    """(N, f1 f2 f3 C, D, H, W) to (N, C, f1 D, f2 H, f3 W).

    Parameters
    ----------
    factor : int or tuple of 3 int

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.contrib.nn.PixelShuffle3D((2, 3, 4))(mx.nd.zeros((1, 48, 3, 5, 7))).shape
    (1, 2, 6, 15, 28)
    """

    _axes = 3
