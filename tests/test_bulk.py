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
from hypothesis import strategies as st

import clgrad as mx
from clgrad import autograd, engine, memory, nd
from clgrad.bounded import Bounded
from clgrad.errors import AutogradError, DeviceMemoryError, KernelError, OperatorError
from clgrad.kernels.launch import Plan
from clgrad.registry import bulk, kept, sequence

SHAPE = (128, 128)
assert SHAPE[0] * SHAPE[1] == bulk.FEWEST


def arrays(rng, *shapes, dtype="float32"):
    return [nd.array(rng.uniform(1, 5, shape), dtype=dtype) for shape in shapes]


def several_times(f, *args):
    """The values of ``f(*args)`` each time until it has been merged, and as no launch waits."""
    with engine.bulk(0):
        expected = [y.asnumpy() for y in f(*args)]
    for _ in range(sequence.REPEATS + 2):
        yield [y.asnumpy() for y in f(*args)], expected


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


@pytest.mark.parametrize("held", ["last", "both"])
def test_products_go_on_with_what_follows(rng, launches, held):
    """Activation, scale and bias; what rules will read; and where it pays, arrays of the result's shape."""
    x, w, bias = arrays(rng, SHAPE, SHAPE, (128,))
    many, others = arrays(rng, (4, 64, 64), (4, 64, 64))
    images, filters, some = arrays(rng, (4, 3, 32, 32), (20, 3, 5, 5), (20,))
    results = {
        "dot": lambda: (a := nd.dot(x, w), nd.tanh(a * 0.01) * 3),
        "linear": lambda: (a := nd.FullyConnected(x, w, bias, num_hidden=128), nd.relu(a - 500)),
        "batch_dot": lambda: (a := nd.batch_dot(many, others), a * a - a),
        "conv": lambda: (
            a := nd.Convolution(images, filters, some, kernel=(5, 5), pad=(2, 2), num_filter=20),
            nd.relu(a - 500),
        ),
        "gemm": lambda: (a := nd.linalg.gemm2(x, x), a * 2),
        "residual": lambda: (a := nd.dot(x, w), a * 2 + x),
    }
    for name, f in results.items():
        with engine.bulk(0):
            expected = f()
        for _ in range(sequence.REPEATS + 1):
            del launches[:]
            y = f() if held == "both" else f()[1:]
            nd.waitall()
        if name != "residual" or mx.current_context().device.kind == "gpu":
            assert sum(outputs for _, outputs in launches) == len(y), (name, launches)
        for got, wanted in zip(y, expected[-len(y) :], strict=True):
            np.testing.assert_array_equal(got.asnumpy(), wanted.asnumpy())


def test_convolutions_that_are_no_products(rng):
    """Depthwise ones, and on CPUs those by Winograd's method, have kernels that do not go on."""
    for channels, groups in ((16, 16), (32, 1)):
        x, w = arrays(rng, (2, channels, 32, 32), (channels, channels // groups, 3, 3))
        sizes = {"kernel": (3, 3), "pad": (1, 1), "num_filter": channels, "num_group": groups}

        def f(x=x, w=w, sizes=sizes):
            y = nd.Convolution(x, w, no_bias=True, **sizes)
            return [nd.sigmoid(y * 0.01) * y]

        for got, expected in several_times(f):
            np.testing.assert_array_equal(got[0], expected[0])


def test_products_that_stay_alone(rng):
    """What follows is broadcast, of another dtype, or reads the result under another shape."""
    x, w, row = arrays(rng, SHAPE, SHAPE, (128,))
    for _ in range(sequence.REPEATS + 2):
        product = x.asnumpy() @ w.asnumpy()
        np.testing.assert_allclose((nd.dot(x, w) + row).asnumpy(), product + row.asnumpy(), rtol=1e-5)
        folded = nd.dot(x, w).reshape((64, 256)) * 2
        np.testing.assert_allclose(folded.asnumpy(), product.reshape(64, 256) * 2, rtol=1e-5)
        column = nd.dot(x, w) * x[:, :1]
        np.testing.assert_allclose(column.asnumpy(), product * x.asnumpy()[:, :1], rtol=1e-5)


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


def forget_sequences():
    """Whatever has come up before, and was asked for in memory then, is new again."""
    for stream in memory.all_streams():
        stream.sequences.clear()


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
    files = ("bulk.py", "sequence.py", "kept.py", "memory.py")
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


#: The same, recorded: then perhaps a write to one of the arrays that the program began with, and backward.
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
