"""Programs in the style of the tutorials' chapters on models that generate, remember and recommend."""

import numpy as np
import pytest
from tutorial_harness import digits, try_gpu

import clgrad as mx
from clgrad import autograd, gluon, init, nd
from clgrad.gluon import nn

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(1)
    np.random.seed(1)


class VAE(gluon.HybridBlock):
    """Digits from a code of two numbers: the bound is a likelihood less a divergence."""

    def __init__(self, n_hidden, n_latent, n_output, batch_size, **kwargs):
        self.soft_zero = 1e-10
        self.n_latent = n_latent
        self.batch_size = batch_size
        self.output = None
        super().__init__(**kwargs)
        with self.name_scope():
            self.encoder = nn.HybridSequential(prefix="encoder")
            self.encoder.add(nn.Dense(n_hidden, activation="relu"), nn.Dense(n_latent * 2, activation=None))
            self.decoder = nn.HybridSequential(prefix="decoder")
            self.decoder.add(
                nn.Dense(n_hidden, activation="relu"), nn.Dense(n_output, activation="sigmoid")
            )

    def hybrid_forward(self, F, x):
        h = self.encoder(x)
        mu, lv = F.split(h, axis=1, num_outputs=2)
        eps = F.random_normal(loc=0, scale=1, shape=(self.batch_size, self.n_latent))
        z = mu + F.exp(0.5 * lv) * eps
        y = self.decoder(z)
        KL = 0.5 * F.sum(1 + lv - mu * mu - F.exp(lv), axis=1)
        logloss = F.sum(x * F.log(y + self.soft_zero) + (1 - x) * F.log(1 - y + self.soft_zero), axis=1)
        return -logloss - KL


def test_variational_auto_encoder_of_digits():
    ctx = try_gpu()
    (train_data, train_label), (test_data, test_label) = digits((64,))
    batch_size = 64
    train_iter = mx.io.NDArrayIter(
        data={"data": train_data}, label={"label": train_label}, batch_size=batch_size, shuffle=True
    )
    test_iter = mx.io.NDArrayIter(
        data={"data": test_data}, label={"label": test_label}, batch_size=batch_size
    )
    net = VAE(n_hidden=64, n_latent=2, n_output=64, batch_size=batch_size)
    net.collect_params().initialize(mx.init.Xavier(), ctx=ctx)
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    validation = []
    for _ in range(8):
        train_iter.reset()
        for batch in train_iter:
            data = batch.data[0].as_in_context(ctx)
            with autograd.record():
                loss = net(data)
            loss.backward()
            trainer.step(data.shape[0])
        test_iter.reset()
        epoch_loss, n_batch = 0.0, 0
        for batch in test_iter:
            epoch_loss += nd.mean(net(batch.data[0].as_in_context(ctx))).asscalar()
            n_batch += 1
        validation.append(epoch_loss / n_batch)
    assert validation[-1] < validation[0] - 1
    # Far below what the mean image alone would cost: the code says something of the digit.
    mean = np.clip(train_data.mean(0), 1e-3, 1 - 1e-3)
    entropy = -(test_data * np.log(mean) + (1 - test_data) * np.log(1 - mean)).sum(1).mean()
    assert validation[-1] < entropy
    images = net.decoder(nd.random_normal(shape=(9, 2), ctx=ctx)).reshape((9, 8, 8)).asnumpy()
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std(axis=0).max() > 0.05


