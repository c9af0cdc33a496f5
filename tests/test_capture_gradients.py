"""Captured functions called while recording, and hybridized blocks: gradients of every order."""

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.errors import AutogradError, CaptureError
from clgrad.gluon import nn


def layer(rng):
    """A function with parameters, an average that it keeps, draws, and results of several kinds."""
    w, b, average = (
        nd.array(rng.standard_normal((4, 4))),
        nd.array(rng.standard_normal((1, 4))),
        nd.zeros((4,)),
    )
    for parameter in (w, b):
        parameter.attach_grad()

    def f(x, slope):
        h = nd.Dropout(nd.tanh(nd.dot(x, w) + b) * slope, 0.3)
        with autograd.pause():
            average[:] = average * 0.9 + h.mean(axis=0)
        return h * x, {"places": nd.argmax(h, axis=1), "given": x, "slope": slope}

    return f, (w, b, average)


def run(wrap, seed):
    rng = np.random.default_rng(seed)
    mx.random.seed(3)
    f, arrays = layer(rng)
    f = wrap(f)
    found = []
    for number in range(6):
        x = nd.array(rng.standard_normal((3, 4)))
        x.attach_grad("add" if number % 2 else "write")
        with autograd.record():
            z = x * 2
            y, others = f(z, 1.0 + number)
            y, again = f(y, 0.5)
            loss = (y * y + others["given"]).sum()
        loss.backward()
        found += [loss, again["places"], x.grad, *[a.grad for a in arrays[:2]], arrays[2]]
        found = [a.asnumpy() if isinstance(a, nd.NDArray) else a for a in found]
        assert others["slope"] == 1.0 + number
        arrays[0][:] = arrays[0] - 0.05 * arrays[0].grad
    return found, f


