"""Captured functions: the same as without capture, at every call, or an error that names the line."""

import collections
import functools
import gc
import threading

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, memory, nd
from clgrad.device import devices
from clgrad.errors import CaptureError, OperatorError


def replayed(captured) -> int:
    """How many recordings a captured function has that are replayed."""
    return len(captured.graphs())


def several(function, calls, fuse=True):
    """Results of some calls without capture, and with; what they are of must be made by ``calls``."""
    plain = [function(*args) for args in calls()]
    captured = mx.capture(function, fuse=fuse)
    caught = [captured(*args) for args in calls()]
    assert replayed(captured)
    return plain, caught


def many_times(captured, argument):
    for _ in range(10):
        captured(argument())


@pytest.mark.parametrize("fuse", [False, True])
def test_a_step_of_training(rng, fuse):
    """Parameters, gradients and losses, with a learning rate that changes, and random numbers."""
    data = [rng.standard_normal((8, 5)).astype("float32") for _ in range(6)]
    weight = rng.standard_normal((3, 5)).astype("float32")

    def train(wrap):
        mx.random.seed(7)
        w, momentum = nd.array(weight), nd.zeros((3, 5))
        w.attach_grad()

        def step(x, lr):
            with autograd.record():
                h = nd.Dropout(nd.tanh(nd.FullyConnected(x, w, no_bias=True, num_hidden=3)), 0.5)
                loss = (h * h).mean(axis=1)
            loss.backward()
            nd.sgd_mom_update(w, w.grad, momentum, lr=lr / 2, momentum=0.9, out=w)
            return loss, {"h": h}

        step = wrap(step)
        results = []
        for number, x in enumerate(data):
            loss, others = step(nd.array(x), 0.1 / (number + 1))
            results += [a.asnumpy() for a in (loss, others["h"], w, momentum, w.grad)]
        return results, step

    plain, _ = train(lambda f: f)
    caught, step = train(lambda f: mx.capture(f, fuse=fuse))
    assert replayed(step) == 1
    for a, b in zip(plain, caught, strict=True):
        if fuse:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)


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


def test_other_shapes_dtypes_numbers_and_modes():
    calls = []

    def f(x, n, **options):
        calls.append(1)
        y = nd.Dropout(x, 0.5) if options.get("drop") else x
        return y.sum(axis=n)

    captured = mx.capture(f)
    for x, n in ((nd.ones((2, 3)), 0), (nd.ones((3, 2)), 0), (nd.ones((2, 3)), 1)):
        for _ in range(4):
            np.testing.assert_array_equal(captured(x, n).asnumpy(), x.asnumpy().sum(n))
            got = captured(x.astype("float16"), n)
            assert got.dtype == np.float16
    assert len(calls) == 12  # two of each kind
    for _ in range(4):
        assert captured(nd.ones((101,)), 0, drop=True).asscalar() == 101
    for _ in range(4):
        with autograd.train_mode():
            # an odd number, which twice the number of those that are left is not
            assert captured(nd.ones((101,)), 0, drop=True).asscalar() != 101


def test_conditions_on_numbers():
    def f(x, a, b):
        y = x * 2 if a > b else x * 3
        return y * (min(a, b) ** 2), a + b

    calls = [(a, b) for a in (1.0, 2.0, 3.0) for b in (1.5, 2.5)] * 2
    plain, caught = several(f, lambda: [(nd.ones(1), a, b) for a, b in calls])
    for (a, s), (b, t) in zip(plain, caught, strict=True):
        assert (a.asscalar(), s) == (b.asscalar(), t)
        assert type(t) is float


