"""Symbols of recorded graphs: names, shapes, text, JSON, and running them on other arrays."""

import gc
import json
import weakref

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import AutogradError, OperatorError, OperatorTypeError


def variable(values):
    x = nd.array(values)
    x.attach_grad()
    return x


@pytest.fixture
def symbol():
    """Of exp(x) + constant * w + 3."""
    x, w, constant = variable([1, 2, 3]), variable([4, 5, 6]), nd.ones(3)
    with autograd.record():
        y = nd.exp(x) + constant * w + 3
    return autograd.get_symbol(y)


@pytest.fixture
def two_outputs():
    """Of two results of one node, joined the other way round."""
    x = variable(np.arange(6).reshape(2, 3))
    with autograd.record():
        first, second = TwoParts()(x)
        y = nd.concat(second, first, dim=0)
    return autograd.get_symbol(y)


class TwoParts(autograd.Function):
    def forward(self, x):
        return x[0:1] * 1, x[1:2] * 1

    def backward(self, first, second):
        return nd.concat(first, second, dim=0)


# Names


def test_names_of_arguments_and_outputs(symbol):
    assert symbol.name == "add1"
    assert symbol.list_arguments() == ["var0", "null0", "var1"]
    assert symbol.list_outputs() == ["add1_output"]
    assert symbol.list_auxiliary_states() == []
    assert repr(symbol) == "<Symbol add1>"


def test_internals(symbol):
    internals = symbol.get_internals()
    assert internals.list_outputs() == [
        "var0",
        "exp0_output",
        "null0",
        "var1",
        "multiply0_output",
        "add0_output",
        "add1_output",
    ]
    assert internals.name is None
    assert repr(internals) == "<Symbol group [var0, exp0, null0, var1, multiply0, add0, add1]>"


def test_arguments_come_in_mxnets_order():
    """Depth first, whatever the order of recording was."""
    x, w = variable([1]), variable([2])
    with autograd.record():
        later = nd.exp(x)
        sooner = nd.sin(w)
        y = sooner * later
    assert autograd.get_symbol(y).get_internals().list_outputs() == [
        "var0",
        "sin0_output",
        "var1",
        "exp0_output",
        "multiply0_output",
    ]
    assert autograd.get_symbol(y).eval(var0=nd.zeros(1), var1=nd.ones(1))[0].asscalar() == 0


def test_an_array_used_twice_is_one_argument():
    x, constant = variable([1, 2]), nd.ones(2)
    with autograd.record():
        y = (x * constant) * (x + constant)
    assert autograd.get_symbol(y).list_arguments() == ["var0", "null0"]


def test_node_names_are_unique():
    x = variable([2])
    with autograd.record():
        y = nd.log2(x)
        for _ in range(25):
            y = nd.log(y + 10)
    names = [node["name"] for node in json.loads(autograd.get_symbol(y).tojson())["nodes"]]
    assert len(set(names)) == len(names) == 52


def test_symbol_of_a_variable():
    symbol = autograd.get_symbol(variable([1, 2]))
    assert symbol.name == "var0"
    assert symbol.list_arguments() == symbol.list_outputs() == ["var0"]
    assert symbol.infer_shape() == ([(2,)], [(2,)], [])
    (value,) = symbol.eval(var0=nd.array([5]))
    assert value.asscalar() == 5


@pytest.mark.parametrize("outside", [lambda x, c: nd.ones(2), lambda x, c: c, lambda x, c: c * 2])
def test_an_array_outside_any_graph_raises(outside):
    x, constant = variable([1, 2]), nd.ones(2)
    with autograd.record():
        x * constant
        with pytest.raises(AutogradError, match="get_symbol: the array is not part of a recorded"):
            autograd.get_symbol(outside(x, constant))


# Outputs


def test_outputs_are_symbols(symbol):
    internals = symbol.get_internals()
    assert len(symbol) == 1
    assert len(internals) == 7
    assert [part.name for part in internals] == [
        "var0",
        "exp0",
        "null0",
        "var1",
        "multiply0",
        "add0",
        "add1",
    ]
    for part in (internals["exp0_output"], internals[1], internals[-6]):
        assert part.list_arguments() == ["var0"]
        assert part.list_outputs() == ["exp0_output"]
    np.testing.assert_allclose(
        internals["multiply0_output"].eval(null0=nd.ones(2) * 3, var1=nd.ones(2))[0].asnumpy(), 3
    )


