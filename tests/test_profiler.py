"""The profiler: what it sees, in threads as well, and what it leaves behind."""

import os
import threading

import numpy as np
import pyopencl as cl
import pytest

import clgrad as mx
from clgrad import memory, profiler
from clgrad.device import current_context
from clgrad.errors import MXNetError, OperatorError
from clgrad.profiler import streams
from clgrad.profiler.streams import StreamLog
from clgrad.ranges import Range

LARGE = (128, 256)  # from here on, elementwise launches wait to be merged


def is_profiling(stream) -> bool:
    return bool(stream._queue.properties & cl.command_queue_properties.PROFILING_ENABLE)


def ops_of(p) -> list[str]:
    return [launch.op for launch in p.launches]


# What it sees


def test_every_launch_once_with_its_work():
    """The bytes are those of the arrays, each once, and a product's operations are counted."""
    a, b = mx.nd.ones((8, 16)), mx.nd.ones((4, 16))
    with profiler.profile() as p:
        c = mx.nd.dot(a, b, transpose_b=True)
        d = c * c
        d += 1
        host = mx.nd.array(np.ones((2, 3), np.float32))
        host.asnumpy()
        d.copyto(mx.nd.empty((8, 4)))
    seen = [(x.op, x.nbytes, x.flops) for x in p.launches if not x.kernel.endswith(("_pack", "_sum"))]
    assert seen == [
        ("dot", 4 * (8 * 16 + 4 * 16 + 8 * 4), 2 * 8 * 4 * 16),
        ("multiply", 4 * 2 * 8 * 4, 0),
        ("add", 4 * 2 * 8 * 4, 0),
        ("upload", 24, 0),
        ("download", 24, 0),
        ("identity", 4 * 2 * 8 * 4, 0),
    ]
    assert p.launches[-4].shapes == "float32 (8, 4) -> float32 (8, 4)"


@pytest.mark.parametrize(
    ("call", "elements"),
    [
        (lambda x: x + x, 2 * 1024),  # an argument twice is read once
        (lambda x: x + x[:1].copy(), 2 * 1024 + 32),  # broadcast: read once
        (lambda x: mx.nd.slice_axis(x, axis=1, begin=0, end=4), 2 * 32 * 4),  # a part of the array
        (lambda x: mx.nd.take(x, mx.nd.array([1, 2])), 2 * 2 * 32 + 2),
        (lambda x: mx.nd.broadcast_to(x[:1].copy(), (32, 32)), 32 + 1024),
    ],
    ids=["twice", "broadcast", "slice", "take", "broadcast_to"],
)
@pytest.mark.once
def test_bytes_are_those_touched(call, elements):
    """Counted by the whole of an array that is read in part, a kernel would beat every limit."""
    x = mx.nd.ones((32, 32))
    with profiler.profile() as p:
        call(x)
    assert p.launches[-1].nbytes == 4 * elements


@pytest.mark.parametrize("shape", [(4, 4), LARGE], ids=["at once", "waiting"])
def test_gradients_and_updates_are_named(shape):
    """A launch of backward says whose gradient it is, and lies in that phase."""
    x, w = mx.nd.ones(shape), mx.nd.ones(shape)
    w.attach_grad()
    with profiler.profile() as p:
        with mx.autograd.record():
            y = mx.nd.sigmoid(x * w)
        y.backward()
        mx.nd.sgd_update(w, w.grad, lr=0.1, out=w)
        mx.nd.waitall()
    backward = [launch.op for launch in p.launches if launch.scope == "backward"]
    assert any(op.startswith("gradient of") and "sigmoid" in op for op in backward)
    assert ops_of(p)[-1] == "sgd_update"
    assert [r.name for r in p.ranges if r.category == "phase"] == ["backward"]


def test_merged_launches_name_their_ops_where_they_were_called():
    """They are enqueued later, in another scope, by whatever needs a result."""
    x = mx.nd.ones(LARGE)

    def call():
        with profiler.scope("early"):
            y = mx.nd.sigmoid(x) * 2
        with profiler.scope("late"):
            return y.asnumpy()

    for _ in range(4):  # until the kernel of the sequence is made
        expected = call()
    with profiler.profile() as p:
        result = call()
    np.testing.assert_array_equal(result, expected)
    assert [(launch.op, launch.scope) for launch in p.launches] == [
        ("sigmoid, multiply", "early"),
        ("download", "late"),
    ]


