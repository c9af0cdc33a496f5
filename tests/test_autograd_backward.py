"""Marking variables, and backward: heads, head gradients, and where gradients flow to.

Meanings are MXNet's; where MXNet 1.9.1 is wrong, the tests want what is right: docs/differences.md.
"""

import threading

import numpy as np
import pytest
from autograd_harness import RTOL, array, assert_close, in_thread, states, variable

import clgrad as mx
from clgrad import autograd, nd
from clgrad.autograd import Function
from clgrad.device import devices
from clgrad.errors import AutogradError


@pytest.fixture
def two_devices():
    """Contexts of two different devices."""
    found = devices()
    if len(found) < 2:
        pytest.skip("there is one device only")
    return [mx.Context(device.kind, device.index) for device in found[:2]]


# Marking


def test_attach_grad_gives_zeros():
    x = variable([[1, 2], [3, 4]])
    assert x.grad.shape == (2, 2)
    assert_close(x.grad, np.zeros((2, 2)))


def test_grad_is_none_without_a_request():
    assert array([1]).grad is None
    assert variable([1], "null").grad is None


def test_write_overwrites_and_add_adds():
    written, added = variable([1, 2]), variable([1, 2], "add")
    for _ in range(3):
        with autograd.record():
            y = written * 2 + added * 3
        y.backward()
    assert_close(written.grad, [2, 2])
    assert_close(added.grad, [9, 9])


def test_null_receives_nothing_and_lets_others_through():
    x, frozen = variable([1, 2]), variable([3, 4], "null")
    with autograd.record():
        y = x * frozen
    y.backward()
    assert frozen.grad is None
    assert_close(x.grad, [3, 4])


def test_backward_of_variables_that_are_all_null_does_nothing():
    x = variable([1, 2], "null")
    with autograd.record():
        y = x * x
    y.backward()
    assert x.grad is None


def test_mark_variables_single():
    x, gradient = array([1, 2]), nd.zeros(2)
    autograd.mark_variables(x, gradient)
    with autograd.record():
        y = x * x
    y.backward()
    assert_close(gradient, [2, 4])
    assert x.grad is gradient


def test_mark_variables_in_lists():
    xs = [array([i, i + 1]) for i in range(3)]
    gradients = [nd.ones(2) for _ in range(3)]
    autograd.mark_variables(xs, gradients, ["write", "add", "null"])
    with autograd.record():
        y = xs[0] * 2 + xs[1] * 3 + xs[2] * 4
    y.backward()
    assert_close(gradients[0], [2, 2])
    assert_close(gradients[1], [4, 4])
    assert_close(gradients[2], [1, 1])
    assert xs[2].grad is None


def test_mark_variables_one_request_for_all():
    xs, gradients = [array([1]), array([2])], [nd.ones(1), nd.ones(1)]
    autograd.mark_variables(xs, gradients, "add")
    with autograd.record():
        y = xs[0] * xs[1]
    y.backward()
    assert_close(gradients[0], [3])
    assert_close(gradients[1], [2])


@pytest.mark.parametrize(
    ("variables", "gradients", "requests", "message"),
    [
        (2, 1, "write", "2 variables, 1 gradients and 2 grad_reqs"),
        (2, 2, ["write"], "2 variables, 2 gradients and 1 grad_reqs"),
        (1, 1, "Write", "grad_req is 'Write'; accepted: write, add, null"),
    ],
)
def test_mark_variables_checks_its_arguments(variables, gradients, requests, message):
    with pytest.raises(AutogradError, match=message):
        autograd.mark_variables(
            [nd.ones(2) for _ in range(variables)], [nd.ones(2) for _ in range(gradients)], requests
        )


@pytest.mark.parametrize("gradient", [nd.zeros, lambda n: nd.zeros(n + 1, dtype="int32")])
def test_mark_variables_wants_gradients_like_the_variables(gradient):
    """And marks none of several where one of them does not fit."""
    first = nd.ones(2)
    with pytest.raises(AutogradError, match=r"accepted: float32 \(2,\), as the variable"):
        autograd.mark_variables([first, nd.ones(2)], [nd.zeros(2), gradient(1)])
    assert first.grad is None


def test_attach_grad_wants_a_known_request():
    with pytest.raises(AutogradError, match="grad_req is 'sum'"):
        nd.ones(2).attach_grad("sum")


def test_attach_grad_while_recording_records_nothing():
    with autograd.record():
        x = variable([1, 2])
        y = x * 3
    y.backward()
    assert_close(x.grad, [3, 3])


