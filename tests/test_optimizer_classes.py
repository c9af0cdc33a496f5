"""Optimizers: trajectories against those of MXNet, rates and decays, states of many parameters."""

import copy
import json

import numpy as np
import pytest
from golden.training import optimizers, recorded

import clgrad as mx
from clgrad import nd
from clgrad.errors import MXNetError, OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "multi_sgd_update": tuple(
        f"_multi_{mp}{name}_update"
        for name in (
            *(
                "nag",
                "signsgd",
                "signum",
                "adam",
                "decoupled_adam",
                "adamax",
                "nadam",
                "adagrad",
                "adadelta",
            ),
            *("rmsprop", "rmspropalex", "ftrl", "ftml", "dcasgd", "dcasgd_mom", "sgld", "lars", "lars_mom"),
        )
        for mp in ("", "mp_")
    )
}
#: MXNet's NAG takes the decay of the momentum from the weight that it has written already.
APART = {(i, "full") for i, (name, a) in enumerate(optimizers.METHODS) if name == "NAG" and "momentum" in a}
CASES = [
    (i, variant)
    for i, (name, _) in enumerate(optimizers.METHODS)
    for variant in optimizers.VARIANTS
    if name != "Test" or variant in ("plain", "full")
]


@pytest.fixture(scope="module")
def theirs():
    return recorded("optimizers")


@pytest.mark.parametrize("i", range(len(optimizers.METHODS)), ids=lambda i: optimizers.METHODS[i][0])
def test_trajectories(i, theirs):
    """Of 20 steps: plain, with all that gradients go through, with rates that change, in two precisions."""
    for variant in [v for k, v in CASES if k == i and (i, v) not in APART]:
        found, expected = (
            optimizers.trajectory(mx, *optimizers.METHODS[i], variant),
            theirs[f"{i}.{variant}"],
        )
        assert found.dtype == expected.dtype
        tolerance = 2e-3 if variant == "mixed" else 4e-5
        np.testing.assert_allclose(
            found.astype(float), expected.astype(float), tolerance, tolerance / 100, err_msg=variant
        )


def test_adamw(theirs):
    # MXNet's op computes 1 - 0.999 in float32.
    np.testing.assert_allclose(optimizers.adamw(mx), theirs["adamw"], 1e-4, 1e-5)


def run(optimizer, weights, grads, steps=5):
    """Weights after some steps with the same gradients."""
    arrays = [nd.array(w) for w in weights]
    update = mx.optimizer.get_updater(optimizer)
    for _ in range(steps):
        update(list(range(len(arrays))), [nd.array(g) for g in grads], arrays)
    return [a.asnumpy() for a in arrays]


def drawn(rng, *shapes):
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


def test_nag_with_a_decay(rng):
    (w,), (g,) = drawn(rng, (9,)), drawn(rng, (9,))
    (found,) = run(mx.optimizer.NAG(momentum=0.9, learning_rate=0.1, wd=0.1), [w], [g])
    mom = np.zeros(9)
    for _ in range(5):
        step = 0.1 * (g + 0.1 * w)
        mom = 0.9 * mom - step
        w = w + 0.9 * mom - step
    np.testing.assert_allclose(found, w, 1e-5, 1e-6)


def test_dcasgd_with_a_momentum(rng):
    """Which raises in MXNet, for weights of more than one element."""
    (w,), (g,) = drawn(rng, (9,)), drawn(rng, (9,))
    (found,) = run(mx.optimizer.DCASGD(momentum=0.9, learning_rate=0.1, wd=0.1, lamda=0.5), [w], [g])
    mom, previous = np.zeros(9), w
    for _ in range(5):
        mom = 0.9 * mom - 0.1 * (g + 0.1 * w + 0.5 * g * g * (w - previous))
        previous, w = w, w + mom
    np.testing.assert_allclose(found, w, 1e-5, 1e-6)


def test_sgld_samples_noise_of_the_variance_lr(request):
    mx.random.seed(request.config.option.seed)
    zeros, ones = np.zeros((100, 100), np.float32), np.ones((100, 100), np.float32)
    (found,) = run(mx.optimizer.SGLD(learning_rate=0.04, wd=0.5), [ones], [ones], steps=1)
    assert abs(found.std() - 0.2) < 0.01
    assert abs(found.mean() - (1 - 0.02 * 1.5)) < 0.01
    half = nd.array(zeros, dtype="float16")
    update = mx.optimizer.get_updater(mx.optimizer.SGLD(learning_rate=0.04, multi_precision=True))
    update(0, nd.zeros(half.shape, dtype="float16"), half)
    assert abs(half.asnumpy().astype(float).std() - 0.2) < 0.01


