"""Metrics of predicted classes, and of their probabilities."""

import math
from typing import Any

import numpy

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.metric.base import EvalMetric, alias, check_size, pairs, register, whole


def _chosen(label: NDArray, pred: NDArray, axis: int) -> NDArray:
    """The predicted classes: pred itself, or the places of its largest elements along an axis."""
    return whole(pred if pred.shape == label.shape else nd.argmax(pred, axis=axis))


@register
@alias("acc")
class Accuracy(EvalMetric):
    """The share of predictions that are the label.

    Predictions are classes, of the label's shape, or one number for each class along an axis, the largest
    of which counts. The count stays on the device until it is asked for.

    Parameters
    ----------
    axis : int
    name : str
    output_names, label_names : list of str, optional

    Examples
    --------
    >>> import clgrad as mx
    >>> metric = mx.metric.Accuracy()
    >>> metric.update(mx.nd.array([0, 1, 1]), mx.nd.array([[0.3, 0.7], [0, 1], [0.4, 0.6]]))
    >>> metric.get()
    ('accuracy', 0.6666666666666666)
    """

    def __init__(self, axis=1, name="accuracy", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, axis=axis, has_global_stats=True)
        self.axis = axis

    def update(self, labels, preds) -> None:
        """Take in a batch."""
        for label, pred in pairs(labels, preds):
            chosen = _chosen(label, pred, self.axis)
            check_size(self, label, chosen.size)
            self._add((chosen.reshape((-1,)) == whole(label).reshape((-1,))).sum(), chosen.size)


@register
@alias("top_k_accuracy", "top_k_acc")
class TopKAccuracy(EvalMetric):
    """The share of labels that are among the ``top_k`` classes of the largest numbers.

    Parameters
    ----------
    top_k : int
        At least 2.
    name : str
        Followed by ``_`` and top_k.
    output_names, label_names : list of str, optional
    """

    def __init__(self, top_k=1, name="top_k_accuracy", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, top_k=top_k, has_global_stats=True)
        if top_k < 2:
            raise argument_error("TopKAccuracy", "top_k", top_k, "at least 2; for 1, take Accuracy")
        self.top_k = top_k
        self.name += f"_{top_k}"

    def get_config(self) -> dict[str, Any]:
        """Class and arguments."""
        return super().get_config() | {"name": self.name.removesuffix(f"_{self.top_k}")}

    def update(self, labels, preds) -> None:
        """Take in a batch."""
        for label, pred in pairs(labels, preds):
            if pred.ndim != 2:
                accepted = "(instances, classes)"
                raise argument_error("TopKAccuracy", "prediction", f"of shape {pred.shape}", accepted)
            check_size(self, label, pred.shape[0])
            k = min(self.top_k, pred.shape[1])
            best = whole(nd.topk(pred, k=k, axis=1, ret_typ="indices"))
            self._add((best == whole(label).reshape((-1, 1))).sum(), pred.shape[0])


class _Binary(EvalMetric):
    """Scores of the four counts of right and wrong predictions of two classes, 1 and another.

    With ``average='macro'`` the mean of the scores of batches, with ``'micro'`` the score of all.
    """

    _counts: numpy.ndarray
    _global_counts: numpy.ndarray

    def __init__(self, name, output_names, label_names, average):
        if average not in ("macro", "micro"):
            raise argument_error(type(self).__name__, "average", repr(average), "'macro', 'micro'")
        self.average = average
        super().__init__(name, output_names, label_names, average=average, has_global_stats=True)

    def _score(self, counts: numpy.ndarray) -> float:
        """The score of counts[truth, prediction]."""
        raise NotImplementedError

    def update(self, labels, preds) -> None:
        """Take in a batch; it reads labels and predicted classes."""
        batch = numpy.zeros((2, 2))
        for label, pred in pairs(labels, preds):
            if pred.ndim < 2:
                accepted = "(instances, 2), or (instances, 2, ...)"
                raise argument_error(type(self).__name__, "prediction", f"of shape {pred.shape}", accepted)
            chosen = nd.argmax(pred, axis=1).asnumpy().astype(int).ravel()
            check_size(self, label, chosen.size)
            truth = whole(label).asnumpy().ravel()
            if len(numpy.unique(truth)) > 2:
                given = f"of {len(numpy.unique(truth))} classes"
                raise argument_error(type(self).__name__, "label", given, "at most 2")
            numpy.add.at(batch, ((truth == 1).astype(int), (chosen == 1).astype(int)), 1)
        if self.average == "macro":
            self._add(self._score(batch), 1)
        else:
            self._counts, self._global_counts = self._counts + batch, self._global_counts + batch
            self._set_micro()

    def _set_micro(self) -> None:
        local, total = self._counts, self._global_counts
        self.num_inst, self.global_num_inst = int(local.sum()), int(total.sum())
        self.sum_metric = self._score(local) * self.num_inst
        self.global_sum_metric = self._score(total) * self.global_num_inst

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self._counts = self._global_counts = numpy.zeros((2, 2))

    def reset_local(self) -> None:
        """Forget all batches but for the global statistics."""
        super().reset_local()
        self._counts = numpy.zeros((2, 2))


@register
class F1(_Binary):
    """2 p r / (p + r), p the share of predicted ones that are right, r that of ones that are predicted.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    average : {'macro', 'micro'}
        The mean over batches, or the score of all instances.
    """

    def __init__(self, name="f1", output_names=None, label_names=None, average="macro"):
        super().__init__(name, output_names, label_names, average)

    def _score(self, counts: numpy.ndarray) -> float:
        right, wrong = counts[1, 1], counts[0, 1] + counts[1, 0]
        return float(2 * right / (2 * right + wrong)) if right else 0.0


