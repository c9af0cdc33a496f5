"""Batches of padded sequences: what lies behind the end of each is masked, skipped, or left in place.

Data has the steps along axis 0 and the batch along axis 1, or the other way round (``axis=1``); lengths
are one number for each sequence. Lengths beyond the number of steps count as that, those below 0 as 0.
"""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import expr, index, layout, map
from clgrad.kernels.expr import Expr
from clgrad.kernels.layout import Operand
from clgrad.ops.shape import flip, slice_axis, squeeze
from clgrad.registry import Call, Spec, composite, operator


def _check(op: str, data, sequence_length, use_sequence_length: bool, axis: int) -> bool:
    """Check the arguments; tell whether the lengths count."""
    if axis not in (0, 1):
        raise argument_error(op, "axis", axis, "0 or 1")
    if data.ndim < 2:
        raise argument_error(op, "data", f"of shape {data.shape}", "two axes or more")
    if (sequence_length is not None) != bool(use_sequence_length):
        given = "not given" if sequence_length is None else "given"
        accepted = "one array with use_sequence_length=True, none without"
        raise argument_error(op, "sequence_length", given, accepted)
    if use_sequence_length and sequence_length.shape != (data.shape[1 - axis],):
        given = f"of shape {sequence_length.shape}"
        raise argument_error(op, "sequence_length", given, f"({data.shape[1 - axis]},)")
    return bool(use_sequence_length)


def _length(slot: int, dtype, steps: int) -> Expr:
    """The number of steps that a length stands for, as int64."""
    found = index.whole(expr.operand(slot, dtype))
    return expr.cast(expr.where(found < 0, 0, expr.where(found > steps, steps, found)), dtypes.int64)


def _lengths(shape, axis: int, dtype) -> Operand:
    """The operand of the lengths, over the data's shape."""
    return Operand(dtype, tuple(int(a == 1 - axis) for a in range(len(shape))))


@operator(name="_sequence_mask", label="SequenceMask", numbers=("value",))
def _sequence_mask(call: Call, data: Spec, length: Spec, *, axis, value):
    """Data up to the length of each sequence, ``value`` behind."""
    inside = expr.index(2) < _length(1, length.dtype, data.shape[axis])
    result = expr.where(inside, expr.operand(0, data.dtype), expr.scalar(0, data.dtype))
    own = layout.broadcast(data.shape, data.shape, data.dtype)
    operands = [own, _lengths(data.shape, axis, length.dtype), layout.index(axis, len(data.shape))]
    outputs, name = [map.Output(result, own)], call.kernel(data.dtype)
    return map.plan(call.device, name, data.shape, outputs, operands, [data.dtype])


_sequence_mask.gradient(data=lambda dy, length, axis: _sequence_mask(dy, length, axis=axis, value=0))


@composite(arrays=("data", "sequence_length"))
def SequenceMask(data, sequence_length=None, use_sequence_length=False, value=0.0, axis=0):
    """Data with ``value`` in the place of all steps behind the end of each sequence."""
    if not _check("SequenceMask", data, sequence_length, use_sequence_length, axis):
        return data.copy()
    return _sequence_mask(data, sequence_length, axis=axis, value=value)


@operator(name="_sequence_last", label="SequenceLast")
def _sequence_last(call: Call, data: Spec, length: Spec, *, axis):
    """The step before the end of each sequence; the first one where the length is 0."""
    shape = tuple(1 if a == axis else n for a, n in enumerate(data.shape))
    own = layout.contiguous_strides(data.shape)
    last = _length(1, length.dtype, data.shape[axis]) - 1
    address = expr.index(2) + expr.where(last < 0, 0, last) * own[axis]
    rest = Operand(None, tuple(0 if a == axis else stride for a, stride in enumerate(own)))
    result = expr.lookup(0, data.dtype, address)
    operands = [Operand(data.dtype, (0,) * len(shape)), _lengths(shape, axis, length.dtype), rest]
    outputs = [map.Output(result, layout.broadcast(shape, shape, data.dtype))]
    out_shape = tuple(n for a, n in enumerate(data.shape) if a != axis)
    name = call.kernel(data.dtype)
    return map.plan(call.device, name, shape, outputs, operands, out_shapes=[out_shape])


@operator(name="_sequence_last_grad")
def _sequence_last_grad(call: Call, grad: Spec, length: Spec, *, shape, axis):
    """dy at the last step of each sequence, 0 elsewhere."""
    last = _length(1, length.dtype, shape[axis]) - 1
    chosen = expr.index(2) == expr.where(last < 0, 0, last)
    result = expr.where(chosen, expr.operand(0, grad.dtype), 0)
    kept = tuple(1 if a == axis else n for a, n in enumerate(shape))
    own, place = layout.broadcast(kept, shape, grad.dtype), layout.index(axis, len(shape))
    outputs = [map.Output(result, layout.broadcast(shape, shape, grad.dtype))]
    operands = [own, _lengths(shape, axis, length.dtype), place]
    return map.plan(call.device, call.kernel(grad.dtype), shape, outputs, operands)


_sequence_last.gradient(
    data=lambda dy, length, data_shape, axis: _sequence_last_grad(dy, length, shape=data_shape, axis=axis)
)
_sequence_last_grad.gradient(grad=lambda dy, length, axis: _sequence_last(dy, length, axis=axis))


@composite(arrays=("data", "sequence_length"))
def SequenceLast(data, sequence_length=None, use_sequence_length=False, axis=0):
    """The last step of each sequence; the first one where the length is 0."""
    used = _check("SequenceLast", data, sequence_length, use_sequence_length, axis)
    steps = data.shape[axis]
    if steps == 0:
        raise argument_error("SequenceLast", "data", f"of shape {data.shape}", "one step or more")
    if used:
        return _sequence_last(data, sequence_length, axis=axis)
    return squeeze(slice_axis(data, axis, steps - 1, steps), axis=axis)


@operator(name="_sequence_reverse", label="SequenceReverse")
def _sequence_reverse(call: Call, data: Spec, length: Spec, *, axis):
    """Steps up to the length of each sequence in reverse order, those behind where they are."""
    shape, own = data.shape, layout.contiguous_strides(data.shape)
    step, size = expr.index(2), _length(1, length.dtype, data.shape[axis])
    source = expr.where(step < size, size - 1 - step, step)
    rest = Operand(None, tuple(0 if a == axis else stride for a, stride in enumerate(own)))
    result = expr.lookup(0, data.dtype, expr.index(3) + source * own[axis])
    outputs = [map.Output(result, layout.broadcast(shape, shape, data.dtype))]
    place = layout.index(axis, len(shape))
    operands = [
        Operand(data.dtype, (0,) * len(shape)),
        _lengths(shape, axis, length.dtype),
        place,
        rest,
    ]
    return map.plan(call.device, call.kernel(data.dtype), shape, outputs, operands)


_sequence_reverse.gradient(data=lambda dy, length, axis: _sequence_reverse(dy, length, axis=axis))


@composite(arrays=("data", "sequence_length"))
def SequenceReverse(data, sequence_length=None, use_sequence_length=False, axis=0):
    """Each sequence in reverse order; the steps behind its end stay where they are."""
    if _check("SequenceReverse", data, sequence_length, use_sequence_length, axis):
        return _sequence_reverse(data, sequence_length, axis=axis)
    return flip(data, axis)
