"""Symbols that are made of calls and read from files: names, shapes, running, and damage."""

import json

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, nd, sym
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError

pytestmark = pytest.mark.once


@pytest.fixture
def names():
    with mx.name.NameManager():
        yield


def evaluated(symbol, **hosts):
    return symbol.eval(**{name: nd.array(host) for name, host in hosts.items()})[0].asnumpy()


def again(symbol):
    """The symbol after a way through text."""
    return sym.load_json(symbol.tojson())


# Composing


def test_names_are_made_and_given(names):
    x = sym.var("x")
    y = sym.FullyConnected(sym.relu(x), num_hidden=4)
    assert y.name == "fullyconnected0"
    assert y.list_arguments() == ["x", "fullyconnected0_weight", "fullyconnected0_bias"]
    assert sym.relu(x).name == "relu1"
    assert sym.relu(x, name="mine").list_outputs() == ["mine_output"]
    with mx.name.Prefix("net_"):
        assert sym.relu(x, name="mine").name == "net_mine"


def test_arrays_that_a_call_can_do_without(names):
    x = sym.var("x")
    plain = sym.Convolution(x, kernel=(3, 3), num_filter=4, no_bias=True)
    assert plain.list_arguments() == ["x", "convolution0_weight"]
    assert sym.Deconvolution(x, kernel=(3, 3), num_filter=4).list_arguments()[1:] == [
        "deconvolution0_weight"
    ]
    assert sym.LeakyReLU(x).list_arguments() == ["x"]
    assert len(sym.LeakyReLU(x, act_type="prelu").list_arguments()) == 2
    norm = sym.BatchNorm(x, name="norm")
    assert norm.list_arguments() == ["x", "norm_gamma", "norm_beta"]
    assert norm.list_auxiliary_states() == ["norm_moving_mean", "norm_moving_var"]
    assert norm.list_inputs() == [*norm.list_arguments(), *norm.list_auxiliary_states()]


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x, y: x + y, lambda x, y: x + y),
        (lambda x, y: 2 - x / y, lambda x, y: 2 - x / y),
        (lambda x, y: 1 / x + x % 2, lambda x, y: 1 / x + x % 2),
        (lambda x, y: 7 % x - y**2, lambda x, y: 7 % x - y**2),
        (lambda x, y: 2**x * 3, lambda x, y: 2**x * 3),
        (lambda x, y: -x + abs(y), lambda x, y: -x + abs(y)),
        (
            lambda x, y: (x > y) + (x <= 2) * 10 + (x != y) * 100,
            lambda x, y: (x > y) + (x <= 2) * 10.0 + (x != y) * 100,
        ),
        (
            lambda x, y: sym.maximum(x, 2) + sym.minimum(2, y),
            lambda x, y: np.maximum(x, 2) + np.minimum(2, y),
        ),
        (lambda x, y: sym.lesser(2, x) + sym.hypot(3, y), lambda x, y: (x > 2) + np.hypot(3, y)),
        (lambda x, y: x.T.reshape((-1,)).sum(axis=0, keepdims=True), lambda x, y: x.sum(keepdims=True)[0]),
        (lambda x, y: x.transpose(1, 0).astype("float16").relu(), lambda x, y: x.T),
        (lambda x, y: sym.where(x > 1, x, y), lambda x, y: np.where(x > 1, x, y)),
        (lambda x, y: sym.linalg.gemm2(x, y), lambda x, y: x @ y),
        (lambda x, y: sym.contrib.div_sqrt_dim(x), lambda x, y: x / np.sqrt(2)),
        (lambda x, y: sym.zeros(shape=(2, 2)) + sym.ones_like(x), lambda x, y: np.ones((2, 2))),
        (lambda x, y: sym.stack(x, y, axis=1), lambda x, y: np.stack([x, y], axis=1)),
        (lambda x, y: sym.split_v2(x, (1,), axis=1)[1], lambda x, y: x[:, 1:]),
        (lambda x, y: sym.add_n(*sym.split(x, num_outputs=2)), lambda x, y: x[:, :1] + x[:, 1:]),
    ],
)
def test_arithmetic_and_ops_of_every_kind(compute, expected):
    host, other = np.float32([[1, 2], [3, 5]]), np.float32([[4, 1], [2, 3]])
    symbol = compute(sym.var("x"), sym.var("y"))
    hosts = {name: h for name, h in {"x": host, "y": other}.items() if name in symbol.list_inputs()}
    for graph in (symbol, again(symbol)):
        np.testing.assert_allclose(evaluated(graph, **hosts), expected(host, other), rtol=1e-6)


