"""What a metric is; several as one; metrics that are functions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy

from clgrad import deferred, nd
from clgrad.array import NDArray
from clgrad.device import Context, current_context
from clgrad.errors import AbsentError, OperatorTypeError, argument_error
from clgrad.factory import Factory

#: Batches whose sums may wait on the device, at most: each holds an array.
MOST_PENDING = 64


def check_label_shapes(labels, preds, wrap: bool = False, shape: bool = False):
    """Check that there are as many labels as predictions, and return both.

    Parameters
    ----------
    labels, preds : NDArray, or list of NDArray
    wrap : bool
        Return lists, of one array where an array was given.
    shape : bool
        Compare shapes, not lengths.

    Raises
    ------
    OperatorError
        They differ.
    """
    found = [tuple(a.shape) if shape else len(a) for a in (labels, preds)]
    if found[0] != found[1]:
        what = "shape" if shape else "length"
        accepted = f"{found[1]}, as the predictions"
        raise argument_error("metric", f"the {what} of the labels", found[0], accepted)
    if wrap:
        labels, preds = ([a] if isinstance(a, NDArray) else a for a in (labels, preds))
    return labels, preds


def as_array(value) -> NDArray:
    """An array outside of the graph, made from what numpy knows where it is none."""
    return value.detach() if isinstance(value, NDArray) else nd.array(value)


def pairs(labels, preds) -> Iterator[tuple[NDArray, NDArray]]:
    """Each label with its prediction, on the prediction's device and outside of the graph."""
    labels, preds = check_label_shapes(labels, preds, wrap=True)
    for label, pred in zip(labels, preds, strict=True):
        pred = as_array(pred)
        yield as_array(label).as_in_context(pred.context), pred


