"""Programs in the style of the tutorials' chapters on blocks, convolutional nets, graphs and devices."""

import warnings

import numpy as np
import pytest
from tutorial_harness import digits, evaluate_accuracy, loaders, try_all_gpus, try_gpu

import clgrad as mx
from clgrad import autograd, gluon, init, nd, sym
from clgrad.gluon import loss as gloss
from clgrad.gluon import nn

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(1)
    np.random.seed(1)


def train(net, train_iter, trainer, ctx, epochs):
    """The loop of all of these chapters; gives the accuracy in the last epoch."""
    loss = gloss.SoftmaxCrossEntropyLoss()
    for _ in range(epochs):
        train_l_sum, train_acc_sum, n = 0.0, 0.0, 0
        for X, y in train_iter:
            X, y = X.as_in_context(ctx), y.as_in_context(ctx)
            with autograd.record():
                y_hat = net(X)
                loss_of_batch = loss(y_hat, y).sum()
            loss_of_batch.backward()
            trainer.step(X.shape[0])
            y = y.astype("float32")
            train_l_sum += loss_of_batch.asscalar()
            train_acc_sum += (y_hat.argmax(axis=1) == y).sum().asscalar()
            n += y.size
    return train_l_sum / n, train_acc_sum / n


# Convolutional nets of the chapters, cut down to images of 8 x 8.


def lenet():
    net = nn.Sequential()
    net.add(
        nn.Conv2D(channels=8, kernel_size=3, padding=1, activation="relu"),
        nn.MaxPool2D(pool_size=2, strides=2),
        nn.Conv2D(channels=16, kernel_size=3, activation="relu"),
        # Dense makes (batch, channels, height, width) to (batch, everything else).
        nn.Dense(40, activation="sigmoid"),
        nn.Dense(10),
    )
    return net


def vgg_block(num_convs, num_channels):
    blk = nn.Sequential()
    for _ in range(num_convs):
        blk.add(nn.Conv2D(num_channels, kernel_size=3, padding=1, activation="relu"))
    blk.add(nn.MaxPool2D(pool_size=2, strides=2))
    return blk


def vgg():
    net = nn.Sequential()
    for num_convs, num_channels in ((1, 8), (2, 16)):
        net.add(vgg_block(num_convs, num_channels))
    net.add(nn.Dense(32, activation="relu"), nn.Dropout(0.3), nn.Dense(10))
    return net


class Inception(nn.Block):
    """Four ways side by side, joined along the channels."""

    def __init__(self, c1, c2, c3, c4, **kwargs):
        super().__init__(**kwargs)
        self.p1_1 = nn.Conv2D(c1, kernel_size=1, activation="relu")
        self.p2_1 = nn.Conv2D(c2[0], kernel_size=1, activation="relu")
        self.p2_2 = nn.Conv2D(c2[1], kernel_size=3, padding=1, activation="relu")
        self.p3_1 = nn.Conv2D(c3[0], kernel_size=1, activation="relu")
        self.p3_2 = nn.Conv2D(c3[1], kernel_size=5, padding=2, activation="relu")
        self.p4_1 = nn.MaxPool2D(pool_size=3, strides=1, padding=1)
        self.p4_2 = nn.Conv2D(c4, kernel_size=1, activation="relu")

    def forward(self, x):
        p1 = self.p1_1(x)
        p2 = self.p2_2(self.p2_1(x))
        p3 = self.p3_2(self.p3_1(x))
        p4 = self.p4_2(self.p4_1(x))
        return nd.concat(p1, p2, p3, p4, dim=1)


def googlenet():
    net = nn.Sequential()
    net.add(nn.Conv2D(8, kernel_size=3, padding=1, activation="relu"), nn.MaxPool2D(2, 2))
    net.add(Inception(4, (4, 8), (2, 4), 4), nn.MaxPool2D(2, 2), nn.Dense(32, "relu"), nn.Dense(10))
    return net


