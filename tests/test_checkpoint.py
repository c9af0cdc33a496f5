"""Checkpoints: the gradients of the same program without them, from less memory."""

import gc
import weakref
from collections import namedtuple

import numpy as np
import pytest
from checkpoint_harness import checkpoint, marked, plain, same

import clgrad as mx
from clgrad.errors import AutogradError

pytestmark = pytest.mark.once  # what is called again, and with what; kernels have tests of their own


class TestGradients:
    """Those of the program without checkpoints, but for the order in which they are added up."""

    @staticmethod
    def run(wrap, program, *hosts):
        """The results of a program, and the gradients of its variables."""
        variables = [marked(host) for host in hosts]
        mx.random.seed(7)
        with mx.autograd.record():
            y = program(wrap, *variables)
        y.backward()
        return [y.asnumpy(), *[v.grad.asnumpy() for v in variables]]

    def layers(self, wrap, x, w, b):
        """Arguments, variables that the function closes over, random numbers, nested results."""

        def layer(h, scale, *, shift):
            h = mx.nd.Dropout(mx.nd.tanh(mx.nd.FullyConnected(h, w, b, num_hidden=4)) * scale, 0.3)
            return {"out": h + shift[0], "also": [h * 2, None]}

        for i in range(4):
            made = wrap(layer, x, 1.5, shift=(b, i))
            x = made["out"] * made["also"][0]
        return x

    def nested(self, wrap, x, w, b):
        def inner(h):
            return mx.nd.Dropout(mx.nd.sigmoid(mx.nd.dot(h, w)), 0.5)

        def outer(h):
            h = wrap(inner, h + b)
            return wrap(inner, mx.nd.Dropout(h, 0.2))

        return wrap(outer, wrap(outer, x))

    def closes_over_results(self, wrap, x, w, b):
        """Gradients must flow on from an intermediate result, and not twice to what it was made of."""
        h = mx.nd.exp(w)

        def function():
            return mx.nd.dot(x, h) * mx.nd.sum(w) + b

        return wrap(function) * mx.nd.sum(h)

    def hands_through(self, wrap, x, w, b):
        """An argument, a part of one, the same result twice, and a constant are results as well."""

        def function(a, c):
            d = a * c
            return a, d, d, a.reshape((-1,)), mx.nd.ones((2,)), "text"

        same_x, d, again, flat, ones, text = wrap(function, x, w)
        assert text == "text"
        return mx.nd.dot(same_x, d) + again * mx.nd.sum(flat) * mx.nd.sum(ones) + b

    def uses_some_results(self, wrap, x, w, b):
        first, _, _ = wrap(lambda: (x * w, mx.nd.exp(b), w.detach()))
        return first + b

    def in_a_loop(self, wrap, x, w, b):
        """One function object, many times, with an in-place write to what it has made."""

        def function(h):
            t = mx.nd.zeros((4, 4))
            t[:] = h * w
            return mx.nd.relu(t) + b

        for _ in range(3):
            x = wrap(function, x)
        return x

    @pytest.mark.parametrize(
        "program",
        ["layers", "nested", "closes_over_results", "hands_through", "uses_some_results", "in_a_loop"],
    )
    def test_of_a_program(self, program, rng):
        hosts = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)
        expected = self.run(plain, getattr(self, program), *hosts)
        given = self.run(checkpoint, getattr(self, program), *hosts)
        for value, wanted in zip(given, expected, strict=True):
            np.testing.assert_allclose(value, wanted, 1e-4, 1e-6)

    @pytest.mark.parametrize("requests", [("write", "add", "null"), ("null", "write", "add")])
    def test_of_each_request(self, requests):
        def gradients(wrap):
            x, w, b = (marked([0.5, 2], r) for r in requests)
            for _ in range(2):
                with mx.autograd.record():
                    y = wrap(lambda h: mx.nd.exp(h * w) * b, x)
                y.backward()
            return [v.grad if v.grad is None else v.grad.asnumpy() for v in (x, w, b)]

        for value, wanted in zip(gradients(checkpoint), gradients(plain), strict=True):
            np.testing.assert_array_equal(value, wanted)

    def test_of_every_order(self):
        def derivatives(wrap):
            x, w = marked([0.3, 0.7]), marked([1.1, 0.4])
            with mx.autograd.record():
                h = mx.nd.sin(x)
                y = wrap(lambda a: wrap(lambda c: mx.nd.exp(c * w), a) * a, h)
                found = []
                for _ in range(3):
                    (y,) = mx.autograd.grad(y, [x], create_graph=True)
                    found.append(y)
                found += mx.autograd.grad(y, [w, h, x], retain_graph=True)
            y.backward()
            return [*found, x.grad, w.grad]

        for value, wanted in zip(derivatives(checkpoint), derivatives(plain), strict=True):
            np.testing.assert_allclose(value.asnumpy(), wanted.asnumpy(), 2e-5)

    def test_of_a_loss_with_a_gradient_in_it(self):
        """As in WGAN-GP: the function differentiates by itself."""

        def penalty(x, w):
            z = x.detach()
            z.attach_grad()
            with mx.autograd.record():
                y = mx.nd.tanh(z * w)
            (slope,) = mx.autograd.grad(y, [z], create_graph=True)
            return mx.nd.square(slope - 1)

        def gradients(wrap):
            x, w = mx.nd.array([0.3, 0.7]), marked([1.1, 0.4])
            with mx.autograd.record():
                y = wrap(penalty, x, w)
            y.backward()
            return w.grad

        np.testing.assert_allclose(gradients(checkpoint).asnumpy(), gradients(plain).asnumpy(), 1e-6)

    def test_of_head_gradients_and_twice(self):
        x = marked([0.5, 2], "add")
        with mx.autograd.record():
            y = checkpoint(mx.nd.exp, x)
        y.backward(mx.nd.array([1, 10]), retain_graph=True)
        y.backward(mx.nd.array([2, 20]))
        np.testing.assert_allclose(x.grad.asnumpy(), np.exp([0.5, 2]) * [3, 30], 1e-6)
        with pytest.raises(AutogradError, match="freed by an earlier backward"):
            y.backward()

    def test_of_user_functions_and_bfloat16(self):
        class Double(mx.autograd.Function):
            def forward(self, x):
                return x * 2

            def backward(self, dy):
                return dy * 2

        x = mx.nd.array([1, 2], dtype="bfloat16")
        x.attach_grad()
        with mx.autograd.record():
            y = checkpoint(lambda a: Double()(a) * a, x)
        y.backward()
        np.testing.assert_array_equal(x.grad.astype("float32").asnumpy(), [4, 8])

    def test_containers_keep_their_kinds(self):
        pair = namedtuple("pair", "left right")
        x = marked([1, 2])
        with mx.autograd.record():
            made = checkpoint(lambda p: [pair(p.left * 2, {"x": p.right}), ()], pair(x, 3))
        assert made[0].right == {"x": 3}
        assert made[1] == ()
        made[0].left.backward()
        np.testing.assert_array_equal(x.grad.asnumpy(), [2, 2])

    def test_outside_of_recording_and_the_graph(self):
        x = marked([1, 2])
        assert checkpoint(lambda a: a * 2, x)._entry is None
        with mx.autograd.record():
            y = checkpoint(lambda: mx.nd.ones((2,)) * 2)
        with pytest.raises(AutogradError, match="not part of a recorded graph"):
            y.backward()


