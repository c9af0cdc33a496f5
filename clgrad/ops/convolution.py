"""Convolution and its transpose.

A convolution is bilinear in data and weight, so it and its two gradients are closed under
differentiation: the gradient of each is made of the other two, which gives every order. The transposed
convolution (deconvolution) is the gradient of the data.
"""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import conv
from clgrad.kernels.conv import ConvGeometry
from clgrad.ops.arguments import check_numbers, sizes
from clgrad.ops.conversion import cast
from clgrad.ops.product import FullyConnected
from clgrad.ops.reduction import sum
from clgrad.ops.shape import reshape, transpose
from clgrad.registry import Call, Spec, composite, operator

#: Layouts by spatial axes: with the channels first, as kernels have them, and last.
LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def has_channels_last(op: str, data, layout) -> bool:
    """Whether a layout has the channels last.

    Raises
    ------
    OperatorError
        It is none of those for data with so many axes.
    """
    rank = data.ndim - 2
    if layout in (None, "None", LAYOUTS.get(rank)):
        return False
    if layout != CHANNELS_LAST.get(rank):
        accepted = f"{LAYOUTS.get(rank)} or {CHANNELS_LAST.get(rank)} for data {data.shape}"
        raise argument_error(op, "layout", layout, accepted)
    return True


def to_channels_first(data):
    """An array whose channels are last, with its axes in the order of kernels."""
    return transpose(data, axes=(0, data.ndim - 1, *range(1, data.ndim - 1)))


def to_channels_last(data):
    """The other way round."""
    return transpose(data, axes=(0, *range(2, data.ndim), 1))


@operator(name="_conv", label="Convolution", finishes=True)
def _conv(call: Call, data: Spec, weight: Spec, bias: Spec | None = None, *, geometry: ConvGeometry):
    """Cross-correlation of data with weight, plus bias."""
    return conv.plan_forward(
        call.device, call.kernel(data.dtype), data.dtype, geometry, bias is not None, call.epilogue
    )


@operator(name="_conv_grad_data", label="Convolution_grad_data")
def _conv_grad_data(call: Call, grad: Spec, weight: Spec, *, geometry: ConvGeometry):
    """The gradient of a convolution's data: the transposed convolution of dy."""
    return conv.plan_grad_data(call.device, call.kernel(grad.dtype), grad.dtype, geometry)


@operator(name="_conv_grad_weight", label="Convolution_grad_weight")
def _conv_grad_weight(call: Call, data: Spec, grad: Spec, *, geometry: ConvGeometry):
    """The gradient of a convolution's weight."""
    return conv.plan_grad_weight(call.device, call.kernel(grad.dtype), grad.dtype, geometry)


@operator(name="_deconv", label="Deconvolution")
def _deconv(call: Call, data: Spec, weight: Spec, bias: Spec | None = None, *, geometry: ConvGeometry):
    """The transposed convolution of data, plus bias; ``geometry`` is that of the convolution."""
    return conv.plan_grad_data(
        call.device, call.kernel(data.dtype), data.dtype, geometry, bias=bias is not None
    )


_conv.gradient(
    data=lambda dy, weight, geometry: _conv_grad_data(dy, weight, geometry=geometry),
    weight=lambda dy, data, geometry: _conv_grad_weight(data, dy, geometry=geometry),
    bias=lambda dy: sum(dy, axis=1, exclude=True),
)
_conv_grad_data.gradient(
    grad=lambda dy, weight, geometry: _conv(dy, weight, geometry=geometry),
    weight=lambda dy, grad, geometry: _conv_grad_weight(dy, grad, geometry=geometry),
)
_conv_grad_weight.gradient(
    data=lambda dy, grad, geometry: _conv_grad_data(grad, dy, geometry=geometry),
    grad=lambda dy, data, geometry: _conv(data, dy, geometry=geometry),
)
_deconv.gradient(
    data=lambda dy, weight, geometry: _conv(dy, weight, geometry=geometry),
    weight=lambda dy, data, geometry: _conv_grad_weight(dy, data, geometry=geometry),
    bias=lambda dy: sum(dy, axis=1, exclude=True),
)