def test_attach_grad_on_a_recorded_array_detaches_it():
    x = variable([1, 2])
    with autograd.record():
        y = x * 3
        y.attach_grad()
        z = y * y
    z.backward()
    assert_close(y.grad, [6, 12])
    assert_close(x.grad, [0, 0])


def test_attaching_anew_after_recording_leaves_the_gradient_in_the_old_buffer():
    x = variable([1, 2])
    old = x.grad
    with autograd.record():
        y = x * x
    x.attach_grad()
    y.backward()
    assert_close(old, [2, 4])
    assert_close(x.grad, [0, 0])


# Backward


def test_several_heads_add_up():
    x, w = variable([1, 2]), variable([3, 4])
    with autograd.record():
        y, z = x * w, x + w
    autograd.backward([y, z])
    assert_close(x.grad, [4, 5])
    assert_close(w.grad, [2, 3])


def test_one_head_given_twice_counts_twice():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    autograd.backward([y, y], [None, array([10, 10])])
    assert_close(x.grad, [22, 44])


def test_a_head_below_another_head():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
        z = y * 3
    autograd.backward([y, z])
    assert_close(x.grad, [8, 16])


def test_head_gradients_with_none_among_them():
    x = variable([1, 2])
    with autograd.record():
        heads = [x * 2, x * 3, x * 5]
    autograd.backward(heads, [array([1, 10]), None, array([100, 100])])
    assert_close(x.grad, [505, 523])


def test_ndarray_backward_takes_a_head_gradient():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    y.backward(array([1, 10]))
    assert_close(x.grad, [2, 40])


def test_a_head_that_is_a_variable_gets_its_head_gradient():
    x = variable([1, 2])
    x.backward()
    assert_close(x.grad, [1, 1])
    x.backward(array([3, 4]))
    assert_close(x.grad, [3, 4])


@pytest.mark.parametrize(
    "head_gradient",
    [
        lambda: nd.ones((2, 1)),
        lambda: nd.ones(3),
        lambda: nd.ones(2, dtype="int32"),
        lambda: np.ones(2, np.float32),
        lambda: 1.0,
    ],
)
def test_head_gradients_that_do_not_fit_raise(head_gradient):
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    with pytest.raises(AutogradError, match=r"head_grads\[0\] is .*; accepted: .*float32 \(2,\)"):
        y.backward(head_gradient())


def test_as_many_head_gradients_as_heads():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    with pytest.raises(AutogradError, match="1 heads and 2 head_grads"):
        autograd.backward([y], [None, None])


def test_a_second_backward_says_to_retain_the_graph():
    x = variable([1, 2])
    with autograd.record():
        y = x + 1  # saves nothing, and yet its graph is gone
    y.backward()
    with pytest.raises(AutogradError, match="retain_graph=True"):
        y.backward()


def test_retain_graph_allows_another_backward():
    x = variable([1, 2], "add")
    with autograd.record():
        y = nd.exp(x) * x
    y.backward(retain_graph=True)
    y.backward()
    value = np.array([1, 2])
    assert_close(x.grad, 2 * np.exp(value) * (1 + value))
    with pytest.raises(AutogradError, match="retain_graph=True"):
        y.backward()


def test_freed_nodes_that_no_gradient_reaches_do_not_matter():
    x = variable([1, 2])
    with autograd.record():
        y = nd.exp(x)
        y.backward()
        z = nd.stop_gradient(y) * x
    z.backward()
    assert_close(x.grad, np.exp([1, 2]))


@pytest.mark.parametrize("head", [lambda: nd.ones(2), lambda: nd.ones(2) * 2, lambda: None])
def test_a_head_outside_any_graph_says_to_record(head):
    with pytest.raises(AutogradError, match=r"heads\[0\] is not part of .* graph; compute it inside"):
        autograd.backward([head()])


def test_a_constant_of_a_graph_is_no_head():
    x, constant = variable([1, 2]), array([3, 4])
    with autograd.record():
        x * constant
    with pytest.raises(AutogradError, match="not part of a recorded graph"):
        constant.backward()


def test_variables_that_no_head_depends_on_keep_their_gradient():
    x, other = variable([1, 2]), variable([1, 2])
    other.grad[:] = 7
    with autograd.record():
        y = x * 2
        other * 2
    y.backward()
    assert_close(other.grad, [7, 7])


def test_a_gradient_that_is_stopped_is_zero():
    x = variable([1, 2])
    x.grad[:] = 7
    with autograd.record():
        y = nd.stop_gradient(x)
    y.backward()
    assert_close(x.grad, [0, 0])


