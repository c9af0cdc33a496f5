"""Elementwise launches that wait and are merged: same numbers, same order, nothing lost.

The arrays are just large enough to wait. Where a test does not say otherwise, a sequence of calls gets its
kernel when it comes up for the third time, so tests repeat what they do.
"""

import io
import linecache
import sys
import threading

import hypothesis
import numpy as np
import pytest
from bulk_harness import SHAPE, arrays, forget_sequences, several_times
from hypothesis import strategies as st

import clgrad as mx
from clgrad import autograd, engine, memory, nd
from clgrad.bounded import Bounded
from clgrad.errors import DeviceMemoryError, KernelError, OperatorError
from clgrad.kernels.launch import Plan
from clgrad.registry import bulk, sequence


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64")), "float16", "int32"]
)
def test_merged_launches_give_the_same_bits(rng, dtype):
    """With a row and a column among the operands, an array that is read twice, and held results."""
    x, row, column = arrays(rng, SHAPE, (128,), (128, 1), dtype=dtype)

    def f(x, row, column):
        a = x * row + x
        b = a - column
        return nd.maximum(a * a, b) / (1 + nd.abs(row * b)), a

    for got, expected in several_times(f, x, row, column):
        for y, z in zip(got, expected, strict=True):
            np.testing.assert_array_equal(y, z)


@pytest.mark.parametrize("op", ["rsqrt", "exp", "tanh", "log1p", "sin"])
def test_functions_of_rows_of_odd_length(rng, op):
    """Merged with a row, each row has elements beyond its vectors: functions must not depend on that."""
    x, row = arrays(rng, (129, 131), (131,))
    for got, expected in several_times(lambda: [getattr(nd, op)(x) * row]):
        np.testing.assert_array_equal(got[0], expected[0])


def test_one_kernel_stores_what_is_held(rng, launches):
    (x,) = arrays(rng, SHAPE)
    for _ in range(sequence.REPEATS + 1):
        del launches[:]
        y = nd.sigmoid(x) * nd.exp(-x)
        y.wait_to_read()
    assert launches == [("sigmoid_negative_exp_multiply_forward_float32", 1)]
    for _ in range(sequence.REPEATS + 1):
        del launches[:]
        s = nd.sigmoid(x)
        y = s * nd.exp(-x)
        y.wait_to_read()
    assert launches == [("sigmoid_negative_exp_multiply_forward_float32", 2)]
    np.testing.assert_allclose(s.asnumpy(), 1 / (1 + np.exp(-x.asnumpy())), rtol=1e-6)


def test_numbers_are_not_part_of_the_kernel(rng, launches):
    (x,) = arrays(rng, SHAPE)
    for n in range(sequence.REPEATS + 3):
        del launches[:]
        y = (x + n) * (n + 0.5)
        np.testing.assert_allclose(y.asnumpy(), (x.asnumpy() + n) * (n + 0.5), rtol=1e-6)
    assert len(launches) == 1


def test_what_nobody_reads_is_computed_all_the_same(rng, launches):
    """A measured loop must measure the work."""
    (x,) = arrays(rng, SHAPE)
    del launches[:]
    for _ in range(3):
        nd.exp(x)
    nd.waitall()
    assert [name for name, _ in launches] == ["exp_forward_float32"] * 3


def test_reading_sees_what_was_there_at_the_call(rng):
    x, y = arrays(rng, SHAPE, SHAPE)
    before, other = x.asnumpy(), y.asnumpy()
    for _ in range(sequence.REPEATS + 2):
        z = x * 2 + y
        x[:] = 0
        w = x + y
        nd.multiply(x, y, out=x)
        v = x - 1
        np.testing.assert_array_equal(z.asnumpy(), before * 2 + other)
        np.testing.assert_array_equal(w.asnumpy(), other)
        np.testing.assert_array_equal(v.asnumpy(), np.full(SHAPE, -1, "float32"))
        x[:] = before


def test_the_same_memory_under_another_shape(rng):
    x, y = arrays(rng, SHAPE, SHAPE)
    for _ in range(sequence.REPEATS + 2):
        z = x + y
        w = z.reshape((64, 256)) * 2
        v = z.reshape((1, *SHAPE))[0] * z
        expected = x.asnumpy() + y.asnumpy()
        np.testing.assert_array_equal(w.asnumpy(), expected.reshape(64, 256) * 2)
        np.testing.assert_array_equal(v.asnumpy(), expected * expected)


def test_parts_of_one_array(rng):
    """Two views of one memory in a call: it must stay alone, and right."""
    (x,) = arrays(rng, (130, 128))
    for _ in range(sequence.REPEATS + 2):
        y = (x[:128] + x[2:]) * x[1:129]
        v = x.asnumpy()
        np.testing.assert_array_equal(y.asnumpy(), (v[:128] + v[2:]) * v[1:129])


