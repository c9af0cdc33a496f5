"""Normalisation: of batches, layers, instances and groups of channels."""

from typing import Any

from clgrad import dtypes
from clgrad.gluon.block import HybridBlock
from clgrad.gluon.parameter import Parameter


class _Norm(HybridBlock):
    """What all normalisations share: gamma and beta, one number for each channel."""

    _kwargs: dict[str, Any]
    gamma: Parameter
    beta: Parameter

    def _make(self, size: int, scale: bool, center: bool, gamma_init, beta_init) -> None:
        self.gamma = self._vector("gamma", size, gamma_init, scale)
        self.beta = self._vector("beta", size, beta_init, center)

    def _vector(self, name: str, size: int, init, learned: bool, **kwargs: Any) -> Parameter:
        return self.params.get(
            name,
            grad_req="write" if learned else "null",
            shape=(size,),
            init=init,
            allow_deferred_init=True,
            **kwargs,
        )

    def _shown(self, channels: Any) -> str:
        pairs = [f"{key}={value!r}" for key, value in self._kwargs.items()]
        return f"{type(self).__name__}({', '.join([*pairs, *channels])})"

    @property
    def _size(self) -> int:
        return (self.gamma.shape or (0,))[0]

    def __repr__(self) -> str:
        return self._shown([f"in_channels={self._size}"])


