"""Convolution and pooling.

A convolution is bilinear in data and weight, so it and its two gradients are closed under
differentiation: the gradient of each is made of the other two, which gives every order.
"""

from clgrad.errors import argument_error
from clgrad.kernels import conv, pool
from clgrad.kernels.conv import ConvGeometry
from clgrad.kernels.pool import PoolGeometry
from clgrad.ops.arithmetic import power
from clgrad.ops.reduction import sum
from clgrad.ops.unary import abs, sqrt, square
from clgrad.registry import Call, Spec, composite, operator
from clgrad.tape import state


@operator(name="_conv", label="Convolution")
def _conv(call: Call, data: Spec, weight: Spec, bias: Spec | None = None, *, geometry: ConvGeometry):
    """Cross-correlation of data with weight, plus bias."""
    return conv.plan_forward(
        call.device, call.kernel(data.dtype), data.dtype, geometry, bias=bias is not None
    )


@operator(name="_conv_grad_data", label="Convolution_grad_data")
def _conv_grad_data(call: Call, grad: Spec, weight: Spec, *, geometry: ConvGeometry):
    """The gradient of a convolution's data: the transposed convolution of dy."""
    return conv.plan_grad_data(call.device, call.kernel(grad.dtype), grad.dtype, geometry)


@operator(name="_conv_grad_weight", label="Convolution_grad_weight")
def _conv_grad_weight(call: Call, data: Spec, grad: Spec, *, geometry: ConvGeometry):
    """The gradient of a convolution's weight."""
    return conv.plan_grad_weight(call.device, call.kernel(grad.dtype), grad.dtype, geometry)


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
    spatial axes. ``workspace`` and the ``cudnn`` arguments have no effect.
    """
    rank = data.ndim - 2
    if layout not in (None, "NCW", "NCHW", "NCDHW"):
        raise argument_error("Convolution", "layout", layout, "NCW, NCHW or NCDHW")
    if weight.ndim != data.ndim or rank < 1:
        raise argument_error(
            "Convolution",
            "weight",
            f"of shape {weight.shape}",
            f"as many axes as data {data.shape}, 3 to 5",
        )
    _check_no_contradiction("Convolution", "kernel", kernel, weight.shape[2:])
    _check_no_contradiction("Convolution", "num_filter", num_filter, weight.shape[0])
    geometry = ConvGeometry(
        batch=data.shape[0],
        in_channels=data.shape[1],
        out_channels=weight.shape[0],
        size=data.shape[2:],
        kernel=weight.shape[2:],
        stride=_sizes(stride, rank),
        dilate=_sizes(dilate, rank),
        pad=_sizes(pad, rank),
        groups=int(num_group),
    )
    if weight.shape != geometry.weight_shape or weight.dtype != data.dtype:
        raise argument_error(
            "Convolution",
            "weight",
            f"{weight._view.dtype} {weight.shape}",
            f"{data._view.dtype} {geometry.weight_shape} for data {data.shape}",
        )
    if no_bias:
        bias = None
    elif bias is None or bias.shape != weight.shape[:1]:
        given = bias if bias is None else f"of shape {bias.shape}"
        raise argument_error("Convolution", "bias", given, f"shape {weight.shape[:1]}, or no_bias=True")
    return _conv(data, weight, bias, geometry=geometry)


def _check_no_contradiction(op: str, argument: str, given, actual) -> None:
    if given and (tuple(given) if isinstance(given, list | tuple) else given) != actual:
        raise argument_error(op, argument, given, f"{actual}, as the weight has")


def _sizes(value, rank: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * rank
    return tuple(int(v) for v in value or ())


@operator(name="_max_pool", outputs=("y", "places"))
def _max_pool(call: Call, data: Spec, *, geometry: PoolGeometry, with_index):
    """The largest element of each window, and (for the gradient) its place."""
    return pool.plan_max(call.device, call.kernel(data.dtype), geometry, data.dtype, with_index=with_index)


@operator(name="_max_pool_scatter")
def _max_pool_scatter(call: Call, grad: Spec, places: Spec, *, geometry: PoolGeometry):
    """At each element the sum of dy over the windows whose maximum it was."""
    return pool.plan_max_scatter(call.device, call.kernel(grad.dtype), geometry, grad.dtype)


@operator(name="_max_pool_gather")
def _max_pool_gather(call: Call, data: Spec, places: Spec, *, geometry: PoolGeometry):
    """The elements at the places of the maxima."""
    return pool.plan_max_gather(call.device, call.kernel(data.dtype), geometry, data.dtype)


_max_pool.gradient(data=lambda dy, places, geometry: _max_pool_scatter(dy, places, geometry=geometry))
_max_pool_scatter.gradient(
    grad=lambda dy, places, geometry: _max_pool_gather(dy, places, geometry=geometry)
)
_max_pool_gather.gradient(
    data=lambda dy, places, geometry: _max_pool_scatter(dy, places, geometry=geometry)
)


@operator(name="_sum_pool")
def _sum_pool(call: Call, data: Spec, *, geometry: PoolGeometry, average):
    """The sum, or the average, of each window."""
    return pool.plan_sum(call.device, call.kernel(data.dtype), geometry, data.dtype, average=average)


@operator(name="_sum_pool_grad")
def _sum_pool_grad(call: Call, grad: Spec, *, geometry: PoolGeometry, average):
    """At each element the sum of dy (or its share of it) over the windows that hold it."""
    return pool.plan_sum_grad(call.device, call.kernel(grad.dtype), geometry, grad.dtype, average=average)


_sum_pool.gradient(
    data=lambda dy, geometry, average: _sum_pool_grad(dy, geometry=geometry, average=average)
)
_sum_pool_grad.gradient(
    grad=lambda dy, geometry, average: _sum_pool(dy, geometry=geometry, average=average)
)


@composite()
def Pooling(
    data,
    kernel=(),
    pool_type="max",
    global_pool=False,
    cudnn_off=False,
    pooling_convention="valid",
    stride=(),
    pad=(),
    p_value=2,
    count_include_pad=None,
    layout=None,
):
    """The maximum, average, sum, or p-norm of windows over 1 to 3 spatial axes.

    ``pooling_convention`` ``valid`` keeps windows inside the padded data, ``full`` lets the last reach
    beyond, ``same`` starts one at every stride.
    """
    rank = data.ndim - 2
    geometry = PoolGeometry.of(
        "Pooling",
        data.shape,
        kernel=_sizes(kernel, rank),
        stride=_sizes(stride, rank) or None,
        pad=_sizes(pad, rank) or None,
        convention=pooling_convention,
        global_pool=bool(global_pool),
        count_include_pad=count_include_pad is not False,
    )
    if pool_type == "max":
        result = _max_pool(data, geometry=geometry, with_index=state.recording)
        return result[0] if state.recording else result
    if pool_type in ("avg", "sum"):
        return _sum_pool(data, geometry=geometry, average=pool_type == "avg")
    if pool_type != "lp" or p_value not in (1, 2, 3):
        raise argument_error(
            "Pooling",
            "pool_type, p_value",
            (pool_type, p_value),
            "max, avg, sum, or lp with p_value 1, 2 or 3",
        )
    powers = abs(data) if p_value == 1 else square(data) if p_value == 2 else power(abs(data), p_value)
    total = _sum_pool(powers, geometry=geometry, average=False)
    return total if p_value == 1 else sqrt(total) if p_value == 2 else power(total, 1 / p_value)
