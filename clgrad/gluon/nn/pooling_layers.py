"""Pooling over one, two and three axes, and padding by reflection."""

from collections.abc import Sequence
from typing import Any

from clgrad.errors import argument_error
from clgrad.gluon.arguments import Sizes, per_axis
from clgrad.gluon.block import HybridBlock


class _Pooling(HybridBlock):
    """What all poolings share: the arguments of ``nd.Pooling``."""

    _axes: int
    _layouts: tuple[str, str]
    _pool_type: str
    _global = False

    def _alias(self) -> str:
        return "pool"

    def _configure(
        self,
        pool_size: Sizes,
        strides: Sizes | None,
        padding: Sizes,
        layout: str,
        ceil_mode: bool,
        count_include_pad: bool | None = None,
    ) -> None:
        name = type(self).__name__
        if layout not in self._layouts:
            raise argument_error(name, "layout", repr(layout), " or ".join(self._layouts))
        size = per_axis(name, "pool_size", pool_size, self._axes)
        self._kwargs: dict[str, Any] = {
            "kernel": size,
            "stride": size if strides is None else per_axis(name, "strides", strides, self._axes),
            "pad": per_axis(name, "padding", padding, self._axes),
            "global_pool": self._global,
            "pool_type": self._pool_type,
            "layout": layout,
            "pooling_convention": "full" if ceil_mode else "valid",
        }
        if count_include_pad is not None:
            self._kwargs["count_include_pad"] = count_include_pad

    def hybrid_forward(self, F, x):
        """Pool."""
        return F.Pooling(x, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        shown = self._kwargs
        return (
            f"{type(self).__name__}(size={shown['kernel']}, stride={shown['stride']}, "
            f"padding={shown['pad']}, ceil_mode={shown['pooling_convention'] == 'full'}, "
            f"global_pool={shown['global_pool']}, pool_type={shown['pool_type']}, layout={shown['layout']})"
        )


class MaxPool1D(_Pooling):
    """Maxima of windows of (batch, channels, width): see :class:`MaxPool2D`."""

    _axes, _layouts, _pool_type = 1, ("NCW", "NWC"), "max"

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: Sizes = 0,
        layout: str = "NCW",
        ceil_mode: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(pool_size, strides, padding, layout, ceil_mode)


class MaxPool2D(_Pooling):
    """Maxima of windows of (batch, channels, height, width).

    Parameters
    ----------
    pool_size : int or tuple of int, default 2
        Size of the windows.
    strides : int or tuple of int, optional
        From window to window; ``pool_size`` by default.
    padding : int or tuple of int, default 0
    layout : str, default 'NCHW'
        Or ``'NHWC'``.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the padding.

    Raises
    ------
    OperatorError
        An argument has too many or too few numbers, or the layout is unknown.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.MaxPool2D()(mx.nd.arange(16).reshape(1, 1, 4, 4)).asnumpy()
    array([[[[ 5.,  7.],
             [13., 15.]]]], dtype=float32)
    """

    _axes, _layouts, _pool_type = 2, ("NCHW", "NHWC"), "max"

    def __init__(
        self,
        pool_size: Sizes = (2, 2),
        strides: Sizes | None = None,
        padding: Sizes = 0,
        layout: str = "NCHW",
        ceil_mode: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(pool_size, strides, padding, layout, ceil_mode)


class MaxPool3D(_Pooling):
    """Maxima of windows of (batch, channels, depth, height, width): see :class:`MaxPool2D`."""

    _axes, _layouts, _pool_type = 3, ("NCDHW", "NDHWC"), "max"

    def __init__(
        self,
        pool_size: Sizes = (2, 2, 2),
        strides: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        layout: str = "NCDHW",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(pool_size, strides, padding, layout, ceil_mode)


class AvgPool1D(_Pooling):
    """Means of windows of (batch, channels, width): see :class:`AvgPool2D`."""

    _axes, _layouts, _pool_type = 1, ("NCW", "NWC"), "avg"

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: Sizes = 0,
        layout: str = "NCW",
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(pool_size, strides, padding, layout, ceil_mode, count_include_pad)


class AvgPool2D(_Pooling):
    """Means of windows of (batch, channels, height, width).

    Parameters
    ----------
    pool_size, strides, padding, ceil_mode, layout
        As in :class:`MaxPool2D`.
    count_include_pad : bool, default True
        Whether padding counts as zeros, or not at all.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.AvgPool2D()(mx.nd.arange(16).reshape(1, 1, 4, 4)).asnumpy()
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]], dtype=float32)
    """

    _axes, _layouts, _pool_type = 2, ("NCHW", "NHWC"), "avg"

    def __init__(
        self,
        pool_size: Sizes = (2, 2),
        strides: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        layout: str = "NCHW",
        count_include_pad: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(pool_size, strides, padding, layout, ceil_mode, count_include_pad)


class AvgPool3D(_Pooling):
    """Means of windows of (batch, channels, depth, height, width): see :class:`AvgPool2D`."""

    _axes, _layouts, _pool_type = 3, ("NCDHW", "NDHWC"), "avg"

    def __init__(
        self,
        pool_size: Sizes = (2, 2, 2),
        strides: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        layout: str = "NCDHW",
        count_include_pad: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(pool_size, strides, padding, layout, ceil_mode, count_include_pad)


class _GlobalPooling(_Pooling):
    """What poolings over whole axes share."""

    _global = True

    def __init__(self, layout: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._configure(1, None, 0, layout or self._layouts[0], True)


class GlobalMaxPool1D(_GlobalPooling):
    """The maximum of each channel of (batch, channels, width): see :class:`GlobalMaxPool2D`."""

    _axes, _layouts, _pool_type = 1, ("NCW", "NWC"), "max"


class GlobalMaxPool2D(_GlobalPooling):
    """The maximum of each channel of (batch, channels, height, width).

    Parameters
    ----------
    layout : str, default 'NCHW'
        Or ``'NHWC'``.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.GlobalMaxPool2D()(mx.nd.arange(8).reshape(1, 2, 2, 2)).asnumpy().ravel()
    array([3., 7.], dtype=float32)
    """

    _axes, _layouts, _pool_type = 2, ("NCHW", "NHWC"), "max"


class GlobalMaxPool3D(_GlobalPooling):
    """The maximum of each channel over depth, height and width: see :class:`GlobalMaxPool2D`."""

    _axes, _layouts, _pool_type = 3, ("NCDHW", "NDHWC"), "max"


class GlobalAvgPool1D(_GlobalPooling):
    """The mean of each channel of (batch, channels, width): see :class:`GlobalAvgPool2D`."""

    _axes, _layouts, _pool_type = 1, ("NCW", "NWC"), "avg"


class GlobalAvgPool2D(_GlobalPooling):
    """The mean of each channel of (batch, channels, height, width).

    Parameters
    ----------
    layout : str, default 'NCHW'
        Or ``'NHWC'``.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.GlobalAvgPool2D()(mx.nd.arange(8).reshape(1, 2, 2, 2)).asnumpy().ravel()
    array([1.5, 5.5], dtype=float32)
    """

    _axes, _layouts, _pool_type = 2, ("NCHW", "NHWC"), "avg"


class GlobalAvgPool3D(_GlobalPooling):
    """The mean of each channel of (batch, channels, depth, height, width): see :class:`GlobalAvgPool2D`."""

    _axes, _layouts, _pool_type = 3, ("NCDHW", "NDHWC"), "avg"


class ReflectionPad2D(HybridBlock):
    """Pads height and width of (batch, channels, height, width) with their reflections.

    Parameters
    ----------
    padding : int or tuple of 8 int, default 0
        At both ends of both axes; or, as ``nd.pad`` takes it, before and behind each of the four axes.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.ReflectionPad2D(1)(mx.nd.arange(4).reshape(1, 1, 2, 2)).asnumpy()[0, 0]
    array([[3., 2., 3., 2.],
           [1., 0., 1., 0.],
           [3., 2., 3., 2.],
           [1., 0., 1., 0.]], dtype=float32)
    """

    def __init__(self, padding: int | Sequence[int] = 0, **kwargs: Any):
        super().__init__(**kwargs)
        widths = (0,) * 4 + (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(widths) != 8:
            raise argument_error("ReflectionPad2D", "padding", repr(padding), "a number, or 8 of them")
        self._padding = widths

    def hybrid_forward(self, F, x):
        """Pad."""
        return F.pad(x, mode="reflect", pad_width=self._padding)
