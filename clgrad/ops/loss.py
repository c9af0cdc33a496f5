"""Output layers that are losses: forward gives the prediction, backward the gradient of the loss.

The head gradient has no effect (but with ``out_grad``), as in MXNet. The gradient is a function of data
and label, so under ``create_graph`` it can be differentiated again.
"""

import math

from clgrad import dtypes, tape
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, map
from clgrad.ops import reduction
from clgrad.ops.activation import sigmoid
from clgrad.ops.arguments import check_floating, kept_shape
from clgrad.ops.arithmetic import maximum, not_equal
from clgrad.ops.conversion import cast
from clgrad.ops.creation import one_hot
from clgrad.ops.selection import select
from clgrad.ops.shape import broadcast_to, with_shape
from clgrad.ops.softmax import _softmax
from clgrad.registry import Call, Spec, composite, elementwise, grouped, operator

# Classes


@operator(name="_class_difference", label="SoftmaxOutput", numbers=("scale",))
def _class_difference(call: Call, data: Spec, label: Spec, *, axis, ignored, smooth, scale):
    """scale (p - t), t 1 - smooth at the label's place along the axis, smooth / (n - 1) elsewhere.

    0 where the label is ``ignored``.
    """
    shape, ndim = data.shape, len(data.shape)
    p, wanted = expr.operand(0, data.dtype), expr.operand(1, label.dtype)
    chosen = expr.cast(wanted, dtypes.int64) == expr.index(2)
    others = smooth / max(1, shape[axis] - 1)
    target = expr.where(chosen, expr.constant(1 - smooth, p.dtype), expr.constant(others, p.dtype))
    value = (p - target) * expr.scalar(0, data.dtype)
    if ignored is not None:
        value = expr.where(wanted == ignored, 0, value)
    dense = layout.broadcast(shape, shape, data.dtype)
    per_row = layout.broadcast(kept_shape(shape, (axis,)), shape, label.dtype)
    operands = [dense, per_row, layout.index(axis, ndim)]
    outputs = [map.Output(value, dense)]
    return map.plan(call.device, call.kernel(data.dtype), shape, outputs, operands, [data.dtype])


@_class_difference.joint_gradient("data")
def _(dy, label, ignored, scale):
    return (dy * scale if ignored is None else select(not_equal(label, ignored), dy * scale, 0),)


@grouped(name="_softmax_output", label="SoftmaxOutput")
def _softmax_output(data, label, *, axis, grad_scale, ignored, normalization, out_grad, smooth):
    """Softmax along an axis, whose gradient is that of the cross-entropy with the label."""
    return [_softmax(data, axis=axis, temperature=1.0, log=False)]


@_softmax_output.joint_gradient("data")
def _(dy, y, data, label, axis, grad_scale, ignored, normalization, out_grad, smooth):
    # What is recorded must not depend on y, whose own rule is the loss.
    p = _softmax(data, axis=axis, temperature=1.0, log=False) if tape.state.recording else y
    if label.shape == data.shape:
        gradient = (p - label) * grad_scale
    else:
        scale = grad_scale / _divisor(data.shape, axis, label.size, ignored, normalization)
        gradient = _class_difference(p, label, axis=axis, ignored=ignored, smooth=smooth, scale=scale)
        if normalization == "valid" and ignored is not None:
            gradient = gradient * _share(not_equal(label, ignored), data)
    return (gradient * dy if out_grad else gradient,)


def _share(chosen: NDArray, like: NDArray) -> NDArray:
    """1 / the number of chosen elements, or 1, in the dtype of an array; counted in float32 at least."""
    dtype = like._view.dtype
    counted = reduction.sum(cast(chosen, dtype=dtypes.compute_type(dtype).name))
    return cast(1 / maximum(counted, 1), dtype=dtype.name)


def _divisor(shape, axis: int, labels: int, ignored, normalization: str) -> int:
    """What the host knows of the number that the gradient is divided by."""
    if normalization == "valid":
        return 1 if ignored is not None else max(1, labels)
    places = math.prod(shape[axis + 1 :])
    rows = math.prod(shape[:axis]) if normalization == "batch" else 1
    return max(1, places * rows)


