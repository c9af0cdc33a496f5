"""Where formulas overflow, cancel or have no derivative: values and gradients as docs/numerics.md says.

Each test names numbers at which the shorter formula fails; derivatives go through recorded rules, by
``create_graph``, and the first one through the gradient kernel as well.
"""

import math

import numpy as np
import pytest
import scipy.special

from clgrad import autograd, nd
from clgrad.registry import Elementwise, table

INF, NAN = math.inf, math.nan
FP64 = pytest.mark.requires("fp64")


def derivatives(f, x, order: int, dtype="float32", wrt: int = 0) -> list[np.ndarray]:
    """Value and derivatives of an elementwise function up to an order; the first one by both ways."""
    hosts = x if isinstance(x, tuple) else (x,)
    arrays = [nd.array(h, dtype=dtype) for h in hosts]
    variable = arrays[wrt]
    variable.attach_grad()
    with autograd.record():
        y = f(*arrays)
    y.backward()
    kernel = variable.grad.asnumpy()
    found = []
    with autograd.record():
        y = f(*arrays)
        found.append(y.asnumpy())
        for _ in range(order):
            (y,) = autograd.grad(y, variable, create_graph=True)
            found.append(y.asnumpy())
    np.testing.assert_allclose(kernel, found[1], rtol=1e-5, atol=1e-37)
    return found


# Tails


def test_sigmoid_in_both_tails():
    """y (1 - y) is 0 from x = 17 on in float32; the slope is exp(-|x|)."""
    x = np.array([-80.0, -20, -1, 0, 1, 20, 80])
    value, first, second, third = derivatives(nd.sigmoid, x, 3)
    s, t = scipy.special.expit(x), scipy.special.expit(-x)
    np.testing.assert_allclose(value, s, rtol=1e-6)
    np.testing.assert_allclose(first, s * t, rtol=2e-6)
    np.testing.assert_allclose(second, s * t * (t - s), rtol=2e-6, atol=1e-37)
    np.testing.assert_allclose(third, s * t * (1 - 6 * s * t), rtol=4e-6)
    for result in derivatives(nd.sigmoid, [-1e4, -100, 100, 1e4, INF, -INF], 2):
        assert np.isfinite(result).all()


@FP64
def test_sigmoid_far_out_in_double():
    _, first, second = derivatives(nd.sigmoid, [-100.0, 100.0], 2, "float64")
    np.testing.assert_allclose(first, [math.exp(-100)] * 2, rtol=1e-13)
    np.testing.assert_allclose(second, [math.exp(-100), -math.exp(-100)], rtol=1e-13)


def test_tanh_in_both_tails():
    x = np.array([-40.0, -9, -0.5, 0, 0.5, 9, 40])
    value, first, second = derivatives(nd.tanh, x, 2)
    np.testing.assert_allclose(value, np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(first, 1 / np.cosh(x) ** 2, rtol=2e-6)
    np.testing.assert_allclose(second, -2 * np.tanh(x) / np.cosh(x) ** 2, rtol=4e-6)
    for result in derivatives(nd.tanh, [-1e4, -100, 100, 1e4], 3):
        assert np.isfinite(result).all()


def test_softplus_far_out():
    value, first, second = derivatives(table["softrelu"], [-1e4, -80, 0, 80, 1e4], 2)
    np.testing.assert_allclose(value, [0, math.exp(-80), math.log(2), 80, 1e4], rtol=1e-6)
    np.testing.assert_allclose(first, [0, math.exp(-80), 0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(second, [0, math.exp(-80), 0.25, math.exp(-80), 0], rtol=2e-6)


def test_gelu_in_the_lower_tail():
    """0.5 x (1 + erf) is 0 from -6 on."""
    x = np.array([-10.0, -6, -1, 0, 1, 6, 100])
    value, first, second = derivatives(lambda x: nd.LeakyReLU(x, act_type="gelu"), x, 2)
    phi = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(value, x * scipy.special.ndtr(x), rtol=2e-5)
    np.testing.assert_allclose(first, scipy.special.ndtr(x) + x * phi, rtol=2e-5)
    np.testing.assert_allclose(second, (2 - x * x) * phi, rtol=2e-5, atol=1e-37)


def test_expm1_and_elu_in_the_lower_tail():
    """exp(x) is not (exp(x) - 1) + 1."""
    x = np.array([-60.0, -20, -1])
    for f in (nd.expm1, lambda x: nd.LeakyReLU(x, act_type="elu", slope=1.0)):
        for derivative in derivatives(f, x, 2)[1:]:
            np.testing.assert_allclose(derivative, np.exp(x), rtol=1e-6)
    assert np.isfinite(derivatives(lambda x: nd.LeakyReLU(x, act_type="elu", slope=1.0), [1e4], 2)).all()


def test_log_softmax_of_distant_numbers():
    """The largest number is subtracted first; derivatives stay finite and right."""
    x = nd.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [80, 0, -80]])
    x.attach_grad()
    with autograd.record():
        y = nd.log_softmax(x, axis=1)
        (first,) = autograd.grad(y[:, 1], x, create_graph=True)
        (second,) = autograd.grad(first[:, 1], x, create_graph=True)
    expected = [[0, -1e4, -2e4], [-math.log(3)] * 3, [0, -80, -160]]
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        first.asnumpy(), [[-1, 1, 0], [-1 / 3, 2 / 3, -1 / 3], [-1, 1, 0]], atol=1e-6
    )
    np.testing.assert_allclose(second.asnumpy(), [[0] * 3, [1 / 9, -2 / 9, 1 / 9], [0] * 3], atol=1e-6)


