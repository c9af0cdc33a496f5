"""Normalisation: statistics that do not cancel, fast backward against recorded rules, modes, dtypes."""

import numpy as np
import pytest
from helpers import check_both_orders, close, normal

from clgrad import autograd, nd, tape
from clgrad.errors import OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "BatchNorm": ("_moving_average", "_ones_of"),
    "LayerNorm": (
        "_normalize",
        "_moments",
        "_standardize",
        "_standardize_rows",
        "_standardize_rows_grad",
        "_standard_sums",
        "_standardize_grad",
    ),
    "InstanceNorm": (),
    "GroupNorm": (),
    "moments": (),
    "L2Normalization": ("_l2_normalize", "_l2_grad", "_sum_products", "_scaled"),
    "LRN": ("_lrn",),
    "contrib.BatchNormWithReLU": (),
}


# Batch normalisation


def batch_norm(x, gamma, beta, mean, var, axis, eps=1e-3):
    shape = [-1 if a == axis else 1 for a in range(x.ndim)]
    gamma, beta, mean, var = (v.reshape(shape) for v in (gamma, beta, mean, var))
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 3, 5), 1), ((40, 3), 1), ((2, 3, 4, 5), -1), ((7, 3, 2, 2), 1)]
)
def test_batch_norm_in_training(shape, axis, rng):
    """By the batch's own mean and variance; the moving ones take a step towards them."""
    (x,) = normal(rng, shape)
    n = shape[axis]
    gamma, beta, mean, var = (rng.uniform(0.5, 2, n).astype(np.float32) for _ in range(4))
    others = tuple(a for a in range(len(shape)) if a != axis % len(shape))
    x64 = x.astype(np.float64)
    batch_mean, batch_var = x64.mean(axis=others), x64.var(axis=others)
    arrays = [nd.array(v) for v in (x, gamma, beta, mean, var)]
    with autograd.train_mode():
        y, y_mean, y_var = nd.BatchNorm(
            *arrays, fix_gamma=False, axis=axis, momentum=0.7, output_mean_var=True
        )
    close(y, batch_norm(x64, gamma, beta, batch_mean, batch_var, axis % len(shape)), 1e-5)
    close(y_mean, batch_mean, 1e-5)
    close(y_var, 1 / np.sqrt(batch_var + 1e-3), 1e-5)
    close(arrays[3], 0.7 * mean + 0.3 * batch_mean, 1e-5)
    close(arrays[4], 0.7 * var + 0.3 * batch_var, 1e-5)


@pytest.mark.parametrize("use_global_stats", [False, True])
def test_batch_norm_in_prediction(use_global_stats, rng):
    """By the moving mean and variance, which stay; also in training with use_global_stats."""
    (x,) = normal(rng, (4, 3, 5))
    gamma, beta, mean, var = (rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    arrays = [nd.array(v) for v in (x, gamma, beta, mean, var)]
    scope = autograd.train_mode() if use_global_stats else autograd.predict_mode()
    with scope:
        y = nd.BatchNorm(*arrays, fix_gamma=False, eps=0.01, use_global_stats=use_global_stats)
    close(y, batch_norm(x, gamma, beta, mean, var, 1, eps=0.01), 1e-5)
    close(arrays[3], mean)
    close(arrays[4], var)


def test_batch_norm_fixes_gamma_by_default(rng):
    """Gamma counts as 1 and has a gradient of 0."""
    (x,) = normal(rng, (4, 3))
    gamma = nd.full((3,), 7)
    gamma.attach_grad()
    with autograd.record():
        y = nd.BatchNorm(nd.array(x), gamma, nd.zeros((3,)), nd.zeros((3,)), nd.ones((3,)))
    y.backward()
    close(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), 1e-5)
    assert gamma.grad.asnumpy().tolist() == [0, 0, 0]


def test_batch_norm_far_from_zero(rng):
    """The variance of numbers around 1000 does not cancel."""
    x = (1000 + rng.standard_normal((64, 2, 8))).astype(np.float32)
    with autograd.train_mode():
        y = nd.BatchNorm(nd.array(x), nd.ones((2,)), nd.zeros((2,)), nd.zeros((2,)), nd.ones((2,)))
    x = x.astype(np.float64)
    mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    np.testing.assert_allclose(y.asnumpy(), (x - mean) / np.sqrt(var + 1e-3), atol=1e-3)


