"""Convolutions and transposed convolutions over one, two and three axes."""

from typing import Any

from clgrad.errors import argument_error
from clgrad.gluon.arguments import Sizes, per_axis, size
from clgrad.gluon.block import HybridBlock
from clgrad.gluon.nn.activations import Activation


class _Conv(HybridBlock):
    """What all convolutions share: a weight, perhaps a bias, one op, and perhaps an activation."""

    _op_name = "Convolution"
    #: Number of spatial axes, and the layouts for them.
    _axes: int
    _layouts: tuple[str, str]

    def __init__(
        self,
        channels: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        layout: str | None = None,
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer=None,
        bias_initializer="zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        name, layout = type(self).__name__, layout or self._layouts[0]
        if layout not in self._layouts:
            raise argument_error(name, "layout", repr(layout), " or ".join(self._layouts))
        self._channels = size(name, "channels", channels)
        self._groups = size(name, "groups", groups)
        in_channels = size(name, "in_channels", in_channels, least=-1)
        self._kwargs: dict[str, Any] = {
            "kernel": per_axis(name, "kernel_size", kernel_size, self._axes),
            "stride": per_axis(name, "strides", strides, self._axes),
            "dilate": per_axis(name, "dilation", dilation, self._axes),
            "pad": per_axis(name, "padding", padding, self._axes),
            "num_filter": channels,
            "num_group": groups,
            "no_bias": not use_bias,
            "layout": layout,
        }
        with self.name_scope():
            self.weight = self.params.get(
                "weight",
                shape=self._weight_shape(in_channels),
                init=weight_initializer,
                allow_deferred_init=True,
            )
            self.bias = None
            if use_bias:
                self.bias = self.params.get(
                    "bias", shape=(channels,), init=bias_initializer, allow_deferred_init=True
                )
            self.act = None if activation is None else Activation(activation, prefix=f"{activation}_")

    def _weight_shape(self, in_channels: int) -> tuple[int, ...]:
        return self._in_layout(self._channels, in_channels // self._groups)

    def _in_layout(self, outer: int, inner: int) -> tuple[int, ...]:
        """The weight's shape: where the channels are last, its second axis is."""
        kernel = self._kwargs["kernel"]
        is_last = self._kwargs["layout"] == self._layouts[1]
        return (outer, *kernel, inner) if is_last else (outer, inner, *kernel)

    def _alias(self) -> str:
        return "conv"

    def hybrid_forward(self, F, x, weight, bias=None):
        """Convolve, and apply the activation."""
        arrays = (x, weight) if bias is None else (x, weight, bias)
        y = getattr(F, self._op_name)(*arrays, name="fwd", **self._kwargs)
        return y if self.act is None else self.act(y)

    def __repr__(self) -> str:
        shape, shown = self.weight.shape or (0, 0), self._kwargs
        inner = shape[-1 if shown["layout"] == self._layouts[1] else 1]
        parts = [
            f"{inner or None} -> {shape[0]}",
            f"kernel_size={shown['kernel']}",
            f"stride={shown['stride']}",
        ]
        if any(shown["pad"]):
            parts.append(f"padding={shown['pad']}")
        if any(d != 1 for d in shown["dilate"]):
            parts.append(f"dilation={shown['dilate']}")
        if shown["num_group"] != 1:
            parts.append(f"groups={shown['num_group']}")
        if self.bias is None:
            parts.append("bias=False")
        if self.act is not None:
            parts.append(repr(self.act))
        return f"{type(self).__name__}({', '.join(parts)})"


class Conv1D(_Conv):
    """Cross-correlation of (batch, channels, width) with a learned kernel: see :class:`Conv2D`.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Conv1D(8, 3)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 10))).shape
    (1, 8, 8)
    """

    _axes, _layouts = 1, ("NCW", "NWC")


class Conv2D(_Conv):
    """Cross-correlation of (batch, channels, height, width) with a learned kernel, plus a bias.

    Along each axis there are floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 results:
    see ``nd.Convolution``.

    Parameters
    ----------
    channels : int
        Number of channels of the result.
    kernel_size, strides, padding, dilation : int or tuple of int
        For all axes, or for each.
    groups : int, default 1
        Into how many parts the channels are parted, each convolved by itself.
    layout : str, default 'NCHW'
        Or ``'NHWC'``, where data and result have their channels last, and the weight
        (channels, height, width, in_channels / groups). Kernels have them first, so arrays are
        transposed for it, unless the kernel is of one element, with strides 1, without padding and groups.
    activation : str, optional
        See :class:`Activation`.
    use_bias : bool, default True
    weight_initializer : Initializer or str, optional
    bias_initializer : Initializer or str, default 'zeros'
    in_channels : int, default 0
        0 means those of the first input.

    Raises
    ------
    OperatorError
        An argument has too many or too few numbers, or the layout is unknown.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Conv2D(8, 3, padding=1, activation="relu")
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 10, 10))).shape
    (1, 8, 10, 10)
    >>> layer
    Conv2D(4 -> 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), Activation(relu))
    """

    _axes, _layouts = 2, ("NCHW", "NHWC")


class Conv3D(_Conv):
    """Cross-correlation of (batch, channels, depth, height, width) with a kernel: see :class:`Conv2D`.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Conv3D(8, (1, 3, 3))
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 5, 6, 7))).shape
    (1, 8, 5, 4, 5)
    """

    _axes, _layouts = 3, ("NCDHW", "NDHWC")


class _ConvTranspose(_Conv):
    """What transposed convolutions share."""

    _op_name = "Deconvolution"

    def __init__(
        self,
        channels: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        layout: str | None = None,
        activation: str | None = None,
        use_bias: bool = True,
        weight_initializer=None,
        bias_initializer="zeros",
        in_channels: int = 0,
        **kwargs: Any,
    ):
        super().__init__(
            channels,
            kernel_size,
            strides,
            padding,
            dilation,
            groups,
            layout,
            activation,
            use_bias,
            weight_initializer,
            bias_initializer,
            in_channels,
            **kwargs,
        )
        self.outpad = per_axis(type(self).__name__, "output_padding", output_padding, self._axes)
        self._kwargs["adj"] = self.outpad

    def _weight_shape(self, in_channels: int) -> tuple[int, ...]:
        return self._in_layout(in_channels, self._channels // self._groups)


class Conv1DTranspose(_ConvTranspose):
    """The transpose of a convolution of (batch, channels, width): see :class:`Conv2DTranspose`.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Conv1DTranspose(8, 3, strides=2, output_padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 10))).shape
    (1, 8, 22)
    """

    _axes, _layouts = 1, ("NCW", "NWC")


class Conv2DTranspose(_ConvTranspose):
    """The transpose of a convolution of (batch, channels, height, width), plus a bias.

    Along each axis there are stride (size - 1) + dilation (kernel - 1) + 1 - 2 padding + output_padding
    results: see ``nd.Deconvolution``.

    Parameters
    ----------
    channels : int
        Number of channels of the result.
    kernel_size, strides, padding : int or tuple of int
        Those of the convolution, for all axes or for each.
    output_padding : int or tuple of int
        Further results at the end of each axis; fewer than the stride.
    dilation, groups, layout, activation, use_bias, weight_initializer, bias_initializer, in_channels
        As in :class:`Conv2D`.

    Raises
    ------
    OperatorError
        As in :class:`Conv2D`.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Conv2DTranspose(8, 4, strides=2, padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 10, 10))).shape
    (1, 8, 20, 20)
    """

    _axes, _layouts = 2, ("NCHW", "NHWC")


class Conv3DTranspose(_ConvTranspose):
    """The transpose of a convolution over depth, height and width: see :class:`Conv2DTranspose`.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Conv3DTranspose(8, 2, strides=2)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 5, 6, 7))).shape
    (1, 8, 10, 12, 14)
    """

    _axes, _layouts = 3, ("NCDHW", "NDHWC")
