"""Random arrays: the seed, distributions, dtypes, shapes; bits are tested with the kernels."""

import threading
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

import clgrad as mx
from clgrad import nd
from clgrad.device.discovery import devices
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.ops.generator import Generator

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "random_uniform": ("_random_uniform",),
    "random_normal": ("_random_normal",),
    "contrib.rand_zipfian": (),
}

#: Checksums of numbers of several distributions, of seed 11: the same on every device, to the last bit.
PUBLISHED = [
    2791810898,
    1301915491,
    3925661604,
    122485963,
    4096531137,
    274480138,
    176304066,
    2837935202,
    779452668,
]

FP64 = pytest.mark.requires("fp64")
DTYPES = ["float32", "float16", pytest.param("float64", marks=FP64)]


@pytest.fixture(autouse=True)
def _seeded(request):
    """Statistics must not depend on the test's place in the run."""
    mx.random.seed(request.config.option.seed)


def test_a_seed_starts_over():
    mx.random.seed(42)
    first = [nd.random.uniform(shape=(7,)).asnumpy(), nd.random.normal(shape=(5, 3)).asnumpy()]
    mx.random.seed(42)
    again = [nd.random.uniform(shape=(7,)).asnumpy(), nd.random.normal(shape=(5, 3)).asnumpy()]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    mx.random.seed(43)
    assert (nd.random.uniform(shape=(7,)).asnumpy() != first[0]).any()


def test_draws_differ():
    a, b = (nd.random.uniform(shape=(100,)).asnumpy() for _ in "ab")
    assert not np.isin(a, b).any()


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**64 - 1, 2**70])
def test_any_whole_number_is_a_seed(seed):
    mx.random.seed(seed)
    x = nd.random.uniform(shape=(64,)).asnumpy()
    assert np.unique(x).size == 64


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform(dtype):
    """Bounds, mean (to five standard deviations), and the whole interval evenly used."""
    n = 40000
    x = nd.random.uniform(-2, 3, shape=(200, 200), dtype=dtype)
    assert np.dtype(x.dtype) == dtype
    x = x.asnumpy().astype(np.float64)
    assert x.shape == (200, 200)
    assert x.min() >= -2
    assert x.max() < 3
    assert abs(x.mean() - 0.5) < 5 * (5 / np.sqrt(12)) / np.sqrt(n)
    counts, _ = np.histogram(x, bins=20, range=(-2, 3))
    # chi squared of 19 degrees of freedom: 60 is beyond 1 in 200000
    assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 60


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal(dtype):
    n = 40000
    x = nd.random.normal(1, 2, shape=(n,), dtype=dtype).asnumpy().astype(np.float64)
    z = (x - 1) / 2
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)


def test_neighbours_do_not_correlate():
    n = 40000
    for draw in (
        lambda: nd.random.uniform(-1, 1, shape=(n,)),
        lambda: nd.random.normal(shape=(n,)),
    ):
        x = draw().asnumpy().astype(np.float64)
        y = draw().asnumpy().astype(np.float64)
        for a, b in ((x[1:], x[:-1]), (x[2:], x[:-2]), (x, y)):
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n)


def test_shapes_and_defaults():
    assert nd.random.uniform().shape == (1,)
    assert nd.random.uniform().dtype is np.float32
    assert nd.random.uniform(shape=5).shape == (5,)
    assert nd.random.normal(shape=[2, 3]).shape == (2, 3)
    assert nd.random.normal(shape=(0, 3)).shape == (0, 3)
    assert nd.random.randn(2, 3).shape == (2, 3)
    assert mx.random.uniform(shape=(2,)).shape == (2,)


def test_randn_takes_location_and_scale():
    x = nd.random.randn(10000, loc=10, scale=0.1).asnumpy()
    assert abs(x.mean() - 10) < 0.005


def test_out_gives_shape_and_dtype():
    out = nd.zeros((3, 4), dtype="float16")
    assert nd.random.uniform(1, 2, out=out) is out
    assert out.dtype is np.float16
    assert out.asnumpy().min() >= 1


def test_the_beginning_does_not_depend_on_the_size():
    """Numbers are keyed by place, so that every work-group size draws the same ones."""
    mx.random.seed(3)
    small = nd.random.normal(shape=(10,)).asnumpy()
    mx.random.seed(3)
    large = nd.random.normal(shape=(1000,)).asnumpy()
    np.testing.assert_array_equal(small, large[:10])


def test_threads_draw_different_numbers():
    drawn = []

    def draw():
        drawn.append(nd.random.uniform(shape=(50,)).asnumpy())

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.unique(np.concatenate(drawn)).size == 200


