"""Transposed convolution and pooling: what the recorded answers of MXNet cannot show."""

import itertools

import numpy as np
import pytest
from helpers import close, normal

from clgrad import autograd, nd
from clgrad.errors import OperatorError

COVERS = {
    "Deconvolution": ("_deconv",),
    "Pooling": ("_root2", "_root3"),
}


# Deconvolution


def deconvolution(x, weight, stride, dilate, pad, adj, groups) -> np.ndarray:
    """Each element of x adds its multiple of the kernel to the result, tap by tap."""
    rank = x.ndim - 2
    kernel, filters = weight.shape[2:], weight.shape[1] * groups
    full = [
        stride[a] * (x.shape[2 + a] - 1) + dilate[a] * (kernel[a] - 1) + 1 + adj[a] for a in range(rank)
    ]
    y = np.zeros((x.shape[0], filters, *full))
    into, out = x.shape[1] // groups, weight.shape[1]
    for group in range(groups):
        inputs = x[:, group * into : (group + 1) * into]
        taps = weight[group * into : (group + 1) * into]
        target = y[:, group * out : (group + 1) * out]
        for place in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(k * d, k * d + s * (n - 1) + 1, s)
                for k, d, s, n in zip(place, dilate, stride, x.shape[2:], strict=True)
            )
            target[(..., *window)] += np.einsum("bc...,co->bo...", inputs, taps[(..., *place)])
    return y[(..., *(slice(p, n - p) for p, n in zip(pad, full, strict=True)))]


@pytest.mark.parametrize(
    ("shape", "kernel", "filters", "attributes"),
    [
        pytest.param((2, 3, 7, 6), (3, 3), 5, {}, id="plain"),
        pytest.param((2, 3, 17), (4,), 2, {"stride": (3,), "pad": (1,), "adj": (2,)}, id="1-d"),
        pytest.param(
            (1, 2, 3, 4, 5),
            (2, 3, 2),
            3,
            {"stride": (1, 2, 3), "pad": (0, 1, 1), "adj": (0, 1, 2)},
            id="3-d",
        ),
        pytest.param(
            (2, 4, 6, 5), (3, 2), 3, {"stride": (2, 3), "dilate": (2, 1), "num_group": 2}, id="groups"
        ),
        pytest.param(
            (2, 6, 9, 5), (4, 4), 1, {"stride": (2, 2), "pad": (1, 1), "num_group": 6}, id="depthwise"
        ),
        pytest.param((0, 2, 4, 4), (3, 3), 2, {}, id="empty batch"),
    ],
)
def test_deconvolution(shape, kernel, filters, attributes, rng):
    rank, groups = len(shape) - 2, attributes.get("num_group", 1)
    x, w, b = normal(rng, shape, (shape[1], filters, *kernel), (filters * groups,))
    y = nd.Deconvolution(nd.array(x), nd.array(w), nd.array(b), kernel, no_bias=False, **attributes)
    defaults = {"stride": (1,) * rank, "dilate": (1,) * rank, "pad": (0,) * rank, "adj": (0,) * rank}
    full = defaults | {"groups": groups} | {k: v for k, v in attributes.items() if k != "num_group"}
    expected = deconvolution(x.astype(np.float64), w.astype(np.float64), **full)
    close(y, expected + b.reshape(-1, *[1] * rank), 2e-5)


def test_deconvolution_is_the_transpose_of_convolution(rng):
    """<conv(x), y> = <x, deconv(y)>, with the same weight and arguments."""
    arguments = {"kernel": (3, 2), "stride": (2, 3), "dilate": (1, 2), "pad": (1, 0), "no_bias": True}
    x, w, y = (nd.array(v) for v in normal(rng, (2, 3, 9, 12), (4, 3, 3, 2), (2, 4, 5, 4)))
    left = (nd.Convolution(x, w, num_filter=4, **arguments) * y).sum()
    right = (nd.Deconvolution(y, w, num_filter=3, target_shape=(9, 12), **arguments) * x).sum()
    assert left.asscalar() == pytest.approx(right.asscalar(), rel=1e-5)


def test_deconvolution_runs_repeat(rng):
    x, w = (nd.array(v) for v in normal(rng, (2, 3, 9, 9), (3, 4, 3, 3)))
    one, two = (nd.Deconvolution(x, w, kernel=(3, 3), stride=(2, 2)).asnumpy() for _ in range(2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adj": (1, 0)}, r"adj is \(1, 0\); accepted: 0 or more, and less than the stride \(1, 1\)"),
        ({"target_shape": (9, 9)}, r"target_shape is \(9, 9\); accepted: positive sizes up to \(5, 5\)"),
        ({"pad": (3, 0)}, r"pad is \(3, 0\); accepted: less than half of the unpadded result \(5, 5\)"),
        ({"stride": (1, 2, 3)}, r"stride is \(1, 2, 3\); accepted: 2 numbers, one for each spatial axis"),
        ({"layout": "NWC"}, r"layout is NWC; accepted: NCHW or NHWC for data"),
        ({"num_group": 3}, r"out_channels=4 with groups=3; accepted: a multiple"),
        ({"no_bias": False}, r"bias is None; accepted: shape \(2,\), or None with no_bias=True"),
    ],
)
def test_errors_of_deconvolution(arguments, message):
    with pytest.raises(OperatorError, match=message):
        nd.Deconvolution(nd.ones((2, 4, 3, 3)), nd.ones((4, 2, 3, 3)), kernel=(3, 3), **arguments)


# Pooling


def test_pooling_same(rng):
    """A window starts at each stride-th element and ends with the data."""
    (x,) = normal(rng, (2, 3, 8, 7))
    y = nd.Pooling(nd.array(x), kernel=(3, 2), stride=(2, 3), pool_type="sum", pooling_convention="same")
    expected = [
        [x[..., i : i + 3, j : j + 2].sum((-1, -2)) for j in range(0, 7, 3)] for i in range(0, 8, 2)
    ]
    close(y, np.moveaxis(expected, (0, 1), (2, 3)))


@pytest.mark.parametrize("p", [2, 3])
def test_the_norm_of_zeros_has_gradient_zero(p):
    """Of first and second order; elsewhere infinity would meet 0."""
    x = nd.array([[[0, 0, 0, 3, 4]]])
    x.attach_grad()
    with autograd.record():
        y = nd.Pooling(x, kernel=(2,), stride=(2,), pool_type="lp", p_value=p)
        (first,) = autograd.grad(y, [x], create_graph=True)
        total = (first * first).sum()
    total.backward()
    assert np.isfinite(first.asnumpy()).all()
    assert first.asnumpy()[0, 0, :2].tolist() == [0, 0]
    assert np.isfinite(x.grad.asnumpy()).all()


def test_the_gradient_of_a_maximum_goes_to_the_first(rng):
    x = nd.array([[[1, 1, 1, 0]]])
    x.attach_grad()
    with autograd.record():
        y = nd.Pooling(x, kernel=(3,))
    y.backward()
    assert x.grad.asnumpy().tolist() == [[[1, 1, 0, 0]]]


@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
def test_an_empty_batch_is_pooled(kind):
    x = nd.zeros((0, 3, 4, 4))
    x.attach_grad()
    with autograd.record():
        y = nd.Pooling(x, kernel=(2, 2), pool_type=kind)
    y.backward()
    assert y.shape == (0, 3, 3, 3)
    assert x.grad.shape == x.shape