# Squares that overflow, differences that cancel


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("arcsinh", [1e30, -1e25, 1e-30, 0], [1e-30, 1e-25, 1, 1]),
        ("arccosh", [1e30, 2, 1 + 2.0**-23], [1e-30, 3**-0.5, 2.0**11]),
        ("arcsin", [1 - 2.0**-24, 0.6], [1 / math.sqrt(2.0**-23 - 2.0**-48), 1.25]),
        ("arccos", [1 - 2.0**-24, 0.6], [-1 / math.sqrt(2.0**-23 - 2.0**-48), -1.25]),
        ("arctanh", [1 - 2.0**-24, 0.6], [1 / (2.0**-23 - 2.0**-48), 1 / 0.64]),
        ("arctan", [1e30, 0.5], [0, 0.8]),
        ("softsign", [1e30, -1.0], [0, 0.25]),
    ],
)
def test_derivatives_do_not_cancel_or_overflow(name, x, expected):
    _, first, second = derivatives(table[name], np.array(x), 2)
    np.testing.assert_allclose(first, expected, rtol=1e-6, atol=1e-37)
    assert not np.isnan(second).any()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_hypot_and_arctan2_at_every_size(size):
    pair = np.array([3 * size]), np.array([4 * size])
    value, first = derivatives(nd.broadcast_hypot, pair, 1)
    np.testing.assert_allclose([value[0], first[0]], [5 * size, 0.6], rtol=1e-6)
    _, first = derivatives(table["arctan2"], pair, 1)
    np.testing.assert_allclose(first[0], 4 / 25 / size, rtol=1e-6)
    _, first = derivatives(table["arctan2"], pair, 1, wrt=1)
    np.testing.assert_allclose(first[0], -3 / 25 / size, rtol=1e-6)


@pytest.mark.parametrize("op", ["broadcast_hypot", "arctan2"])
@pytest.mark.parametrize("wrt", [0, 1])
def test_the_origin(op, wrt):
    """A subgradient of 0, to every order."""
    zero = np.zeros(2)
    for derivative in derivatives(table[op], (zero, zero), 3, wrt=wrt)[1:]:
        np.testing.assert_array_equal(derivative, 0)


def test_norm_at_zero():
    x = nd.zeros((2, 3))
    x.attach_grad()
    with autograd.record():
        y = nd.norm(x, axis=1)
        (first,) = autograd.grad(y, x, create_graph=True)
        (second,) = autograd.grad(first, x, create_graph=True)
    np.testing.assert_array_equal(first.asnumpy(), 0)
    np.testing.assert_array_equal(second.asnumpy(), 0)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=FP64)])