def test_an_inner_result_whose_memory_was_used_again(rng):
    """The buffer of a dropped result goes to the next array that is made, before the launch."""
    (x,) = arrays(rng, SHAPE)
    for _ in range(sequence.REPEATS + 2):
        y = nd.exp(-(x * 0.5)) + 1
        others = [nd.full(SHAPE, i) for i in range(3)]
        np.testing.assert_allclose(y.asnumpy(), np.exp(-(x.asnumpy() * 0.5)) + 1, rtol=1e-6)
        assert [o.asnumpy()[0, 0] for o in others] == [0, 1, 2]


@pytest.mark.parametrize("calls", [bulk.STORED + 3, memory.BULK_SIZE + 3])
def test_more_than_one_kernel_takes(rng, calls):
    """Results, arrays or calls are too many: the rest waits anew."""
    xs = arrays(rng, *[SHAPE] * (bulk.LEAVES + 3))

    def f(*xs):
        results = [xs[0] + xs[1]]
        for i in range(calls):
            results.append(results[-1] * xs[i % len(xs)] - 1)
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return [*results, total]

    for got, expected in several_times(f, *xs):
        for y, z in zip(got, expected, strict=True):
            np.testing.assert_array_equal(y, z)


def test_the_tape_shows_the_launch_that_ran(rng):
    (x,) = arrays(rng, SHAPE)
    x.attach_grad()
    for _ in range(sequence.REPEATS + 1):
        with autograd.record():
            y = nd.exp(x) * 2
        text = io.StringIO()
        mx.tape.show(y, file=text)
        merged = "kernel exp_multiply_forward_float32" in text.getvalue()
        assert merged != ("kernel exp_forward_float32" in text.getvalue())
    assert merged
    assert text.getvalue().count("one launch with its neighbours") == 2


def test_a_number_that_does_not_fit_is_an_error_of_the_call(rng):
    (x,) = arrays(rng, SHAPE, dtype="int32")
    y = x + 1
    with pytest.raises(OperatorError, match="does not fit"):
        y * 2**40
    np.testing.assert_array_equal(y.asnumpy(), x.asnumpy() + 1)


def test_launches_that_fail_go_on_waiting(rng, monkeypatch):
    """Whoever caused them to be enqueued gets the error; their results are not lost."""
    (x,) = arrays(rng, SHAPE)
    y = nd.exp(x) + 1
    run = Plan.run

    def failing(*args, **kwargs):
        raise DeviceMemoryError("no memory")

    monkeypatch.setattr(Plan, "run", failing)
    with pytest.raises(DeviceMemoryError):
        y.asnumpy()
    monkeypatch.setattr(Plan, "run", run)
    np.testing.assert_allclose(y.asnumpy(), np.exp(x.asnumpy()) + 1, rtol=1e-6)


@pytest.mark.parametrize("start", range(4))
def test_an_interrupt_at_any_line(rng, start):
    """Ctrl-C where launches are let wait, and where they are enqueued: nothing is lost, nothing stuck."""
    (x,) = arrays(rng, SHAPE)
    values = x.asnumpy()
    memory_files = [f"memory/{name}.py" for name in ("stream", "storage", "view", "layout", "copies")]
    files = ("bulk.py", "sequence.py", "kept.py", *memory_files)
    for line in range(start, 320, 8):
        first, second, left = x * 3, None, [line]

        def trace(frame, event, _, left=left):
            if not frame.f_code.co_filename.endswith(files):
                return None
            left[0] -= event == "line"
            # Python itself sees to it that no signal comes between a lock and its `with`; and a `try` is no
            # instruction at which one could come.
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if left[0] <= 0 and not text.strip().startswith(("with ", "try:")):
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            second = (first + x) * first - x
            second.wait_to_read()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        np.testing.assert_array_equal((x + 1).asnumpy(), values + 1)
        np.testing.assert_array_equal(first.asnumpy(), values * 3)
        if second is not None:
            np.testing.assert_array_equal(second.asnumpy(), (values * 3 + values) * (values * 3) - values)


def test_a_kernel_that_the_device_refuses(rng, launches, monkeypatch):
    """Merged, the calls ask too much of it; they run one by one, then and later."""
    (x,) = arrays(rng, SHAPE)
    forget_sequences()
    run = Plan.run

    def refusing(plan, *args, **kwargs):
        if any("_multiply_" in step.kernel and "add" in step.kernel for step in plan.steps):
            raise KernelError("too many arguments")
        return run(plan, *args, **kwargs)

    monkeypatch.setattr(Plan, "run", refusing)
    for _ in range(sequence.REPEATS + 3):
        y = (x + 1) * x
        np.testing.assert_array_equal(y.asnumpy(), (x.asnumpy() + 1) * x.asnumpy())


