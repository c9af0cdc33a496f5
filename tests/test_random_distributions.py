"""Every distribution against its distribution function, in dtypes and at extremes; choices; gradients.

Seeds are fixed, and results are the same on every device, so what passes once passes always.
"""

import math

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "random_exponential": ("_random_exponential",),
    "random_gamma": ("_random_gamma",),
    "random_poisson": ("_random_poisson",),
    "random_negative_binomial": ("_random_negative_binomial",),
    "random_generalized_negative_binomial": ("_random_generalized_negative_binomial",),
    "random_randint": ("_random_randint",),
    "sample_uniform": ("_sample_uniform",),
    "sample_normal": ("_sample_normal",),
    "sample_exponential": ("_sample_exponential",),
    "sample_gamma": ("_sample_gamma",),
    "sample_poisson": ("_sample_poisson",),
    "sample_negative_binomial": ("_sample_negative_binomial",),
    "sample_generalized_negative_binomial": ("_sample_generalized_negative_binomial",),
    "sample_multinomial": ("_sample_multinomial",),
    "shuffle": ("_permutation",),
}

stats = pytest.importorskip("scipy.stats")

FP64 = pytest.mark.requires("fp64")
REAL = ["float32", "float16", pytest.param("float64", marks=FP64), "bfloat16"]
COUNT = 30_000
#: The least p-value: with some hundred tests at fixed seeds, one below would mean a wrong distribution.
LEAST = 1e-4


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(20261124)


def host(x: nd.NDArray) -> np.ndarray:
    return x.asnumpy().astype(np.float64).ravel()


def assert_continuous(x: np.ndarray, distribution, dtype: str) -> None:
    """Kolmogorov and Smirnov's test, on as many numbers as the dtype's rounding allows."""
    assert np.isfinite(x).all()
    few = {"float16": 3000, "bfloat16": 300}.get(dtype, x.size)
    assert stats.kstest(x[:few], distribution.cdf).pvalue > LEAST


def assert_counts(x: np.ndarray, distribution) -> None:
    """Pearson's test, with rare counts taken together."""
    assert np.isfinite(x).all()
    assert (x == np.floor(x)).all()
    assert x.min() >= 0
    low, high = distribution.ppf([1e-3, 1 - 1e-3]).astype(int)
    step = max(1, (high - low) // 40)
    edges = np.arange(low, high + step, step)
    share = np.diff(np.r_[0, distribution.cdf(edges), 1])
    counts = np.bincount(np.searchsorted(edges, x), minlength=edges.size + 1)
    kept = share * x.size > 5
    expected = np.r_[share[kept], share[~kept].sum()] * x.size
    found = np.r_[counts[kept], counts[~kept].sum()]
    if expected[-1] < 5:
        assert found[-1] <= 20
        expected, found = expected[:-1], found[:-1]
    if expected.size > 1:
        assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > LEAST


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("as_arrays", [False, True])
def test_exponential(as_arrays, dtype):
    for scale in (0.25, 1, 30):
        x = draw(nd.random.exponential, [scale], as_arrays, dtype)
        assert_continuous(x, stats.expon(scale=scale), dtype)


@pytest.mark.parametrize("dtype", REAL)
def test_uniform_and_normal_for_arrays(dtype):
    for low, high in ((0, 1), (-3, 5), (1, 1 + 2**-7), (-2, -1)):
        x = draw(nd.random.uniform, [low, high], True, dtype)
        assert low <= x.min()
        assert x.max() < high
        if high - low >= 1:
            assert_continuous(x, stats.uniform(low, high - low), dtype)
    assert_continuous(draw(nd.random.normal, [1, 2], True, dtype), stats.norm(1, 2), dtype)


@pytest.mark.parametrize("dtype", REAL)
def test_bounds_of_16_bits(dtype):
    """Rounding on the store must not reach the upper bound either."""
    for low, high in ((0, 1), (1, 1 + 2**-7), (-2, -1)):
        x = draw(nd.random.uniform, [low, high], False, dtype)
        assert low <= x.min()
        assert x.max() < high


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1, 3.5, 50, 1e4])
@pytest.mark.parametrize("dtype", REAL)
def test_gamma(alpha, dtype):
    if alpha == 1e4 and dtype in ("float16", "bfloat16"):
        pytest.skip("its spread is below the dtype's rounding")
    x = draw(nd.random.gamma, [alpha, 2], alpha < 2, dtype)
    assert x.min() >= 0
    # The smallest numbers of small alpha are 0 in narrow dtypes, or rounded in steps that are not small.
    least = {"float64": 0, "float32": 1e-30}.get(dtype, 1e-3) if alpha < 1 else 0
    below = stats.gamma.cdf(least, alpha, scale=2)
    assert abs((x <= least).mean() - below) < 5 * math.sqrt(max(below, 1e-9) / x.size)
    kept = x[x > least]
    few = {"float16": 3000, "bfloat16": 300}.get(dtype, x.size)
    cdf = lambda v: (stats.gamma.cdf(v, alpha, scale=2) - below) / (1 - below)  # noqa: E731
    assert np.isfinite(x).all()
    assert stats.kstest(kept[:few], cdf).pvalue > LEAST


