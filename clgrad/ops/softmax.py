"""Softmax, its logarithm, and the cross-entropy with labels."""

import math

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import rowwise
from clgrad.ops import reduction
from clgrad.ops.arguments import check_floating, reduced_axes
from clgrad.ops.indexing import pick
from clgrad.ops.shape import with_shape
from clgrad.ops.unary import exp
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_softmax")
def _softmax(call: Call, data: Spec, length: Spec | None = None, *, axis, temperature, log):
    """Softmax, or its logarithm, along an axis; of the first ``length`` elements, and 0 behind them."""
    return rowwise.plan_softmax(
        call.device,
        call.kernel(data.dtype),
        data.shape,
        axis,
        data.dtype,
        log=log,
        temperature=temperature,
        lengths=length.dtype if length else None,
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


def _apply(op: str, data, axis, temperature, dtype, use_length, log=False, negated=False, length=None):
    """The checks and the choice of dtype that softmax, log_softmax and softmin share."""
    own = data._view.dtype
    check_floating(op, data=data)
    target = own if dtype in (None, "None") else dtypes.resolve(dtype, op)
    if not dtypes.is_floating(target):
        raise argument_error(op, "dtype", target, "a floating-point dtype")
    if bool(use_length) != (length is not None):
        given = f"{use_length} and length {'given' if length is not None else 'missing'}"
        raise argument_error(op, "use_length", given, "True with length, or neither")
    (axis,) = reduced_axes(op, data.ndim, axis)
    temperature = 1.0 if temperature is None else float(temperature)
    if temperature == 0:
        raise argument_error(op, "temperature", temperature, "any number but 0")
    arrays = [data.astype(target.name) if target.itemsize > own.itemsize else data]
    if length is not None:
        arrays.append(_checked_length(op, length, data.shape, axis))
    y = _softmax(*arrays, axis=axis, temperature=-temperature if negated else temperature, log=log)
    return y if y._view.dtype == target else y.astype(target.name)


def _checked_length(op: str, length, shape, axis: int):
    others = tuple(n for a, n in enumerate(shape) if a != axis) or (1,)
    if length.shape != others or length._view.dtype.kind not in "iu":
        given = f"{length._view.dtype} {length.shape}"
        raise argument_error(op, "length", given, f"whole numbers of shape {others}")
    return length


@composite()
def softmax(data, length=None, axis=-1, temperature=None, dtype=None, use_length=False):
    """exp(x / T) / sum(exp(x / T)) along an axis, without overflow; T is ``temperature``, 1 by default.

    With ``use_length``, only the first ``length`` elements of each row count: whole numbers, of data's
    shape without the axis. Behind them the result is 0.
    """
    return _apply("softmax", data, axis, temperature, dtype, use_length, length=length)


@composite()
def log_softmax(data, axis=-1, temperature=None, dtype=None, use_length=False):
    """The logarithm of softmax along an axis, without overflow or cancellation."""
    return _apply("log_softmax", data, axis, temperature, dtype, use_length, log=True)


@composite()
def softmin(data, axis=-1, temperature=None, dtype=None, use_length=False):
    """Softmax of -x."""
    return _apply("softmin", data, axis, temperature, dtype, use_length, negated=True)


@composite()
def SoftmaxActivation(data, mode="instance"):
    """Softmax of each instance, over all axes but the first; or with ``channel`` along axis 1."""
    if mode not in ("instance", "channel"):
        raise argument_error("SoftmaxActivation", "mode", repr(mode), "'instance' or 'channel'")
    if mode == "channel":
        if data.ndim < 3:
            raise argument_error("SoftmaxActivation", "data", f"of shape {data.shape}", "at least 3 axes")
        return _apply("SoftmaxActivation", data, 1, None, None, False)
    if not data.ndim:
        raise argument_error("SoftmaxActivation", "data", "of shape ()", "at least 1 axis")
    rows = with_shape(data, shape=(data.shape[0], math.prod(data.shape[1:])))
    return with_shape(_apply("SoftmaxActivation", rows, -1, None, None, False), shape=data.shape)


@operator(name="_cross_entropy", label="softmax_cross_entropy")
def _cross_entropy(call: Call, data: Spec, label: Spec):
    """The sum over rows of -log softmax(data)[label]."""
    name = call.kernel(data.dtype)
    return rowwise.plan_cross_entropy(call.device, name, data.shape, data.dtype, label.dtype)


@operator(name="_cross_entropy_grad", label="softmax_cross_entropy")
def _cross_entropy_grad(call: Call, grad: Spec, data: Spec, label: Spec):
    """(softmax(data) - one_hot(label)) * grad, grad being one number."""
    name = call.kernel(data.dtype, "grad_data")
    return rowwise.plan_cross_entropy_grad(call.device, name, data.shape, data.dtype, label.dtype)


_cross_entropy.gradient(data=lambda dy, data, label: _cross_entropy_grad(dy, data, label))


@_cross_entropy_grad.joint_gradient("grad", "data")
def _(dy, grad, data, label):
    """The gradient is linear in ``grad``, and in data it is a softmax with constants."""
    p = _softmax(data, axis=-1, temperature=1.0, log=False)
    chosen = pick(dy, label, keepdims=True)
    d_grad = reduction.sum(dy * p) - reduction.sum(chosen)
    return d_grad, _softmax_grad(dy * grad, p, axis=-1, temperature=1.0, log=False)


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
    if not data.size or not dtypes.is_floating(data._view.dtype):
        return -reduction.sum(pick(log_softmax(data), label))
    return _cross_entropy(data, label)


@operator(name="_cross_entropies", label="softmax_cross_entropy")
def _cross_entropies(call: Call, data: Spec, label: Spec):
    """-log softmax(data)[label] of each row."""
    name = call.kernel(data.dtype, "rows")
    return rowwise.plan_cross_entropies(call.device, name, data.shape, data.dtype, label.dtype)


@operator(name="_cross_entropies_grad", label="softmax_cross_entropy")
def _cross_entropies_grad(call: Call, grad: Spec, data: Spec, label: Spec):
    """(softmax(data) - one_hot(label)) * grad, grad being one number for each row."""
    name, kinds = call.kernel(data.dtype, "rows_grad_data"), (data.dtype, label.dtype)
    return rowwise.plan_cross_entropy_grad(call.device, name, data.shape, *kinds, apart=True)


_cross_entropies.gradient(data=lambda dy, data, label: _cross_entropies_grad(dy, data, label))


@_cross_entropies_grad.joint_gradient("grad", "data")
def _(dy, grad, data, label):
    """The gradient is linear in ``grad``, and in data it is a softmax with constants."""
    p = _softmax(data, axis=-1, temperature=1.0, log=False)
    d_grad = reduction.sum(dy * p, axis=-1) - pick(dy, label)
    scaled = dy * with_shape(grad, shape=(*grad.shape, 1))
    return d_grad, _softmax_grad(scaled, p, axis=-1, temperature=1.0, log=False)


def cross_entropies(data, label):
    """-log softmax(data)[label] along the last axis, in one launch: of data's shape without that axis.

    Labels are of any dtype, truncated, and moved to the nearest class where there is no such class.
    """
    rows, classes = data.shape[:-1], data.shape[-1]
    if not data.size or not dtypes.is_floating(data._view.dtype):
        return -pick(log_softmax(data), label)
    count = math.prod(rows)
    if label.size != count:
        raise argument_error("softmax_cross_entropy", "label", f"of shape {label.shape}", f"{rows}")
    flat = data if len(rows) == 1 else with_shape(data, shape=(count, classes))
    losses = _cross_entropies(flat, with_shape(label, shape=(count,)))
    return losses if len(rows) == 1 else with_shape(losses, shape=rows)
