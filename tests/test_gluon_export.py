"""Nets as graphs: export and import, to MXNet and from it, and shapes of blocks of one's own."""

import gc
import json
import weakref
from collections import namedtuple

import numpy as np
import pytest
from golden.training import exported, recorded

import clgrad as mx
from clgrad import autograd, gluon, nd, sym
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon import nn, rnn


@pytest.fixture(scope="module")
def theirs():
    return recorded("exported")


@pytest.fixture(scope="module", params=sorted(exported.INPUTS))
def made(request, tmp_path_factory):
    """The name of a net, files that clgrad writes of it, and the net."""
    folder = tmp_path_factory.mktemp("exported")
    return request.param, folder, exported.made(mx, request.param, folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a net, and the net."""
    folder = tmp_path_factory.mktemp("files")
    return folder, exported.made(mx, "here", folder)


def compare(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-5, atol=2e-5, err_msg=key)


def kept(theirs, prefix):
    return {k.removeprefix(prefix): v for k, v in theirs.items() if k.startswith(prefix)}


# To MXNet and from it


def test_our_nets_give_what_mxnets_do(made, theirs):
    name, _, net = made
    compare(exported.results(mx, name, net), kept(theirs, f"{name}.own."))


@pytest.mark.once
def test_mxnet_reads_what_we_write(made, theirs):
    """What MXNet answered is of the files in the repository; those of today are the same."""
    name, folder, _ = made
    for today, then in zip(exported.paths(name, folder), exported.paths(name, exported.FILES), strict=True):
        assert today.read_bytes() == then.read_bytes()
    block = exported.imported(mx, name, folder)
    assert list(block.collect_params().keys()) == theirs[f"{name}.names"].tolist()
    compare(exported.results(mx, name, block), kept(theirs, f"{name}.here."))


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(exported.INPUTS))
def test_we_read_what_mxnet_writes(name, theirs, tmp_path):
    for path in exported.paths(name, tmp_path):
        path.write_bytes(theirs[f"{name}.{path.suffix}"].tobytes())
    compare(exported.results(mx, name, exported.imported(mx, name, tmp_path)), kept(theirs, f"{name}.own."))
    ours, mxnets = (sym.load(exported.paths(name, f)[0]) for f in (exported.FILES, tmp_path))
    assert ours.list_arguments() == mxnets.list_arguments()
    assert ours.list_auxiliary_states() == mxnets.list_auxiliary_states()
    layers = [n for n in mxnets.get_internals().list_outputs() if n.endswith("fwd_output")]
    assert [n for n in ours.get_internals().list_outputs() if n.endswith("fwd_output")] == layers


@pytest.mark.once
def test_parameters_of_an_export_go_into_the_net_again(files):
    folder, first = files
    second = exported.make(mx, "here")
    second.load_parameters(folder / "here-0000.params")
    assert len(second.collect_params()) == len(first.collect_params())
    for name, parameter in first.collect_params().items():
        np.testing.assert_array_equal(
            second.collect_params()[name].data().asnumpy(), parameter.data().asnumpy()
        )


# Export


def small_net():
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(nn.Dense(4, activation="relu"), nn.Dense(2))
    net.initialize()
    return net


@pytest.mark.once
def test_export_needs_to_know_the_inputs(tmp_path):
    net, x = small_net(), nd.ones((3, 5))
    with pytest.raises(OperatorError, match=r"net.export: call hybridize\(\), and the net once"):
        net.export(tmp_path / "net")
    net(x)
    net.hybridize()
    with pytest.raises(OperatorError, match=r"net.export: call hybridize\(\), and the net once"):
        net.export(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []
    y = net(x)
    net.export(tmp_path / "net", epoch=12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net-0012.params", "net-symbol.json"]
    again = gluon.SymbolBlock.imports(tmp_path / "net-symbol.json", "data", tmp_path / "net-0012.params")
    np.testing.assert_array_equal(again(x).asnumpy(), y.asnumpy())


Pair = namedtuple("Pair", "left right")


@pytest.mark.once
def test_inputs_in_dictionaries_and_named_tuples(tmp_path):
    """A net keeps none of the arrays that it was called with."""

    class Net(gluon.HybridBlock):
        def hybrid_forward(self, F, x, states, pair):
            return {"sum": x + states["first"], "product": pair.left * pair.right}

    net = Net()
    net.hybridize()
    x = nd.array([1, 2])
    states = {"first": x + 1}
    kept = weakref.ref(states["first"]._view.storage)
    for _ in range(3):
        got = net(x, states, Pair(x, x + 2))
        assert {name: y.asnumpy().tolist() for name, y in got.items()} == {"sum": [3, 5], "product": [3, 8]}
    del states
    gc.collect()
    assert kept() is None
    net.export(str(tmp_path / "net"))
    again = gluon.SymbolBlock.imports(tmp_path / "net-symbol.json", [f"data{i}" for i in range(4)])
    assert [y.asnumpy().tolist() for y in again(x, x + 1, x, x + 2)] == [[3, 5], [3, 8]]


@pytest.mark.once
def test_inputs_in_lists_and_none(tmp_path):
    class Net(gluon.HybridBlock):
        def hybrid_forward(self, F, x, states, mask=None):
            first, second = states
            return (x + first) * second, [first]

    net = Net()
    net.hybridize()
    x = nd.array([1, 2])
    net(x, [x, x + 1], None)
    net.export(str(tmp_path / "net"))
    again = gluon.SymbolBlock.imports(tmp_path / "net-symbol.json", ["data0", "data1", "data2"])
    assert [y.asnumpy().tolist() for y in again(x, [x, x + 1])] == [[4, 12], [1, 2]]
    with pytest.raises(OperatorTypeError, match="1 inputs given; accepted: data0, data1, data2"):
        again(x)


@pytest.mark.once
def test_export_of_what_needs_arrays(tmp_path):
    class Net(gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return x.reshape((x.shape[0], -1))

    net = Net()
    net.hybridize()
    assert net(nd.ones((2, 3, 4))).shape == (2, 12)
    with pytest.raises(AttributeError, match="a Symbol has no shape"):
        net.export(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
def test_export_leaves_out_what_is_not_used(tmp_path):
    class Net(gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.used = self.params.get("used", shape=(1,), init="ones")
            self.idle = self.params.get("idle", shape=(1,), init="ones")

        def hybrid_forward(self, F, x, used, idle):
            return x + used

    net = Net(prefix="net_")
    net.initialize()
    net.hybridize()
    net(nd.ones(1))
    with pytest.warns(UserWarning, match="net_idle is not used"):
        net.export(tmp_path / "net")
    assert list(nd.load(tmp_path / "net-0000.params")) == ["arg:net_used"]


# Import


@pytest.mark.once
def test_files_that_do_not_fit(files, tmp_path):
    folder, _ = files
    graph, params = folder / "here-symbol.json", folder / "here-0000.params"
    with pytest.raises(OperatorError, match="input_names is 'image'; accepted: arguments: data0, net_"):
        gluon.SymbolBlock.imports(graph, ["image"], params)
    with pytest.raises(MXNetError, match="lacks data1"):
        gluon.SymbolBlock.imports(graph, ["data0"], params)
    arrays = nd.load(params)
    nd.save(tmp_path / "few.params", {k: v for k, v in arrays.items() if not k.endswith("dense1_weight")})
    with pytest.raises(MXNetError, match="lacks net_hybridsequential0_dense1_weight"):
        gluon.SymbolBlock.imports(graph, exported.INPUTS["here"], tmp_path / "few.params")
    block = gluon.SymbolBlock.imports(
        graph, exported.INPUTS["here"], tmp_path / "few.params", allow_missing=True
    )
    with pytest.raises(OperatorError, match="dense1_weight: is not initialised"):
        block(*exported.inputs(mx, "here"))
    block.collect_params(".*dense1_weight").initialize()
    assert block(*exported.inputs(mx, "here"))[0].shape == (7, 3)
    nd.save(tmp_path / "many.params", arrays | {"arg:more": nd.ones(1)})
    with pytest.raises(MXNetError, match="holds more, which is not here"):
        gluon.SymbolBlock.imports(graph, exported.INPUTS["here"], tmp_path / "many.params")
    gluon.SymbolBlock.imports(graph, exported.INPUTS["here"], tmp_path / "many.params", ignore_extra=True)
    (tmp_path / "other.json").write_text(json.dumps({"nodes": [], "heads": []}))
    with pytest.raises(MXNetError, match="has no outputs"):
        gluon.SymbolBlock.imports(tmp_path / "other.json", "data")
    graph = json.loads(graph.read_text())
    graph["nodes"][-1]["op"] = "_contrib_MultiBoxPrior"
    (tmp_path / "other.json").write_text(json.dumps(graph))
    with pytest.raises(AbsentError, match="'_contrib_MultiBoxPrior' is not part of clgrad"):
        gluon.SymbolBlock.imports(tmp_path / "other.json", "data")


@pytest.mark.once
def test_an_import_without_parameters_trains(tmp_path):
    net = small_net()
    net.hybridize()
    net(nd.ones((3, 5)))
    net.export(tmp_path / "net")
    again = gluon.SymbolBlock.imports(tmp_path / "net-symbol.json", ["data"])
    again.initialize(mx.init.One())
    x = nd.ones((3, 5))
    with autograd.record():
        y = again(x).sum()
    y.backward()
    again.save_parameters(tmp_path / "again.params")
    again.export(tmp_path / "again")  # hybridized or not
    for name in ("again.params", "again-0000.params"):
        other = gluon.SymbolBlock.imports(tmp_path / "again-symbol.json", ["data"])
        other.load_parameters(tmp_path / name)
        np.testing.assert_array_equal(other(x).asnumpy(), again(x).asnumpy())
    gradient = again.collect_params()["net_dense1_weight"].grad().asnumpy()
    assert (gradient == 3 * (5 + 1)).all()  # of One for biases too, as in MXNet
    assert repr(again) == "SymbolBlock(\n<Symbol net_dense1_fwd> : 1 -> 1\n)"


@pytest.mark.once
def test_a_part_of_a_net_shares_its_parameters():
    net = small_net()
    x = nd.ones((3, 5))
    net(x)
    data = sym.var("data")
    internals = net(data).get_internals()
    names = ["net_dense0_relu_fwd_output", "net_dense1_fwd_output"]
    part = gluon.SymbolBlock([internals[n] for n in names], data, params=net.collect_params())
    hidden, output = part(x)
    np.testing.assert_array_equal(hidden.asnumpy(), net[0](x).asnumpy())
    np.testing.assert_array_equal(output.asnumpy(), net(x).asnumpy())
    assert part.params["net_dense0_weight"] is net[0].weight
    inside = gluon.SymbolBlock(part(sym.relu(sym.var("z")))[0], sym.var("z"), params=net.collect_params())
    np.testing.assert_array_equal(inside(x).asnumpy(), hidden.asnumpy())
    with pytest.raises(OperatorError, match="is computed; accepted: an argument"):
        gluon.SymbolBlock(internals[-1], internals[names[0]])
    with pytest.raises(OperatorTypeError, match="inputs holds str; accepted: a Symbol"):
        gluon.SymbolBlock(internals[-1], ["data"])


# Recurrent cells


def stacked():
    stack = rnn.HybridSequentialRNNCell()
    stack.add(rnn.LSTMCell(4, input_size=3))
    stack.add(rnn.DropoutCell(0.5))
    stack.add(rnn.ResidualCell(rnn.GRUCell(4, input_size=4)))
    return stack


@pytest.mark.once
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("lengths", [None, [2, 4]], ids=["whole", "cut"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: rnn.RNNCell(4, input_size=3),
        lambda: rnn.BidirectionalCell(rnn.LSTMCell(4, input_size=3), rnn.GRUCell(4, input_size=3)),
        stacked,
    ],
    ids=["one", "both ways", "stacked"],
)
def test_cells_unroll_over_symbols_as_over_arrays(make, lengths, merge, rng):
    cell = make()
    cell.initialize(mx.init.Uniform(0.5))
    x, data = nd.array(rng.standard_normal((2, 4, 3))), sym.var("data")
    valid = None if lengths is None else nd.array(lengths)
    outputs, states = cell.unroll(4, x, merge_outputs=merge, valid_length=valid)
    given = {"merge_outputs": merge, "valid_length": None if valid is None else sym.var("valid")}
    symbols, last = cell.unroll(4, data, **given)
    graph = sym.Group([*(symbols if isinstance(symbols, list) else [symbols]), *last])
    inputs = [data] if valid is None else [data, sym.var("valid")]
    block = gluon.SymbolBlock(graph, inputs, params=cell.collect_params())
    found = block(*([x] if valid is None else [x, valid]))
    expected = [*(outputs if isinstance(outputs, list) else [outputs]), *states]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), rtol=1e-5, atol=1e-6)


# Shapes of blocks of one's own


class Own(gluon.HybridBlock):
    """A layer with parameters whose shapes follow from the data's through what is computed before."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.weight = self.params.get("weight", shape=(4, 0), allow_deferred_init=True)
        self.gain = self.params.get("gain", shape=(1,), init="ones")
        with self.name_scope():
            self.norm = nn.LayerNorm()

    def hybrid_forward(self, F, x, weight, gain):
        y = F.concat(F.relu(x), F.mean(x, axis=1, keepdims=True), dim=1)
        return F.broadcast_mul(F.FullyConnected(self.norm(y), weight, no_bias=True, num_hidden=4), gain)


@pytest.mark.once
def test_shapes_of_own_parameters_follow_from_the_data():
    net = Own()
    net.initialize()
    y = net(nd.ones((3, 5)))
    assert (y.shape, net.weight.shape, net.norm.gamma.shape) == ((3, 4), (4, 6), (6,))


@pytest.mark.once
def test_shapes_are_inferred_without_running():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(3), Own())
    net.infer_shape(nd.ones((2, 3, 6, 6)))
    assert [p.shape for p in net.collect_params(".*weight").values()] == [(4, 3, 3, 3), (3, 64), (4, 4)]
    net.initialize()  # nothing is left to wait for
    assert net[3].weight.data().shape == (3, 64)
    net.infer_type(nd.ones((2, 3, 6, 6), dtype="float32"))


@pytest.mark.once
def test_shapes_that_do_not_follow():
    class Net(gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.gain = self.params.get("gain", shape=(0,), allow_deferred_init=True)

        def hybrid_forward(self, F, x, gain):
            return F.broadcast_mul(x, gain)

    net = Net(prefix="net_")
    net.initialize()
    with pytest.raises(
        OperatorError, match=r"net: the shapes of gain do not follow .*the shape of net_gain"
    ):
        net(nd.ones((2, 3)))


@pytest.mark.once
def test_nets_that_were_optimized_for_inputs_can_be_exported(tmp_path):
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(nn.Dense(4), nn.BatchNorm(), nn.Dense(2))
    net.initialize()
    x = nd.ones((3, 5))
    with autograd.train_mode():
        net.optimize_for(x, static_alloc=True)
    assert net[0].weight.data().shape == (4, 5)
    assert not net[1].running_mean.data().asnumpy().any()  # nothing has run
    net.export(tmp_path / "net")
    again = gluon.SymbolBlock.imports(tmp_path / "net-symbol.json", "data", tmp_path / "net-0000.params")
    np.testing.assert_array_equal(again(x).asnumpy(), net(x).asnumpy())