@composite()
def Convolution(
    data,
    weight,
    bias=None,
    kernel=(),
    stride=(),
    dilate=(),
    pad=(),
    num_filter=0,
    num_group=1,
    workspace=1024,
    no_bias=False,
    cudnn_tune=None,
    cudnn_off=False,
    layout=None,
):
    """Cross-correlation of (batch, channel, ...) with (num_filter, channel / num_group, ...).

    y[b, o] = bias[o] + sum over channels c of its group of data[b, c] * weight[o, c], for 1 to 3
    spatial axes. ``kernel`` and ``num_filter`` may be left out: the weight has them. ``workspace`` and
    the ``cudnn`` arguments have no effect.

    With the channels last (``layout`` NWC, NHWC or NDHWC) they are last in weight and result too. Data,
    weight and result are transposed for that, unless the kernel is of one element, with stride 1 and
    without pad and groups.
    """
    op, rank = "Convolution", data.ndim - 2
    _check_weight(op, data, weight)
    is_last = has_channels_last(op, data, layout)
    batch, channels, *space = _first(data.shape, is_last)
    taps = sizes(op, "kernel", kernel, rank) or _first(weight.shape, is_last)[2:]
    filters = int(num_filter) or weight.shape[0]
    geometry = ConvGeometry(
        batch=batch,
        in_channels=channels,
        out_channels=filters,
        size=tuple(space),
        kernel=taps,
        stride=sizes(op, "stride", stride, rank),
        dilate=sizes(op, "dilate", dilate, rank),
        pad=sizes(op, "pad", pad, rank),
        groups=int(num_group),
    )
    _check_shape(op, "weight", weight, data, _last(geometry.weight_shape, is_last))
    bias = _bias(op, data, bias, filters, no_bias)
    if is_last and _is_product(geometry):
        return FullyConnected(
            data, reshape(weight, shape=(filters, channels)), bias, no_bias=bias is None, flatten=False
        )
    return _convolved(_conv, data, weight, bias, geometry, is_last)


@composite()
def Deconvolution(
    data,
    weight,
    bias=None,
    kernel=(),
    stride=(),
    dilate=(),
    pad=(),
    adj=(),
    target_shape=(),
    num_filter=0,
    num_group=1,
    workspace=512,
    no_bias=True,
    cudnn_tune=None,
    cudnn_off=False,
    layout=None,
):
    """The transpose of a convolution: (batch, channel, ...) with (channel, num_filter / num_group, ...).

    data[b, c] * weight[c, o], added to y[b, o] at every ``stride``-th place: the gradient that the
    convolution of those arguments gives to its data. Along each spatial axis the result has
    stride * (size - 1) + dilate * (kernel - 1) + 1 - 2 * pad + adj elements; ``target_shape`` chooses pad
    and adj so that it has that many. ``workspace`` and the ``cudnn`` arguments have no effect.
    ``layout`` is as in Convolution.

    The source is M. D. Zeiler et al.: Deconvolutional networks, 2010; the arithmetic is that of
    V. Dumoulin, F. Visin: A guide to convolution arithmetic for deep learning, 2016, section 4.
    """
    op, rank = "Deconvolution", data.ndim - 2
    _check_weight(op, data, weight)
    is_last = has_channels_last(op, data, layout)
    batch, channels, *space = _first(data.shape, is_last)
    _, each, *own = _first(weight.shape, is_last)
    taps = sizes(op, "kernel", kernel, rank) or tuple(own)
    groups = int(num_group)
    filters = int(num_filter) or each * groups
    stride = sizes(op, "stride", stride, rank) or (1,) * rank
    dilate = sizes(op, "dilate", dilate, rank) or (1,) * rank
    axes = zip(space, taps, stride, dilate, strict=True)
    full = tuple(s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in axes)
    pad, size = _cut(op, full, stride, pad, adj, target_shape)
    geometry = ConvGeometry(
        batch=batch,
        in_channels=filters,
        out_channels=channels,
        size=size,
        kernel=taps,
        stride=stride,
        dilate=dilate,
        pad=pad,
        groups=groups,
    )
    _check_shape(op, "weight", weight, data, _last(geometry.weight_shape, is_last))
    return _convolved(_deconv, data, weight, _bias(op, data, bias, filters, no_bias), geometry, is_last)


