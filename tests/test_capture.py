"""Captured functions: the same as without capture, at every call."""

import gc
import threading

import numpy as np
import pytest
from capture_harness import replayed, several

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import CaptureError


def test_results_are_new_arrays_at_each_call():
    double = mx.capture(lambda x: x * 2)
    results = [double(nd.full((3,), i)) for i in range(6)]
    assert [float(r[0].asscalar()) for r in results] == [0, 2, 4, 6, 8, 10]
    results[-1][:] = 7
    assert float(double(nd.ones(3))[0].asscalar()) == 2


def test_arguments_that_are_handed_back_and_views():
    def f(x, y):
        y[1:2] = x[0]
        return x, x[1:], y.reshape((-1,)), 3, None, "text"

    def calls():
        return [(nd.array([i, i + 1]), nd.zeros((2, 1))) for i in range(4)]

    plain, caught = several(f, calls)
    for a, b in zip(plain, caught, strict=True):
        assert b[3:] == a[3:]
        for left, right in zip(a[:3], b[:3], strict=True):
            np.testing.assert_array_equal(left.asnumpy(), right.asnumpy())


def test_arguments_that_share_memory():
    """One argument may be a part of another, or the same one."""

    def f(x, y):
        y += 1
        return x * y

    def calls():
        whole, other = nd.array([1, 2, 3]), nd.array([1, 2, 3])
        return [(whole, whole[1:2])] * 4 + [(other, nd.ones(1))] * 4

    plain, caught = several(f, calls)
    for a, b in zip(plain, caught, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())


def test_an_argument_that_the_function_reaches_by_itself():
    held = nd.array([1, 2, 3])

    def f(x):
        held[:] = held * 2
        return x + held

    captured = mx.capture(f)
    for expected in (4, 8, 16, 32):
        assert captured(held).asnumpy()[0] == expected
    for expected in (33, 65, 129, 257):
        assert captured(nd.ones(3)).asnumpy()[0] == expected
    assert captured(held).asnumpy()[0] == 2 * held.asnumpy()[0]


def test_an_argument_that_turns_out_to_be_reached():
    """A recording of other arguments, whose launches were merged, does not fit it."""
    held = nd.array([1, 2, 3])

    def f(x):
        nd.multiply(held, 2, out=held)
        return x + held

    captured = mx.capture(f)
    for expected in (3, 5, 9, 17):
        assert captured(nd.ones(3)).asnumpy()[0] == expected
    for expected in (64, 128, 256, 512):
        assert captured(held).asnumpy()[0] == expected


@pytest.mark.parametrize("fuse", [False, True])
def test_results_that_are_written_over_what_they_are_made_of(rng, fuse):
    """In place where an op can, and else beside it, to be copied."""
    w = nd.array(rng.standard_normal((4, 4)))
    w[:] = nd.dot(w, w) / 8
    start = w.asnumpy()

    def f(x):
        nd.elemwise_add(w[:3], x[1:], out=w[1:])
        nd.dot(w, x, out=w)
        nd.softmax(w, axis=0, out=w)
        return w * 1

    def calls():
        w[:] = nd.array(start)
        return [(nd.array(start + i),) for i in range(5)]

    plain, caught = several(f, calls, fuse)
    for a, b in zip(plain, caught, strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-5)


def test_gradients_of_arguments():
    def f(x):
        with autograd.record():
            y = x * x * x
        y.backward()
        return y

    captured = mx.capture(f)
    for request in ("write", "add", "null"):
        x = nd.array([1, 2])
        x.attach_grad(request)
        for number in range(1, 5):
            captured(x)
            if request != "null":
                times = number if request == "add" else 1
                np.testing.assert_array_equal(x.grad.asnumpy(), [3 * times, 12 * times])


def test_eager_work_in_between(rng):
    """Which exchanges the memory of a gradient that replays have written to."""
    w = nd.array(rng.standard_normal((4, 4)))
    w.attach_grad()

    def f(x):
        with autograd.record():
            y = nd.dot(x, w)
        y.backward()

    captured = mx.capture(f)
    for number in range(8):
        x = nd.array(rng.standard_normal((2, 4)))
        (captured if number % 3 else f)(x)
        np.testing.assert_allclose(
            w.grad.asnumpy(), np.broadcast_to(x.asnumpy().sum(0)[:, None], (4, 4)), rtol=1e-5
        )


@pytest.mark.once
def test_host_functions_are_given_numbers_and_no_arrays():
    def f(x, rate):
        half = mx.host(lambda r, more: {"half": r / more[0]}, rate, [2])
        return x * mx.host(round, half["half"] + rate)

    rates = [2.0, 2.0, 2.0, 4.0, 6.0]
    plain, caught = several(f, lambda: [(nd.ones(1), r) for r in rates])
    assert [a.asscalar() for a in caught] == [a.asscalar() for a in plain] == [3, 3, 3, 6, 9]
    count, inner = nd.zeros(1), mx.capture(lambda: count + 1)
    inner(), inner()
    for function in (lambda: count.__iadd__(1) and None, inner, count.asscalar, lambda: nd.array([1])):
        captured = mx.capture(lambda: mx.host(function))  # noqa: B023
        with pytest.raises(CaptureError, match=r"handed to clgrad\.host works on arrays"):
            captured()


def test_host_work_is_done_at_each_call():
    counts = {"steps": 0}

    def count():
        counts["steps"] += 1
        return {"rate": 1 / counts["steps"], "step": counts["steps"]}

    def f(x):
        state = mx.host(count)
        return x * state["rate"] if state["step"] % 4 else x * 0

    captured = mx.capture(f)
    got = [captured(nd.ones(1)).asscalar() for _ in range(9)]
    np.testing.assert_allclose(got, [1, 1 / 2, 1 / 3, 0, 1 / 5, 1 / 6, 1 / 7, 0, 1 / 9], rtol=1e-6)
    assert counts["steps"] == 9