def test_several_outputs():
    first, second = sym.split(sym.var("x"), num_outputs=2, axis=0, name="parts")
    assert second.list_outputs() == ["parts_output1"]
    joined = again(sym.Group([second, sym.concat(second, first, dim=0, name="joined")]))
    assert joined.list_outputs() == ["parts_output1", "joined_output"]
    values = joined.eval(x=nd.array([1, 2]))
    assert [v.asnumpy().tolist() for v in values] == [[2], [2, 1]]
    with pytest.raises(
        OperatorError, match="relu: data is a symbol of 2 outputs; accepted: a symbol of one"
    ):
        sym.relu(sym.Group([first, second]))


def test_gradients_flow_through_a_composed_graph():
    x = nd.array([1, 2])
    x.attach_grad()
    with autograd.record():
        (y,) = (sym.var("x") ** 2 * 3).eval(x=x)
    y.backward()
    assert x.grad.asnumpy().tolist() == [6, 12]


def test_arguments_can_be_replaced(names):
    x = sym.var("x")
    graph = sym.exp(x) + sym.var("y")
    other = graph(x=sym.log(sym.var("z")))
    assert other.list_arguments() == ["z", "y"]
    np.testing.assert_allclose(evaluated(other, z=[2.0], y=[1.0]), [3], rtol=1e-6)
    assert graph.list_arguments() == ["x", "y"]
    with pytest.raises(OperatorTypeError, match="no argument is named 'w'"):
        graph(w=x)
    with pytest.raises(OperatorTypeError, match="argument 'x' is 3; accepted: a Symbol of one output"):
        graph(x=3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: sym.relu(x, axis=1), "relu: unknown argument 'axis'; accepted: data"),
        (lambda x: sym.relu(x, data=x), "relu: argument 'data' is given twice"),
        (lambda x: sym.relu(x, 1), "2 positional arguments given"),
        (lambda x: sym.concat(dim=0), "no symbols given"),
        (lambda x: sym.concat(x, nd.ones(1), dim=0), "concat: data1 is NDArray; accepted: Symbol"),
        (lambda x: sym.sum(x, axis=x), "sum: axis is a Symbol; accepted: a value"),
        (lambda x: sym.var(3), "var: name is int; accepted: str"),
        (lambda x: sym.Group([x, 1]), "Group: a part is int; accepted: Symbol"),
        (lambda x: sym.Group([]), "Group: no symbols given"),
        (lambda x: sym.exp(3), "exp: data is int; accepted: Symbol"),
        (lambda x: x > 0 or x, "a Symbol has no value, so that no branch can depend on it"),
        (lambda x: x.infer_shape((1,), x=(1,)), "infer_shape: given in order and by name"),
        (lambda x: x.infer_shape((1,), (1,)), "infer_shape: 2 given; accepted: x"),
        (lambda x: x.bind(), "Symbol.bind: MXNet's executors are not part of clgrad"),
        (lambda x: sym.maximum(2, 3), "maximum: rhs is int; accepted: Symbol"),
        (lambda x: sym.maximum(2), "maximum: rhs is NoneType; accepted: Symbol"),
        (lambda x: sym.arctan2(x, 2), "arctan2: rhs is 2; accepted: Symbol"),
        (lambda x: sym.Custom(x), "own operators are written as autograd.Function"),
    ],
)
def test_bad_calls(call, match):
    with pytest.raises(MXNetError, match=match):
        call(sym.var("x"))


