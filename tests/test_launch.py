"""The quick way from a call to its launch: what it leaves to the general one, and what it leaves behind."""

import gc
import threading

import numpy as np
import pytest

from clgrad import autograd, memory, nd
from clgrad.array import stream_of
from clgrad.errors import OperatorError
from clgrad.kernels.launch import Plan
from clgrad.registry import bulk, table

SHAPE = (6, 5)


@pytest.fixture
def x(rng):
    return nd.array(rng.uniform(-2, 2, SHAPE))


def plan_of(name: str, x) -> Plan:
    """The plan of an op for arrays like x, once it has run."""
    plans = stream_of(x).plans.items()
    return next(p for key, p in plans if key[0] is table[name] and p.layouts[0] is x._view.layout)


def test_usual_calls_are_quick(x):
    y = nd.square(x)
    made = plan_of("square", x).quick(stream_of(x), [x._view], ())
    np.testing.assert_array_equal(nd.NDArray(made[0]).asnumpy(), y.asnumpy())


def test_offsets_come_and_go(x):
    """A kernel object keeps its arguments from call to call."""
    host = x.asnumpy()
    for _ in range(3):
        for part in (slice(0, 2), slice(2, 4), slice(4, 6), slice(0, 2)):
            np.testing.assert_array_equal((x[part] * x[0:2]).asnumpy(), host[part] * host[0:2])
            out = nd.zeros(SHAPE)
            nd.multiply(x[part], x[0:2], out=out[part])
            expected = np.zeros(SHAPE, "float32")
            expected[part] = host[part] * host[0:2]
            np.testing.assert_array_equal(out.asnumpy(), expected)


def test_numbers_are_set_at_each_call(x):
    host = x.asnumpy()
    for number in (1.5, -3, 0, 1e30):
        np.testing.assert_array_equal((x + number).asnumpy(), host + np.float32(number))
    whole = nd.array([1, 2], dtype="int32")
    for _ in range(3):
        np.testing.assert_array_equal((whole + 5).asnumpy(), [6, 7])
        with pytest.raises(OperatorError, match="does not fit"):
            whole + 2**40


def test_what_waits_is_launched_first(rng):
    large = nd.array(rng.uniform(1, 2, bulk.FEWEST))
    for _ in range(3):
        y = large * 3
        assert stream_of(y).waiting is not None
        small = nd.slice(y, begin=(5,), end=(9,)) + 1
        np.testing.assert_array_equal(small.asnumpy(), large.asnumpy()[5:9] * np.float32(3) + 1)


def test_arrays_of_another_thread(x):
    """They are waited for, and so is the result: memory may go back to a pool of the other's."""
    found = []

    def other():
        y = nd.exp(x)
        found.append((y, nd.exp(x) + y))

    nd.exp(x)
    for _ in range(2):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    for y, z in found:
        assert plan_of("exp", x).quick(stream_of(x), [y._view], ()) is None
        np.testing.assert_allclose((x + y).asnumpy(), x.asnumpy() + np.exp(x.asnumpy()), rtol=1e-5)
        np.testing.assert_allclose(z.asnumpy(), 2 * np.exp(x.asnumpy()), rtol=1e-5)


def test_launches_can_be_observed(x, launches):
    """Also those of plans whose quick way is there already."""
    nd.square(x)
    nd.square(x, out=x)
    assert [name for name, _ in launches] == ["square_forward_float32"] * 2


@pytest.mark.once
def test_forgotten_plans_are_freed(x):
    """Without the garbage collector: their kernels take memory."""
    stream = memory.current_stream(x._view.device)

    def plans() -> int:
        return sum(type(thing) is Plan for thing in gc.get_objects())

    stream.plans.clear()
    gc.collect()
    before = plans()
    gc.disable()
    try:
        x.attach_grad()
        for _ in range(3):
            with autograd.record():
                y = nd.sigmoid(x * 2 + x).sum()
            y.backward()
        del y
        assert plans() > before
        stream.plans.clear()
        assert plans() == before
    finally:
        gc.enable()