class Residual(nn.Block):
    def __init__(self, num_channels, use_1x1conv=False, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = nn.Conv2D(num_channels, kernel_size=3, padding=1, strides=strides)
        self.conv2 = nn.Conv2D(num_channels, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2D(num_channels, kernel_size=1, strides=strides) if use_1x1conv else None
        self.bn1 = nn.BatchNorm()
        self.bn2 = nn.BatchNorm()

    def forward(self, X):
        Y = nd.relu(self.bn1(self.conv1(X)))
        Y = self.bn2(self.conv2(Y))
        if self.conv3:
            X = self.conv3(X)
        return nd.relu(Y + X)


def resnet():
    net = nn.Sequential()
    net.add(nn.Conv2D(8, kernel_size=3, padding=1), nn.BatchNorm(), nn.Activation("relu"))
    net.add(Residual(8), Residual(16, use_1x1conv=True, strides=2), nn.GlobalAvgPool2D(), nn.Dense(10))
    return net


def conv_block(num_channels):
    blk = nn.Sequential()
    blk.add(nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(num_channels, kernel_size=3, padding=1))
    return blk


class DenseBlock(nn.Block):
    def __init__(self, num_convs, num_channels, **kwargs):
        super().__init__(**kwargs)
        self.net = nn.Sequential()
        for _ in range(num_convs):
            self.net.add(conv_block(num_channels))

    def forward(self, X):
        for blk in self.net:
            X = nd.concat(X, blk(X), dim=1)
        return X


def densenet():
    net = nn.Sequential()
    net.add(nn.Conv2D(8, kernel_size=3, padding=1), nn.MaxPool2D(2, 2), DenseBlock(2, 8))
    net.add(nn.BatchNorm(), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(10))
    return net


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (lenet, ("adam", {"learning_rate": 0.01})),
        (vgg, ("sgd", {"learning_rate": 0.1, "momentum": 0.8})),
        (googlenet, ("adam", {"learning_rate": 0.02})),
        (resnet, ("sgd", {"learning_rate": 0.2})),
        (densenet, ("adam", {"learning_rate": 0.01})),
    ],
)
def test_convolutional_nets(make, optimizer):
    ctx = try_gpu()
    train_iter, test_iter = loaders((1, 8, 8), 32)
    net = make()
    net.initialize(force_reinit=True, ctx=ctx, init=init.Xavier())
    X = nd.random.uniform(shape=(1, 1, 8, 8), ctx=ctx)
    for layer in net:
        X = layer(X)
    assert X.shape == (1, 10)
    trainer = gluon.Trainer(net.collect_params(), *optimizer)
    train(net, train_iter, trainer, ctx, epochs=4)
    trainer.set_learning_rate(trainer.learning_rate * 0.2)
    train(net, train_iter, trainer, ctx, epochs=1)
    assert evaluate_accuracy(test_iter, net, ctx) > 0.8


class BatchNorm(nn.Block):
    """The layer as a chapter writes it, with moving averages that do not learn."""

    def __init__(self, num_features, num_dims, **kwargs):
        super().__init__(**kwargs)
        shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)
        self.gamma = self.params.get("gamma", shape=shape, init=init.One())
        self.beta = self.params.get("beta", shape=shape, init=init.Zero())
        self.moving_mean = nd.zeros(shape)
        self.moving_var = nd.ones(shape)

    def forward(self, X):
        if self.moving_mean.context != X.context:
            self.moving_mean = self.moving_mean.copyto(X.context)
            self.moving_var = self.moving_var.copyto(X.context)
        gamma, beta = self.gamma.data(X.context), self.beta.data(X.context)
        if not autograd.is_training():
            return gamma * (X - self.moving_mean) / nd.sqrt(self.moving_var + 1e-5) + beta
        if len(X.shape) == 2:
            mean = X.mean(axis=0, keepdims=True)
            var = ((X - mean) ** 2).mean(axis=0, keepdims=True)
        else:
            mean = X.mean(axis=(0, 2, 3), keepdims=True)
            var = ((X - mean) ** 2).mean(axis=(0, 2, 3), keepdims=True)
        with autograd.pause():
            self.moving_mean = 0.9 * self.moving_mean + 0.1 * mean
            self.moving_var = 0.9 * self.moving_var + 0.1 * var
        return gamma * (X - mean) / nd.sqrt(var + 1e-5) + beta


