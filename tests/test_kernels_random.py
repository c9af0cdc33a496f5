"""Random numbers: Philox against its published answers, distributions against numpy, bit by bit."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import layout, random

SHAPES = ("cpu", "gpu")
FP64 = pytest.mark.requires("fp64")
F16, F32 = np.dtype(np.float16), np.dtype(np.float32)
SEED, CALL = 0xA4093822299F31D0, 0x1319_8A2E_0370_7344
KEYS = (random.as_scalar(SEED), random.as_scalar(CALL))

#: Odd, with a last block that is not whole, and more than one vector of blocks.
COUNT = 1003


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10 of counters (..., 4) as the paper defines it."""
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k = [np.uint64(key[0]), np.uint64(key[1])]
    low32, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> shift) ^ c[1] ^ k[0], p1 & low32, (p0 >> shift) ^ c[3] ^ k[1], p0 & low32]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low32, (k[1] + np.uint64(0xBB67AE85)) & low32]
    return np.stack(c, -1).astype(np.uint32)


def words(count: int, seed: int = SEED, call: int = CALL) -> np.ndarray:
    """The first ``count`` words of a call."""
    block = np.arange(-(-count // 4), dtype=np.uint64)
    counter = np.stack([block, 0 * block, 0 * block + call % 2**32, 0 * block + (call >> 32)], -1)
    return philox(counter, (seed % 2**32, seed >> 32)).ravel()[:count]


def units(count: int, dtype: np.dtype) -> np.ndarray:
    """Uniform numbers in [0, 1), each a multiple of 2**-24 or 2**-53, so exact."""
    if dtype != np.float64:
        return (words(count) >> 8).astype(np.float32) * np.float32(2.0**-24)
    pairs = words(2 * count).astype(np.uint64)
    return ((pairs[1::2] << np.uint64(21)) ^ (pairs[::2] >> np.uint64(11))) * 2.0**-53


def rounded_down(values: np.ndarray) -> np.ndarray:
    nearest = values.astype(F16)
    below = np.nextafter(nearest, F16.type(-np.inf))
    return np.where(nearest.astype(np.float32) > values, below, nearest)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [  # kat_vectors of the authors' library Random123
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_reference_gives_the_known_answers(counter, key, answer):
    counter, key, answer = (
        np.array([int(word, 16) for word in text.split()]) for text in (counter, key, answer)
    )
    np.testing.assert_array_equal(philox(counter, key), answer)


@pytest.mark.parametrize("shape", SHAPES)
def test_bits(shape):
    plan = random.plan_bits(device_of_shape(shape), "random_bits", (17, 59))
    np.testing.assert_array_equal(run(plan, [], KEYS)[0], words(COUNT).reshape(17, 59))
    # The same plan with other scalars: the published answer to a counter and a key of zeros.
    known = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    np.testing.assert_array_equal(run(plan, [], (0, 0))[0].ravel()[:4], known)
    for keys in ((1, 0), (2**32, 0), (0, 1), (0, 2**32)):
        other = words(COUNT, *keys).reshape(17, 59)
        np.testing.assert_array_equal(run(plan, [], keys)[0], other)


@pytest.mark.parametrize("shape", SHAPES)
def test_64_bit_positions(shape, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    test_bits(shape)


def test_the_beginning_does_not_depend_on_the_size():
    device = device_of_shape("cpu")
    for count in (1, 2, 3, 64, 65):
        plan = random.plan_bits(device, "random_bits", (count,))
        np.testing.assert_array_equal(run(plan, [], KEYS)[0], words(count))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", pytest.param("float64", marks=FP64)])
def test_uniform(shape, dtype):
    dtype = np.dtype(dtype)
    plan = random.plan_uniform(device_of_shape(shape), "uniform", (COUNT,), dtype)
    compute = np.float64 if dtype == np.float64 else np.float32
    u = units(COUNT, dtype)
    # In the last two ranges, sums round up to `high` (float16: on the store) unless prevented.
    for low, high in ((0, 1), (-3, 5), (2**20, 2**20 + 1), (1, 1 + 2**-8)):
        if dtype == F16 and high > 65504:
            continue
        low, high = compute(low), compute(high)
        expected = low + (high - low) * u
        expected = np.where(expected < high, expected, np.nextafter(high, low))
        expected = rounded_down(expected) if dtype == F16 else expected
        (y,) = run(plan, [], (*KEYS, low, high))
        np.testing.assert_array_equal(y, expected)
        assert (y >= low).all()
        assert (y < high).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", pytest.param("float64", marks=FP64)])
def test_normal(shape, dtype):
    dtype = np.dtype(dtype)
    plan = random.plan_normal(device_of_shape(shape), "normal", (COUNT,), dtype)
    (y,) = run(plan, [], (*KEYS, 0.5, 3.0))
    u = units(COUNT + 1, dtype)
    if dtype == np.float64:
        first = u[::2] + 2.0**-53
    else:
        rounded = words(COUNT + 1)[::2].astype(np.float32)
        first = rounded.astype(np.float64) * 2.0**-32 + 2.0**-33
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * u[1::2].astype(np.float64)
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).ravel()[:COUNT]
    tolerance = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-14}[dtype.name]
    np.testing.assert_allclose(y, 0.5 + 3 * z, rtol=tolerance, atol=3 * tolerance)


def test_normal_numbers_are_normally_distributed():
    count = 200_000
    plan = random.plan_normal(device_of_shape("cpu"), "normal", (count,), F32)
    (y,) = run(plan, [], (*KEYS, 0, 1))
    y = y.astype(np.float64)
    # Seed and call are fixed, so the result is too; the bounds are five standard errors.
    error = 5 / np.sqrt(count)
    assert abs(y.mean()) < error
    assert abs((y**2).mean() - 1) < error * np.sqrt(2)
    assert abs((y**3).mean()) < error * np.sqrt(15)
    assert abs((y**4).mean() - 3) < error * np.sqrt(96)
    assert abs((y[1:] * y[:-1]).mean()) < error
    assert (np.abs(y) > 4).any()


def test_normal_is_finite_for_the_smallest_uniform_number():
    seed = 1836991927  # found by search
    assert words(1, seed, 0)[0] == 0
    plan = random.plan_normal(device_of_shape("cpu"), "normal", (4,), F32)
    (y,) = run(plan, [], (seed, 0, 0, 1))
    radius = np.sqrt(2 * 33 * np.log(2))
    np.testing.assert_allclose(np.hypot(*y[:2].astype(np.float64)), radius, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", pytest.param("float64", marks=FP64)])
def test_dropout_and_its_mask(shape, dtype, rng):
    dtype, device = np.dtype(dtype), device_of_shape(shape)
    x = rng.standard_normal(COUNT).astype(dtype)
    mask_plan = random.plan_mask(device, "dropout_mask", (COUNT,), dtype)
    plan = random.plan_dropout(device, "dropout", (COUNT,), dtype)
    compute = np.float64 if dtype == np.float64 else np.float32
    for keep in (0.3, 1.0, 0.0):
        kept = units(COUNT, dtype) < compute(keep)
        expected = np.where(kept, 1 / compute(keep) if keep else 0, 0)
        y, mask = run(plan, [x], (*KEYS, keep))
        np.testing.assert_allclose(mask, expected, rtol=2 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(mask, run(mask_plan, [], (*KEYS, keep))[0])
        product = expected * x.astype(compute)
        np.testing.assert_allclose(y, product, rtol=2 * np.finfo(dtype).eps)


def test_no_elements():
    plan = random.plan_uniform(device_of_shape("cpu"), "uniform", (3, 0), F32)
    assert run(plan, [], (*KEYS, 0, 1))[0].shape == (3, 0)


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64 + 5, -1])
def test_scalars_keep_the_low_64_bits(number):
    assert np.int64(random.as_scalar(number)).astype(np.uint64) == number % 2**64
