"""What memory is used for, and what happens where there is none left."""

import doctest
import gc
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import clgrad as mx
from clgrad import memory
from clgrad.device import current_context
from clgrad.errors import DeviceMemoryError
from clgrad.pool import pools_on

#: Elements of an array of 1 MiB.
MEBI = 1 << 18


@pytest.fixture
def leave(monkeypatch, ctx):
    """Let the device have room for so many bytes more than are in use."""

    def limit(nbytes: int) -> None:
        gc.collect()
        mx.empty_cache()
        mx.reset_peak()
        reserved = sum(stream.bytes_reserved for stream in pools_on(ctx.device))
        monkeypatch.setattr(
            ctx.device, "capabilities", replace(ctx.device.capabilities, global_memory=reserved + nbytes)
        )

    mx.nd.ones((1,))  # there is a stream
    return limit


@pytest.mark.once
def test_the_guide_is_right():
    results = doctest.testfile(str(Path(__file__).parents[1] / "docs" / "memory.md"), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0


@pytest.mark.once
class TestStatistics:
    def test_bytes_buffers_and_ops(self):
        before = mx.memory_stats()
        x = mx.nd.array(np.ones((64, 64)))
        products = [mx.nd.dot(x, x) for _ in range(3)]
        after = mx.memory_stats()
        assert after.in_use - before.in_use == 4 * 64 * 64 * 4
        assert after.buffers - before.buffers == 4
        count, nbytes = before.by_op.get("dot", (0, 0))
        assert after.by_op["dot"] == (count + 3, nbytes + 3 * 64 * 64 * 4)
        del products[1:]
        assert mx.memory_stats().by_op["dot"] == (count + 1, nbytes + 64 * 64 * 4)

    def test_all_buffers_are_some_op_s(self):
        """Memory by op is found among Python's objects, the total is counted by the pool."""
        stats = mx.memory_stats()
        assert sum(nbytes for _, nbytes in stats.by_op.values()) == stats.in_use
        assert sum(count for count, _ in stats.by_op.values()) == stats.buffers

    def test_gradients_are_of_the_op_that_made_them(self):
        """The memory of a gradient is handed to the variable, not copied."""
        w = mx.nd.ones((64, 64))
        w.attach_grad()
        with mx.autograd.record():
            y = mx.nd.exp(w)
        before = mx.memory_stats().by_op.get("gradient of exp", (0, 0))
        y.backward()
        count, nbytes = mx.memory_stats().by_op["gradient of exp"]
        assert (count - before[0], nbytes - before[1]) == (1, 64 * 64 * 4)

    def test_peak(self):
        mx.reset_peak()
        low = mx.memory_stats().peak
        x = mx.nd.ones((MEBI,))
        y = mx.nd.ones((MEBI,))
        del x, y
        z = mx.nd.ones((MEBI,))
        stats = mx.memory_stats()
        assert stats.peak - low == 2 * 4 * MEBI
        del z
        mx.reset_peak()
        assert mx.memory_stats().peak == mx.memory_stats().in_use

    @pytest.mark.parametrize("give_back", [mx.empty_cache, lambda: current_context().empty_cache()])
    def test_empty_cache(self, give_back):
        mx.empty_cache()
        before = mx.memory_stats().pooled
        x = mx.nd.ones((MEBI,))
        del x
        assert mx.memory_stats().pooled - before >= 4 * MEBI
        give_back()
        assert mx.memory_stats().pooled <= before

    def test_other_threads_count(self):
        gc.collect()  # of threads that earlier tests have left
        before = mx.memory_stats()
        made, done = threading.Event(), threading.Event()

        def work():
            x = mx.nd.ones((MEBI,))
            made.set()
            done.wait(60)
            del x

        thread = threading.Thread(target=work)
        thread.start()
        made.wait(60)
        during = mx.memory_stats()
        done.set()
        thread.join()
        assert during.threads == before.threads + 1
        assert during.in_use - before.in_use >= 4 * MEBI
        gc.collect()
        after = mx.memory_stats()
        assert (after.threads, after.in_use) == (before.threads, before.in_use)

    def test_reads_as_a_mapping_and_as_a_table(self):
        x = mx.nd.ones((1000,))
        stats = mx.memory_stats()
        assert dict(stats)["in_use"] == stats.in_use
        with pytest.raises(KeyError):
            stats["used"]
        assert re.search(rf"in use +{stats.in_use:,} +{stats.buffers}\n", str(stats))
        assert re.search(r"  full +[\d,]+ +\d+\n", str(stats))
        assert mx.memory_stats(by_op=False).by_op == {}
        del x
        many = replace(stats, by_op={f"op{i}": (1, 10) for i in range(22)})
        assert re.search(r"  op19 +10 +1\n  2 others +20 +2\n", str(many))

    def test_what_is_taken_counts_as_not_free(self, ctx):
        x = mx.nd.ones((MEBI,))
        (taken,) = mx.Context.taken
        assert taken(ctx.device) >= x.size * 4

    def test_limit_of_the_environment(self, monkeypatch, ctx):
        limited = ctx.device.capabilities.limited({"memory": 1 << 20})
        assert (limited.global_memory, limited.max_allocation) == (1 << 20, 1 << 20)


class TestOutOfMemory:
    def test_the_error_names_op_bytes_and_holders(self, leave):
        x = mx.nd.ones((512, 512))
        leave(1 << 18)
        with pytest.raises(
            DeviceMemoryError,
            match=r"dot: cannot allocate 1,048,576 bytes on .*: [\d,]+ bytes in use, [\d,]+ pooled, "
            r"largest single allocation [\d,]+, device memory [\d,]+ .*held by results of: .* in \d+",
        ):
            mx.nd.dot(x, x)
        small = mx.nd.dot(x[:64], x)
        np.testing.assert_array_equal(small.asnumpy(), np.full((64, 512), 512, "float32"))

    def test_pooled_memory_is_given_back_first(self, leave):
        leave(9 << 20)
        for _ in range(3):
            x = mx.nd.ones((2 * MEBI,))
            del x
            y = [mx.nd.ones((MEBI // 2,)) for _ in range(16)]
            del y

    def test_garbage_is_collected_first(self, leave):
        leave(9 << 20)
        gc.disable()
        try:
            for _ in range(4):
                cycle = [mx.nd.ones((2 * MEBI,))]
                cycle.append(cycle)
                del cycle
        finally:
            gc.enable()

    def test_what_waits_is_launched_first(self, leave):
        """What launches that wait read is held by nobody else."""
        leave(13 << 20)
        for _ in range(4):
            x = mx.nd.ones((MEBI,))
            y = x * 2
            del x
            y = mx.nd.ones((2 * MEBI,))
        assert y[0].asscalar() == 1

    def test_memory_of_other_threads_is_given_back(self, leave):
        pools = []

        def work():
            mx.nd.ones((2 * MEBI,)).wait_to_read()
            pools.append(memory.current_stream(current_context().device))

        leave(3 << 20)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert pools[0].bytes_reserved >= 2 << 20
        mx.nd.ones((2 * MEBI,)).wait_to_read()
        assert pools[0].bytes_reserved == 0

    def test_intermediates_of_merged_calls_need_no_room(self, leave):
        """Calls return before they are launched, so they must not fail then."""
        x = mx.nd.ones((2 * MEBI,))
        leave(5 << 20)
        y = mx.nd.sqrt(mx.nd.sin(mx.nd.cos(x) + 1) * 2)
        np.testing.assert_allclose(y[:2].asnumpy(), np.sqrt(np.sin(np.cos(1) + 1) * 2), 1e-6)

    def test_intermediates_that_rules_read_need_no_room(self, leave):
        x = mx.nd.full((2 * MEBI,), 0.5)
        x.attach_grad()
        with mx.autograd.record():
            leave(5 << 20)
            y = mx.nd.arcsinh(mx.nd.sinh(mx.nd.arcsinh(x)))
            z = mx.nd.sum(y)
        leave(64 << 20)
        z.backward()
        np.testing.assert_allclose(x.grad[:2].asnumpy(), 1 / np.sqrt(1 + 0.25), 1e-5)

    def test_backward_stores_all_gradients_or_none(self, leave):
        w = mx.nd.ones((512, 512))
        b = mx.nd.ones((512,))
        w.attach_grad()
        b.attach_grad("add")
        with mx.autograd.record():
            y = mx.nd.FullyConnected(w, w, b, num_hidden=512)
            z = mx.nd.sum(y * y)
        leave(1 << 19)
        with pytest.raises(DeviceMemoryError, match="cannot allocate"):
            z.backward()
        np.testing.assert_array_equal(w.grad.asnumpy(), np.zeros((512, 512)))
        np.testing.assert_array_equal(b.grad.asnumpy(), np.zeros(512))
        leave(64 << 20)
        with mx.autograd.record():
            y = mx.nd.FullyConnected(w, w, b, num_hidden=512)
            z = mx.nd.sum(y * y)
        z.backward()
        np.testing.assert_allclose(w.grad.asnumpy(), np.full((512, 512), 2 * 2 * 512 * 513.0), 1e-5)
        np.testing.assert_allclose(b.grad.asnumpy(), np.full(512, 2 * 512 * 513.0), 1e-5)

    def test_a_target_that_was_not_written_counts_no_write(self, leave):
        """The gradient would be refused, though it is right."""
        x, z = mx.nd.full((512, 512), 2), mx.nd.full((513, 512), 2)
        x.attach_grad()
        z.attach_grad()
        with mx.autograd.record():
            y = mx.nd.sum(x * x) + mx.nd.sum(z * z)
        leave(1 << 18)
        with pytest.raises(DeviceMemoryError, match="transpose: cannot allocate"):
            mx.nd.transpose(x, out=x)
        with pytest.raises(DeviceMemoryError, match="cannot allocate"):
            mx.nd.sgd_mom_update(z[:512], x, z[1:], lr=0.1, momentum=1, out=z[:512])
        leave(64 << 20)
        y.backward()
        for array in (x, z):
            np.testing.assert_array_equal(array.grad.asnumpy(), np.full(array.shape, 4))
            np.testing.assert_array_equal(array.asnumpy(), np.full(array.shape, 2))

    @pytest.mark.once
    def test_any_allocation_may_fail(self, monkeypatch):
        """In the forward pass, in what is launched later, in backward: no gradient is stored, and the next
        step is right."""
        size = 1 << 15  # launches wait to be merged
        a, b, w = mx.nd.full((64, 512), 0.5), mx.nd.full((512,), 0.25), mx.nd.ones((512, 512))
        mean, var = mx.nd.zeros((512,)), mx.nd.ones((512,))
        variables = [a, b, w]

        def layer(x):
            x = mx.nd.FullyConnected(mx.nd.tanh(x) * x + b, w, b, num_hidden=512)
            return mx.nd.BatchNorm(x / 512, b, b, mean, var, fix_gamma=False)

        def step():
            with mx.autograd.record():
                y = mx.autograd.checkpoint(layer, mx.nd.exp(a) * b)
                y = mx.nd.sigmoid(y) * mx.nd.exp(-y) + a
            y.backward()
            return y

        def restart():
            for v in variables:
                v.attach_grad("add")

        assert a.size == size
        restart()
        expected = [step(), *[v.grad for v in variables]]
        allocate = memory.Stream.allocate
        left = 0  # allocations until one fails, if it is not 0

        def failing(stream, nbytes, label=""):
            nonlocal left
            left -= 1
            if left == 0:
                raise DeviceMemoryError(f"{label}: refused")
            return allocate(stream, nbytes, label)

        monkeypatch.setattr(memory.Stream, "allocate", failing)
        refused = 0
        while True:
            restart()
            left = refused + 1
            try:
                step()
            except DeviceMemoryError:
                for v in variables:
                    assert not v.grad.asnumpy().any(), f"of {refused} allocations"
            if left > 0:
                break
            refused += 1
            restart()
            for value, wanted in zip([step(), *[v.grad for v in variables]], expected, strict=True):
                np.testing.assert_allclose(value.asnumpy(), wanted.asnumpy(), 1e-5, 1e-6)
        assert refused > 10