def test_of_random_programs(rng):
    """With parts in checkpoints, within each other, and without: the same results and gradients."""
    for _ in range(4):
        program, seed = _program(rng, 0), int(rng.integers(1 << 30))
        hosts = [rng.normal(size=(8, 8)) * 0.5 for _ in range(3)]
        found = []
        for wrap in (plain, checkpoint):
            variables, moving = [marked(host) for host in hosts], (mx.nd.zeros((8,)), mx.nd.ones((8,)))
            mx.random.seed(seed)
            with mx.autograd.record():
                *_, left, right = _run(program, wrap, variables, moving)
                head = mx.nd.sum(left * right)
                (slope,) = mx.autograd.grad(
                    head + mx.nd.sum(variables[0]), [variables[0]], create_graph=True
                )
                head = mx.nd.sum(slope * slope) + head
            head.backward()
            found.append([head, *[v.grad for v in variables], *moving])
        for value, wanted in zip(*found, strict=True):
            scale = float(mx.nd.max(mx.nd.abs(wanted)).asscalar())
            np.testing.assert_allclose(value.asnumpy(), wanted.asnumpy(), 1e-4, 1e-4 * scale + 1e-6)


def _program(rng, depth):
    """Calls, each a formula with two places of operands, or a part that is a program."""
    parts = []
    for _ in range(int(rng.integers(0 if depth else 3, 8))):
        if depth < 3 and rng.random() < 0.3:
            parts.append((_program(rng, depth + 1), rng.random() < 0.5, 0))
        else:
            parts.append((rng.choice(list(_FORMULAS)), rng.random(), rng.random()))
    return parts


_FORMULAS = {
    "product": lambda x, y, moving: mx.nd.tanh(x * y),
    "sum": lambda x, y, moving: x + y,
    "dot": lambda x, y, moving: mx.nd.tanh(mx.nd.dot(x, y)),
    "dropout": lambda x, y, moving: mx.nd.Dropout(x, 0.3),
    "reduction": lambda x, y, moving: mx.nd.broadcast_add(mx.nd.mean(x, axis=1, keepdims=True), y),
    "norm": lambda x, y, moving: mx.nd.BatchNorm(x, x[0], y[1], *moving, fix_gamma=False, axis=1) * 0.5,
    "rows": lambda x, y, moving: mx.nd.concat(x[:4], y[4:], dim=0),
    "detached": lambda x, y, moving: mx.nd.sigmoid(x.detach()) * y,
}


