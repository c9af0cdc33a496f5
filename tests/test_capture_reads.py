"""What captured functions read besides their arguments: what changes there is seen, whatever holds it."""

import argparse
import collections
import functools
import logging
import math
import types

import numpy as np
import pytest

import clgrad as mx
from clgrad import nd
from clgrad.capturing import contents

pytestmark = pytest.mark.once


class Settings:
    """Read by index, and by a name that no code defines."""

    def __init__(self):
        self.values = {"rate": 2.0}

    def __getitem__(self, key):
        return self.values[key]

    def __getattr__(self, name):
        if name == "current":
            return self.values["rate"]
        raise AttributeError(name)


class Layer:
    def __init__(self):
        self.scale = 2.0

    def __call__(self, x):
        return x * self.scale


class Net(mx.gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        self.scales = [{"first": 2.0}]

    def hybrid_forward(self, F, x):  # noqa: N803
        return x * self.scales[0]["first"]


def made(value, put, function):
    return value, functools.partial(put, value), functools.partial(function, value)


CASES = {
    "a list": lambda: made([2.0], lambda v, new: v.__setitem__(0, new), lambda v, x: x * v[0]),
    "a part of a list": lambda: made(
        collections.deque([2.0]), lambda v, new: v.appendleft(new), lambda v, x: x * v[0]
    ),
    "a dictionary": lambda: made({"k": 2.0}, lambda v, new: v.update(k=new), lambda v, x: x * v["k"]),
    "a set": lambda: made({2.0}, lambda v, new: v.add(new), lambda v, x: x * max(v)),
    "lists in tuples": lambda: made(
        ({"k": [2.0]},), lambda v, new: v[0]["k"].insert(0, new), lambda v, x: x * v[0]["k"][0]
    ),
    "a numpy array": lambda: made(
        np.full(3, 2.0), lambda v, new: v.fill(new), lambda v, x: x * nd.array(v).sum() / 3
    ),
    "a numpy array of objects": lambda: made(
        np.array([2.0, None]), lambda v, new: v.__setitem__(0, new), lambda v, x: x * v[0]
    ),
    "bytes": lambda: made(bytearray([2]), lambda v, new: v.__setitem__(0, int(new)), lambda v, x: x * v[0]),
    "a list of arrays": lambda: made(
        [nd.full(1, 2)], lambda v, new: v.__setitem__(0, nd.full(1, new)), lambda v, x: x * v[0]
    ),
    "attributes of members": lambda: made(
        [Layer()], lambda v, new: setattr(v[0], "scale", new), lambda v, x: v[0](x)
    ),
    "what an operator reads": lambda: made(
        Settings(), lambda v, new: v.values.update(rate=new), lambda v, x: x * v["rate"]
    ),
    "what __getattr__ reads": lambda: made(
        Settings(), lambda v, new: v.values.update(rate=new), lambda v, x: x * v.current
    ),
    "a name given to getattr": lambda: made(
        Layer(), lambda v, new: setattr(v, "scale", new), lambda v, x: x * getattr(v, "scale")  # noqa: B009
    ),
    "a list in a name space": lambda: made(
        types.SimpleNamespace(r=[2.0]), lambda v, new: v.r.insert(0, new), lambda v, x: x * v.r[0]
    ),
    "an object in a namespace": lambda: made(
        argparse.Namespace(f=lambda x: x * 2), lambda v, new: setattr(v, "f", lambda x: x * new),
        lambda v, x: v.f(x),
    ),
    "a method": lambda: made(
        type("Own", (Layer,), {"rate": lambda self: 2.0})(),
        lambda v, new: setattr(type(v), "rate", lambda self: new), lambda v, x: x * v.rate(),
    ),
    "an operator": lambda: made(
        type("Own", (Layer,), {"__len__": lambda self: 2})(),
        lambda v, new: setattr(type(v), "__len__", lambda self: int(new)), lambda v, x: x * len(v),
    ),
    "an attribute that is not there": lambda: made(
        Layer(), lambda v, new: new == 2 or setattr(v, "other", new),
        lambda v, x: x * (v.other if hasattr(v, "other") else 2),
    ),
    "functions of modules": lambda: made(
        types.SimpleNamespace(f=abs),
        lambda v, new: setattr(v, "f", {2: math.sin, 5: math.cos}.get(new, abs)),
        lambda v, x: x * max(2 * (v.f is math.sin), 5 * (v.f is math.cos), 7 * (v.f is abs)),
    ),
    "a list of a net": lambda: made(Net(), lambda v, new: v.scales[0].update(first=new), lambda v, x: v(x)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("given", ["reached", "argument"])
def test_changes_are_seen(case, given):
    """Of what the function reaches by itself, and of what it is given."""
    value, put, function = CASES[case]()
    if given == "argument":
        if isinstance(value, np.ndarray):
            pytest.skip("numpy arrays are no arguments")
        captured = mx.capture(lambda value, x: function.func(value, x))
        call = functools.partial(captured, value)
    else:
        call = captured = mx.capture(lambda x: function.func(value, x))
    for new in (2.0, 5.0, 7.0):
        put(new)
        for _ in range(4):
            assert call(nd.ones(1)).asscalar() == new
    assert captured.graphs()


def test_a_hybridized_net_sees_what_its_lists_hold():
    net = Net()
    net.hybridize()
    for value in (2.0, 5.0):
        net.scales[0]["first"] = value
        for _ in range(4):
            assert net(nd.ones(1)).asscalar() == value


def test_what_is_put_back_is_no_change():
    """Other objects of the same values are; zeros of other signs, and numbers of other types, are not."""
    rates, runs = [0.5, "text", (1, 2)], []

    def f(x):
        runs.append(1)
        return x / (rates[0] * 2)

    captured = mx.capture(f)
    for _ in range(4):
        rates[:] = [float("0.5"), "".join(["te", "xt"]), rates[2]]
        captured(nd.ones(1))
    assert len(runs) == 2
    for value, expected in ((0.0, np.inf), (-0.0, -np.inf), (False, np.inf)):
        rates[0] = value
        assert captured(nd.ones(1)).asscalar() == expected
    guard = contents.guard_of(rates, "rates")
    assert guard.holds()
    rates[0] = 0
    assert not guard.holds()


def test_what_the_function_itself_changes_is_no_reason_to_call_it_again():
    """Else calls of two kinds would have each other run forever."""
    runs, counts = [], types.SimpleNamespace(calls=0)

    def f(x):
        runs.append(x.shape)
        counts.calls += 1
        return x + 1

    captured = mx.capture(f)
    for _ in range(6):
        captured(nd.ones(1)), captured(nd.ones(2))
    assert len(runs) == counts.calls == 4


def test_arrays_in_lists_are_not_kept():
    """Those that were replaced are gone at once; another array in the same place is seen."""
    parts = [nd.ones(1 << 16)]
    captured = mx.capture(lambda x: parts[0] * x)
    for _ in range(3):
        captured(nd.ones(1))
    before = mx.memory_stats()["in_use"]
    parts[0] = None
    assert mx.memory_stats()["in_use"] < before
    for value in (3, 4, 5):
        parts[0] = nd.full(1 << 16, value)
        assert captured(nd.ones(1))[0].asscalar() == value


def test_large_numpy_arrays_are_compared_and_warned_of(caplog):
    table = np.ones(contents.KEPT)
    captured = mx.capture(lambda x: x * float(table[-1]))
    with caplog.at_level(logging.WARNING, logger="clgrad"):
        for value in (1.0, 2.0):
            table[-1] = value
            for _ in range(3):
                assert captured(nd.ones(1)).asscalar() == value
    assert "what is in variable 'table', 8.0 MiB on the host, is compared at each call" in caplog.text


def test_many_values_are_warned_of(caplog):
    rows = [[1.0] for _ in range(1_001)]
    captured = mx.capture(lambda x: x * rows[-1][0])
    with caplog.at_level(logging.WARNING, logger="clgrad"):
        for value in (1.0, 2.0):
            rows[-1][0] = value
            for _ in range(3):
                assert captured(nd.ones(1)).asscalar() == value
    assert "1003 values (what is in variable 'rows' among them), which are compared" in caplog.text


def test_lists_that_hold_themselves():
    rates = [2.0]
    rates.append(rates)
    captured = mx.capture(lambda x: x * rates[1][0])
    for value in (2.0, 3.0):
        rates[0] = value
        for _ in range(3):
            assert captured(nd.ones(1)).asscalar() == value
