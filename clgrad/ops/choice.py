"""Random choices: classes of given probabilities, and permutations."""

import math

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.kernels import discrete
from clgrad.ops.conversion import cast
from clgrad.ops.creation import arange, shape_of
from clgrad.ops.generator import generator
from clgrad.ops.indexing import take
from clgrad.ops.shape import with_shape
from clgrad.ops.unary import log
from clgrad.registry import Call, Spec, composite, operator

#: The whole number up to which each dtype holds all of them.
_LARGEST = {
    "uint8": 2**8 - 1,
    "int8": 2**7 - 1,
    "int16": 2**15 - 1,
    "int32": 2**31 - 1,
    "int64": 2**63 - 1,
    "bool": 1,
    "bfloat16": 2**8,
    "float16": 2**11,
    "float32": 2**24,
    "float64": 2**53,
}


@operator(name="_sample_multinomial", label="random.multinomial", numbers=("seed", "draw"))
def _sample_multinomial(call: Call, data: Spec, *, samples, dtype, seed, draw):
    """Classes drawn with the probabilities in each row, ``samples`` for each."""
    dtype = dtypes.resolve(dtype, call.op)
    return discrete.plan_multinomial(
        call.device, call.kernel(dtype), data.shape, samples, data.dtype, dtype
    )


@operator(name="_permutation", label="random.shuffle", numbers=("seed", "draw"))
def _permutation(call: Call, *, size, seed, draw):
    """The numbers from 0 to size - 1 in random order."""
    return discrete.plan_permutation(call.device, call.kernel("int32"), size)


@composite()
def sample_multinomial(data, shape=None, get_prob=False, dtype="int32"):
    """Classes, drawn with the probabilities in the last axis of ``data``.

    Parameters
    ----------
    data : NDArray
        Probabilities, not below 0, along the last axis. They need not sum to 1; where none is above 0
        the class is 0.
    shape : int or tuple of int, optional
        How many to draw for each distribution: the result has this shape behind data's leading axes.
    get_prob : bool, default False
        Return the logarithm of ``data`` at the drawn classes as well, which is differentiable with
        respect to ``data`` (R. J. Williams, REINFORCE, 1992).
    dtype : str or type, default 'int32'
        uint8, int32, int64, float16, float32 or float64, large enough for the classes.

    Returns
    -------
    NDArray, or list of two NDArrays
    """
    op = "random.multinomial"
    resolved = dtypes.resolve(dtype, op)
    if not isinstance(data, NDArray) or not dtypes.is_floating(data._view.dtype):
        kind = data._view.dtype if isinstance(data, NDArray) else type(data).__name__
        raise OperatorTypeError(f"{op}: data is {kind}; accepted: NDArray of real numbers")
    if not data.ndim or not data.shape[-1]:
        raise argument_error(op, "data", f"of shape {data.shape}", "one class or more in the last axis")
    *lead, classes = data.shape
    if classes - 1 > _LARGEST[resolved.name]:
        raise argument_error(op, "dtype", resolved, f"one that holds {classes - 1}, the last class")
    sizes = shape_of(op, () if shape is None else shape)
    rows, samples = math.prod(lead), math.prod(sizes)
    rows_of = with_shape(data, shape=(rows, classes))
    wanted = "int64" if get_prob else resolved.name
    chosen = _sample_multinomial(rows_of, samples=samples, dtype=wanted, **generator.next(data.context))
    result = (*lead, *sizes) or (1,)
    if not get_prob:
        return with_shape(chosen, shape=result)
    begins = with_shape(arange(rows, ctx=data.context, dtype="int64") * classes, shape=(rows, 1))
    chances = take(with_shape(data, shape=(rows * classes,)), chosen + begins)
    classes_drawn = with_shape(cast(chosen, dtype=resolved.name), shape=result)
    return [classes_drawn, log(with_shape(chances, shape=result))]


@composite()
def shuffle(data):
    """The rows (elements of the first axis) in random order, every order as likely as any other."""
    if not data.ndim:
        raise argument_error("random.shuffle", "data", "of shape ()", "one axis or more")
    order = _permutation.create(data.context, size=data.shape[0], **generator.next(data.context))
    return take(data, order, axis=0)