@pytest.mark.parametrize("fix_gamma", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [((4, 2, 3), 1), ((6, 2), -1)])
def test_gradients_of_batch_norm(shape, axis, training, fix_gamma, rng):
    def f(x, gamma, beta):
        mean, var = nd.array([0.5, -0.5], dtype=x.dtype), nd.array([1.5, 0.7], dtype=x.dtype)
        with autograd.train_mode() if training else autograd.predict_mode():
            return nd.BatchNorm(x, gamma, beta, mean, var, axis=axis, fix_gamma=fix_gamma)

    check_both_orders(f, [*normal(rng, shape), rng.uniform(0.5, 2, 2), rng.uniform(0.5, 2, 2)])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_halves_beside_float32_vectors(training, rng):
    """As MXNet wants it: 16-bit data, statistics in float32. Also differentiated twice."""
    (x,) = normal(rng, (6, 3, 5))
    vectors = [rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4)]
    results = []
    for dtype in ("float16", "float32"):
        data = nd.array(x.astype(np.float16), dtype=dtype)
        arrays = [data, *map(nd.array, vectors)]
        for a in arrays[:3]:
            a.attach_grad()
        with autograd.record(train_mode=training):
            y = nd.BatchNorm(*arrays, fix_gamma=False)
            # Small, lest halves overflow.
            loss = nd.sum(nd.cast(y, dtype="float32") ** 2 * nd.cast(data, dtype="float32")) / 64
            gradients = autograd.grad(loss, arrays[:3], create_graph=True, train_mode=training)
            total = sum(nd.sum(nd.cast(g, dtype="float32") ** 2) for g in gradients)
        total.backward()
        results.append([y, *gradients, *(a.grad for a in arrays[:3]), *arrays[3:]])
    for half, single in zip(*results, strict=True):
        expected = single.asnumpy()
        np.testing.assert_allclose(half.asnumpy(), expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())


def test_batch_norm_with_relu(rng):
    arrays = [nd.array(v) for v in normal(rng, (4, 3), (3,), (3,), (3,))] + [nd.ones((3,))]
    y = nd.contrib.BatchNormWithReLU(*arrays, fix_gamma=False)
    close(y, np.maximum(nd.BatchNorm(*arrays, fix_gamma=False).asnumpy(), 0))
    assert len(nd.contrib.BatchNormWithReLU(*arrays, output_mean_var=True)) == 3


# All of them


def batch_norm_of(x, gamma, beta):
    with autograd.train_mode():
        ones = nd.ones(gamma.shape, dtype=gamma.dtype)
        return nd.BatchNorm(x, gamma, beta, ones, ones, fix_gamma=False)


#: Op, shape of data, length of gamma and beta, axes that mean and variance are taken over.
NORMS = {
    "batch": (batch_norm_of, (9, 3, 17), 3, (0, 2)),
    "layer": (nd.LayerNorm, (5, 131), 131, (1,)),
    "layer along the first axis": (lambda *a: nd.LayerNorm(*a, axis=0), (33, 5, 2), 33, (0,)),
    "layer along a middle axis": (lambda *a: nd.LayerNorm(*a, axis=-2), (3, 19, 7), 19, (1,)),
    "instance": (nd.InstanceNorm, (3, 5, 7, 11), 5, (2, 3)),
    "group": (lambda *a: nd.GroupNorm(*a, num_groups=2), (3, 4, 23), 2, None),
}


def drawn(name, rng):
    _, shape, size, _ = NORMS[name]
    return [nd.array(v) for v in normal(rng, shape, (size,), (size,))]


@pytest.mark.parametrize("name", NORMS)
def test_backward_by_kernels_is_the_recorded_rule(name, rng):
    op, arrays = NORMS[name][0], drawn(name, rng)
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        y = op(*arrays)
    (dy,) = normal(rng, y.shape)
    kernels = autograd.grad(y, arrays, nd.array(dy), retain_graph=True)
    rules = autograd.grad(y, arrays, nd.array(dy), create_graph=True)
    again = autograd.grad(y, arrays, nd.array(dy), retain_graph=True)
    for kernel, rule, second in zip(kernels, rules, again, strict=True):
        close(kernel, rule.asnumpy(), 1e-5)
        assert kernel.asnumpy().tobytes() == second.asnumpy().tobytes()