class _Statistic:
    """An attribute of a metric that takes in what waits on the device before it is read or written."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.slot = f"_{name}"

    def __get__(self, metric: "EvalMetric | None", owner: type | None = None) -> Any:
        if metric is None:
            return self
        metric._fold()
        return metric.__dict__[self.slot]

    def __set__(self, metric: "EvalMetric", value: Any) -> None:
        metric._fold()
        metric.__dict__[self.slot] = value


class EvalMetric:
    """Base class of metrics: a sum over a number of instances.

    A user's own metric is a subclass whose ``update(labels, preds)`` adds to ``sum_metric`` and
    ``num_inst``.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
        Which outputs and labels :meth:`update_dict` takes; all by default.
    **kwargs
        Arguments of the subclass, for :meth:`get_config`; ``has_global_stats=True`` if ``update`` adds to
        ``global_sum_metric`` and ``global_num_inst`` as well.

    Examples
    --------
    >>> import clgrad as mx
    >>> class Bias(mx.metric.EvalMetric):
    ...     def update(self, labels, preds):
    ...         for label, pred in zip(labels, preds):
    ...             self.sum_metric += float((pred - label).sum().asscalar())
    ...             self.num_inst += label.size
    >>> metric = Bias("bias")
    >>> metric.update([mx.nd.array([1, 2])], [mx.nd.array([2, 4])])
    >>> metric.get()
    ('bias', 1.5)
    """

    sum_metric = _Statistic()
    num_inst = _Statistic()
    global_sum_metric = _Statistic()
    global_num_inst = _Statistic()

    def __init__(
        self,
        name: str,
        output_names: Sequence[str] | None = None,
        label_names: Sequence[str] | None = None,
        **kwargs,
    ):
        self.name = str(name)
        self.output_names, self.label_names = output_names, label_names
        self._has_global_stats = kwargs.pop("has_global_stats", False)
        self._kwargs = kwargs
        #: Sums and numbers of instances, either of which may still be on the device.
        self._pending: list[tuple[Any, Any]] = []
        #: What captured functions have added up on each device.
        self._running: dict[Context, NDArray] = {}
        self._sum_metric = self._global_sum_metric = 0.0
        self._num_inst = self._global_num_inst = 0
        self.reset()

    def __str__(self) -> str:
        return f"EvalMetric: {dict(self.get_name_value())}"

    def get_config(self) -> dict[str, Any]:
        """Class and arguments, from which :func:`create` makes the metric again."""
        names = {"output_names": self.output_names, "label_names": self.label_names}
        return self._kwargs | {"metric": type(self).__name__, "name": self.name} | names

    def update_dict(self, label: Mapping[str, NDArray], pred: Mapping[str, NDArray]) -> None:
        """Update by dictionaries of labels and outputs, of which those count that the metric names."""
        outputs, labels = self.output_names, self.label_names
        preds = list(pred.values()) if outputs is None else [pred[name] for name in outputs]
        self.update(list(label.values()) if labels is None else [label[name] for name in labels], preds)

    def update(self, labels, preds) -> None:
        """Take in a batch.

        Parameters
        ----------
        labels, preds : NDArray, or list of NDArray
            As many labels as predictions.
        """
        raise AbsentError(f"{type(self).__name__} has no method update(labels, preds)")

    def _add(self, total, count) -> None:
        """Add a sum over instances; either may be an array of one element, which is read later."""
        if deferred.current() is not None:
            self._accumulate(total, count)
            return
        self._pending.append((total, count))
        if len(self._pending) >= MOST_PENDING:
            self._fold()

    def _accumulate(self, total, count) -> None:
        """Add on the device, in an array that stays: for captured functions, which keep no other."""
        context = next((v.context for v in (total, count) if isinstance(v, NDArray)), current_context())
        dtype = "float64" if context.device.capabilities.fp64 else "float32"
        if context not in self._running:
            self._running[context] = nd.zeros((2,), ctx=context, dtype=dtype)
        running = self._running[context]
        for place, value in enumerate((total, count)):
            added = value.reshape((1,)).astype(dtype) if isinstance(value, NDArray) else value
            running[place : place + 1] = running[place : place + 1] + added

    def _fold(self) -> None:
        """Take in what waits on the device."""
        for running in self._running.values():
            total, count = running.asnumpy().tolist()
            self._pending.append((total, int(count)))
            running[:] = 0
        pending, self._pending = self._pending, []
        for total, count in pending:
            total, count = (v.asscalar().item() if isinstance(v, NDArray) else v for v in (total, count))
            self._sum_metric += total
            self._global_sum_metric += total
            self._num_inst += count
            self._global_num_inst += count

    def reset(self) -> None:
        """Forget all batches."""
        self.sum_metric = self.global_sum_metric = 0.0
        self.num_inst = self.global_num_inst = 0

    def reset_local(self) -> None:
        """Forget all batches but for the global statistics."""
        self.sum_metric, self.num_inst = 0.0, 0

    def _value(self, total, count) -> float:
        """The metric of a sum over instances."""
        return float(total / count) if count else math.nan

    def get(self) -> tuple[Any, Any]:
        """Name and value since the last reset; NaN before the first batch."""
        return self.name, self._value(self.sum_metric, self.num_inst)

    def get_global(self) -> tuple[Any, Any]:
        """Name and value of the whole run, where there are global statistics; else :meth:`get`."""
        if not self._has_global_stats:
            return self.get()
        return self.name, self._value(self.global_sum_metric, self.global_num_inst)

    def get_name_value(self) -> list[tuple[str, float]]:
        """Names and values as pairs."""
        return _zipped(*self.get())

    def get_global_name_value(self) -> list[tuple[str, float]]:
        """Names and global values as pairs."""
        return _zipped(*self.get_global())


def _listed(value) -> list:
    return value if isinstance(value, list) else [value]


def _zipped(names, values) -> list[tuple[str, float]]:
    return list(zip(_listed(names), _listed(values), strict=True))


_factory = Factory(EvalMetric, "metric")
register, alias = _factory.register, _factory.alias


def create(metric, *args, **kwargs) -> EvalMetric:
    """A metric from its name, or of a function, or of several.

    Parameters
    ----------
    metric : str, dict, callable, EvalMetric or list of these
        A name, behind which its arguments follow; what :meth:`EvalMetric.get_config` gives; a function of
        numpy arrays (label, prediction); a metric, which is returned.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.metric.create(["acc", "ce"]).get()
    (['accuracy', 'cross-entropy'], [nan, nan])
    """
    if isinstance(metric, type) and issubclass(metric, EvalMetric):
        return metric(*args, **kwargs)
    if callable(metric):
        return CustomMetric(metric, *args, **kwargs)
    if isinstance(metric, list):
        return CompositeEvalMetric([create(m, *args, **kwargs) for m in metric])
    return _factory.create(metric, *args, **kwargs)


@register
@alias("composite")
class CompositeEvalMetric(EvalMetric):
    """Several metrics, updated together: ``get`` returns lists of names and values.

    Parameters
    ----------
    metrics : list, optional
        What :func:`create` takes.
    name : str
    output_names, label_names : list of str, optional
    """

    def __init__(self, metrics=None, name="composite", output_names=None, label_names=None):
        self.metrics: list[EvalMetric] = []
        super().__init__(name, output_names, label_names, has_global_stats=True)
        self.metrics = [create(m) for m in metrics or []]

    def add(self, metric) -> None:
        """Add a metric, or what :func:`create` makes one of."""
        self.metrics.append(create(metric))

    def get_metric(self, index: int) -> EvalMetric:
        """The metric of this number."""
        if not -len(self.metrics) <= index < len(self.metrics):
            accepted = f"0 to {len(self.metrics) - 1}" if self.metrics else "none, before add"
            raise argument_error("get_metric", "index", index, accepted)
        return self.metrics[index]

    def update_dict(self, labels, preds) -> None:
        """Update each by dictionaries of labels and outputs."""
        if self.label_names is not None:
            labels = {k: v for k, v in labels.items() if k in self.label_names}
        if self.output_names is not None:
            preds = {k: v for k, v in preds.items() if k in self.output_names}
        for metric in self.metrics:
            metric.update_dict(labels, preds)

    def update(self, labels, preds) -> None:
        """Update each by a batch."""
        for metric in self.metrics:
            metric.update(labels, preds)

    def reset(self) -> None:
        """Reset each."""
        for metric in self.metrics:
            metric.reset()

    def reset_local(self) -> None:
        """Reset the local statistics of each."""
        for metric in self.metrics:
            metric.reset_local()

    def get(self) -> tuple[Any, Any]:
        """Names and values, as lists."""
        return _joined(metric.get() for metric in self.metrics)

    def get_global(self) -> tuple[Any, Any]:
        """Names and global values, as lists."""
        return _joined(metric.get_global() for metric in self.metrics)

    def get_config(self) -> dict[str, Any]:
        """Class and arguments of each."""
        return super().get_config() | {"metrics": [m.get_config() for m in self.metrics]}


def _joined(found) -> tuple[list, list]:
    names: list = []
    values: list = []
    for name, value in found:
        names += _listed(name)
        values += _listed(value)
    return names, values


@register
class CustomMetric(EvalMetric):
    """The mean of a function of numpy arrays.

    Parameters
    ----------
    feval : callable
        (label, prediction) in, a number for the batch out; or a sum and the number of instances.
    name : str, optional
        That of the function by default.
    allow_extra_outputs : bool
        Accept more predictions than labels, of which the last ones do not count.
    output_names, label_names : list of str, optional
    """

    def __init__(
        self, feval: Any, name=None, allow_extra_outputs=False, output_names=None, label_names=None
    ):
        if not callable(feval):
            given = type(feval).__name__
            raise OperatorTypeError(f"CustomMetric: feval is {given}; accepted: a function")
        if name is None:
            name = getattr(feval, "__name__", type(feval).__name__)
            name = f"custom({name})" if "<" in name else name
        super().__init__(name, output_names, label_names, has_global_stats=True)
        self._feval, self._allow_extra_outputs = feval, allow_extra_outputs

    def update(self, labels, preds) -> None:
        """Call the function for each label and prediction, on the host."""
        if not self._allow_extra_outputs:
            check_label_shapes(labels, preds)
        labels, preds = ([a] if isinstance(a, NDArray) else a for a in (labels, preds))
        for label, pred in zip(labels, preds, strict=False):
            found = self._feval(*(a.asnumpy() if isinstance(a, NDArray) else a for a in (label, pred)))
            self._add(*(found if isinstance(found, tuple) else (found, 1)))

    def get_config(self) -> dict[str, Any]:
        """Refused: a function cannot be described."""
        raise AbsentError("CustomMetric.get_config: a function cannot be described")


def np(numpy_feval: Callable, name: str | None = None, allow_extra_outputs: bool = False) -> CustomMetric:
    """A metric of a function of numpy arrays (label, prediction): see :class:`CustomMetric`.

    Examples
    --------
    >>> import clgrad as mx
    >>> def largest(label, pred):
    ...     return abs(label - pred).max()
    >>> metric = mx.metric.np(largest)
    >>> metric.update([mx.nd.array([1, 2])], [mx.nd.array([1, 5])])
    >>> metric.get()
    ('largest', 3.0)
    """
    return CustomMetric(numpy_feval, name, allow_extra_outputs)


def whole(label: NDArray) -> NDArray:
    """Class numbers as int32, truncated."""
    return label if label.dtype is numpy.int32 else label.astype("int32")


def check_size(owner: object, label: NDArray, expected: int) -> None:
    """Check that a label has an element for each row of a prediction."""
    if label.size != expected:
        given = f"{label.size} elements"
        raise argument_error(type(owner).__name__, "label", given, f"{expected}, one for each row")