@composite(aliases=("Softmax",))
def SoftmaxOutput(
    data,
    label,
    grad_scale=1.0,
    ignore_label=-1.0,
    multi_output=False,
    use_ignore=False,
    preserve_shape=False,
    normalization="null",
    out_grad=False,
    smooth_alpha=0.0,
):
    """Softmax, whose gradient is that of the cross-entropy with the label: p - t, times ``grad_scale``.

    The softmax is over all axes but the first; with ``preserve_shape`` over the last, with
    ``multi_output`` over axis 1. The label holds the number of the class for each row, and t is 1 there,
    0 elsewhere; or it has data's shape and is t. Given classes:

    ``smooth_alpha`` is taken from t's 1 and given to the other classes in equal parts; rows whose label is
    ``ignore_label`` have the gradient 0 with ``use_ignore``; the gradient is divided by the places that
    follow axis 1 (``multi_output``), and with ``normalization`` ``batch`` by the number of rows, with
    ``valid`` instead of both by the number of labels that are not ignored. ``out_grad`` multiplies by the
    head gradient, which has no effect else.
    """
    op, shape = "SoftmaxOutput", data.shape
    if normalization not in ("null", "batch", "valid"):
        raise argument_error(op, "normalization", repr(normalization), "'null', 'batch', 'valid'")
    if len(shape) < 2 or not dtypes.is_floating(data._view.dtype):
        given = f"{data._view.dtype} {shape}"
        raise argument_error(op, "data", given, "real numbers of at least 2 axes")
    if label.shape == shape:
        multi_output = multi_output and len(shape) > 2
    axis = 1 if multi_output else len(shape) - 1
    if not multi_output and not preserve_shape and len(shape) > 2 and label.size != math.prod(shape[:-1]):
        axis, data = 1, with_shape(data, shape=(shape[0], math.prod(shape[1:])))
        label = with_shape(label, shape=data.shape) if label.shape == shape else label
    _check_class_label(op, label, data.shape, axis)
    if not tape.state.recording:
        y = _softmax(data, axis=axis, temperature=1.0, log=False)
        return y if y.shape == shape else with_shape(y, shape=shape)
    y = _softmax_output(
        data,
        _class_label(label, data.shape, axis),
        axis=axis,
        grad_scale=float(grad_scale),
        ignored=float(ignore_label) if use_ignore else None,
        normalization=normalization,
        out_grad=bool(out_grad),
        smooth=float(smooth_alpha),
    )[0]
    return y if y.shape == shape else with_shape(y, shape=shape)


def _check_class_label(op: str, label: NDArray, shape, axis: int) -> None:
    rows = (*shape[:axis], *shape[axis + 1 :])
    if label.shape not in (shape, rows, kept_shape(shape, (axis,))):
        raise argument_error(op, "label", f"of shape {label.shape}", f"{rows} or {shape}")


def _class_label(label: NDArray, shape, axis: int) -> NDArray:
    """A label of data's shape, or one number for each row, with the axis as size 1."""
    return label if label.shape == shape else with_shape(label, shape=kept_shape(shape, (axis,)))


# Regression


@elementwise(name="_linear_regression", label="LinearRegressionOutput")
def _linear_regression(data, target, scale: float):
    """x."""
    return data


_linear_regression.gradient(data=lambda data, target, scale: (data - target) * scale)


@elementwise(name="_logistic_regression", label="LogisticRegressionOutput")
def _logistic_regression(data, target, scale: float):
    """1 / (1 + exp(-x))."""
    return sigmoid(data)


_logistic_regression.gradient(data=lambda data, target, scale: (sigmoid(data) - target) * scale)


@elementwise(name="_mae_regression", label="MAERegressionOutput")
def _mae_regression(data, target, scale: float):
    """x."""
    return data


_mae_regression.gradient(
    data=lambda data, target, scale: select(data == data, select(data > target, scale, -scale), data)
)


