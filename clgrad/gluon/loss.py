"""``gluon.loss``: losses of a batch, one number for each example.

The loss of each element is multiplied by ``sample_weight``, which broadcasts, and by the number ``weight``;
then what is not along ``batch_axis`` is averaged, unless said otherwise. Labels are reshaped to the shape
of the prediction where they have as many elements.
"""

import math
from numbers import Real
from typing import Any

from clgrad import symbol
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.block import HybridBlock
from clgrad.ops.softmax import cross_entropies

__all__ = [
    "CTCLoss",
    "CosineEmbeddingLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "L2Loss",
    "LogisticLoss",
    "Loss",
    "PoissonNLLLoss",
    "SDMLLoss",
    "SigmoidBCELoss",
    "SigmoidBinaryCrossEntropyLoss",
    "SoftmaxCELoss",
    "SoftmaxCrossEntropyLoss",
    "SquaredHingeLoss",
    "TripletLoss",
]


class Loss(HybridBlock):
    """Base class of losses.

    Parameters
    ----------
    weight : float or None
        Factor of the loss.
    batch_axis : int
        The axis of the examples.
    """

    def __init__(self, weight: Any, batch_axis: int, **kwargs):
        super().__init__(**kwargs)
        if weight is not None and not isinstance(weight, Real):
            given = type(weight).__name__
            raise OperatorTypeError(f"{type(self).__name__}: weight is {given}; accepted: a number or None")
        self._weight: Any = weight
        self._batch_axis = batch_axis

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_axis={self._batch_axis}, w={self._weight})"

    def _averaged(self, F, loss, sample_weight=None):
        """The weighted loss, and of that the mean over all axes but that of the batch."""
        loss = _apply_weighting(F, loss, self._weight, sample_weight)
        if isinstance(loss, NDArray) and loss.ndim == 1 and self._batch_axis in (0, -1):
            return loss
        return F.mean(loss, axis=self._batch_axis, exclude=True)


# Under MXNet's names, since programs import them for losses of their own.


def _apply_weighting(F, loss, weight=None, sample_weight=None):
    """The loss times the weight of each example, which broadcasts, and a number."""
    if sample_weight is not None:
        loss = F.broadcast_mul(loss, sample_weight)
    return loss if weight is None or weight == 1 else loss * weight


def _reshape_like(F, x, y):
    """An array, such as a label, in the shape of another, such as the prediction."""
    return x if isinstance(x, NDArray) and x.shape == y.shape else F.reshape_like(x, y)


def _softplus_of_minus(F, x):
    """log(1 + exp(-|x|)), what the logistic loss adds to its asymptotes."""
    return F.Activation(-F.abs(x), act_type="softrelu")


# Regression