def test_group_adagrad(rng):
    (w,), (g,) = drawn(rng, (6, 4)), drawn(rng, (6, 4))
    (found,) = run(mx.optimizer.GroupAdaGrad(learning_rate=0.1, clip_gradient=0.5), [w], [g])
    step, history = np.clip(g, -0.5, 0.5), np.zeros((6, 1))
    for _ in range(5):
        history += (step**2).mean(1, keepdims=True)
        w = w - 0.1 * step / np.sqrt(history + 1e-5)
    np.testing.assert_allclose(found, w, 1e-5, 1e-6)
    with pytest.raises(OperatorError, match="GroupAdaGrad: wd is 0"):
        run(mx.optimizer.GroupAdaGrad(wd=0.1), [w], [g])
    with pytest.raises(OperatorError, match=r"GroupAdaGrad: weight is of shape \(4,\)"):
        run(mx.optimizer.GroupAdaGrad(), [w[0]], [g[0]])


@pytest.mark.parametrize("name", ["sgd", "adam", "lamb"])
def test_many_parameters_at_once_step_as_each_alone(name, rng):
    shapes = [(3,), (5, 7), (1,), (2, 3, 4), (9,)]
    weights, grads = drawn(rng, *shapes), drawn(rng, *shapes)
    together, apart = (mx.optimizer.create(name, learning_rate=0.1, wd=0.1) for _ in "ab")
    together.aggregate_num, apart.aggregate_num = 3, 0
    for a, b in zip(run(together, weights, grads, 2), run(apart, weights, grads, 2), strict=True):
        np.testing.assert_allclose(a, b, 1e-6, 1e-7)


def test_lars_corrects_every_momentum_alike(rng):
    """However many parameters one call takes, and where the learning rate changes."""
    weights, grads = drawn(rng, *[(3, 2)] * 5), drawn(rng, *[(3, 2)] * 5)
    found = []
    for together in (64, 2):
        schedule = mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.5)
        optimizer = mx.optimizer.LARS(momentum=0.9, eta=0.1, lr_scheduler=schedule)
        optimizer.aggregate_num = together
        found.append(np.array(run(optimizer, weights, grads, 6)))
    np.testing.assert_allclose(*found, 1e-6)


def test_a_step_of_many_is_one_op(rng):
    weights, grads = drawn(rng, (3,), (5, 7)), drawn(rng, (3,), (5, 7))
    flat = [nd.array(a) for pair in zip(weights, grads, strict=True) for a in pair]
    expected = nd.multi_sgd_update(*flat, lrs=(0.1, 0.1), wds=(0.2, 0.2))
    for a, b in zip(
        run(mx.optimizer.SGD(learning_rate=0.1, wd=0.2), weights, grads, 1), expected, strict=True
    ):
        np.testing.assert_array_equal(a, b.asnumpy())


def test_dtypes_side_by_side():
    weights = [nd.ones((3,), dtype=d) for d in ("float16", "float32", "float16", "bfloat16")]
    update = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=2.0**-12, multi_precision=True))
    for _ in range(16):
        update([0, 1, 2, 3], [nd.ones((3,), dtype=w.dtype) for w in weights], weights)
    assert [float(w.astype("float32").asnumpy()[0]) for w in weights] == [1 - 2.0**-8] * 4


@pytest.mark.once
def test_small_numbers_of_half_precision_are_warned_of():
    with pytest.warns(UserWarning, match="SGD steps weights of float16, where small steps are lost"):
        mx.optimizer.SGD().create_state_multi_precision(0, nd.ones((3,), dtype="float16"))


# Rates and decays


@pytest.mark.once
def test_rates_and_decays():
    class Parameter:
        lr_mult, wd_mult = 0.5, 3.0

    names = {0: "a_weight", 1: "b_bias", 2: "c_gamma"}
    optimizer = mx.optimizer.SGD(
        learning_rate=1.0, wd=0.1, param_idx2name=names, param_dict={3: Parameter()}
    )
    assert optimizer._get_wds([0, 1, 2, 3, 4]) == [0.1, 0, 0.1, pytest.approx(0.3), 0.1]
    optimizer.set_lr_mult({"a_weight": 2.0, 1: 4.0})
    assert optimizer._get_lrs([0, 1, 2, 3]) == [2.0, 4.0, 1.0, 0.5]
    optimizer.set_wd_mult({"b_bias": 1.0})
    assert optimizer._get_wd(1) == 0.1
    optimizer.set_learning_rate(0.5)
    assert optimizer.learning_rate == 0.5
    assert mx.optimizer.LARS(wd=1.0, param_idx2name=names)._get_wds([0, 1, 2]) == [1.0, 0, 0]