def _regression(op, name: str, data, label, grad_scale):
    check_floating(name, data=data)
    if label.size != data.size or label.shape[:1] != data.shape[:1]:
        raise argument_error(name, "label", f"of shape {label.shape}", f"{data.shape}, as data")
    target = with_shape(label.detach(), shape=data.shape)
    outputs = max(1, data.size // max(1, data.shape[0]))
    return op(data, target, grad_scale / outputs)


@composite()
def LinearRegressionOutput(data, label, grad_scale=1.0):
    """x, whose gradient is that of the squared error, (x - label) * grad_scale / m.

    m is the number of outputs of each row. The head gradient has no effect.
    """
    return _regression(_linear_regression, "LinearRegressionOutput", data, label, grad_scale)


@composite()
def LogisticRegressionOutput(data, label, grad_scale=1.0):
    """sigmoid(x), whose gradient is that of the cross-entropy, (sigmoid(x) - label) * grad_scale / m.

    m is the number of outputs of each row. The head gradient has no effect.
    """
    return _regression(_logistic_regression, "LogisticRegressionOutput", data, label, grad_scale)


@composite()
def MAERegressionOutput(data, label, grad_scale=1.0):
    """x, whose gradient is that of the absolute error, 1 above the label else -1, * grad_scale / m.

    m is the number of outputs of each row. The head gradient has no effect.
    """
    return _regression(_mae_regression, "MAERegressionOutput", data, label, grad_scale)


# Margins


@elementwise(name="_svm", label="SVMOutput")
def _svm(data, sign, margin: float, scale: float):
    """x."""
    return data


_svm.gradient(data=lambda data, sign, margin, scale: -2 * scale * sign * maximum(margin - sign * data, 0))


@elementwise(name="_svm_linear", label="SVMOutput")
def _svm_linear(data, sign, margin: float, scale: float):
    """x."""
    return data


_svm_linear.gradient(data=lambda data, sign, margin, scale: -scale * sign * (sign * data < margin))


@composite()
def SVMOutput(data, label, margin=1.0, regularization_coefficient=1.0, use_linear=False):
    """x, whose gradient is that of one hinge loss for each class (Tang, 2013).

    The loss of a class is c max(0, margin - s x)^2, s 1 for the label's class and -1 for the others, c the
    regularization_coefficient; with ``use_linear``, it is not squared. Classes lie along the last axis.
    The head gradient has no effect.
    """
    shape = data.shape
    check_floating("SVMOutput", data=data)
    if len(shape) < 2 or label.shape != shape[:-1]:
        given = f"of shapes {shape}, {label.shape}"
        raise argument_error("SVMOutput", "data, label", given, "(n, classes) and (n,)")
    sign = one_hot(label.detach(), depth=shape[-1], on_value=1, off_value=-1, dtype=data._view.dtype.name)
    op = _svm_linear if use_linear else _svm
    return op(data, sign, margin, regularization_coefficient)


# Any


@elementwise(name="_weighted_loss", label="MakeLoss")
def _weighted_loss(data, weight):
    """x."""
    return data


_weighted_loss.gradient(data=lambda weight: weight)


@composite()
def MakeLoss(data, grad_scale=1.0, valid_thresh=0.0, normalization="null"):
    """A copy of x whose gradient is ``grad_scale``, whatever the head gradient: marks x as a loss.

    With ``normalization`` ``batch``, divided by the size of the first axis; with ``valid``, by the number
    of elements above ``valid_thresh``.
    """
    if normalization not in ("null", "batch", "valid"):
        raise argument_error("MakeLoss", "normalization", repr(normalization), "'null', 'batch', 'valid'")
    check_floating("MakeLoss", data=data)
    if normalization != "valid":
        rows = data.shape[0] if normalization == "batch" and data.shape else 1
        return _weighted_loss(data, grad_scale / max(1, rows))
    weight = _share(data.detach() > valid_thresh, data) * grad_scale
    return _weighted_loss(data, broadcast_to(with_shape(weight, shape=(1,) * data.ndim), data.shape))