@pytest.mark.parametrize("end", [lambda: None, mx.engine.flush], ids=["exit", "flush"])
def test_what_waits_alone_is_seen(end):
    """Nothing but the end of the profile, or a call that is no op, has it enqueued."""
    x = mx.nd.ones(LARGE)
    with profiler.profile() as p:
        y = mx.nd.exp(x)
        end()
    assert ops_of(p) == ["exp"]
    assert p.untimed == 0
    np.testing.assert_allclose(y.asnumpy(), np.exp(np.ones(LARGE)), rtol=1e-5)


def test_times_are_in_order():
    """Each launch in itself, one after the other, and the device's clock laid over the host's."""
    x = mx.nd.ones((64, 64))
    with profiler.profile() as p:
        for _ in range(50):
            x = mx.nd.dot(x, x) / 64
        x.wait_to_read()
    assert len(p.launches) >= 100
    slack = 100_000_000  # two clocks are read one after the other, and other programs may run in between
    before = 0
    for launch in p.launches:
        assert launch.begun <= launch.enqueued
        assert launch.queued <= launch.submitted <= launch.started <= launch.ended
        assert before <= launch.started, "launches of one queue overlap"
        assert launch.begun <= launch.started + slack
        assert launch.ended <= p.duration + slack
        before = launch.ended
    (idleness,) = p.idleness.values()
    assert sum(launch.duration for launch in p.launches) == pytest.approx(idleness.busy, abs=1000)


def test_memory_in_use_is_seen():
    with profiler.profile() as p:
        x = mx.nd.ones((1000, 1000))
        (mx.nd.ones((2,)) + 1).wait_to_read()
        del x
        (mx.nd.ones((2,)) + 1).wait_to_read()
    in_use = [launch.memory for launch in p.launches]
    assert max(in_use) - in_use[-1] >= 4_000_000


@pytest.mark.once
def test_blocks_and_phases_are_scopes():
    """A net's launches lie in its layers, those of the rest in backward and the trainer's step."""
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(4, in_units=3), mx.gluon.nn.Dense(2, in_units=4))
    net.initialize()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd")
    x = mx.nd.ones((5, 3))
    with profiler.profile() as p:
        with mx.autograd.record():
            loss = net(x).sum()
        loss.backward()
        trainer.step(5)
    scopes = list(dict.fromkeys(launch.scope for launch in p.launches))
    assert scopes == ["net/net_dense0", "net/net_dense1", "", "backward", "Trainer.step"]


@pytest.mark.parametrize("fuse", [False, True])
def test_replays_are_seen(fuse):
    """A captured function's launches come without Python, and have their names all the same."""
    step = mx.capture(lambda x: mx.nd.dot(x, x).exp().sum() + mx.nd.log(x).sum(), fuse=fuse)
    x = mx.nd.ones((16, 16))
    expected = step(x).asnumpy()
    for _ in range(2):  # from the third call on, it is replayed
        step(x)
    with profiler.profile() as p:
        result = step(x)
    np.testing.assert_allclose(result.asnumpy(), expected, rtol=1e-5)
    named = {op for launch in p.launches for op in launch.op.split(", ")}
    assert {"dot", "exp", "log", "sum", "add"} <= named
    assert sum(launch.flops for launch in p.launches) == 2 * 16**3


@pytest.mark.once
def test_scopes_nest_and_close():
    """Names are joined; a range that was forgotten ends with the one around it."""
    with profiler.profile() as p:
        with profiler.scope("outer"):
            forgotten = profiler.scope("forgotten")
            forgotten.__enter__()
            mx.nd.ones((2,))
        mx.nd.ones((2,))
        with pytest.raises(ZeroDivisionError), profiler.scope("fails"):
            raise ZeroDivisionError
        forgotten.__exit__(None, None, None)
        mx.nd.ones((2,))
    assert [launch.scope for launch in p.launches] == ["outer/forgotten", "", ""]
    names = [(r.name, r.depth) for r in p.ranges if r.category == "scope"]
    assert names == [("outer", 0), ("forgotten", 1), ("fails", 0)]
    outer, inner = p.ranges[:2]
    assert outer.started <= inner.started <= inner.ended <= outer.ended