def test_norms_of_numbers_of_any_size(dtype, rng):
    """Alone, and sizes beside each other, over more than one work-item's share."""
    kind = np.finfo(dtype)
    for scale in (float(kind.max) / 1e4, float(kind.tiny) * 64, 1.0):
        x = (rng.uniform(0.5, 1, 9001) * scale / 100).astype(dtype)
        expected = np.sqrt(np.sum((x / scale).astype(np.float64) ** 2)) * scale
        np.testing.assert_allclose(nd.norm(nd.array(x, dtype=dtype)).asscalar(), expected, rtol=1e-5)
    mixed = np.array([3e30, 4e30, 1e-30, 1.0] if dtype == "float32" else [3e300, 4e300, 1e-300, 1.0])
    np.testing.assert_allclose(nd.norm(nd.array(mixed, dtype=dtype)).asscalar(), mixed[1] * 1.25, rtol=1e-6)
    border = np.array([2.0**-63, 2.0**-64, 2.0**-63], dtype)
    np.testing.assert_allclose(nd.norm(nd.array(border, dtype=dtype)).asscalar(), 1.5 * 2.0**-63, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "derivative"),
    [
        ("arcsin", lambda x: x / (1 - x * x) ** 1.5),
        ("arccos", lambda x: -x / (1 - x * x) ** 1.5),
        ("arctanh", lambda x: 2 * x / (1 - x * x) ** 2),
    ],
)
def test_second_derivatives_near_zero(name, derivative):
    """The difference of two slopes of 1 would be 0."""
    x = np.array([-1e-30, 1e-9, 1e-3, 0.5], np.float32)
    np.testing.assert_allclose(derivatives(table[name], x, 2)[2], derivative(x.astype(float)), rtol=1e-5)


def test_gelu_bends_nowhere_far_out():
    for derivative in derivatives(table["gelu"], [-1e30, -1e20, 1e20, 1e30], 3)[2:]:
        np.testing.assert_array_equal(derivative, 0)


# Where there is no derivative


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sqrt", INF), ("cbrt", INF), ("rsqrt", -INF), ("log", INF), ("reciprocal", -INF)],
)
def test_infinite_slopes_at_zero(name, expected):
    np.testing.assert_array_equal(derivatives(table[name], [0.0], 1)[1], [expected])


@pytest.mark.parametrize(("name", "expected"), [("arcsin", INF), ("arccos", -INF), ("arccosh", INF)])
def test_infinite_slopes_at_one(name, expected):
    np.testing.assert_array_equal(derivatives(table[name], [1.0], 1)[1], [expected])


@pytest.mark.parametrize(
    ("name", "x", "second", "third"),
    [
        ("arcsin", 1.0, INF, INF),
        ("arccos", 1.0, -INF, -INF),
        ("arctanh", 1.0, INF, INF),
        ("arccosh", 1.0, -INF, INF),
        ("cbrt", 0.0, -INF, INF),
        ("rcbrt", 0.0, INF, -INF),
        ("sqrt", 0.0, -INF, INF),
        ("log", 0.0, -INF, INF),
    ],
)
def test_infinite_derivatives_of_higher_order(name, x, second, third):
    """The limits from within the domain, and not what infinity times 0 makes of them."""
    found = derivatives(table[name], [x], 3)
    np.testing.assert_array_equal(np.ravel(found[2:]), [second, third])