@pytest.mark.once
def test_host_functions_write_to_the_containers_that_they_are_given():
    log, rates = [], {"rate": 0.0}

    def note(log, rates, given):
        log.append(given["x"])
        rates["rate"] += 1

    def f(x, rate):
        mx.host(note, log, rates, {"x": rate})
        return x * rate

    captured = mx.capture(f)
    for i in range(5):
        assert captured(nd.ones(1), float(i)).asscalar() == i
    assert log == [0, 1, 2, 3, 4]
    assert rates == {"rate": 5}


def test_random_numbers_are_those_of_the_function_itself():
    def f(x):
        return nd.random.uniform(shape=(3,)) + nd.random.normal(shape=(3,)) * x

    def calls():
        mx.random.seed(3)
        return [(nd.ones(3),)] * 5

    plain, caught = several(f, calls)
    for a, b in zip(plain, caught, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    assert len({a.asnumpy().tobytes() for a in caught}) == 5


def test_captured_functions_within_each_other():
    inner = mx.capture(lambda x: x + 1)
    outer = mx.capture(lambda x: inner(x) * 2)
    assert [outer(nd.ones(1)).asscalar() for _ in range(4)] == [4] * 4
    assert not replayed(inner)


def test_versions_count_what_replays_write():
    w, x = nd.ones(2), nd.ones(2)
    x.attach_grad()
    captured = mx.capture(lambda: w.__iadd__(1))
    for _ in range(3):
        captured()
    with autograd.record():
        y = x * w
    captured()
    with pytest.raises(mx.MXNetError, match="written in place"):
        y.backward()


def test_threads_have_recordings_of_their_own():
    captured = mx.capture(lambda x: x * 3)
    failures = []

    def work(number):
        for _ in range(6):
            if captured(nd.full(2, number)).asnumpy()[0] != 3 * number:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_launches_do_not_wait_while_they_are_recorded():
    def f(x):
        with mx.engine.bulk(10):
            y = nd.exp(x) * 2
        return y + 1

    x = nd.ones((200, 200))
    captured = mx.capture(f)
    for number in range(4):
        np.testing.assert_allclose(captured(x * number).asnumpy(), f(x * number).asnumpy(), rtol=1e-6)


def test_memory_does_not_grow_and_is_given_back():
    captured = mx.capture(lambda x: nd.dot(nd.tanh(x), x).sum())
    x = nd.ones((64, 64))
    for _ in range(4):
        captured(x)
    gc.collect()
    before = mx.memory_stats()["in_use"]
    for _ in range(200):
        captured(x)
    assert mx.memory_stats()["in_use"] == before
    captured.clear()
    gc.collect()
    assert mx.memory_stats()["in_use"] < before


def test_methods_can_be_captured():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @mx.capture
        def __call__(self, x):
            return x * self.scale

    one, other = Model(2), Model(3)
    for _ in range(4):
        assert one(nd.ones(1)).asscalar() == 2
        assert other(nd.ones(1)).asscalar() == 3


def test_show_prints_both_graphs(capsys):
    f = mx.capture(lambda x: (nd.exp(x) + 1).sum(axis=1))
    mx.graph.show(f)
    assert capsys.readouterr().out == "nothing is replayed yet\n"
    for _ in range(3):
        f(nd.ones((4, 8)))
    mx.graph.show(f)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["recording", "1", "recorded", "runs"]
    assert lines[1].split()[-2:] == ["3", "1"]
    assert lines[-1].split("->")[1].strip() == "y0 (4,) float32"
    with pytest.raises(mx.MXNetError, match=r"graph\.show: step is int"):
        mx.graph.show(3)


@pytest.mark.parametrize("fuse", [False, True])
def test_kernels_with_scratch_memory_beside_other_arrays(rng, fuse):
    """Sums along columns, as in gradients of LayerNorm, take several launches with an array in between."""
    x = nd.array(rng.standard_normal((64, 48)))
    parameters = [nd.ones(48), nd.zeros(48), nd.array(rng.standard_normal((48, 48)))]
    for parameter in parameters:
        parameter.attach_grad()

    def f(x):
        with autograd.record():
            for _ in range(3):
                x = nd.tanh(nd.dot(nd.LayerNorm(x, *parameters[:2]), parameters[2]))
        x.backward()
        return x

    plain = [f(x).asnumpy(), *[p.grad.asnumpy() for p in parameters]]
    captured = mx.capture(f, fuse=fuse)
    for _ in range(4):
        result = captured(x)
    assert any(step.scratch_layouts for step in _plans(captured))
    for a, b in zip(plain, [result, *[p.grad for p in parameters]], strict=True):
        np.testing.assert_allclose(a, b.asnumpy(), rtol=1e-5, atol=1e-5 if fuse else 0)


def _plans(captured) -> list:
    return [i.plan for _, graph in captured.graphs() for i in graph.instructions if hasattr(i, "plan")]


def test_a_gradient_as_an_argument_beside_its_array():
    """One block fewer than where the second argument is another array."""
    x, y = nd.ones(3), nd.full(3, 5)
    x.attach_grad()
    for recorded, other in ((y, x.grad), (x.grad, y)):
        captured = mx.capture(lambda a, b: a * 2 + b * 3)
        for _ in range(4):
            captured(x, recorded)
        assert replayed(captured) == 1
        for second in (other, recorded):
            np.testing.assert_array_equal(captured(x, second).asnumpy(), 2 + 3 * second.asnumpy())