def test_adversarial_net_of_convolutions():
    """Digits are drawn by transposed convolutions, with the labels of both sides flipped in turn."""
    ctx = try_gpu()
    (train_data, _), _ = digits((1, 8, 8), count=512)
    data = mx.io.NDArrayIter(data=train_data * 2 - 1, batch_size=64, shuffle=True)
    netG = nn.Sequential()
    with netG.name_scope():
        netG.add(nn.Conv2DTranspose(16, 4, 1, 0, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
        netG.add(nn.Conv2DTranspose(1, 4, 2, 1, use_bias=False), nn.Activation("tanh"))
    netD = nn.Sequential()
    with netD.name_scope():
        netD.add(nn.Conv2D(16, 4, 2, 1, use_bias=False), nn.LeakyReLU(0.2))
        netD.add(nn.Conv2D(1, 4, 1, 0, use_bias=False))
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    netG.initialize(mx.init.Normal(0.05), ctx=ctx)
    netD.initialize(mx.init.Normal(0.05), ctx=ctx)
    trainerG = gluon.Trainer(netG.collect_params(), "adam", {"learning_rate": 0.005, "beta1": 0.5})
    trainerD = gluon.Trainer(netD.collect_params(), "adam", {"learning_rate": 0.002, "beta1": 0.5})

    def facc(label, pred):
        pred = pred.ravel()
        label = label.ravel()
        return ((pred > 0.5) == label).mean()

    metric = mx.metric.CustomMetric(facc)
    real_label = nd.ones((64,), ctx=ctx)
    fake_label = nd.zeros((64,), ctx=ctx)

    def far():
        """How far the mean of what is drawn is from that of the data."""
        fake = netG(nd.random_normal(0, 1, shape=(256, 8, 1, 1), ctx=ctx)).asnumpy()
        return np.abs(fake.mean(axis=0) - (train_data * 2 - 1).mean(axis=0)).mean()

    before = far()
    for _ in range(6):
        data.reset()
        metric.reset()
        for batch in data:
            real = batch.data[0].as_in_context(ctx)
            latent_z = mx.nd.random_normal(0, 1, shape=(64, 8, 1, 1), ctx=ctx)
            with autograd.record():
                output = netD(real).reshape((-1, 1))
                errD_real = loss(output, real_label)
                metric.update([real_label], [nd.sigmoid(output)])
                fake = netG(latent_z)
                output = netD(fake.detach()).reshape((-1, 1))
                errD_fake = loss(output, fake_label)
                errD = errD_real + errD_fake
            errD.backward()
            metric.update([fake_label], [nd.sigmoid(output)])
            trainerD.step(64)
            with autograd.record():
                errG = loss(netD(netG(latent_z)).reshape((-1, 1)), real_label)
            errG.backward()
            trainerG.step(64)
    name, acc = metric.get()
    assert name == "facc"
    assert 0.3 < acc <= 1
    assert np.isfinite(errG.asnumpy()).all()
    assert far() < 0.6 * before


def log_gaussian(x, mu, sigma):
    return -0.5 * np.log(2.0 * np.pi) - nd.log(sigma) - (x - mu) ** 2 / (2 * sigma**2)


def test_bayes_by_backprop():
    """Weights are drawn for each batch from normal distributions, whose means and widths learn."""
    ctx = try_gpu()
    (train_data, train_label), (test_data, test_label) = digits((64,))
    shapes = [(64, 32), (32,), (32, 10), (10,)]
    mus = [nd.random_normal(scale=0.1, shape=shape, ctx=ctx) for shape in shapes]
    rhos = [nd.ones(shape, ctx=ctx) * -4 for shape in shapes]
    params = mus + rhos
    for param in params:
        param.attach_grad()
    X, y = nd.array(train_data, ctx=ctx), nd.array(train_label, ctx=ctx)

    def net(x, layers):
        for i in range(0, len(layers), 2):
            x = nd.dot(x, layers[i]) + layers[i + 1]
            x = nd.maximum(x, nd.zeros_like(x)) if i < 2 else x
        return x

    losses = []
    for _epoch in range(8):
        for i in range(0, 1280, 64):
            data, label_one_hot = X[i : i + 64], nd.one_hot(y[i : i + 64], 10)
            with autograd.record():
                epsilons = [nd.random_normal(shape=s, loc=0.0, scale=1.0, ctx=ctx) for s in shapes]
                sigmas = [nd.log(1.0 + nd.exp(rho)) for rho in rhos]
                layers = [mu + sigma * e for mu, sigma, e in zip(mus, sigmas, epsilons, strict=True)]
                likelihood = nd.sum(
                    nd.nansum(label_one_hot * nd.log_softmax(net(data, layers)), axis=0, exclude=True)
                )
                prior = sum(nd.sum(log_gaussian(p, 0.0, nd.ones((1,), ctx=ctx))) for p in layers)
                posterior = sum(
                    nd.sum(log_gaussian(p, mu, sigma))
                    for p, mu, sigma in zip(layers, mus, sigmas, strict=True)
                )
                loss = 1.0 / 20 * (posterior - prior) - likelihood
            loss.backward()
            for param in params:
                param[:] = param - 0.003 * param.grad
            losses.append(loss.asscalar())
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])
    predicted = net(nd.array(test_data, ctx=ctx), mus).argmax(axis=1)
    assert nd.mean(predicted == nd.array(test_label, ctx=ctx)).asscalar() > 0.85