def test_what_the_function_reads_besides_its_arguments():
    scale, bias, factor = 2.0, nd.ones(1), [1]

    class Net:
        def __init__(self):
            self.slope = 3

        def __call__(self, x):
            return x * self.slope

    net = Net()

    def f(x):
        return net(x) * scale + bias

    captured = mx.capture(f)
    assert [captured(nd.ones(1)).asscalar() for _ in range(3)] == [7, 7, 7]
    scale = 10
    assert [captured(nd.ones(1)).asscalar() for _ in range(3)] == [31, 31, 31]
    net.slope = 4
    assert [captured(nd.ones(1)).asscalar() for _ in range(3)] == [41, 41, 41]
    bias[:] = 2  # written in place: seen without being recorded anew
    assert captured(nd.ones(1)).asscalar() == 42
    bias = nd.zeros(1)
    assert [captured(nd.ones(1)).asscalar() for _ in range(3)] == [40, 40, 40]
    del factor


class Settings:
    scale = 2.0


class Slots:
    __slots__ = ("scale",)


class Model:
    """Names what it multiplies by in all the ways there are."""

    scale = 2.0

    def __init__(self):
        self.settings, self.slots, self.hidden = Settings(), Slots(), 2.0
        self.slots.scale = 2.0
        self.net = Scaled()
        self.inner = mx.capture(lambda x: x * SETTINGS.scale)

    @property
    def shown(self):
        return self.hidden


