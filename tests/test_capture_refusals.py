"""What captured functions refuse, in errors that name the line."""

import functools
import itertools
import random

import numpy as np
import pytest
from capture_harness import many_times, replayed

import clgrad as mx
from clgrad import autograd, memory, nd
from clgrad.device import devices
from clgrad.errors import CaptureError, OperatorError


def test_a_function_that_raises_leaves_things_as_they_were():
    def f(x, fail):
        y = x + 1
        if fail:
            raise KeyError("mine")
        return y

    captured = mx.capture(f)
    for fail in (True, False, True, False, False, True):
        if fail:
            with pytest.raises(KeyError):
                captured(nd.ones(1), fail)
        else:
            assert captured(nd.ones(1), fail).asscalar() == 2
    assert memory.current_stream(nd.ones(1).context.device).recorder is None
    assert (nd.ones(1) + 1).asscalar() == 2


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.asnumpy(),
        float,
        bool,
        print,
        lambda x: x.asscalar(),
        lambda x: nd.contrib.boolean_mask(x, x),
    ],
)
def test_reading_a_value_names_the_line(read):
    def f(x):
        y = x + 1
        read(y)
        return y

    with pytest.raises(CaptureError, match=r"test_capture_refusals\.py:\d+: .*reads a value"):
        mx.capture(f)(nd.ones(1))


@pytest.mark.once
def test_work_on_another_device_is_refused():
    contexts = [mx.Context(device.kind, device.index) for device in devices()[:2]]
    if len(contexts) < 2:
        pytest.skip("one device only")
    x, other = (nd.ones((200, 200), ctx=context) for context in contexts)

    def add():
        other[:] = other + 1

    for function in (
        lambda x: add(),
        lambda x: x * 2 + other.as_in_context(x.context),
        lambda x: other * 2,
    ):
        with pytest.raises(CaptureError, match=r"test_capture_refusals\.py:\d+: .*works on another device"):
            mx.capture(function)(x)
    with contexts[1]:
        captured = mx.capture(add)
        before = other.asnumpy()
        for _ in range(4):
            captured()
    np.testing.assert_array_equal(other.asnumpy(), before + 4)


def test_an_array_that_is_kept_names_the_line():
    kept = []

    def f(x):
        kept.append(x * 2)

    captured = mx.capture(f)
    with pytest.raises(CaptureError, match=r"test_capture_refusals\.py:\d+: .*keeps an array"):
        many_times(captured, lambda: nd.ones(1))


def test_what_is_made_at_first_is_no_error():
    """States of an optimizer, say."""
    states = {}

    def f(x):
        if "sum" not in states:
            states["sum"] = nd.zeros(1)
        states["sum"] += x
        return states["sum"] * 1

    captured = mx.capture(f)
    assert [captured(nd.ones(1)).asscalar() for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert replayed(captured)


def test_hidden_changes_are_found():
    counts = [0]

    def f(x):
        counts[0] += 1
        return x * counts[0]

    captured = mx.capture(f)
    with pytest.raises(CaptureError, match=r"something else at each call.*test_capture_refusals\.py:\d+"):
        many_times(captured, lambda: nd.ones(1))


@pytest.mark.once
def test_what_functions_on_the_host_are_given():
    """The same at each call, although made anew; or else a replay would repeat the last."""
    calls, log = itertools.count(), []

    def f(x, given):
        made = given(next(calls))
        mx.host(lambda: log.append(made[0]))
        mx.host(functools.partial(log.append, made[1]["n"][0]))
        return x * 2

    captured = mx.capture(f)
    same = lambda i: ([1.5], {"n": np.arange(2)})  # noqa: E731
    many_times(lambda x: captured(x, same), lambda: nd.ones(1))
    assert replayed(captured)
    assert log == [[1.5], 0] * 10
    for given in (lambda i: ([i], {"n": [0]}), lambda i: ([1], {"n": np.array([i])})):
        with pytest.raises(CaptureError, match=r"through clgrad\.host, or what it gives them"):
            many_times(lambda x, given=given: captured(x, given), lambda: nd.ones(1))


def test_numbers_from_the_host():
    """Constants are kept; what changes is an error."""
    table = mx.capture(lambda x: x * nd.array([1, 2, 3]))
    for number in range(4):
        np.testing.assert_array_equal(table(nd.full(3, number)).asnumpy(), [number, 2 * number, 3 * number])
    source = np.random.default_rng(0)
    captured = mx.capture(lambda x: x + nd.array(source.random(3)))
    with pytest.raises(CaptureError, match="numbers from the host"):
        many_times(captured, lambda: nd.ones(3))


def test_refusals():
    with pytest.raises(OperatorError, match="capture: function is int"):
        mx.capture(3)
    with pytest.raises(OperatorError, match="capture: variants is 0"):
        mx.capture(lambda: None, variants=0)
    with pytest.raises(CaptureError, match="numpy array"):
        mx.capture(lambda x: x)(np.ones(3))
    x = nd.ones(1)
    x.attach_grad()
    with autograd.record():
        y = x * 2

    def f(y):
        w = nd.ones(1)
        w.attach_grad()
        with autograd.record():
            z = y * w
        z.backward()

    with pytest.raises(CaptureError, match="part of a recorded graph"):
        mx.capture(f)(y)
    with pytest.raises(CaptureError, match=r"host: .* returned str"):
        mx.capture(lambda: mx.host(lambda: "text"))()


@pytest.mark.once
@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_random_numbers_of_the_host_are_refused(draw, caplog):
    """Two calls may well have done the same; functions that are handed to clgrad.host may draw."""
    captured = mx.capture(lambda x: x * 2 if draw() < 2 else x)
    with pytest.raises(CaptureError, match="draws random numbers on the host"):
        many_times(captured, lambda: nd.ones(1))
    handed = mx.capture(lambda x: nd.Dropout(x, 0.5) * mx.host(draw))
    assert len({float(handed(nd.ones(1)).asscalar()) for _ in range(6)}) == 6
    net = Drawing(draw)
    net.hybridize()
    assert [net(nd.ones(1)).asscalar() for _ in range(8)] == [2] * 8
    assert net.calls == 8  # at each call, as such nets branch
    assert "is not captured, since it draws random numbers on the host" in caplog.text


class Drawing(mx.gluon.HybridBlock):
    def __init__(self, draw):
        super().__init__()
        self.draw, self.calls = draw, 0

    def hybrid_forward(self, F, x):  # noqa: N803
        self.calls += 1
        return x * 2 if self.draw() < 2 else x


@pytest.mark.once
@pytest.mark.parametrize(
    "change", [lambda xs: xs.append(xs[0] * 2), lambda xs: xs.__setitem__(0, xs[0] * 2)]
)
def test_lists_that_are_given_must_stay(change):
    captured = mx.capture(lambda xs: change(xs) or xs[0] + 1)
    for _ in range(4):
        with pytest.raises(CaptureError, match="changes a list or a dictionary that it is given"):
            captured([nd.ones(1)])
