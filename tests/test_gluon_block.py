"""Blocks and parameters: names, initialisation, devices, files and hooks, against those of MXNet."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from golden.training import blocks, recorded

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.errors import AbsentError, CaptureError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon import nn

# The first device twice where there is one alone: what counts is that copies are kept apart by context.
CONTEXTS = [mx.cpu(0), mx.cpu(1)]


def two_contexts():
    try:
        for context in CONTEXTS:
            nd.zeros(1, ctx=context)
    except MXNetError:
        pytest.skip("one CPU device alone")
    return CONTEXTS


def parameter(shape=(2, 3), **kwargs):
    made = gluon.Parameter("weight", shape=shape, **kwargs)
    made.initialize(mx.init.One())
    return made


def small_net(**kwargs):
    net = nn.HybridSequential(**kwargs)
    with net.name_scope():
        net.add(nn.Dense(4, activation="relu"), nn.Dense(2))
    return net


def values(block):
    return {name: p.data().asnumpy() for name, p in block.collect_params().items()}


@pytest.fixture(scope="module")
def answers():
    return blocks.answers(mx), recorded("blocks")


@pytest.mark.once
def test_names_do_not_choose_what_parameters_are_filled_with():
    """Gluon hands the initializer over as the parameter's own, so that a bias without one is no 0."""
    params = mx.gluon.ParameterDict("p_")
    for name in ("weight", "bias", "running_var", "w"):
        params.get(name, shape=(2,))
    params.get("own", shape=(2,), init="ones")
    params.initialize(mx.init.Constant(5))
    assert [p.data().asnumpy()[0] for p in params.values()] == [5, 5, 5, 5, 1]
    with pytest.raises(MXNetError, match="Xavier: the weight is 'p_bias' of shape"):
        params["p_bias"].initialize(mx.init.Xavier(), force_reinit=True)
    params["p_bias"].initialize(mx.init.Mixed([".*bias", ".*"], ["ones", "zeros"]), force_reinit=True)
    assert params["p_bias"].data().asnumpy().tolist() == [1, 1]
    load = mx.init.Load({"p_weight": mx.nd.array([3, 4])}, default_init=mx.init.Constant(6))
    params.initialize(load, force_reinit=True)
    assert [p.data().asnumpy().tolist() for p in list(params.values())[:2]] == [[3, 4], [6, 6]]


@pytest.mark.once
@pytest.mark.parametrize("what", sorted(recorded("blocks")))
def test_names_texts_and_summaries_are_those_of_mxnet(what, answers):
    ours, theirs = (found[what] for found in answers)
    np.testing.assert_array_equal(ours, theirs)


# Parameters


def test_gradients_as_grad_req_says():
    weight = parameter()
    for request, expected in [("write", 5), ("add", 5), ("add", 10), ("write", 5)]:
        if weight.grad_req != request:
            weight.grad_req = request
        with autograd.record():
            y = (weight.data() * 5).sum()
        y.backward()
        assert (weight.grad().asnumpy() == expected).all()
    weight.zero_grad()
    assert not weight.grad().asnumpy().any()
    weight.grad_req = "null"
    with pytest.raises(MXNetError, match="no gradient, because its grad_req is 'null'"):
        weight.grad()
    with autograd.record():
        y = (weight.data() * 5).sum()
    assert y._entry is None


def test_gradient_is_seen_through_the_array_that_grad_gave():
    weight = parameter()
    gradient = weight.grad()
    with autograd.record():
        y = (weight.data() * 3).sum()
    y.backward()
    assert (gradient.asnumpy() == 3).all()


def test_values_are_set_and_cast():
    weight = parameter()
    array = weight.data()
    weight.set_data(np.arange(6).reshape(2, 3))
    assert array.asnumpy().ravel().tolist() == [0, 1, 2, 3, 4, 5]
    weight.cast("float16")
    assert weight.dtype == np.float16 == weight.data().dtype == weight.grad().dtype
    with autograd.record():
        y = (weight.data() * 2).sum()
    y.backward()
    assert (weight.grad().asnumpy() == 2).all()
    weight.dtype = "float32"
    assert weight.data().asnumpy().ravel().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.once
