"""Counting elements in bins."""

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.kernels import expr, layout, map
from clgrad.kernels import histogram as kernels
from clgrad.kernels.layout import Operand
from clgrad.ops import reduction
from clgrad.ops.conversion import cast
from clgrad.ops.creation import full, zeros
from clgrad.ops.shape import reshape
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_histogram_parts", label="histogram")
def _histogram_parts(call: Call, data: Spec, edges: Spec):
    """How many elements of each of several parts of the data lie between neighbouring edges."""
    name = call.kernel(data.dtype)
    return kernels.plan_parts(call.device, name, data.shape[0], edges.shape[0] - 1, data.dtype, edges.dtype)


@operator(name="_bin_edges", label="histogram")
def _bin_edges(call: Call, low: Spec, high: Spec, *, bins, dtype):
    """Edges of ``bins`` equal bins from low to high; of width 1 around them where they are equal."""
    target = np.dtype(dtype)
    first, last = expr.operand(0, low.dtype), expr.operand(1, high.dtype)
    apart = expr.where(first == last, 0.5, first * 0)
    step = expr.cast(expr.index(2), first.dtype)
    first, last = first - apart, last + apart
    value = (last * step + first * (bins - step)) / bins
    value = expr.where(step == 0, first, expr.where(step == bins, last, value))  # not rounded
    outputs = [map.Output(value, Operand(target, (1,)))]
    operands = [Operand(low.dtype, (0,)), Operand(high.dtype, (0,)), layout.index(0, 1)]
    return map.plan(call.device, call.kernel(target), (bins + 1,), outputs, operands)


def _counted(data: NDArray, edges: NDArray) -> NDArray:
    """The counts, int32."""
    if data.size == 0:
        return zeros((edges.shape[0] - 1,), ctx=data.context, dtype="int32")
    return reduction.sum(_histogram_parts(reshape(data, shape=(-1,)), edges), axis=0)


def _own_range(data: NDArray, real: str, bins: int) -> NDArray:
    """Edges from the smallest to the largest element; from 0 to 1 where there is none."""
    if data.size:
        wide = cast(reshape(data, shape=(-1,)), dtype=real)
        low, high = reduction.min(wide), reduction.max(wide)
    else:
        low, high = (full((1,), bound, data.context, real) for bound in (0, 1))
    return _bin_edges(low, high, bins=bins, dtype=real)


@composite(arrays=("a",))
def histogram(a, bins: object = 10, range=None):
    """A list: how many elements of a lie in each bin, and the edges of the bins.

    A bin holds its lower edge, the last one its upper edge as well. ``bins`` is an array of edges, in
    ascending order and of a's dtype, or the number of bins of equal width: from ``range[0]`` to
    ``range[1]``, or from the smallest to the largest element without a range. Counts are int64 and edges
    of a's dtype; without a range both are float32, as in MXNet. Elements outside and NaN are not counted;
    without a range, NaN makes every edge NaN.
    """
    data = a.detach()
    if isinstance(bins, NDArray):
        if bins.ndim != 1 or bins.shape[0] < 2:
            raise argument_error(
                "histogram", "bins", f"of shape {bins.shape}", "a vector of two edges or more"
            )
        if bins._view.dtype != data._view.dtype:
            raise argument_error("histogram", "bins", f"of dtype {bins._view.dtype}", f"{data._view.dtype}")
        return [cast(_counted(data, bins.detach()), dtype="int64"), bins]
    if not isinstance(bins, int | np.integer):
        raise OperatorTypeError(f"histogram: bins is {type(bins).__name__}; accepted: int or NDArray")
    if bins < 1:
        raise argument_error("histogram", "bins", bins, "1 or more")
    bins, own = int(bins), data._view.dtype
    real = "float64" if own == dtypes.float64 else "float32"
    if range is None:
        edges = _own_range(data, real, bins)
        return [cast(_counted(data, edges), dtype="float32"), cast(edges, dtype="float32")]
    if not isinstance(range, tuple) or len(range) != 2 or not range[0] <= range[1]:
        raise argument_error("histogram", "range", range, "(low, high), low not above high")
    low, high = (full((1,), float(bound), data.context, real) for bound in range)
    edges = _bin_edges(low, high, bins=bins, dtype=own.name)
    return [cast(_counted(data, edges), dtype="int64"), edges]
