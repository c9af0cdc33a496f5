"""Random numbers of each element's own blocks: against numpy, and both kernel shapes against each other."""

import functools
import itertools
import math

import numpy as np
import pytest
from plan_harness import device_of_shape, run
from test_kernels_random import philox

from clgrad import dtypes
from clgrad.kernels import discrete, distributions, layout, random

SHAPES = ("cpu", "gpu")
FP64 = pytest.mark.requires("fp64")
F32 = np.dtype(np.float32)
SEED, CALL = 0xA4093822299F31D0, 0x1319_8A2E_0370_7344
KEYS = (random.as_scalar(SEED), random.as_scalar(CALL))
#: Odd, and more than one work-item's.
COUNT = 1003


def words_of(element: np.ndarray, block: int) -> np.ndarray:
    """The four words of a block of each element, as the templates define them."""
    element = np.asarray(element, np.uint64)
    high = (element >> np.uint64(32)) | np.uint64(block << 16)
    low = element & np.uint64(0xFFFFFFFF)
    counter = np.stack([low, high, 0 * low + CALL % 2**32, 0 * low + (CALL >> 32)], -1)
    return philox(counter, (SEED % 2**32, SEED >> 32))


def plan(shape: str, distribution: str, dtype, parameters=(), samples=1, count=COUNT):
    name = f"{distribution}_test_{dtype}"
    return distributions.plan(
        device_of_shape(shape), name, distribution, (count,), np.dtype(dtype), parameters, samples
    )


#: Exact in every dtype.
PARAMETERS = {
    "uniform": [-1, 2],
    "normal": [1, 2],
    "exponential": [0.5],
    "gamma": [0.75, 3],
    "poisson": [20],
    "negative_binomial": [3, 0.25],
    "generalized_negative_binomial": [5, 0.5],
}


