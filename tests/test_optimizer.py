"""Parameter updates against their formula in numpy."""

import numpy as np
import pytest

from clgrad import autograd, memory, nd
from clgrad.errors import AutogradError, OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "reset_arrays": ("_reset_arrays",),
    "sgd_update": (),
    "ftml_update": ("_ftml_update",),
    "contrib.adamw_update": ("_adamw_update", "_mp_adamw_update"),
    "lamb_update_phase1": ("_lamb_phase1",),
    "contrib.group_adagrad_update": ("_group_adagrad", "_row_squares"),
    "multi_sum_sq": ("_group_sums",),
    "contrib.multi_adamw_update": ("_multi_adamw_update", "_multi_mp_adamw_update"),
    "contrib.multi_lamb_update": (
        "_multi_lamb_phase1",
        "_multi_lamb_phase2",
        "_multi_mp_lamb_phase2",
    ),
}


def sgd(weight, grad, lr, wd=0.0, rescale_grad=1.0, clip_gradient=-1.0):
    step = rescale_grad * grad
    if clip_gradient >= 0:
        step = np.clip(step, -clip_gradient, clip_gradient)
    return weight - lr * (step + wd * weight)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", pytest.param("float64", marks=pytest.mark.requires("fp64"))]
)
@pytest.mark.parametrize(
    "attributes",
    [
        {"lr": 0.1},
        {"lr": 0.1, "wd": 0.01},
        {"lr": 0.5, "rescale_grad": 1 / 32, "wd": 0.1},
        {"lr": 0.1, "clip_gradient": 0.5},
        {"lr": 0.1, "clip_gradient": 0.0, "wd": 0.1},
        {"lr": 0.1, "clip_gradient": 0.5, "rescale_grad": 0.5},
    ],
)
def test_sgd_update(attributes, dtype, rng):
    weight, grad = (rng.standard_normal((5, 19)).astype(dtype) for _ in "wg")
    w, g = nd.array(weight, dtype=dtype), nd.array(grad, dtype=dtype)
    updated = nd.sgd_update(w, g, **attributes)
    expected = sgd(weight.astype(np.float64), grad.astype(np.float64), **attributes)
    eps = np.finfo(dtype).eps
    assert np.dtype(updated.dtype) == dtype
    np.testing.assert_allclose(updated.asnumpy(), expected, rtol=4 * eps, atol=2 * eps)
    np.testing.assert_array_equal(w.asnumpy(), weight)  # without out, the weight stays


def test_in_place():
    """With out=weight the weight's own memory changes, and its gradient stays attached."""
    weight = nd.array([1.0, 2.0])
    weight.attach_grad()
    handle = weight.handle
    with autograd.record():
        loss = weight * weight
    loss.backward()
    assert nd.sgd_update(weight, weight.grad, lr=0.25, out=weight) is weight
    assert weight.handle == handle
    assert weight.asnumpy().tolist() == [0.5, 1.0]
    assert weight.grad.asnumpy().tolist() == [2, 4]


def test_a_learning_rate_that_changes_needs_no_new_kernel(rng):
    """Numbers are arguments of the kernel: each step uses its own."""
    weight, grad = np.float32([1.0]), np.float32([1.0])
    w, g = nd.array(weight), nd.array(grad)
    for lr in (0.5, 0.25, 0.125):
        nd.sgd_update(w, g, lr=lr, out=w)
        weight = sgd(weight, grad, lr)
    np.testing.assert_array_equal(w.asnumpy(), weight)


def test_descent_reaches_the_minimum():
    x = nd.array([3.0, -2.0])
    x.attach_grad()
    for _ in range(60):
        with autograd.record():
            loss = nd.sum((x - nd.array([1.0, 2.0])) ** 2)
        loss.backward()
        nd.sgd_update(x, x.grad, lr=0.2, out=x)
    np.testing.assert_allclose(x.asnumpy(), [1, 2], rtol=1e-5)


# Steps with states


def drawn(rng, *shapes, positive=()):
    hosts = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    return [np.abs(h) if i in positive else h for i, h in enumerate(hosts)]