@pytest.mark.parametrize(
    ("exponent", "at_zero", "below"),
    [
        (0, [1, 0, 0], [1, 0, 0]),
        (1, [0, 1, 0], [-2, 1, 0]),
        (2, [0, 0, 2], [4, -4, 2]),
        (3, [0, 0, 0], [-8, 12, -12]),
        (-1, None, [-0.5, -0.25, -0.25]),
        (0.5, [0, INF, -INF], [NAN, NAN, NAN]),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_powers_at_and_below_zero(exponent, at_zero, below, as_array):
    """With respect to the base, to second order; the exponent a number or an array."""
    other = nd.array([exponent, exponent]) if as_array else exponent
    found = np.array(derivatives(lambda x: nd.power(x, other), [0.0, -2.0], 2))
    np.testing.assert_allclose(found[:, 1], below, rtol=1e-6)
    if at_zero is not None:
        np.testing.assert_array_equal(found[:, 0], at_zero)


def test_mixed_derivative_of_a_power():
    """d/dy d/dx x^y is x^(y-1) (1 + y log x): 1 / x at the exponent 0."""
    x, y = nd.array([2.0, 3.0]), nd.array([0.0, 2.0])
    for v in (x, y):
        v.attach_grad()
    with autograd.record():
        (first,) = autograd.grad(nd.power(x, y), x, create_graph=True)
    first.backward()
    np.testing.assert_allclose(y.grad.asnumpy(), [0.5, 3 * (1 + 2 * math.log(3))], rtol=1e-6)


def test_powers_with_respect_to_the_exponent():
    """0 at the base 0, NaN below it."""
    base, exponent = np.array([0.0, -2.0, 2.0]), np.array([2.0, 3.0, 3.0])
    _, first = derivatives(nd.power, (base, exponent), 1, wrt=1)
    np.testing.assert_allclose(first, [0, NAN, 8 * math.log(2)], rtol=1e-6)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_third_derivative_of_a_product(zeros):
    """The product of four factors: each mixed third derivative is the factor left out."""
    host = np.array([2.0, 3.0, 5.0, 7.0])
    host[:zeros] = 0
    x = nd.array(host)
    x.attach_grad()
    with autograd.record():
        y = nd.prod(x)
        for place in (3, 2, 1):
            (g,) = autograd.grad(y, x, create_graph=True)
            y = g[place : place + 1]
    assert y.asscalar() == host[0]
    np.testing.assert_array_equal(autograd.grad(y, x)[0].asnumpy(), [1, 0, 0, 0])


# NaN


@pytest.mark.parametrize(
    "f",
    [
        pytest.param(nd.relu, id="relu"),
        pytest.param(lambda x: nd.clip(x, -1, 1), id="clip"),
        pytest.param(lambda x: nd.maximum(x, 0), id="maximum"),
        pytest.param(lambda x: nd.maximum(0, x), id="maximum, right"),
        pytest.param(lambda x: nd.minimum(x, 0), id="minimum"),
        pytest.param(lambda x: nd.minimum(0, x), id="minimum, right"),
        pytest.param(lambda x: nd.LeakyReLU(x, act_type="leaky"), id="leaky"),
        pytest.param(lambda x: nd.LeakyReLU(x, act_type="elu"), id="elu"),
        pytest.param(nd.sign, id="sign"),
        pytest.param(nd.hard_sigmoid, id="hard_sigmoid"),
        pytest.param(nd.smooth_l1, id="smooth_l1"),
        pytest.param(nd.rint, id="rint"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_nan_stays(f, dtype):
    y = f(nd.array([NAN] * 17 + [0.5], dtype=dtype)).asnumpy().astype(np.float32)
    np.testing.assert_array_equal(np.isnan(y), [True] * 17 + [False])


# Sums


@pytest.mark.slow
@pytest.mark.parametrize("op", ["sum", "mean"])
def test_sums_of_ten_million(op, rng):
    x = (rng.random(10_000_000, np.float32) + np.float32(0.1)).astype(np.float32)
    expected = getattr(np, op)(x.astype(np.float64))
    assert table[op](nd.array(x)).asscalar() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_added_in_single(dtype):
    """In storage precision these sums would stop at 2048 or 256, and the mean overflow."""
    ones = nd.ones((3, 2000), dtype=dtype)
    np.testing.assert_array_equal(nd.sum(ones, axis=1).asnumpy().astype(np.float32), 2000)
    big = nd.full((4096,), 256.0, dtype=dtype)
    assert float(nd.mean(big).asnumpy()[0]) == 256


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_means_of_whole_numbers_do_not_wrap(dtype):
    bound = min(np.iinfo(dtype).max, 2**53)
    assert nd.mean(nd.array(np.full(50, bound, dtype), dtype=dtype)).asscalar() == bound


# Conversion


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("source", ["float16", "float32", "bfloat16", pytest.param("float64", marks=FP64)])
def test_conversion_saturates(source, dtype):
    """In vectors and in what is left of them."""
    kind = np.iinfo(dtype)
    host = np.array([NAN, INF, -INF, 3.9, -3.9, 0.5] * 3, "float32")
    y = nd.cast(nd.array(host, dtype=source), dtype=dtype).asnumpy()
    least = max(-3, kind.min)
    assert y.tolist() == [0, kind.max, kind.min, 3, least, 0] * 3


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64"))])
def test_elements_do_not_depend_on_their_neighbours(dtype):
    """A vector function that treats its lanes alike must not let one of them spoil the others."""
    x = np.float64(10.0) ** np.arange(-37, 38)
    alone = np.repeat(np.concatenate([x, -x])[:, None], 16, axis=1)
    ops = {op.name: op for op in table.values() if isinstance(op, Elementwise)}
    for name, op in ops.items():
        if len(op.arguments) != 1 or op.attributes:
            continue
        expected = op(nd.array(alone, dtype=dtype)).asnumpy()[:, 5]
        for neighbour in (3e38, np.inf, np.nan, 1e10, 1e-38):
            mixed = np.full(alone.shape, neighbour)
            mixed[:, 5] = alone[:, 5]
            found = op(nd.array(mixed, dtype=dtype)).asnumpy()[:, 5]
            np.testing.assert_array_equal(found, expected, err_msg=f"{name} beside {neighbour}")
