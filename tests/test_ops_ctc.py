"""CTCLoss beyond what MXNet answers (golden/cases/ctc.py): both backwards, long sequences, other dtypes."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.test_utils import gradcheck, gradgradcheck

COVERS = {"CTCLoss": ("_ctc", "_ctc_grad", "_log_sum3")}

LENGTHS = {"data_lengths": [5, 9, 7], "label_lengths": [1, 3, 2]}


def arrays(rng, steps=9, classes=4, dtype="float32"):
    data = nd.array(2 * rng.standard_normal((steps, 3, classes)), dtype=dtype)
    return data, nd.array([[1, 0, 0], [2, 2, 1], [3, 1, 0]])


def options(names) -> dict:
    return {n: nd.array(LENGTHS[n]) for n in names} | {f"use_{n}": True for n in names}


def gradients(data, label, create_graph, **attributes):
    data = data.copy()
    data.attach_grad()
    with autograd.record():
        loss = nd.CTCLoss(data, label, **attributes)
    head = nd.array([1.0, -2.0, 0.5], dtype=data.dtype)
    return autograd.grad(loss, [data], [head], create_graph=create_graph)[0].asnumpy()


@pytest.mark.parametrize("names", [(), ("data_lengths",), ("label_lengths",), tuple(LENGTHS)])
@pytest.mark.parametrize("blank", ["first", "last"])
def test_fast_backward_is_the_recorded_one(names, blank, rng):
    data, label = arrays(rng)
    if blank == "last":
        label = label - 1
    attributes = options(names) | {"blank_label": blank}
    fast, recorded = (gradients(data, label, graph, **attributes) for graph in (False, True))
    np.testing.assert_allclose(fast, recorded, rtol=1e-4, atol=2e-6)


def test_both_backwards_are_0_where_a_label_is_impossible(rng):
    """For want of steps, with the loss 0 (as in MXNet); or of probability, with infinite loss."""
    data, _ = arrays(rng, steps=3)
    data[:, 1, 2] = -np.inf
    label = nd.array([[1, 1, 0], [2, 0, 0], [1, 2, 0]])
    label[0, 2] = 1
    assert nd.CTCLoss(data, label).asnumpy()[:2].tolist() == [0, np.inf]
    for create_graph in (False, True):
        gradient = gradients(data, label, create_graph)
        assert not gradient[:, 0].any()
        assert np.isfinite(gradient[:, :1]).all()
        assert gradient[:, 2].any()


@pytest.mark.parametrize("names", [("data_lengths",), tuple(LENGTHS)])
def test_gradients_to_second_order(names):
    rng = np.random.default_rng(1)
    data, label = rng.standard_normal((9, 3, 4)), nd.array([[1, 3, 2], [2, 2, 1], [3, 1, 2]])

    def loss(data):
        return nd.CTCLoss(data, label, **options(names))

    gradcheck(loss, [data])
    gradgradcheck(loss, [data], directions=2)


def test_long_sequences_and_runs_repeat_to_the_bit(rng):
    data = nd.array(rng.standard_normal((500, 2, 20)))
    label = nd.array(rng.integers(1, 20, (2, 100)))
    found = []
    for _ in range(2):
        data.attach_grad()
        with autograd.record():
            loss = nd.CTCLoss(data, label)
        loss.backward()
        found.append((loss.asnumpy().tobytes(), data.grad.asnumpy().tobytes()))
    assert np.isfinite(loss.asnumpy()).all()
    gradient = data.grad.asnumpy()
    # The shares of a step add up to 1, as softmax does.
    np.testing.assert_allclose(gradient.sum(axis=2), 0, atol=1e-5)
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes_are_computed_in_float32(dtype, rng):
    data, label = arrays(rng, dtype=dtype)
    wide = data.astype("float32")
    loss, exact = nd.CTCLoss(data, label), nd.CTCLoss(wide, label)
    assert str(loss._view.dtype) == dtype
    np.testing.assert_array_equal(loss.asnumpy(), exact.astype(dtype).asnumpy())
    actual, expected = gradients(data, label, False), gradients(wide, label, False)
    np.testing.assert_allclose(actual.astype(np.float32), expected, rtol=1e-2, atol=1e-3)


def test_a_label_in_the_graph_gets_no_gradient(rng):
    data, label = arrays(rng)
    data.attach_grad()
    label.attach_grad()
    with autograd.record():
        loss = nd.CTCLoss(data, label)
    loss.backward()
    assert not label.grad.asnumpy().any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blank_label": "middle"}, "blank_label is 'middle'; accepted: 'first' or 'last'"),
        ({"use_data_lengths": True}, "data_lengths is None with use_data_lengths"),
        ({"label_lengths": nd.ones}, "label_lengths is given without use_label_lengths"),
        ({"label_lengths": nd.ones, "use_label_lengths": True}, r"label_lengths is of shape \(2,\)"),
        ({"data": lambda s: nd.ones((2, 3, 4))}, r"label is of shape \(3, 3\); accepted: \(3, width\)"),
        ({"data": lambda s: nd.ones((9, 3, 4), dtype="int32")}, "data is of dtype int32"),
    ],
)
def test_errors_name_the_argument(changes, message, rng):
    data, label = arrays(rng)
    changes = {k: v((2,)) if callable(v) else v for k, v in changes.items()}
    with pytest.raises((OperatorError, OperatorTypeError), match=f"CTCLoss: {message}"):
        nd.CTCLoss(**({"data": data, "label": label} | changes))
