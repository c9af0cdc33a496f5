"""Scans along an axis: cumulative sums, and the products and recurrences that gradients are made of."""

import numpy as np

from clgrad import array, dtypes
from clgrad.kernels import scan
from clgrad.ops.arguments import one_axis
from clgrad.ops.shape import reshape
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_cumsum")
def _cumsum(call: Call, data: Spec, *, axis, dtype, reverse=False):
    """The sums of the elements up to each place along an axis (from each place on: ``reverse``)."""
    target = dtypes.resolve(dtype, call.op)
    array.check_dtype(target, call.device)
    name = call.kernel(f"{data.dtype}_{target}", "reversed" if reverse else "forward")
    return scan.plan(call.device, name, data.shape, axis, "sum", [data.dtype], target, reverse=reverse)


@_cumsum.joint_gradient("data")
def _(dy, data_dtype, axis, reverse):
    """Every element is part of the sums behind it: the sums of dy from there on."""
    return (_cumsum(dy, axis=axis, dtype=data_dtype.name, reverse=not reverse),)


@composite(reference=np.cumsum, arrays=("a",))
def cumsum(a, axis=None, dtype=None):
    """The sums of the elements up to each place along an axis, that place included.

    ``axis=None`` goes through all elements in order and gives a vector. ``dtype`` is that of a, and int64
    for booleans, where it is not given; elements are converted to it before they are added. Real numbers
    are added in blocks, 16-bit ones as float32.
    """
    if axis is None:
        a, axis = reshape(a, shape=(-1,)), 0
    axis = one_axis("cumsum", axis, a.ndim, also=", or None")
    if dtype is None:
        dtype = dtypes.int64 if a._view.dtype == dtypes.bool_ else a._view.dtype
    return _cumsum(a, axis=axis, dtype=dtypes.resolve(dtype, "cumsum").name)


@operator(name="_product_before")
def product_before(call: Call, data: Spec, *, axis, reverse=False):
    """The product of the elements before each place along an axis (behind it: ``reverse``)."""
    name = call.kernel(data.dtype, "reversed" if reverse else "forward")
    options = {"reverse": reverse, "exclusive": True}
    return scan.plan(call.device, name, data.shape, axis, "product", [data.dtype], data.dtype, **options)


@product_before.joint_gradient("data")
def _(dy, data, y, axis, reverse):
    """With p = y: dL/dx[i] = p[i] * r[i], where r[i] = dy[i + 1] + x[i + 1] * r[i + 1]; no division."""
    return (y * recurrence(data, dy, axis=axis, reverse=not reverse),)


@operator(name="_recurrence")
def recurrence(call: Call, a: Spec, b: Spec, *, axis, reverse=False):
    """r[0] = 0, r[i + 1] = b[i] + a[i] * r[i] along an axis; from the last element on: ``reverse``."""
    name = call.kernel(a.dtype, "reversed" if reverse else "forward")
    options = {"reverse": reverse, "exclusive": True}
    inputs = [a.dtype, b.dtype]
    return scan.plan(call.device, name, a.shape, axis, "recurrence", inputs, a.dtype, **options)


@recurrence.joint_gradient("a", "b")
def _(dy, a, y, axis, reverse):
    """The adjoint of a recurrence is the recurrence in the other direction (with dy as its b)."""
    db = recurrence(a, dy, axis=axis, reverse=not reverse)
    return db * y, db