@pytest.mark.once
def test_a_scope_that_is_left_open_ends_with_the_profile():
    left = profiler.scope("left open")
    with profiler.profile() as p:
        left.__enter__()
    left.__exit__(None, None, None)
    assert [r.name for r in p.ranges] == ["left open"]
    assert p.ranges[0].ended <= p.duration


@pytest.mark.once
def test_scopes_decorate_functions_that_recur():
    @profiler.scope("f")
    def f(n):
        return 1 if n == 0 else n * f(n - 1)

    assert f.__name__ == "f"
    with profiler.profile() as p:
        assert f(3) == 6
    assert [r.depth for r in p.ranges] == [0, 1, 2, 3]


@pytest.mark.once
def test_scopes_have_names():
    with pytest.raises(OperatorError, match=r"profiler.scope: name is 3; accepted: a string"):
        profiler.scope(3)


# Threads


def test_threads_have_queues_and_scopes_of_their_own(stream):
    """A stream that was open before, and one that is opened meanwhile; each goes back to its queue."""
    ready, go, done = threading.Event(), threading.Event(), threading.Event()
    found = {}

    def work():
        mx.nd.ones((3,)).wait_to_read()
        found["stream"] = memory.current_stream(current_context().device)
        found["queue"] = found["stream"]._queue
        ready.set()
        go.wait()
        with profiler.scope("worker"):
            mx.nd.ones((5,)).wait_to_read()
        done.set()
        go.clear()
        go.wait()
        mx.nd.ones((3,)).wait_to_read()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    ready.wait()
    with profiler.profile() as p, profiler.scope("main"):
        go.set()
        mx.nd.ones((4,)).wait_to_read()
        done.wait()
        late = threading.Thread(target=lambda: mx.nd.ones((6,)).wait_to_read())
        late.start()
        late.join()
    assert found["stream"].observer is not None, "another thread must not exchange the queue"
    while go.is_set():
        pass
    go.set()
    thread.join()
    assert found["stream"].observer is None
    assert found["stream"]._queue is found["queue"]
    assert {(launch.shapes, launch.scope) for launch in p.launches} == {
        ("-> float32 (4,)", "main"),
        ("-> float32 (5,)", "worker"),
        ("-> float32 (6,)", ""),
    }
    assert len({launch.thread for launch in p.launches}) == 3
    assert p.threads[thread.ident] == "worker"


def test_profiles_come_and_go_while_others_compute(stream):
    """Were a queue exchanged between a launch and the next, the next could overtake it."""
    results, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            x = mx.nd.ones((300, 300))
            for _ in range(10):
                x = mx.nd.dot(x, x) / 300 + mx.nd.zeros((300, 300))
            results.append(bool((x.asnumpy() == 1).all()))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    seen = 0
    try:
        while seen < 100:
            with profiler.profile() as p:
                mx.nd.ones((2,)).wait_to_read()
            seen += len(p.launches)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert results
    assert all(results)
    assert not is_profiling(stream)


# What it leaves behind


def test_with_no_profile_nothing_is_noted(stream):
    """Neither events, nor ranges, nor a queue that is slower."""
    with profiler.scope("unseen"):
        mx.nd.ones((2,)).wait_to_read()
    assert stream.observer is None
    assert Range.recorder is None
    assert not is_profiling(stream)
    with profiler.profile() as p:
        pass
    assert p.launches == []
    assert p.ranges == []


def test_errors_leave_the_stream_as_it_was(stream):
    queue = stream._queue

    def fail():
        with p:
            mx.nd.ones((2, 3)).wait_to_read()
            assert is_profiling(stream)
            assert stream._queue is not queue
            mx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((2, 3)))

    p = profiler.profile()
    with pytest.raises(OperatorError, match="dot"):
        fail()
    assert stream._queue is queue
    assert stream.observer is None
    assert len(p.launches) == 3
    assert profiler.session.current() is None