def test_batch_norm_as_a_block_is_that_of_gluon():
    """Two nets from the same weights, one with the layer above, take the same way."""
    ctx = try_gpu()
    (data, label), _ = digits((1, 8, 8), count=64)
    X, y = nd.array(data, ctx=ctx), nd.array(label, ctx=ctx)

    def made(conv_norm, dense_norm):
        net = nn.Sequential()
        net.add(
            nn.Conv2D(4, 3, in_channels=1), conv_norm, nn.Activation("relu"), nn.Dense(20, in_units=144)
        )
        net.add(dense_norm, nn.Activation("sigmoid"), nn.Dense(10, in_units=20))
        net.initialize(init.Xavier(), ctx=ctx)
        return net

    ours = made(BatchNorm(4, num_dims=4), BatchNorm(20, num_dims=2))
    theirs = made(nn.BatchNorm(in_channels=4), nn.BatchNorm(in_channels=20))
    theirs(X)
    for i in (0, 3, 6):
        for name in ("weight", "bias"):
            getattr(theirs[i], name).set_data(getattr(ours[i], name).data())
    for net in (ours, theirs):
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.2})
        losses = [train(net, [(X, y)], trainer, ctx, epochs=1)[0] for _ in range(5)]
        assert losses[-1] < losses[0]
    np.testing.assert_allclose(
        ours[1].gamma.data().reshape((-1,)).asnumpy(), theirs[1].gamma.data().asnumpy(), rtol=1e-3
    )
    np.testing.assert_allclose(
        ours[4].moving_mean.reshape((-1,)).asnumpy(), theirs[4].running_mean.data().asnumpy(), 1e-2, 1e-3
    )
    np.testing.assert_allclose(ours(X).asnumpy(), theirs(X).asnumpy(), rtol=0.05, atol=0.01)


# Blocks, parameters and files.


class MySequential(nn.Block):
    def add(self, block):
        self._children[block.name] = block

    def forward(self, x):
        for block in self._children.values():
            x = block() if x is None else block(x)
        return x


