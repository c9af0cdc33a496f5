"""Changing dtype or device."""

from clgrad import array, dtypes, tape
from clgrad.array import NDArray
from clgrad.device import Context, as_context
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.kernels import expr, layout, map
from clgrad.ops.unary import identity
from clgrad.registry import Call, Operator, Spec, operator


@operator(aliases=("Cast",))
def cast(call: Call, data: Spec, *, dtype):
    """The elements converted to another dtype; to whole numbers by dropping the fraction."""
    target = dtypes.resolve(dtype, call.op)
    array.check_dtype(target, call.device)
    dense = layout.broadcast(data.shape, data.shape, target)
    outputs = [map.Output(expr.operand(0, data.dtype), dense)]
    operands = [layout.broadcast(data.shape, data.shape, data.dtype)]
    return map.plan(call.device, call.kernel(f"{data.dtype}_{target}"), data.shape, outputs, operands)


cast.gradient(data=lambda dy, data_dtype: cast(dy, dtype=dtypes.name_of(data_dtype)))


def astype(data: NDArray, dtype, copy: bool = True) -> NDArray:
    """The array in another dtype; with ``copy=False``, itself where the dtype is the same."""
    target = dtypes.resolve(dtype, "astype")
    if not copy and target == data._view.dtype:
        return data
    return cast(data, dtype=dtypes.name_of(target))


class _Transfer(Operator):
    """A copy on another device, by way of the host; the gradient travels back."""

    def apply(self, names, arrays, attributes, out=None):
        """Copy, and record."""
        (data,) = arrays
        result = array.from_host(data.asnumpy(), data._view.dtype, attributes["target"])
        if tape.state.recording:
            self.record(names, arrays, attributes, [result], None)
        return result


def _copy_between(data, *, source, target):
    """The array on the device ``target``."""


_transfer = _Transfer(_copy_between, "_transfer")
_transfer.gradient(data=lambda dy, source, target: _transfer(dy, source=target, target=source))


def _to(data: NDArray, context: Context) -> NDArray:
    return _transfer(data, source=data.context, target=context)


def copyto(data: NDArray, other) -> NDArray:
    """Copy into another array (of the same shape; on any device), or onto another device."""
    if isinstance(other, Context):
        return identity(data) if other == data.context else _to(data, other)
    if not isinstance(other, NDArray):
        given = type(other).__name__
        raise OperatorTypeError(f"copyto: argument 'other' is {given}; accepted: NDArray or Context")
    if other.shape != data.shape:
        raise OperatorError(f"copyto: other has shape {other.shape}; accepted: {data.shape}")
    if other.context != data.context:
        data = _to(data, other.context)
    if other._view.dtype != data._view.dtype:
        return cast(data, dtype=other._view.dtype.name, out=other)
    return identity(data, out=other)


def as_in_context(data: NDArray, context: Context) -> NDArray:
    """The array itself if it is on that device, else a copy there."""
    context = as_context(context)
    return data if data.context == context else _to(data, context)
