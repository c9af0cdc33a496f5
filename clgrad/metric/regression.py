"""Metrics of numbers: errors, correlation, the mean of a loss."""

import math
from typing import Any

import numpy

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.metric.base import EvalMetric, alias, as_array, check_label_shapes, pairs, register


class _Deviation(EvalMetric):
    """The mean over batches of an error."""

    def __init__(self, name, output_names, label_names):
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def _error(self, difference: NDArray) -> NDArray:
        raise NotImplementedError

    def update(self, labels, preds) -> None:
        """Take in a batch; vectors count as columns."""
        for label, pred in pairs(labels, preds):
            label = label.astype(pred.dtype, copy=False)
            label, pred = (a.reshape((-1, 1)) if a.ndim == 1 else a for a in (label, pred))
            self._add(self._error(label - pred), 1)


@register
class MAE(_Deviation):
    """The mean of |label - prediction|, averaged over batches.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, name="mae", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    def _error(self, difference: NDArray) -> NDArray:
        return difference.abs().mean()


@register
class MSE(_Deviation):
    """The mean of (label - prediction)^2, averaged over batches.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, name="mse", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    def _error(self, difference: NDArray) -> NDArray:
        return difference.square().mean()


@register
class RMSE(_Deviation):
    """The square root of the mean of (label - prediction)^2, averaged over batches.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, name="rmse", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    def _error(self, difference: NDArray) -> NDArray:
        return difference.square().mean().sqrt()


class _Moments:
    """Sums of many pairs of numbers, from which their correlation follows: they are joined, not kept."""

    def __init__(self) -> None:
        self.count = 0
        self.means = numpy.zeros(2)
        self.products = numpy.zeros((2, 2))

    def add(self, pair: numpy.ndarray) -> None:
        """Join the sums of more pairs, given as two rows (Chan, Golub & LeVeque, 1979)."""
        count = pair.shape[1]
        if not count:
            return
        means = pair.mean(1)
        centred, shift = pair - means[:, None], means - self.means
        total = self.count + count
        weight = self.count * count / total
        self.products += centred @ centred.T + weight * numpy.outer(shift, shift)
        self.means += shift * count / total
        self.count = total

    def correlation(self) -> float:
        """Pearson's coefficient; NaN where either number is constant."""
        scale = math.sqrt(self.products[0, 0] * self.products[1, 1])
        return float(self.products[0, 1] / scale) if scale else math.nan


@register
@alias("pearsonr")
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation of label and prediction, which are of one shape.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    average : {'macro', 'micro'}
        The mean over batches, or the correlation of all elements.
    """

    def __init__(self, name="pearsonr", output_names=None, label_names=None, average="macro"):
        if average not in ("macro", "micro"):
            raise argument_error("PearsonCorrelation", "average", repr(average), "'macro', 'micro'")
        self.average = average
        super().__init__(name, output_names, label_names, average=average, has_global_stats=True)

    def update(self, labels, preds) -> None:
        """Take in a batch; it reads labels and predictions."""
        for label, pred in pairs(labels, preds):
            check_label_shapes(label, pred, shape=True)
            pair = numpy.stack([a.asnumpy().ravel().astype(float) for a in (label, pred)])
            batch = _Moments()
            for moments in (batch, self._moments, self._global_moments):
                moments.add(pair)
            self._add(batch.correlation(), 1)

    def get(self) -> tuple[Any, Any]:
        """Name and value since the last reset."""
        return super().get() if self.average == "macro" else (self.name, self._moments.correlation())

    def get_global(self) -> tuple[Any, Any]:
        """Name and value of the whole run."""
        if self.average == "macro":
            return super().get_global()
        return self.name, self._global_moments.correlation()

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self._moments, self._global_moments = _Moments(), _Moments()

    def reset_local(self) -> None:
        """Forget all batches but for the global statistics."""
        super().reset_local()
        self._moments = _Moments()


@register
class Loss(EvalMetric):
    """The mean of the predictions' elements, which are losses; labels do not count.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, name="loss", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def update(self, _, preds) -> None:
        """Take in a batch."""
        for pred in [preds] if isinstance(preds, NDArray) else preds:
            loss = as_array(pred)
            self._add(loss.sum(), loss.size)


@register
class Torch(Loss):
    """:class:`Loss`, under another name."""

    def __init__(self, name="torch", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)


@register
class Caffe(Loss):
    """:class:`Loss`, under another name."""

    def __init__(self, name="caffe", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)