def test_sequences_that_are_kept(rng, monkeypatch):
    """Ever other sequences do not fill the memory."""
    (x,) = arrays(rng, SHAPE)
    stream = memory.current_stream(mx.current_context().device)
    monkeypatch.setattr(stream, "sequences", Bounded(16))
    for program in rng.integers(0, 3, (60, 5)):
        y = x
        for step in program:
            y = (nd.negative, nd.square, nd.sigmoid)[step](y)
        y.wait_to_read()
    assert len(stream.sequences) <= 16


def test_results_in_another_thread(rng):
    """Another thread enqueues what this one has left waiting, and waits for it."""
    (x,) = arrays(rng, SHAPE)
    expected = np.exp(x.asnumpy()) * 2
    for i in range(2 * sequence.REPEATS):
        y = nd.exp(x) * 2
        found = []
        readers = [y.asnumpy, lambda y=y: (y + 0).asnumpy(), lambda y=y: (nd.waitall(), y.asnumpy())[1]]
        thread = threading.Thread(target=lambda read=readers[i % 3], found=found: found.append(read()))
        thread.start()
        thread.join()
        np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_threads_that_enqueue_each_others_launches(rng):
    """Many at once, while their owners let more wait."""
    (x,) = arrays(rng, SHAPE)
    values = x.asnumpy()
    wrong = []

    def work():
        a = nd.array(values)
        for i in range(60):
            y = (a + i) * 2 - a
            nd.waitall() if i % 7 == 0 else None
            z = y - a
            if not np.array_equal(z.asnumpy(), (values + np.float32(i)) * 2 - values - values):
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_dropped_results_are_not_kept(rng):
    """A chain of any length has few arrays at a time."""
    (x,) = arrays(rng, SHAPE)
    stream = memory.current_stream(mx.current_context().device)
    nd.waitall()
    start, peak = stream._pool.active_bytes, 0
    y = x
    for _ in range(100):
        y = y * 1.01 + x
        peak = max(peak, stream._pool.active_bytes - start)
    assert peak <= 4 * x.size * 4
    del y
    nd.waitall()
    assert stream._pool.active_bytes == start


def test_bulk_size(rng, launches):
    (x,) = arrays(rng, SHAPE)
    assert engine.set_bulk_size(0) == memory.BULK_SIZE
    try:
        del launches[:]
        y = nd.exp(x) + 1
        assert [name for name, _ in launches] == ["exp_forward_float32", "add_forward_float32"]
    finally:
        assert engine.set_bulk_size(memory.BULK_SIZE) == 0
    del launches[:]
    y = nd.exp(x) + 1
    assert not launches
    engine.flush()
    assert launches
    y.wait_to_read()


@pytest.mark.once
@pytest.mark.parametrize("size", [-1, 1.5, "2", None, True])
def test_bulk_sizes_that_are_none(size):
    with pytest.raises(OperatorError, match="set_bulk_size: size is"):
        engine.set_bulk_size(size)


#: What a random program does: an op on two of the arrays, or something that the launches must come before.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "multiply", "maximum", "negative", "scale", "write", "drop", "fold", "sum", "dot"]
        ),
        st.integers(0, 20),
        st.integers(0, 20),
    ),
    min_size=2,
    max_size=24,
)


@hypothesis.settings(max_examples=15)
@hypothesis.given(steps=STEPS)
def test_random_programs(steps):
    """Bit by bit as without waiting, whatever comes between."""

    def run():
        values = np.arange(bulk.FEWEST, dtype="float32").reshape(SHAPE)
        held = [nd.array(np.cos(values)), nd.array(np.sin(values)), nd.array(np.cos(values[0]))]
        for what, i, j in steps:
            a, b = held[i % len(held)], held[j % len(held)]
            if what in ("add", "multiply", "maximum"):
                held.append(getattr(nd, what)(a, b))
            elif what == "negative":
                held.append(-a)
            elif what == "scale":
                held.append(a * (j / 4))
            elif what == "write":
                a[:] = b if a.shape == b.shape else 0.5
            elif what == "drop" and len(held) > 3:
                del held[i % len(held)]
            elif what == "fold":
                held.append(a.reshape((2, -1)).reshape(a.shape))
            elif what == "sum" and a.ndim == 2:
                held.append(nd.sum(a, axis=-1, keepdims=True))
            elif what == "dot" and a.shape == b.shape == SHAPE:
                held.append(nd.dot(a, b) * 0.01)
            held = [h if len(h.shape) == 2 or h.shape == (128,) else h.reshape((-1,)) for h in held][-9:]
        return [h.asnumpy() for h in held]

    with engine.bulk(0):
        expected = run()
    before, sequence.REPEATS = sequence.REPEATS, 0
    try:
        for got, kept in zip(run(), expected, strict=True):
            np.testing.assert_array_equal(got, kept)
    finally:
        sequence.REPEATS = before