def adam(w, g, m, v, lr, beta1=0.9, beta2=0.999, epsilon=1e-8, wd=0.0):
    g = g + wd * w
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    return w - lr * m / (np.sqrt(v) + epsilon), m, v


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("shape", [(1,), (67, 35), (10_007,)])
def test_states_change_in_place_with_and_without_out(shape, given, rng):
    hosts = drawn(rng, *[shape] * 4, positive=(3,))
    arrays = [nd.array(h) for h in hosts]
    handles = [a.handle for a in arrays]
    new = nd.adam_update(*arrays, lr=0.1, wd=0.01, out=arrays[0] if given else None)
    expected = adam(*(h.astype(np.float64) for h in hosts), lr=0.1, wd=0.01)
    for found, right in zip((new, *arrays[2:]), expected, strict=True):
        np.testing.assert_allclose(found.asnumpy(), right, rtol=2e-4, atol=3e-5)  # 1 - 0.999 cancels
    assert [a.handle for a in arrays] == handles
    assert (new is arrays[0]) == given
    if not given:
        np.testing.assert_array_equal(arrays[0].asnumpy(), hosts[0])


def test_a_step_into_an_array_that_overlaps_another():
    """The weight is written behind itself in one storage: what is read must be what was there."""
    whole = nd.arange(9)
    grad = nd.ones((8,))
    nd.sgd_update(whole[:8], grad, lr=0.5, out=whole[1:])
    assert whole.asnumpy().tolist() == [0, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]


def test_a_step_is_not_recorded_and_guards_the_graph(rng):
    w, g, m = (nd.array(h) for h in drawn(rng, (5,), (5,), (5,)))
    m.attach_grad()
    with autograd.record():
        y = m * m
        with pytest.raises(AutogradError, match="sgd_mom_update: in-place write"):
            nd.sgd_mom_update(w, g, m, lr=0.1)
    nd.sgd_mom_update(w, g, m, lr=0.1)
    with pytest.raises(AutogradError, match="written in place"):
        y.backward()


def test_a_step_is_one_launch(rng):
    w, g, m = (nd.array(h) for h in drawn(rng, (67, 35), (67, 35), (67, 35)))
    assert len(launches(lambda: nd.sgd_mom_update(w, g, m, lr=0.1, momentum=0.9, out=w))) == 1


def launches(step):
    """Names of the kernels that new plans of a call launch."""
    stream = memory.current_stream(nd.zeros((1,)).context.device)
    before = set(stream.plans)
    step()
    plans = [p for k, p in stream.plans.items() if k not in before and hasattr(p, "steps")]
    return [s.kernel for p in plans for s in p.steps]


def test_the_momentum_of_nag_in_two_precisions(rng):
    """mp_nag_mom_update does to float32 weights what nag_mom_update does, with a decay too."""
    w, g, m = drawn(rng, (33,), (33,), (33,))
    numbers = {"lr": 0.1, "momentum": 0.9, "wd": 0.1, "rescale_grad": 0.5, "clip_gradient": 0.3}
    plain = [nd.array(v) for v in (w, g, m)]
    mixed = [nd.array(v) for v in (w, g, m, w)]
    new = nd.nag_mom_update(*plain, **numbers)
    again = nd.mp_nag_mom_update(*mixed, **numbers)
    for a, b in ((new, again), (plain[2], mixed[2]), (new, mixed[3])):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())


@pytest.mark.parametrize("scale", [0.0, np.inf, np.nan])
def test_adamw_skips_a_step_whose_loss_scale_overflowed(scale, rng):
    hosts = drawn(rng, (19,), (19,), (19,), (19,), positive=(3,))
    arrays = [nd.array(h) for h in hosts]
    new = nd.contrib.adamw_update(*arrays, nd.array([scale]), lr=0.1, eta=1, wd=0.1)
    for found, host in zip((new, *arrays[1:]), hosts, strict=True):
        np.testing.assert_array_equal(found.asnumpy(), host)