def test_indices_out_of_reach_raise(symbol):
    with pytest.raises(OperatorError, match="no output is named 'exp0_output'; accepted: add1_out"):
        symbol["exp0_output"]
    with pytest.raises(IndexError):
        symbol[1]


def test_nodes_of_several_outputs(two_outputs):
    internals = two_outputs.get_internals()
    assert internals.list_outputs() == [
        "var0",
        "TwoParts0_output0",
        "TwoParts0_output1",
        "concat0_output",
    ]
    assert internals[1].name == internals[2].name == "TwoParts0"
    assert "concat0 = concat(data0=TwoParts0[1], data1=TwoParts0[0], dim=0)" in str(two_outputs)


# Shapes and dtypes


def test_recorded_shapes_and_dtypes(symbol):
    assert symbol.infer_shape() == ([(3,), (3,), (3,)], [(3,)], [])
    assert symbol.infer_type() == ([np.float32] * 3, [np.float32], [])


def test_other_shapes(symbol):
    arguments, outputs, auxiliary = symbol.infer_shape(var0=(2, 1), null0=(4,), var1=(5, 1, 1))
    assert arguments == [(2, 1), (4,), (5, 1, 1)]
    assert outputs == [(5, 2, 4)]
    assert auxiliary == []


def test_shapes_through_ops_of_every_kind():
    x, w = variable(np.ones((4, 6))), variable(np.ones((3, 6)))
    with autograd.record():
        y = nd.FullyConnected(x, w, no_bias=True, num_hidden=3).reshape((-1,)).sum()
        z = nd.softmax(nd.dot(x, w.T)[1:3], axis=1)
    assert autograd.get_symbol(y).infer_shape(var0=(7, 6)) == ([(7, 6), (3, 6)], [(1,)], [])
    assert autograd.get_symbol(z).infer_shape(var0=(9, 6)) == ([(9, 6), (3, 6)], [(2, 3)], [])


def test_other_dtypes(symbol):
    floats = dict.fromkeys(symbol.list_arguments(), "float16")
    assert symbol.infer_type(**floats) == ([np.float16] * 3, [np.float16], [])


def test_inference_records_nothing(symbol):
    with autograd.record():
        symbol.infer_shape(var0=(1,))
        assert autograd.is_recording()


def test_inference_checks_its_arguments(symbol):
    accepted = "no argument is named 'x'; accepted: var0, null0, var1"
    with pytest.raises(OperatorTypeError, match=accepted):
        symbol.infer_shape(x=(3,))
    with pytest.raises(OperatorError, match="shapes"):
        symbol.infer_shape(null0=(4,))
    with pytest.raises(OperatorTypeError, match="infer_type: var0='float31' is not a dtype"):
        symbol.infer_type(var0="float31")


def test_shapes_of_a_function_are_the_recorded_ones(two_outputs):
    assert two_outputs.infer_shape() == ([(2, 3)], [(2, 3)], [])
    assert two_outputs.infer_shape(var0=(2, 3)) == ([(2, 3)], [(2, 3)], [])
    with pytest.raises(AutogradError, match="TwoParts0 are known for the recorded shapes"):
        two_outputs.infer_shape(var0=(2, 4))


# Running


def test_eval(symbol):
    x, constant, w = np.array([0.5, 1]), np.array([3.0, 4]), np.array([5.0, 6])
    arrays = {"var0": nd.array(x), "null0": nd.array(constant), "var1": nd.array(w)}
    (value,) = symbol.eval(**arrays)
    np.testing.assert_allclose(value.asnumpy(), np.exp(x) + constant * w + 3, rtol=1e-6)


def test_eval_of_several_outputs(symbol):
    arrays = {name: nd.zeros(2) for name in symbol.list_arguments()}
    values = [value.asnumpy()[0] for value in symbol.get_internals().eval(**arrays)]
    assert values == [0, 1, 0, 0, 0, 1, 4]