def test_names_that_are_not_there():
    for space, op in ((sym, "nothing"), (sym, "_gemm"), (sym.contrib, "foreach"), (sym, "__path_of__")):
        with pytest.raises(AttributeError, match=op):
            getattr(space, op)
    with pytest.raises(AttributeError, match="a Symbol has no shape: it stands for arrays of any shape"):
        sym.var("x").shape  # noqa: B018
    with pytest.raises(AttributeError, match="'Symbol' object has no attribute 'colour'"):
        sym.var("x").colour  # noqa: B018


# Shapes


@pytest.mark.parametrize(
    ("compose", "data", "expected"),
    [
        (lambda x: sym.FullyConnected(x, num_hidden=4), (2, 3, 5), [(4, 15), (4,)]),
        (lambda x: sym.FullyConnected(x, num_hidden=4, flatten=False), (2, 3, 5), [(4, 5), (4,)]),
        (
            lambda x: sym.Convolution(x, kernel=(3,), num_filter=4, num_group=2),
            (2, 6, 5),
            [(4, 3, 3), (4,)],
        ),
        (
            lambda x: sym.Deconvolution(x, kernel=(3, 2), num_filter=4, num_group=2),
            (2, 6, 5, 5),
            [(6, 2, 3, 2)],
        ),
        (lambda x: sym.BatchNorm(x, axis=-1), (2, 6, 5), [(5,)] * 4),
        (lambda x: sym.LayerNorm(x), (2, 6, 5), [(5,)] * 2),
        (lambda x: sym.InstanceNorm(x), (2, 6, 5), [(6,)] * 2),
        (lambda x: sym.GroupNorm(x, num_groups=3), (2, 6, 5), [(3,)] * 2),
        (lambda x: sym.Embedding(x, input_dim=7, output_dim=2), (2, 6), [(7, 2)]),
        (lambda x: sym.LeakyReLU(x, act_type="prelu"), (2, 6), [(6,)]),
        (lambda x: sym.elemwise_mul(sym.relu(x), sym.var("y")), (2, 6), [(2, 6)]),
    ],
)
def test_shapes_of_parameters_follow_from_the_data(compose, data, expected):
    symbol = compose(sym.var("x"))
    for graph in (symbol, again(symbol)):
        arguments, _, states = graph.infer_shape(x=data)
        assert arguments[0] == data
        assert [*arguments[1:], *states] == expected


