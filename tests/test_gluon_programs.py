"""Programs in the style of the public Gluon tutorials, with small data of their own: they learn."""

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn

pytestmark = pytest.mark.once


def try_gpu():
    """The first GPU if there is one, as tutorials write it."""
    try:
        ctx = mx.gpu()
        nd.zeros((1,), ctx=ctx)
    except mx.base.MXNetError:
        ctx = mx.cpu()
    return ctx


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(1)
    np.random.seed(1)


def blobs(count, features=8, classes=4, shape=None):
    """Points around a centre for each class."""
    centres = np.random.RandomState(0).normal(0, 2, (classes, features))
    labels = np.arange(count) % classes
    points = centres[labels] + np.random.normal(0, 0.5, (count, features))
    return points.astype(np.float32).reshape((count, *(shape or (features,)))), labels.astype(np.float32)


def accuracy_of(net, data, ctx):
    metric = mx.metric.Accuracy()
    for features, label in data:
        features, label = features.as_in_context(ctx), label.as_in_context(ctx)
        metric.update(preds=nd.argmax(net(features), axis=1), labels=label)
    return metric.get()[1]


def test_linear_regression():
    ctx = try_gpu()
    true_w, true_b = nd.array([[2, -3.4]], ctx=ctx), 4.2
    features = nd.random_normal(shape=(200, 2), ctx=ctx)
    labels = nd.dot(features, true_w.T) + true_b + 0.01 * nd.random_normal(shape=(200, 1), ctx=ctx)
    data = gluon.data.DataLoader(gluon.data.ArrayDataset(features, labels), batch_size=20, shuffle=True)
    net = gluon.nn.Dense(1, in_units=2)
    net.collect_params().initialize(mx.init.Normal(sigma=1.0), ctx=ctx)
    square_loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    for _ in range(8):
        for x, y in data:
            with autograd.record():
                loss = square_loss(net(x.as_in_context(ctx)), y.as_in_context(ctx))
            loss.backward()
            trainer.step(batch_size=20)
    np.testing.assert_allclose(net.weight.data().asnumpy(), true_w.asnumpy(), atol=0.02)
    assert net.bias.data().asscalar() == pytest.approx(true_b, abs=0.02)


