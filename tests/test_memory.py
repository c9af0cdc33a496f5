"""Device memory: streams, pools, limits, threads."""

import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pyopencl as cl
import pytest

import clgrad as mx
from clgrad import memory, pool
from clgrad.device import current_context
from clgrad.errors import DeviceMemoryError

FLOAT = np.dtype("float32")


def test_layouts_are_interned():
    """Plans are looked up by layout identity: two objects for one layout would plan twice."""
    assert memory.Layout((2, 3), FLOAT) is memory.Layout((2, 3), FLOAT)
    assert memory.Layout((2, 3), FLOAT) is not memory.Layout((3, 2), FLOAT)
    assert tuple(memory.Layout((2, 3), FLOAT)) == ((2, 3), FLOAT)


@pytest.mark.once
def test_layouts_that_nobody_holds_are_forgotten(monkeypatch):
    """A program with ever other shapes must not grow."""
    monkeypatch.setattr(memory.Layout, "_interned", {})
    monkeypatch.setattr(memory.Layout, "_limit", 100)
    held = [memory.Layout((size,), FLOAT) for size in range(1, 51)]
    for size in range(1000, 3000):
        memory.Layout((size,), FLOAT)
        assert len(memory.Layout._interned) <= 100
    assert all(memory.Layout((size,), FLOAT) is x for size, x in enumerate(held, 1))
    held += [memory.Layout((size,), FLOAT) for size in range(3000, 3200)]
    assert all(memory.Layout((x.size,), FLOAT) is x for x in held)


def test_memory_returns_to_the_pool_when_the_last_reference_goes():
    """A reference that lingers in a cache would make training grow."""
    x = mx.nd.ones((1000,))
    storage = weakref.ref(x._view.storage)
    view = x[10:20]
    del x
    assert storage() is not None, "a view shares the memory"
    gc.disable()
    try:
        del view
        assert storage() is None
    finally:
        gc.enable()


def test_an_impossible_allocation_names_bytes_and_limit():
    """A bare MEM_OBJECT_ALLOCATION_FAILURE helps nobody."""
    size = current_context().device.capabilities.global_memory
    with pytest.raises(DeviceMemoryError, match=r"cannot allocate .* bytes .* largest single"):
        mx.nd.empty((size,))


def test_size_zero_owns_no_buffer():
    """OpenCL refuses empty buffers."""
    x = mx.nd.zeros((0, 3))
    assert x.handle == 0
    assert (x + 1).asnumpy().shape == (0, 3)
    np.testing.assert_array_equal(mx.nd.sum(x, axis=0).asnumpy(), np.zeros(3))


def test_another_thread_reads_what_this_one_wrote():
    """Two queues know nothing of each other: without a wait, the reader sees old memory."""
    x = mx.nd.ones((100_000,))
    for _ in range(20):
        x = x + 1
    results = []
    thread = threading.Thread(target=lambda: results.append((x * 2).asnumpy()))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], np.full(100_000, 42, FLOAT))


def test_threads_compute_at_once():
    """Kernel objects hold arguments; threads that shared one would compute each other's sums."""
    failures = []

    def work(number):
        x = mx.nd.full((501,), number)
        for _ in range(100):
            if not ((x * 2 + number).asnumpy() == 3 * number).all():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class Marker:
    """An event that is over so many seconds after somebody began to wait for it."""

    def __init__(self, clock: list[float], seconds: float):
        self._clock, self._seconds = clock, seconds

    def wait(self):
        self._clock.append(self._clock[-1] + self._seconds)


def test_work_in_flight_is_bounded(monkeypatch):
    """A queue that is never waited for grows without limit, and some drivers reset after seconds."""
    stream = memory.current_stream(current_context().device)
    clock = [0.0]
    x = mx.nd.ones((1,))
    monkeypatch.setattr(stream, "_round", 24)
    monkeypatch.setattr(stream, "_launches", 0)
    monkeypatch.setattr(stream, "_marker", Marker(clock, 1))
    for _ in range(23):
        x = x + 0
    assert clock == [0]
    x = x + 0
    assert clock == [0, 1]


