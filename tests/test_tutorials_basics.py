"""Programs in the style of the tutorials' first chapters: arrays, linear algebra, chances, gradients."""

import numpy as np
import pytest
from tutorial_harness import digits, try_gpu

import clgrad as mx
from clgrad import autograd, nd

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(1)
    np.random.seed(1)


def test_manipulating_arrays():
    assert nd.empty((3, 4)).shape == (3, 4)
    x = nd.ones((3, 4))
    y = mx.nd.random_normal(0, 1, shape=(3, 4))
    assert y.size == 12
    host = y.asnumpy()
    np.testing.assert_array_equal((x + y).asnumpy(), 1 + host)
    np.testing.assert_allclose(nd.exp(y).asnumpy(), np.exp(host), rtol=1e-5)
    np.testing.assert_allclose(nd.dot(x, y.T).asnumpy(), np.ones((3, 4)) @ host.T, rtol=1e-5, atol=1e-5)

    # In place: none of these makes another array.
    before = id(y)
    y = y + x
    assert id(y) != before
    z = nd.zeros_like(y)
    before = id(z)
    z[:] = x + y
    assert id(z) == before
    nd.elemwise_add(x, y, out=z)
    before = id(x)
    x += y
    assert id(x) == before
    np.testing.assert_array_equal(x.asnumpy(), z.asnumpy())

    # Parts.
    x = nd.arange(12).reshape((3, 4))
    np.testing.assert_array_equal(x[1:3].asnumpy(), np.arange(4, 12).reshape(2, 4))
    x[1, 2] = 9.0
    x[1:2, 1:3] = 5.0
    x[0:1, :] = 12
    np.testing.assert_array_equal(x.asnumpy(), [[12, 12, 12, 12], [4, 5, 5, 7], [8, 9, 10, 11]])
    np.testing.assert_array_equal(x[:, -1].asnumpy(), [12, 7, 11])

    # Broadcasting, comparisons, joining.
    wide = nd.ones((3, 6)) + nd.arange(6).reshape((1, 6)) + nd.arange(3).reshape((3, 1))
    np.testing.assert_array_equal(wide.asnumpy(), 1 + np.arange(6) + np.arange(3)[:, None])
    a, b = nd.arange(12).reshape((3, 4)), nd.array([[2, 1, 4, 3], [1, 2, 3, 4], [4, 3, 2, 1]])
    assert nd.concat(a, b, dim=0).shape == (6, 4)
    assert nd.concat(a, b, dim=1).shape == (3, 8)
    assert nd.stack(a, b).shape == (2, 3, 4)
    np.testing.assert_array_equal((a == b).asnumpy()[0], [0, 1, 0, 1])
    assert a.sum().asscalar() == 66
    assert a.norm().asscalar() == pytest.approx(np.sqrt(506))
    assert a.sum() > 60
    assert not (a.sum() > 70)
    assert "<NDArray 3x4 @" in repr(a)


def test_arrays_have_contexts():
    ctx = try_gpu()
    z = nd.ones(shape=(3, 3), ctx=ctx)
    assert z.context == ctx
    assert z.as_in_context(ctx) is z
    x_there = nd.array([[1, 2, 3]] * 3, ctx=mx.cpu()).copyto(ctx)
    assert (x_there + z).context == ctx
    host = (x_there + z.as_in_context(ctx)).as_in_context(mx.cpu())
    assert host.context == mx.cpu()
    assert host.context.device_type == "cpu"
    np.testing.assert_array_equal(host.asnumpy(), [[2, 3, 4]] * 3)
    ctx = mx.gpu() if mx.context.num_gpus() > 0 else mx.cpu()
    with ctx:
        assert nd.random.uniform(shape=(2,)).context == mx.current_context() == ctx
    assert nd.random.normal(shape=(2, 2), ctx=ctx).context == ctx
    with pytest.raises(mx.base.MXNetError):
        nd.zeros((2, 2), ctx=mx.gpu(99)).asnumpy()


def test_linear_algebra():
    A = nd.arange(20).reshape((5, 4))
    host = np.arange(20, dtype=np.float32).reshape(5, 4)
    B = nd.array(host)
    u = nd.arange(4)
    assert A[2, 3].asscalar() == 11
    assert A.T.shape == (4, 5)
    np.testing.assert_array_equal((A * B).asnumpy(), host * host)
    np.testing.assert_array_equal(nd.dot(A, u).asnumpy(), host @ np.arange(4))
    np.testing.assert_array_equal(nd.dot(A, B.T).asnumpy(), host @ host.T)
    assert (nd.sum(A) / A.size).asscalar() == nd.mean(A).asscalar() == 9.5
    np.testing.assert_array_equal(nd.sum(A, axis=0, keepdims=True).asnumpy(), host.sum(0, keepdims=True))
    assert nd.sum(nd.abs(u)).asscalar() == 6
    cosine = nd.sum(u * u) / (nd.norm(u) * nd.norm(u))
    assert cosine.asscalar() == pytest.approx(1, abs=1e-6)


