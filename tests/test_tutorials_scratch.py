"""Programs in the style of the tutorials' "from scratch" chapters: arrays and formulas."""

import itertools

import numpy as np
import pytest
from tutorial_harness import evaluate_accuracy, loaders, try_gpu

import clgrad as mx
from clgrad import autograd, nd

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(1)
    np.random.seed(1)


def SGD(params, lr, batch_size=1):
    for param in params:
        param[:] = param - lr * param.grad / batch_size


def softmax(y_linear):
    exp = nd.exp(y_linear - nd.max(y_linear, axis=1).reshape((-1, 1)))
    norms = nd.sum(exp, axis=1).reshape((-1, 1))
    return exp / norms


def cross_entropy(yhat, y):
    return -nd.sum(y * nd.log(yhat + 1e-6), axis=1)


def softmax_cross_entropy(yhat_linear, y):
    return -nd.nansum(y * nd.log_softmax(yhat_linear), axis=0, exclude=True)


def train(net, params, data, loss_of, ctx, epochs, lr):
    """The loop of all of these chapters; gives each epoch's moving loss."""
    for param in params:
        param.attach_grad()
    losses, moving_loss = [], 0.0
    for e in range(epochs):
        for i, (x, label) in enumerate(data):
            x = x.as_in_context(ctx)
            label = label.as_in_context(ctx)
            label_one_hot = nd.one_hot(label, 10)
            with autograd.record():
                output = net(x)
                loss = loss_of(output, label_one_hot)
            loss.backward()
            SGD(params, lr, x.shape[0])
            if i == 0 and e == 0:
                moving_loss = nd.mean(loss).asscalar()
            else:
                moving_loss = 0.9 * moving_loss + 0.1 * nd.mean(loss).asscalar()
        losses.append(moving_loss)
    assert losses[-1] < losses[0]
    return losses


def test_linear_regression():
    """Minibatches are taken by index from shuffled rows, and the loss is a function of one's own."""
    true_w, true_b = nd.array([2, -3.4]), 4.2
    features = nd.random.normal(scale=1, shape=(200, 2))
    labels = true_w[0] * features[:, 0] + true_w[1] * features[:, 1] + true_b
    labels += nd.random.normal(scale=0.01, shape=labels.shape)

    def data_iter(batch_size):
        indices = list(range(len(features)))
        np.random.shuffle(indices)
        for i in range(0, len(indices), batch_size):
            j = nd.array(indices[i : min(i + batch_size, len(indices))])
            yield features.take(j), labels.take(j)

    w = nd.random.normal(scale=0.01, shape=(2, 1))
    b = nd.zeros(shape=(1,))
    w.attach_grad()
    b.attach_grad()
    for _ in range(4):
        for X, y in data_iter(10):
            with autograd.record():
                y_hat = nd.dot(X, w) + b
                loss = (y_hat - y.reshape(y_hat.shape)) ** 2 / 2
            loss.backward()
            SGD([w, b], 0.1, 10)
    np.testing.assert_allclose(w.reshape((-1,)).asnumpy(), true_w.asnumpy(), atol=0.02)
    assert b.asscalar() == pytest.approx(true_b, abs=0.02)


def test_rows_are_shuffled_on_the_device():
    rows = nd.arange(40).reshape((20, 2))
    mixed = nd.random.shuffle(rows)
    first = mixed[:, 0].asnumpy()
    assert sorted(first) == list(range(0, 40, 2))
    assert (first != np.arange(0, 40, 2)).any()
    np.testing.assert_array_equal(mixed[:, 1].asnumpy(), first + 1)


def test_perceptron():
    """Wrong examples are added to the weights; no gradient."""
    true_w = nd.array([1.0, -2.0, 0.5])
    X = nd.random_normal(0, 1, shape=(200, 3))
    scores = nd.dot(X, true_w)
    chosen = [i for i in range(200) if abs(scores[i].asscalar()) > 0.5]
    w, b = nd.zeros(shape=3), nd.zeros(shape=1)
    for _ in range(10):
        errors = 0
        for i in chosen[:60]:
            x, y = X[i], nd.sign(scores[i])
            if (y * (nd.dot(w, x) + b)).asscalar() <= 0:
                w += y * x
                b += y
                errors += 1
        if errors == 0:
            break
    assert errors <= 2
    assert nd.dot(w, true_w).asscalar() / (nd.norm(w) * nd.norm(true_w)).asscalar() > 0.9