@pytest.mark.parametrize("fuse", [False, True])
def test_gradients_of_captured_functions(rng, fuse):
    seed = rng.integers(1 << 30)
    plain, _ = run(lambda f: f, seed)
    caught, f = run(lambda f: mx.capture(f, fuse=fuse), seed)
    assert len(f.graphs()) == 2  # the results' and the gradients'
    for a, b in zip(plain, caught, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_second_derivatives_run_the_function_again(rng):
    """Averages that it keeps count the call once."""
    seed = rng.integers(1 << 30)

    def second(wrap):
        f, (w, _, average) = layer(np.random.default_rng(seed))
        f = wrap(f)
        mx.random.seed(3)
        found = []
        for _ in range(4):
            x = nd.array(np.arange(12).reshape(3, 4) / 10)
            x.attach_grad()
            with autograd.record():
                y, _ = f(x * 1, 2.0)
                dx = autograd.grad(y.sum(), [x], create_graph=True)[0]
                norm = (dx * dx).sum()
            norm.backward()
            found += [a.asnumpy() for a in (dx, x.grad, w.grad, average)]
        return found

    expected = second(lambda f: lambda x, s: (layer_again(f, x, s), None))
    for a, b in zip(expected, second(mx.capture), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def layer_again(f, x, s):
    return f(x, s)[0]


def test_one_of_several_results_and_inputs():
    f = mx.capture(lambda x, y: (x * y, x + y, x * 2))
    for _ in range(4):
        x, y = nd.array([2, 3]), nd.array([5, 7])
        x.attach_grad()
        with autograd.record():
            product, _, double = f(x, y)
        autograd.backward([product, double], [None, nd.array([1, 10])])
        np.testing.assert_array_equal(x.grad.asnumpy(), [7, 27])
        with autograd.record():
            total = f(x, y)[1]
        assert autograd.grad(total, [x])[0].asnumpy().tolist() == [1, 1]


@pytest.mark.parametrize("fuse", [False, True])
def test_results_that_no_gradient_comes_to_have_none(fuse):
    """Not one of zeros, which infinite slopes make nan; and what only they depend on keeps its own."""
    runs = []

    def f(x, w):
        runs.append(1)
        return nd.sqrt(x), x * w, nd.exp(x) * x

    captured = mx.capture(f, fuse=fuse)
    for number in range(24):
        gradients = []
        for function in (f, captured):
            x, w = nd.array([0, 4]), nd.array([3, 5])
            x.attach_grad()
            w.attach_grad()
            w.grad[:] = 7
            with autograd.record():
                results = function(x, w)
            used = ([0], [1], [2], [1, 2])[number // 2 % 4 if number < 16 else 1]
            autograd.backward([results[k] for k in used])
            gradients += [x.grad.asnumpy(), w.grad.asnumpy()]
            if 1 not in used:
                with autograd.record(), pytest.raises(mx.MXNetError, match="do not depend on"):
                    autograd.grad([captured(x, w)[k] for k in used], [w])
        for own, theirs in zip(gradients[:2], gradients[2:], strict=True):
            np.testing.assert_allclose(theirs, own, rtol=1e-6)
        assert np.isfinite(gradients[2][1:]).all()
    runs.clear()
    for used in (0, 1, 2):
        with autograd.record():
            y = captured(x, w)[used]
        y.backward()
    assert not runs


@pytest.mark.parametrize("order", [1, 2])
def test_a_function_that_runs_again_finds_what_it_found(rng, order):
    """Arrays that it changes, and that its results depend on, are what they were."""

    def run(wrap):
        average = nd.array(start)

        def f(x):
            y = x * x * average.copy()
            with autograd.pause():
                average[:] = average * 0.5 + x * 0.25
                average[0] = average[1]
            return y * average.copy(), x * 3

        f, found = wrap(f), []
        for number in range(6):
            x = nd.array(start + number)
            x.attach_grad()
            with autograd.record():
                y, _ = f(x * 1)
                if order == 2:
                    y = autograd.grad(y, [x], create_graph=True)[0]
            y.backward()
            found += [x.grad, average.copy(), y]
        return [a.asnumpy() for a in found]

    start = rng.standard_normal(3).astype("float32")
    for a, b in zip(run(lambda f: f), run(mx.capture), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_function_that_runs_again_has_the_numbers_of_the_host_again():
    counts = [0]

    def count():
        counts[0] += 1
        return counts[0]

    captured = mx.capture(lambda x: (x * mx.host(count) * x, nd.Dropout(x, 0.5) * mx.host(count)))
    for number in range(6):
        x = nd.ones(2)
        x.attach_grad()
        with autograd.record():
            y, _ = captured(x)
            (first,) = autograd.grad(y, [x], create_graph=True)
        first.backward(retain_graph=True)
        assert x.grad.asnumpy().tolist() == [2 * (2 * number + 1)] * 2
        y.backward()
        assert x.grad.asnumpy().tolist() == [2 * (2 * number + 1)] * 2
    assert counts[0] == 12


def test_a_function_that_cannot_run_again_as_it_did():
    """What it names has changed: gradients are those of before, and gradients of gradients are refused."""
    scales = [2.0]
    captured = mx.capture(lambda x: (x * x * scales[0], x * 3))
    x = nd.ones(2)
    x.attach_grad()
    for number in range(10):
        scales[0] = 2.0
        with autograd.record():
            y, z = captured(x)
        scales[0] = 5.0
        (y, z)[number % 2].backward(retain_graph=True)
        assert x.grad.asnumpy().tolist() == [(4, 3)[number % 2]] * 2
    with autograd.record(), pytest.raises(AutogradError, match="what is in variable 'scales' has changed"):
        autograd.grad(y, [x], create_graph=True)


def test_what_results_depend_on_is_told_apart():
    """Zeros where no gradient flows, an error where nothing leads there: for each result by itself."""

    def answers(f):
        found = []
        for number in range(6):
            x, w = nd.array([1, 2]), nd.array([3, 4])
            for a in (x, w):
                a.attach_grad()
                a.grad[:] = 7
            with autograd.record():
                z = x * 2
                results = f(z, w)
            for result in results:
                for variable in (z, w, x):
                    try:
                        (gradient,) = autograd.grad(result, [variable], retain_graph=True)
                        found.append(gradient.asnumpy().tolist())
                    except AutogradError as error:
                        found.append(str(error))
            results[number % 3].backward()
            found += [x.grad.asnumpy().tolist(), w.grad.asnumpy().tolist()]
        return found

    def f(z, w):
        return nd.argmax(z, axis=0) * w, z * 3, nd.argmax(w, axis=0) * 2

    plain = answers(f)
    assert any("do not depend" in str(answer) for answer in plain)
    assert answers(mx.capture(f)) == plain


def test_a_result_whose_gradient_is_refused_stops_no_other():
    """As without capture: backward says so, where it is asked for that one."""
    w = nd.ones(2)

    def f(x):
        y = x * w
        with autograd.pause():
            w[:] = 2
        return y, x * 3

    captured = mx.capture(f)
    for _ in range(8):
        w[:] = 1
        x = nd.ones(2)
        x.attach_grad()
        with autograd.record():
            y, z = captured(x)
        with pytest.raises(AutogradError, match="written in place"):
            y.backward(retain_graph=True)
        z.backward()
        assert x.grad.asnumpy().tolist() == [3, 3]
    assert captured.graphs()


def test_calls_that_wait_for_backward_keep_what_it_reads():
    f = mx.capture(lambda x: nd.exp(nd.sin(x)))
    xs = [nd.array([i, i / 2]) for i in range(6)]
    for x in xs:
        x.attach_grad()
    with autograd.record():
        ys = [f(x) for x in xs]
    for x, y in reversed(list(zip(xs, ys, strict=True))):
        y.backward(retain_graph=True)
        first = x.grad.asnumpy()
        y.backward()
        np.testing.assert_array_equal(first, x.grad.asnumpy())
        host = x.asnumpy()
        np.testing.assert_allclose(first, np.cos(host) * np.exp(np.sin(host)), rtol=1e-5)


def test_what_backward_refuses():
    w = nd.ones(3)
    w.attach_grad()
    f = mx.capture(lambda x: nd.tanh(x * w * w))
    for _ in range(3):
        with autograd.record():
            y = f(nd.ones(3))
        y.backward()
    with autograd.record():
        y = f(nd.ones(3))
    w += 1
    with pytest.raises(AutogradError, match=r"captured <lambda>.*written in place"):
        y.backward()
    with autograd.record():
        y = f(nd.ones(3))
    y.backward()
    with pytest.raises(AutogradError, match="freed by an earlier backward"):
        y.backward()


def test_a_parameter_that_is_marked_again():
    w = nd.ones(2)
    w.attach_grad()
    f = mx.capture(lambda x: x * w)
    for request in ("write", "add", "null", "write"):
        w.attach_grad(request)
        for number in range(1, 5):
            x = nd.full(2, 3)
            x.attach_grad()
            with autograd.record():
                y = f(x)
            y.backward()
            assert x.grad.asnumpy()[0] == 1
            if request != "null":
                assert w.grad.asnumpy()[0] == (3 * number if request == "add" else 3)


@pytest.mark.once
def test_a_net_that_gets_another_layer():
    """Somewhere inside, which the net itself is not told."""
    for wrap in (lambda net: net.hybridize() or net, lambda net: mx.capture(lambda x: net(x))):
        inner, net = nn.HybridSequential(), nn.HybridSequential()
        inner.add(nn.Activation("relu"))
        net.add(inner)
        called = wrap(net)
        for layers in range(3):
            for _ in range(4):
                assert called(nd.ones(2)).asnumpy()[0] == 1 + layers
            inner.add(nn.HybridLambda(lambda F, x: x + 1))  # noqa: N803


def small_net():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2), nn.Flatten())
    net.add(nn.Dense(8, activation="tanh"), nn.Dropout(0.3), nn.LayerNorm(), nn.Dense(5))
    net.initialize(mx.init.Xavier())
    return net


def test_hybridized_nets_train_as_others(rng):
    data = [(rng.standard_normal((6, 1, 10, 10)), rng.integers(0, 5, 6)) for _ in range(6)]

    def train(hybridized):
        mx.random.seed(1)
        net, loss = small_net(), gluon.loss.SoftmaxCrossEntropyLoss()
        if hybridized:
            net.hybridize()
            loss.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
        found = []
        for x, y in data:
            x, y = nd.array(x), nd.array(y)
            with autograd.record():
                value = loss(net(x), y)
            value.backward()
            trainer.step(6)
            found += [value.asnumpy(), net(x).asnumpy()]
        return found + [p.data().asnumpy() for p in net.collect_params().values()], net

    plain, _ = train(False)
    hybrid, net = train(True)
    assert len(net._captured.graphs()) == 3  # in training with gradients, and in prediction
    for a, b in zip(plain, hybrid, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_hybridized_net_sees_what_changes():
    class Scaled(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.scale = 2.0
            self.weight = self.params.get("weight", shape=(3,), init=mx.init.One())

        def hybrid_forward(self, F, x, weight):  # noqa: N803
            return x * weight * self.scale

    net = Scaled()
    net.initialize()
    net.hybridize()
    call = lambda: net(nd.ones(3)).asnumpy()[0]  # noqa: E731
    assert [call() for _ in range(4)] == [2] * 4
    net.scale = 5.0
    assert [call() for _ in range(4)] == [5] * 4
    net.weight.set_data(nd.full(3, 3))
    assert call() == 15
    net.weight.initialize(mx.init.Constant(4), force_reinit=True)
    assert [call() for _ in range(4)] == [20] * 4
    net.cast("float16")
    assert net(nd.ones(3, dtype="float16")).asnumpy()[0] == 20
    net.hybridize(False)
    assert net(nd.ones(3, dtype="float16")).asnumpy()[0] == 20


def differentiated(function, wrap, arrays):
    """Results and gradients of the first of them, of calls with other arguments."""
    function, found = wrap(function), []
    for number in range(5):
        x = nd.array(np.linspace(-1 - number, 1, 12).reshape(3, 4))
        x.attach_grad()
        with autograd.record():
            results = function(x)
        results[0].backward()
        found += [a.asnumpy() for a in (*results, x.grad, *[a.grad for a in arrays])]
    return found


def test_gradients_that_compute_again_what_is_made_of_results(rng):
    """Which they need for nothing else."""
    w = nd.array(rng.standard_normal((4, 4)))
    w.attach_grad()

    def f(x):
        h = nd.dot(x, w)
        return nd.relu(h * 2 - 1).sum(), h

    def g(x):
        mask = nd.dot(x, w).detach()
        return nd.square(x * (mask * 2 - 1)).sum(), mask

    def h(x):
        state = nd.zeros((3, 4))
        with autograd.pause():
            state += nd.dot(x, w).detach()
        y = nd.square(x * (state + 1)).sum()
        with autograd.pause():
            state += 1
        return y + nd.sum(w), state

    for function in (f, g, h):
        expected = differentiated(function, lambda f: f, [w])
        for a, b in zip(expected, differentiated(function, mx.capture, [w]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_result_that_is_written_to_before_backward_reads_it():
    """One outside of the graph, too."""

    def f(x):
        mask = nd.exp(nd.dot(x, x, transpose_b=True)).detach()
        return nd.dot(mask, x), mask

    captured = mx.capture(f)
    for _ in range(4):
        x = nd.ones((2, 2))
        x.attach_grad()
        with autograd.record():
            y, mask = captured(x)
        mask[:] = 0
        with pytest.raises(AutogradError, match="written in place"):
            y.backward()


def test_an_array_that_is_kept_beside_those_of_user_code():
    kept = []

    class Double(autograd.Function):
        def forward(self, x):
            self.save_for_backward(x)
            self.other = [x + 1]
            return x * 2

        def backward(self, dy):
            return dy * 2

    def f(x, keep):
        y = Double()(x)
        if keep:
            kept[:] = [y + 1]
        return y * y

    captured = mx.capture(f)
    for keep in (False, True):
        for number in range(6):
            x = nd.full(2, number)
            x.attach_grad()
            with autograd.record():
                if keep and number == 4:
                    with pytest.raises(CaptureError, match="keeps an array"):
                        captured(x, keep)
                    break
                y = captured(x, keep)
            y.backward()
            assert x.grad.asnumpy()[0] == 8 * number
    assert captured.graphs()


def test_backward_of_a_captured_call_within_another():
    """There is no replay then: what it does is recorded."""
    f = mx.capture(nd.tanh)
    for _ in range(3):
        x = nd.array([0.1, 0.2])
        x.attach_grad()
        with autograd.record():
            y = f(x)
        y.backward(retain_graph=True)
    slope = x.grad.asnumpy()

    def back(dy):
        y.backward(dy, retain_graph=True)
        return x.grad * 1

    captured = mx.capture(back)
    for number in range(5):
        np.testing.assert_allclose(captured(nd.full(2, number)).asnumpy(), number * slope, rtol=1e-6)
    assert captured.graphs()


def test_a_gradient_penalty_with_a_variable_of_its_own(rng):
    """An array that the function makes and marks is no array that it keeps."""
    w = nd.array(rng.standard_normal((4, 3)))
    w.attach_grad()

    def step(x, y):
        between = x * 0.5 + y * 0.5
        between.attach_grad()
        with autograd.record():
            score = nd.tanh(nd.dot(between, w)).sum()
            slope = autograd.grad(score, [between], create_graph=True)[0]
            penalty = ((slope.norm(axis=1) - 1) ** 2).mean()
        penalty.backward()
        return penalty

    captured = mx.capture(step)
    for _ in range(4):
        x, y = (nd.array(rng.standard_normal((5, 4))) for _ in range(2))
        expected, gradient = step(x, y).asnumpy(), w.grad.asnumpy()
        np.testing.assert_allclose(captured(x, y).asnumpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(w.grad.asnumpy(), gradient, rtol=1e-4, atol=1e-6)
    assert captured.graphs()