def test_each_device_counts_its_own_draws():
    first, second = (SimpleNamespace(device=object()) for _ in "ab")
    drawn = Generator()
    assert drawn.next(first)["seed"] != drawn.next(second)["seed"]  # not seeded: by chance
    drawn.reset(5)
    assert [drawn.next(first)["draw"] for _ in range(3)] == [1, 2, 3]
    assert drawn.next(second) == {"seed": 5, "draw": 1}
    drawn.reset(7, second.device)
    assert drawn.next(second) == {"seed": 7, "draw": 1}
    assert drawn.next(first) == {"seed": 5, "draw": 4}
    drawn.reset(8)
    assert drawn.next(first) == drawn.next(second) == {"seed": 8, "draw": 1}


def test_the_same_numbers_on_every_device():
    """Decisions of the samplers use arithmetic that all devices round alike."""
    drawn = []
    for device in devices():
        ctx = mx.Context(device.kind, device.index)
        mx.random.seed(11)
        draws = [
            nd.random.uniform(shape=(999,), ctx=ctx),
            nd.random.randint(0, 2**20, 999, ctx=ctx),
            nd.random.gamma(0.3, shape=(999,), ctx=ctx),
            nd.random.poisson(100, shape=(999,), ctx=ctx),
            nd.random.negative_binomial(3, 0.1, shape=(999,), ctx=ctx),
            nd.sample_normal(nd.zeros(1, ctx=ctx), nd.ones(1, ctx=ctx), 999),
            nd.random.exponential(2, shape=(999,), ctx=ctx),
            nd.random.shuffle(nd.arange(3000, ctx=ctx)),
            nd.random.multinomial(nd.arange(100, ctx=ctx), 999),
        ]
        drawn.append([zlib.crc32(x.asnumpy().tobytes()) for x in draws])
    assert drawn == [PUBLISHED] * len(drawn)


def test_a_seed_for_one_device(ctx):
    mx.random.seed(6)
    a = nd.random.uniform(shape=(7,)).asnumpy()
    nd.random.uniform(shape=(7,))
    mx.random.seed(6, ctx)
    np.testing.assert_array_equal(nd.random.uniform(shape=(7,)).asnumpy(), a)
    mx.random.seed(6, str(ctx))
    np.testing.assert_array_equal(nd.random.uniform(shape=(7,)).asnumpy(), a)


def test_older_names():
    mx.random.seed(7)
    a = nd.random_uniform(1, 2, shape=(5,), dtype="float16")
    mx.random.seed(7)
    b = nd.uniform(1, 2, shape=(5,), dtype="float16", ctx=str(mx.current_context()))
    np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    assert a.dtype is np.float16
    out = nd.zeros((5,))
    assert nd.random_normal(loc=3, scale=0, out=out) is out
    np.testing.assert_array_equal(out.asnumpy(), np.full(5, 3))
    assert nd.normal(shape=(2, 3)).shape == (2, 3)


def test_errors_name_the_argument():
    with pytest.raises(OperatorTypeError, match=r"random\.uniform: dtype is int32; accepted: float16"):
        nd.random.uniform(dtype="int32")
    with pytest.raises(OperatorTypeError, match=r"random\.normal: scale is str; accepted: NDArray or a"):
        nd.random.normal(0, "1")
    with pytest.raises(OperatorError, match=r"random\.uniform: high is 0; accepted: low, 1, or more"):
        nd.random.uniform(1, 0)
    with pytest.raises(OperatorError, match=r"random\.normal: scale is -1; accepted: a finite number not"):
        nd.random.normal(0, -1)
    with pytest.raises(OperatorError, match=r"random\.normal: loc is nan; accepted: a finite number"):
        nd.random.normal(float("nan"))


def test_zipfian_candidates():
    """Counts near those that are expected, which add up; a seed gives the same classes again."""
    draws, classes = 20_000, 50
    mx.random.seed(4)
    drawn, true, own = mx.nd.contrib.rand_zipfian(mx.nd.arange(classes), draws, classes)
    host = drawn.asnumpy()
    assert host.dtype == np.int64
    counts = np.bincount(host, minlength=classes)
    assert len(counts) == classes
    expected = draws * np.log1p(1 / np.arange(1, classes + 1)) / np.log(classes + 1)
    np.testing.assert_allclose(true.asnumpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(own.asnumpy(), expected[host], rtol=1e-5)
    np.testing.assert_allclose(true.asnumpy().sum(), draws, rtol=1e-5)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    mx.random.seed(4)
    again = mx.nd.contrib.rand_zipfian(mx.nd.arange(classes), draws, classes)[0]
    np.testing.assert_array_equal(again.asnumpy(), host)


@pytest.mark.parametrize(("sampled", "classes", "name"), [(0, 5, "num_sampled"), (5, 0, "range_max")])
def test_zipfian_numbers_are_checked(sampled, classes, name):
    with pytest.raises(OperatorError, match=f"rand_zipfian: {name} is 0"):
        mx.nd.contrib.rand_zipfian(mx.nd.ones((1,)), sampled, classes)