def test_logistic_regression():
    def logistic(z):
        return 1.0 / (1.0 + nd.exp(-z))

    def log_loss(output, y):
        yhat = logistic(output)
        return -nd.nansum(y * nd.log(yhat) + (1 - y) * nd.log(1 - yhat))

    X = nd.random_normal(shape=(300, 5))
    y = nd.dot(X, nd.array([[1], [2], [-1], [0], [3]])) > 0
    w = nd.random_normal(shape=(5, 1), scale=0.01)
    b = nd.zeros(1)
    params = [w, b]
    for param in params:
        param.attach_grad()
    for _ in range(30):
        with autograd.record():
            loss = log_loss(nd.dot(X, w) + b, y)
        loss.backward()
        SGD(params, 0.005)
    prediction = (nd.sign(nd.dot(X, w) + b) + 1) / 2
    assert nd.mean(prediction == y).asscalar() > 0.97


def test_weight_decay():
    """200 features and 20 examples: the penalty keeps the weights small, and helps on other examples."""
    true_w, true_b = nd.ones((200, 1)) * 0.01, 0.05
    features = nd.random.normal(shape=(120, 200))
    labels = nd.dot(features, true_w) + true_b + nd.random.normal(scale=0.01, shape=(120, 1))
    X, y = features[:20], labels[:20]

    def fit(lambd):
        w = nd.random.normal(scale=1, shape=(200, 1))
        b = nd.zeros(shape=(1,))
        w.attach_grad()
        b.attach_grad()
        for _ in range(60):
            with autograd.record():
                loss = (nd.dot(X, w) + b - y) ** 2 / 2
                loss = loss + lambd * ((w**2).sum() / 2)
            loss.backward()
            SGD([w, b], 0.003 * 4, 20)
        test_loss = ((nd.dot(features[20:], w) + b - labels[20:]) ** 2 / 2).mean().asscalar()
        return w.norm().asscalar(), test_loss

    (free, free_loss), (small, small_loss) = fit(0), fit(3)
    assert small < 0.2 * free
    assert small_loss < 0.2 * free_loss


def dense_params(ctx, *units):
    params = []
    for inputs, outputs in itertools.pairwise(units):
        params.append(nd.random_normal(shape=(inputs, outputs), scale=(2 / inputs) ** 0.5, ctx=ctx))
        params.append(nd.zeros(outputs, ctx=ctx))
    return params


def relu(X):
    return nd.maximum(X, nd.zeros_like(X))


def dropout(X, drop_probability):
    """The layer written with a comparison of random numbers."""
    keep_probability = 1 - drop_probability
    mask = nd.random_uniform(0, 1.0, X.shape, ctx=X.context) < keep_probability
    scale = 1 / keep_probability if keep_probability > 0.0 else 0.0
    return mask * X * scale


def test_dropout_drops_what_it_says():
    A = nd.ones((50, 40))
    np.testing.assert_array_equal(dropout(A, 0.0).asnumpy(), A.asnumpy())
    np.testing.assert_array_equal(dropout(A, 1.0).asnumpy(), 0)
    half = dropout(A, 0.5).asnumpy()
    assert set(np.unique(half)) == {0, 2}
    assert half.mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("kind", ["softmax regression", "perceptron", "perceptron with dropout"])
def test_dense_nets(kind):
    ctx = try_gpu()
    train_data, test_data = loaders((8, 8, 1), 64)
    params = dense_params(ctx, 64, 10) if kind == "softmax regression" else dense_params(ctx, 64, 64, 10)

    def net(X):
        X = X.reshape((-1, 64))
        if kind == "softmax regression":
            return softmax(nd.dot(X, params[0]) + params[1])
        h = relu(nd.dot(X, params[0]) + params[1])
        if kind == "perceptron with dropout" and autograd.is_training():
            h = dropout(h, 0.3)
        return nd.dot(h, params[2]) + params[3]

    loss_of = cross_entropy if kind == "softmax regression" else softmax_cross_entropy
    train(net, params, train_data, loss_of, ctx, epochs=6, lr=0.5)
    assert evaluate_accuracy(test_data, net, ctx) > 0.9


_BN_MOVING_MEANS, _BN_MOVING_VARS = {}, {}


