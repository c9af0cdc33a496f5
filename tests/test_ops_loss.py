"""Output layers: head gradients without effect, second order, counts of labels."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "SoftmaxOutput": ("_softmax_output", "_class_difference"),
    "LinearRegressionOutput": ("_linear_regression",),
    "LogisticRegressionOutput": ("_logistic_regression",),
    "MAERegressionOutput": ("_mae_regression",),
    "SVMOutput": ("_svm", "_svm_linear"),
    "MakeLoss": ("_weighted_loss",),
}


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def labelled(rng):
    return rng.standard_normal((67, 35)).astype(np.float32), rng.integers(0, 35, 67).astype(np.float32)


def gradient(op, x, *rest, head=None, **attributes):
    data = nd.array(x)
    data.attach_grad()
    with autograd.record():
        y = op(data, *map(nd.array, rest), **attributes)
    y.backward(None if head is None else nd.array(head))
    return data.grad.asnumpy()


LAYERS = [
    nd.SoftmaxOutput,
    lambda x, label: nd.SVMOutput(x, label),
    lambda x, label: nd.SVMOutput(x, label, use_linear=True),
    lambda x, label: nd.MakeLoss(x),
    lambda x, label: nd.LinearRegressionOutput(x, x * 0.5),
    lambda x, label: nd.LogisticRegressionOutput(x, x * 0.5),
    lambda x, label: nd.MAERegressionOutput(x, x * 0.5),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_head_gradients_have_no_effect(layer, rng):
    x, label = labelled(rng)
    head = rng.standard_normal(x.shape).astype(np.float32)
    np.testing.assert_array_equal(gradient(layer, x, label), gradient(layer, x, label, head=head))


def test_softmax_output_multiplies_by_the_head_gradient_if_asked(rng):
    x, label = labelled(rng)
    head = rng.standard_normal(x.shape).astype(np.float32)
    expected = (softmax(x.astype("float64")) - np.eye(35)[label.astype(int)]) * head
    found = gradient(nd.SoftmaxOutput, x, label, head=head, out_grad=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_softmax_output_counts_labels_in_float32(rng):
    """A count that halves could not hold; nothing to count is no division by 0."""
    x, label = np.zeros((5000, 2), np.float32), np.zeros(5000, np.float32)
    data = nd.array(x, dtype="float16")
    data.attach_grad()
    attributes = {"normalization": "valid", "use_ignore": True}
    with autograd.record():
        y = nd.SoftmaxOutput(data, nd.array(label, dtype="float16"), **attributes)
    y.backward()
    np.testing.assert_allclose(data.grad.asnumpy()[0], [-1e-4, 1e-4], rtol=2e-3)
    assert (gradient(nd.SoftmaxOutput, x, label, ignore_label=0, **attributes) == 0).all()


def test_softmax_output_smooths_labels_of_places(rng):
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    label = rng.integers(0, 5, (2, 3)).astype(np.float32)
    target = np.moveaxis(np.eye(5)[label.astype(int)] * (0.8 - 0.05) + 0.05, -1, 1)
    found = gradient(nd.SoftmaxOutput, x, label, multi_output=True, smooth_alpha=0.2)
    np.testing.assert_allclose(found, (softmax(x.astype("float64"), 1) - target) / 3, rtol=1e-5, atol=1e-6)


def test_second_order_of_softmax_output_is_that_of_the_cross_entropy(rng):
    x, label = labelled(rng)
    direction = nd.array(rng.standard_normal(x.shape))
    results = []
    for loss in (nd.SoftmaxOutput, lambda d, t: -nd.sum(nd.pick(nd.log_softmax(d), t))):
        data = nd.array(x)
        data.attach_grad()
        with autograd.record():
            (g,) = autograd.grad(loss(data, nd.array(label)), data, create_graph=True)
            total = nd.sum(g * direction)
        total.backward()
        results.append(data.grad.asnumpy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_svm_output_by_its_definition(rng):
    x, label = labelled(rng)
    sign = 2 * np.eye(35)[label.astype(int)] - 1
    found = gradient(nd.SVMOutput, x, label, margin=0.7, regularization_coefficient=0.5)
    np.testing.assert_allclose(found, -sign * np.maximum(0.7 - sign * x, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.SoftmaxOutput(x, nd.ones((2,))),
            r"SoftmaxOutput: label is of shape \(2,\)",
        ),
        (
            lambda x: nd.SoftmaxOutput(x, x, normalization="n"),
            "SoftmaxOutput: normalization is 'n'",
        ),
        (lambda x: nd.SVMOutput(x, nd.ones((2,))), "SVMOutput: data, label is of shapes"),
        (lambda x: nd.MAERegressionOutput(x, nd.ones((2,))), "MAERegressionOutput: label is of shape"),
        (lambda x: nd.MakeLoss(x, normalization="n"), "MakeLoss: normalization is 'n'"),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call(nd.ones((3, 4)))
