"""Softmax, its logarithm, and the cross-entropy with labels."""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import rowwise
from clgrad.ops import reduction
from clgrad.ops.indexing import pick
from clgrad.ops.reduction import reduced_axes
from clgrad.ops.unary import exp
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_softmax")
def _softmax(call: Call, data: Spec, *, axis, temperature, log):
    """Softmax, or its logarithm, along an axis."""
    return rowwise.plan_softmax(
        call.device,
        call.kernel(data.dtype),
        data.shape,
        axis,
        data.dtype,
        log=log,
        temperature=temperature,
    )


@operator(name="_softmax_grad")
def _softmax_grad(call: Call, grad: Spec, softmax: Spec, *, axis, temperature, log):
    """The gradient of softmax, y (dy - sum(dy y)) / T, or of its logarithm, (dy - e^y sum(dy)) / T."""
    return rowwise.plan_softmax_grad(
        call.device,
        call.kernel(grad.dtype),
        grad.shape,
        axis,
        grad.dtype,
        log=log,
        temperature=temperature,
    )


_softmax.gradient(
    data=lambda dy, y, axis, temperature, log: _softmax_grad(
        dy, y, axis=axis, temperature=temperature, log=log
    )
)


@_softmax_grad.joint_gradient("grad", "softmax")
def _(dy, grad, softmax, axis, temperature, log):
    """The gradient is linear in ``grad``; its transpose, and its derivative by the softmax."""

    def total(x):
        return reduction.sum(x, axis=axis, keepdims=True)

    if log:
        p = exp(softmax)
        d_grad = (dy - total(dy * p)) / temperature
        return d_grad, -(dy * p * total(grad)) / temperature
    d_grad = _softmax_grad(dy, softmax, axis=axis, temperature=temperature, log=False)
    s = total(grad * softmax)
    return d_grad, (dy * (grad - s) - grad * total(dy * softmax)) / temperature


def _check_softmax(op: str, data, axis, use_length, dtype):
    if use_length:
        raise argument_error(op, "use_length", use_length, "False (lengths are not implemented yet)")
    result = data if dtype is None else data.astype(dtype)
    if not dtypes.is_floating(result._view.dtype):
        raise argument_error(op, "data", f"of dtype {result._view.dtype}", "a floating-point dtype")
    (axis,) = reduced_axes(op, data.ndim, axis)
    return result, axis


@composite()
def softmax(data, length=None, axis=-1, temperature=None, use_length=False, dtype=None):
    """exp(x / T) / sum(exp(x / T)) along an axis, without overflow; T is ``temperature``, 1 by default."""
    data, axis = _check_softmax("softmax", data, axis, use_length, dtype)
    return _softmax(data, axis=axis, temperature=float(temperature or 1), log=False)


@composite()
def log_softmax(data, axis=-1, temperature=None, use_length=False, dtype=None):
    """The logarithm of softmax along an axis, without overflow or cancellation."""
    data, axis = _check_softmax("log_softmax", data, axis, use_length, dtype)
    return _softmax(data, axis=axis, temperature=float(temperature or 1), log=True)


@composite()
def softmin(data, axis=-1, temperature=None, use_length=False, dtype=None):
    """Softmax of -x."""
    return softmax(-data, axis=axis, temperature=temperature, dtype=dtype)


@composite()
def softmax_cross_entropy(data, label):
    """The sum over rows of -log softmax(data)[label], as shape (1,)."""
    if data.ndim != 2 or label.shape != data.shape[:1]:
        raise argument_error(
            "softmax_cross_entropy",
            "data, label",
            f"of shapes {data.shape}, {label.shape}",
            "(n, classes) and (n,)",
        )
    return -reduction.sum(pick(log_softmax(data), label))
