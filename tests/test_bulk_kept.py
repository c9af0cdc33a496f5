"""Results that gradient rules read, kept as formulas and made again in backward's kernels."""

import threading

import hypothesis
import numpy as np
import pytest
from bulk_harness import SHAPE, arrays, forget_sequences, several_times
from hypothesis import strategies as st

import clgrad as mx
from clgrad import autograd, engine, memory, nd
from clgrad.errors import AutogradError, DeviceMemoryError
from clgrad.registry import bulk, kept, sequence


def test_gradients(rng):
    x, y = arrays(rng, SHAPE, (128,))
    for a in (x, y):
        a.attach_grad()

    def f():
        with autograd.record():
            z = nd.relu(nd.dot(nd.tanh(x * y + x) ** 2 / (1 + nd.abs(y)), x) - 2) * 0.5
        z.backward()
        return z, x.grad.copy(), y.grad.copy()

    for got, expected in several_times(f):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def chain(x, w):
    """Rules read five of its results; none of them reads w."""
    return nd.tanh(nd.sigmoid(x) * nd.exp(-x) + w) * nd.tanh(x * 0.5)


def chains_gradient(x, w):
    s, e, t = 1 / (1 + np.exp(-x)), np.exp(-x), np.tanh(x / 2)
    u = np.tanh(s * e + w)
    return (1 - u * u) * t * (s * (1 - s) * e - s * e) + u * (1 - t * t) / 2, (1 - u * u) * t


@pytest.fixture
def recorded(rng):
    """Two arrays, and a function that records the chain and returns the head."""
    x, w = arrays(rng, SHAPE, SHAPE)
    for a in (x, w):
        a.attach_grad()

    def record():
        with autograd.record():
            return chain(x, w)

    forget_sequences()
    return x, w, record


def gradients_are_right(x, w, values):
    for a, expected in zip((x, w), chains_gradient(*values), strict=True):
        np.testing.assert_allclose(a.grad.asnumpy(), expected, rtol=2e-4, atol=2e-6)


def test_what_rules_read_is_made_again(recorded, launches):
    """Merged, the chain stores its head only; its gradient is one launch, with the same bits as ever."""
    x, w, record = recorded
    with engine.bulk(0):
        record().backward()
        expected = x.grad.asnumpy(), w.grad.asnumpy()
    for _ in range(sequence.REPEATS + 2):
        del launches[:]
        y = record()
        y.wait_to_read()
        stored = sum(outputs for _, outputs in launches)
        del launches[:]
        y.backward()
        for a, gradient in zip((x, w), expected, strict=True):
            np.testing.assert_array_equal(a.grad.asnumpy(), gradient)
    assert stored == 1
    assert [outputs for name, outputs in launches if "grad" in name] == [2]


