"""Metrics: values against those of MXNet, statistics, and what stays on the device."""

import numpy as np
import pytest
from golden.training import metrics, recorded

import clgrad as mx
from clgrad import autograd, nd
from clgrad.array import NDArray
from clgrad.errors import AbsentError, OperatorError, OperatorTypeError

#: Made of ops that are tested on every device.
pytestmark = pytest.mark.once

#: MXNet has no global value of this one, does not reset it, and leaves arguments out of configurations.
MICRO = ("PearsonCorrelation", {"average": "micro"}, "vectors")
CONFIGURED_ANEW = {"top_k_acc", "pearsonr"}


@pytest.fixture(scope="module")
def theirs():
    return recorded("metrics")


@pytest.mark.parametrize("i", range(len(metrics.CASES)), ids=lambda i: metrics.CASES[i][0])
def test_values(i, theirs):
    ours = metrics.answer(mx, i)
    assert ours[f"{i}.name"] == theirs[f"{i}.name"]
    found, expected = ours[f"{i}"], theirs[f"{i}"]
    if metrics.CASES[i] == MICRO:
        found, expected = found[[1, 3, 6]], expected[[1, 3, 5]]
    np.testing.assert_allclose(found, expected, 2e-6, 2e-6)


def test_names_and_configurations(theirs):
    for name in metrics.NAMES:
        metric = mx.metric.create(name, **({"top_k": 3} if name == "top_k_acc" else {}))
        assert type(metric).__name__ == theirs[name][0]
        if name not in CONFIGURED_ANEW:
            assert str(sorted(map(str, metric.get_config().items()))) == theirs[name][1]
        again = mx.metric.create(metric.get_config())
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()


def test_pearson_correlation_of_all_elements(rng):
    x, y = rng.standard_normal((2, 30)) + 100
    metric = mx.metric.PearsonCorrelation(average="micro")
    for part in (slice(0, 7), slice(7, 30)):
        metric.update(nd.array(x[part], dtype="float32"), nd.array(y[part], dtype="float32"))
    assert metric.get()[1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-4)
    assert metric.get_global() == metric.get()


@pytest.mark.parametrize("kind", [mx.metric.F1, mx.metric.MCC])
def test_scores_of_two_classes_take_maps_of_them(kind, rng):
    pred, label = rng.uniform(0, 1, (4, 2, 5)), rng.integers(0, 2, (4, 5))
    maps, rows = kind(), kind()
    maps.update(nd.array(label), nd.array(pred))
    rows.update(nd.array(label.ravel()), nd.array(pred.swapaxes(1, 2).reshape(20, 2)))
    assert maps.get() == rows.get()


def test_top_k_of_more_than_there_are():
    metric = mx.metric.TopKAccuracy(top_k=9)
    metric.update(nd.array([1, 0]), nd.array([[0.1, 0.9], [0.2, 0.8]]))
    assert metric.get() == ("top_k_accuracy_9", 1.0)


def test_sums_stay_on_the_device(monkeypatch):
    """A batch reads nothing; asking does, and so does every 64th batch, lest arrays pile up."""
    reads = []
    read = NDArray.asnumpy
    monkeypatch.setattr(NDArray, "asnumpy", lambda array: reads.append(array.shape) or read(array))
    names = [["acc"], ["ce"], ["mse"], ["rmse"], ["loss"], ["top_k_acc"]]
    labels = {"mse": nd.ones((3, 2)), "rmse": nd.ones((3, 2))}
    for (name,) in names:
        metric = mx.metric.create(name, **({"top_k": 2} if name == "top_k_acc" else {}))
        label, pred = labels.get(name, nd.array([0, 1, 1])), nd.ones((3, 2)) * 0.5
        reads.clear()
        for _ in range(mx.metric.base.MOST_PENDING - 1):
            metric.update(label, pred)
        assert reads == []
        metric.update(label, pred)
        assert set(reads) <= {(1,)}
        assert len(reads) == mx.metric.base.MOST_PENDING
        before = metric.get()[1]
        metric.update(label, pred)
        assert metric.get()[1] == before


def test_updates_inside_record_keep_no_graph():
    x = nd.ones((3, 2))
    x.attach_grad()
    metric = mx.metric.create(["acc", "mae", "loss", "ce"])
    with autograd.record():
        y = x * 2
        for single, label in zip(metric.metrics, ([0, 1, 1], np.ones((3, 2)), [0], [0, 1, 1]), strict=True):
            single.update([nd.array(label)], [y])
            assert all(a._entry is None for pair in single._pending for a in pair if isinstance(a, NDArray))


def test_dtypes_and_numpy_arrays():
    metric = mx.metric.Accuracy()
    for label, pred in (
        (nd.array([0, 1], dtype="int64"), nd.array([[1, 0], [1, 0]], dtype="float16")),
        (np.array([0, 1]), np.array([[1, 0], [1, 0]])),
        (nd.array([0, 1]), nd.array([0, 1.5])),
    ):
        metric.update([label], [pred])
    assert metric.get() == ("accuracy", pytest.approx(4 / 6))
    error = mx.metric.MAE()
    error.update(nd.array([1, 3], dtype="int32"), nd.array([[1.5], [3.0]]))
    assert error.get()[1] == 0.25


