"""Products of matrices whose kernels go on with the elementwise launches that follow."""

import numpy as np
import pytest
from bulk_harness import SHAPE, arrays, several_times

import clgrad as mx
from clgrad import engine, nd
from clgrad.registry import sequence


@pytest.mark.parametrize("held", ["last", "both"])
def test_products_go_on_with_what_follows(rng, launches, held):
    """Activation, scale and bias; what rules will read; and where it pays, arrays of the result's shape."""
    x, w, bias = arrays(rng, SHAPE, SHAPE, (128,))
    many, others = arrays(rng, (4, 64, 64), (4, 64, 64))
    images, filters, some = arrays(rng, (4, 3, 32, 32), (20, 3, 5, 5), (20,))
    results = {
        "dot": lambda: (a := nd.dot(x, w), nd.tanh(a * 0.01) * 3),
        "linear": lambda: (a := nd.FullyConnected(x, w, bias, num_hidden=128), nd.relu(a - 500)),
        "batch_dot": lambda: (a := nd.batch_dot(many, others), a * a - a),
        "conv": lambda: (
            a := nd.Convolution(images, filters, some, kernel=(5, 5), pad=(2, 2), num_filter=20),
            nd.relu(a - 500),
        ),
        "gemm": lambda: (a := nd.linalg.gemm2(x, x), a * 2),
        "residual": lambda: (a := nd.dot(x, w), a * 2 + x),
    }
    for name, f in results.items():
        with engine.bulk(0):
            expected = f()
        for _ in range(sequence.REPEATS + 1):
            del launches[:]
            y = f() if held == "both" else f()[1:]
            nd.waitall()
        if name != "residual" or mx.current_context().device.kind == "gpu":
            assert sum(outputs for _, outputs in launches) == len(y), (name, launches)
        for got, wanted in zip(y, expected[-len(y) :], strict=True):
            np.testing.assert_array_equal(got.asnumpy(), wanted.asnumpy())


def test_convolutions_that_are_no_products(rng):
    """Depthwise ones, and on CPUs those by Winograd's method, have kernels that do not go on."""
    for channels, groups in ((16, 16), (32, 1)):
        x, w = arrays(rng, (2, channels, 32, 32), (channels, channels // groups, 3, 3))
        sizes = {"kernel": (3, 3), "pad": (1, 1), "num_filter": channels, "num_group": groups}

        def f(x=x, w=w, sizes=sizes):
            y = nd.Convolution(x, w, no_bias=True, **sizes)
            return [nd.sigmoid(y * 0.01) * y]

        for got, expected in several_times(f):
            np.testing.assert_array_equal(got[0], expected[0])


def test_products_that_stay_alone(rng):
    """What follows is broadcast, of another dtype, or reads the result under another shape."""
    x, w, row = arrays(rng, SHAPE, SHAPE, (128,))
    for _ in range(sequence.REPEATS + 2):
        product = x.asnumpy() @ w.asnumpy()
        np.testing.assert_allclose((nd.dot(x, w) + row).asnumpy(), product + row.asnumpy(), rtol=1e-5)
        folded = nd.dot(x, w).reshape((64, 256)) * 2
        np.testing.assert_allclose(folded.asnumpy(), product.reshape(64, 256) * 2, rtol=1e-5)
        column = nd.dot(x, w) * x[:, :1]
        np.testing.assert_allclose(column.asnumpy(), product * x.asnumpy()[:, :1], rtol=1e-5)
