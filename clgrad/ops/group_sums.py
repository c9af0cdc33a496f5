"""Sums over each of many arrays, in as few launches as kernel arguments allow."""

import math

from clgrad import tape
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, groups
from clgrad.ops import reduction
from clgrad.registry import Call, Spec, operator


@operator(name="_group_sums")
def _group_sums(call: Call, *data: Spec, parts, square):
    """The sums over ``parts`` shares of each array: of squares, or of 1 for what is not finite."""
    dtype = data[0].dtype
    for i, spec in enumerate(data):
        if spec.dtype != dtype:
            raise call.error(f"data[{i}]", f"of dtype {spec.dtype}", f"{dtype}, as the first")
    sizes = [math.prod(s.shape) for s in data]

    def term(x):
        return (
            x * x if square else expr.where(expr.call("fabs", x) < math.inf, 0, expr.constant(1, x.dtype))
        )

    return groups.plan_sums(call.device, call.kernel(dtype), sizes, dtype, parts, term)


def group_sums(op: str, data, num_arrays, square: bool) -> NDArray:
    """The sum over each array, as a vector; not recorded."""
    arrays = list(data[0]) if len(data) == 1 and isinstance(data[0], list | tuple) else list(data)
    if not arrays or num_arrays not in (None, len(arrays)):
        raise argument_error(op, "num_arrays", num_arrays, f"{len(arrays)}, the arrays given")
    device, most = arrays[0].context.device, max(a.size for a in arrays)
    # Enough work-items to fill the device with what the largest array has to add up.
    if device.kind == "cpu":
        parts = max(1, min(2 * device.capabilities.compute_units, most // 8192))
    else:
        parts = max(1, min(4096, most // 64))
    recording = tape.set_recording(False)
    try:
        return reduction.sum(_group_sums(*arrays, parts=parts, square=square), axis=1)
    finally:
        tape.set_recording(recording)