def test_composites():
    metric = mx.metric.CompositeEvalMetric(["acc"])
    metric.add("ce")
    metric.add(mx.metric.Loss(name="mine"))
    labels, preds = [nd.array([0])], [nd.array([[0.5, 0.5]])]
    metric.update(labels, preds)
    assert metric.get() == (["accuracy", "cross-entropy", "mine"], [1.0, pytest.approx(np.log(2)), 0.5])
    assert str(metric) == f"EvalMetric: {dict(metric.get_name_value())}"
    metric.reset_local()
    assert np.isnan(metric.get()[1]).all()
    assert [v for _, v in metric.get_global_name_value()] == [1.0, pytest.approx(np.log(2)), 0.5]
    metric.reset()
    assert np.isnan(metric.get_global()[1]).all()
    assert metric.get_metric(0).name == "accuracy"
    with pytest.raises(OperatorError, match="index is 3; accepted: 0 to 2"):
        metric.get_metric(3)
    again = mx.metric.create(metric.get_config())
    assert again.get()[0] == metric.get()[0]


def test_updates_by_name():
    metric = mx.metric.Accuracy(output_names=["out"], label_names=["class"])
    one, other = nd.array([1]), nd.array([0])
    metric.update_dict({"x": other, "class": one}, {"out": one, "y": other})
    assert metric.get()[1] == 1
    composite = mx.metric.CompositeEvalMetric(
        [mx.metric.Accuracy()], output_names=["out"], label_names=["class"]
    )
    composite.update_dict({"x": other, "class": one}, {"out": one, "y": other})
    assert composite.get()[1] == [1]


def test_functions():
    metric = mx.metric.np(lambda label, pred: (float((label * pred).sum()), label.size))
    assert metric.name == "custom(<lambda>)"
    metric.update([nd.array([1, 2])], [nd.array([3, 4])])
    assert metric.get()[1] == 11 / 2

    def gap(label, pred):
        return float(pred.max() - label.max())

    several = mx.metric.create([gap, mx.metric.Loss])
    several.update([nd.array([1])], [nd.array([3.5])])
    assert several.get() == (["gap", "loss"], [2.5, 3.5])
    extra = mx.metric.CustomMetric(gap, allow_extra_outputs=True)
    extra.update([nd.array([1])], [nd.array([2]), nd.array([9])])
    assert extra.get()[1] == 1
    with pytest.raises(AbsentError, match="a function cannot be described"):
        metric.get_config()
    with pytest.raises(OperatorTypeError, match="feval is int"):
        mx.metric.CustomMetric(3)


def test_a_metric_of_ones_own():
    @mx.metric.register
    @mx.metric.alias("count")
    class Counted(mx.metric.EvalMetric):
        def __init__(self, **kwargs):
            super().__init__("counted", **kwargs)

        def update(self, labels, preds):
            self.sum_metric += 1
            self.num_inst += 2

    metric = mx.metric.create("COUNT")
    for _ in "ab":
        metric.update([], [])
    assert metric.get() == metric.get_global() == ("counted", 0.5)
    metric.reset()
    assert np.isnan(metric.get()[1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda a, b: mx.metric.create("accurate"),
            OperatorError,
            "metric is 'accurate'; accepted: acc, accuracy",
        ),
        (lambda a, b: mx.metric.TopKAccuracy(1), OperatorError, "top_k is 1; accepted: at least 2"),
        (lambda a, b: mx.metric.F1(average="mean"), OperatorError, "F1: average is 'mean'"),
        (lambda a, b: mx.metric.PearsonCorrelation(average="x"), OperatorError, "average is 'x'"),
        (
            lambda a, b: mx.metric.Accuracy().update([a], [a, a]),
            OperatorError,
            "the length of the labels is 1",
        ),
        (
            lambda a, b: mx.metric.Accuracy().update(a, nd.ones((3, 2, 2))),
            OperatorError,
            "Accuracy: label is 3 el",
        ),
        (lambda a, b: mx.metric.TopKAccuracy(2).update(a, a), OperatorError, "prediction is of shape"),
        (
            lambda a, b: mx.metric.MCC().update(nd.array([0, 1, 2]), b),
            OperatorError,
            "label is of 3 classes",
        ),
        (lambda a, b: mx.metric.F1().update(a, a), OperatorError, "F1: prediction is of shape"),
        (
            lambda a, b: mx.metric.CrossEntropy().update(a, a),
            OperatorError,
            "CrossEntropy: prediction is of",
        ),
        (lambda a, b: mx.metric.PCC().update(-a, a), OperatorError, "PCC: a class is -1"),
        (
            lambda a, b: mx.metric.Perplexity(None).update([nd.ones((4,))], [b]),
            OperatorError,
            "label is 4 elements",
        ),
        (
            lambda a, b: mx.metric.PearsonCorrelation().update(a, b),
            OperatorError,
            r"the shape of the labels is",
        ),
        (lambda a, b: mx.metric.EvalMetric("x").update(a, b), AbsentError, "has no method update"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(nd.ones((3,)), nd.ones((3, 2)))
