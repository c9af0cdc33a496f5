"""What is measured: ops of every kind, with the bytes that they must move and the arithmetic to be done."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clgrad import autograd
from clgrad import nd as _nd
from clgrad.device import Context

#: Its functions, and methods of arrays, are made from the table of ops: type checkers cannot know them.
nd: Any = _nd


@dataclass(frozen=True)
class Workload:
    """One call, whose work is known.

    Attributes
    ----------
    name, family : str
        For people.
    call : callable
        Enqueues the work.
    traffic : int
        Bytes that are read and written if each array is read once and written once.
    operations : int
        Floating-point additions and multiplications; an elementary function counts as one.
    """

    name: str
    family: str
    call: Callable[[], object]
    traffic: int
    operations: int

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.operations / self.traffic if self.traffic else math.inf

    def bound(self, bandwidth: float, rate: float) -> float:
        """Seconds that it takes at least, on a device of this bandwidth (byte/s) and rate (operations/s).

        The roofline model of Williams, Waterman and Patterson (Communications of the ACM 52:4, 2009).
        """
        return max(self.traffic / bandwidth, self.operations / rate)


def workloads(context: Context, elements: int) -> Iterator[Workload]:
    """Every kind of op on float32 arrays.

    Parameters
    ----------
    context : Context
        The device.
    elements : int
        Size of the arrays of ops that are bound by memory: a multiple of 4096, beyond the caches.
    """
    with context:
        yield from _maps(elements)
        yield from _reductions(elements)
        yield from _rows(elements)
        yield from _moves(elements)
        yield from _products()
        yield from _images()
        yield from _steps()


def _random(*shape: int) -> Any:
    return nd.random.uniform(-1, 1, shape)


def _maps(n: int) -> Iterator[Workload]:
    x, y = _random(n), _random(n)
    positive = nd.abs(x) + 0.5
    yield Workload("x + y", "map", lambda: x + y, 12 * n, n)
    yield Workload("relu(x)", "map", lambda: nd.relu(x), 8 * n, n)
    for name, operand in (("exp", x), ("log", positive), ("tanh", x), ("erf", x), ("sin", x)):
        yield Workload(f"{name}(x)", "map", functools.partial(getattr(nd, name), operand), 8 * n, n)
    yield Workload("sigmoid and its gradient", "map", _with_gradient(nd.sigmoid, x), 20 * n, 4 * n)


def _with_gradient(function: Callable[..., Any], *variables: Any) -> Callable[[], object]:
    """A call that computes a function and the gradients of its sum."""
    for variable in variables:
        variable.attach_grad()

    def call() -> None:
        with autograd.record():
            y = function(*variables)
        y.backward()

    return call


def _reductions(n: int) -> Iterator[Workload]:
    x = _random(n // 1024, 1024)
    yield Workload("sum of all", "reduction", lambda: nd.sum(x), 4 * n, n)
    yield Workload("max of all", "reduction", lambda: nd.max(x), 4 * n, n)
    yield Workload("mean along rows", "reduction", lambda: nd.mean(x, axis=1), 4 * n, n)
    yield Workload("sum along columns", "reduction", lambda: nd.sum(x, axis=0), 4 * n, n)
    yield Workload("argmax along rows", "reduction", lambda: nd.argmax(x, axis=1), 4 * n, n)


def _rows(n: int) -> Iterator[Workload]:
    x = _random(n // 1024, 1024)
    gamma, beta = _random(1024), _random(1024)
    yield Workload("softmax", "rows", lambda: nd.softmax(x), 8 * n, 4 * n)
    yield Workload("softmax and its gradient", "rows", _with_gradient(nd.softmax, _random(n // 1024, 1024)),
                   20 * n, 8 * n)  # fmt: skip
    yield Workload("LayerNorm", "rows", lambda: nd.LayerNorm(x, gamma, beta), 8 * n, 7 * n)
    images = _random(n // 65536, 64, 32, 32)
    moments = [_random(64) for _ in range(4)]
    yield Workload("BatchNorm", "rows", lambda: nd.BatchNorm(images, *moments), 8 * n, 2 * n)


def _moves(n: int) -> Iterator[Workload]:
    x = _random(n // 1024, 1024)
    rows = nd.random.randint(0, n // 1024, (n // 1024,), dtype="int32")
    yield Workload("transpose", "moving", lambda: x.T, 8 * n, 0)
    yield Workload("concat", "moving", lambda: nd.concat(x, x, dim=1), 12 * n, 0)
    yield Workload("take of rows", "moving", lambda: nd.take(x, rows), 8 * n, 0)


def _products() -> Iterator[Workload]:
    for n in (256, 512, 1024, 2048):
        a, b = _random(n, n), _random(n, n)
        yield Workload(f"dot {n}", "product", functools.partial(nd.dot, a, b), 12 * n * n, 2 * n**3)
    x, w, bias = _random(128, 784), _random(512, 784), _random(512)
    yield Workload(
        "FullyConnected 128 x 784 -> 512",
        "product",
        lambda: nd.FullyConnected(x, w, bias, num_hidden=512),
        4 * (128 * 784 + 512 * 784 + 128 * 512),
        2 * 128 * 784 * 512,
    )
    q, k = _random(32, 128, 64), _random(32, 128, 64)
    yield Workload(
        "batch_dot 32 of 128 x 64 x 128",
        "product",
        lambda: nd.batch_dot(q, k, transpose_b=True),
        4 * 32 * (2 * 128 * 64 + 128 * 128),
        2 * 32 * 128 * 128 * 64,
    )


def _images() -> Iterator[Workload]:
    for channels, size, kernel in ((64, 56, 1), (64, 56, 3), (256, 14, 3)):
        x, w = _random(8, channels, size, size), _random(channels, channels, kernel, kernel)

        def convolve(x: Any, w: Any, kernel: int = kernel, channels: int = channels) -> Any:
            pad = (kernel // 2, kernel // 2)
            return nd.Convolution(x, w, kernel=(kernel, kernel), pad=pad, num_filter=channels, no_bias=True)

        traffic = 4 * (2 * x.size + w.size)
        operations = 2 * x.size * channels * kernel**2
        name = f"Convolution {kernel} x {kernel}, {channels} channels of {size} x {size}"
        yield Workload(name, "images", functools.partial(convolve, x, w), traffic, operations)
        yield Workload(
            f"{name}, gradients", "images", _with_gradient(convolve, x, w), 3 * traffic, 3 * operations
        )
    x = _random(8, 64, 56, 56)
    yield Workload(
        "Pooling 2 x 2", "images", lambda: nd.Pooling(x, kernel=(2, 2), stride=(2, 2)), 5 * x.size, x.size
    )


def _steps() -> Iterator[Workload]:
    """A step of training a net of three layers: what small launches cost."""
    sizes = (784, 512, 512, 10)
    batch = 128
    weights = [_random(after, before) * 0.03 for before, after in itertools.pairwise(sizes)]
    data, label = _random(batch, sizes[0]), nd.random.randint(0, sizes[-1], (batch,)).astype("float32")
    for weight in weights:
        weight.attach_grad()

    def step() -> None:
        with autograd.record():
            x = data
            for number, weight in enumerate(weights):
                x = nd.FullyConnected(x, weight, num_hidden=weight.shape[0], no_bias=True)
                x = nd.relu(x) if number < len(weights) - 1 else x
            loss = nd.softmax_cross_entropy(x, label)
        loss.backward()
        for weight in weights:
            nd.sgd_update(weight, weight.grad, lr=0.01 / batch, out=weight)

    parameters = sum(w.size for w in weights)
    yield Workload("step of an MLP, batch 128", "training", step, 20 * parameters, 6 * batch * parameters)