def test_memory_of_what_is_made_again(recorded):
    x, _, record = recorded
    stream = memory.current_stream(mx.current_context().device)
    used = []
    for _ in range(sequence.REPEATS + 1):
        nd.waitall()
        before = stream._pool.active_bytes
        y = record()
        nd.waitall()
        used.append((stream._pool.active_bytes - before) // (x.size * 4))
        y.backward()
        del y
    assert used[0] >= 5
    assert used[-1] == 1


@pytest.mark.parametrize("what", ["w", "head"])
def test_what_rules_read_outlives_a_write(recorded, what):
    """It is computed before an array that it is made of changes; another time it is stored at once."""
    x, w, record = recorded
    for _ in range(2 * sequence.REPEATS + 3):
        values = x.asnumpy(), w.asnumpy()
        y = record()
        nd.waitall()
        {"w": w, "head": y}[what][:] = 3
        y.backward()
        gradients_are_right(x, w, values)
        x[:], w[:] = nd.array(values[0]), nd.array(values[1])


def test_a_write_that_fails_spoils_nothing(recorded, monkeypatch):
    """What depends on the array could not be computed before the write; the program tries again."""
    x, w, record = recorded
    for _ in range(sequence.REPEATS + 1):
        y = record()
        nd.waitall()
    values = x.asnumpy(), w.asnumpy()
    compute = kept.Origin.compute

    def failing(*args):
        raise DeviceMemoryError("no memory")

    monkeypatch.setattr(kept.Origin, "compute", failing)
    with pytest.raises(DeviceMemoryError):
        w[:] = 3
    monkeypatch.setattr(kept.Origin, "compute", compute)
    w[:] = 3
    y.backward()
    gradients_are_right(x, w, values)


def test_what_rules_read_in_memory(rng):
    """Recorded rules and those of broadcast inputs want arrays."""
    x, row = arrays(rng, SHAPE, (128,))
    for a in (x, row):
        a.attach_grad()
    for _ in range(2 * sequence.REPEATS + 3):
        with autograd.record():
            y = nd.exp(-x) * nd.sigmoid(x) * row
            nd.waitall()
            (first,) = autograd.grad(y, [x], create_graph=True)
        first.backward(retain_graph=True)
        y.backward()
        v, r = x.asnumpy(), row.asnumpy()
        s, e = 1 / (1 + np.exp(-v)), np.exp(-v)
        np.testing.assert_allclose(row.grad.asnumpy(), (s * e).sum(0), rtol=1e-4)
        np.testing.assert_allclose(x.grad.asnumpy(), (s * (1 - s) * e - s * e) * r, rtol=1e-3, atol=1e-6)


def test_what_rules_read_in_another_thread(recorded):
    x, w, record = recorded
    for i in range(sequence.REPEATS + 3):
        y = record()
        if i % 2:
            nd.waitall()
        thread = threading.Thread(target=y.backward)
        thread.start()
        thread.join()
        gradients_are_right(x, w, (x.asnumpy(), w.asnumpy()))


def test_going_through_a_graph_twice(recorded):
    x, w, record = recorded
    for _ in range(sequence.REPEATS + 2):
        y = record()
        y.backward(retain_graph=True)
        y.backward()
        gradients_are_right(x, w, (x.asnumpy(), w.asnumpy()))
        with pytest.raises(AutogradError, match="freed"):
            y.backward()


def test_second_order(rng):
    (x,) = arrays(rng, SHAPE)
    x.attach_grad()
    for _ in range(sequence.REPEATS + 2):
        with autograd.record():
            y = nd.exp(x * 0.5) * x
            (first,) = autograd.grad(y, [x], create_graph=True)
        first.backward()
        v = x.asnumpy()
        np.testing.assert_allclose(x.grad.asnumpy(), np.exp(v / 2) * (1 + v / 4), rtol=1e-5)


def test_writing_to_what_backward_reads_is_an_error(rng):
    (x,) = arrays(rng, SHAPE)
    x.attach_grad()
    with autograd.record():
        y = x * x
    x[:] = 1
    with pytest.raises(AutogradError, match="written in place"):
        y.backward()


#: What a random program does: ops on two of the arrays; then perhaps a write to one that it began with,
#: and backward.
RECORDED = st.tuples(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "multiply", "maximum", "exp", "tanh", "scale", "drop", "sum", "dot"]),
            st.integers(0, 20),
            st.integers(0, 20),
        ),
        min_size=2,
        max_size=16,
    ),
    st.sampled_from([None, 0, 1, 2]),
)


@hypothesis.settings(max_examples=15)
@hypothesis.given(program=RECORDED)
def test_gradients_of_random_programs(program):
    """Bit by bit as without waiting; where a write spoils what a rule reads, the same error."""
    steps, written = program

    def run():
        values = np.arange(bulk.FEWEST, dtype="float32").reshape(SHAPE)
        leaves = [nd.array(np.cos(values)), nd.array(np.sin(values)), nd.array(np.cos(values[0]))]
        for leaf in leaves:
            leaf.attach_grad()
        held = list(leaves)
        with autograd.record():
            for what, i, j in steps:
                a, b = held[i % len(held)], held[j % len(held)]
                if what in ("add", "multiply", "maximum"):
                    held.append(getattr(nd, what)(a, b))
                elif what == "exp":
                    held.append(nd.exp(-nd.abs(a)))
                elif what == "tanh":
                    held.append(nd.tanh(a))
                elif what == "scale":
                    held.append(a * (j / 8))
                elif what == "drop" and len(held) > 3:
                    del held[i % len(held)]
                elif what == "sum" and a.ndim == 2:
                    held.append(nd.sum(a, axis=-1, keepdims=True))
                elif what == "dot" and a.shape == b.shape == SHAPE:
                    held.append(nd.dot(a, b) * 0.01)
            y = nd.tanh(held[-1]) * leaves[0] + leaves[1] * leaves[2]
        del held
        if written is not None:
            leaves[written][:] = 0.25
        try:
            y.backward()
        except AutogradError:
            return None
        return [leaf.grad.asnumpy() for leaf in leaves]

    with engine.bulk(0):
        expected = run()
    forget_sequences()
    before, sequence.REPEATS = sequence.REPEATS, 0
    try:
        got = run()
    finally:
        sequence.REPEATS = before
    assert (got is None) == (expected is None)
    for gradient, wanted in zip(got or [], expected or [], strict=True):
        np.testing.assert_array_equal(gradient, wanted)
