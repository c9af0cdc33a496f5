"""Pooling: the largest element, the sum, the average or the p-norm of windows.

Sums are linear, and so is taking what lies at the places of the maxima: each comes with its transpose, and
the pair is closed under differentiation.
"""

import numpy as np

from clgrad.errors import argument_error
from clgrad.kernels import expr, pool
from clgrad.kernels.pool import PoolGeometry
from clgrad.ops.arguments import check_floating, sizes
from clgrad.ops.arithmetic import equal, not_equal
from clgrad.ops.convolution import has_channels_last, to_channels_first, to_channels_last
from clgrad.ops.selection import select
from clgrad.ops.unary import square
from clgrad.registry import Call, Spec, composite, elementwise, operator
from clgrad.tape import state


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
def sum_pool(call: Call, data: Spec, *, geometry: PoolGeometry, average):
    """The sum, or the average, of each window."""
    return pool.plan_sum(call.device, call.kernel(data.dtype), geometry, data.dtype, average=average)


@operator(name="_sum_pool_grad")
def _sum_pool_grad(call: Call, grad: Spec, *, geometry: PoolGeometry, average):
    """At each element the sum of dy (or its share of it) over the windows that hold it."""
    return pool.plan_sum_grad(call.device, call.kernel(grad.dtype), geometry, grad.dtype, average=average)


sum_pool.gradient(data=lambda dy, geometry, average: _sum_pool_grad(dy, geometry=geometry, average=average))
_sum_pool_grad.gradient(grad=lambda dy, geometry, average: sum_pool(dy, geometry=geometry, average=average))


@elementwise(name="_root2", label="Pooling", reference=np.sqrt, domain=(0.5, 4))
def _root2(total):
    """sqrt(total), of gradient 0 at 0."""
    return expr.call("sqrt", total)


@elementwise(name="_root3", label="Pooling", reference=np.cbrt, domain=(-4, 4))
def _root3(total):
    """The cube root of total, of gradient 0 at 0."""
    return expr.call("cbrt", total)


def _reciprocal(y):
    """1 / y, and 0 at 0."""
    return not_equal(y, 0) / select(equal(y, 0), 1, y)


_root2.gradient(total=lambda dy, y: dy * _reciprocal(y) / 2)
_root3.gradient(total=lambda dy, y: dy * square(_reciprocal(y)) / 3)

#: Of p: the power of an element, and the root of the sum of a window's powers.
_NORMS = {
    1: (lambda data: data, lambda total: total),
    2: (square, _root2),
    3: (lambda data: data * square(data), _root3),
}


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
    p_value=None,
    count_include_pad=None,
    layout=None,
):
    """The maximum, average, sum, or p-norm of windows over 1 to 3 spatial axes.

    ``pooling_convention`` ``valid`` keeps windows inside the padded data, ``full`` lets the last reach
    beyond, ``same`` starts one at every stride. ``lp`` is the p-th root of the sum of p-th powers, for
    ``p_value`` 1, 2 or 3, without absolute values. A maximum is NaN where its window holds one, the lowest
    finite number where it holds padding only; its gradient goes to the first of equal elements.
    """
    check_floating("Pooling", data=data)
    rank = data.ndim - 2
    is_last = has_channels_last("Pooling", data, layout)
    if is_last:
        data = to_channels_first(data)
    geometry = PoolGeometry.of(
        "Pooling",
        data.shape,
        kernel=sizes("Pooling", "kernel", kernel, rank),
        stride=sizes("Pooling", "stride", stride, rank) or None,
        pad=sizes("Pooling", "pad", pad, rank) or None,
        convention=pooling_convention,
        global_pool=bool(global_pool),
        count_include_pad=count_include_pad is not False,
    )
    result = _pooled(data, pool_type, p_value, geometry)
    return to_channels_last(result) if is_last else result


def _pooled(data, pool_type, p_value, geometry: PoolGeometry):
    if pool_type == "max":
        result = _max_pool(data, geometry=geometry, with_index=state.recording)
        return result[0] if state.recording else result
    if pool_type in ("avg", "sum"):
        return sum_pool(data, geometry=geometry, average=pool_type == "avg")
    if pool_type != "lp":
        raise argument_error("Pooling", "pool_type", repr(pool_type), "'max', 'avg', 'sum' or 'lp'")
    if p_value not in _NORMS:
        raise argument_error("Pooling", "p_value", p_value, "1, 2 or 3 where pool_type is 'lp'")
    power, root = _NORMS[p_value]
    return root(sum_pool(power(data), geometry=geometry, average=False))
