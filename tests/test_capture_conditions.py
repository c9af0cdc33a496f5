"""When captured functions run again instead of being replayed: other arguments, and what else they read."""

import collections
import functools
import gc

import numpy as np
import pytest
from capture_harness import replayed, several

import clgrad as mx
from clgrad import autograd, nd


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
