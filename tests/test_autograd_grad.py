"""``autograd.grad``, gradients of any order, and random graphs, recorded and not.

Meanings are MXNet's; where MXNet 1.9.1 is wrong, the tests want what is right: docs/differences.md.
"""

import contextlib

import numpy as np
import pytest
from autograd_harness import array, assert_close, logistic, states, variable

from clgrad import autograd, nd
from clgrad.autograd import Function
from clgrad.errors import AutogradError, OperatorError

# grad


def test_grad_returns_a_list_and_leaves_dot_grad_alone():
    x = variable([1, 2])
    x.grad[:] = 7
    with autograd.record():
        y = x * x
    (single,) = autograd.grad(y, x, retain_graph=True)
    (listed,) = autograd.grad([y], [x])
    assert_close(single, [2, 4])
    assert_close(listed, [2, 4])
    assert_close(x.grad, [7, 7])


def test_grad_does_not_add():
    x = variable([1, 2], "add")
    x.grad[:] = 7
    with autograd.record():
        y = x * x
    assert_close(autograd.grad(y, x)[0], [2, 4])
    assert_close(x.grad, [7, 7])


def test_grad_takes_head_gradients():
    x = variable([1, 2])
    with autograd.record():
        y, z = x * x, x * 3
    (dx,) = autograd.grad([y, z], x, [array([1, 10]), None])
    assert_close(dx, [5, 43])


def test_grad_frees_the_graph_unless_it_creates_or_retains():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    autograd.grad(y, x, create_graph=True)
    autograd.grad(y, x, retain_graph=True)
    autograd.grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(AutogradError, match="retain_graph=True"):
        autograd.grad(y, x)


def test_grad_of_intermediate_results():
    x = variable([1, 2])
    with autograd.record():
        h = x * x
        y = h * h * x
    dh, dx, dy = autograd.grad(y, [h, x, y])
    assert_close(dh, 2 * np.array([1, 4]) * [1, 2])
    assert_close(dx, 5 * np.array([1, 2]) ** 4)
    assert_close(dy, [1, 1])


def test_grad_of_a_variable_out_of_reach_raises():
    x, other = variable([1, 2]), variable([1, 2])
    with autograd.record():
        y = x * 2
    with pytest.raises(AutogradError, match=r"do not depend on variables\[1\]"):
        autograd.grad(y, [x, other])


def test_grad_of_an_unmarked_array_raises():
    x, constant = variable([1, 2]), array([3, 4])
    with autograd.record():
        y = x * constant
    for unmarked in (constant, array([1, 2])):
        with pytest.raises(AutogradError, match=r"variables\[0\] is not part of a recorded graph"):
            autograd.grad(y, unmarked)


def test_grad_of_a_null_variable_raises():
    x = variable([1, 2], "null")
    with autograd.record():
        y = x * x
    with pytest.raises(AutogradError, match="grad_req='null'"):
        autograd.grad(y, x)


def test_grad_through_a_stopped_gradient_is_zero():
    x = variable([1, 2])
    with autograd.record():
        y = nd.stop_gradient(x) * 2
    assert_close(autograd.grad(y, x)[0], [0, 0])


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_returns_new_arrays(create_graph):
    x, w = variable([1, 2]), variable([3, 4])
    head = nd.ones(2)
    with autograd.record():
        y = x + w
    results = autograd.grad(y, [x, w, x, y], [head], create_graph=create_graph)
    for i, result in enumerate(results):
        result[:] = 10 + i
    for i, result in enumerate(results):
        assert_close(result, [10 + i] * 2)
    assert_close(head, [1, 1])


