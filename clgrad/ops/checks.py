"""Whether arrays are finite, or near each other: answers that stay on the device."""

import math
from itertools import groupby

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, reduce
from clgrad.ops.arguments import check_floating
from clgrad.ops.arithmetic import add_n
from clgrad.ops.conversion import cast
from clgrad.ops.group_sums import group_sums
from clgrad.ops.reduction import sum as sum_of
from clgrad.ops.unary import identity
from clgrad.registry import Call, Spec, composite, operator


@composite()
def all_finite(data, init_output=True, out=None):
    """1 if every element is finite, else 0; float32, of shape (1,).

    Without ``init_output`` an ``out`` that holds 0 stays 0.
    """
    return _finite("all_finite", [data], init_output, out)


@composite()
def multi_all_finite(*data, num_arrays=None, init_output=True, out=None):
    """1 if every element of every array is finite, else 0; float32, of shape (1,).

    Without ``init_output`` an ``out`` that holds 0 stays 0.
    """
    arrays = list(data[0]) if len(data) == 1 and isinstance(data[0], list | tuple) else list(data)
    if not arrays or num_arrays not in (None, len(arrays)):
        raise argument_error(
            "multi_all_finite", "num_arrays", num_arrays, f"{len(arrays)}, the arrays given"
        )
    return _finite("multi_all_finite", arrays, init_output, out)


def _finite(op: str, arrays, init_output, out):
    check_floating(op, **{f"data[{i}]": a for i, a in enumerate(arrays)})
    counts = []
    for _, same in groupby(sorted(arrays, key=_dtype_name), _dtype_name):
        sums = group_sums(op, [a.detach() for a in same], None, square=False)
        counts.append(cast(sum_of(sums), dtype="float32"))
    finite = (counts[0] if len(counts) == 1 else add_n(*counts)) == 0
    if out is not None and not init_output:
        finite = finite * (out != 0)
    return finite if out is None else identity(finite, out=out)


def _dtype_name(a) -> str:
    return a._view.dtype.name


@operator(name="contrib.allclose", numbers=("rtol", "atol"))
def allclose(call: Call, a: Spec, b: Spec, *, rtol=1e-5, atol=1e-8, equal_nan=True):
    """1 if |a - b| <= atol + rtol |b| everywhere, else 0; uint8, of shape (). Equal infinities are near."""
    if a != b:
        raise call.error("b", f"{b.dtype} {b.shape}", f"{a.dtype} {a.shape}, as a")
    x, y = (expr.operand(i, a.dtype) for i in range(2))
    if a.dtype.kind in "iub":
        x, y = (expr.cast(v, dtypes.float32) for v in (x, y))
    kind = x.dtype
    limit = expr.cast(expr.scalar(1, _number(a.dtype)), kind) + expr.cast(
        expr.scalar(0, _number(a.dtype)), kind
    ) * expr.call("fabs", y)
    difference = expr.call("fabs", x - y)
    near = ((difference <= limit) * (difference < math.inf) + (x == y)) > 0
    if equal_nan:
        near = (near + (x != x) * (y != y)) > 0
    results = [reduce.Reduction(near, "prod", dtypes.uint8)]
    dense, axes = layout.broadcast(a.shape, a.shape, a.dtype), range(len(a.shape))
    numbers = [_number(a.dtype)] * 2
    name = call.kernel(a.dtype)
    return reduce.plan(call.device, name, a.shape, axes, results, [dense] * 2, numbers, out_shape=())


def _number(dtype):
    """Dtype of the tolerances."""
    return dtypes.float64 if dtype == dtypes.float64 else dtypes.float32