@pytest.mark.once
def test_a_scheduler_sets_the_rate():
    schedule = mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=8)
    optimizer = mx.optimizer.SGD(learning_rate=4, lr_scheduler=schedule)
    rates = []
    for _ in range(3):
        optimizer._update_count([0, 1])
        rates.append(optimizer.learning_rate)
    assert rates == [4, 2, 1]
    with pytest.raises(OperatorError, match="set_learning_rate: the optimizer has an lr_scheduler"):
        optimizer.set_learning_rate(1)
    schedule = mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=8)
    assert mx.optimizer.Ftrl(learning_rate=4, lr_scheduler=schedule).learning_rate == 8  # as in MXNet


@pytest.mark.once
def test_making_by_name():
    assert type(mx.optimizer.create("NADAM")) is mx.optimizer.Nadam
    assert type(mx.optimizer.Optimizer.create_optimizer("ccsgd", momentum=0.5)) is mx.optimizer.ccSGD
    assert mx.optimizer.Optimizer.opt_registry["sgd"] is mx.optimizer.SGD
    with pytest.raises(
        OperatorError, match="create: optimizer is 'sgdd'; accepted: adadelta, adagrad, adam"
    ):
        mx.optimizer.create("sgdd")
    with pytest.raises(NotImplementedError, match="Optimizer has no method update"):
        run(mx.optimizer.Optimizer(), [np.ones(3)], [np.ones(3)])


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda a, b: mx.optimizer.SGD(learning_rate="a"), OperatorTypeError, "SGD: learning_rate is 'a'"),
        (lambda a, b: mx.optimizer.Adam(wd=[1]), OperatorTypeError, r"Adam: wd is \[1\]"),
        (lambda a, b: mx.optimizer.LBSGD(batch_scale=0), OperatorError, "LBSGD: batch_scale is 0"),
        (lambda a, b: mx.optimizer.SGD().update(0, a, b, None), OperatorError, r"grad 0 has shape \(4,\)"),
        (
            lambda a, b: mx.optimizer.Adam().update(0, a, a, None),
            OperatorTypeError,
            "accepted: weight, grad, mean",
        ),
        (
            lambda a, b: mx.optimizer.get_updater(mx.optimizer.SGD())([0, 1], [a], [a]),
            OperatorError,
            "Updater: index, grad, weight is 2, 1 and 1; accepted: as many of each",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(nd.ones((3,)), nd.ones((4,)))


@pytest.mark.once
def test_an_optimizer_of_ones_own():
    @mx.optimizer.register
    class Ascent(mx.optimizer.Optimizer):
        def create_state(self, index, weight):
            return nd.zeros(weight.shape)

        def update(self, index, weight, grad, state):
            self._update_count(index)
            state[:] = state + 1
            weight += self._get_lr(index) * grad

    (found,) = run(mx.optimizer.create("ascent", learning_rate=0.5), [np.ones(3)], [np.ones(3)], 2)
    assert found.tolist() == [2, 2, 2]
    half = nd.ones((3,), dtype="float16")
    update = mx.optimizer.get_updater(Ascent(learning_rate=0.5, multi_precision=True))
    update(0, nd.ones((3,), dtype="float16"), half)
    assert half.asnumpy().tolist() == [1.5] * 3
    assert update.states[0][0].dtype is np.float32


# States


def stepped(optimizer, rng, steps=3):
    update = mx.optimizer.get_updater(optimizer)
    weights = [nd.array(w) for w in drawn(rng, (3,), (4, 2))]
    grads = [nd.array(w) for w in drawn(rng, (3,), (4, 2))]
    for _ in range(steps):
        update([0, 1], grads, weights)
    return update, weights, grads


@pytest.mark.parametrize("name", ["sgd", "adam", "nadam", "rmsprop", "lbsgd", "dcasgd"])
def test_states_go_on_where_they_were(name, rng):
    """A run of 6 steps, and one of 3 whose states and numbers a new optimizer takes over: the same bits."""
    arguments = {"learning_rate": 0.1}
    arguments |= {"sgd": {"momentum": 0.9}, "lbsgd": {"batch_scale": 2}}.get(name, {})

    def made():
        schedule = mx.lr_scheduler.MultiFactorScheduler([2, 4], 0.5, base_lr=0.1)
        return mx.optimizer.create(name, lr_scheduler=schedule, **arguments)

    update, weights, grads = stepped(made(), rng)
    content = update.get_states(dump_optimizer=True)
    assert update.get_states(dump_optimizer=True) == content
    again, copies = mx.optimizer.get_updater(made()), [w.copy() for w in weights]
    again.set_states(content)
    for _ in range(3):
        update([0, 1], grads, weights)
        again([0, 1], grads, copies)
    for a, b in zip(weights, copies, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    assert again.optimizer.num_update == 6


def test_states_without_the_optimizer(rng):
    update, *_ = stepped(mx.optimizer.Adam(), rng)
    fresh = mx.optimizer.get_updater(mx.optimizer.Adam())
    fresh.set_states(update.get_states())
    assert fresh.optimizer.num_update == 0
    assert not any(fresh.states_synced.values())
    np.testing.assert_array_equal(fresh.states[1][0].asnumpy(), update.states[1][0].asnumpy())


def test_counts_go_on_on_another_device(rng):
    update, _, _ = stepped(mx.optimizer.Adam(), rng)
    fresh = mx.optimizer.get_updater(mx.optimizer.Adam())
    fresh.set_states(update.get_states(dump_optimizer=True))
    fresh.optimizer._set_current_context("gpu(7)")
    fresh.optimizer._update_count(1)
    assert fresh.optimizer._index_update_count == {0: 3, 1: 4}


def test_bytes_that_are_no_states(rng):
    update, _, _ = stepped(mx.optimizer.Adam(learning_rate=0.1), rng)
    content = update.get_states(dump_optimizer=True)
    before = dict(vars(update.optimizer))
    described = json.loads(nd.load_frombuffer(content)["json"].asnumpy().tobytes())
    others = [
        (b"", "load_frombuffer"),
        (content[:-9], "load_frombuffer"),
        (b"\x80\x04K\x01.", "are a pickle, as MXNet writes"),
        (_written({}), "hold no states"),
        (_with(None, content), "damaged"),
        (_with(described | {"format": "2"}, content), "the format is '2'"),
        (_with(described | {"states": {"array": 0}}, content), "the states have no indices"),
        (_with(described | {"states": {"dict": [[0, {"array": 99}]]}}, content), "damaged"),
        (_with(described | {"states": {"dict": [[0, {"eval": "1"}]]}}, content), "'eval' is no kind"),
    ]
    for key, value, message in (
        ("class", "SGD", "are of SGD; accepted: Adam"),
        ("scheduler", {"class": "PolyScheduler", "attributes": {}}, "with one; accepted: without"),
        ("attributes", {"update": 3}, "Adam.update is 3"),
        ("attributes", {"lr": "high"}, "Adam.lr is 'high'"),
    ):
        changed = described | {"optimizer": described["optimizer"] | {key: value}}
        others.append((_with(changed, content), message))
    states = dict(update.states)
    for bad, message in others:
        with pytest.raises(MXNetError, match=message):
            update.set_states(bad)
    assert update.states == states
    assert vars(update.optimizer) == before


def _written(named: dict) -> bytes:
    return mx.serialization.dump(named)


def _with(described, content: bytes) -> bytes:
    text = np.frombuffer(json.dumps(described).encode(), np.uint8)
    return _written(nd.load_frombuffer(content) | {"json": nd.array(text, dtype="uint8")})


@pytest.mark.once
def test_what_cannot_be_kept_is_named():
    optimizer = mx.optimizer.SGD()
    optimizer.hook = print
    with pytest.raises(OperatorTypeError, match=r"SGD.hook is builtin.*; accepted: numbers"):
        mx.optimizer.get_updater(optimizer).get_states(dump_optimizer=True)


@pytest.mark.once
def test_a_copy_leaves_parameters_where_they_are():
    optimizer = mx.optimizer.SGD(param_dict={0: object()}, learning_rate=3)
    assert copy.deepcopy(optimizer).param_dict == {}
    assert copy.deepcopy(optimizer).lr == 3