def batch_norm(X, gamma, beta, momentum=0.9, eps=1e-5, scope_name=""):
    """Batch normalisation of matrices and images, with averages kept by name."""
    axes, shape = ((0,), (1, -1)) if len(X.shape) == 2 else ((0, 2, 3), (1, -1, 1, 1))
    if scope_name not in _BN_MOVING_MEANS:
        channels = X.shape[1]
        _BN_MOVING_MEANS[scope_name] = nd.zeros(shape=(channels,), ctx=X.context)
        _BN_MOVING_VARS[scope_name] = nd.ones(shape=(channels,), ctx=X.context)
    if autograd.is_training():
        mean = nd.mean(X, axis=axes)
        variance = nd.mean((X - mean.reshape(shape)) ** 2, axis=axes)
        moving = _BN_MOVING_MEANS[scope_name], _BN_MOVING_VARS[scope_name]
        _BN_MOVING_MEANS[scope_name] = moving[0] * momentum + mean.detach() * (1.0 - momentum)
        _BN_MOVING_VARS[scope_name] = moving[1] * momentum + variance.detach() * (1.0 - momentum)
    else:
        mean, variance = _BN_MOVING_MEANS[scope_name], _BN_MOVING_VARS[scope_name]
    X_hat = (X - mean.reshape(shape)) * 1.0 / nd.sqrt(variance.reshape(shape) + eps)
    return gamma.reshape(shape) * X_hat + beta.reshape(shape)


@pytest.mark.parametrize("normalised", [False, True])
def test_convolutional_net(normalised):
    """Ops of layers on parameters of one's own, with batch normalisation and without."""
    ctx = try_gpu()
    train_data, test_data = loaders((1, 8, 8), 64)
    W1 = nd.random_normal(shape=(8, 1, 3, 3), scale=0.3, ctx=ctx)
    W2 = nd.random_normal(shape=(16, 8, 2, 2), scale=0.2, ctx=ctx)
    b1, b2 = nd.zeros(8, ctx=ctx), nd.zeros(16, ctx=ctx)
    dense = dense_params(ctx, 64, 10)
    gamma = [nd.ones(n, ctx=ctx) for n in (8, 16)] if normalised else []
    beta = [nd.zeros(n, ctx=ctx) for n in (8, 16)] if normalised else []
    shapes = []

    def net(X, debug=False):
        h = X
        for i, (W, b) in enumerate([(W1, b1), (W2, b2)]):
            h = nd.Convolution(data=h, weight=W, bias=b, kernel=W.shape[2:], num_filter=W.shape[0])
            if normalised:
                h = batch_norm(h, gamma[i], beta[i], scope_name=f"bn{i}")
            h = nd.relu(h)
            if i == 0:
                h = nd.Pooling(data=h, pool_type="avg", kernel=(2, 2), stride=(2, 2))
            if debug:
                shapes.append(h.shape)
        h = nd.flatten(h)
        return nd.dot(h, dense[0]) + dense[1]

    train(
        net,
        [W1, b1, W2, b2, *dense, *gamma, *beta],
        train_data,
        softmax_cross_entropy,
        ctx,
        epochs=5,
        lr=0.6,
    )
    assert evaluate_accuracy(test_data, net, ctx) > 0.9
    net(nd.zeros((2, 1, 8, 8), ctx=ctx), debug=True)
    assert shapes == [(2, 8, 3, 3), (2, 16, 2, 2)]
    if normalised:
        assert (_BN_MOVING_VARS["bn0"] != 1).sum().asscalar() == 8


def corr2d(X, K):
    h, w = K.shape
    Y = nd.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1))
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


def test_a_kernel_that_finds_edges_is_learned():
    """The cross-correlation of loops; a layer learns it by steps that write into ``weight.data()[:]``."""
    X = nd.ones((6, 8))
    X[:, 2:6] = 0
    K = nd.array([[1, -1]])
    Y = corr2d(X, K)
    assert Y[0, 1].asscalar() == 1
    assert Y[0, 5].asscalar() == -1
    conv2d = mx.gluon.nn.Conv2D(1, kernel_size=(1, 2))
    conv2d.initialize()
    X, Y = X.reshape((1, 1, 6, 8)), Y.reshape((1, 1, 6, 7))
    for _ in range(20):
        with autograd.record():
            loss = (conv2d(X) - Y) ** 2
        loss.backward()
        conv2d.weight.data()[:] -= 3e-2 * conv2d.weight.grad()
    np.testing.assert_allclose(conv2d.weight.data().reshape((1, 2)).asnumpy(), K.asnumpy(), atol=0.1)