def _first(shape, is_last: bool) -> tuple[int, ...]:
    """A shape with the channels behind the first axis."""
    return (shape[0], shape[-1], *shape[1:-1]) if is_last else shape


def _last(shape, is_last: bool) -> tuple[int, ...]:
    """The other way round: a shape of kernels as the user has it."""
    return (shape[0], *shape[2:], shape[1]) if is_last else shape


def _is_product(geometry: ConvGeometry) -> bool:
    """Whether a convolution multiplies each place's channels by one matrix."""
    ones = (*geometry.kernel, *geometry.stride, geometry.groups)
    return all(n == 1 for n in ones) and not any(geometry.pad)


def _convolved(op, data, weight, bias, geometry: ConvGeometry, is_last: bool):
    """The op on arrays as kernels want them.

    Whole numbers of 8 and 16 bits are computed in 32: PoCL's wheel adds windows of them up wrongly.
    """
    if is_last:
        data, weight = to_channels_first(data), to_channels_first(weight)
    dtype = data._view.dtype
    if dtypes.is_floating(dtype) or dtype.itemsize >= 4:
        y = op(data, weight, bias, geometry=geometry)
    else:
        wide = [a if a is None else cast(a, dtype="int32") for a in (data, weight, bias)]
        y = cast(op(*wide, geometry=geometry), dtype=dtype)
    return to_channels_last(y) if is_last else y


def _cut(op: str, full, stride, pad, adj, target_shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pad of a transposed convolution whose full size is given, and the size that it leaves."""
    rank = len(full)
    target = sizes(op, "target_shape", target_shape, rank)
    if any(target):
        pad, adj = _fit(op, full, target)
    else:
        pad = sizes(op, "pad", pad, rank) or (0,) * rank
        adj = sizes(op, "adj", adj, rank) or (0,) * rank
    if any(not 0 <= a < s for a, s in zip(adj, stride, strict=True)):
        raise argument_error(op, "adj", adj, f"0 or more, and less than the stride {stride}")
    size = tuple(f - 2 * p + a for f, p, a in zip(full, pad, adj, strict=True))
    if min(size) < 1:
        raise argument_error(op, "pad", pad, f"less than half of the unpadded result {full}")
    return pad, size


def _fit(op: str, full, target) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pad and adj that cut the full size down to the target's: evenly, more of it in front."""
    if any(not 0 < t <= f for f, t in zip(full, target, strict=True)):
        raise argument_error(op, "target_shape", target, f"positive sizes up to {full}")
    surplus = [f - t for f, t in zip(full, target, strict=True)]
    return tuple((n + 1) // 2 for n in surplus), tuple(n % 2 for n in surplus)


def _check_weight(op: str, data, weight) -> None:
    check_numbers(op, data=data)
    rank = data.ndim - 2
    if weight.ndim != data.ndim or rank not in LAYOUTS:
        accepted = f"as many axes as data {data.shape}, 3 to 5"
        raise argument_error(op, "weight", f"of shape {weight.shape}", accepted)


def _check_shape(op: str, argument: str, array, data, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != data.dtype:
        given = f"{array._view.dtype} {array.shape}"
        raise argument_error(op, argument, given, f"{data._view.dtype} {shape} for data {data.shape}")


def _bias(op: str, data, bias, filters: int, no_bias):
    """The bias, if there is one: a given one that would be ignored is a mistake, as in MXNet."""
    if no_bias and bias is None:
        return None
    if no_bias or bias is None:
        given = "None" if bias is None else "an array"
        raise argument_error(op, "bias", given, f"shape ({filters},), or None with no_bias=True")
    _check_shape(op, "bias", bias, data, (filters,))
    return bias