def test_eval_gives_what_was_recorded(rng):
    """Ops of every kind: elementwise, planned, relabelling, several outputs, written in place."""
    x = variable(rng.standard_normal((2, 3, 8, 8)))
    weight = variable(rng.standard_normal((4, 3, 3, 3)))
    with autograd.record():
        h = nd.Convolution(x, weight, no_bias=True, kernel=(3, 3), num_filter=4)
        h = nd.Pooling(nd.relu(h), kernel=(2, 2), stride=(2, 2), pool_type="max")
        h = nd.Dropout(h, p=0.3)
        t = nd.zeros((2, 36))
        t[:] = h.reshape((2, -1))
        y = nd.log_softmax(t[:, 3:30:2] * 2 - 1, axis=1).mean(axis=0)
    (value,) = autograd.get_symbol(y).eval(var0=x, var1=weight)
    np.testing.assert_allclose(value.asnumpy(), y.asnumpy(), rtol=1e-5)


def test_eval_is_recorded_like_anything_else(symbol):
    x = variable([1, 2, 3])
    with autograd.record():
        (y,) = symbol.eval(var0=x, null0=nd.ones(3), var1=x)
    y.backward()
    np.testing.assert_allclose(x.grad.asnumpy(), np.exp([1, 2, 3]) + 1, rtol=1e-6)


def test_eval_on_a_context(symbol):
    arrays = {name: nd.zeros(2) for name in symbol.list_arguments()}
    (value,) = symbol.eval(ctx=mx.current_context(), **arrays)
    assert value.context == mx.current_context()


def test_eval_checks_its_arguments(symbol):
    with pytest.raises(OperatorTypeError, match="argument 'null0' is missing; accepted: an NDArr"):
        symbol.eval(var0=nd.ones(3), var1=nd.ones(3))
    with pytest.raises(OperatorTypeError, match="no argument is named 'x'"):
        symbol.eval(x=nd.ones(3))
    with pytest.raises(OperatorTypeError, match="argument 'var0' is ndarray; accepted: NDArray"):
        symbol.eval(var0=np.ones(3), null0=nd.ones(3), var1=nd.ones(3))


def test_eval_of_index_arrays():
    """They are arguments like other constants."""
    x = variable([[1, 2, 3], [4, 5, 6]])
    with autograd.record():
        y = x[[1, 0, 1], 1:] * 2
    symbol = autograd.get_symbol(y)
    assert symbol.list_arguments() == ["var0", "null0"]
    (again,) = symbol.eval(var0=x, null0=nd.array([3, 0, 3], dtype="int32"))
    assert again.asnumpy().tolist() == y.asnumpy().tolist()


def test_eval_of_a_function_says_why_not(two_outputs):
    with pytest.raises(AutogradError, match=r"TwoParts is an autograd\.Function"):
        two_outputs.eval(var0=nd.ones((2, 3)))


@pytest.mark.parametrize("key", [1, [1], [[False, True], [True, False], [False, False]]], ids=str)
def test_eval_of_a_write_to_a_part_says_why_not(key):
    x = variable([1, 2])
    with autograd.record():
        t = nd.zeros((3, 2))
        t[key] = x
        y = t * 2
    symbol = autograd.get_symbol(y)
    with pytest.raises(AutogradError, match="wrote to a part of an array"):
        symbol.eval(**dict.fromkeys(symbol.list_arguments(), x))


# Text


def test_str_lists_the_nodes(symbol):
    assert str(symbol) == (
        "var0                                       (3,) float32\n"
        "exp0 = exp(data=var0)                      (3,) float32\n"
        "null0                                      (3,) float32\n"
        "var1                                       (3,) float32\n"
        "multiply0 = multiply(lhs=null0, rhs=var1)  (3,) float32\n"
        "add0 = add(lhs=exp0, rhs=multiply0)        (3,) float32\n"
        "add1 = add(lhs=add0, rhs=3)                (3,) float32\n"
        "outputs: add1_output"
    )


def test_debug_str_has_mxnets_layout(symbol):
    text = symbol.debug_str()
    assert text.startswith("Symbol Outputs:\n\toutput[0]=add1(0)\nVariable:var0\n")
    assert "Op:multiply, Name=multiply0\nInputs:\n\targ[0]=null0(0)\n\targ[1]=var1(0)\n" in text
    assert text.endswith("Op:add, Name=add1\nInputs:\n\targ[0]=add0(0)\nAttrs:\n\trhs=3\n")


