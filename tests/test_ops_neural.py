"""Layers: values against numpy references written here, gradients of both orders, modes.

The kernels' own tests go through sizes and geometries; here the ops on top of them are in question:
their arguments, defaults, gradient rules and errors.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.special
from helpers import check_both_orders, close, normal

from clgrad import autograd, nd, random
from clgrad.errors import OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "Activation": (),
    "LeakyReLU": ("_prelu",),
    "softmax": ("_softmax", "_softmax_grad"),
    "log_softmax": (),
    "softmin": (),
    "softmax_cross_entropy": ("_cross_entropy", "_cross_entropy_grad"),
    "Dropout": ("_dropout", "_dropout_mask"),
    "Convolution": ("_conv", "_conv_grad_data", "_conv_grad_weight"),
    "Pooling": (
        "_max_pool",
        "_max_pool_scatter",
        "_max_pool_gather",
        "_sum_pool",
        "_sum_pool_grad",
    ),
}


# Activations


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": scipy.special.expit,
    "tanh": np.tanh,
    "softrelu": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
}
LEAKY = {
    "leaky": lambda x: np.where(x > 0, x, 0.25 * x),
    "elu": lambda x: np.where(x > 0, x, 0.25 * np.expm1(x)),
    "selu": selu,
    "gelu": lambda x: x * scipy.special.ndtr(x),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation(kind, rng):
    (x,) = normal(rng, (3, 19))
    close(nd.Activation(nd.array(x), act_type=kind), ACTIVATIONS[kind](x.astype(np.float64)))


@pytest.mark.parametrize("kind", LEAKY)
def test_leaky_relu(kind, rng):
    (x,) = normal(rng, (3, 19))
    close(nd.LeakyReLU(nd.array(x), act_type=kind), LEAKY[kind](x.astype(np.float64)))


def test_prelu_has_a_slope_for_each_channel(rng):
    x, slopes = normal(rng, (2, 3, 5), (3,))
    expected = np.where(x > 0, x, slopes[:, None] * x)
    close(nd.LeakyReLU(nd.array(x), nd.array(slopes), act_type="prelu"), expected)
    x = x[:, :, 0]
    close(
        nd.LeakyReLU(nd.array(x), nd.array(slopes), act_type="prelu"),
        np.where(x > 0, x, slopes * x),
    )


def test_gradients_of_prelu():
    x = np.array([[0.7, -1.2, 0.4], [-0.5, 1.5, -0.3]])
    check_both_orders(lambda x, g: nd.LeakyReLU(x, g, act_type="prelu"), [x, np.array([0.3, -0.2, 0.5])])


def test_gradients_of_selu():
    check_both_orders(lambda x: nd.LeakyReLU(x, act_type="selu"), [np.array([0.7, -1.2, 0.4, -0.1])])


def test_rrelu_draws_slopes_in_training_only():
    x = nd.full((1000,), -1)
    with autograd.train_mode():
        y, mask = nd.LeakyReLU(x, act_type="rrelu", lower_bound=0.2, upper_bound=0.6)
    slopes = -y.asnumpy()
    np.testing.assert_array_equal(mask.asnumpy(), slopes)
    assert slopes.min() >= 0.2
    assert slopes.max() < 0.6
    assert slopes.std() == pytest.approx(0.4 / math.sqrt(12), rel=0.1)
    y, mask = nd.LeakyReLU(x, act_type="rrelu", lower_bound=0.2, upper_bound=0.6)
    np.testing.assert_allclose(mask.asnumpy(), 0.4, rtol=1e-6)
    np.testing.assert_allclose(y.asnumpy(), -0.4, rtol=1e-6)


# Softmax


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("temperature", [None, 2.5])
def test_softmax(axis, temperature, rng):
    (x,) = normal(rng, (4, 7, 33))
    scaled = x.astype(np.float64) / (temperature or 1)
    y = softmax(scaled, axis)
    close(nd.softmax(nd.array(x), axis=axis, temperature=temperature), y)
    close(nd.log_softmax(nd.array(x), axis=axis, temperature=temperature), np.log(y))
    close(nd.softmin(nd.array(x), axis=axis, temperature=temperature), softmax(-scaled, axis))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 11, 17])
def test_softmax_of_any_length(n, rng):
    """Rows that are shorter than a vector, and what is left of them behind the last vector."""
    (x,) = normal(rng, (4, n))
    y = softmax(x.astype(np.float64))
    close(nd.softmax(nd.array(x)), y)
    close(nd.log_softmax(nd.array(x)), np.log(y))


def test_softmax_does_not_overflow():
    x = nd.array([[1000.0, 1000.0, -1000.0], [-1000.0, -1001.0, -np.inf]])
    e = math.exp(-1)
    close(nd.softmax(x), [[0.5, 0.5, 0], [1 / (1 + e), e / (1 + e), 0]])
    logarithm = nd.log_softmax(x).asnumpy()
    np.testing.assert_allclose(logarithm[0], [-math.log(2), -math.log(2), -2000 - math.log(2)], rtol=1e-6)
    assert logarithm[1, 2] == -np.inf


def test_softmax_in_another_dtype(rng):
    (x,) = normal(rng, (3, 50))
    halves = x.astype(np.float16)
    y = nd.softmax(nd.array(halves, dtype="float16"))
    assert y.dtype is np.float16
    np.testing.assert_allclose(y.asnumpy(), softmax(halves.astype(np.float64)), rtol=1e-3)
    wide = nd.softmax(nd.array(halves, dtype="float16"), dtype="float32")
    close(wide, softmax(halves.astype(np.float64)))


@pytest.mark.parametrize("op", [nd.softmax, nd.log_softmax, nd.softmin], ids=["softmax", "log", "min"])
@pytest.mark.parametrize("attributes", [{}, {"axis": 0, "temperature": 2.0}], ids=["rows", "columns"])
def test_gradients_of_softmax(op, attributes, rng):
    check_both_orders(lambda x: op(x, **attributes), normal(rng, (3, 4)))


def test_softmax_cross_entropy(rng):
    (x,) = normal(rng, (5, 7))
    label = rng.integers(0, 7, 5)
    expected = -np.log(softmax(x.astype(np.float64)))[np.arange(5), label].sum()
    close(nd.softmax_cross_entropy(nd.array(x), nd.array(label)), [expected], 4e-6)
    check_both_orders(lambda x: nd.softmax_cross_entropy(x, nd.array([1, 0, 3])), normal(rng, (3, 4)))


# Dropout


@pytest.mark.parametrize("p", [0.2, 0.75])
def test_dropout_in_training(p):
    """Elements are 0 or divided by 1 - p, p of them 0, anew at each call."""
    x = nd.ones((100, 100))
    with autograd.train_mode():
        y, z = (nd.Dropout(x, p=p).asnumpy() for _ in "yz")
    assert set(np.unique(y)) == {0, np.float32(1 / (1 - p))}
    # binomial: four standard deviations
    assert abs((y == 0).mean() - p) < 4 * math.sqrt(p * (1 - p) / y.size)
    assert (y != z).any()


def test_gradients_of_a_gradient_do_not_flow_to_the_mask():
    """What was drawn depends on nothing; the loss reads the gradient alone, not the result."""
    x = nd.array([0.5] * 100)
    x.attach_grad()
    with autograd.record():
        y = nd.Dropout(x, p=0.5)
        (slope,) = autograd.grad(y, [x], create_graph=True)
        z = nd.sum(slope * slope * x)
    z.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), (slope * slope).asnumpy())


def test_dropout_in_prediction():
    x = nd.ones((100,))
    assert nd.Dropout(x).asnumpy().tolist() == [1] * 100
    assert 0 in nd.Dropout(x, mode="always").asnumpy()
    with autograd.train_mode():
        assert nd.Dropout(x, p=0).asnumpy().tolist() == [1] * 100


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2)])
def test_dropout_of_whole_axes(axes):
    """Along ``axes`` one draw serves all elements."""
    with autograd.train_mode():
        y = nd.Dropout(nd.ones((20, 20, 20)), axes=axes).asnumpy()
    for axis in range(3):
        constant = (y == np.take(y, [0], axis=axis)).all()
        assert constant == (axis in axes)


@pytest.mark.parametrize("axes", [(), (1,)])
def test_gradient_of_dropout_is_its_mask(axes, rng):
    (x,) = normal(rng, (6, 50))
    a = nd.array(x)
    a.attach_grad()
    with autograd.record():
        y = nd.Dropout(a, p=0.4, axes=axes)
        (g,) = autograd.grad(nd.sum(y * y), a, create_graph=True)
    mask = np.where(y.asnumpy() == 0, 0, 1 / 0.6)
    np.testing.assert_allclose(g.asnumpy(), 2 * x * mask**2, rtol=1e-5)
    g.backward()
    np.testing.assert_allclose(a.grad.asnumpy(), 2 * mask**2, rtol=1e-5)


def test_dropout_of_everything_and_of_halves():
    x = nd.array([1.0, np.inf])
    x.attach_grad()
    with autograd.record():
        y = nd.Dropout(x, p=1)
    y.backward()
    assert y.asnumpy().tolist() == x.grad.asnumpy().tolist() == [0, 0]
    half = nd.Dropout(nd.ones((1000,), dtype="float16"), p=0.5, mode="always")
    assert half.dtype is np.float16
    assert set(half.asnumpy().tolist()) == {0, 2}


def test_dropout_follows_the_seed():
    with autograd.train_mode():
        random.seed(5)
        y = nd.Dropout(nd.ones((200,))).asnumpy()
        random.seed(5)
        assert nd.Dropout(nd.ones((200,))).asnumpy().tolist() == y.tolist()


# Convolution


def convolution(x, weight, bias, stride, dilate, pad, groups) -> np.ndarray:
    """Cross-correlation, term by term."""
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    kernel = weight.shape[2:]
    size = [(x.shape[2 + a] - dilate[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(rank)]
    y = np.zeros((x.shape[0], weight.shape[0], *size))
    into, out = weight.shape[1], weight.shape[0] // groups
    for group in range(groups):
        inputs = x[:, group * into : (group + 1) * into]
        filters = weight[group * out : (group + 1) * out]
        for place in itertools.product(*map(range, kernel)):
            starts = [k * d for k, d in zip(place, dilate, strict=True)]
            window = tuple(
                slice(b, b + s * (n - 1) + 1, s) for b, s, n in zip(starts, stride, size, strict=True)
            )
            y[:, group * out : (group + 1) * out] += np.einsum(
                "bc...,oc->bo...", inputs[(..., *window)], filters[(..., *place)]
            )
    return y + bias.reshape(-1, *[1] * rank)


#: Data, kernel, filters, and arguments.
CONVOLUTIONS = {
    "plain": ((2, 3, 9, 8), (3, 3), 5, {}),
    "1x1": ((2, 6, 5, 5), (1, 1), 4, {}),
    "everything": (
        (2, 4, 11, 9),
        (3, 2),
        6,
        {"stride": (2, 1), "dilate": (1, 2), "pad": (1, 2), "num_group": 2},
    ),
    "depthwise": ((1, 4, 7, 7), (3, 3), 4, {"pad": (1, 1), "num_group": 4}),
    "1-d": ((2, 3, 17), (5,), 4, {"stride": (2,), "pad": (2,)}),
    "3-d": ((1, 2, 4, 5, 6), (2, 3, 2), 3, {"pad": (1, 0, 1), "stride": (1, 2, 1)}),
}


def filled_in(data_shape, attributes) -> dict:
    rank = len(data_shape) - 2
    defaults = {"stride": (1,) * rank, "dilate": (1,) * rank, "pad": (0,) * rank, "num_group": 1}
    return defaults | attributes


@pytest.mark.parametrize("no_bias", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case, no_bias, rng):
    shape, kernel, filters, attributes = CONVOLUTIONS[case]
    full = filled_in(shape, attributes)
    x, w, b = normal(rng, shape, (filters, shape[1] // full["num_group"], *kernel), (filters,))
    arrays = [nd.array(v) for v in ((x, w) if no_bias else (x, w, b))]
    y = nd.Convolution(*arrays, kernel=kernel, num_filter=filters, no_bias=no_bias, **attributes)
    x64, w64, b64 = (v.astype(np.float64) for v in (x, w, 0 * b if no_bias else b))
    expected = convolution(x64, w64, b64, *(full[k] for k in ("stride", "dilate", "pad", "num_group")))
    close(y, expected, 1e-5)


@pytest.mark.parametrize(
    ("shape", "kernel", "filters", "attributes"),
    [
        pytest.param((1, 2, 4, 4), (2, 2), 2, {}, id="plain"),
        pytest.param(
            (1, 2, 5, 4),
            (2, 2),
            2,
            {"stride": (2, 1), "dilate": (2, 1), "pad": (1, 1), "num_group": 2},
            id="everything",
        ),
        pytest.param((2, 1, 5), (3,), 2, {"pad": (1,), "stride": (2,)}, id="1-d"),
        pytest.param((1, 1, 3, 2, 3), (2, 2, 2), 1, {"pad": (0, 1, 0)}, id="3-d"),
    ],
)
def test_gradients_of_convolution(shape, kernel, filters, attributes, rng):
    groups = attributes.get("num_group", 1)

    def f(*arrays):
        return nd.Convolution(*arrays, kernel=kernel, num_filter=filters, **attributes)

    check_both_orders(f, normal(rng, shape, (filters, shape[1] // groups, *kernel), (filters,)))


# Pooling


def pooling(x, kernel, kind, stride, pad, full=False, include_pad=True, p=2) -> np.ndarray:
    """Window by window; windows are cut off at the end of the padding."""
    rank = x.ndim - 2
    rounded = math.ceil if full else math.floor
    size = [rounded((x.shape[2 + a] + 2 * pad[a] - kernel[a]) / stride[a]) + 1 for a in range(rank)]
    y = np.zeros((*x.shape[:2], *size))
    for place in np.ndindex(*size):
        inside, share = [], 1
        for a in range(rank):
            begin = place[a] * stride[a] - pad[a]
            end = min(begin + kernel[a], x.shape[2 + a] + pad[a])
            share *= end - begin
            inside.append(slice(max(begin, 0), min(end, x.shape[2 + a])))
        window = x[(..., *inside)].reshape(*x.shape[:2], -1)
        count = share if include_pad else window.shape[-1]
        y[(..., *place)] = {
            "max": lambda w: w.max(-1),
            "sum": lambda w: w.sum(-1),
            "avg": lambda w, n=count: w.sum(-1) / n,
            "lp": lambda w: {1: np.asarray, 2: np.sqrt, 3: np.cbrt}[p]((w**p).sum(-1)),
        }[kind](window)
    return y


@pytest.mark.parametrize("kind", ["max", "avg", "sum", "lp"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pad"),
    [
        ((2, 3, 8, 9), (2, 2), (2, 2), (0, 0)),
        ((2, 2, 7, 8), (3, 2), (2, 2), (1, 1)),
        ((2, 3, 11), (3,), (2,), (1,)),
        ((1, 2, 4, 5, 6), (2, 3, 2), (1, 2, 2), (0, 1, 0)),
    ],
)
@pytest.mark.parametrize("convention", ["valid", "full"])
def test_pooling(convention, shape, kernel, stride, pad, kind, rng):
    (x,) = normal(rng, shape)
    y = nd.Pooling(
        nd.array(x),
        kernel=kernel,
        pool_type=kind,
        stride=stride,
        pad=pad,
        pooling_convention=convention,
        p_value=2,
    )
    expected = pooling(x.astype(np.float64), kernel, kind, stride, pad, full=convention == "full")
    close(y, expected, 1e-5)


def test_average_without_the_padding(rng):
    (x,) = normal(rng, (2, 3, 7, 8))
    y = nd.Pooling(
        nd.array(x),
        kernel=(3, 3),
        pool_type="avg",
        stride=(2, 2),
        pad=(1, 1),
        count_include_pad=False,
    )
    expected = pooling(x.astype(np.float64), (3, 3), "avg", (2, 2), (1, 1), include_pad=False)
    close(y, expected, 1e-5)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_pooling_by_a_norm(p, rng):
    (x,) = normal(rng, (2, 3, 8))
    y = nd.Pooling(nd.array(x), kernel=(3,), pool_type="lp", p_value=p)
    close(y, pooling(x.astype(np.float64), (3,), "lp", (1,), (0,), p=p), 1e-5)


@pytest.mark.parametrize(("kind", "reduced"), [("max", np.max), ("avg", np.mean), ("sum", np.sum)])
def test_pooling_everything(kind, reduced, rng):
    (x,) = normal(rng, (2, 3, 5, 7))
    y = nd.Pooling(nd.array(x), kernel=(2, 2), pool_type=kind, global_pool=True)
    close(y, reduced(x.astype(np.float64), axis=(2, 3), keepdims=True), 1e-5)


@pytest.mark.parametrize("kind", ["max", "avg", "sum", "lp"])
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        pytest.param((1, 2, 4, 5), {"kernel": (2, 3), "stride": (1, 2), "pad": (1, 1)}, id="2-d"),
        pytest.param((2, 1, 7), {"kernel": (3,), "stride": (2,), "pooling_convention": "full"}, id="1-d"),
    ],
)
def test_gradients_of_pooling(shape, attributes, kind, rng):
    """Of elements that are all different and not 0, so that maxima and norms are smooth."""
    x = rng.permutation(np.arange(1, 1 + math.prod(shape)) / 8).reshape(shape)
    check_both_orders(lambda x: nd.Pooling(x, pool_type=kind, p_value=2, **attributes), [x])


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.Activation(x, act_type="sine"),
            "Activation: act_type is 'sine'; accepted: relu, sigmoid",
        ),
        (
            lambda x: nd.LeakyReLU(x, act_type="x"),
            "LeakyReLU: act_type is 'x'; accepted: leaky, prelu",
        ),
        (
            lambda x: nd.LeakyReLU(x, act_type="prelu"),
            "LeakyReLU: gamma is None; accepted: an array",
        ),
        (
            lambda x: nd.softmax(x.astype("int32")),
            "softmax: data is of dtype int32; accepted: a floating",
        ),
        (lambda x: nd.softmax(x, axis=4), "softmax: axis is 4; accepted: -4 to 3"),
        (lambda x: nd.Dropout(x, p=1.5), "Dropout: p is 1.5; accepted: 0 <= p <= 1"),
        (
            lambda x: nd.Dropout(x, mode="never"),
            "Dropout: mode is 'never'; accepted: 'training' or",
        ),
        (
            lambda x: nd.Convolution(x, nd.ones((4, 2, 3, 3)), no_bias=True, kernel=(3, 3), num_filter=4),
            r"Convolution: weight is float32 \(4, 2, 3, 3\); accepted: float32 \(4, 3, 3, 3\)",
        ),
        (
            lambda x: nd.Convolution(x, nd.ones((4, 3, 3, 3)), kernel=(3, 3), num_filter=4),
            r"Convolution: bias is None; accepted: shape \(4,\), or None with no_bias=True",
        ),
        (
            lambda x: nd.Convolution(x, nd.ones((4, 3, 3, 3)), no_bias=True, kernel=(2, 2), num_filter=4),
            r"Convolution: weight is float32 \(4, 3, 3, 3\); accepted: float32 \(4, 3, 2, 2\)",
        ),
        (lambda x: nd.Pooling(x, kernel=(2, 2), pool_type="median"), "Pooling: pool_type"),
        (
            lambda x: nd.Pooling(x.astype("int32"), kernel=(2, 2)),
            "Pooling: data is of dtype int32; accepted: a floating",
        ),
        (
            lambda x: nd.Convolution(x.astype("bool"), nd.ones((4, 3, 3, 3), dtype="bool"), no_bias=True),
            "Convolution: data is of dtype bool; accepted: numbers",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises((OperatorError, OperatorTypeError), match=message):
        call(nd.ones((2, 3, 8, 8)))
