"""Gradients of elementwise ops that are computed together: what is launched, and what must end a chain.

That the values are those of the recorded rules, random graphs show in test_autograd_grad.py.
"""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import AutogradError
from clgrad.registry import gradient_chain


def variables(rng, *shapes, dtype="float32"):
    arrays = [nd.array(rng.uniform(0.5, 2, shape), dtype=dtype) for shape in shapes]
    for x in arrays:
        x.attach_grad()
    return arrays


def backward_is_right(f, arrays, tolerance=1e-5):
    """``backward`` gives what the recorded rules give."""
    with autograd.record():
        y = f(*arrays)
    head = nd.array(np.cos(np.arange(y.size)).reshape(y.shape), dtype=y.dtype)
    expected = autograd.grad(y, arrays, head, create_graph=True)
    y.backward(head)
    for x, gradient in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(x.grad.asnumpy(), gradient.asnumpy(), rtol=tolerance, atol=tolerance)


def test_a_chain_is_one_launch(rng, launches):
    x, y = variables(rng, (3, 7), (3, 7))
    with autograd.record():
        z = nd.sigmoid(x) * nd.exp(-x) + x * y
    del launches[:]
    z.backward(nd.ones((3, 7)))
    gradients = [name for name, _ in launches if "grad" in name]
    assert len(gradients) == len(launches) - 1 == 1, launches  # the other is that of ones
    assert gradients[0].startswith("add_multiply_"), gradients


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_of_a_chain(rng, dtype):
    """Head gradients go to two inputs, an array is used three times, one is an input twice."""
    x, y = variables(rng, (5, 9), (5, 9), dtype=dtype)
    eps = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}[dtype]
    backward_is_right(lambda x, y: nd.tanh(x * x + y) * (x + y) + 2 / x, [x, y], 8 * eps)


def test_numbers_are_not_part_of_the_kernel(rng):
    for a, b in ((2.0, 3.0), (0.5, -1.0)):
        backward_is_right(lambda x, a=a, b=b: nd.exp(x / a) * (x - b) ** a, variables(rng, (4,)))


def test_more_than_a_chain_holds(rng, launches):
    """Beyond its bounds a chain ends, and what it knows of the gradients is added to."""
    arrays = variables(rng, *[(6,)] * 9)

    def f(x, *others):
        y = x
        for other in others:
            y = nd.sin(y * other + x)
        return y

    backward_is_right(f, arrays)
    assert 1 < sum("multiply" in name and "grad" in name for name, _ in launches) <= 4
    assert len(arrays) > gradient_chain.WAITING


def test_what_ends_a_chain(rng):
    """Sums, products of matrices, broadcast inputs and views lie between elementwise ops."""

    def f(x, row, w):
        y = nd.exp(x * row) + x
        z = nd.dot(nd.tanh(y), w) * y.reshape((4, 4))
        return nd.log(z.sum(axis=1, keepdims=True) + x * x)

    backward_is_right(f, variables(rng, (4, 4), (1, 4), (4, 4)), 1e-4)


def test_gradients_on_the_way(rng):
    """What is asked for is there, though the chain goes on from it."""
    (x,) = variables(rng, (5,))
    with autograd.record():
        y = nd.exp(x)
        z = nd.sin(y) * y
    dz, dy, dx = autograd.grad(z, [z, y, x], nd.ones((5,)))
    values = np.exp(x.asnumpy())
    expected = np.cos(values) * values + np.sin(values)
    np.testing.assert_array_equal(dz.asnumpy(), np.ones(5))
    np.testing.assert_allclose(dy.asnumpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dx.asnumpy(), expected * values, rtol=1e-4, atol=1e-5)


def test_gradients_have_memory_of_their_own(rng, launches):
    """Both gradients of a sum are its head's: two arrays, in one launch, and the head stays."""
    x, y = variables(rng, (3, 5), (3, 5))
    head = nd.array(rng.standard_normal((3, 5)))
    kept = head.asnumpy()
    with autograd.record():
        z = x + y
    del launches[:]
    z.backward(head)
    assert [name for name, _ in launches] == ["add_grad_lhs_rhs_float32"]
    x.grad[:] = 0
    np.testing.assert_array_equal(y.grad.asnumpy(), kept)
    y.grad[:] = 0
    np.testing.assert_array_equal(head.asnumpy(), kept)


def test_adding_to_a_gradient_takes_no_launch(rng, launches):
    x, y = variables(rng, (3, 7), (3, 7))
    x.attach_grad("add")
    y.attach_grad("add")
    seen = x.grad
    expected = np.zeros((3, 7), "float32")
    for _ in range(3):
        with autograd.record():
            z = nd.exp(x) * y
        del launches[:]
        z.backward(nd.ones((3, 7)))
        assert sum("grad" in name for name, _ in launches) == 1
        assert len(launches) == 2, launches  # the other is that of ones
        expected += np.exp(x.asnumpy()) * y.asnumpy()
        np.testing.assert_allclose(seen.asnumpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(x.grad.asnumpy(), expected, rtol=1e-5)


def test_two_variables_that_add_to_one_array(rng):
    x, y = variables(rng, (3, 7), (3, 7))
    both = nd.ones((3, 7))
    autograd.mark_variables([x, y], [both, both], "add")
    with autograd.record():
        z = x * 2 + y * 3
    z.backward()
    np.testing.assert_allclose(both.asnumpy(), np.full((3, 7), 6), rtol=1e-6)


def test_a_gradient_of_this_sweep_alone_is_not_copied(rng, launches):
    x, y = variables(rng, (3, 5), (5, 2))
    with autograd.record():
        z = nd.dot(x + 1, y)
    del launches[:]
    z.backward()
    assert not [name for name, _ in launches if name.startswith(("add", "identity"))], launches


def test_large_heads_get_no_array_of_ones(rng):
    """Their gradient of ones has one element, which every way to use it must repeat."""
    (x,) = variables(rng, (70, 70))
    for f, slope in ((nd.exp, np.exp(x.asnumpy())), (lambda x: x.T, 1), (lambda x: x, 1)):
        with autograd.record():
            y = f(x)
        y.backward()
        np.testing.assert_allclose(x.grad.asnumpy(), np.broadcast_to(slope, (70, 70)), rtol=1e-6)
    with autograd.record():
        y = nd.exp(x)
    (first,) = autograd.grad(y, [x], create_graph=True)
    np.testing.assert_allclose(first.asnumpy(), np.exp(x.asnumpy()), rtol=1e-6)


class Overwriting(autograd.Function):
    """The identity, whose backward writes to an array that others have saved."""

    def __init__(self, victim):
        super().__init__()
        self.victim = victim

    def forward(self, x):
        return x * 1

    def backward(self, dy):
        self.victim[:] = 0
        return dy


def test_user_code_may_write_to_what_a_waiting_rule_has_read(rng):
    """The waiting gradients are computed before; a rule that comes later raises."""
    x, y = variables(rng, (4,), (4,))
    other = nd.array(rng.standard_normal(4))
    values = other.asnumpy()
    with autograd.record():
        late = Overwriting(other)(y)
        z = x * other + late
    z.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), values)
    other[:] = 2
    with autograd.record():
        z = Overwriting(other)(x * other)
    with pytest.raises(AutogradError, match="written in place"):
        z.backward()