def test_attributes(symbol):
    assert symbol.attr("rhs") == "3"
    assert symbol.attr("lhs") is None
    assert symbol.list_attr() == {"rhs": "3"}
    assert symbol.attr_dict() == {"add1": {"rhs": "3"}}
    assert symbol.get_internals().list_attr() == {}


def test_json_has_mxnets_layout(symbol):
    assert json.loads(symbol.tojson()) == {
        "nodes": [
            {"op": "null", "name": "var0", "inputs": []},
            {"op": "exp", "name": "exp0", "inputs": [[0, 0, 0]]},
            {"op": "null", "name": "null0", "inputs": []},
            {"op": "null", "name": "var1", "inputs": []},
            {"op": "multiply", "name": "multiply0", "inputs": [[2, 0, 0], [3, 0, 0]]},
            {"op": "add", "name": "add0", "inputs": [[1, 0, 0], [4, 0, 0]]},
            {"op": "add", "name": "add1", "attrs": {"rhs": "3"}, "inputs": [[5, 0, 0]]},
        ],
        "arg_nodes": [0, 2, 3],
        "node_row_ptr": [0, 1, 2, 3, 4, 5, 6, 7],
        "heads": [[6, 0, 0]],
        "attrs": {"framework": ["str", "clgrad"]},
    }


def test_json_of_a_part_holds_that_part_only(symbol):
    graph = json.loads(symbol.get_internals()["multiply0_output"].tojson())
    assert [node["name"] for node in graph["nodes"]] == ["null0", "var1", "multiply0"]
    assert graph["nodes"][2]["inputs"] == [[0, 0, 0], [1, 0, 0]]
    assert graph["arg_nodes"] == [0, 1]
    assert graph["heads"] == [[2, 0, 0]]


def test_json_counts_outputs(two_outputs):
    graph = json.loads(two_outputs.tojson())
    assert graph["node_row_ptr"] == [0, 1, 3, 4]
    assert graph["nodes"][2]["inputs"] == [[1, 1, 0], [1, 0, 0]]
    assert graph["nodes"][2]["attrs"] == {"dim": "0"}


# Memory and depth


def test_a_symbol_holds_none_of_the_graphs_memory():
    class Keep(autograd.Function):
        def forward(self, x):
            y = nd.exp(x)
            self.save_for_backward(y)
            return y

        def backward(self, dy):
            return dy * self.saved_tensors[0]

    gc.collect()
    gc.disable()
    try:
        x, constant = variable([1, 2]), nd.ones(2)
        with autograd.record():
            h = nd.exp(x) * constant
            y = Keep()(h) * h
        symbol = autograd.get_symbol(y)
        storages = [weakref.ref(a._view.storage) for a in (x, x.grad, constant, h, y)]
        del x, constant, h, y
        assert all(storage() is None for storage in storages)
    finally:
        gc.enable()
    assert symbol.list_arguments() == ["var0", "null0"]


def test_eval_lets_go_of_intermediate_values():
    """Each value is freed once nothing reads it any more, as in the program that was recorded."""
    x = variable([1, 2])
    with autograd.record():
        y = x
        for _ in range(50):
            y = nd.sin(y)
    symbol = autograd.get_symbol(y)
    storages, alive = [], []
    gc.collect()
    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patch:
            sin = nd.sin
            original = sin.apply

            def watched(*args, **kwargs):
                alive.append(sum(storage() is not None for storage in storages))
                result = original(*args, **kwargs)
                storages.append(weakref.ref(result._view.storage))
                return result

            patch.setattr(sin, "apply", watched)
            symbol.eval(var0=x)
    finally:
        gc.enable()
    assert len(alive) == 50
    assert max(alive) == 1


def test_deep_graphs_do_not_recurse():
    x = variable([1, 2])
    depth = 6000
    with autograd.record():
        y = x
        for _ in range(depth):
            y = y + 1
    symbol = autograd.get_symbol(y)
    assert len(symbol.get_internals()) == depth + 1
    assert symbol.infer_shape(var0=(1,))[1] == [(1,)]
    assert len(json.loads(symbol.tojson())["nodes"]) == depth + 1
    assert str(symbol).count("\n") == depth + 1
    (value,) = symbol.eval(var0=nd.zeros(1))
    assert value.asscalar() == depth
    assert symbol.list_arguments() == ["var0"]