@pytest.mark.parametrize("distribution", PARAMETERS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", pytest.param("float64", marks=FP64)])
def test_shapes_and_kinds_of_parameters_agree_to_the_bit(distribution, dtype, monkeypatch):
    dtype = dtypes.resolve(dtype)
    given = PARAMETERS[distribution]
    results = [run(plan(s, distribution, dtype), [], (*KEYS, *given))[0] for s in SHAPES]
    arrays = [np.full(-(-COUNT // 5), p, F32) for p in given]
    results.append(run(plan("cpu", distribution, dtype, [F32] * len(given), 5), arrays, KEYS)[0])
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    results.append(run(plan("gpu", distribution, dtype), [], (*KEYS, *given))[0])
    one_word_off = (KEYS[0], KEYS[1] ^ 1)
    other = run(plan("cpu", distribution, dtype), [], (*one_word_off, *given))[0]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    assert (other != results[0]).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_uniform_takes_the_first_word(shape):
    (y,) = run(plan(shape, "uniform", "float32"), [], (*KEYS, 0, 1))
    expected = (words_of(np.arange(COUNT), 0)[:, 0] >> 8) * 2.0**-24
    np.testing.assert_array_equal(y, expected.astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("low", "high"), [(-3, 4), (0, 2**32), (0, 3 * 2**30), (5, 6)])
def test_narrow_integers(shape, low, high):
    """Lemire's method on one word of each block, refused where it would favour a number."""
    (y,) = run(plan(shape, "randint", "int64"), [], (*KEYS, low, high))
    np.testing.assert_array_equal(y, lemire(low, high, 32, lambda w: int(w[0])))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("low", "high"), [(0, 3 * 2**61), (-(2**63), 2**63), (-(2**62), 2**62 + 1)])
def test_wide_integers(shape, low, high):
    scalars = (*KEYS, low, random.as_scalar(high))
    (y,) = run(plan(shape, "randint", "int64"), [], scalars)
    np.testing.assert_array_equal(y, lemire(low, high, 64, lambda w: int(w[0]) << 32 | int(w[1])))


def lemire(low: int, high: int, bits: int, number) -> list[int]:
    count = high - low
    refused = 2**bits % count
    found = []
    words = functools.cache(lambda block: words_of(np.arange(COUNT), block))
    for element in range(COUNT):
        products = (number(words(block)[element]) * count for block in itertools.count())
        product = next(p for p in products if p % 2**bits >= refused)
        found.append(low + (product >> bits))
    return found


def test_portable_logarithm_is_accurate():
    """-log(u) of the exponential distribution: to a few units in the last place."""
    (y,) = run(plan("cpu", "exponential", "float32"), [], (*KEYS, 1))
    u = (words_of(np.arange(COUNT), 0)[:, 0].astype(np.float64) + 0.5) * 2.0**-32
    np.testing.assert_allclose(y, -np.log(u), rtol=1e-6)


@FP64
def test_portable_logarithm_is_accurate_in_double():
    (y,) = run(plan("cpu", "exponential", "float64"), [], (*KEYS, 1))
    w = words_of(np.arange(COUNT), 0).astype(np.uint64)
    u = ((w[:, 0] << np.uint64(20) | w[:, 1] >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    np.testing.assert_allclose(y, -np.log(u), rtol=1e-14)


def test_polar_normal_is_accurate():
    (y,) = run(plan("cpu", "normal", "float32"), [], (*KEYS, 0, 1))
    expected = np.full(COUNT, np.nan)
    for block in range(40):
        w = words_of(np.arange(COUNT), block)
        a, b = (((w[:, i] >> 9) + 0.5) * 2.0**-22 - 1 for i in (0, 1))
        s = a * a + b * b
        take = np.isnan(expected) & (s < 1)
        with np.errstate(invalid="ignore"):
            z = a * np.sqrt(-2 * np.log(s) / s)
        expected[take] = z[take]
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=1e-6)


def test_no_elements():
    for distribution in PARAMETERS:
        assert run(plan("cpu", distribution, "float32", count=0), [], KEYS)[0].shape == (0,)
    assert run(discrete.plan_permutation(device_of_shape("cpu"), "p", 0), [], KEYS)[0].shape == (0,)


# Permutations and classes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 17, 500])
def test_ranks(shape, n):
    (y,) = run(discrete.plan_permutation(device_of_shape(shape), "permutation", n), [], KEYS)
    w = words_of(np.arange(n), 0).astype(np.uint64)
    keys = (w[:, 0] << np.uint64(32) | w[:, 1]).view(np.int64)
    np.testing.assert_array_equal(y, np.argsort(keys, kind="stable"))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 17, 500])
@pytest.mark.parametrize("wide", [False, True])
def test_feistel(shape, n, wide, monkeypatch):
    if wide:
        monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    plan_ = discrete.plan_permutation(device_of_shape(shape), "permutation", n, ranks_limit=0)
    (y,) = run(plan_, [], KEYS)
    np.testing.assert_array_equal(np.sort(y), np.arange(n))
    np.testing.assert_array_equal(y[:20], [feistel(i, n) for i in range(min(n, 20))])


def feistel(place: int, n: int) -> int:
    left_size = math.isqrt(n - 1) + 1
    right_size = -(-n // left_size)

    def scramble(operand: int, block: int, size: int) -> int:
        return int(words_of(np.array([operand]), block)[0, 0]) * size >> 32

    while True:
        left, right = divmod(place, right_size)
        for block in range(0, 8, 2):
            left = (left + scramble(right, block, left_size)) % left_size
            right = (right + scramble(left, block + 1, right_size)) % right_size
        place = left * right_size + right
        if place < n:
            return place


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 16, 17, 100])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_classes(shape, classes, dtype, rng):
    """The first class whose cumulative sum exceeds u times the total, chunk by chunk."""
    chances = rng.random((3, classes)).astype(dtype)
    chances[1, ::2] = 0
    name = f"multinomial_{dtype}"
    plan_ = discrete.plan_multinomial(
        device_of_shape(shape), name, (3, classes), 67, np.dtype(dtype), np.dtype(np.int32)
    )
    (y,) = run(plan_, [chances], KEYS)
    u = ((words_of(np.arange(3 * 67), 0)[:, 0] >> 8) * 2.0**-24).reshape(3, 67)
    cumulative = np.cumsum(chances.astype(np.float64), 1)
    for row in range(3):
        target = u[row] * cumulative[row, -1]
        expected = np.searchsorted(cumulative[row], target, side="right")
        beside = np.abs(cumulative[row][:, None] - target).min(0) < 1e-5 * classes
        if cumulative[row, -1] > 0:
            np.testing.assert_array_equal(y[row][~beside], expected[~beside])
        else:
            assert (y[row] == 0).all()