@pytest.mark.parametrize("lam", [0, 1e-6, 1e-3, 0.5, 3, 9.99, 10, 12, 100, 1e4])
@pytest.mark.parametrize("dtype", REAL)
def test_poisson(lam, dtype):
    if lam > {"float16": 1000, "bfloat16": 50}.get(dtype, math.inf):
        pytest.skip("the dtype does not hold all counts")
    x = draw(nd.random.poisson, [lam], lam < 5, dtype)
    if lam == 0:
        assert (x == 0).all()
        return
    assert_counts(x, stats.poisson(lam))
    # Mean and variance, each to five standard errors.
    assert abs(x.mean() - lam) < 5 * math.sqrt(lam / x.size) + 5 / x.size
    assert abs(x.var() - lam) < 5 * math.sqrt((lam + 2 * lam * lam) / x.size) + 5 / x.size


@pytest.mark.parametrize(("k", "p"), [(1, 0.5), (5, 0.1), (0.3, 0.01), (100, 0.9), (3, 1)])
def test_negative_binomial(k, p):
    for as_arrays in (False, True):
        x = draw(nd.random.negative_binomial, [k, p], as_arrays, "float32")
        if p == 1:
            assert (x == 0).all()
        else:
            assert_counts(x, stats.nbinom(k, p))


@pytest.mark.parametrize(("mu", "alpha"), [(2, 0.5), (2, 0), (100, 0.01), (0.1, 5), (0, 1)])
def test_generalized_negative_binomial(mu, alpha):
    for as_arrays in (False, True):
        x = draw(nd.random.generalized_negative_binomial, [mu, alpha], as_arrays, "float32")
        if mu == 0:
            assert (x == 0).all()
            continue
        distribution = stats.nbinom(1 / alpha, 1 / (1 + alpha * mu)) if alpha else stats.poisson(mu)
        assert_counts(x, distribution)