class Scaled(mx.gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        self.scale = 2.0

    def hybrid_forward(self, F, x):  # noqa: N803
        return x * self.scale


SETTINGS = Settings()


def scaled(x, factor):
    return x * SETTINGS.scale * factor


@pytest.mark.parametrize(
    ("what", "owner", "name", "function"),
    [
        ("an attribute of its class", lambda m: m, "scale", lambda m, x: x * m.scale),
        ("an attribute of an attribute", lambda m: m.settings, "scale", lambda m, x: x * m.settings.scale),
        ("a slot", lambda m: m.slots, "scale", lambda m, x: x * m.slots.scale),
        ("what a property reads", lambda m: m, "hidden", lambda m, x: x * m.shown),
        ("what a net reads", lambda m: m.net, "scale", lambda m, x: m.net(x)),
        ("what a captured function reads", lambda m: SETTINGS, "scale", lambda m, x: m.inner(x)),
        ("a part of a class", lambda m: Settings, "scale", lambda m, x: x * Settings.scale),
        ("a partial function", lambda m: SETTINGS, "scale", lambda m, x: functools.partial(scaled, x)(1)),
    ],
)
@pytest.mark.once
def test_what_lies_deeper_is_seen(monkeypatch, what, owner, name, function):
    """Of an object that the function reaches by itself, and of one that it is given."""
    for given in (False, True):
        model, runs = Model(), []

        def f(model, x, runs=runs):
            runs.append(1)
            return function(model, x)

        captured = mx.capture(f if given else lambda x, f=f, model=model: f(model, x))
        for value in (2.0, 5.0):
            monkeypatch.setattr(owner(model), name, value)
            for _ in range(4):
                assert captured(*((model,) if given else ()), nd.ones(1)).asscalar() == value
        assert len(runs) == 4
        monkeypatch.undo()


@pytest.mark.once
def test_steps_that_a_replay_cannot_take():
    """A condition kept the function from dividing by zero: it must keep a replay as well."""

    def f(x, a):
        return x * (1 / a if a > 0 else divmod(a, 2)[1])

    plain, caught = several(f, lambda: [(nd.ones(1), a) for a in (2.0, 2.0, 2.0, 4.0, 0.0, -1.0, -1.5)])
    assert [a.asscalar() for a in plain] == [a.asscalar() for a in caught]
    captured = mx.capture(lambda x, a: x * (1 / a))
    for _ in range(3):
        captured(nd.ones(1), 2.0)
    with pytest.raises(ZeroDivisionError):
        captured(nd.ones(1), 0.0)


@pytest.mark.once
def test_numbers_that_are_told_apart():
    """Zeros by their signs; nan is like itself."""
    plain, caught = several(
        lambda x, a: (x / float(a), x * float("nan"), x / 0.0 - x / -0.0),
        lambda: [(nd.ones(1), a) for a in (0.0, 0.0, 0.0, -0.0, -0.0, 0.0)],
    )
    for a, b in zip(plain, caught, strict=True):
        np.testing.assert_array_equal([x.asscalar() for x in a], [x.asscalar() for x in b])


@pytest.mark.once
def test_other_tuples_lists_and_dictionaries():
    pair, several = collections.namedtuple("Pair", "x rate"), type("Several", (list,), {})
    captured = mx.capture(lambda p, o, s: (pair(p.x * p.rate, o["x"]), collections.OrderedDict(s=s[0] + 1)))
    for i in range(5):
        x = nd.full(1, i)
        first, second = captured(pair(x, i / 2), collections.OrderedDict(x=x), several([x]))
        assert (first.x.asscalar(), first.rate.asscalar(), second["s"].asscalar()) == (i * i / 2, i, i + 1)
        assert type(second) is collections.OrderedDict
    assert replayed(captured) == 1


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


def test_a_parameter_that_is_replaced_is_seen():
    """The memory that a recording knows may be gone: then it must not be written to, or read."""

    class Net:
        pass

    net = Net()
    net.parts = [nd.ones(2)]
    captured = mx.capture(lambda x: x + net.parts[0])
    for _ in range(3):
        assert captured(nd.ones(2)).asnumpy()[0] == 2
    net.parts[0] = nd.full(2, 5)
    gc.collect()
    for _ in range(3):
        assert captured(nd.ones(2)).asnumpy()[0] == 6


def test_memory_of_a_parameter_that_is_replaced_is_given_back():
    """At once, with the recording's own; if that happens after somebody looked, results are still right."""
    size = 1 << 16
    parts = [nd.ones(size)]
    hold = {"parts": parts}
    captured = mx.capture(lambda x: nd.dot(nd.exp(x), hold["parts"][0]) * 0 + hold["parts"][0].sum())
    x = nd.ones(size)
    for _ in range(3):
        captured(x)
    (variant,) = captured._variants.values()
    (recording,) = variant.recordings
    (replay,) = recording.replays()
    gc.collect()
    held = 4 * size + sum(s.nbytes for s in replay.arena)
    before = mx.memory_stats()["in_use"]
    parts[0] = nd.full(size, 2)
    assert replay.is_lost
    assert mx.memory_stats()["in_use"] <= before - held + 4 * size
    replay.is_lost = False
    assert captured(x).asnumpy()[0] == 2 * size


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

    with pytest.raises(CaptureError, match=r"test_capture\.py:\d+: .*reads a value"):
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
        with pytest.raises(CaptureError, match=r"test_capture\.py:\d+: .*works on another device"):
            mx.capture(function)(x)
    with contexts[1]:
        captured = mx.capture(add)
        before = other.asnumpy()
        for _ in range(4):
            captured()
    np.testing.assert_array_equal(other.asnumpy(), before + 4)


def test_launches_do_not_wait_while_they_are_recorded():
    def f(x):
        with mx.engine.bulk(10):
            y = nd.exp(x) * 2
        return y + 1

    x = nd.ones((200, 200))
    captured = mx.capture(f)
    for number in range(4):
        np.testing.assert_allclose(captured(x * number).asnumpy(), f(x * number).asnumpy(), rtol=1e-6)


def test_an_array_that_is_kept_names_the_line():
    kept = []

    def f(x):
        kept.append(x * 2)

    captured = mx.capture(f)
    with pytest.raises(CaptureError, match=r"test_capture\.py:\d+: .*keeps an array"):
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
    with pytest.raises(CaptureError, match=r"something else at each call.*test_capture\.py:\d+"):
        many_times(captured, lambda: nd.ones(1))


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


@pytest.mark.parametrize("name", ["sgd", "adam", "lamb", "sgld"])
def test_steps_of_a_trainer(rng, name):
    """Counts of updates, schedules and corrected rates go on; noise is new; states are made at first."""
    data = [(rng.standard_normal((4, 6)), rng.integers(0, 3, 4)) for _ in range(7)]

    def train(wrap):
        mx.random.seed(5)
        net = mx.gluon.nn.HybridSequential()
        net.add(
            mx.gluon.nn.Dense(8), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dropout(0.3), mx.gluon.nn.Dense(3)
        )
        net.initialize(mx.init.Xavier())
        schedule = mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.05)
        trainer = mx.gluon.Trainer(net.collect_params(), name, {"lr_scheduler": schedule, "wd": 0.01})

        def step(x, y):
            with autograd.record():
                loss = nd.softmax_cross_entropy(net(x), y)
            loss.backward()
            trainer.step(4)
            return loss

        step = wrap(step)
        losses = [float(step(nd.array(x), nd.array(y)).asscalar()) for x, y in data]
        weights = [p.data().asnumpy() for p in net.collect_params().values()]
        return losses, weights, trainer.optimizer.num_update

    plain, caught = train(lambda f: f), train(mx.capture)
    np.testing.assert_allclose(plain[0], caught[0], rtol=1e-5)
    for a, b in zip(plain[1], caught[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert plain[2] == caught[2] == 7


@pytest.mark.parametrize("name", ["sgd", "lamb", "groupadagrad"])
@pytest.mark.once
def test_numbers_of_an_optimizer_that_change(rng, name):
    x = nd.array(rng.standard_normal((4, 3)))

    def train(wrap):
        net = mx.gluon.nn.Dense(2, in_units=3, use_bias=False)
        net.initialize(mx.init.One())
        trainer = mx.gluon.Trainer(net.collect_params(), name, {"learning_rate": 0.1})

        def step():
            with autograd.record():
                loss = (net(x) ** 2).sum()
            loss.backward()
            trainer.step(4)
            return loss

        captured, losses = wrap(step), []
        for number in range(9):
            trainer.optimizer.clip_gradient = 0.01 if 3 < number < 6 else None
            trainer.set_learning_rate(0.2 if number == 7 else 0.1)
            losses.append(float((step if number == 6 else captured)().asscalar()))
        return losses

    np.testing.assert_allclose(train(mx.capture), train(lambda f: f), rtol=1e-5)


def test_a_trainer_after_a_captured_backward(rng):
    """It must know that the gradients are filled, and a second step that they are used up."""
    net = mx.gluon.nn.Dense(2, in_units=3)
    net.initialize()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})

    @mx.capture
    def gradients(x):
        with autograd.record():
            loss = net(x).sum()
        loss.backward()

    for _ in range(4):
        gradients(nd.ones((4, 3)))
        trainer.step(4)
    assert replayed(gradients)
    with pytest.raises(mx.MXNetError, match="has not filled"):
        trainer.step(4)