class L2Loss(Loss):
    """weight * (label - pred)^2 / 2, averaged.

    Parameters
    ----------
    weight : float
    batch_axis : int

    Examples
    --------
    >>> import clgrad as mx
    >>> loss = mx.gluon.loss.L2Loss()
    >>> loss(mx.nd.array([[1, 2], [3, 4]]), mx.nd.array([[1, 2], [3, 6]])).asnumpy()
    array([0., 1.], dtype=float32)
    """

    def __init__(self, weight: float = 1.0, batch_axis: int = 0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        return self._averaged(F, F.square(_reshape_like(F, label, pred) - pred) / 2, sample_weight)


class L1Loss(Loss):
    """|label - pred|, averaged.

    Parameters
    ----------
    weight : float, optional
    batch_axis : int
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        return self._averaged(F, F.abs(_reshape_like(F, label, pred) - pred), sample_weight)


class HuberLoss(Loss):
    """d^2 / (2 rho) where d = |label - pred| is at most rho, else d - rho / 2; averaged (Huber, 1964).

    Parameters
    ----------
    rho : float
        Where the parabola becomes a line.
    weight : float, optional
    batch_axis : int
    """

    def __init__(self, rho: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        self._rho = rho

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        distance = F.abs(_reshape_like(F, label, pred) - pred)
        near = F.square(distance) * (0.5 / self._rho)
        loss = F.where(distance > self._rho, distance - 0.5 * self._rho, near)
        return self._averaged(F, loss, sample_weight)


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of counts, up to a constant; averaged over everything, to shape (1,).

    exp(pred) - target * pred of logarithms of rates, or pred - target * log(pred + epsilon) of rates.

    Parameters
    ----------
    weight : float, optional
    from_logits : bool
        Predictions are logarithms.
    batch_axis : int
        Accepted for MXNet's sake.
    compute_full : bool
        Add Stirling's approximation of log(target!), target * log(target) - target +
        log(2 pi target) / 2, where the target is above 1.
    """

    def __init__(
        self,
        weight: float | None = None,
        from_logits: bool = True,
        batch_axis: int = 0,
        compute_full: bool = False,
        **kwargs,
    ):
        super().__init__(weight, batch_axis, **kwargs)
        self._from_logits, self._compute_full = from_logits, compute_full

    def hybrid_forward(self, F, pred, target, sample_weight=None, epsilon=1e-08):
        """The mean loss."""
        target = _reshape_like(F, target, pred)
        rate, logit = (F.exp(pred), pred) if self._from_logits else (pred, F.log(pred + epsilon))
        loss = rate - target * logit
        if self._compute_full:
            # Below 1, where it does not count, it is taken of 1: 0 * log(0) would be NaN.
            count = F.maximum(target, 1)
            stirling = count * F.log(count) - count + 0.5 * F.log(2 * math.pi * count)
            loss = loss + F.where(target > 1, stirling, F.zeros_like(stirling))
        return F.mean(_apply_weighting(F, loss, self._weight, sample_weight))


# Classes


class SigmoidBinaryCrossEntropyLoss(Loss):
    """-(label * log(p) + (1 - label) * log(1 - p)), p = sigmoid(pred); averaged, without overflow.

    Called with (pred, label, sample_weight, pos_weight); ``pos_weight`` multiplies the first term.

    Parameters
    ----------
    from_sigmoid : bool
        Predictions are p already; 1e-12 is added before the logarithms.
    weight : float, optional
    batch_axis : int
    """

    def __init__(
        self, from_sigmoid: bool = False, weight: float | None = None, batch_axis: int = 0, **kwargs
    ):
        super().__init__(weight, batch_axis, **kwargs)
        self._from_sigmoid = from_sigmoid

    def hybrid_forward(self, F, pred, label, sample_weight=None, pos_weight=None):
        """The loss of each example."""
        label = _reshape_like(F, label, pred)
        if self._from_sigmoid:
            hit = F.log(pred + 1e-12) * label
            hit = hit if pos_weight is None else F.broadcast_mul(hit, pos_weight)
            loss = -(hit + F.log(1.0 - pred + 1e-12) * (1.0 - label))
        elif pos_weight is None:
            loss = F.relu(pred) - pred * label + _softplus_of_minus(F, pred)
        else:
            factor = 1 + F.broadcast_mul(pos_weight - 1, label)
            loss = pred - pred * label + factor * (_softplus_of_minus(F, pred) + F.relu(-pred))
        return self._averaged(F, loss, sample_weight)


SigmoidBCELoss = SigmoidBinaryCrossEntropyLoss


class SoftmaxCrossEntropyLoss(Loss):
    """-log softmax(pred)[label], averaged; of class numbers along the last axis, in one launch.

    Parameters
    ----------
    axis : int
        The axis of the classes.
    sparse_label : bool
        Labels are class numbers, of pred's shape without the axis; else probabilities, of pred's shape.
    from_logits : bool
        Predictions are logarithms of probabilities already, as ``log_softmax`` gives them.
    weight : float, optional
    batch_axis : int

    Examples
    --------
    >>> import clgrad as mx
    >>> loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    >>> loss(mx.nd.array([[0, 0], [0, 100]]), mx.nd.array([0, 0])).asnumpy().round(3)
    array([  0.693, 100.   ], dtype=float32)
    """

    def __init__(
        self,
        axis: int = -1,
        sparse_label: bool = True,
        from_logits: bool = False,
        weight: float | None = None,
        batch_axis: int = 0,
        **kwargs,
    ):
        super().__init__(weight, batch_axis, **kwargs)
        self._axis, self._sparse_label, self._from_logits = axis, sparse_label, from_logits

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        if self._is_fused(pred):
            loss = cross_entropies(pred, label)
            if pred.ndim > 2 or sample_weight is not None or self._batch_axis not in (0, -2):
                loss = F.expand_dims(loss, axis=-1)
        else:
            logits = pred if self._from_logits else F.log_softmax(pred, axis=self._axis)
            if self._sparse_label:
                loss = -F.pick(logits, label, axis=self._axis, keepdims=True)
            else:
                loss = -F.sum(logits * _reshape_like(F, label, logits), axis=self._axis, keepdims=True)
        return self._averaged(F, loss, sample_weight)

    def _is_fused(self, pred) -> bool:
        """Whether one launch gives the losses: of arrays, with class numbers along the last axis."""
        if not isinstance(pred, NDArray) or not self._sparse_label or self._from_logits:
            return False
        return pred.ndim > 1 and self._axis in (-1, pred.ndim - 1)


SoftmaxCELoss = SoftmaxCrossEntropyLoss


class KLDivLoss(Loss):
    """label * (log(label + 1e-12) - pred), the Kullback-Leibler divergence of label from prediction.

    Summed, not averaged, over all axes but that of the batch, as in MXNet 1.9.1.

    Parameters
    ----------
    from_logits : bool
        Predictions are logarithms of probabilities; else their log_softmax is taken.
    axis : int
        The axis of the classes.
    weight : float, optional
    batch_axis : int
    """

    def __init__(
        self,
        from_logits: bool = True,
        axis: int = -1,
        weight: float | None = None,
        batch_axis: int = 0,
        **kwargs,
    ):
        super().__init__(weight, batch_axis, **kwargs)
        self._from_logits, self._axis = from_logits, axis

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        logits = pred if self._from_logits else F.log_softmax(pred, axis=self._axis)
        loss = label * (F.log(label + 1e-12) - logits)
        loss = _apply_weighting(F, loss, self._weight, sample_weight)
        return F.sum(loss, axis=self._batch_axis, exclude=True)


class CTCLoss(Loss):
    """The negative log-likelihood of a sequence of labels, of any alignment (Graves et al., 2006).

    Called with (pred, label, pred_lengths, label_lengths, sample_weight); the last class is the blank. See
    ``nd.CTCLoss``.

    Parameters
    ----------
    layout : {'NTC', 'TNC'}
        Axes of the predictions: batch, time, classes.
    label_layout : {'NT', 'TN'}
    weight : float, optional
    """

    def __init__(
        self, layout: str = "NTC", label_layout: str = "NT", weight: float | None = None, **kwargs
    ):
        for argument, given, accepted in (
            ("layout", layout, ("NTC", "TNC")),
            ("label_layout", label_layout, ("NT", "TN")),
        ):
            if given not in accepted:
                raise argument_error("CTCLoss", argument, repr(given), ", ".join(map(repr, accepted)))
        super().__init__(weight, label_layout.index("N"), **kwargs)
        self._layout, self._label_layout = layout, label_layout

    def hybrid_forward(self, F, pred, label, pred_lengths=None, label_lengths=None, sample_weight=None):
        """The loss of each sequence."""
        if self._layout == "NTC":
            pred = F.swapaxes(pred, dim1=0, dim2=1)
        if self._label_layout == "TN":
            label = F.swapaxes(label, dim1=0, dim2=1)
        loss = F.CTCLoss(
            pred,
            label,
            pred_lengths,
            label_lengths,
            use_data_lengths=pred_lengths is not None,
            use_label_lengths=label_lengths is not None,
            blank_label="last",
        )
        return _apply_weighting(F, loss, self._weight, sample_weight)


class HingeLoss(Loss):
    """max(0, margin - pred * label), averaged; labels are 1 and -1.

    Parameters
    ----------
    margin : float
    weight : float, optional
    batch_axis : int
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        loss = F.relu(self._margin - pred * _reshape_like(F, label, pred))
        return self._averaged(F, loss, sample_weight)


class SquaredHingeLoss(HingeLoss):
    """max(0, margin - pred * label)^2, averaged; labels are 1 and -1.

    Parameters
    ----------
    margin : float
    weight : float, optional
    batch_axis : int
    """

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        loss = F.square(F.relu(self._margin - pred * _reshape_like(F, label, pred)))
        return self._averaged(F, loss, sample_weight)


class LogisticLoss(Loss):
    """log(1 + exp(-label * pred)), averaged, without overflow.

    Parameters
    ----------
    weight : float, optional
    batch_axis : int
    label_format : {'signed', 'binary'}
        Labels are 1 and -1, or 1 and 0.
    """

    def __init__(
        self,
        weight: float | None = None,
        batch_axis: int = 0,
        label_format: str = "signed",
        **kwargs,
    ):
        if label_format not in ("signed", "binary"):
            raise argument_error("LogisticLoss", "label_format", repr(label_format), "'signed', 'binary'")
        super().__init__(weight, batch_axis, **kwargs)
        self._label_format = label_format

    def hybrid_forward(self, F, pred, label, sample_weight=None):
        """The loss of each example."""
        label = _reshape_like(F, label, pred)
        if self._label_format == "signed":
            label = (label + 1.0) / 2.0
        loss = F.relu(pred) - pred * label + _softplus_of_minus(F, pred)
        return self._averaged(F, loss, sample_weight)


# Distances


class TripletLoss(Loss):
    """max(0, sum((positive - pred)^2 - (negative - pred)^2) + margin), of pairs of examples.

    Schroff, Kalenichenko & Philbin, FaceNet, arXiv:1503.03832, 2015. Called with (pred, positive,
    negative).

    Parameters
    ----------
    margin : float
        By how much nearer the positive example is to be than the negative.
    weight : float, optional
    batch_axis : int
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F, pred, positive, negative):
        """The loss of each example."""
        near, far = (F.square(_reshape_like(F, x, pred) - pred) for x in (positive, negative))
        loss = F.relu(F.sum(near - far, axis=self._batch_axis, exclude=True) + self._margin)
        return _apply_weighting(F, loss, self._weight)