def draw(function, parameters, as_arrays: bool, dtype: str) -> np.ndarray:
    """COUNT numbers, of parameters that are numbers or arrays with one element."""
    if as_arrays:
        parameters = [nd.array([p]) for p in parameters]
    x = function(*parameters, shape=(COUNT,), dtype=dtype)
    assert np.dtype(x.dtype).name == dtype
    assert x.shape == ((1, COUNT) if as_arrays else (COUNT,))
    return host(x)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-3, 4, "int32"),
        (0, 2**32, "int64"),
        (0, 3 * 2**30, "int64"),
        (0, 3 * 2**61, "int64"),
        (-(2**63), 2**63, "int64"),
        (-(2**31), 2**31, "int32"),
        (2**62 - 5, 2**62 + 5, "int64"),
    ],
)
def test_randint(low, high, dtype):
    """All of the range, evenly: a remainder would favour its lower part (most of all for 3 * 2**61)."""
    x = nd.random.randint(low, high, (COUNT,), dtype).asnumpy()
    assert x.dtype == dtype
    assert low <= x.min()
    assert x.max() < high
    bins = min(high - low, 30)
    places = [(int(v) - low) * bins // (high - low) for v in x]
    assert stats.chisquare(np.bincount(places, minlength=bins)).pvalue > LEAST
    assert (nd.random.randint(low, low + 1, 5, dtype).asnumpy() == low).all()


def test_draws_and_elements_are_independent():
    for make in (
        lambda: nd.random.gamma(0.7, shape=(COUNT,)),
        lambda: nd.random.poisson(20, shape=(COUNT,)),
        lambda: nd.random.exponential(shape=(COUNT,)),
        lambda: nd.random.negative_binomial(3, 0.4, shape=(COUNT,)),
        lambda: nd.random.randint(0, 1000, (COUNT,)),
        lambda: nd.sample_normal(nd.zeros(1), nd.ones(1), (COUNT,)),
    ):
        x, y = host(make()), host(make())
        for a, b in ((x[1:], x[:-1]), (x[2:], x[:-2]), (x, y)):
            assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / math.sqrt(COUNT)


def test_each_element_has_its_own_parameters():
    lam = nd.array([[0.5, 20], [300, 0]])
    x = nd.sample_poisson(lam, shape=(2, 2000))
    assert x.shape == (2, 2, 2, 2000)
    means = x.asnumpy().mean((-1, -2))
    np.testing.assert_allclose(means, [[0.5, 20], [300, 0]], atol=1.5)
    assert nd.sample_poisson(lam).shape == (2, 2)
    assert nd.random.gamma(lam, 2.0, shape=3).shape == (2, 2, 3)
    assert nd.sample_gamma(lam, lam, 0).shape == (2, 2, 0)


def test_parameter_arrays_of_other_dtypes():
    whole, half = nd.array([1, 2], dtype="int32"), nd.array([1, 2], dtype="float16")
    for parameter in (whole, half):
        assert nd.random.poisson(parameter, 3).dtype is np.float32
        assert nd.sample_exponential(parameter, 3, "float16").dtype is np.float16
    assert nd.sample_generalized_negative_binomial(whole, half, 3).shape == (2, 3)
    assert nd.sample_negative_binomial(whole, half / 2, 3).shape == (2, 3)
    assert nd.sample_uniform(whole, half, 3).shape == (2, 3)


def test_arrays_out_of_range_give_nan():
    """The device cannot raise; a wrong parameter must not pass for a right one, nor hang."""
    bad = nd.array([-1, np.nan, np.inf])
    one = nd.ones(3)
    for x in (
        nd.sample_gamma(bad, one),
        nd.sample_poisson(bad),
        nd.sample_negative_binomial(bad, one / 2),
        nd.sample_negative_binomial(one, bad),
        nd.sample_generalized_negative_binomial(bad, one),
    ):
        assert np.isnan(x.asnumpy()).all()
    assert np.isnan(nd.sample_exponential(bad).asnumpy()[:2]).all()


def test_like_another_array():
    x = nd.zeros((3, 4), dtype="float16")
    for made in (
        nd.random.uniform_like(x, 2, 3),
        nd.random.normal_like(x, loc=2),
        nd.random.exponential_like(x, lam=3),
        nd.random.gamma_like(x, alpha=3, beta=0.1),
        nd.random.poisson_like(x, lam=3),
        nd.random.negative_binomial_like(x, k=3, p=0.1),
        nd.random.generalized_negative_binomial_like(x, mu=3, alpha=0.1),
    ):
        assert made.shape == (3, 4)
        assert made.dtype is np.float16
    with pytest.raises(OperatorTypeError, match=r"random.poisson_like: dtype is int32; accepted: float16"):
        nd.random.poisson_like(nd.zeros(3, dtype="int32"))


def test_older_names_take_rates_and_numbers():
    assert abs(host(nd.random_exponential(4, (COUNT,))).mean() - 0.25) < 0.01
    assert abs(host(nd.random_gamma(9, 0.5, (COUNT,))).mean() - 4.5) < 0.1
    assert abs(host(nd.random_poisson(4, (COUNT,))).mean() - 4) < 0.1
    assert abs(host(nd.random_negative_binomial(3, 0.5, (COUNT,))).mean() - 3) < 0.1
    assert abs(host(nd.random_generalized_negative_binomial(3, 0.5, (COUNT,))).mean() - 3) < 0.1
    assert nd.random_randint(0, 5, shape=3).dtype is np.int32
    out = nd.zeros((4,), dtype="int64")
    assert nd.random_randint(5, 6, out=out) is out
    assert (out.asnumpy() == 5).all()
    with pytest.raises(OperatorTypeError, match="sample_gamma: argument 'alpha' is int; accepted: NDArray"):
        nd.sample_gamma(1, 2)


# Gradients of chance that is held fixed


def test_gradients_with_respect_to_parameters():
    low, high = nd.array([1, 2]), nd.array([3, 5])
    for op, weights in (
        (nd.sample_uniform, lambda y: [1 - (y - [[1], [2]]) / [[2], [3]], (y - [[1], [2]]) / [[2], [3]]]),
        (nd.sample_normal, lambda y: [0 * y + 1, (y - [[1], [2]]) / [[3], [5]]]),
    ):
        low.attach_grad()
        high.attach_grad()
        with autograd.record():
            y = op(low, high, shape=4)
        y.backward(nd.array([[1, 2, 3, 4], [4, 3, 2, 1]]))
        for parameter, weight in zip((low, high), weights(y.asnumpy()), strict=True):
            expected = (weight * [[1, 2, 3, 4], [4, 3, 2, 1]]).sum(1)
            np.testing.assert_allclose(parameter.grad.asnumpy(), expected, rtol=1e-4)
    scale = nd.array([0.5, 3])
    scale.attach_grad()
    with autograd.record():
        y = nd.random.exponential(scale, shape=4)
    y.backward()
    np.testing.assert_allclose(
        scale.grad.asnumpy(), (y / scale.reshape((2, 1))).sum(1).asnumpy(), rtol=1e-4
    )


def test_second_gradients_vanish():
    """A normal number is linear in its parameters."""
    loc, scale = nd.array([1.0]), nd.array([2.0])
    scale.attach_grad()
    with autograd.record():
        y = nd.sample_normal(loc, scale, shape=5)
        (first,) = autograd.grad([y], [scale], create_graph=True)
        first.backward()
    np.testing.assert_allclose(scale.grad.asnumpy(), [0], atol=1e-5)


# Choices


@pytest.mark.parametrize("classes", [1, 2, 3, 10, 200])
@pytest.mark.parametrize("dtype", ["float32", "float16", pytest.param("float64", marks=FP64)])
def test_multinomial(classes, dtype, rng):
    chances = np.random.RandomState(classes).dirichlet(np.ones(classes), 2).astype(dtype)
    chances[1, : classes // 2] = 0
    x = nd.random.multinomial(nd.array(chances, dtype=dtype) * 3, COUNT)
    assert x.shape == (2, COUNT)
    assert x.dtype is np.int32
    for row, chance in zip(x.asnumpy(), chances.astype(np.float64), strict=True):
        found = np.bincount(row, minlength=classes)
        assert found.size == classes
        assert (found[chance == 0] == 0).all()
        kept = chance * COUNT > 5 * chance.sum()
        if kept.sum() > 1:
            expected = chance[kept] / chance[kept].sum() * found[kept].sum()
            assert stats.chisquare(found[kept], expected).pvalue > LEAST


def test_multinomial_shapes_and_dtypes():
    data = nd.array([[0.25, 0.75], [0, 1]])
    assert nd.random.multinomial(data).shape == (2,)
    assert nd.random.multinomial(data[0]).shape == (1,)
    assert nd.random.multinomial(data[0], 4).shape == (4,)
    assert nd.sample_multinomial(data.reshape((1, 2, 2)), shape=(2, 3)).shape == (1, 2, 2, 3)
    assert nd.random.multinomial(nd.zeros((0, 3)), 2).shape == (0, 2)
    for dtype in ("uint8", "int64", "float16", "float32"):
        x = nd.random.multinomial(data, dtype=dtype)
        assert np.dtype(x.dtype) == dtype
        assert x.asnumpy()[1] == 1
    assert (nd.random.multinomial(nd.array([[0, 0, 0], [-1, np.nan, 2]]), 9).asnumpy() == [[0], [2]]).all()
    with pytest.raises(OperatorError, match=r"random.multinomial: dtype is uint8; accepted: one that"):
        nd.random.multinomial(nd.ones((1, 300)), dtype="uint8")
    with pytest.raises(OperatorTypeError, match=r"random.multinomial: data is int32"):
        nd.random.multinomial(nd.ones((1, 3), dtype="int32"))
    with pytest.raises(OperatorError, match=r"random.multinomial: data is of shape \(2, 0\)"):
        nd.random.multinomial(nd.ones((2, 0)))


def test_log_probability_of_what_was_drawn():
    """The gradient of log p is 1 / p at each class, as often as it was drawn."""
    data = nd.array([[0.25, 0.75], [0.5, 0.5]])
    data.attach_grad()
    with autograd.record():
        drawn, log_p = nd.random.multinomial(data, 50, get_prob=True)
        (grad,) = autograd.grad([log_p], [data], create_graph=True)
        log_p.backward(retain_graph=True)
    classes = drawn.asnumpy()
    np.testing.assert_allclose(
        log_p.asnumpy(), np.log(np.take_along_axis(data.asnumpy(), classes, 1)), rtol=1e-5
    )
    counts = np.stack([np.bincount(row, minlength=2) for row in classes])
    np.testing.assert_allclose(data.grad.asnumpy(), counts / data.asnumpy(), rtol=1e-5)
    grad.backward()
    np.testing.assert_allclose(data.grad.asnumpy(), -counts / data.asnumpy() ** 2, rtol=1e-5)


def test_every_order_of_a_few_rows_is_equally_likely():
    orders = {}
    for _ in range(1200):
        order = tuple(nd.random.shuffle(nd.arange(4)).asnumpy().astype(int))
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 24
    assert stats.chisquare(list(orders.values())).pvalue > LEAST


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 3001])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "float16"])
def test_shuffle_keeps_rows_together(rows, dtype):
    data = np.arange(rows * 2).reshape(rows, 2).astype(dtype)
    x = nd.shuffle(nd.array(data, dtype=dtype)).asnumpy()
    assert x.dtype == dtype
    assert sorted(map(tuple, x)) == sorted(map(tuple, data))
    if rows > 100:
        assert (x != data).any()


