"""Losses: values and gradients against those of MXNet, and what it gets wrong."""

import numpy as np
import pytest
from golden.training import losses, recorded
from helpers import check_both_orders, close, gradient_of, normal
from scipy.special import gammaln

import clgrad as mx
from clgrad import autograd, gluon, memory, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.gluon.loss import Loss, _apply_weighting, _reshape_like

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {"softmax_cross_entropy": ("_cross_entropies", "_cross_entropies_grad")}


@pytest.fixture(scope="module")
def theirs():
    return recorded("losses")


#: Numbers of cases; most are made of ops that are tested on every device.
NUMBERS = [
    pytest.param(i, marks=() if case[0].startswith("Softmax") else pytest.mark.once, id=f"{case[0]}{i}")
    for i, case in enumerate(losses.CASES)
]


@pytest.mark.parametrize("i", NUMBERS)
def test_values_and_gradients(i, theirs):
    for key, value in losses.answer(mx, i).items():
        expected = theirs[key]
        assert value.dtype == expected.dtype
        assert value.shape == expected.shape
        if value.dtype.kind == "U":
            assert value == expected
        else:
            np.testing.assert_allclose(value, expected, 2e-5, 2e-5, err_msg=key)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_derivatives_of_cross_entropies(shape, rng):
    """Of second order as well; the other losses are made of ops that are tested elsewhere."""
    label = nd.array(rng.integers(0, 4, shape[:-1]))
    weights = rng.standard_normal((shape[0], 1) if len(shape) == 2 else (*shape[:-1], 1))
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    check_both_orders(lambda x: loss(x, label, nd.array(weights, dtype=x.dtype)), normal(rng, shape))


def test_cross_entropies_take_one_launch_each_way(rng):
    pred, label = nd.array(rng.standard_normal((6, 5))), nd.array([0, 4, 2, 1, 3, 3])
    pred.attach_grad()
    stream = memory.current_stream(pred.context.device)
    before = set(stream.plans)
    with autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(pred, label)
    loss.backward()
    made = [p for k, p in stream.plans.items() if k not in before and hasattr(p, "steps")]
    names = [step.kernel for plan in made for step in plan.steps]
    assert [n for n in names if "cross_entropy" not in n and "full" not in n] == []
    assert len([n for n in names if "cross_entropy" in n]) == 2


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(1, 3), (300, 10), (2, 3, 33), (0, 4)])
def test_cross_entropies(shape, dtype, rng):
    pred = rng.standard_normal(shape).astype(dtype)
    label = rng.integers(0, shape[-1], shape[:-1])
    logits = pred.astype(float) - np.log(np.exp(pred.astype(float)).sum(-1, keepdims=True))
    each = -np.take_along_axis(logits, label[..., None], -1)[..., 0]
    found = gluon.loss.SoftmaxCELoss()(nd.array(pred, dtype=dtype), nd.array(label, dtype="int32"))
    expected = each.reshape(shape[0], -1).mean(1) if shape[0] else np.zeros(0)
    close(found.astype("float32"), expected, 2e-3 if dtype == "float16" else 4e-6)


def test_labels_of_no_class_count_as_the_nearest():
    loss = gluon.loss.SoftmaxCELoss()
    pred = nd.array([[1.0, 2.0, 4.0]] * 3)
    np.testing.assert_array_equal(
        loss(pred, nd.array([-3, 7, 1.9])).asnumpy(), loss(pred, nd.array([0, 2, 1])).asnumpy()
    )


@pytest.mark.once
def test_full_poisson_losses_can_be_recorded():
    """MXNet raises while recording, and gives NaN where the target is 0."""
    target = np.array([0.0, 1.0, 2.0, 7.0])
    loss = gluon.loss.PoissonNLLLoss(compute_full=True)
    pred = np.array([0.5, -1.0, 0.3, 2.0])
    expected = np.exp(pred) - target * pred + np.where(target > 1, gammaln(target + 1), 0)
    close(loss(nd.array(pred), nd.array(target)), [expected.mean()], 0.02)  # Stirling's approximation
    np.testing.assert_allclose(
        gradient_of(lambda x: loss(x, nd.array(target)), pred), (np.exp(pred) - target) / 4, 1e-5
    )


