"""The autograd API: scopes, marking, backward, grad of any order, Function, and the tape's memory.

Meanings are MXNet's; where MXNet 1.9.1 is wrong, the tests want what is right: docs/differences.md.
"""

import contextlib
import gc
import io
import re
import threading
import weakref

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, memory, nd, tape
from clgrad.autograd import Function
from clgrad.device import devices
from clgrad.errors import AutogradError, OperatorError

RTOL = 2e-5


def array(values, dtype="float32"):
    return nd.array(np.asarray(values), dtype=dtype)


def variable(values, grad_req="write"):
    x = array(values)
    x.attach_grad(grad_req)
    return x


def assert_close(actual, expected, rtol=RTOL):
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=rtol, atol=1e-6)


def in_thread(function):
    """What the function returns in another thread; raises what it raises there."""
    outcome = []

    def target():
        try:
            outcome.append(("returned", function()))
        except BaseException as error:
            outcome.append(("raised", error))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    kind, value = outcome[0]
    if kind == "raised":
        raise value
    return value


@pytest.fixture
def reference_counting_only():
    """No garbage collector: memory that is freed was freed by reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def two_devices():
    """Contexts of two different devices."""
    found = devices()
    if len(found) < 2:
        pytest.skip("there is one device only")
    return [mx.Context(device.kind, device.index) for device in found[:2]]


def states():
    return autograd.is_recording(), autograd.is_training()


# Scopes


def test_default_state_is_neither_recording_nor_training():
    assert states() == (False, False)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (autograd.record, (True, True)),
        (lambda: autograd.record(train_mode=False), (True, False)),
        (autograd.pause, (False, False)),
        (lambda: autograd.pause(train_mode=True), (False, True)),
        (autograd.train_mode, (False, True)),
        (autograd.predict_mode, (False, False)),
    ],
)
def test_scope_sets_and_restores(scope, expected):
    with scope():
        assert states() == expected
    assert states() == (False, False)


def test_scopes_nest():
    with autograd.record():
        with autograd.pause():
            assert states() == (False, False)
            with autograd.train_mode():
                assert states() == (False, True)
                with autograd.record(train_mode=False):
                    assert states() == (True, False)
                assert states() == (False, True)
            assert states() == (False, False)
        with autograd.predict_mode():
            assert states() == (True, False)
            with autograd.record():
                assert states() == (True, True)
            assert states() == (True, False)
        assert states() == (True, True)
    assert states() == (False, False)


def test_scopes_restore_after_exceptions():
    with pytest.raises(KeyError), autograd.record(), autograd.predict_mode():
        raise KeyError("inside")
    assert states() == (False, False)


def test_one_scope_object_can_be_entered_again():
    scope = autograd.record()
    with autograd.pause(train_mode=True):
        with scope:
            with autograd.pause(), scope:
                assert states() == (True, True)
            assert states() == (True, True)
        assert states() == (False, True)
        with scope:
            assert states() == (True, True)
        assert states() == (False, True)


def test_state_belongs_to_the_thread():
    with autograd.record():
        assert in_thread(states) == (False, False)
        in_thread(lambda: autograd.set_training(False))
        in_thread(lambda: autograd.set_recording(False))
        assert states() == (True, True)


def test_one_scope_object_serves_several_threads():
    scope = autograd.record()
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with autograd.train_mode(), scope:
            entered.set()
            leave.wait(60)
        return states()

    result = []
    thread = threading.Thread(target=lambda: result.append(hold()))
    thread.start()
    entered.wait(60)
    with scope:
        pass
    assert states() == (False, False)
    leave.set()
    thread.join()
    assert result == [(False, False)]


@pytest.mark.parametrize(
    ("set_state", "is_state"),
    [
        (autograd.set_recording, autograd.is_recording),
        (autograd.set_training, autograd.is_training),
    ],
)
def test_set_state_returns_the_previous_state(set_state, is_state):
    assert set_state(True) is False
    assert set_state(1) is True
    assert is_state() is True
    assert set_state(False) is True
    assert is_state() is False


def test_nothing_is_recorded_in_pause():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
        with autograd.pause():
            z = y * 10
        with pytest.raises(AutogradError, match="not part of a recorded graph"):
            z.backward()
        total = y + z
    total.backward()
    assert_close(x.grad, [2, 4])


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
    with pytest.raises(AutogradError, match=r"accepted: float32 \(2,\), as the variable"):
        autograd.mark_variables(nd.ones(2), gradient(1))


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


# Writing in place


def test_writing_to_a_saved_array_raises_at_backward():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    x[:] = 5
    with pytest.raises(AutogradError, match=r"multiply: the array '.hs' .*write to a copy"):
        y.backward()


def test_writing_to_a_saved_result_raises_at_backward():
    x = variable([1, 2])
    with autograd.record():
        y = nd.exp(x)
        z = y * 2
    y += 1
    with pytest.raises(AutogradError, match=r"backward of exp: .* was written in place"):
        z.backward()


def test_writing_to_a_part_of_a_saved_array_raises_at_backward():
    x = variable([[1, 2], [3, 4]])
    with autograd.record():
        y = x * x
    x[1][:] = 0  # shares memory with x
    with pytest.raises(AutogradError, match="written in place"):
        y.backward()


def test_writing_to_what_no_rule_reads_is_allowed():
    x = variable([1, 2])
    with autograd.record():
        y = x + 1
    x[:] = 5
    y[:] = 6
    y.backward()
    assert_close(x.grad, [1, 1])


def test_writing_after_backward_is_allowed():
    x = variable([1, 2])
    for _ in range(3):
        with autograd.record():
            y = x * x
        y.backward()
        x -= 0.25 * x.grad
    assert_close(x, [0.125, 0.25])


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.__iadd__(1),
        lambda x: x.__setitem__(slice(None), 1),
        lambda x: nd.exp(x, out=x),
        lambda x: nd.ones(2).copyto(x),
    ],
)
def test_writing_while_recording_to_an_array_of_the_graph_raises(write):
    x, constant = variable([1, 2]), array([3, 4])
    with autograd.record():
        y = x * constant
        for member in (x, constant, y):
            with pytest.raises(AutogradError, match="in-place write, while recording"):
                write(member)
        with autograd.pause():
            write(y)


def test_writing_while_recording_to_a_fresh_array_passes_gradients():
    x = variable([1, 2])
    with autograd.record():
        t = nd.zeros((3, 2))
        t[:] = x * x
        y = t * array([[1, 1], [10, 10], [100, 100]])
    y.backward()
    assert_close(x.grad, [222, 444])


def test_writing_a_part_while_recording_passes_gradients():
    x = variable([1, 2])
    with autograd.record():
        t = nd.zeros((3, 2))
        t[1] = x * x
        y = t * 3
    y.backward()
    assert_close(x.grad, [6, 12])
    assert_close(y, [[0, 0], [3, 12], [0, 0]])


def test_out_passes_gradients():
    x, t = variable([1, 2]), nd.zeros(2)
    with autograd.record():
        nd.multiply(x, x, out=t)
        y = t * 3
    y.backward()
    assert_close(x.grad, [6, 12])


def test_detach_shares_memory_and_stops_gradients():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
        z = y.detach() * x
    assert y.detach().handle == y.handle
    z.backward()
    assert_close(x.grad, [1, 4])


def test_constants_get_no_gradient():
    x, constant = variable([1, 2]), array([3, 4])
    with autograd.record():
        y = constant * constant * x
    y.backward()
    assert constant.grad is None
    assert_close(x.grad, [9, 16])


# Gradient buffers


def test_views_of_grad_see_the_new_gradient():
    x = variable([[1, 2], [3, 4]])
    whole, row = x.grad, x.grad[1]
    handle = x.grad
    with autograd.record():
        y = x * x
    y.backward()
    assert x.grad is handle
    assert_close(whole, [[2, 4], [6, 8]])
    assert_close(row, [6, 8])


def test_a_gradient_that_is_a_part_of_an_array():
    block = nd.zeros((2, 2))
    x, w = array([1, 2]), array([3, 4])
    autograd.mark_variables([x, w], [block[0], block[1]])
    with autograd.record():
        y = x * w
    y.backward()
    assert_close(block, [[3, 4], [1, 2]])


def test_variables_with_one_incoming_gradient_do_not_share_it():
    x, w = variable([1, 2]), variable([3, 4])
    with autograd.record():
        y = (x + w) * 2
    y.backward()
    x.grad[:] = 0
    assert_close(w.grad, [2, 2])


@pytest.mark.parametrize("operation", [lambda x: x + 1, lambda x: x.reshape((2, 1)), lambda x: x[0:2]])
def test_grad_never_shares_memory_with_a_head_gradient(operation):
    x = variable([1, 2])
    with autograd.record():
        y = operation(x)
    head = nd.ones(y.shape)
    y.backward(head)
    x.grad[:] = 7
    assert_close(head, np.ones(y.shape))
    head[:] = 9
    assert_close(x.grad, [7, 7])


def test_head_gradients_of_ones_stay_ones():
    x = variable(np.zeros((3, 1, 5)))  # a shape that no other test uses: ones are kept by shape
    for _ in range(3):
        with autograd.record():
            y = x + 1
        y.backward()
        assert_close(x.grad, np.ones((3, 1, 5)))
        x.grad[:] = 7


def test_grad_never_shares_memory_with_what_a_function_saw():
    seen = []

    class Spy(Function):
        def forward(self, a, b):
            self.save_for_backward(a)
            return a * b

        def backward(self, dy):
            seen.append((dy, dy * 3))
            return self.saved_tensors[0], seen[-1][1]

    a, b, c = variable([1, 2]), variable([1, 1]), variable([1, 1])
    with autograd.record():
        y = (Spy()(a, b) + c) * 5
    for _ in range(2):
        y.backward(retain_graph=True)
        for x, gradient in ((a, [1, 2]), (b, [15, 15]), (c, [5, 5])):
            assert_close(x.grad, gradient)
            x.grad[:] = 0
    assert_close(a, [1, 2])
    for dy, returned in seen:
        assert_close(dy, [5, 5])
        assert_close(returned, [15, 15])


def test_a_gradient_used_in_a_graph_is_guarded_like_any_array():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
    y.backward(retain_graph=True)
    w = variable([1, 1])
    with autograd.record():
        z = w * x.grad
    y.backward()
    with pytest.raises(AutogradError, match="written in place"):
        z.backward()


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


def s(x):
    return 1 / (1 + np.exp(-x))


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
            lambda x: s(x) * (1 - s(x)),
            lambda x: s(x) * (1 - s(x)) * (1 - 2 * s(x)),
            lambda x: s(x) * (1 - s(x)) * (1 - 6 * s(x) + 6 * s(x) ** 2),
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


# Function


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
    value = s(np.array([-1, 0, 2]))
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
    value = s(np.array([-1, 0.5, 2]))
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


# Modes of layers


def test_dropout_obeys_the_mode():
    x = variable(np.ones(1000))
    with autograd.record():
        trained = nd.Dropout(x, p=0.5)
    trained.backward()
    kept = trained.asnumpy() != 0
    assert 300 < kept.sum() < 700
    assert_close(trained, 2 * kept)
    assert_close(x.grad, 2 * kept)
    with autograd.record(train_mode=False):
        predicted = nd.Dropout(x, p=0.5)
    predicted.backward(train_mode=False)
    assert_close(predicted, np.ones(1000))
    assert_close(x.grad, np.ones(1000))
    with autograd.train_mode():
        assert (nd.Dropout(x, p=0.5).asnumpy() == 0).any()
        with autograd.predict_mode():
            assert_close(nd.Dropout(x, p=0.5), np.ones(1000))


def test_dropout_mode_is_that_of_forward():
    x = variable(np.ones(1000))
    with autograd.record():
        y = nd.Dropout(x, p=0.5)
    y.backward(train_mode=False)
    assert_close(x.grad, y.asnumpy())


def test_batch_norm_moves_its_averages_in_training_only():
    host = np.array([[1.0, 10], [3, 30]])
    gamma, beta = nd.ones(2), nd.zeros(2)
    mean, var = nd.zeros(2), nd.ones(2)
    x = variable(host)
    options = {"momentum": 0.9, "eps": 1e-5, "fix_gamma": False}
    with autograd.record(train_mode=False):
        y = nd.BatchNorm(x, gamma, beta, mean, var, **options)
    assert_close(y, host / np.sqrt(1 + 1e-5))
    assert_close(mean, [0, 0])
    assert_close(var, [1, 1])
    with autograd.record():
        y = nd.BatchNorm(x, gamma, beta, mean, var, **options)
    y.backward()
    batch_mean, batch_var = host.mean(axis=0), host.var(axis=0)
    assert_close(y, (host - batch_mean) / np.sqrt(batch_var + 1e-5))
    assert_close(mean, 0.1 * batch_mean)
    assert_close(var, 0.9 + 0.1 * batch_var)


# Memory and depth


DEPTH = 6000


def test_deep_tapes_do_not_recurse():
    x = variable([1, 2])
    with autograd.record():
        y = x
        for _ in range(DEPTH):
            y = y + 1
    y.backward(retain_graph=True)
    assert_close(x.grad, [1, 1])
    (dx,) = autograd.grad(y, x, create_graph=True)
    assert_close(dx, [1, 1])


def test_dropping_a_deep_tape_frees_it(reference_counting_only):
    x = variable([0.1, 0.2])
    storages = []
    with autograd.record():
        y = x
        for _ in range(DEPTH):
            y = nd.sin(y)
            storages.append(weakref.ref(y._view.storage))
    assert all(storage() is not None for storage in storages)
    last = [y]
    del y
    # With a small stack, so that recursion would not go unnoticed.
    previous = threading.stack_size(256 * 1024)
    try:
        in_thread(last.clear)
    finally:
        threading.stack_size(previous)
    assert all(storage() is None for storage in storages)


def test_backward_frees_the_saved_arrays(reference_counting_only):
    x = variable([1, 2])
    with autograd.record():
        h = nd.exp(x)
        y = h * h
    saved = weakref.ref(h._view.storage)
    del h
    assert saved() is not None
    y.backward(retain_graph=True)
    assert saved() is not None
    y.backward()
    assert saved() is None


def test_backward_frees_as_it_goes(reference_counting_only):
    """When it comes to the first layers, it has let go of what the last ones kept."""
    found = []

    class First(Function):
        def forward(self, x):
            return x * 1

        def backward(self, dy):
            found.extend(storage() for storage in saved)
            return dy

    x = variable([[1, 2], [3, 4]])
    with autograd.record():
        first = First()(x)
        loss = nd.square(nd.dot(nd.exp(first), nd.exp(first)))
    saved = [weakref.ref(s.view.storage) for node in tape.walk([loss._entry]) for s in node.saved.values()]
    del first
    assert len(saved) > 2
    loss.backward()
    assert found == [None] * len(saved)


def test_only_what_rules_read_is_kept(reference_counting_only):
    x = variable([1, 2])
    with autograd.record():
        h = x + 1
        not_read = weakref.ref(h._view.storage)
        y = h * 2
    del h
    assert not_read() is None
    y.backward()


def test_second_order_graphs_make_no_cycles(reference_counting_only):
    x = variable([1, 2])
    with autograd.record():
        y = nd.exp(x) * x
        (dx,) = autograd.grad(y, x, create_graph=True)
        z = dx * dx
    storages = [weakref.ref(a._view.storage) for a in (y, dx, z)]
    z.backward()
    del y, dx, z
    assert all(storage() is None for storage in storages)


def test_a_training_loop_does_not_grow(reference_counting_only):
    x = variable(np.ones(100))
    alive = weakref.WeakSet()
    original = memory.Storage.__init__

    def counted(self, *args):
        original(self, *args)
        alive.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.Storage, "__init__", counted)
        counts = []
        for _ in range(5):
            with autograd.record():
                y = (nd.sigmoid(x * x) * x).sum()
            y.backward()
            x -= 0.1 * x.grad
            counts.append(len(alive))
    assert counts[1:] == counts[1:2] * 4


# The printed tape


def test_show_prints_the_launches():
    x = variable(np.ones((2, 3)))
    with autograd.record():
        h = nd.exp(x)
        y = h.reshape((3, 2)) * 2
    text = io.StringIO()
    tape.show(y, file=text)
    exp, reshape, multiply = re.split(r"^#\d+ ", text.getvalue(), flags=re.MULTILINE)[1:]
    kernel = r"kernel exp_forward_float32 global \(\d+,\) local \(\d+,\)"
    assert exp.startswith("exp\n")
    assert re.search(kernel, exp)
    assert f"{x.handle:#x} (2, 3) float32 24 bytes" in exp
    assert f"{h.handle:#x} (2, 3) float32 24 bytes" in exp
    assert "no launch" in reshape
    assert "kernel multiply_forward_float32" in multiply
    assert f"{h.handle:#x} (3, 2) float32 24 bytes" in multiply
    assert f"{y.handle:#x} (3, 2) float32 24 bytes" in multiply


def test_show_of_an_array_outside_any_graph_raises():
    with pytest.raises(AutogradError, match=r"tape\.show: .* not part of a recorded graph"):
        mx.tape.show(nd.ones(2))