@pytest.mark.parametrize(
    ("compose", "data"),
    [
        (lambda x: sym.FullyConnected(x, num_hidden=4), (2, 3, 5)),
        (lambda x: sym.FullyConnected(x, num_hidden=4, flatten=False, no_bias=True), (2, 3, 5)),
        (
            lambda x: sym.Convolution(x, kernel=(3, 2), stride=2, pad=(1, 0), dilate=(1, 2), num_filter=4),
            (2, 3, 8, 9),
        ),
        (lambda x: sym.Convolution(x, kernel=3, num_filter=6, num_group=3), (2, 3, 8)),
        (
            lambda x: sym.Deconvolution(x, kernel=(4, 3), stride=(2, 3), pad=1, adj=(1, 2), num_filter=2),
            (1, 3, 4, 5),
        ),
        (
            lambda x: sym.Deconvolution(x, kernel=(4, 4), stride=2, target_shape=(9, 8), num_filter=2),
            (1, 3, 4, 4),
        ),
        (lambda x: sym.Pooling(x, kernel=(3, 2), stride=2, pad=1), (2, 3, 8, 9)),
        (
            lambda x: sym.Pooling(x, kernel=3, stride=2, pooling_convention="full", pool_type="avg"),
            (2, 3, 8),
        ),
        (lambda x: sym.Pooling(x, kernel=3, stride=2, pooling_convention="same"), (2, 3, 8)),
        (lambda x: sym.Pooling(x, kernel=(2, 2), layout="NHWC"), (2, 8, 9, 3)),
        (lambda x: sym.Pooling(x, global_pool=True), (2, 3, 4, 5, 6)),
        (lambda x: sym.BatchNorm(x, axis=2), (2, 3, 4)),
        (lambda x: sym.LayerNorm(x, output_mean_var=True), (2, 3, 4)),
        (lambda x: sym.LeakyReLU(x, act_type="rrelu"), (2, 3)),
        (lambda x: sym.flatten(x), (2, 3, 4)),
        (lambda x: sym.concat(x, x + 1, sym.relu(x), dim=2), (2, 3, 4)),
        (lambda x: sym.concat(x, x, dim=-1), (2, 3, 4)),
        (lambda x: sym.broadcast_mul(x, sym.mean(x, axis=1, keepdims=True)) - 2, (2, 3, 4)),
        (lambda x: sym.softmax(x, dtype="float16"), (2, 3)),
        (lambda x: sym.cast(sym.cast(x, dtype="int32") + 1.5, dtype="float32") / 2, (2, 3)),
    ],
)
def test_shapes_of_outputs_are_those_that_ops_give(compose, data):
    graph = compose(sym.var("x")).get_internals()
    arguments, outputs, states = graph.infer_shape(x=data)
    shapes = [*zip(graph.list_arguments(), arguments, strict=True)]
    shapes += zip(graph.list_auxiliary_states(), states, strict=True)
    values = graph.eval(**{name: nd.ones(shape) for name, shape in shapes})
    assert outputs == [value.shape for value in values]
    specs = sym.infer_values(graph, dict(shapes), {})
    assert [specs[head].dtype for head in graph._heads] == [v._view.dtype for v in values]


@pytest.mark.parametrize(
    ("compose", "data"),
    [
        (lambda x: sym.Convolution(x, kernel=(9,), num_filter=4), (2, 3, 8)),
        (lambda x: sym.Convolution(x, kernel=(3,), num_filter=4, num_group=2), (2, 3, 8)),
        (lambda x: sym.Convolution(x, kernel=(3,), num_filter=4, num_group=3), (2, 3, 8)),
        (lambda x: sym.Convolution(x, kernel=(3,), num_filter=4, num_group=0), (2, 3, 8)),
        (lambda x: sym.Convolution(x, kernel=(3,), stride=(1, 1), num_filter=4), (2, 3, 8)),
        (lambda x: sym.Convolution(x, kernel=(3,)), (2, 3, 8)),
        (lambda x: sym.FullyConnected(x, num_hidden="many"), (2, 3, 8)),
        (lambda x: sym.Pooling(x, kernel=(9, 9)), (2, 3, 8, 8)),
        (lambda x: sym.concat(x, sym.relu(sym.flatten(x)), dim=0), (2, 3, 8)),
        (lambda x: sym.broadcast_add(x, sym.flatten(x)), (2, 3, 8)),
        (lambda x: sym.Activation(x, act_type="rely"), (2, 3)),
    ],
)
def test_what_an_op_refuses_is_refused_where_shapes_are_inferred(compose, data):
    with pytest.raises(OperatorError):
        compose(sym.var("x")).infer_shape(x=data)


def test_partial_shapes_are_completed_and_must_agree():
    weight = sym.var("w", shape=(4, 0))
    graph = sym.FullyConnected(sym.var("x"), weight, no_bias=True, num_hidden=4)
    assert graph.infer_shape(x=(2, 3)) == ([(2, 3), (4, 3)], [(2, 4)], [])
    wrong = sym.FullyConnected(sym.var("x"), sym.var("w", shape=(5, 0)), no_bias=True, num_hidden=4)
    with pytest.raises(OperatorError, match=r"w.* is of shape \(5, 0\); accepted: shape \(4, 3\)"):
        wrong.infer_shape(x=(2, 3))