def test_bad_arguments_of_parameters_change_nothing():
    weight = parameter()
    for wrong in (np.ones((3, 2)), nd.ones((2, 3, 1))):
        with pytest.raises(OperatorError, match=r"Parameter weight: shape is .*accepted: \(2, 3\)"):
            weight.set_data(wrong)
    with pytest.raises(OperatorError, match="grad_req is 'sum'; accepted: write, add, null"):
        weight.grad_req = "sum"
    with pytest.raises(OperatorTypeError, match="Parameter weight: dtype='float7'"):
        weight.cast("float7")
    with pytest.raises(OperatorError, match="different ones"):
        weight.reset_ctx([mx.cpu(), mx.cpu()])
    assert (weight.data().asnumpy() == 1).all()
    assert (weight.shape, weight.dtype, weight.grad_req) == ((2, 3), np.float32, "write")
    with pytest.warns(UserWarning, match="already initialised"):
        weight.initialize(mx.init.Zero())
    assert (weight.data().asnumpy() == 1).all()
    weight.initialize(mx.init.Zero(), force_reinit=True)
    assert not weight.data().asnumpy().any()


@pytest.mark.once
def test_an_initialiser_that_fails_changes_nothing():
    class Broken(mx.init.Initializer):
        def _init_weight(self, name, arr):
            arr[:] = 3
            raise ZeroDivisionError

    weight = parameter()
    array = weight.data()
    for wrong, error in ((Broken(), ZeroDivisionError), ("unheard of", MXNetError)):
        with pytest.raises(error):
            weight.initialize(wrong, force_reinit=True)
    assert weight.data() is array
    assert (array.asnumpy() == 1).all()
    fresh = gluon.Parameter("weight", shape=(2, 3))
    with pytest.raises(ZeroDivisionError):
        fresh.initialize(Broken())
    with pytest.raises(OperatorError, match="is not initialised"):
        fresh.data()


@pytest.mark.once
def test_arguments_that_no_parameter_has():
    with pytest.raises(AbsentError, match="stype is 'row_sparse'"):
        gluon.Parameter("weight", stype="row_sparse")
    with pytest.raises(OperatorError, match="shape is"):
        gluon.Parameter("weight", shape=(2, -3))
    with pytest.raises(OperatorError, match="grad_stype is 'coo'"):
        gluon.Parameter("weight", grad_stype="coo")
    with pytest.raises(OperatorError, match=r"its shape is \(2, 0\); give all sizes"):
        gluon.Parameter("weight", shape=(2, 0)).initialize()
    with pytest.raises(OperatorError, match="is not initialised"):
        gluon.Parameter("weight", shape=(2, 3)).data()


@pytest.mark.once
def test_deferred_initialisation():
    weight = gluon.Parameter("weight", shape=(2, 0), allow_deferred_init=True)
    weight.initialize(mx.init.One())
    with pytest.raises(gluon.DeferredInitializationError, match="until the first forward pass"):
        weight.data()
    assert weight.list_ctx() == [mx.current_context()]
    weight.set_data(nd.full((2, 5), 7))
    weight._finish_deferred_init()
    assert (weight.data().asnumpy() == 7).all()


def test_copies_on_two_contexts():
    first, second = two_contexts()
    weight = gluon.Parameter("weight", shape=(2, 3))
    weight.initialize(mx.init.Uniform(1), ctx=[first, second])
    assert weight.list_ctx() == [first, second]
    a, b = weight.list_data()
    assert (a.context, b.context) == (first, second)
    np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    with autograd.record():
        losses = [(weight.data(c) * (i + 1)).sum() for i, c in enumerate((first, second))]
    autograd.backward(losses)
    assert [g.asnumpy()[0, 0] for g in weight.list_grad()] == [1, 2]
    b[:] = a.asnumpy() + 2
    weight.reset_ctx(second)
    np.testing.assert_allclose(weight.data().asnumpy(), a.asnumpy() + 1, rtol=1e-6)
    with pytest.raises(OperatorError, match=rf"is not on {first}".replace("(", r"\(").replace(")", r"\)")):
        weight.data(first)