class MFBlock(gluon.Block):
    """Ratings as products of vectors of users and items."""

    def __init__(self, max_users, max_items, num_emb, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.user_embeddings = gluon.nn.Embedding(max_users, num_emb)
            self.item_embeddings = gluon.nn.Embedding(max_items, num_emb)

    def forward(self, users, items):
        a = self.user_embeddings(users)
        b = self.item_embeddings(items)
        return nd.sum(a * b, axis=1)


def test_recommender():
    ctx = try_gpu()
    draw = np.random.RandomState(5)
    ratings = draw.normal(size=(24, 3)) @ draw.normal(size=(3, 20))
    users, items = (a.ravel().astype(np.float32) for a in np.indices(ratings.shape))
    order = draw.permutation(480)
    train, held_back = order[:400], order[400:]
    scores = ratings.ravel().astype(np.float32)
    dataset = gluon.data.ArrayDataset(users[train], items[train], scores[train])
    net = MFBlock(24, 20, 3)
    net.collect_params().initialize(mx.init.Xavier(magnitude=6), ctx=ctx, force_reinit=True)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
    loss_function = gluon.loss.L2Loss()
    for _ in range(25):
        for user, item, score in gluon.data.DataLoader(dataset, 100, shuffle=True):
            user, item, score = (a.as_in_context(ctx) for a in (user, item, score))
            with autograd.record():
                loss = loss_function(net(user, item), score)
            loss.backward()
            trainer.step(user.shape[0])
    found = net(nd.array(users[held_back], ctx=ctx), nd.array(items[held_back], ctx=ctx))
    metric = mx.metric.RMSE()
    metric.update([nd.array(scores[held_back], ctx=ctx)], [found])
    assert metric.get()[1] < 0.5 * scores.std()


class GeneratedImage(nn.Block):
    def __init__(self, img_shape, **kwargs):
        super().__init__(**kwargs)
        self.weight = self.params.get("weight", shape=img_shape)

    def forward(self):
        return self.weight.data()


def gram(X):
    num_channels, n = X.shape[1], X.size // X.shape[1]
    X = X.reshape((num_channels, n))
    return nd.dot(X, X.T) / (num_channels * n)


def test_style_transfer():
    """The parameter is an image: that of one digit, which takes on another's style."""
    ctx = try_gpu()
    (images, _), _ = digits((1, 1, 8, 8), count=16)
    content_img, style_img = nd.array(images[0], ctx=ctx), nd.array(images[1], ctx=ctx)
    layers = nn.Sequential()
    layers.add(nn.Conv2D(8, 3, padding=1, activation="relu"), nn.Conv2D(8, 3, padding=1, activation="relu"))
    layers.initialize(init.Xavier(), ctx=ctx)
    style_gram = gram(layers(style_img))
    content_features = layers[0](content_img)
    net = GeneratedImage(content_img.shape)
    net.initialize(init.Constant(content_img), ctx=ctx, force_reinit=True)
    np.testing.assert_array_equal(net().asnumpy(), images[0])
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    losses = []
    for _ in range(40):
        with autograd.record():
            X = net()
            style_l = ((gram(layers(X)) - style_gram) ** 2).mean()
            content_l = (layers[0](X) - content_features).square().mean()
            tv_l = 0.5 * (
                (X[:, :, 1:, :] - X[:, :, :-1, :]).abs().mean()
                + (X[:, :, :, 1:] - X[:, :, :, :-1]).abs().mean()
            )
            l = nd.add_n(style_l * 1e7, content_l, tv_l * 0.01)
        l.backward()
        trainer.step(1)
        losses.append(style_l.asscalar())
    assert losses[-1] < 0.5 * losses[0]
    assert net().shape == content_img.shape


def bilinear_kernel(in_channels, out_channels, kernel_size):
    factor = (kernel_size + 1) // 2
    center = factor - 1 if kernel_size % 2 == 1 else factor - 0.5
    og = np.ogrid[:kernel_size, :kernel_size]
    filt = (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)
    weight = np.zeros((in_channels, out_channels, kernel_size, kernel_size), dtype="float32")
    weight[range(in_channels), range(out_channels), :, :] = filt
    return nd.array(weight)


def test_fully_convolutional_net():
    """Each pixel has a class; the last layer begins as bilinear interpolation."""
    ctx = try_gpu()
    ramp = nd.arange(8).reshape((1, 1, 1, 8)).broadcast_to((1, 1, 8, 8)).as_in_context(ctx)
    up = nn.Conv2DTranspose(1, kernel_size=4, padding=1, strides=2)
    up.initialize(init.Constant(bilinear_kernel(1, 1, 4)), ctx=ctx)
    np.testing.assert_allclose(up(ramp)[0, 0, 5, 2:-2].asnumpy(), np.arange(0.75, 6.5, 0.5), rtol=1e-6)

    (images, _), _ = digits((1, 8, 8), count=256)
    X, Y = nd.array(images, ctx=ctx), nd.array(images[:, 0] > 0.5, ctx=ctx)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(16, 3, padding=1, strides=2, activation="relu"))
    net.add(nn.Conv2D(2, kernel_size=1), nn.Conv2DTranspose(2, kernel_size=4, padding=1, strides=2))
    net[-1].initialize(init.Constant(bilinear_kernel(2, 2, 4)), ctx=ctx)
    net[:-1].initialize(init.Xavier(), ctx=ctx)
    net.hybridize()
    loss = gluon.loss.SoftmaxCrossEntropyLoss(axis=1)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    for _ in range(40):
        with autograd.record():
            l = loss(net(X), Y)
        l.backward()
        trainer.step(256)
    right = nd.mean(nd.argmax(net(X), axis=1) == Y).asscalar()
    always = 1 - nd.mean(Y).asscalar()
    assert right > 0.85 > always