@pytest.mark.once
def test_time_in_flight_is_bounded(monkeypatch):
    """Fewer launches of long kernels are in flight than of short ones."""
    stream, clock = memory.Stream(current_context().device), [0.0]
    monkeypatch.setattr(memory.stream, "_now", lambda: clock[-1])

    def waits(rounds: int, seconds: float) -> list[int]:
        """After how many launches, of so many seconds each, it is waited for."""
        counts = []
        for _ in range(rounds):
            before, count = len(clock), 0
            while len(clock) == before:
                stream.count_launch(Marker(clock, seconds * stream._round))
                count += 1
            counts.append(count)
        return counts

    limit = memory.LAUNCHES_IN_FLIGHT
    assert max(waits(8, 1e-5)) == stream._round == limit
    assert waits(16, 0.1)[-1] == stream._round
    assert stream._round * 0.1 <= memory.stream.LONG_WAIT
    assert waits(8, 10)[-1] == stream._round == 1
    assert waits(12, 1e-5)[-1] == limit


def test_launches_in_flight_are_bounded(monkeypatch):
    """The host is far ahead of a device that multiplies matrices, unless it waits."""
    monkeypatch.setattr(memory.stream, "LAUNCHES_IN_FLIGHT", 8)
    stream = memory.current_stream(current_context().device)
    monkeypatch.setattr(stream, "_round", 8)
    events, count, ahead = [], stream.count_launch, []

    def counted(event):
        events.append(event)
        count(event)
        done = cl.command_execution_status.COMPLETE
        ahead.append(sum(e.command_execution_status != done for e in events[:-16]))

    monkeypatch.setattr(stream, "count_launch", counted)
    x = mx.nd.ones((256, 256))
    for _ in range(64):
        mx.nd.dot(x, x)
    assert len(events) >= 64
    assert max(ahead) == 0


def test_bytes_in_flight_are_bounded():
    """Memory of a result that is let go of is used again, though the device has not come to it yet."""
    x = mx.nd.ones((1 << 18,))
    mx.empty_cache()
    before = mx.memory_stats(by_op=False)
    for _ in range(200):
        x = mx.nd.cumsum(x)
    after = mx.memory_stats(by_op=False)
    assert after.in_use + after.pooled - before.in_use - before.pooled < 4 << 20


class TestLoopsDoNotGrow:
    """With the garbage collector switched off: what is in a cycle would wait for it."""

    #: 10,000 steps take a minute, and end as these do.
    STEPS = 150

    @pytest.fixture(autouse=True)
    def _without_garbage_collector(self):
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    def assert_steady(self, step, warm_up=20):
        def state():
            mx.nd.waitall()
            stats = mx.memory_stats(by_op=False)
            stream = memory.current_stream(current_context().device)
            return stats.in_use, stats.buffers, len(stream.plans), len(stream.sequences)

        for _ in range(warm_up):
            step()
        before, resident, objects = state(), _resident_bytes(), len(gc.get_objects())
        for _ in range(self.STEPS):
            step()
        assert state() == before
        assert len(gc.get_objects()) - objects < self.STEPS / 4
        assert _resident_bytes() - resident < 32 << 20

    def test_of_training(self):
        """Steps with exceptions amid them, gradients of gradients, checkpoints, and names bound anew."""
        w, b = mx.nd.ones((32, 32)), mx.nd.zeros((32,))
        momentum = mx.nd.zeros((32, 32))
        w.attach_grad()
        b.attach_grad("add")

        def layer(x):
            return mx.nd.Dropout(mx.nd.tanh(mx.nd.FullyConnected(x, w, b, num_hidden=32)), 0.1)

        def step():
            nonlocal b
            x = mx.nd.random.normal(shape=(8, 32))
            x.attach_grad()
            with mx.autograd.record():
                y = mx.autograd.checkpoint(layer, layer(x))
                loss = mx.nd.mean(y * y)
                (slope,) = mx.autograd.grad(loss, [x], create_graph=True)
                loss = loss + mx.nd.sum(slope * slope)
            with pytest.raises(mx.MXNetError), mx.autograd.record():
                mx.nd.dot(layer(x), mx.nd.ones((3,)))
            with pytest.raises(mx.MXNetError), mx.autograd.record():
                mx.autograd.checkpoint(lambda a: mx.nd.dot(layer(a), mx.nd.ones((3,))), x)
            loss.backward()
            mx.nd.sgd_mom_update(w, w.grad, momentum, lr=0.1, momentum=0.9, out=w)
            b = b - 0.1 * b.grad
            b.attach_grad("add")

        self.assert_steady(step)

    @pytest.mark.once
    def test_of_large_arrays(self):
        """Whose launches wait to be merged."""
        w = mx.nd.ones((1 << 15,))
        w.attach_grad()

        def step():
            with mx.autograd.record():
                y = mx.nd.sigmoid(w) * mx.nd.exp(-w) + 1
            y.backward()
            w[:] = w - w.grad

        self.assert_steady(step)

    @pytest.mark.once
    def test_of_ever_other_shapes(self, monkeypatch):
        """Plans are forgotten, and pooled memory of sizes that do not come again is given back."""
        monkeypatch.setattr(memory.stream, "LAUNCHES_IN_FLIGHT", 32)
        monkeypatch.setattr(pool, "SPARE", 1 << 16)
        stream = memory.current_stream(current_context().device)
        monkeypatch.setattr(stream, "_round", 32)
        monkeypatch.setattr(stream.plans, "limit", 100)
        stream.plans.clear()  # forgets what others have kept there
        mx.empty_cache()
        mx.reset_peak()
        in_use, pooled = mx.memory_stats(by_op=False).in_use, mx.memory_stats(by_op=False).pooled
        sizes = range(1000, 60_000, 300)
        for size in sizes:
            arrays = [mx.nd.full((size,), 3) for _ in range(20)]
            del arrays
            assert len(stream.plans) <= 100
        stats = mx.memory_stats(by_op=False)
        assert stats.in_use == in_use
        # what the rule leaves, and what a round of launches may bring
        assert stats.pooled - pooled < 2 * stats.peak + (1 << 16) + 32 * 4 * sizes[-1]

    def test_of_threads(self):
        """A thread's queue, pool and plans go when it ends; what it has made stays."""
        w = mx.nd.ones((200, 200))
        w.attach_grad()
        made = []

        def work():
            with mx.autograd.record():
                y = mx.nd.sin(mx.nd.relu(mx.nd.exp(w)) * 2)
            y.backward()
            made.append(mx.nd.sum(mx.nd.dot(y, y)) * 0 + 5)
            mx.nd.exp(w)  # waits, for nobody

        before = len(memory.all_streams())
        for _ in range(4):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert len(memory.all_streams()) == before + 4, "those that what they have made lives in"
        assert [a.asscalar() for a in made] == [5] * 4
        made.clear()
        del thread
        w.attach_grad()  # its gradient lives in one, too
        assert len(memory.all_streams()) == before


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux
        return 0


