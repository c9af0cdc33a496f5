"""Device memory: streams, pools, limits, threads."""

import gc
import threading
import weakref

import numpy as np
import pytest

import clgrad as mx
from clgrad import memory
from clgrad.device import current_context
from clgrad.errors import DeviceMemoryError

FLOAT = np.dtype("float32")


def test_layouts_are_interned():
    """Plans are looked up by layout identity: two objects for one layout would plan twice."""
    assert memory.Layout((2, 3), FLOAT) is memory.Layout((2, 3), FLOAT)
    assert memory.Layout((2, 3), FLOAT) is not memory.Layout((3, 2), FLOAT)
    assert tuple(memory.Layout((2, 3), FLOAT)) == ((2, 3), FLOAT)


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


def test_work_in_flight_is_bounded():
    """A queue that is never waited for grows without limit, and some drivers reset after seconds."""
    stream = memory.current_stream(current_context().device)
    waits = []

    class Marker:
        def wait(self):
            waits.append(1)

    stream._marker, stream._launches = Marker(), 0
    x = mx.nd.ones((1,))
    for _ in range(memory.LAUNCHES_IN_FLIGHT + 1):
        x = x + 0
    assert waits == [1]


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
