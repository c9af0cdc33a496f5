"""Blocks: names, children, hooks, copies, hybridizing and misuse, against those of MXNet."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from gluon_harness import small_net
from golden.training import blocks, recorded

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.errors import AbsentError, CaptureError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon import nn


@pytest.fixture(scope="module")
def answers():
    return blocks.answers(mx), recorded("blocks")


@pytest.mark.once
@pytest.mark.parametrize("what", sorted(recorded("blocks")))
def test_names_texts_and_summaries_are_those_of_mxnet(what, answers):
    ours, theirs = (found[what] for found in answers)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.once
def test_attributes_keep_their_kind():
    class Net(gluon.Block):
        def __init__(self):
            super().__init__()
            self.layer = nn.Dense(2)
            self.weight = self.params.get("weight", shape=(1,))

    net = Net()
    with pytest.raises(OperatorTypeError, match=r"net\d+.layer is a Dense, and cannot become a int"):
        net.layer = 1
    with pytest.raises(OperatorError, match="is another parameter already"):
        net.weight = gluon.Parameter("other", shape=(1,))
    net.layer = nn.Dense(3)
    assert repr(net) == "Net(\n  (layer): Dense(None -> 3, linear)\n)"
    with pytest.raises(OperatorTypeError, match="accepted: HybridBlock"):
        nn.HybridSequential().add(net)
    with pytest.raises(OperatorError, match="block is int"):
        nn.Sequential().add(3)


@pytest.mark.once
def test_misuse_of_blocks_is_named():
    class Net(gluon.Block):
        def __init__(self):
            self.layer = nn.Dense(2)

    with pytest.raises(OperatorError, match=r"Net.layer: call super\(\).__init__"):
        Net()
    with pytest.raises(
        OperatorError, match=r"net.collect_params: select is '\('; accepted: a regular expres"
    ):
        small_net(prefix="net_").collect_params("(")


@pytest.mark.once
def test_blocks_in_lists_are_warned_of():
    net = nn.Sequential()
    net.layers = [nn.Dense(2)]
    with pytest.warns(UserWarning, match=r"Sequential.layers holds blocks that are no children"):
        net.collect_params()
    net.register_child(net.layers[0])
    assert len(net.collect_params()) == 2


def test_gradients_of_a_net_are_cleared():
    net = small_net()
    net.initialize()
    net.collect_params().setattr("grad_req", "add")
    net[1].bias.grad_req = "null"
    x = nd.ones((4, 3))
    for _ in range(2):
        with autograd.record():
            y = net(x).sum()
        y.backward()
    twice = net[1].weight.grad().asnumpy()
    net.collect_params().zero_grad()
    assert not any(p.grad().asnumpy().any() for p in net.collect_params(".*weight").values())
    with autograd.record():
        y = net(x).sum()
    y.backward()
    np.testing.assert_allclose(net[1].weight.grad().asnumpy(), twice / 2, rtol=1e-5)


@pytest.mark.once
def test_shared_parameters_are_one():
    first = nn.Dense(4, in_units=4)
    net = nn.HybridSequential()
    net.add(first, nn.Dense(4, in_units=4, params=first.params))
    net.initialize(mx.init.Constant(0.5))
    assert net[1].weight is first.weight
    x = nd.ones((1, 4))
    with autograd.record():
        y = net(x).sum()
    y.backward()
    # y = sum(W W x), with every element of W a half: dy/dW = W^T 1 x^T + 1 (W x)^T
    assert (first.weight.grad().asnumpy() == 2 + 2).all()


@pytest.mark.once
def test_whole_nets_share_their_parameters_under_other_names():
    class Net(gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.inner = nn.HybridSequential()
                with self.inner.name_scope():
                    self.inner.add(nn.Dense(2, in_units=2), nn.BatchNorm(in_channels=2))

    first = Net(prefix="first_")
    other = Net(prefix="other_", params=first.collect_params())
    assert other.inner[0].prefix == "other_hybridsequential0_dense0_"
    assert list(other.collect_params()) == list(first.collect_params())
    assert all(other.collect_params()[n] is p for n, p in first.collect_params().items())


@pytest.mark.once
def test_hooks():
    net, seen = nn.Dense(2, in_units=3), []
    net.initialize()
    before = net.register_forward_pre_hook(lambda block, inputs: seen.append(("before", block, inputs)))
    with net.register_forward_hook(lambda block, inputs, y: seen.append(("after", inputs, y.shape))):
        x = nd.ones((1, 3))
        net(x)
    assert seen == [("before", net, (x,)), ("after", (x,), (1, 2))]
    before.detach()
    before.detach()
    net(x)
    assert len(seen) == 2


@pytest.mark.once
def test_hooks_of_a_hybridized_net():
    net, seen = small_net(prefix="net_"), []
    net.initialize()
    net.register_forward_hook(lambda *args: seen.append("net"))
    with (
        net[0].register_forward_hook(lambda *args: seen.append("child")),
        pytest.warns(UserWarning, match="net: hooks of net_dense0 are not called while net is hybridized"),
    ):
        net.hybridize()
    for _ in range(5):
        net(nd.ones((4, 3)))
    assert seen == ["net"] * 5


@pytest.mark.once
def test_apply_visits_children_first():
    net, seen = small_net(), []
    assert net.apply(lambda block: seen.append(type(block).__name__)) is net
    assert seen == ["Activation", "Dense", "Dense", "HybridSequential"]


@pytest.mark.once
def test_hybridized_nets_give_the_same():
    net = small_net()
    net.initialize(mx.init.Xavier())
    x = nd.array(np.random.default_rng(0).standard_normal((4, 3)))
    plain = net(x).asnumpy()
    net.hybridize(static_alloc=True)
    assert net[0].act._active
    np.testing.assert_allclose(net(x).asnumpy(), plain, rtol=1e-6)
    with pytest.raises(OperatorError, match="not hybridized"):
        net.summary(x)
    net.hybridize(False)
    net.summary(x)


@pytest.mark.once
def test_forward_that_is_overridden():
    class Net(gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale = self.params.get("scale", shape=(1,), init="ones")

        def forward(self, x, power=1):
            return (x * self.scale.data()) ** power

    net = Net()
    net.initialize()
    for active in (False, True):
        net.hybridize(active)
        assert net(nd.array([3]), 2).asscalar() == 9


@pytest.mark.once
def test_calls_without_an_array():
    net = small_net()
    net.initialize()
    with pytest.raises(OperatorTypeError, match="no input is an NDArray"):
        net(np.ones((4, 3)))
    with pytest.raises(NotImplementedError, match="Block has no forward"):
        gluon.Block()(nd.ones(1))
    with pytest.raises(OperatorError, match=r"weight is of shape \(4, 3\)"):
        net(nd.ones((4, 3))), net(nd.ones((4, 5)))


@pytest.mark.once
def test_failed_first_call_can_be_repeated():
    net = nn.Dense(2)
    net.initialize()
    with pytest.raises(MXNetError):
        net(nd.zeros(()))
    assert net(nd.ones((4, 3))).shape == (4, 2)


def test_dropped_nets_leave_no_parameters():
    net = small_net()
    net.initialize()
    with autograd.record():
        y = net(nd.ones((4, 3))).sum()
    y.backward()
    weight = weakref.ref(net[0].weight.data())
    gc.collect()
    gc.disable()
    try:
        del net, y
        assert weight() is None
    finally:
        gc.enable()


@pytest.mark.once
@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_and_pickles_of_nets(again):
    net = nn.HybridSequential(prefix="net_")
    net.add(nn.Dense(4, in_units=4, activation="relu"))
    net.add(nn.Dense(4, in_units=4, params=net[0].params), nn.Dense(2))
    net.initialize(mx.init.Constant(0.5))
    net.hybridize()
    x = nd.ones((1, 4))
    for _ in range(3):  # it is captured by then
        net(x)
    other = again(net)
    with autograd.record():
        y = other(x).sum()
    y.backward()
    assert (other[0].weight.grad().asnumpy() > 0).all()
    assert not net[0].weight.grad().asnumpy().any()
    assert other[1].weight is other[0].weight
    assert list(other.collect_params().keys()) == [*net.collect_params().keys()]
    np.testing.assert_array_equal(other(x).asnumpy(), net(x).asnumpy())


@pytest.mark.once
def test_what_blocks_of_mxnet_can_besides():
    net = small_net(prefix="net_")
    weight = gluon.Parameter("weight", shape=(2, 3))
    for call, match in [
        (lambda: net.save("net"), "net.save: accepted: save_parameters, or export"),
        (lambda: net.load("net"), "net.load: accepted: load_parameters"),
        (lambda: net.register_op_hook(print), "accepted: register_forward_hook"),
        (lambda: net.optimize_for(nd.ones(1), backend="x"), r"backend is 'x'; accepted: None"),
        (lambda: weight.row_sparse_data(nd.ones(1)), r"parameters are dense; accepted: data\(\)"),
        (lambda: weight.list_row_sparse_data(nd.ones(1)), r"accepted: list_data\(\)"),
        (lambda: gluon.model_zoo, "gluon.model_zoo: clgrad brings no trained nets"),
        (lambda: gluon.contrib.estimator, "gluon.contrib.estimator: loops of training are written out"),
        (lambda: gluon.contrib.rnn, "gluon.contrib.rnn: cells are in gluon.rnn"),
    ]:
        with pytest.raises(AbsentError, match=match):
            call()
    with pytest.raises(AttributeError, match="no attribute 'model'"):
        gluon.model  # noqa: B018
    assert isinstance(nd.ones(1), gluon.tensor_types)


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: gluon.ParameterDict(3), "ParameterDict: prefix is 3; accepted: str"),
        (lambda: gluon.ParameterDict().get(3), "ParameterDict.get: name is 3; accepted: str"),
        (lambda: gluon.ParameterDict().update(3), "update: other is int; accepted: a ParameterDict"),
        (lambda: gluon.ParameterDict().load_dict({"a": 3}), "param_dict is dict; accepted: a dict of str"),
        (lambda: nn.Dense(2).collect_params(3), "select is 3; accepted: a regular expression"),
        (lambda: nn.Dense(2).register_forward_hook(3), "hook is 3; accepted: a function"),
        (lambda: gluon.Trainer([], "sgd", 3), "optimizer_params is int; accepted: a dict"),
        (lambda: gluon.Trainer([], "sgd").step("a"), "batch_size is 'a'; accepted: a number"),
        (lambda: gluon.utils.split_data(3, 2), "data is int; accepted: NDArray"),
        (lambda: gluon.utils.clip_global_norm([nd.ones(1)], "a"), "max_norm is 'a'; accepted: a number"),
    ],
)
def test_arguments_of_other_kinds(call, match):
    with pytest.raises(MXNetError, match=match):
        call()


@pytest.mark.once
def test_blocks_are_no_part_of_themselves():
    net, inner = nn.HybridSequential(prefix="net_"), nn.HybridSequential()
    inner.add(net)
    for block in (net, inner):
        with pytest.raises(OperatorError, match=r"register_child: block is .* that this one is no part of"):
            net.add(block)
    assert len(net) == 0


def test_hybridized_nets_may_branch_on_values(rng):
    """By ops of control flow: then they run op by op, and compute what they compute without."""

    class Net(gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.norm = nn.BatchNorm(in_channels=2)
                self.dense = nn.Dense(2, in_units=2)

        def hybrid_forward(self, F, x):
            y = self.norm(x)
            y = F.contrib.cond(F.sum(x) > 0, lambda: self.dense(y), lambda: y - 1)
            start = [F.zeros((1,)), y]
            _, (_, y) = F.contrib.while_loop(
                lambda i, s: i < 2, lambda i, s: ([], [i + 1, s * x]), start, max_iterations=4
            )
            return y

    batches = rng.uniform(-1, 1, (6, 3, 2)).astype(np.float32)
    results = []
    for hybridize in (False, True):
        net = Net()
        net.initialize(mx.init.Constant(0.3))
        net.hybridize(hybridize)
        found = []
        for k, host in enumerate(batches):
            x = nd.array(host + (-1) ** (k // 2))
            x.attach_grad()
            with autograd.record():
                y = net(x)
            y.backward()
            found += [net(x), y, x.grad, net.dense.weight.grad(), net.norm.running_mean.data()]
        results.append([a.asnumpy().copy() for a in found])
    np.testing.assert_equal(*results)
    step = mx.capture(lambda x: nd.contrib.cond(x.sum() > 0, lambda: x, lambda: -x))
    with pytest.raises(CaptureError, match=r"test_gluon_block.py:\d+: a captured function reads a value"):
        step(nd.ones(2))