def test_shuffle_is_repeated_by_its_seed_and_passes_gradients():
    mx.random.seed(1)
    a = nd.shuffle(nd.arange(5000)).asnumpy()
    mx.random.seed(1)
    np.testing.assert_array_equal(nd.shuffle(nd.arange(5000)).asnumpy(), a)
    x = nd.array([1, 2, 3])
    x.attach_grad()
    with autograd.record():
        y = nd.random.shuffle(x)
    y.backward(nd.array([10, 20, 30]))
    order = y.asnumpy().astype(int) - 1
    np.testing.assert_array_equal(x.grad.asnumpy()[order], [10, 20, 30])
    with pytest.raises(OperatorError, match=r"random.shuffle: data is of shape \(\)"):
        nd.shuffle(nd.array(5.0))


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nd.random.exponential(0), r"random.exponential: lam"),
        (
            lambda: nd.random.exponential(-2),
            r"exponential: lam is -0.5; accepted: a finite number above",
        ),
        (lambda: nd.random.gamma(-1), r"random.gamma: alpha is -1; accepted: a finite number not below 0"),
        (lambda: nd.random.gamma(1, -1), r"random.gamma: beta is -1"),
        (lambda: nd.random.poisson(-1), r"random.poisson: lam is -1"),
        (lambda: nd.random.poisson(math.inf), r"random.poisson: lam is inf"),
        (lambda: nd.random.negative_binomial(-1, 0.5), r"random.negative_binomial: k is -1"),
        (
            lambda: nd.random.negative_binomial(1, 0),
            r"p is 0; accepted: a finite number above 0 and up",
        ),
        (lambda: nd.random.negative_binomial(1, 1.5), r"random.negative_binomial: p is 1.5"),
        (lambda: nd.random.generalized_negative_binomial(-1, 1), r"negative_binomial: mu is -1"),
        (lambda: nd.random.generalized_negative_binomial(1, -1), r"negative_binomial: alpha is -1"),
        (lambda: nd.random.randint(5, 5), r"random.randint: high is 5; accepted: 6 to 2147483648"),
        (lambda: nd.random.randint(0, 2**40), r"random.randint: high is 1099511627776"),
        (lambda: nd.random.randint(-(2**40), 3), r"random.randint: low is"),
        (lambda: nd.random.randint(0.5, 3), r"random.randint: low is 0.5; accepted: a whole number"),
        (lambda: nd.random.poisson(1, shape=(2, -1)), r"random.poisson: shape is \(2, -1\)"),
        (lambda: nd.random.gamma(nd.ones(2), nd.ones(3)), r"random.gamma: beta is of shape \(3,\)"),
        (lambda: nd.random.gamma(out=nd.ones(2), shape=3), r"random.gamma: out has shape \(2,\)"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call()


def test_dtypes_are_named():
    with pytest.raises(OperatorTypeError, match=r"randint: dtype is float32; accepted: int32, int64"):
        nd.random.randint(0, 5, dtype="float32")
    with pytest.raises(OperatorTypeError, match=r"random.poisson: dtype is int32; accepted: float16"):
        nd.random.poisson(3, dtype="int32")