@pytest.mark.once
def test_an_interrupt_while_events_are_read_leaves_nothing_behind(stream, monkeypatch):
    """The device may take long, and somebody press Ctrl-C."""

    def interrupted(self):
        raise KeyboardInterrupt

    queue = stream._queue
    p = profiler.profile()
    p.start()
    mx.nd.ones((2, 3))
    monkeypatch.setattr(StreamLog, "gather", interrupted)
    with pytest.raises(KeyboardInterrupt):
        p.stop()
    assert profiler.session.current() is None
    assert stream.observer is None
    assert stream._queue is queue


@pytest.mark.once
def test_a_driver_without_such_queues_is_no_error(stream, monkeypatch):
    """The program runs; its launches have no times."""

    def refuse(queue):
        raise cl.LogicError("INVALID_QUEUE_PROPERTIES")

    monkeypatch.setattr("clgrad.profiler.clock.read", refuse)
    with profiler.profile() as p:
        result = mx.nd.ones((2, 3)) + 1
    assert (result.asnumpy() == 2).all()
    assert p.untimed == 2
    assert "2 launches have no times" in str(p)


def test_what_waits_at_either_end_is_launched_once(stream):
    """The queue is exchanged after what waits was enqueued to the old one, or before it is to the new."""
    x = mx.nd.ones(LARGE)
    x.wait_to_read()
    y = x + 1
    with profiler.profile():
        z = y * 2
        mx.nd.ones((2,)).wait_to_read()
        w = z + 3
    np.testing.assert_array_equal(w.asnumpy(), np.full(LARGE, 7, np.float32))
    assert not is_profiling(stream)


@pytest.mark.once
def test_one_profile_at_a_time():
    """Two would take the queue from each other; the first one goes on."""
    with profiler.profile() as p:
        with pytest.raises(MXNetError, match="a profile is on already"), profiler.profile():
            pass
        mx.nd.ones((2,))
    assert len(p.launches) == 1
    with pytest.raises(MXNetError, match="has been on before"), p:
        pass


@pytest.mark.once
def test_profiles_check_their_arguments():
    with pytest.raises(OperatorError, match=r"profiler.profile: timeline is -1; accepted"):
        profiler.profile(timeline=-1)


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_no_profile():
    with profiler.profile():
        mx.nd.ones((2,)).wait_to_read()
        child = os.fork()
        if child == 0:
            os._exit(0 if profiler.session.current() is None and Range.recorder is None else 1)
        _, status = os.waitpid(child, 0)
    assert status == 0


def test_long_runs_are_counted_whole_in_bounded_memory(monkeypatch):
    """Events are read in rounds; single times are kept for the first launches only."""
    monkeypatch.setattr(streams, "ROUND", 32)
    x = mx.nd.ones((2,))
    with profiler.profile(timeline=20) as p:
        for _ in range(300):
            x = mx.nd.sqrt(x)
            assert all(len(log._pending) < 32 for log in p._logs)
    (kind,) = p.kinds
    assert (kind.work.op, kind.count) == ("sqrt", 300)
    assert len(p.launches) == 20
    assert p.left_out == 280
    assert "no room for 280" in str(p)


@pytest.mark.once
def test_paused_time_is_not_seen():
    with profiler.profile() as p:
        mx.nd.ones((2,))
        p.pause()
        with profiler.scope("unseen"):
            mx.nd.ones((3,))
        p.resume()
        mx.nd.ones((4,))
    assert [launch.shapes for launch in p.launches] == ["-> float32 (2,)", "-> float32 (4,)"]
    assert p.ranges == []
    (idleness,) = p.idleness.values()
    assert idleness.host == idleness.latency == 0


@pytest.mark.once
def test_launches_without_times_are_counted_apart(stream):
    """A driver may fail to give them; the rest of the report stands."""

    class Broken:
        def wait(self):
            raise cl.LogicError("no event")

        def get_profiling_info(self, what):
            raise cl.LogicError("no event")

    with profiler.profile() as p:
        x = mx.nd.ones((2,))
        stream.observer.copied(stream, "copy", x._view, Broken())
    assert ops_of(p) == ["full"]
    assert p.untimed == 1
    assert "1 launches have no times" in str(p)
