"""Gradients repeat to the bit: of ops whose backward pass scatters, or adds up over many work-items.

Add a case: a function of one array, and the array's shape, large enough that the work is split.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from clgrad import autograd, nd

RUNS = 5


@dataclass(frozen=True)
class Case:
    """A function whose gradient is asked for, of an array of a shape."""

    function: Callable
    shape: tuple[int, ...]


def indices(count: int, limit: int, *shape: int) -> nd.NDArray:
    """Places that repeat: many terms arrive at each."""
    found = np.random.RandomState(3).randint(0, limit, count)
    return nd.array(found.reshape(shape or (count,)), dtype="int32")


def fixed(*shape: int) -> nd.NDArray:
    return nd.array(np.random.RandomState(4).standard_normal(shape))


CASES = {
    "take": Case(lambda x: nd.take(x, indices(20_000, 50)), (50, 16)),
    "take along 1": Case(lambda x: nd.take(x, indices(3_000, 7), axis=1), (64, 7)),
    "Embedding": Case(
        lambda x: nd.Embedding(indices(20_000, 100), x, input_dim=100, output_dim=16), (100, 16)
    ),
    "gather_nd": Case(lambda x: nd.gather_nd(x, indices(20_000, 60, 1, 20_000)), (60, 8)),
    "pick": Case(lambda x: nd.pick(x, indices(5_000, 9), axis=1), (5_000, 9)),
    "indexing": Case(lambda x: x[indices(20_000, 40)], (40, 8)),
    "broadcast": Case(lambda x: x * fixed(20_000, 16), (16,)),
    "broadcast inside": Case(lambda x: x * fixed(300, 70, 16), (300, 1, 16)),
    "sum": Case(lambda x: nd.sum(x * x), (300_001,)),
    "norm": Case(lambda x: nd.norm(x), (300_001,)),
    "dot": Case(lambda x: nd.dot(x, fixed(700, 33)), (257, 700)),
    "softmax": Case(lambda x: nd.softmax(x, axis=1), (300, 700)),
    "max pooling": Case(
        lambda x: nd.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max"), (4, 8, 41, 41)
    ),
    "average pooling": Case(lambda x: nd.Pooling(x, kernel=(3, 3), pool_type="avg"), (4, 8, 41, 41)),
    "Convolution, data": Case(
        lambda x: nd.Convolution(x, fixed(16, 8, 3, 3), kernel=(3, 3), num_filter=16, no_bias=True),
        (4, 8, 30, 30),
    ),
    "Convolution, weight": Case(
        lambda w: nd.Convolution(fixed(4, 8, 30, 30), w, kernel=(3, 3), num_filter=16, no_bias=True),
        (16, 8, 3, 3),
    ),
    "BatchNorm": Case(
        lambda x: nd.BatchNorm(x, nd.ones((8,)), nd.zeros((8,)), nd.zeros((8,)), nd.ones((8,))),
        (16, 8, 30, 30),
    ),
}


def run(case: Case, host: np.ndarray) -> tuple[bytes, bytes]:
    """Value and gradient, as bits."""
    x = nd.array(host)
    x.attach_grad()
    with autograd.record():
        y = case.function(x)
        y = y[0] if isinstance(y, list) else y
    y.backward(nd.array(np.random.RandomState(5).standard_normal(y.shape)))
    return y.asnumpy().tobytes(), x.grad.asnumpy().tobytes()


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_every_time(name):
    case = CASES[name]
    host = np.random.RandomState(2).standard_normal(case.shape).astype(np.float32)
    runs = [run(case, host) for _ in range(RUNS)]
    assert any(runs[0][1].strip(b"\0")), "a gradient of zeros shows nothing"
    assert len(set(runs)) == 1