class BatchNorm(_Norm):
    """gamma (x - mean) / sqrt(var + epsilon) + beta of each channel (Ioffe & Szegedy, 2015).

    In training, mean and variance are the batch's, and the running ones take a step towards them:
    running = momentum running + (1 - momentum) batch. Otherwise the running ones are used.

    Parameters
    ----------
    axis : int, default 1
        That of the channels.
    momentum : float, default 0.9
    epsilon : float, default 1e-5
    center : bool, default True
        Whether beta is learned; otherwise it stays as it is initialised, which is at 0.
    scale : bool, default True
        Whether gamma is learned; otherwise it counts as 1.
    use_global_stats : bool, default False
        Use the running mean and variance in training as well.
    beta_initializer, gamma_initializer : Initializer or str
    running_mean_initializer, running_variance_initializer : Initializer or str
    in_channels : int, default 0
        0 means those of the first input.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.BatchNorm()
    >>> layer.initialize()
    >>> with mx.autograd.record():
    ...     y = layer(mx.nd.array([[1], [3]]))
    >>> y.asnumpy().round(2).ravel(), layer.running_mean.data().asnumpy().round(2)
    (array([-1.,  1.], dtype=float32), array([0.2], dtype=float32))
    """

    _op_name = "BatchNorm"

    def __init__(
        self,
        axis=1,
        momentum=0.9,
        epsilon=1e-5,
        center=True,
        scale=True,
        use_global_stats=False,
        beta_initializer="zeros",
        gamma_initializer="ones",
        running_mean_initializer="zeros",
        running_variance_initializer="ones",
        in_channels=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._axis = axis
        self._kwargs = {
            "axis": axis,
            "eps": epsilon,
            "momentum": momentum,
            "fix_gamma": not scale,
            "use_global_stats": use_global_stats,
        }
        if in_channels:
            self.in_channels = in_channels
        self.gamma = self._vector("gamma", in_channels, gamma_initializer, scale, differentiable=scale)
        self.beta = self._vector("beta", in_channels, beta_initializer, center, differentiable=center)
        self.running_mean = self._vector(
            "running_mean", in_channels, running_mean_initializer, False, differentiable=False
        )
        self.running_var = self._vector(
            "running_var", in_channels, running_variance_initializer, False, differentiable=False
        )

    def cast(self, dtype) -> None:
        """Convert the parameters; beside 16-bit data they stay float32."""
        super().cast("float32" if dtypes.resolve(dtype, "cast").itemsize == 2 else dtype)

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        """Normalise, and in training update the running mean and variance."""
        return F.BatchNorm(x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        return self._shown([f"in_channels={self._size or None}"])


class BatchNormReLU(BatchNorm):
    """max(BatchNorm(x), 0): see :class:`BatchNorm`."""

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        """Normalise, and cut off at 0."""
        return F.contrib.BatchNormWithReLU(
            x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs
        )


class LayerNorm(_Norm):
    """gamma (x - mean) / sqrt(var + epsilon) + beta along one axis (Ba, Kiros & Hinton, 2016).

    Parameters
    ----------
    axis : int, default -1
    epsilon : float, default 1e-5
    center, scale : bool, default True
        Whether beta and gamma are learned.
    beta_initializer, gamma_initializer : Initializer or str
    in_channels : int, default 0
        Size of the axis; 0 means that of the first input.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.LayerNorm()
    >>> layer.initialize()
    >>> layer(mx.nd.array([[1, 3]])).asnumpy().round(2)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        axis=-1,
        epsilon=1e-5,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        in_channels=0,
        prefix=None,
        params=None,
    ):
        super().__init__(prefix=prefix, params=params)
        self._kwargs = {"eps": epsilon, "axis": axis, "center": center, "scale": scale}
        self._axis = axis
        self._epsilon = epsilon
        self._make(in_channels, scale, center, gamma_initializer, beta_initializer)

    def hybrid_forward(self, F, data, gamma, beta):
        """Normalise."""
        return F.LayerNorm(data, gamma=gamma, beta=beta, axis=self._axis, eps=self._epsilon)


class InstanceNorm(_Norm):
    """gamma (x - mean) / sqrt(var + epsilon) + beta of each instance and channel (Ulyanov et al., 2016).

    Parameters
    ----------
    axis : int, default 1
        That of the channels; the first axis counts the instances.
    epsilon : float, default 1e-5
    center : bool, default True
        Whether beta is learned.
    scale : bool, default False
        Whether gamma is.
    beta_initializer, gamma_initializer : Initializer or str
    in_channels : int, default 0
        0 means those of the first input.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.InstanceNorm()
    >>> layer.initialize()
    >>> layer(mx.nd.array([[[1, 3]], [[5, 1]]])).asnumpy().round(2).ravel()
    array([-1.,  1.,  1., -1.], dtype=float32)
    """

    def __init__(
        self,
        axis=1,
        epsilon=1e-5,
        center=True,
        scale=False,
        beta_initializer="zeros",
        gamma_initializer="ones",
        in_channels=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._kwargs = {"eps": epsilon, "axis": axis, "center": center, "scale": scale}
        self._axis = axis
        self._epsilon = epsilon
        self._make(in_channels, scale, center, gamma_initializer, beta_initializer)

    def hybrid_forward(self, F, x, gamma, beta):
        """Normalise."""
        if self._axis == 1:
            return F.InstanceNorm(x, gamma, beta, name="fwd", eps=self._epsilon)
        x = F.swapaxes(x, 1, self._axis)
        y = F.InstanceNorm(x, gamma, beta, name="fwd", eps=self._epsilon)
        return F.swapaxes(y, 1, self._axis)


class GroupNorm(_Norm):
    """gamma (x - mean) / sqrt(var + epsilon) + beta of each group of channels (Wu & He, 2018).

    Parameters
    ----------
    num_groups : int, default 1
        Into how many groups the channels of (batch, channels, space...) are parted. gamma and beta
        have one number for each group, as in MXNet.
    epsilon : float, default 1e-5
    center, scale : bool, default True
        Whether beta and gamma are learned.
    beta_initializer, gamma_initializer : Initializer or str

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.GroupNorm(2)
    >>> layer.initialize()
    >>> layer(mx.nd.array([[[1, 3], [1, 3], [5, 1], [5, 1]]])).asnumpy().round(2)[0, :, 0]
    array([-1., -1.,  1.,  1.], dtype=float32)
    """

    def __init__(
        self,
        num_groups=1,
        epsilon=1e-5,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        prefix=None,
        params=None,
    ):
        super().__init__(prefix=prefix, params=params)
        self._kwargs = {"eps": epsilon, "num_groups": num_groups, "center": center, "scale": scale}
        self._num_groups = num_groups
        self._epsilon = epsilon
        self._make(num_groups, scale, center, gamma_initializer, beta_initializer)

    def hybrid_forward(self, F, data, gamma, beta):
        """Normalise."""
        return F.GroupNorm(data, gamma=gamma, beta=beta, num_groups=self._num_groups, eps=self._epsilon)

    def __repr__(self) -> str:
        return self._shown([])