class CosineEmbeddingLoss(Loss):
    """1 - cos(input1, input2) where the label is 1, max(0, cos - margin) where it is -1; shape (batch, 1).

    Called with (input1, input2, label, sample_weight).

    Parameters
    ----------
    weight : float, optional
    batch_axis : int
    margin : float
        How alike those may be that are to differ.
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, margin: float = 0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F, input1, input2, label, sample_weight=None):
        """The loss of each pair."""
        input1, label = _reshape_like(F, input1, input2), label.reshape((-1, 1))
        norms = [F.norm(x, axis=-1).reshape((-1, 1)) for x in (input1, input2)]
        product = F.sum(input1 * input2, axis=-1).reshape((-1, 1))
        cosine = product / F.maximum(norms[0] * norms[1], 1e-12)
        apart = F.maximum((label == -1) * (cosine - self._margin), 0)
        loss = (1 - cosine) * (label == 1) + apart
        return _apply_weighting(F, loss, self._weight, sample_weight)


class SDMLLoss(Loss):
    """Smoothed deep metric learning: each row of x1 is to be nearer to its row of x2 than to the others.

    The Kullback-Leibler divergence of smoothed labels from the softmax of -|x1[i] - x2[j]|^2 (Bonadiman et
    al., Large scale question paraphrase retrieval with smoothed deep metric learning, arXiv:1905.12786,
    2019). Called with (x1, x2), both of shape (batch, size).

    Parameters
    ----------
    smoothing_parameter : float
        The probability that the labels give to the other rows together.
    weight : float
    batch_axis : int
    """

    def __init__(
        self, smoothing_parameter: float = 0.3, weight: float = 1.0, batch_axis: int = 0, **kwargs
    ):
        super().__init__(weight, batch_axis, **kwargs)
        self.smoothing_parameter = smoothing_parameter

    def hybrid_forward(self, F, x1, x2):
        """The loss of each row."""
        if F is symbol:
            raise OperatorTypeError("SDMLLoss: x1 is a Symbol; accepted: NDArray, whose rows are known")
        if x1.ndim != 2 or x1.shape != x2.shape or x1.shape[0] < 2:
            shapes = f"of shapes {x1.shape}, {x2.shape}"
            raise argument_error("SDMLLoss", "x1, x2", shapes, "(batch, size) twice, of at least 2 rows")
        count = x1.shape[0]
        distances = F.sum(F.square(F.expand_dims(x1, axis=1) - F.expand_dims(x2, axis=0)), axis=2)
        own = F.eye(count, ctx=x1.context, dtype=x1.dtype)
        labels = own * (1 - self.smoothing_parameter) + (1 - own) * self.smoothing_parameter / (count - 1)
        logits = F.log_softmax(-distances, axis=1)
        loss = F.sum(labels * (F.log(labels + 1e-12) - logits), axis=1)
        return _apply_weighting(F, loss, self._weight)
