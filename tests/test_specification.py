"""Every name, example and statement of the specification: MXNet's page of ``mxnet.autograd``.

Examples are copied from that page. Its printed arrays differ from ours in numpy's number formatting
only, so numbers are compared.
"""

import contextlib
import doctest
import inspect
import io
import re
import textwrap

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, nd

# Names

SIGNATURES = {
    "set_recording": "is_recording",
    "set_training": "train_mode",
    "is_recording": "",
    "is_training": "",
    "record": "train_mode=True",
    "pause": "train_mode=False",
    "train_mode": "",
    "predict_mode": "",
    "mark_variables": "variables, gradients, grad_reqs='write'",
    "backward": "heads, head_grads=None, retain_graph=False, train_mode=True",
    "grad": ("heads, variables, head_grads=None, retain_graph=None, create_graph=False, train_mode=True"),
    "get_symbol": "x",
    "Function.forward": "self, *inputs",
    "Function.backward": "self, *output_grads",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    function = mx.autograd
    for part in name.split("."):
        function = getattr(function, part)
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert ", ".join(map(str, parameters)) == SIGNATURES[name]


def test_every_name_is_exported():
    of_clgrad = {"checkpoint"}
    assert {name.partition(".")[0] for name in SIGNATURES} == set(autograd.__all__) - of_clgrad


# Interactive examples

OVERVIEW = """
>>> x = mx.nd.array([1,2,3,4])
>>> x.attach_grad()
>>> with mx.autograd.record():
...     y = x * x + 1
>>> y.backward()
>>> print(x.grad)
[ 2.  4.  6.  8.]
"""

HIGHER_ORDER = """
>>> x = mx.nd.ones((1,))
>>> x.attach_grad()
>>> with mx.autograd.record():
...     z = mx.nd.elemwise_add(mx.nd.exp(x), x)
>>> dx = mx.autograd.grad(z, [x], create_graph=True)
>>> print(dx)
[
[ 3.71828175]
]
"""


def numbers(printed):
    without_descriptions = re.sub(r"<NDArray.*?>", "", printed)
    return [float(n) for n in re.findall(r"-?\d+\.?\d*(?:e[-+]?\d+)?", without_descriptions)]


@pytest.mark.parametrize("session", [OVERVIEW, HIGHER_ORDER], ids=["overview", "higher order"])
def test_session(session):
    namespace = {"mx": mx}
    for example in doctest.DocTestParser().get_examples(session):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(example.source, namespace)
        np.testing.assert_allclose(numbers(printed.getvalue()), numbers(example.want), rtol=1e-6)


def test_higher_order_example_can_be_differentiated_again():
    namespace = {"mx": mx}
    for example in doctest.DocTestParser().get_examples(HIGHER_ORDER):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(example.source, namespace)
    (dx,) = namespace["dx"]
    dx.backward()
    np.testing.assert_allclose(namespace["x"].grad.asnumpy(), np.exp([1]), rtol=1e-6)


# Examples of scopes


class Program:
    """What the examples assume: a model of one weight, layers with modes, an optimiser."""

    def __init__(self):
        self.x = nd.array([1, 2, 3, 4])
        self.weight = nd.array([2])
        self.weight.attach_grad()
        self.calls = []
        self.namespace = {
            "autograd": autograd,
            "backward": autograd.backward,
            "x": self.x,
            "model": self.model,
            "dropout": lambda y: self.layer("dropout", y),
            "sampling": lambda y: self.layer("sampling", y),
            "metric": self,
            "optim": self,
        }

    def layer(self, name, y):
        self.calls.append((name, autograd.is_recording(), autograd.is_training()))
        return y

    def model(self, x):
        return self.layer("model", x * self.weight)

    def update(self, *_):
        self.layer("update", None)

    def step(self, *_):
        self.layer("step", None)

    def run(self, example):
        """Run an example; returns each call with (recording, training)."""
        exec(textwrap.dedent(example), self.namespace)
        assert (autograd.is_recording(), autograd.is_training()) == (False, False)
        return self.calls


@pytest.fixture
def program():
    return Program()


def test_record_example(program):
    calls = program.run(
        """
        with autograd.record():
            y = model(x)
            backward([y])
        metric.update(...)
        optim.step(...)
        """
    )
    assert calls == [("model", True, True), ("update", False, False), ("step", False, False)]
    assert program.weight.grad.asscalar() == 10


def test_pause_example(program):
    calls = program.run(
        """
        with autograd.record():
            y = model(x)
            backward([y])
            with autograd.pause():
                # testing, IO, gradient updates...
                optim.step(...)
        """
    )
    assert calls == [("model", True, True), ("step", False, False)]
    assert program.weight.grad.asscalar() == 10


def test_train_mode_example(program):
    calls = program.run(
        """
        y = model(x)
        with autograd.train_mode():
            y = dropout(y)
        """
    )
    assert calls == [("model", False, False), ("dropout", False, True)]


def test_predict_mode_example(program):
    calls = program.run(
        """
        with autograd.record():
            y = model(x)
            with autograd.predict_mode():
                y = sampling(y)
            backward([y])
        """
    )
    assert calls == [("model", True, True), ("sampling", True, False)]
    assert program.weight.grad.asscalar() == 10


# The example of Function

FUNCTION = """
class sigmoid(mx.autograd.Function):
    def forward(self, x):
        y = 1 / (1 + mx.nd.exp(-x))
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        # backward takes as many inputs as forward's return value,
        # and returns as many NDArrays as forward's arguments.
        y, = self.saved_tensors
        return dy * y * (1-y)

func = sigmoid()
x = mx.nd.random.uniform(shape=(10,))
x.attach_grad()

with mx.autograd.record():
    m = func(x)
    m.backward()
dx = x.grad.asnumpy()
"""


def test_function_example():
    namespace = {"mx": mx}
    exec(FUNCTION, namespace)
    y = 1 / (1 + np.exp(-namespace["x"].asnumpy()))
    np.testing.assert_allclose(namespace["m"].asnumpy(), y, rtol=1e-6)
    np.testing.assert_allclose(namespace["dx"], y * (1 - y), rtol=1e-5)


# Statements


def test_attach_grad_allocates_space_for_the_gradient():
    x = nd.array([1, 2, 3, 4])
    x.attach_grad()
    assert x.grad.shape == x.shape
    assert x.grad.handle not in (0, x.handle)


def test_the_default_is_predict_mode_and_record_turns_train_mode_on():
    assert not autograd.is_training()
    with autograd.record():
        assert autograd.is_training()
    with autograd.record(train_mode=True):
        assert autograd.is_training()


def test_gradients_in_prediction_mode():
    """As for adversarial examples: train_mode=False for record, then for backward."""
    x = nd.ones(100)
    x.attach_grad()
    with autograd.record(train_mode=False):
        y = nd.Dropout(x, p=0.5)
    y.backward(train_mode=False)
    np.testing.assert_array_equal(x.grad.asnumpy(), np.ones(100))


def test_modes_change_without_changing_recording():
    for recording in (False, True):
        autograd.set_recording(recording)
        try:
            with autograd.train_mode():
                assert (autograd.is_recording(), autograd.is_training()) == (recording, True)
            with autograd.predict_mode():
                assert (autograd.is_recording(), autograd.is_training()) == (recording, False)
        finally:
            autograd.set_recording(False)


@pytest.mark.parametrize("setter", [autograd.set_recording, autograd.set_training])
def test_setters_return_the_previous_state(setter):
    assert setter(True) is False
    assert setter(False) is True


def test_backward_reaches_previously_marked_variables():
    x, gradient = nd.array([1, 2]), nd.zeros(2)
    autograd.mark_variables([x], [gradient], grad_reqs=["write"])
    with autograd.record():
        y = x * x
    autograd.backward([y], head_grads=[nd.array([1, 10])], retain_graph=False)
    np.testing.assert_array_equal(gradient.asnumpy(), [2, 40])


def test_grad_returns_new_arrays_instead_of_storing():
    x = nd.array([1, 2])
    x.attach_grad()
    with autograd.record():
        y = x * x
    (dx,) = autograd.grad(y, [x])
    np.testing.assert_array_equal(dx.asnumpy(), [2, 4])
    np.testing.assert_array_equal(x.grad.asnumpy(), [0, 0])


def test_retain_graph_defaults_to_create_graph():
    x = nd.array([1, 2])
    x.attach_grad()
    for create_graph in (False, True):
        with autograd.record():
            y = x * x
        autograd.grad(y, [x], create_graph=create_graph)
        context = contextlib.nullcontext() if create_graph else pytest.raises(mx.MXNetError)
        with context:
            autograd.grad(y, [x])


def test_get_symbol_retrieves_the_history():
    x = nd.ones(2)
    x.attach_grad()
    with autograd.record():
        y = nd.exp(x) + x
    symbol = autograd.get_symbol(y)
    assert symbol.list_arguments() == ["var0"]
    (value,) = symbol.eval(var0=nd.zeros(2))
    np.testing.assert_array_equal(value.asnumpy(), [1, 1])