@register
class MCC(_Binary):
    """Matthews' correlation coefficient of two classes, between -1 and 1 (Matthews, 1975).

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    average : {'macro', 'micro'}
        The mean over batches, or the score of all instances.
    """

    def __init__(self, name="mcc", output_names=None, label_names=None, average="macro"):
        super().__init__(name, output_names, label_names, average)

    def _score(self, counts: numpy.ndarray) -> float:
        margins = [*counts.sum(0), *counts.sum(1)]
        scale = math.sqrt(math.prod(m for m in margins if m))
        return float((counts[1, 1] * counts[0, 0] - counts[0, 1] * counts[1, 0]) / scale)


@register
class PCC(EvalMetric):
    """Matthews' correlation coefficient of any number of classes (Gorodkin, 2004).

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    has_global_stats : bool
    """

    _counts: numpy.ndarray
    _global_counts: numpy.ndarray

    def __init__(self, name="pcc", output_names=None, label_names=None, has_global_stats=True):
        super().__init__(name, output_names, label_names, has_global_stats=has_global_stats)

    def update(self, labels, preds) -> None:
        """Take in a batch; it reads labels and predicted classes."""
        for label, pred in pairs(labels, preds):
            chosen = _chosen(label, pred, 1)
            check_size(self, label, chosen.size)
            places = [whole(a).asnumpy().ravel() for a in (chosen, label)]
            if any((p < 0).any() for p in places):
                raise argument_error("PCC", "a class", min(p.min() for p in places), "0 or above")
            size = max(int(p.max(initial=-1)) + 1 for p in places)
            self._counts, self._global_counts = (
                _grown(c, size) for c in (self._counts, self._global_counts)
            )
            for counts in (self._counts, self._global_counts):
                numpy.add.at(counts, tuple(places), 1)
        self._add(0.0, 1)

    def get(self) -> tuple[Any, Any]:
        """Name and value since the last reset."""
        return self.name, _correlation(self._counts)

    def get_global(self) -> tuple[Any, Any]:
        """Name and value of the whole run."""
        return self.name, _correlation(self._global_counts if self._has_global_stats else self._counts)

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self._counts, self._global_counts = numpy.zeros((2, 2)), numpy.zeros((2, 2))

    def reset_local(self) -> None:
        """Forget all batches but for the global statistics."""
        super().reset_local()
        self._counts = numpy.zeros((2, 2))


def _grown(counts: numpy.ndarray, size: int) -> numpy.ndarray:
    """The counts with room for so many classes."""
    more = max(0, size - len(counts))
    return numpy.pad(counts, ((0, more), (0, more)))


def _correlation(counts: numpy.ndarray) -> float:
    total, rows, columns = counts.sum(), counts.sum(1), counts.sum(0)
    spread = (rows * (total - rows)).sum() * (columns * (total - columns)).sum()
    if not spread:
        return math.nan
    return float((counts.trace() * total - (rows * columns).sum()) / math.sqrt(spread))


# Probabilities


@register
class Perplexity(EvalMetric):
    """exp of the mean of -log p[label], p the predicted probabilities along an axis, 1e-10 at least.

    Parameters
    ----------
    ignore_label : int or None
        Labels that do not count.
    axis : int
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, ignore_label, axis=-1, name="perplexity", output_names=None, label_names=None):
        super().__init__(
            name, output_names, label_names, ignore_label=ignore_label, axis=axis, has_global_stats=True
        )
        self.ignore_label, self.axis = ignore_label, axis

    def update(self, labels, preds) -> None:
        """Take in a batch."""
        for label, pred in pairs(labels, preds):
            classes = pred.shape[self.axis]
            check_size(self, label, pred.size // max(1, classes))
            shape = list(pred.shape)
            del shape[self.axis]
            label = label.reshape(tuple(shape)) if shape else label
            share = nd.pick(pred, whole(label), axis=self.axis)
            count: Any = share.size
            if self.ignore_label is not None:
                ignored = (label == self.ignore_label).astype(share.dtype)
                share = share * (1 - ignored) + ignored
                count = (1 - ignored).sum()
            self._add(-nd.log(nd.maximum(share, 1e-10)).sum(), count)

    def _value(self, total, count) -> float:
        return math.exp(total / count) if count else math.nan


@register
@alias("ce")
class CrossEntropy(EvalMetric):
    """The mean of -log(p[label] + eps), p the predicted probabilities of shape (instances, classes).

    Parameters
    ----------
    eps : float
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, eps=1e-12, name="cross-entropy", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, eps=eps, has_global_stats=True)
        self.eps = eps

    def update(self, labels, preds) -> None:
        """Take in a batch."""
        for label, pred in pairs(labels, preds):
            if pred.ndim != 2:
                accepted = "(instances, classes)"
                raise argument_error(type(self).__name__, "prediction", f"of shape {pred.shape}", accepted)
            check_size(self, label, pred.shape[0])
            share = nd.pick(pred, whole(label).reshape((-1,)), axis=1)
            self._add(-nd.log(share + self.eps).sum(), pred.shape[0])


@register
@alias("nll_loss")
class NegativeLogLikelihood(CrossEntropy):
    """:class:`CrossEntropy`, under another name.

    Parameters
    ----------
    eps : float
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, eps=1e-12, name="nll-loss", output_names=None, label_names=None):
        super().__init__(eps, name, output_names, label_names)