def test_throwing_dice():
    probabilities = nd.ones(6) / 6
    assert 0 <= nd.sample_multinomial(probabilities).asscalar() < 6
    rolls = nd.random.multinomial(probabilities, shape=(1000,))
    totals = nd.zeros(6)
    counts = nd.zeros((6, 1000))
    for i, roll in enumerate(rolls[:100]):
        totals[int(roll.asscalar())] += 1
        counts[:, i] = totals
    assert totals.sum().asscalar() == 100
    np.testing.assert_array_equal(counts[:, 99].asnumpy(), totals.asnumpy())
    shares = np.bincount(rolls.asnumpy().astype(int), minlength=6) / 1000
    np.testing.assert_allclose(shares, 1 / 6, atol=0.06)


def test_naive_bayes():
    """Counts of dark pixels for each digit, then the most probable class by Bayes' rule."""
    (data, label), (test_data, test_label) = digits((64,))
    ycount = nd.ones(shape=(10,))
    xcount = nd.ones(shape=(64, 10))
    for y in range(10):
        images = nd.array(data[label == y] > 0.5)
        ycount[y] = images.shape[0]
        xcount[:, y] += images.sum(axis=0)
    px = xcount / (ycount + 2).reshape((1, 10))
    py = ycount / ycount.sum()
    logpx, logneg, logpy = nd.log(px), nd.log(1 - px), nd.log(py)
    x = nd.array(test_data > 0.5)
    scores = nd.dot(x, logpx) + nd.dot(1 - x, logneg) + logpy
    accuracy = nd.mean(scores.argmax(axis=1) == nd.array(test_label)).asscalar()
    assert accuracy > 0.8


def test_gradients():
    x = nd.array([[1, 2], [3, 4]])
    x.attach_grad()
    with autograd.record():
        y = x * 2
        z = y * x
    z.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), 4 * x.asnumpy())
    with autograd.record():
        y = x * 2
        z = y * x
    z.backward(nd.array([[10, 1.0], [0.1, 0.01]]))
    np.testing.assert_allclose(x.grad.asnumpy(), 4 * x.asnumpy() * [[10, 1.0], [0.1, 0.01]], rtol=1e-6)
    x = nd.arange(4).reshape((4, 1))
    x.attach_grad()
    assert not autograd.is_training()
    with autograd.record():
        assert autograd.is_training()
        y = 2 * nd.dot(x.T, x)
    y.backward()
    assert (x.grad - 4 * x).norm().asscalar() == 0
    with autograd.record():
        y = (x * x * x).sum()
    np.testing.assert_allclose(autograd.grad(y, [x])[0].asnumpy(), 3 * x.asnumpy() ** 2)


def test_gradients_through_control_flow():
    def f(a):
        b = a * 2
        while nd.norm(b).asscalar() < 1000:
            b = b * 2
        if (nd.sum(b) > 0).asscalar():
            c = b
        else:
            c = 100 * b
        return c

    for sign in (1, -1):
        a = nd.array([0.3, 0.4, 0.5]) * sign
        a.attach_grad()
        with autograd.record():
            c = f(a)
        c.backward()
        np.testing.assert_allclose(a.grad.asnumpy(), (c / a).asnumpy(), rtol=1e-6)


def test_dropout_layer_in_each_mode():
    """`train_mode` and `predict_mode` as the chapter on gradients shows them."""
    x = nd.ones((20, 20))
    np.testing.assert_array_equal(nd.Dropout(x, p=0.5).asnumpy(), x.asnumpy())
    with autograd.train_mode():
        dropped = nd.Dropout(x, p=0.5).asnumpy()
    assert set(np.unique(dropped)) == {0, 2}
    with autograd.record(train_mode=False):
        np.testing.assert_array_equal(nd.Dropout(x, p=0.5).asnumpy(), x.asnumpy())
    with autograd.record(), autograd.predict_mode():
        np.testing.assert_array_equal(nd.Dropout(x, p=0.5).asnumpy(), x.asnumpy())