def _run(program, wrap, arrays, moving):
    arrays = list(arrays)
    for what, first, second in program:
        if isinstance(what, list):
            closed = tuple(arrays)
            if first:
                arrays += wrap(lambda: _run(what, wrap, closed, moving)[-2:])  # noqa: B023
            else:
                arrays += wrap(lambda *given: _run(what, wrap, given, moving)[-2:], *arrays[-3:])  # noqa: B023
        else:
            x, y = (arrays[int(place * len(arrays))] for place in (first, second))
            arrays.append(_FORMULAS[what](x, y, moving))
    return arrays


def test_replays_of_captured_steps_draw_what_their_forward_pass_drew():
    x = marked(np.ones(1000))

    def step():
        with mx.autograd.record():
            y = checkpoint(lambda a: mx.nd.Dropout(a, 0.5), x)
        y.backward()
        return y

    captured = mx.capture(step)
    seen = []
    for _ in range(4):
        y = captured()
        same(x.grad, y)
        seen.append(y.asnumpy())
    assert not any((seen[-1] == earlier).all() for earlier in seen[:-1])


def test_hybridized_nets():
    """They run op by op within checkpoints, draw and step their moving averages as they do without."""

    def train(wrap, hybridize):
        net = mx.gluon.nn.HybridSequential()
        net.add(
            mx.gluon.nn.Dense(4), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dropout(0.5), mx.gluon.nn.Dense(2)
        )
        mx.random.seed(5)
        net.initialize()
        if hybridize:
            net.hybridize()
        x = marked(np.arange(6).reshape(2, 3))
        for _ in range(4):
            with mx.autograd.record():
                y = wrap(net, x)
            y.backward()
        parameters = net.collect_params().values()
        return [y, x.grad, *[p.data() for p in parameters]]

    for value, wanted in zip(train(checkpoint, True), train(plain, False), strict=True):
        np.testing.assert_allclose(value.asnumpy(), wanted.asnumpy(), 1e-5, 1e-6)


def test_within_captured_blocks():
    """The first calls are traced and go back op by op, later ones are replayed; each draws anew."""

    class Net(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):  # noqa: N803
            return checkpoint(lambda a: mx.nd.Dropout(a, 0.5), x)

    net, x, seen = Net(), marked(np.ones(1000)), []
    net.hybridize()
    for _ in range(5):
        with mx.autograd.record():
            y = net(x)
        y.backward()
        same(x.grad, y)
        seen.append(y.asnumpy())
    assert not any((a == b).all() for i, a in enumerate(seen) for b in seen[:i])


class TestMemory:
    def peak(self, wrap, depth, at_once):
        """Of a net of as many layers, so many to a checkpoint: in units of one layer's result."""
        width = 1 << 16
        weights = [mx.nd.ones((1,)) for _ in range(depth)]
        for w in weights:
            w.attach_grad()

        def segment(h, first):
            for w in weights[first : first + at_once]:
                h = mx.nd.cumsum(mx.nd.relu(h) * w, axis=0) / width  # rules read what lies between
            return h

        def step():
            with mx.autograd.record():
                h = x
                for first in range(0, depth, at_once):
                    h = wrap(segment, h, first)
            h.backward()

        x = mx.nd.ones((width,))
        step()
        gc.collect()
        before = mx.memory_stats(by_op=False).in_use
        mx.reset_peak()
        step()
        assert mx.memory_stats(by_op=False).in_use == before, "nothing stays"
        return (mx.memory_stats(by_op=False).peak - before) / (4 * width)

    def test_grows_with_the_root_of_the_depth(self):
        without, with_them = self.peak(plain, 64, 8), self.peak(checkpoint, 64, 8)
        assert without > 64
        assert with_them < without / 2.5

    def test_what_lies_within_is_freed_at_once(self, reference_counting_only):
        x = marked(np.ones(1000))
        before = mx.memory_stats().buffers
        with mx.autograd.record():
            y = checkpoint(lambda a: mx.nd.exp(mx.nd.cumsum(mx.nd.exp(mx.nd.cumsum(a)))), x)
        assert mx.memory_stats().buffers == before + 1
        y.backward(x)  # given, since the ones that stand for it would be kept
        del y
        assert mx.memory_stats().buffers == before

    def test_arguments_are_kept_until_backward(self):
        x = marked(np.ones(1000))
        with mx.autograd.record():
            h = x * 2
            y = checkpoint(lambda given: mx.nd.exp(given[0]), [h])
        storage = weakref.ref(h._view.storage)
        del h
        assert storage() is not None
        y.backward()
        assert storage() is None


def test_is_a_node_of_the_tape(capsys):
    x, w = marked([1, 2]), marked([3, 4])

    def layer(a):
        return a * w

    with mx.autograd.record():
        y = checkpoint(layer, x) + 1
    mx.tape.show(y)
    assert capsys.readouterr().out.startswith("#0 checkpoint of layer\n   launches of its own")
    symbol = mx.autograd.get_symbol(y)
    assert symbol.list_arguments() == ["var0", "var1"]
    assert symbol.infer_shape()[1] == [(2,)]
    with pytest.raises(AutogradError, match="a checkpoint"):
        symbol.eval(var0=x, var1=w)