@pytest.mark.once
def test_gradients_of_several_parameters_are_made_where_they_belong(rng):
    """Each in the memory of its ``grad``: a copy of each would cost as much as the update does."""
    parameters = [nd.array(rng.standard_normal((4, 4))) for _ in range(3)]
    for parameter in parameters:
        parameter.attach_grad()

    def f(x):
        with autograd.record():
            for parameter in parameters:
                x = nd.dot(x, parameter)
        x.backward()

    captured = mx.capture(f)
    for _ in range(3):
        captured(nd.ones((2, 4)))
    recorded, replayed = captured.graphs()[0]
    copies = [len([i for i in graph.instructions if i.name == "copy"]) for graph in (recorded, replayed)]
    assert copies == [3, 0]
    gradients = [p.grad.asnumpy() for p in parameters]
    f(nd.ones((2, 4)))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad.asnumpy(), gradient)


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


def test_metrics_add_up_on_the_device(rng):
    metric, plain = mx.metric.create(["acc", "mse"]), mx.metric.create(["acc", "mse"])

    @mx.capture
    def step(label, scores):
        metric.update([label], [scores])
        return scores * 1

    for number in range(7):
        label, scores = nd.array(rng.integers(0, 3, 8)), nd.array(rng.random((8, 3)))
        if number == 5:
            metric.reset()
            plain.reset()
        step(label, scores)
        plain.update([label], [scores])
        if number in (2, 4, 6):
            np.testing.assert_allclose(metric.get()[1], plain.get()[1], rtol=1e-6)
    assert replayed(step)