def test_waitall_waits_for_every_stream():
    mx.nd.ones((10,))
    mx.nd.waitall()
    assert memory.current_stream(current_context().device) in memory.all_streams()


def test_an_output_that_is_also_an_input():
    """Kernels that read other positions than they write would read their own results."""
    host = np.arange(12, dtype="float32").reshape(3, 4)
    x = mx.nd.array(host)
    mx.nd.dot(x, mx.nd.eye(4) * 2, out=x)
    np.testing.assert_array_equal(x.asnumpy(), host * 2)
    x = mx.nd.array(host)
    mx.nd.add(x[0:2], 1, out=x[1:3])
    np.testing.assert_array_equal(x.asnumpy(), np.concatenate([host[:1], host[:2] + 1]))
    x = mx.nd.array(host)
    x += x
    np.testing.assert_array_equal(x.asnumpy(), host * 2)
    x = mx.nd.array(host)
    x[1:] = x[:-1]
    np.testing.assert_array_equal(x.asnumpy(), host[[0, 0, 1]])
    x = mx.nd.array(host[:, :3])
    x[:] = x.T
    np.testing.assert_array_equal(x.asnumpy(), host[:, :3].T)


def test_rows_beside_each_other_do_not_overlap():
    """An op from some rows of an array to others needs no copy, and is right at their borders."""
    x = mx.nd.array(np.arange(12).reshape(4, 3))
    first, second, both = x[0:2]._view, x[2:4]._view, x[1:3]._view
    assert not first.overlaps(second)
    assert not second.overlaps(first)
    assert first.overlaps(both)
    assert both.overlaps(second)
    assert not first.reshaped((0, 3), 3).overlaps(first)
    mx.nd.dot(x[0:2], mx.nd.eye(3) * 2, out=x[2:4])
    np.testing.assert_array_equal(x.asnumpy()[2:], 2 * np.arange(6).reshape(2, 3))
    mx.nd.dot(x[0:2], mx.nd.eye(3) * 2, out=x[1:3])
    np.testing.assert_array_equal(x.asnumpy()[1:3], 2 * np.arange(6).reshape(2, 3))


def test_a_program_ends_quietly_while_launches_wait():
    program = "import clgrad as mx; y = mx.nd.exp(mx.nd.zeros((300, 200)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