class FancyMLP(nn.Block):
    """A constant, a layer that is used twice, and control flow on values."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rand_weight = self.params.get_constant("rand_weight", nd.random.uniform(shape=(20, 20)))
        self.dense = nn.Dense(20, activation="relu")

    def forward(self, x):
        x = self.dense(x)
        x = nd.relu(nd.dot(x, self.rand_weight.data()) + 1)
        x = self.dense(x)
        while x.norm().asscalar() > 1:
            x /= 2
        if x.norm().asscalar() < 0.8:
            x *= 10
        return x.sum()


def test_blocks_inside_blocks():
    x = nd.random.uniform(shape=(2, 20))
    net = MySequential()
    net.add(nn.Dense(256, activation="relu"))
    net.add(nn.Dense(10))
    net.initialize()
    assert net(x).shape == (2, 10)
    chimera = nn.Sequential()
    chimera.add(nn.Dense(20), FancyMLP())
    chimera.initialize()
    assert chimera(x).shape == (1,)
    assert chimera(x).asscalar() > 0
    assert sorted(name.rpartition("_")[2] for name in chimera.collect_params()) == sorted(
        ["weight", "bias", "weight", "bias", "weight"]
    )


class MyInit(init.Initializer):
    def _init_weight(self, name, data):
        data[:] = nd.random.uniform(low=-10, high=10, shape=data.shape)
        data *= data.abs() >= 5


def test_access_to_parameters():
    net = nn.Sequential()
    net.add(nn.Dense(8, activation="relu"), nn.Dense(4))
    net.initialize()
    net(nd.zeros((2, 6)))
    assert net[0].params["dense0_weight".replace("dense0_", net[0].prefix)] is net[0].weight
    assert net[0].weight.shape == (8, 6)
    assert net[0].weight.grad().sum().asscalar() == 0
    assert list(net.collect_params(".*weight").keys()) == [net[0].weight.name, net[1].weight.name]
    assert net.collect_params()[net[1].bias.name].data().shape == (4,)
    net.initialize(init=init.Normal(sigma=0.01), force_reinit=True)
    assert 0 < net[0].weight.data().abs().max().asscalar() < 0.1
    net.initialize(init=init.Constant(1), force_reinit=True)
    np.testing.assert_array_equal(net[0].weight.data()[0].asnumpy(), np.ones(6))
    net[0].weight.initialize(init=init.Xavier(), force_reinit=True)
    net.initialize(MyInit(), force_reinit=True)
    values = abs(net[0].weight.data().asnumpy())
    assert ((values == 0) | ((values >= 5) & (values <= 10))).all()
    assert (values > 0).any()
    net[0].weight.set_data(net[0].weight.data() + 1)
    np.testing.assert_allclose(abs(net[0].weight.data().asnumpy() - 1), values, rtol=1e-6, atol=1e-6)

    tied = nn.Sequential()
    shared = nn.Dense(8, activation="relu")
    tied.add(nn.Dense(8, activation="relu"), shared, nn.Dense(8, activation="relu", params=shared.params))
    tied.initialize()
    tied(nd.random.uniform(shape=(2, 20)))
    assert (tied[1].weight.data()[0] == tied[2].weight.data()[0]).min().asscalar() == 1
    assert len(tied.collect_params().keys()) == 4


def test_reading_and_writing(tmp_path):
    x, y = nd.ones(3), nd.zeros(4)
    nd.save(str(tmp_path / "x"), x)
    nd.save(str(tmp_path / "xy"), [x, y])
    nd.save(str(tmp_path / "mydict"), {"x": x, "y": y})
    assert len(nd.load(str(tmp_path / "x"))) == 1
    x2, y2 = nd.load(str(tmp_path / "xy"))
    assert x2.shape == (3,)
    assert y2.shape == (4,)
    assert set(nd.load(str(tmp_path / "mydict"))) == {"x", "y"}
    ctx = try_gpu()

    def made():
        net = nn.Sequential()
        with net.name_scope():
            net.add(nn.Dense(256, activation="relu"), nn.Dense(10))
        return net

    net, X = made(), nd.random.uniform(shape=(2, 20), ctx=ctx)
    net.collect_params().initialize(mx.init.Xavier(magnitude=2.24), ctx=ctx)
    Y = net(X)
    with warnings.catch_warnings():
        # Books write the older names; both of the libraries warn of them.
        warnings.simplefilter("ignore")
        net.save_params(str(tmp_path / "mlp.params"))
        net2 = made()
        net2.load_params(str(tmp_path / "mlp.params"), ctx=ctx)
    assert (net2(X) == Y).min().asscalar() == 1


# Hybridizing.


class HybridNet(nn.HybridBlock):
    """Tells what it is called with."""

    seen: list = []  # noqa: RUF012

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.hidden = nn.Dense(10)
            self.output = nn.Dense(2)

    def hybrid_forward(self, F, x):
        self.seen.append((F, type(x)))
        x = F.relu(self.hidden(x))
        return self.output(x)


def test_hybrid_blocks_see_arrays_and_symbols(tmp_path):
    net = HybridNet()
    net.initialize(init=init.Normal(sigma=0.01))
    x = nd.random.normal(shape=(1, 4))
    HybridNet.seen.clear()
    before = net(x).asnumpy()
    assert (nd, nd.NDArray) in HybridNet.seen
    net.hybridize()
    for _ in range(3):
        np.testing.assert_allclose(net(x).asnumpy(), before, rtol=1e-5)
    out = net(sym.var("data"))
    assert (sym, sym.Symbol) in HybridNet.seen
    assert [name.rpartition("_")[2] for name in out.list_arguments()] == [
        "data",
        "weight",
        "bias",
        "weight",
        "bias",
    ]
    out.save(str(tmp_path / "net.json"))
    assert sym.load(str(tmp_path / "net.json")).list_arguments() == out.list_arguments()
    assert "FullyConnected" in out.tojson()


def test_a_hybridized_net_trains_as_the_other_does():
    """`static_alloc` and `static_shape`, batches that end in a short one, `waitall` between."""
    ctx = try_gpu()
    (data, label), (test_data, test_label) = digits((64,), count=328)

    def made():
        net = nn.HybridSequential()
        with net.name_scope():
            net.add(nn.Dense(32, activation="relu"), nn.BatchNorm(), nn.Dense(32, activation="relu"))
            net.add(nn.HybridLambda("tanh"), nn.HybridLambda(lambda F, x: F.clip(x, -3, 3)), nn.Dense(10))
        net.initialize(init.Constant(0.05), ctx=ctx)
        return net

    def grown(net):
        net(nd.zeros((2, 64), ctx=ctx))
        draw = np.random.RandomState(3)
        for p in net.collect_params(".*weight").values():
            p.set_data(nd.array(draw.normal(0, 0.2, p.shape), ctx=ctx))
        return net

    plain, hybrid = grown(made()), grown(made())
    hybrid.hybridize(static_alloc=True, static_shape=True)
    for net in (plain, hybrid):
        batches = gluon.data.DataLoader(gluon.data.ArrayDataset(data, label), 64, last_batch="keep")
        train(net, batches, gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01}), ctx, 8)
        nd.waitall()
    x = nd.array(test_data, ctx=ctx)
    np.testing.assert_allclose(hybrid(x).asnumpy(), plain(x).asnumpy(), rtol=0.02, atol=0.02)
    metric = mx.metric.CompositeEvalMetric([mx.metric.Accuracy(), mx.metric.TopKAccuracy(top_k=3)])
    metric.update(labels=[nd.array(test_label, ctx=ctx)], preds=[nd.softmax(hybrid(x))])
    (_, (first, among_three)) = metric.get()
    assert 0.8 < first <= among_three


# Many devices.


def test_training_on_all_devices():
    ctx = try_all_gpus()
    train_iter, test_iter = loaders((1, 8, 8), 64)
    net = resnet()
    net.initialize(init=init.Xavier(), ctx=ctx)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01}, kvstore="device")
    loss = gloss.SoftmaxCrossEntropyLoss()
    for epoch in range(5):
        if epoch == 4:
            trainer.set_learning_rate(trainer.learning_rate * 0.2)
        for X, y in train_iter:
            gpu_Xs = gluon.utils.split_and_load(X, ctx)
            gpu_ys = gluon.utils.split_and_load(y, ctx)
            with autograd.record():
                ls = [loss(net(gpu_X), gpu_y) for gpu_X, gpu_y in zip(gpu_Xs, gpu_ys, strict=True)]
            for part in ls:
                part.backward()
            trainer.step(X.shape[0])
        nd.waitall()
    assert net[0].weight.data(ctx[0])[0].context == ctx[0]
    assert evaluate_accuracy(test_iter, net, ctx[0]) > 0.8


def test_a_store_of_sums():
    """`kv.push` and `kv.pull` by hand, with an updater of one's own."""
    store = mx.kv.create("local")
    store.init(3, nd.ones((2, 3)) * 2)
    a = nd.zeros((2, 3))
    store.pull(3, out=a)
    assert a.sum().asscalar() == 12
    contexts = try_all_gpus()
    store.push(3, [nd.ones((2, 3), ctx=ctx) for ctx in contexts])
    store.pull(3, out=a)
    np.testing.assert_array_equal(a.asnumpy(), len(contexts))

    def update(key, pushed, stored):
        assert key == 3
        stored += pushed * 2

    store._set_updater(update)
    store.push(3, [nd.ones((2, 3), ctx=ctx) for ctx in contexts])
    store.pull(3, out=a)
    np.testing.assert_array_equal(a.asnumpy(), 3 * len(contexts))