@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_group_adagrad_has_one_rate_for_each_row(shape, rng):
    w, g, h = drawn(rng, (7, 33), (7, 33), shape, positive=(2,))
    arrays = [nd.array(v) for v in (w, g, h)]
    new = nd.contrib.group_adagrad_update(*arrays, lr=0.1, rescale_grad=0.5, clip_gradient=0.4)
    step = np.clip(0.5 * g.astype(np.float64), -0.4, 0.4)
    history = h.reshape(7, 1) + (step**2).mean(1, keepdims=True)
    np.testing.assert_allclose(
        new.asnumpy(), w - 0.1 * step / np.sqrt(history + 1e-5), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(arrays[2].asnumpy(), history.reshape(shape), rtol=1e-5)


@pytest.mark.parametrize(
    ("grad", "out", "message"),
    [
        ((1000, 3), None, r"grad is float32 \(1000, 3\); accepted: float32 \(7, 3\)"),
        ((1,), None, r"grad is float32 \(1,\)"),
        ((7, 3), (3, 7), r"out has shape \(3, 7\)"),
    ],
)
def test_group_adagrad_refuses_other_shapes(grad, out, message):
    """More rows than the history has were written behind it, into other arrays' memory; now nothing is."""
    history = nd.ones((7,))
    with pytest.raises(OperatorError, match=message):
        nd.contrib.group_adagrad_update(
            nd.ones((7, 3)), nd.ones(grad), history, lr=0.1, out=None if out is None else nd.ones(out)
        )
    np.testing.assert_array_equal(history.asnumpy(), 1)


@pytest.mark.parametrize(
    "step",
    [
        lambda w, one: nd.sgd_update(w, one, lr=1),
        lambda w, one: nd.sgd_mom_update(w, w.copy(), one, lr=1, momentum=0.5),
        lambda w, one: nd.adam_update(w, w.copy(), w.copy(), one, lr=1),
        lambda w, one: nd.multi_sgd_update(w, one, lrs=(1,), wds=(0,)),
        lambda w, one: nd.multi_sgd_mom_update(w, w.copy(), one, lrs=(1,), wds=(0,), momentum=0.5),
        lambda w, one: nd.contrib.mp_adamw_update(w, w.copy(), w.copy(), w.copy(), one, 1, lr=1, eta=1),
        lambda w, one: nd.lamb_update_phase2(w, one, one, one, lr=1),
        lambda w, one: nd.mp_lamb_update_phase1(one, w.copy(), w.copy(), w.copy(), w, t=1),
    ],
)
def test_arrays_of_one_element_are_no_states(step):
    """They were taken for ones that broadcast: a state's new values were written behind it."""
    memory = nd.ones((9,))
    with pytest.raises(OperatorError, match=r"(has|is of) shape \(1,\); accepted: \(7,\), as"):
        step(nd.ones((7,)), memory[:1])
    np.testing.assert_array_equal(memory.asnumpy(), 1)


# Many parameters


SHAPES = [(3,), (257,), (1, 1), (19, 33), (5000,), (0, 4), (2, 3, 5)]


@pytest.mark.parametrize("copies", [1, 3])
def test_many_steps_are_each_step(copies, rng):
    """Few parameters, and more than the kernel arguments of one launch hold."""
    shapes = SHAPES * copies
    hosts = [drawn(rng, s, s, s) for s in shapes]
    arrays = [[nd.array(h) for h in three] for three in hosts]
    lrs, wds = rng.uniform(0.1, 1, len(shapes)).tolist(), rng.uniform(0, 0.5, len(shapes)).tolist()
    numbers = {"momentum": 0.9, "rescale_grad": 0.5, "clip_gradient": 0.3}
    flat = [a for three in arrays for a in three]
    weights = [three[0] for three in arrays]
    kernels = launches(lambda: nd.multi_sgd_mom_update(*flat, lrs=lrs, wds=wds, out=weights, **numbers))
    assert len(kernels) <= -(-len(shapes) // 8)
    for three, found, lr, wd in zip(hosts, arrays, lrs, wds, strict=True):
        alone = [nd.array(h) for h in three]
        new = nd.sgd_mom_update(*alone, lr=lr, wd=wd, **numbers)
        np.testing.assert_allclose(found[0].asnumpy(), new.asnumpy(), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found[2].asnumpy(), alone[2].asnumpy(), rtol=1e-6, atol=1e-7)


def test_many_steps_with_rates_on_the_device(rng):
    hosts = [drawn(rng, s, s) for s in SHAPES]
    rates = drawn(rng, (len(SHAPES),), (len(SHAPES),))
    flat = [nd.array(h) for two in hosts for h in two]
    loaded = nd.preloaded_multi_sgd_update(*flat, *map(nd.array, rates), num_weights=len(SHAPES))
    plain = nd.multi_sgd_update(*flat, lrs=rates[0], wds=rates[1])
    for a, b in zip(loaded, plain, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sums_of_squares_of_many(dtype, rng):
    hosts = [rng.standard_normal(s).astype(dtype) for s in [*SHAPES * 9, (100_003,)]]
    found = nd.multi_sum_sq(*(nd.array(h, dtype=dtype) for h in hosts), num_arrays=len(hosts))
    expected = [(h.astype(np.float64) ** 2).sum() for h in hosts]
    assert np.dtype(found.dtype) == np.float32
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5)


def test_reset_arrays(rng):
    arrays = [nd.array(h) for h in drawn(rng, *SHAPES)] + [nd.ones((3,), dtype="int32")]
    handles = [a.handle for a in arrays]
    assert nd.reset_arrays(*arrays, num_arrays=len(arrays)) == []
    assert all((a.asnumpy() == 0).all() for a in arrays)
    assert [a.handle for a in arrays] == handles


def test_lamb_of_many_is_lamb_of_each(rng):
    hosts = [drawn(rng, s, s, s, s, positive=(3,)) for s in SHAPES[:4]]
    numbers = {"rescale_grad": 0.5, "clip_gradient": 0.4}
    arrays = [[nd.array(h) for h in four] for four in hosts]
    lrs, wds, counts = (0.1, 0.2, 0.3, 0.4), (0.0, 0.1, 0.2, 0.3), (1, 2, 3, 4)
    many = nd.contrib.multi_lamb_update(
        *zip(*arrays, strict=True), counts, lrs, wds, upper_bound=2.0, **numbers
    )
    for i, four in enumerate(hosts):
        weight, *rest = (nd.array(h) for h in four)
        g = nd.lamb_update_phase1(weight, *rest, t=counts[i], wd=wds[i], **numbers)
        norms = (nd.norm(v).reshape((1,)) for v in (weight, g))
        new = nd.lamb_update_phase2(weight, g, *norms, lr=lrs[i], upper_bound=2.0)
        np.testing.assert_allclose(many[i].asnumpy(), new.asnumpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(arrays[i][3].asnumpy(), rest[2].asnumpy(), rtol=1e-6)


def test_adamw_of_many_in_two_precisions(rng):
    hosts = [drawn(rng, s, s, s, s, positive=(3,)) for s in SHAPES[:4]]
    plain = [[nd.array(h) for h in four] for four in hosts]
    mixed = [[nd.array(h) for h in (*four, four[0])] for four in hosts]
    rates = {"lrs": (0.1,) * 4, "wds": (0.1,) * 4, "etas": (1, 0.5, 1, 1), "rescale_grad": 0.5}
    new = nd.contrib.multi_adamw_update(*zip(*plain, strict=True), **rates)
    again = nd.contrib.multi_mp_adamw_update(*zip(*mixed, strict=True), **rates)
    for a, b, five in zip(new, again, mixed, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
        np.testing.assert_array_equal(a.asnumpy(), five[4].asnumpy())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda a, b: nd.sgd_update(a, b, lr=1),
            OperatorError,
            r"sgd_update: grad has shape \(4,\); accepted: \(3,\)",
        ),
        (lambda a, b: nd.sgd_update(a, a), OperatorTypeError, "sgd_update: argument 'lr' is missing"),
        (lambda a, b: nd.sgd_update(a, a, lr=1, out=b), OperatorError, "sgd_update: out has shape"),
        (
            lambda a, b: nd.multi_sgd_update(a, a, b, lrs=(1,), wds=(1,)),
            OperatorTypeError,
            "multi_sgd_update: 3 arrays for num_weights=None; accepted: weight, grad of each",
        ),
        (
            lambda a, b: nd.multi_sgd_update(a, a, b, b, lrs=(1,), wds=(1, 1)),
            OperatorError,
            "multi_sgd_update: lrs has 1 numbers; accepted: 2",
        ),
        (lambda a, b: nd.multi_lars(a, b, a, a, eta=1, eps=1), OperatorError, "multi_lars: "),
        (lambda a, b: nd.ftml_update(*[a] * 5, lr=1, t=0), OperatorError, "ftml_update: t is 0; accepted"),
        (
            lambda a, b: nd.contrib.group_adagrad_update(a, a, b, lr=1),
            OperatorError,
            "contrib.group_adagrad_update: history is",
        ),
        (
            lambda a, b: nd.ftml_update(*[a] * 5, lr=1, t=9, beta1=1e300),
            OperatorError,
            "ftml_update: beta1",
        ),
    ],
)
def test_errors_of_steps(call, error, message):
    with pytest.raises(error, match=message):
        call(nd.ones((3,)), nd.ones((4,)))


@pytest.mark.parametrize("op", [nd.sgd_update, nd.multi_sgd_update])
def test_steps_of_whole_numbers_are_refused(op):
    weight = nd.array([1, 2], dtype="int32")
    rate = {"lr": 0.1} if op is nd.sgd_update else {"lrs": (0.1,), "wds": (0,), "num_weights": 1}
    with pytest.raises(OperatorTypeError, match=r"sgd_update: weight.* has dtype int32"):
        op(weight, weight, **rate)
