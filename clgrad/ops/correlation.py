"""Correlation of two feature maps at displacements of each other.

The products of one map with the other, displaced, are bilinear: the op and its two gradients are closed
under differentiation, like those of a convolution. All three are sums over a space of strided operands, so
they need no kernel of their own.
"""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, reduce
from clgrad.kernels.layout import Operand
from clgrad.kernels.pool import PoolGeometry
from clgrad.ops.pad import constant_pad
from clgrad.ops.pooling import sum_pool
from clgrad.ops.reduction import sum
from clgrad.ops.shape import stack, take_slice, with_shape
from clgrad.ops.unary import abs
from clgrad.registry import Call, Spec, composite, grouped, operator


def _sum_of_products(call: Call, what: str, lhs: Spec, rhs: Spec, shape, axes, strides, bases=(0, 0)):
    operands = [
        Operand(s.dtype, steps, base) for s, steps, base in zip((lhs, rhs), strides, bases, strict=True)
    ]
    total = expr.operand(0, lhs.dtype) * expr.operand(1, rhs.dtype)
    name = call.kernel(lhs.dtype, what)
    return reduce.plan(
        call.device, name, shape, axes, [reduce.Reduction(total, "sum", lhs.dtype)], operands
    )


@operator(name="_displaced", label="Correlation")
def _displaced(call: Call, data1: Spec, data2: Spec, *, step):
    """y[n, i, j, y, x] = the sum over c of data1[n, c, y, x] * data2[n, c, y + i * step, x + j * step]."""
    batch, channels, *size = data1.shape
    count = [(m - n) // step + 1 for n, m in zip(size, data2.shape[2:], strict=True)]
    n1, c1, y1, x1 = layout.contiguous_strides(data1.shape)
    n2, c2, y2, x2 = layout.contiguous_strides(data2.shape)
    strides = [(n1, 0, 0, y1, x1, c1), (n2, y2 * step, x2 * step, y2, x2, c2)]
    shape = (batch, *count, *size, channels)
    return _sum_of_products(call, "forward", data1, data2, shape, [5], strides)


@operator(name="_displaced_grad_data1", label="Correlation")
def _grad_data1(call: Call, grad: Spec, data2: Spec, *, step):
    """y[n, c, y, x] = the sum over i, j of dy[n, i, j, y, x] * data2[n, c, y + i * step, x + j * step]."""
    batch, rows, columns, *size = grad.shape
    n0, i0, j0, y0, x0 = layout.contiguous_strides(grad.shape)
    n2, c2, y2, x2 = layout.contiguous_strides(data2.shape)
    strides = [(n0, 0, y0, x0, i0, j0), (n2, c2, y2, x2, y2 * step, x2 * step)]
    shape = (batch, data2.shape[1], *size, rows, columns)
    return _sum_of_products(call, "grad_data1", grad, data2, shape, [4, 5], strides)


@operator(name="_displaced_grad_padded", label="Correlation")
def _grad_padded(call: Call, grad: Spec, data1: Spec, *, step):
    """The gradient of data2, of dy and data1 with zeros as far around as the displacements reach.

    y[n, c, y, x] = the sum over i, j of dy[n, i, j, y - i * step, x - j * step] * data1[n, c, the same].
    """
    batch, rows, columns, *padded = grad.shape
    reach = [(n - 1) * step for n in (rows, columns)]
    size = [n - r for n, r in zip(padded, reach, strict=True)]
    n0, i0, j0, y0, x0 = layout.contiguous_strides(grad.shape)
    n1, c1, y1, x1 = layout.contiguous_strides(data1.shape)
    strides = [
        (n0, 0, y0, x0, i0 - y0 * step, j0 - x0 * step),
        (n1, c1, y1, x1, -y1 * step, -x1 * step),
    ]
    bases = (reach[0] * y0 + reach[1] * x0, reach[0] * y1 + reach[1] * x1)
    shape = (batch, data1.shape[1], *size, rows, columns)
    return _sum_of_products(call, "grad_data2", grad, data1, shape, [4, 5], strides, bases)


@grouped(name="_displaced_grad_data2", label="Correlation")
def _grad_data2(grad, data1, *, step):
    """:func:`_grad_padded` of dy and data1 as they are."""
    reach = [(n - 1) * step for n in grad.shape[1:3]]
    return _grad_padded(_around(grad, reach), _around(data1, reach), step=step)


def _around(data, reach):
    """Zeros added on all sides of the last two axes."""
    lead = (0,) * (data.ndim - 2)
    shape = (*data.shape[:-2], *(n + 2 * r for n, r in zip(data.shape[-2:], reach, strict=True)))
    return constant_pad(data, shape=shape, before=(*lead, *reach), value=0.0)


_displaced.gradient(
    data1=lambda dy, data2, step: _grad_data1(dy, data2, step=step),
    data2=lambda dy, data1, step: _grad_data2(dy, data1, step=step),
)
_grad_data1.gradient(
    grad=lambda dy, data2, step: _displaced(dy, data2, step=step),
    data2=lambda dy, grad, step: _grad_data2(grad, dy, step=step),
)
_grad_data2.gradient(
    grad=lambda dy, data1, step: _displaced(data1, dy, step=step),
    data1=lambda dy, grad, step: _grad_data1(grad, dy, step=step),
)


def _distances(data1, data2, step: int):
    """The same with the absolute difference in place of the product, one displacement after the other."""
    size = data1.shape
    spare = [(m - n) // step + 1 for n, m in zip(size[2:], data2.shape[2:], strict=True)]
    places = [(i * step, j * step) for i in range(spare[0]) for j in range(spare[1])]
    moved = (take_slice(data2, (0, 0, *place), (1,) * 4, size) for place in places)
    return stack(*(sum(abs(data1 - other), axis=1) for other in moved), axis=1)


@composite()
def Correlation(
    data1,
    data2,
    kernel_size=1,
    max_displacement=1,
    stride1=1,
    stride2=1,
    pad_size=0,
    is_multiply=True,
):
    """How well patches of one map (batch, channel, height, width) fit patches of another, nearby.

    y[n, q, i, j] is the average, over the channels and over patches of ``kernel_size`` (odd), of
    data1 * data2 (or of |data1 - data2| where not ``is_multiply``), with ``pad_size`` zeros around both.
    The patch of data1 moves by ``stride1`` from one result to the next, that of data2 lies displaced from
    it by multiples of ``stride2`` up to ``max_displacement``; q counts the displacements, row by row.

    Source: A. Dosovitskiy et al.: FlowNet: learning optical flow with convolutional networks, 2015.
    """
    op = "Correlation"
    _check_maps(op, data1, data2)
    kernel, furthest, step, pad = int(kernel_size), int(max_displacement), int(stride2), int(pad_size)
    stride = int(stride1)
    _check_numbers(op, kernel, furthest, stride, step, pad)
    size = tuple(n + 2 * pad - 2 * furthest for n in data1.shape[2:])
    if min(size) < kernel:
        accepted = f"less, or more padding: patches do not fit into data {data1.shape}"
        raise argument_error(op, "kernel_size, max_displacement", (kernel, furthest), accepted)
    lead, reach = data1.shape[:2], furthest // step * step
    padded = [_around(a, (pad, pad)) for a in (data1, data2)]
    middle = take_slice(padded[0], (0, 0, furthest, furthest), (1,) * 4, (*lead, *size))
    first, around = furthest - reach, tuple(n + 2 * reach for n in size)
    others = take_slice(padded[1], (0, 0, first, first), (1,) * 4, (*lead, *around))
    if is_multiply:
        count = (2 * (furthest // step) + 1) ** 2
        sums = with_shape(_displaced(middle, others, step=step), shape=(lead[0], count, *size))
    else:
        sums = _distances(middle, others, step)
    windows = PoolGeometry.of(op, sums.shape, kernel=(kernel, kernel), stride=(stride, stride))
    return sum_pool(sums, geometry=windows, average=False) / (kernel * kernel * max(1, lead[1]))


def _check_maps(op: str, data1, data2) -> None:
    first, second = (f"{a._view.dtype} {a.shape}" for a in (data1, data2))
    if data1.ndim != 4 or not dtypes.is_floating(data1._view.dtype):
        raise argument_error(op, "data1", first, "real numbers (batch, channel, height, width)")
    if second != first:
        raise argument_error(op, "data2", second, f"{first}, as data1")


def _check_numbers(op: str, kernel: int, furthest: int, stride: int, step: int, pad: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise argument_error(op, "kernel_size", kernel, "an odd number")
    if min(stride, step) < 1 or min(furthest, pad) < 0:
        arguments = "stride1, stride2, max_displacement, pad_size"
        raise argument_error(op, arguments, (stride, step, furthest, pad), "1, 1, 0, 0 or more")