def test_shapes_that_do_not_follow():
    with pytest.raises(OperatorError, match="the shape of y does not follow from the others"):
        sym.broadcast_add(sym.var("x"), sym.var("y")).infer_shape(x=(2, 3))
    with pytest.raises(OperatorError, match="the shape of x is not known"):
        sym.var("x").infer_shape()
    with pytest.raises(OperatorError, match="data is of shape"):
        sym.Convolution(sym.var("x"), kernel=(3, 3), num_filter=1).infer_shape(x=(2, 3))


def test_shapes_are_given_in_order_and_in_part():
    hidden = sym.FullyConnected(sym.var("x"), num_hidden=4, name="fc")
    graph = sym.relu(hidden) * sym.var("y")
    shapes = [(2, 3), (4, 3), (4,)]
    assert hidden.infer_shape((2, 3)) == (shapes, [(2, 4)], [])
    assert graph.infer_shape_partial() == ([()] * 4, [()], [])
    assert graph.infer_shape_partial(x=(2, 3)) == ([*shapes, ()], [()], [])
    assert hidden.get_children().list_outputs() == ["x", "fc_weight", "fc_bias"]
    assert sym.var("x").get_children() is None


def test_inference_leaves_states_and_modes_alone():
    mean = nd.zeros(3)
    graph = sym.BatchNorm(sym.var("x"), name="norm")
    with autograd.record():
        graph.infer_shape(x=(4, 3))
        assert autograd.is_recording()
        assert autograd.is_training()
    assert not mean.asnumpy().any()


def test_dtypes_follow_as_well():
    graph = sym.FullyConnected(sym.var("x"), num_hidden=2)
    _, outputs, _ = graph.infer_shape(x=(2, 3))
    assert outputs == [(2, 2)]
    given = sym.FullyConnected(sym.var("x", shape=(2, 3)), num_hidden=2)
    assert given.infer_type(x="float16")[1] == [np.float16]


# Files


def test_attributes_are_mxnets_texts(names):
    x = sym.var("x", shape=(0, 3), lr_mult=2, attr={"note": "mine"})
    y = sym.concat(sym.Pooling(x, kernel=(2, 2), pool_type="avg", global_pool=False), x, dim=1)
    nodes = {node["name"]: node for node in json.loads(y.tojson())["nodes"]}
    assert nodes["x"]["attrs"] == {"note": "mine", "__shape__": "(0, 3)", "__lr_mult__": "2"}
    assert nodes["pooling0"]["attrs"] == {"kernel": "(2, 2)", "pool_type": "avg", "global_pool": "False"}
    assert nodes["concat0"]["attrs"] == {"dim": "1", "num_args": "2"}
    assert json.loads(y.tojson())["attrs"] == {"mxnet_version": ["int", 10901]}


def test_ops_have_names_that_mxnet_reads(names):
    from_ops = {
        "broadcast_add": sym.add(sym.var("x"), sym.var("y")),
        "_plus_scalar": sym.var("x") + 1,
        "_rminus_scalar": 1 - sym.var("x"),
        "_lesser_scalar": sym.var("x") < 1,
        "_linalg_gemm2": sym.linalg.gemm2(sym.var("x"), sym.var("y")),
        "_contrib_index_copy": sym.contrib.index_copy(sym.var("x"), sym.var("y"), sym.var("z")),
        "_zeros": sym.zeros(shape=(2,)),
        "random_uniform": sym.random.uniform(0, 1, shape=(2,)),
        "_split_v2": sym.split_v2(sym.var("x"), 2),
    }
    for op_name, symbol in from_ops.items():
        assert [n["op"] for n in json.loads(symbol.tojson())["nodes"] if n["op"] != "null"] == [op_name]


def test_files_of_graphs(tmp_path):
    (sym.var("x") * 2).save(tmp_path / "net.json")
    assert evaluated(sym.load(tmp_path / "net.json"), x=[1.0]) == [2]
    with pytest.raises(FileNotFoundError):
        sym.load(tmp_path / "nowhere")
    with pytest.raises(OperatorTypeError, match="fname is int"):
        sym.load(3)


