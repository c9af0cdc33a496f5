"""What the programs of tutorials share: the device to run on, and scikit-learn's digits."""

import numpy as np
from sklearn.datasets import load_digits

import clgrad as mx
from clgrad import gluon, nd


def try_gpu():
    """The first GPU if there is one, as tutorials write it."""
    try:
        ctx = mx.gpu()
        _ = nd.zeros((1,), ctx=ctx)
    except mx.base.MXNetError:
        ctx = mx.cpu()
    return ctx


def try_all_gpus():
    """All GPUs, or the CPU, as tutorials write it."""
    contexts = []
    try:
        for i in range(16):
            ctx = mx.gpu(i)
            _ = nd.array([0], ctx=ctx)
            contexts.append(ctx)
    except mx.base.MXNetError:
        pass
    return contexts or [mx.cpu()]


def digits(shape, count=1280):
    """Handwritten digits of 8 x 8, from 0 to 1, in this shape: so many to train on, others to test on."""
    data, target = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(data))
    data = (data[order] / 16).astype(np.float32).reshape((-1, *shape))
    target = target[order].astype(np.float32)
    return (data[:count], target[:count]), (data[-320:], target[-320:])


def loaders(shape, batch_size, count=1280):
    """The same as iterators over batches."""
    train, test = digits(shape, count)
    return (
        gluon.data.DataLoader(
            gluon.data.ArrayDataset(*train), batch_size, shuffle=True, last_batch="discard"
        ),
        gluon.data.DataLoader(gluon.data.ArrayDataset(*test), batch_size, shuffle=False),
    )


def evaluate_accuracy(data_iterator, net, ctx):
    """The share of right answers of ``net``, a block or a function."""
    numerator = denominator = 0.0
    for data, label in data_iterator:
        data = data.as_in_context(ctx)
        label = label.as_in_context(ctx)
        predictions = nd.argmax(net(data), axis=1)
        numerator += nd.sum(predictions == label)
        denominator += data.shape[0]
    return (numerator / denominator).asscalar()
