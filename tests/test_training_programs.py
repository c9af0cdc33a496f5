"""Programs in the style of the public Gluon tutorials on optimizers, several devices and schedules."""

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.errors import MXNetError

pytestmark = pytest.mark.once


@pytest.fixture
def data():
    """A linear problem whose features are of very different size."""
    draw = np.random.RandomState(0)
    x = draw.standard_normal((60, 4)) * np.array([1, 0.5, 2, 0.2])
    y = x @ np.array([1.0, -2.0, 0.5, 3.0]) + 0.7 + 0.01 * draw.standard_normal(60)
    return nd.array(x), nd.array(y)


# Optimizers from scratch: each takes parameters with gradients, their states, and hyperparameters.


def sgd(params, states, hyper):
    for p in params:
        p[:] = p - hyper["lr"] * p.grad


def momentum(params, states, hyper):
    for p, (velocity, _) in zip(params, states, strict=True):
        velocity[:] = hyper["momentum"] * velocity + hyper["lr"] * p.grad
        p[:] = p - velocity


def adagrad(params, states, hyper):
    for p, (squares, _) in zip(params, states, strict=True):
        squares[:] = squares + p.grad.square()
        p[:] = p - hyper["lr"] * p.grad / (squares + 1e-7).sqrt()


def rmsprop(params, states, hyper):
    for p, (squares, _) in zip(params, states, strict=True):
        squares[:] = 0.9 * squares + 0.1 * p.grad.square()
        p[:] = p - hyper["lr"] * p.grad / (squares + 1e-8).sqrt()


def adadelta(params, states, hyper):
    for p, (squares, deltas) in zip(params, states, strict=True):
        squares[:] = 0.9 * squares + 0.1 * p.grad.square()
        change = ((deltas + 1e-5).sqrt() / (squares + 1e-5).sqrt()) * p.grad
        p[:] = p - change
        deltas[:] = 0.9 * deltas + 0.1 * change * change


def adam(params, states, hyper):
    hyper["t"] = hyper.get("t", 0) + 1
    for p, (mean, var) in zip(params, states, strict=True):
        mean[:] = 0.9 * mean + 0.1 * p.grad
        var[:] = 0.999 * var + 0.001 * p.grad.square()
        corrected = mean / (1 - 0.9 ** hyper["t"]), var / (1 - 0.999 ** hyper["t"])
        p[:] = p - hyper["lr"] * corrected[0] / (corrected[1].sqrt() + 1e-8)


@pytest.mark.parametrize(
    ("update", "name", "hyper"),
    [
        (sgd, "sgd", {"lr": 0.1}),
        (momentum, "sgd", {"lr": 0.05, "momentum": 0.8}),
        (adagrad, "adagrad", {"lr": 0.4}),
        (rmsprop, "rmsprop", {"lr": 0.05}),
        (adadelta, "adadelta", {}),
        (adam, "adam", {"lr": 0.1}),
    ],
)
def test_optimizers_from_scratch_and_of_gluon(update, name, hyper, data):
    """The same steps; and all but AdaDelta, which is slow to start, find the line."""
    x, y = data
    w, b = nd.ones((4, 1)) * 0.1, nd.zeros((1,))
    states = [(nd.zeros_like(p), nd.zeros_like(p)) for p in (w, b)]
    for p in (w, b):
        p.attach_grad()
    net = gluon.nn.Dense(1, in_units=4)
    net.initialize(mx.init.Constant(0.1))
    arguments = {"learning_rate" if k == "lr" else k: v for k, v in hyper.items()}
    trainer = gluon.Trainer(net.collect_params(), name, arguments)
    loss_of, hyper = gluon.loss.L2Loss(), dict(hyper)
    for _ in range(8):
        for rows in (slice(0, 20), slice(20, 40), slice(40, 60)):
            with autograd.record():
                loss = loss_of(nd.dot(x[rows], w) + b, y[rows]).mean()
            loss.backward()
            update((w, b), states, hyper)
            with autograd.record():
                loss = loss_of(net(x[rows]), y[rows])
            loss.backward()
            trainer.step(batch_size=20)
        np.testing.assert_allclose(net.weight.data().asnumpy().T, w.asnumpy(), 1e-3, 1e-4)
        np.testing.assert_allclose(net.bias.data().asnumpy(), b.asnumpy(), 1e-3, 1e-4)
    for _ in range(150):
        with autograd.record():
            loss = loss_of(net(x), y)
        loss.backward()
        trainer.step(batch_size=60)
    assert loss.mean().asscalar() < (0.5 if name == "adadelta" else 0.1)


def allreduce(arrays):
    """Sums over devices, as one writes them by hand."""
    for array in arrays[1:]:
        arrays[0][:] += array.copyto(arrays[0].context)
    for array in arrays[1:]:
        arrays[0].copyto(array)


def test_several_devices_by_hand_and_by_a_trainer(data):
    contexts = [mx.cpu(0), mx.cpu(1)]
    try:
        nd.zeros(1, ctx=contexts[1])
    except MXNetError:
        pytest.skip("one CPU device alone")
    x, y = data
    copies = [[nd.ones((4, 1), ctx=c), nd.zeros((1,), ctx=c)] for c in contexts]
    for p in (p for params in copies for p in params):
        p.attach_grad()
    net = gluon.nn.Dense(1, in_units=4)
    net.initialize(mx.init.One(), ctx=contexts)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    loss_of = gluon.loss.L2Loss()
    for _ in range(5):
        parts = list(
            zip(*(gluon.utils.split_and_load(a, contexts) for a in (x, y)), contexts, copies, strict=True)
        )
        with autograd.record():
            losses = [loss_of(nd.dot(a, w) + b, c) for a, c, _, (w, b) in parts]
            others = [loss_of(net(a), c) for a, c, _, _ in parts]
        for loss in (*losses, *others):
            loss.backward()
        for i in range(2):
            allreduce([params[i].grad for params in copies])
        for p in (p for params in copies for p in params):
            p[:] = p - 0.1 / 60 * p.grad
        trainer.step(batch_size=60)
        for context, (w, b) in zip(contexts, copies, strict=True):
            np.testing.assert_allclose(net.weight.data(context).asnumpy().T, w.asnumpy(), 1e-5)
            np.testing.assert_allclose(net.bias.data(context).asnumpy(), b.asnumpy(), 1e-5, 1e-6)


def test_a_schedule_in_the_hands_of_the_user(data):
    """``set_learning_rate`` each epoch, and a run that is stopped and resumed in between."""
    x, y = data
    loss_of = gluon.loss.L2Loss()

    def made():
        net = gluon.nn.Dense(1, in_units=4)
        net.initialize(mx.init.Zero())
        return net, gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.2, "momentum": 0.5})

    def epochs(net, trainer, which):
        for epoch in which:
            trainer.set_learning_rate(0.2 * 0.7**epoch)
            with autograd.record():
                loss = loss_of(net(x), y)
            loss.backward()
            trainer.step(batch_size=60)
        return net.weight.data().asnumpy(), trainer

    whole, trainer = epochs(*made(), range(8))
    assert trainer.learning_rate == 0.2 * 0.7**7
    net, trainer = made()
    epochs(net, trainer, range(4))
    states, weights = trainer._updaters[0].get_states(dump_optimizer=True), net.collect_params()
    other, resumed = made()
    for name, p in other.collect_params().items():
        p.set_data(weights[name.replace(other.prefix, net.prefix)].data())
    resumed._updaters[0].set_states(states)
    np.testing.assert_array_equal(epochs(other, resumed, range(4, 8))[0], whole)