def test_many_uses_accumulate():
    x = variable([1, 2])
    with autograd.record():
        y = x * 0
        for i in range(50):
            y = y + x * i
    y.backward()
    assert_close(x.grad, [sum(range(50))] * 2)


def test_broadcast_operands_get_sums():
    x, row, one = variable(np.ones((3, 4))), variable([1, 2, 3, 4]), variable([2])
    with autograd.record():
        y = x * row + one
    y.backward()
    assert_close(row.grad, [3, 3, 3, 3])
    assert_close(one.grad, [12])


REDUCTIONS = {
    "everything": lambda x: x.sum(),
    "rows": lambda x: x.sum(axis=1),
    "columns, kept": lambda x: x.sum(axis=0, keepdims=True),
    "mean": lambda x: x.mean() * x.size,
    "twice": lambda x: x.sum(axis=0).sum(),
    "sum of two": lambda x: x.sum(axis=0).sum() + x.sum(axis=1).sum() - x.sum(),
    "sum and elements": lambda x: x.sum() + 0 * x,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("inner", [lambda x: x, lambda x: x * 1, lambda x: x.T], ids=["x", "1x", "xT"])
def test_gradients_of_reductions_have_the_shape_of_the_variable(name, inner):
    """The gradient of a sum is one number for all elements, which need not be in memory as such."""
    x, added = variable(np.zeros((2, 3))), variable(np.zeros((2, 3)), "add")
    expected = np.full((2, 3), 6 if name == "sum and elements" else 1)
    with autograd.record():
        y = REDUCTIONS[name](inner(x + added))
    (dx,) = autograd.grad(y, x, retain_graph=True)
    for gradient in (dx, *autograd.grad(y, [x, added], create_graph=True)):
        assert_close(gradient, expected)
        assert gradient.handle not in (x.grad.handle, added.grad.handle)
    for _ in range(2):
        y.backward(retain_graph=True)
    assert_close(x.grad, expected)
    assert_close(added.grad, 2 * expected)


def test_a_function_below_a_sum_gets_a_whole_gradient():
    class Check(Function):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            assert dy.shape == (2, 3)
            dy[:] = dy * 7  # the user's to write to
            return dy

    x = variable(np.zeros((2, 3)))
    for _ in range(2):
        with autograd.record():
            y = Check()(x).sum()
        y.backward()
        assert_close(x.grad, np.full((2, 3), 7))


@pytest.mark.parametrize("copy", [nd.array, lambda x: x.copy(), lambda x: x.astype("float16")])
def test_copies_and_conversions_pass_gradients(copy):
    x = variable([1, 2])
    with autograd.record():
        y = copy(x * 2)
    y.backward()
    assert_close(x.grad, [2, 2])


def test_gradients_cross_devices(two_devices):
    here, there = two_devices
    x = nd.array([1, 2], ctx=here)
    w = nd.array([3, 4], ctx=there)
    x.attach_grad()
    w.attach_grad()
    with autograd.record():
        y = (x * x).as_in_context(there) * w
    y.backward()
    assert y.context == there
    assert x.grad.context == here
    assert_close(x.grad, [6, 16])
    assert_close(w.grad, [1, 4])


def test_backward_inside_record():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
        y.backward()
        assert states() == (True, True)
    assert_close(x.grad, [2, 4])


def test_states_are_restored_when_backward_raises():
    class Failing(Function):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            raise KeyError("inside")

    x = variable([1, 2])
    with autograd.record():
        y = Failing()(x)
        with pytest.raises(KeyError):
            y.backward()
        assert states() == (True, True)
    assert states() == (False, False)


def test_backward_in_another_thread():
    x = variable([[1, 2], [3, 4]])
    with autograd.record():
        y = nd.exp(x * x) + nd.dot(x, x)
    in_thread(y.backward)
    value = x.asnumpy()
    ones = np.ones((2, 2))
    assert_close(x.grad, 2 * value * np.exp(value**2) + ones @ value.T + value.T @ ones)


def test_threads_record_and_go_back_independently():
    def train(seed):
        x = variable(np.arange(4) + seed)
        for _ in range(20):
            with autograd.record():
                y = x * x * x
            y.backward()
        return x.grad.asnumpy()

    results = {}
    threads = [
        threading.Thread(target=lambda seed=seed: results.update({seed: train(seed)})) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_allclose(results[seed], 3 * (np.arange(4) + seed) ** 2, rtol=RTOL)