def test_net_runs_where_its_input_is():
    first, second = two_contexts()
    net = small_net()
    net.initialize(ctx=[first, second])
    x = np.ones((4, 3), np.float32)
    results = [net(nd.array(x, ctx=c)) for c in (first, second)]
    assert [r.context for r in results] == [first, second]
    np.testing.assert_allclose(results[0].asnumpy(), results[1].asnumpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.once
def test_constants():
    params = gluon.ParameterDict("net_")
    constant = params.get_constant("table", [[1, 2], [3, 4]])
    constant.initialize()
    assert constant.data().asnumpy().tolist() == [[1, 2], [3, 4]]
    assert params.get_constant("table", np.array([[1, 2], [3, 4]])) is constant
    with pytest.warns(UserWarning, match="is ignored"):
        constant.grad_req = "write"
    assert constant.grad_req == "null"
    with pytest.raises(OperatorError, match="with another value"):
        params.get_constant("table", [[1, 2], [3, 5]])
    with pytest.raises(OperatorError, match="or a value as well"):
        params.get_constant("other")
    params.get("weight", shape=(1,))
    with pytest.raises(OperatorError, match="no constant"):
        params.get_constant("weight", [1])
    assert repr(constant) == "Constant net_table (shape=(2, 2), dtype=float32)"


@pytest.mark.once
def test_a_parameter_that_is_asked_for_again():
    params = gluon.ParameterDict("net_")
    weight = params.get("weight", shape=(2, 0), allow_deferred_init=True)
    assert params.get("weight", shape=(0, 3), allow_deferred_init=True) is weight
    assert weight.shape == (2, 3)
    assert params.get("weight", init="zeros") is weight
    for wrong in ({"shape": (2, 4)}, {"dtype": "float16"}, {"init": "ones"}, {"grad_req": "add"}):
        with pytest.raises(OperatorError, match=r"as it has it|shape"):
            params.get("weight", **wrong)
    with pytest.raises(OperatorError, match="those of Parameter"):
        params.get("weight", colour="red")
    other = gluon.ParameterDict()
    other.get("net_weight", shape=(2, 3))
    with pytest.raises(OperatorError, match="two different parameters are named net_weight"):
        params.update(other)


# Blocks


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


@pytest.mark.once
def test_mxnets_older_names_for_files(tmp_path):
    first, second = small_net(), small_net()
    first.initialize()
    first(nd.ones((4, 3)))
    with pytest.warns(UserWarning, match="call save_parameters"):
        first.save_params(tmp_path / "net")
    assert list(nd.load(tmp_path / "net")) == [
        "dense0_weight",
        "dense0_bias",
        "dense1_weight",
        "dense1_bias",
    ]
    with pytest.warns(UserWarning, match="call load_parameters"):
        second.load_params(tmp_path / "net")
    for a, b in zip(values(first).values(), values(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)


# Files


@pytest.mark.once
@pytest.mark.parametrize("how", ["block", "dictionary", "prefix"])
def test_parameters_go_through_files(how, tmp_path):
    first, second = small_net(prefix="net_"), small_net(prefix="net_" if how == "dictionary" else None)
    first.initialize(mx.init.Uniform(1))
    first(nd.ones((4, 3)))
    path = tmp_path / "net.params"
    if how == "block":
        first.save_parameters(path)
        second.load_parameters(path, ctx=mx.current_context())
    elif how == "dictionary":
        first.collect_params().save(path)
        second.collect_params().load(path)
    else:
        first.collect_params().save(path, strip_prefix="net_")
        second.load_parameters(path)
    for a, b in zip(values(first).values(), values(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert second(nd.ones((4, 3))).shape == (4, 2)


@pytest.mark.once
def test_shared_parameters_in_files(tmp_path):
    net = nn.HybridSequential()
    net.add(nn.Dense(4, in_units=4))
    net.add(nn.Dense(4, in_units=4, params=net[0].params))
    net.initialize()
    net.save_parameters(tmp_path / "all")
    net.save_parameters(tmp_path / "once", deduplicate=True)
    assert list(nd.load(tmp_path / "all")) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(nd.load(tmp_path / "once")) == ["1.weight", "1.bias"]
    for name in ("all", "once"):
        net.load_parameters(tmp_path / name)


@pytest.mark.once
def test_dtypes_of_files(tmp_path):
    net, half = small_net(), small_net()
    half.cast("float16")
    half.initialize()
    half(nd.ones((4, 3), dtype="float16"))
    half.save_parameters(tmp_path / "half")
    net.initialize()
    with pytest.raises(MXNetError, match="dtype float32, and the saved array float16; pass cast_dtype"):
        net.load_parameters(tmp_path / "half")
    with autograd.record():
        net.load_parameters(tmp_path / "half", cast_dtype=True)
    assert net[0].weight.dtype == np.float32
    np.testing.assert_array_equal(net[0].weight.data().asnumpy(), half[0].weight.data().asnumpy())
    net.load_parameters(tmp_path / "half", cast_dtype=True, dtype_source="saved")
    assert net[0].weight.dtype == net[0].weight.grad().dtype == np.float16
    with pytest.raises(OperatorError, match="dtype_source is 'file'; accepted: current, saved"):
        net.load_parameters(tmp_path / "half", dtype_source="file")


@pytest.mark.once
def test_files_that_do_not_fit_change_nothing(tmp_path):
    net = small_net()
    net.initialize()
    net(nd.ones((4, 3)))
    net.save_parameters(tmp_path / "good")
    good, before = nd.load(tmp_path / "good"), values(net)
    changed = {name: array + 1 for name, array in good.items()}

    def refused(arrays, match, **options):
        nd.save(tmp_path / "bad", arrays)
        with pytest.raises(MXNetError, match=match):
            net.load_parameters(tmp_path / "bad", **options)
        for name, host in values(net).items():
            np.testing.assert_array_equal(host, before[name])

    missing = {name: a for name, a in changed.items() if name != "1.bias"}
    refused(missing, r"lacks 1.bias; it holds 0.weight.*allow_missing=True")
    refused(changed | {"2.weight": nd.ones(1)}, "holds 2.weight, which is not here.*ignore_extra=True")
    refused(changed | {"1.bias": nd.ones(3)}, r"has the shape \(2,\), and the saved array \(3,\)")
    refused(list(changed.values()), "its 4 arrays have no names")
    refused({}, "lacks 0.weight, 0.bias, 1.weight, 1.bias")
    content = (tmp_path / "good").read_bytes()
    for size in (0, 8, 40, len(content) // 2, len(content) - 1):
        (tmp_path / "bad").write_bytes(content[:size])
        with pytest.raises(MXNetError, match="at byte"):
            net.load_parameters(tmp_path / "bad")
    with pytest.raises(FileNotFoundError):
        net.load_parameters(tmp_path / "nowhere")
    for name, host in values(net).items():
        np.testing.assert_array_equal(host, before[name])

    nd.save(tmp_path / "bad", missing | {"2.weight": nd.ones(1)})
    net.load_parameters(tmp_path / "bad", allow_missing=True, ignore_extra=True)
    after = values(net)
    name = net[1].bias.name
    np.testing.assert_array_equal(after[name], before[name])
    assert all((after[n] == before[n] + 1).all() for n in after if n != name)


@pytest.mark.once
def test_loading_elsewhere_than_initialised(tmp_path):
    first, second = two_contexts()
    net = small_net()
    net.initialize(ctx=first)
    net(nd.ones((4, 3), ctx=first))
    net.save_parameters(tmp_path / "net")
    with pytest.raises(MXNetError, match="because it was initialised on"):
        net.load_parameters(tmp_path / "net", ctx=second)
    other = small_net()
    other.load_parameters(tmp_path / "net", ctx=[first, second])
    assert other[0].weight.list_ctx() == [first, second]


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
