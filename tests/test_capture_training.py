"""Captured steps of training: trainers, optimizers, metrics."""

import numpy as np
import pytest
from capture_harness import replayed

import clgrad as mx
from clgrad import autograd, nd


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