@pytest.mark.parametrize("mode", ["instance", "channel", "spatial"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_backward_of_l2_normalization_is_the_recorded_rule(mode, dtype, rng):
    x, dy = (nd.array(v, dtype=dtype) for v in normal(rng, (5, 7, 9), (5, 7, 9)))
    x.attach_grad()
    with autograd.record():
        y = nd.L2Normalization(x, mode=mode)
    (kernel,) = autograd.grad(y, x, dy, retain_graph=True)
    (rule,) = autograd.grad(y, x, dy, create_graph=True)
    tolerance = 1e-5 if dtype == "float32" else 2e-3
    np.testing.assert_allclose(kernel.asnumpy(), rule.asnumpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [n for n in NORMS if NORMS[n][3]])
@pytest.mark.parametrize("kind", ["far", "outlier", "ramp"])
def test_statistics_do_not_cancel(name, kind, rng):
    """Numbers far from 0, a first number that is far from the others, and numbers that drift away."""
    op, shape, size, axes = NORMS[name]
    x = rng.standard_normal(shape)
    if kind == "far":
        x += 3e4
    elif kind == "outlier":
        x[(0,) * len(shape)] = 1e4
    else:
        x += np.linspace(0, 1e4, x.size).reshape(shape)
    x = x.astype(np.float32)
    y = op(nd.array(x), nd.ones((size,)), nd.zeros((size,))).asnumpy()
    wide = x.astype(np.float64)
    mean, var = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    eps = 1e-3 if name in ("batch", "instance") else 1e-5
    # The mean is some roundings of float32 off, and that is a part of the standard deviation.
    rounding = np.abs(mean) * 2.0**-21 / np.sqrt(var)
    expected = (wide - mean) / np.sqrt(var + eps)
    assert (np.abs(y - expected) <= rounding + 1e-5 * (1 + np.abs(expected))).all()


@pytest.mark.parametrize("name", NORMS)
def test_nothing_to_normalise(name):
    op, shape, size, _ = NORMS[name]
    empty = nd.zeros((0, *shape[1:]), dtype="float32")
    if name == "layer along the first axis":
        size = 0
    arrays = [empty, nd.ones((size,)), nd.zeros((size,))]
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        y = op(*arrays)
    y.backward()
    assert y.shape == empty.shape
    assert arrays[1].grad.asnumpy().tolist() == [0] * size


def test_few_launches(rng):
    """Two forward, one of what lies in one piece; four backward at most, gamma's and beta's included."""
    for name in NORMS:
        arrays = drawn(name, rng)
        arrays[0].attach_grad()
        with autograd.record():
            y = NORMS[name][0](*arrays)
        nodes = [n for n in autograd_nodes(y) if n.op.name == "_normalize"]
        launches = [step for plan, _ in nodes[0].parts for step in plan.steps]
        assert len(launches) == (1 if name in ("layer", "instance", "group") else 2), name


def autograd_nodes(y):
    return list(tape.walk([y._entry]))


def test_moments_of_infinity():
    mean, var = nd.moments(nd.array([[1, np.inf], [np.nan, 1], [2, 4]]), axes=(1,))
    np.testing.assert_array_equal(mean.asnumpy(), np.float32([np.inf, np.nan, 3]))
    np.testing.assert_array_equal(var.asnumpy(), np.float32([np.nan, np.nan, 1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x, v: nd.BatchNorm(x, *[v] * 4),
            r"BatchNorm: gamma is float32 \(2,\); accepted: float32 \(3,\) for data \(2, 3, 4\)",
        ),
        (
            lambda x, v: nd.LayerNorm(x, v, v),
            r"LayerNorm: gamma is float32 \(2,\); accepted: float32 \(4,\)",
        ),
        (lambda x, v: nd.LayerNorm(x, v, v, axis=3), "LayerNorm: axis is 3; accepted: -3 to 2"),
        (
            lambda x, v: nd.InstanceNorm(x[0], v, v),
            r"InstanceNorm: data is of shape \(3, 4\); accepted: at least",
        ),
        (lambda x, v: nd.GroupNorm(x, v, v, 2), "GroupNorm: num_groups is 2; accepted: a divisor of 3"),
        (
            lambda x, v: nd.L2Normalization(x, mode="x"),
            "L2Normalization: mode is 'x'; accepted: instance, channel",
        ),
        (lambda x, v: nd.LRN(x.astype("int8"), nsize=3), "LRN: data is of dtype int8; accepted: a float"),
        (lambda x, v: nd.LRN(x, nsize=3), r"LRN: data is of shape \(2, 3, 4\); accepted: 4 axes"),
        (
            lambda x, v: nd.LayerNorm(x.astype("int32"), v, v),
            "LayerNorm: data is of dtype int32; accepted: a float",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises((OperatorError, OperatorTypeError), match=message):
        call(nd.ones((2, 3, 4)), nd.ones((2,)))
