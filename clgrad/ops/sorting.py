"""Sorting along an axis.

The order is stable: equal elements keep their order, whether ascending or descending. NaN counts as the
largest number, so it comes last in ascending order (as in numpy) and first in descending order.
"""

import numpy as np

from clgrad import array, dtypes
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import sort as sort_kernels
from clgrad.ops.arguments import one_axis
from clgrad.ops.conversion import cast
from clgrad.ops.moving import move, winners
from clgrad.ops.shape import reshape
from clgrad.registry import Call, Spec, composite, operator

#: What MXNet gives indices in.
_INDEX_DTYPES = ("uint8", "int32", "int64", "float16", "float32", "float64")


@operator(name="_sort", outputs=("values", "indices"))
def _sort(call: Call, data: Spec, *, axis, keep, is_ascend):
    """The first ``keep`` elements along an axis, in order, and their indices (int32)."""
    return sort_kernels.plan(
        call.device,
        call.kernel(data.dtype),
        data.shape,
        axis,
        data.dtype,
        keep=keep,
        ascending=is_ascend,
        values=True,
        indices=dtypes.int32,
    )


@_sort.joint_gradient("data")
def _(d_values, indices, data_shape, axis):
    """dy goes back to where the elements came from; the order itself does not change."""
    return (move(d_values, winners(indices, axis=axis, size=data_shape[axis]), axis=axis),)


@operator(name="_argsort")
def _argsort(call: Call, data: Spec, *, axis, keep, is_ascend, dtype):
    """Indices of the first ``keep`` elements along an axis, in order."""
    indices = np.dtype(dtype)
    array.check_dtype(indices, call.device)
    name, options = call.kernel(f"{data.dtype}_{dtype}"), {"keep": keep, "ascending": is_ascend}
    return sort_kernels.plan(call.device, name, data.shape, axis, data.dtype, indices=indices, **options)


@operator(name="_topk_mask", label="topk")
def _topk_mask(call: Call, data: Spec, *, axis, keep, is_ascend):
    """1 where an element is among the first ``keep`` along an axis, else 0."""
    name, options = call.kernel(data.dtype, "mask"), {"keep": keep, "ascending": is_ascend}
    return sort_kernels.plan(call.device, name, data.shape, axis, data.dtype, mask=True, **options)


def _along(op: str, data: NDArray, axis) -> tuple[NDArray, int]:
    """The array and the axis to sort along: that of all elements in order for None."""
    if axis is None:
        return reshape(data, shape=(-1,)), 0
    return data, one_axis(op, axis, data.ndim, also=", or None")


def _index_dtype(op: str, dtype, size: int) -> np.dtype:
    """The dtype of indices, which must hold every one of them."""
    name = dtypes.resolve("float32" if dtype is None else dtype, op).name
    if name not in _INDEX_DTYPES:
        raise argument_error(op, "dtype", name, ", ".join(_INDEX_DTYPES))
    resolved = np.dtype(name)
    held = 2 ** (np.finfo(resolved).nmant + 1) if resolved.kind == "f" else np.iinfo(resolved).max
    if size - 1 > held:
        raise argument_error(op, "dtype", name, f"one that holds the indices 0 to {size - 1}")
    return resolved


@composite(reference=np.sort, arrays=("data",))
def sort(data, axis: int | None = -1, is_ascend=True):
    """The elements along an axis in order; of the whole array, as a vector, for ``axis=None``.

    The gradient of each goes to where it came from.
    """
    data, axis = _along("sort", data, axis)
    return _sort(data, axis=axis, keep=data.shape[axis], is_ascend=bool(is_ascend))[0]


@composite(reference=np.argsort, arrays=("data",))
def argsort(data, axis: int | None = -1, is_ascend=True, dtype="float32"):
    """Indices that sort the elements along an axis; of the whole array for ``axis=None``."""
    data, axis = _along("argsort", data, axis)
    size = data.shape[axis]
    name = _index_dtype("argsort", dtype, size).name
    return _argsort(data, axis=axis, keep=size, is_ascend=bool(is_ascend), dtype=name)


@composite(arrays=("data",))
def topk(data, axis: int | None = -1, k=1, ret_typ="indices", is_ascend=False, dtype="float32"):
    """The k largest elements along an axis, in order; the smallest with ``is_ascend``.

    ``ret_typ`` asks for their indices (``'indices'``, in ``dtype``), for the elements (``'value'``), for a
    list of elements and indices (``'both'``), or for an array like data that is 1 where an element is one
    of them and else 0 (``'mask'``). ``axis=None`` looks at all elements; k below 1 means all of them.
    """
    if ret_typ not in ("value", "indices", "mask", "both"):
        raise argument_error("topk", "ret_typ", repr(ret_typ), "'value', 'indices', 'mask' or 'both'")
    shape = data.shape
    data, axis = _along("topk", data, axis)
    size = data.shape[axis]
    if not isinstance(k, int | np.integer) or k > size:
        raise argument_error("topk", "k", repr(k), f"a whole number up to {size}, the size of the axis")
    options = {"axis": axis, "keep": int(k) if k >= 1 else size, "is_ascend": bool(is_ascend)}
    if ret_typ == "mask":
        return reshape(_topk_mask(data, **options), shape=shape)
    if ret_typ == "value":
        return _sort(data, **options)[0]
    index_dtype = _index_dtype("topk", dtype, size)
    if ret_typ == "indices":
        return _argsort(data, dtype=index_dtype.name, **options)
    values, indices = _sort(data, **options)
    return [values, cast(indices, dtype=index_dtype.name)]