#: Function, and its first three derivatives, for x in (0.3, 1.5).
CLOSED_FORMS = {
    "x**5": (
        lambda x: x**5,
        [lambda x: 5 * x**4, lambda x: 20 * x**3, lambda x: 60 * x**2],
    ),
    "x*x*x": (lambda x: x * x * x, [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x]),
    "1/x": (lambda x: 1 / x, [lambda x: -(x**-2), lambda x: 2 * x**-3, lambda x: -6 * x**-4]),
    "exp(2x)": (
        lambda x: nd.exp(2 * x),
        [lambda x: 2 * np.exp(2 * x), lambda x: 4 * np.exp(2 * x), lambda x: 8 * np.exp(2 * x)],
    ),
    "sin(x)exp(x)": (
        lambda x: nd.sin(x) * nd.exp(x),
        [
            lambda x: np.exp(x) * (np.sin(x) + np.cos(x)),
            lambda x: 2 * np.exp(x) * np.cos(x),
            lambda x: 2 * np.exp(x) * (np.cos(x) - np.sin(x)),
        ],
    ),
    "sigmoid": (
        nd.sigmoid,
        [
            lambda x: logistic(x) * (1 - logistic(x)),
            lambda x: logistic(x) * (1 - logistic(x)) * (1 - 2 * logistic(x)),
            lambda x: logistic(x) * (1 - logistic(x)) * (1 - 6 * logistic(x) + 6 * logistic(x) ** 2),
        ],
    ),
    "tanh": (
        nd.tanh,
        [
            lambda x: 1 - np.tanh(x) ** 2,
            lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
            lambda x: (1 - np.tanh(x) ** 2) * (6 * np.tanh(x) ** 2 - 2),
        ],
    ),
    "log": (nd.log, [lambda x: 1 / x, lambda x: -(x**-2), lambda x: 2 * x**-3]),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_derivatives_to_the_third_order(name, rng):
    function, derivatives = CLOSED_FORMS[name]
    host = rng.uniform(0.3, 1.5, 7)
    x = variable(host)
    with autograd.record():
        y = function(x)
    for derivative in derivatives:
        (y,) = autograd.grad(y, x, create_graph=True)
        assert_close(y, derivative(host.astype(np.float32)), rtol=1e-4)


def test_mixed_second_derivatives():
    x, w = variable([1, 2]), variable([3, 4])
    with autograd.record():
        y = x * x * w * w * w
    (dx,) = autograd.grad(y, x, create_graph=True)
    dxx, dxw = autograd.grad(dx, [x, w], create_graph=True)
    (dxwx,) = autograd.grad(dxw, x)
    xs, ws = np.array([1, 2]), np.array([3, 4])
    assert_close(dxx, 2 * ws**3)
    assert_close(dxw, 6 * xs * ws**2)
    assert_close(dxwx, 6 * ws**2)


def test_second_derivatives_of_matrix_products_and_reductions():
    """f = |A x|^2 has the Hessian 2 A'A; what comes back is the Hessian times a vector."""
    a, v = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([[1.0], [2]])
    x = variable([[1], [1]])
    with autograd.record():
        y = nd.square(nd.dot(array(a), x)).sum()
        (dx,) = autograd.grad(y, x, create_graph=True)
        z = (dx * array(v)).sum()
    z.backward()
    assert_close(x.grad, 2 * a.T @ a @ v)


def test_backward_through_a_gradient_penalty():
    """The second-order pattern of WGAN-GP: a loss that holds the norm of a gradient."""
    x, w = variable([[1, 2], [3, 4]]), variable([[0.5], [0.25]])
    with autograd.record():
        critic = nd.dot(nd.square(x), w)
        (dx,) = autograd.grad(critic, x, create_graph=True)
        penalty = nd.square(dx).sum()
    penalty.backward()
    xs, ws = x.asnumpy(), w.asnumpy().ravel()
    assert_close(w.grad, (8 * xs**2 * ws).sum(axis=0).reshape(2, 1))
    assert_close(x.grad, 8 * xs * ws**2)


def test_head_gradients_are_differentiated_too():
    x, head = variable([1, 2]), variable([3, 4])
    with autograd.record():
        y = x * x
    (dx,) = autograd.grad([y, y], x, [head, head], create_graph=True)
    dx.backward()
    assert_close(head.grad, [4, 8])


def test_create_graph_does_not_need_record_and_leaves_the_states():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    (dx,) = autograd.grad(y, x, create_graph=True)
    assert states() == (False, False)
    dx.backward()
    assert_close(x.grad, [2, 2])


def test_plain_gradients_are_not_recorded():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
        (dx,) = autograd.grad(y, x)
        with pytest.raises(AutogradError, match="not part of a recorded graph"):
            dx.backward()


# Random graphs


class SineAndCosine(Function):
    def forward(self, x):
        self.save_for_backward(nd.sin(x), nd.cos(x))
        return self.saved_tensors

    def backward(self, d_sine, d_cosine):
        sine, cosine = self.saved_tensors
        return d_sine * cosine - d_cosine * sine


#: Ops of every kind on one or two arrays; those that do not accept the arrays raise.
STEPS = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: nd.sin(x * y),
    nd.maximum,
    lambda x, y: x / (1 + y * y),
    lambda x, y: 2 - x,
    lambda x, y: x.sum(),
    lambda x, y: x.sum(axis=0, keepdims=True),
    lambda x, y: x.mean(axis=-1),
    lambda x, y: x.max(axis=0, keepdims=True),
    lambda x, y: x.T,
    lambda x, y: x.reshape((-1,)),
    lambda x, y: x[1:],
    lambda x, y: nd.stop_gradient(x) + x,
    lambda x, y: nd.concat(x, y, dim=0),
    lambda x, y: nd.sin(nd.dot(x, y)),
    lambda x, y: SineAndCosine()(x)[0] * SineAndCosine()(y)[1],
]


def random_results(rng, leaves, count):
    """Results of random steps on leaves and earlier results."""
    pool = list(leaves)
    while len(pool) < len(leaves) + count:
        x, y = (pool[i] for i in rng.integers(len(pool), size=2))
        with contextlib.suppress(OperatorError, IndexError):
            result = STEPS[rng.integers(len(STEPS))](x, y)
            if result.size <= 64:
                pool.append(result)
    return pool[len(leaves) :]


@pytest.mark.parametrize("number", range(8))
def test_generated_kernels_agree_with_recorded_rules(number, rng):
    """Backward through random graphs, by gradient kernels and by rules that run as ops."""
    shapes = [(2, 3), (3,), (1, 3), (2, 1), (1,), (3, 2)]
    leaves = [variable(rng.uniform(-1, 1, shape)) for shape in shapes]
    with autograd.record():
        heads = random_results(rng, leaves, 20)[-4:] + [x * 1 for x in leaves]
    seeds = [array(rng.uniform(-1, 1, head.shape)) for head in heads]
    recorded = autograd.grad(heads, leaves, seeds, create_graph=True)
    plain = autograd.grad(heads, leaves, seeds, retain_graph=True)
    autograd.backward(heads, seeds)
    for x, one, other in zip(leaves, plain, recorded, strict=True):
        tolerance = 1e-5 * (1 + np.abs(other.asnumpy()).max())
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-4, atol=tolerance)
        np.testing.assert_allclose(x.grad.asnumpy(), one.asnumpy(), rtol=1e-4, atol=tolerance)