@pytest.mark.once
def test_large_logits_do_not_overflow():
    large = nd.array([[1e4, -1e4]])
    for loss in (gluon.loss.SigmoidBCELoss(), gluon.loss.LogisticLoss(label_format="binary")):
        assert loss(large, nd.array([[1, 0]])).asscalar() == 0
        assert loss(large, nd.array([[0, 1]])).asscalar() == 1e4


def test_a_net_learns_by_each_loss_when_hybridized(rng):
    net = gluon.nn.Dense(3, in_units=4)
    net.initialize()
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    net.hybridize()
    loss.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.1})
    x = nd.array(rng.standard_normal((30, 4)))
    label = nd.argmax(x[:, :3], axis=1)
    found = []
    for _ in range(60):
        with autograd.record():
            value = loss(net(x), label)
        value.backward()
        trainer.step(30)
        found.append(value.mean().asscalar())
    assert found[-1] < 0.3 < found[0]


@pytest.mark.once
@pytest.mark.parametrize("kind", ["L2Loss", "HuberLoss", "SigmoidBCELoss", "LogisticLoss", "SoftmaxCELoss"])
def test_losses_of_symbols_are_those_of_arrays(kind, rng):
    sparse = kind == "SoftmaxCELoss"
    arrays = {
        "pred": nd.array(rng.standard_normal((4, 3))),
        "label": nd.array([0, 2, 1, 1]) if sparse else nd.array(rng.uniform(0, 1, (12,))),
        "weight": nd.array(rng.uniform(0, 1, (4, 1))),
    }
    loss = getattr(gluon.loss, kind)(weight=0.5)
    graph = loss(*map(mx.sym.var, arrays))
    assert sorted(graph.list_arguments()) == sorted(arrays)
    close(graph.eval(**arrays)[0], loss(*arrays.values()).asnumpy())


@pytest.mark.once
def test_a_net_is_exported_with_its_loss(tmp_path):
    class WithLoss(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.net, self.loss = gluon.nn.Dense(3), gluon.loss.SoftmaxCELoss()

        def hybrid_forward(self, F, x, label):
            return self.loss(self.net(x), label)

    net, given = WithLoss(), (nd.ones((2, 4)), nd.array([1, 2]))
    net.initialize()
    net.hybridize()
    expected = net(*given).asnumpy()
    net.export(str(tmp_path / "net"))
    names = [str(tmp_path / "net-symbol.json"), ["data0", "data1"], str(tmp_path / "net-0000.params")]
    close(gluon.SymbolBlock.imports(*names)(*given), expected)


@pytest.mark.once
def test_losses_of_ones_own_are_made_of_mxnets_parts():
    class Absolute(Loss):
        def __init__(self, weight=2.0, batch_axis=0):
            super().__init__(weight, batch_axis)

        def hybrid_forward(self, F, pred, label, sample_weight=None):
            loss = F.abs(_reshape_like(F, label, pred) - pred)
            loss = _apply_weighting(F, loss, self._weight, sample_weight)
            return F.mean(loss, axis=self._batch_axis, exclude=True)

    found = Absolute()(nd.array([[1, 2], [3, 4]]), nd.array([0, 0, 0, 0]), nd.array([[1], [0.5]]))
    assert found.asnumpy().tolist() == [3, 3.5]


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gluon.loss.L1Loss(weight="2"), OperatorTypeError, "L1Loss: weight is str"),
        (lambda: gluon.loss.CTCLoss(layout="NCT"), OperatorError, "CTCLoss: layout is 'NCT'"),
        (lambda: gluon.loss.CTCLoss(label_layout="N"), OperatorError, "CTCLoss: label_layout is 'N'"),
        (
            lambda: gluon.loss.LogisticLoss(label_format="x"),
            OperatorError,
            "LogisticLoss: label_format is 'x'",
        ),
        (
            lambda: gluon.loss.SDMLLoss()(nd.ones((1, 2)), nd.ones((1, 2))),
            OperatorError,
            r"SDMLLoss: x1, x2 is of shapes \(1, 2\), \(1, 2\)",
        ),
        (
            lambda: gluon.loss.SoftmaxCELoss()(nd.ones((3, 2)), nd.ones((4,))),
            OperatorError,
            r"label is of shape \(4,\); accepted: \(3,\)",
        ),
        (lambda: gluon.loss.L2Loss()(nd.ones((3, 2)), nd.ones((4,))), OperatorError, "reshape_like"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