class Perceptron(gluon.Block):
    """A multilayer perceptron as a Block of one's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.dense0 = nn.Dense(32)
            self.dense1 = nn.Dense(32)
            self.dense2 = nn.Dense(4)

    def forward(self, x):
        x = nd.relu(self.dense0(x))
        x = nd.relu(self.dense1(x))
        return self.dense2(x)


class CenteredLayer(gluon.Block):
    def forward(self, x):
        return x - nd.mean(x)


class OwnDense(gluon.Block):
    """A dense layer with parameters of its own."""

    def __init__(self, units, in_units, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.weight = self.params.get(
                "weight", init=mx.init.Xavier(magnitude=2.24), shape=(in_units, units)
            )
            self.bias = self.params.get("bias", init="zeros", shape=(units,))

    def forward(self, x):
        with x.context:
            return nd.relu(nd.dot(x, self.weight.data()) + self.bias.data())


def of_own_layers():
    net = nn.Sequential()
    with net.name_scope():
        net.add(OwnDense(32, in_units=8), CenteredLayer(), nn.Dense(4))
    return net


def of_dropout():
    net = nn.Sequential()
    with net.name_scope():
        net.add(nn.Dense(64, activation="relu"), nn.Dropout(0.5), nn.Dense(4))
    return net


def of_logistic_layers():
    return nn.Dense(4)


@pytest.mark.parametrize("make", [Perceptron, of_own_layers, of_dropout, of_logistic_layers])
def test_classification(make):
    ctx = try_gpu()
    points, labels = blobs(320)
    train = gluon.data.DataLoader(gluon.data.ArrayDataset(points, labels), 32, shuffle=True)
    net = make()
    net.collect_params().initialize(mx.init.Xavier(magnitude=2.24), ctx=ctx)
    softmax_cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(
        net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 1e-4}
    )
    for _ in range(4):
        cumulative_loss = 0
        for data, label in train:
            data, label = data.as_in_context(ctx), label.as_in_context(ctx)
            with autograd.record():
                loss = softmax_cross_entropy(net(data), label)
            loss.backward()
            trainer.step(data.shape[0])
            cumulative_loss += nd.sum(loss).asscalar()
    assert cumulative_loss / 320 < 0.2
    assert accuracy_of(net, train, ctx) > 0.97


def test_convolutional_net_that_is_hybridized_saved_and_exported(tmp_path):
    ctx = try_gpu()
    points, labels = blobs(192, features=64, shape=(1, 8, 8))
    train = gluon.data.DataLoader(gluon.data.ArrayDataset(points, labels), 32, shuffle=True)

    def make():
        net = nn.HybridSequential(prefix="net_")
        with net.name_scope():
            net.add(nn.Conv2D(channels=8, kernel_size=3), nn.BatchNorm(axis=1, center=True, scale=True))
            net.add(nn.Activation(activation="relu"), nn.MaxPool2D(pool_size=2, strides=2), nn.Flatten())
            net.add(nn.Dense(16), nn.LeakyReLU(0.1), nn.Dense(4))
        return net

    net = make()
    net.initialize(mx.init.Xavier(), ctx=ctx)
    net.hybridize()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    schedule = mx.lr_scheduler.FactorScheduler(step=6, factor=0.7)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02, "lr_scheduler": schedule})
    for _ in range(4):
        for data, label in train:
            with autograd.record():
                loss = loss_of(net(data.as_in_context(ctx)), label.as_in_context(ctx))
            loss.backward()
            trainer.step(data.shape[0])
    assert trainer.learning_rate < 0.01
    assert accuracy_of(net, train, ctx) > 0.95
    x = nd.array(points[:16], ctx=ctx)
    before = net(x).asnumpy()
    net.save_parameters(str(tmp_path / "net.params"))
    net.export(str(tmp_path / "net"))
    other = make()
    other.load_parameters(str(tmp_path / "net.params"), ctx=ctx)
    imported = gluon.SymbolBlock.imports(
        str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"), ctx=ctx
    )
    for again in (other, imported):
        np.testing.assert_allclose(again(x).asnumpy(), before, rtol=1e-4, atol=1e-5)


def test_generative_adversarial_net():
    """The generator learns an affine map of a normal distribution."""
    a, b = np.float32([[1, 2], [-0.1, 0.5]]), np.float32([1, 2])
    real_data = np.random.normal(size=(512, 2)).astype(np.float32) @ a + b
    data = gluon.data.DataLoader(
        gluon.data.ArrayDataset(real_data, np.zeros(512, np.float32)), 64, shuffle=True
    )
    net_g, net_d = nn.Sequential(), nn.Sequential()
    with net_g.name_scope():
        net_g.add(nn.Dense(2))
    with net_d.name_scope():
        net_d.add(nn.Dense(5, activation="tanh"), nn.Dense(3, activation="tanh"), nn.Dense(2))
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    for net, sigma in ((net_g, 0.5), (net_d, 0.5)):
        net.initialize(mx.init.Normal(sigma))
    trainer_g = gluon.Trainer(net_g.collect_params(), "adam", {"learning_rate": 0.02})
    trainer_d = gluon.Trainer(net_d.collect_params(), "adam", {"learning_rate": 0.05})
    real_label, fake_label = nd.ones((64,)), nd.zeros((64,))
    for _ in range(20):
        for real, _unused in data:
            noise = nd.random_normal(shape=(64, 2))
            with autograd.record():
                fake = net_g(noise)
                loss_d = loss_of(net_d(real), real_label) + loss_of(net_d(fake.detach()), fake_label)
            loss_d.backward()
            trainer_d.step(64)
            with autograd.record():
                loss_g = loss_of(net_d(net_g(noise)), real_label)
            loss_g.backward()
            trainer_g.step(64)
    made = net_g(nd.random_normal(shape=(512, 2))).asnumpy()
    np.testing.assert_allclose(made.mean(axis=0), real_data.mean(axis=0), atol=0.8)


def test_fine_tuning_a_part():
    """Parameters that are frozen stay; those of a new head learn, faster by a factor."""
    points, labels = blobs(64)
    base = nn.HybridSequential(prefix="base_")
    with base.name_scope():
        base.add(nn.Dense(16, activation="relu"), nn.Dense(16, activation="relu"))
    base.initialize(mx.init.Xavier())
    base(nd.array(points))
    base.collect_params().setattr("grad_req", "null")
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(base, nn.Dense(4))
    net[1].initialize(mx.init.Xavier())
    net[1].collect_params().setattr("lr_mult", 10)
    frozen = base[0].weight.data().asnumpy()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.02})
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    losses = []
    for _ in range(30):
        with autograd.record():
            loss = loss_of(net(nd.array(points)), nd.array(labels))
        loss.backward()
        trainer.step(64)
        losses.append(loss.mean().asscalar())
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_array_equal(base[0].weight.data().asnumpy(), frozen)
