"""``autograd.Function``: what users differentiate themselves.

Meanings are MXNet's; where MXNet 1.9.1 is wrong, the tests want what is right: docs/differences.md.
"""

import weakref

import numpy as np
import pytest
from autograd_harness import array, assert_close, logistic, states, variable

from clgrad import autograd, nd
from clgrad.autograd import Function
from clgrad.errors import AutogradError


class Sigmoid(Function):
    def forward(self, x):
        y = 1 / (1 + nd.exp(-x))
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        (y,) = self.saved_tensors
        return dy * y * (1 - y)


class ProductAndQuotient(Function):
    """(a b, a / b), with gradients computed by numpy."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        a, b = a.asnumpy(), b.asnumpy()
        return array(a * b), array(a / b)

    def backward(self, d_product, d_quotient):
        a, b = (saved.asnumpy() for saved in self.saved_tensors)
        d_product, d_quotient = d_product.asnumpy(), d_quotient.asnumpy()
        da = d_product * b + d_quotient / b
        db = d_product * a - d_quotient * a / b**2
        return array(da), array(db)


def test_function_of_one_array():
    x = variable([-1, 0, 2])
    with autograd.record():
        y = Sigmoid()(x)
        y.backward()
    value = logistic(np.array([-1, 0, 2]))
    assert_close(y, value)
    assert_close(x.grad, value * (1 - value))


def test_function_of_several_arrays_with_numpy_inside():
    a, b = variable([1, 2]), variable([4, 5])
    with autograd.record():
        product, quotient = ProductAndQuotient()(a, b)
        y = product * 2 + quotient * 3
    y.backward()
    x, z = np.array([1, 2]), np.array([4, 5])
    assert_close(a.grad, 2 * z + 3 / z)
    assert_close(b.grad, 2 * x - 3 * x / z**2)


def test_function_output_that_no_head_needs_has_a_gradient_of_zeros():
    a, b = variable([1, 2]), variable([4, 5])
    with autograd.record():
        product, _ = ProductAndQuotient()(a, b)
    product.backward()
    assert_close(a.grad, [4, 5])
    assert_close(b.grad, [1, 2])


def test_function_outside_record_runs_forward_only():
    x = variable([0])
    y = Sigmoid()(x)
    assert_close(y, [0.5])
    with pytest.raises(AutogradError, match="not part of a recorded graph"):
        y.backward()


def test_function_forward_is_not_recorded_and_keeps_the_training_mode():
    seen = []

    class Watch(Function):
        def forward(self, x):
            seen.append(states())
            return x * 2

        def backward(self, dy):
            seen.append(states())
            return dy * 3

    x = variable([1])
    with autograd.record():
        y = Watch()(x)
    y.backward()
    assert seen == [(False, True), (False, True)]
    assert_close(x.grad, [3])


def test_function_returns_what_forward_returns():
    class Parts(Function):
        def __init__(self, kind):
            super().__init__()
            self.kind = kind

        def forward(self, x):
            return self.kind([x * 1, x * 2])

        def backward(self, *dys):
            return dys[0] + 2 * dys[1]

    x = variable([1])
    for kind in (list, tuple):
        with autograd.record():
            outputs = Parts(kind)(x)
        assert type(outputs) is kind
        autograd.backward(list(outputs))
        assert_close(x.grad, [3])


class TwoInputs(Function):
    """a + b whose gradients are 5 and 7, or None."""

    def __init__(self, *gradients):
        super().__init__()
        self.gradients = gradients

    def forward(self, a, b):
        return a + b

    def backward(self, dy):
        return tuple(g if g is None else dy * g for g in self.gradients)


def test_function_gradients_of_none_flow_nowhere():
    a, b = variable([1, 2]), variable([1, 2])
    a.grad[:] = 9
    with autograd.record():
        y = TwoInputs(None, 7)(a, b)
    y.backward()
    assert_close(a.grad, [0, 0])
    assert_close(b.grad, [7, 7])


@pytest.mark.parametrize("requests", [("add", "add"), ("null", "write"), ("write", "null")])
def test_function_obeys_grad_req(requests):
    a, b = (variable([1, 2], request) for request in requests)
    for _ in range(2):
        with autograd.record():
            y = TwoInputs(5, 7)(a, b)
        y.backward()
    for x, request, gradient in zip((a, b), requests, (5, 7), strict=True):
        if request == "null":
            assert x.grad is None
        else:
            assert_close(x.grad, [gradient * (2 if request == "add" else 1)] * 2)


def test_function_that_raises_in_forward_leaves_the_states():
    class Failing(Function):
        def forward(self, x):
            raise KeyError("inside")

    x = variable([1])
    with autograd.record():
        with pytest.raises(KeyError):
            Failing()(x)
        assert states() == (True, True)
        y = x * 2
    y.backward()
    assert_close(x.grad, [2])


def test_function_object_is_used_once():
    function = Sigmoid()
    function(nd.ones(1))
    with pytest.raises(AutogradError, match="used once"):
        function(nd.ones(1))


def test_function_inside_create_graph():
    x = variable([-1, 0.5, 2])
    with autograd.record():
        y = Sigmoid()(x)
    value = logistic(np.array([-1, 0.5, 2]))
    for derivative in (
        value * (1 - value),
        value * (1 - value) * (1 - 2 * value),
        value * (1 - value) * (1 - 6 * value + 6 * value**2),
    ):
        (y,) = autograd.grad(y, x, create_graph=True)
        assert_close(y, derivative)


def test_function_saved_inputs_inside_create_graph():
    class Cube(Function):
        def forward(self, x):
            self.save_for_backward(x)
            return x * x * x

        def backward(self, dy):
            (x,) = self.saved_tensors
            return dy * 3 * x * x

    x = variable([2])
    with autograd.record():
        y = Cube()(x * 1)
    (dx,) = autograd.grad(y, x, create_graph=True)
    (dxx,) = autograd.grad(dx, x)
    assert_close(dx, [12])
    assert_close(dxx, [12])


def test_function_saves_anything():
    class Scale(Function):
        def forward(self, x, factor):
            self.save_for_backward(factor, None, np.float32(2))
            return x * factor

        def backward(self, dy):
            factor, nothing, two = self.saved_tensors
            assert nothing is None
            return dy * factor * two, None

    x = variable([1])
    with autograd.record():
        y = Scale()(x, 5)
    y.backward()
    assert_close(x.grad, [10])


def test_function_that_hands_an_input_through():
    class Through(Function):
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy * 10

    x = variable([1, 2])
    with autograd.record():
        y = Through()(x) + x
    y.backward()
    assert_close(x.grad, [11, 11])
    assert x.grad is not None


def test_function_that_returns_one_array_twice():
    class Twice(Function):
        def forward(self, x):
            y = x * 2
            return y, y

        def backward(self, first, second):
            return first + 10 * second

    x = variable([1])
    with autograd.record():
        first, second = Twice()(x)
        y = first * 3 + second * 4
    y.backward()
    assert_close(x.grad, [43])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda dy: (dy, dy), "returned 2 gradients; accepted: one .* of forward's 1 arguments"),
        (lambda dy: nd.ones(3), r"is NDArray float32 \(3,\); accepted: NDArray float32 \(2,\)"),
        (lambda dy: dy.asnumpy(), "is ndarray; accepted: NDArray"),
    ],
)
def test_function_checks_what_backward_returns(returned, message):
    class Wrong(Function):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return returned(dy)

    x = variable([1, 2])
    with autograd.record():
        y = Wrong()(x)
    with pytest.raises(AutogradError, match=message):
        y.backward()


def test_function_checks_what_forward_returns():
    class Wrong(Function):
        def forward(self, x):
            return x.asnumpy()

    with pytest.raises(AutogradError, match=r"forward: output 0 is ndarray; accepted: NDArray"):
        Wrong()(nd.ones(2))


def test_function_without_methods_says_which_is_missing():
    class Empty(Function):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty.forward"):
        Empty()(nd.ones(2))


@pytest.mark.parametrize("place", ["input", "output"])
def test_function_saved_arrays_are_guarded_against_writes(place):
    class Save(Function):
        def forward(self, x):
            y = x * 2
            self.save_for_backward(x if place == "input" else y)
            return y

        def backward(self, dy):
            (saved,) = self.saved_tensors
            return dy * saved

    x = variable([1, 2])
    with autograd.record():
        y = Save()(x)
    (x if place == "input" else y)[:] = 5
    with pytest.raises(AutogradError, match=r"backward of Save: .*'saved_tensors\[0\]'.*written"):
        y.backward()


def test_function_saved_arrays_are_freed_by_backward(reference_counting_only):
    function, x = Sigmoid(), variable([1, 2])
    with autograd.record():
        y = function(x) * 2
    (node, _), *_ = y._entry[0].inputs
    saved = [weakref.ref(kept.load(node, "").storage) for kept in node.saved.values()]
    assert len(saved) == 1
    assert saved[0]() is not None
    y.backward()
    assert saved[0]() is None
    with pytest.raises(AutogradError, match="retain_graph=True"):
        function.saved_tensors  # noqa: B018


def test_function_that_saves_its_output_makes_no_cycle(reference_counting_only):
    x = variable([1, 2])
    with autograd.record():
        y = Sigmoid()(x)
    node, storage = weakref.ref(y._entry[0]), weakref.ref(y._view.storage)
    del y
    assert node() is None
    assert storage() is None