def damaged(**changes):
    graph = json.loads(sym.relu(sym.var("x"), name="y").tojson())
    return json.dumps(graph | changes)


ARGUMENT = {"op": "null", "name": "x", "inputs": []}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("[]", "list where a dictionary should be"),
        ("{}", "'nodes' is NoneType; accepted: list"),
        (damaged(nodes=3), "'nodes' is int"),
        (damaged(nodes=[3]), "node 0: int where a dictionary"),
        (damaged(nodes=[{"op": "null"}]), "node 0: 'name' is NoneType"),
        (damaged(nodes=[ARGUMENT | {"inputs": [[0, 0, 0]]}]), "is none of the 0 nodes before"),
        (damaged(nodes=[ARGUMENT, ARGUMENT | {"inputs": [[0, 0, 0]]}]), "x is an argument, and has inputs"),
        (damaged(nodes=[ARGUMENT | {"attrs": {"shape": 3}}]), "an attribute is no text"),
        (
            damaged(nodes=[ARGUMENT, {"op": "relu", "name": "y", "inputs": [[0, 1, 0]]}]),
            "none of the outputs of x",
        ),
        (
            damaged(nodes=[ARGUMENT, {"op": "relu", "name": "y", "inputs": [[-1, 0]]}]),
            "is none of the 1 nodes",
        ),
        (
            damaged(nodes=[ARGUMENT, {"op": "relu", "name": "y", "inputs": [[0.5, 0]]}]),
            "is none of the 1 nodes",
        ),
        (damaged(nodes=[ARGUMENT, {"op": "relu", "name": "y", "inputs": [[0, 0]] * 2}]), "y has 2 inputs"),
        (
            damaged(
                nodes=[
                    ARGUMENT,
                    {"op": "split", "name": "y", "attrs": {"num_outputs": "1e400"}, "inputs": [[0, 0]]},
                ]
            ),
            "the number of outputs",
        ),
        (
            damaged(
                nodes=[
                    ARGUMENT,
                    {"op": "split", "name": "y", "attrs": {"num_outputs": "9" * 9}, "inputs": [[0, 0]]},
                ]
            ),
            "y would have 999999999 outputs",
        ),
        (damaged(heads=[]), "the graph has no outputs"),
        (damaged(heads=[[7, 0, 0]]), "is none of the 2 nodes"),
    ],
)
def test_damaged_graphs(text, match):
    with pytest.raises(MXNetError, match=match):
        sym.load_json(text)


@pytest.mark.parametrize(
    "op", ["Custom", "_gemm", "contrib.foreach", "_contrib_foreach", "__import__", "eval"]
)
def test_graphs_of_ops_that_clgrad_lacks(op):
    text = damaged(nodes=[ARGUMENT, {"op": op, "name": "y", "inputs": [[0, 0, 0]]}])
    with pytest.raises(AbsentError, match=f"the op '{op}' is not part of clgrad"):
        sym.load_json(text)


def test_attributes_that_an_op_does_not_take():
    nodes = [ARGUMENT, {"op": "sum", "name": "y", "attrs": {"axis": "{'a': 1}"}, "inputs": [[0, 0, 0]]}]
    with pytest.raises(MXNetError, match="sum: argument 'axis' is dict"):
        sym.load_json(damaged(nodes=nodes)).eval(x=nd.ones(3))
    nodes[1]["attrs"] = {"colour": "red"}
    with pytest.raises(MXNetError, match=r"unknown argument 'colour'|unexpected keyword argument 'colour'"):
        sym.load_json(damaged(nodes=nodes)).eval(x=nd.ones(3))
    nodes[1] = {"op": "_plus_scalar", "name": "y", "attrs": {"scalar": "one"}, "inputs": [[0, 0, 0]]}
    with pytest.raises(MXNetError, match="_plus_scalar: scalar is 'one'; accepted: a number"):
        sym.load_json(damaged(nodes=nodes)).eval(x=nd.ones(3))
