"""What autograd keeps: writes to saved arrays, memory of gradients, what is freed when; the printed tape.

Meanings are MXNet's; where MXNet 1.9.1 is wrong, the tests want what is right: docs/differences.md.
"""

import io
import re
import threading
import weakref

import numpy as np
import pytest
from autograd_harness import array, assert_close, in_thread, variable

import clgrad as mx
from clgrad import autograd, memory, nd, tape
from clgrad.autograd import Function
from clgrad.errors import AutogradError

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
