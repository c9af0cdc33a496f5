"""Candidate sampling: classes drawn as often as they occur where few classes are frequent."""

import math

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.device import current_context
from clgrad.errors import argument_error
from clgrad.ops.conversion import as_in_context, cast
from clgrad.ops.creation import zeros
from clgrad.ops.sampling import uniform_like
from clgrad.ops.unary import clip, exp, log
from clgrad.registry import composite


@composite(name="contrib.rand_zipfian")
def rand_zipfian(true_classes: NDArray, num_sampled, range_max, ctx=None):
    """Classes c below range_max, of probability log((c + 2) / (c + 1)) / log(range_max + 1) (Zipf's law).

    Parameters
    ----------
    true_classes : NDArray
        Classes whose expected counts are asked for.
    num_sampled : int
        How many classes to draw, with replacement.
    range_max : int
        How many classes there are.
    ctx : Context, optional
        The device; the current context by default.

    Returns
    -------
    list of NDArray
        The drawn classes (num_sampled, int64); how often each of the true classes, and each of the drawn
        ones, is expected among them, in float64 (float32 where the device has no double precision).

    Raises
    ------
    OperatorError
        A number below 1.
    """
    for name, number in (("num_sampled", num_sampled), ("range_max", range_max)):
        if number < 1:
            raise argument_error("rand_zipfian", name, number, "a whole number from 1 on")
    ctx = ctx or current_context()
    dtype = dtypes.float64 if ctx.device.capabilities.fp64 else dtypes.float32
    scale = math.log(range_max + 1)
    numbers = uniform_like(zeros((int(num_sampled),), ctx, dtype), 0, scale)
    drawn = cast(clip(exp(numbers) - 1, 0, range_max - 1), dtype="int64")

    def expected(classes) -> NDArray:
        classes = cast(as_in_context(classes.detach(), ctx), dtype=dtype.name)
        return log((classes + 2) / (classes + 1)) / scale * num_sampled

    return [drawn, expected(true_classes), expected(drawn)]
