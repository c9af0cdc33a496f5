"""Trainers, stores of shared values, and what is around gradients: against MXNet, and on two devices."""

import gluon_harness
import numpy as np
import pytest
from golden.training import recorded, trainers

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon.trainer import StaleGradientError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {"multi_sum_sq": ("_multi_scale",)}


@pytest.fixture
def two_contexts():
    return gluon_harness.two_contexts()


def test_training_is_that_of_mxnet():
    theirs = recorded("trainers")
    for key, weights in trainers.answers(mx).items():
        np.testing.assert_allclose(weights, theirs[key], 1e-5, 1e-6, err_msg=key)


def parameter(name="w", shape=(3,), ctx=None, **kwargs):
    made = gluon.Parameter(name, shape=shape, **kwargs)
    made.initialize(mx.init.One(), ctx=ctx)
    return made


def descend(*parameters, ctx=None):
    """Backward through the sum of all, so that each gradient is 1."""
    with autograd.record():
        loss = sum(p.data(ctx).sum() for p in parameters)
    loss.backward()


# Several devices


@pytest.mark.parametrize("on_kvstore", [None, True])
def test_two_devices_step_by_the_sum(on_kvstore, two_contexts):
    w = parameter(ctx=two_contexts)
    trainer = gluon.Trainer(
        [w], "sgd", {"learning_rate": 0.5, "momentum": 0.5}, update_on_kvstore=on_kvstore
    )
    for _ in range(2):
        for context in two_contexts:
            descend(w, ctx=context)
        trainer.step(2)
    # The steps are 0.5 and 0.75.
    assert [d.asnumpy().tolist() for d in w.list_data()] == [[-0.25] * 3] * 2
    assert trainer.optimizer.num_update == 2


@pytest.mark.parametrize("name", ["sgld", "nadam"])
def test_copies_stay_equal(name, two_contexts):
    """Where steps differ from device to device, one is stepped and copied."""
    w = parameter(ctx=two_contexts)
    trainer = gluon.Trainer([w], name, {"learning_rate": 0.5})
    for _ in range(3):
        for context in two_contexts:
            descend(w, ctx=context)
        trainer.step(2)
    first, second = w.list_data()
    np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())
    assert abs(first.asnumpy() - 1).min() > 1e-3
    with pytest.raises(OperatorError, match="allreduce_grads: update_on_kvstore is True"):
        trainer.allreduce_grads()


def test_without_a_store_devices_go_their_own_way(two_contexts):
    w = parameter(ctx=two_contexts)
    trainer = gluon.Trainer([w], "sgd", {"learning_rate": 0.5}, kvstore=None)
    for factor, context in enumerate(two_contexts, 1):
        with autograd.record():
            loss = (w.data(context) * factor).sum()
        loss.backward()
    trainer.allreduce_grads()
    trainer.update(1)
    assert [d.asnumpy()[0] for d in w.list_data()] == [0.5, 0.0]


@pytest.mark.parametrize("on_kvstore", [None, True])
def test_a_second_device_later(on_kvstore, two_contexts):
    """Also parameters that learn only later, and values that were set in between."""
    w, frozen = parameter("a", ctx=two_contexts[0]), parameter("b", ctx=two_contexts[0], grad_req="null")
    trainer = gluon.Trainer([w, frozen], "sgd", {"learning_rate": 0.5}, update_on_kvstore=on_kvstore)
    descend(w)
    trainer.step(1)
    for p in (w, frozen):
        p.reset_ctx(two_contexts)
    frozen.grad_req = "write"
    w.set_data(nd.array([3, 3, 3]))
    for context in two_contexts:
        descend(w, frozen, ctx=context)
    trainer.step(1)
    assert [d.asnumpy().tolist() for d in w.list_data()] == [[2] * 3] * 2
    assert [d.asnumpy().tolist() for d in frozen.list_data()] == [[0] * 3] * 2


def test_states_move_with_the_parameters(two_contexts):
    first, second = two_contexts
    w, other = parameter(ctx=first), parameter(ctx=second)
    trainers = [gluon.Trainer([p], "adam", {"learning_rate": 0.1}) for p in (w, other)]
    for step in range(4):
        if step == 2:
            w.reset_ctx(second)
        for p, trainer in zip((w, other), trainers, strict=True):
            descend(p)
            trainer.step(1)
    np.testing.assert_allclose(w.data().asnumpy(), other.data().asnumpy(), 1e-6)


@pytest.mark.once
def test_parameters_on_different_devices():
    with pytest.raises(
        OperatorError, match=r"Trainer: parameter b is on \[cpu\(1\)\]; accepted: \[cpu\(0\)\]"
    ):
        gluon.Trainer([deferred("a", mx.cpu(0)), deferred("b", mx.cpu(1))], "sgd")


def deferred(name, ctx):
    made = gluon.Parameter(name, shape=(0,), allow_deferred_init=True)
    made.initialize(ctx=ctx)
    return made


# Gradients that are there, or not


def test_stale_gradients():
    a, b = parameter("a"), parameter("b")
    frozen = parameter("c", grad_req="null")
    trainer = gluon.Trainer([a, b, frozen], "sgd", {"learning_rate": 0.5})
    descend(a)
    for error in (StaleGradientError, UserWarning):
        with pytest.raises(error, match="has not filled the gradient of parameter b on cpu"):
            trainer.step(1)
    assert a.data().asnumpy().tolist() == [1] * 3  # nothing has changed
    trainer.step(1, ignore_stale_grad=True)
    assert [p.data().asnumpy()[0] for p in (a, b, frozen)] == [0.5, 1, 1]
    with pytest.raises(StaleGradientError, match="parameter a"):
        trainer.step(1)
    descend(a, b, frozen)
    trainer.step(1)
    assert [p.data().asnumpy()[0] for p in (a, b, frozen)] == [0, 0.5, 1]


def test_gradients_that_are_added_up():
    w = parameter(grad_req="add")
    trainer = gluon.Trainer([w], "sgd", {"learning_rate": 0.5})
    for _ in range(3):
        descend(w)
    trainer.step(3)
    w.zero_grad()
    assert w.data().asnumpy().tolist() == [0.5] * 3


def test_deferred_parameters_and_steps_while_recording():
    net = gluon.nn.Dense(1)
    net.initialize(mx.init.One())
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    with pytest.raises(MXNetError):
        trainer.step(1)
    with autograd.record():
        net(nd.ones((2, 3))).sum().backward()
        trainer.step(2)
    assert net.weight.data().asnumpy().tolist() == [[0.5] * 3]


def test_parameters_step_together(monkeypatch):
    """One call of the optimizer for all, each parameter once, in the order of names."""
    calls = []
    sgd = mx.optimizer.SGD()
    monkeypatch.setattr(sgd, "update", lambda index, *rest: calls.append(list(index)))
    a, b = parameter("a"), parameter("b")
    trainer = gluon.Trainer({"z": a, "y": b, "x": a}, sgd)
    descend(a, b)
    trainer.step(1)
    assert calls == [[0, 1]]
    assert [p.name for p in trainer._params] == ["a", "b"]
    assert trainer.optimizer is sgd
    assert sgd.param_dict == {0: a, 1: b}


# States


@pytest.mark.parametrize("on_kvstore", [None, True])
def test_states_in_a_file(on_kvstore, tmp_path):
    path = tmp_path / "trainer.states"

    def made():
        schedule = mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.1)
        arguments = {"learning_rate": 0.1, "lr_scheduler": schedule}
        net = trainers.net_of(mx)
        return net, gluon.Trainer(net.collect_params(), "adam", arguments, update_on_kvstore=on_kvstore)

    (net, trainer), (other, resumed) = made(), made()
    for step in range(3):
        trainer.step(trainers.backward(mx, net, step))
    net.save_parameters(tmp_path / "net.params")
    trainer.save_states(path)
    other.load_parameters(tmp_path / "net.params")
    resumed.load_states(path)
    for step in range(3, 6):
        trainer.step(trainers.backward(mx, net, step))
        resumed.step(trainers.backward(mx, other, step))
    np.testing.assert_array_equal(trainers.weights_of(net), trainers.weights_of(other))
    assert resumed.learning_rate == trainer.learning_rate < 0.1
    path.write_bytes(path.read_bytes()[:-1])
    before = vars(resumed.optimizer).copy()
    with pytest.raises(MXNetError):
        resumed.load_states(path)
    assert vars(resumed.optimizer) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


# What is refused


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: gluon.Trainer(3, "sgd"), OperatorTypeError, "params is int"),
        (lambda w: gluon.Trainer([3], "sgd"), OperatorTypeError, "params holds int"),
        (lambda w: gluon.Trainer([w], "sgdd"), OperatorError, "optimizer is 'sgdd'"),
        (
            lambda w: gluon.Trainer([w], mx.optimizer.SGD(), {"momentum": 1}),
            OperatorError,
            "optimizer_params is {'momentum': 1}; accepted: none beside an Optimizer",
        ),
        (lambda w: gluon.Trainer([w], "sgd", kvstore=3), OperatorTypeError, "kvstore is 3"),
        (
            lambda w: gluon.Trainer([w], "sgd", kvstore=None, update_on_kvstore=True),
            OperatorError,
            "is True",
        ),
        (lambda w: gluon.Trainer([w], "sgd", compression_params={}), AbsentError, "compression_params"),
        (
            lambda w: gluon.Trainer([w], "sgd").step(0),
            OperatorError,
            "batch_size is 0; accepted: a number ab",
        ),
        (
            lambda w: gluon.Trainer([w], "sgd", update_on_kvstore=True).allreduce_grads(),
            OperatorError,
            "Trainer.allreduce_grads: update_on_kvstore is True",
        ),
        (
            lambda w: gluon.Trainer([w], "sgd", update_on_kvstore=True).update(1),
            OperatorError,
            "Trainer.update: update_on_kvstore is True",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make(parameter())


# Stores


@pytest.mark.once
def test_a_store_as_mxnet_documents_it():
    store = mx.kv.create("local")
    assert (store.type, store.rank, store.num_workers, store.is_capable("optimizer")) == (
        "local",
        0,
        1,
        True,
    )
    store.init([3, 5], [nd.ones((2, 3)), nd.ones((4,))])
    store.push(3, [nd.ones((2, 3)), nd.ones((2, 3)) * 7])
    outs = [nd.zeros((2, 3)), nd.zeros((2, 3))]
    store.pull(3, out=outs)
    assert all((out.asnumpy() == 8).all() for out in outs)
    store.pushpull([3, 5], [[nd.ones((2, 3))], [nd.ones((4,))] * 2], out=[outs[0], nd.zeros((4,))])
    assert outs[0].asnumpy().max() == 1
    values = [nd.ones((4,)), nd.ones((4,)) * 2]
    store.pushpull(5, values)
    assert [v.asnumpy().tolist() for v in values] == [[3] * 4] * 2
    store._set_updater(lambda key, pushed, stored: stored.__iadd__(pushed * key))
    store.push(5, nd.ones((4,)))
    store.pull(5, out=values)
    assert values[0].asnumpy().tolist() == [8] * 4
    out = nd.zeros((1,))
    words = mx.kvstore.create("device")
    words.broadcast("weight", nd.ones((1,)), out)
    assert out.asscalar() == 1


@pytest.mark.once
def test_a_store_keeps_what_it_was_given():
    store, value = mx.kv.create(), nd.ones((2,))
    store.init("a", value)
    value[:] = 5
    out = nd.zeros((2,))
    store.pull("a", out)
    assert out.asnumpy().tolist() == [1, 1]
    store.push("a", value)
    value[:] = 6
    store.pull("a", out)
    assert out.asnumpy().tolist() == [5, 5]


@pytest.mark.once
def test_a_store_with_an_optimizer(tmp_path):
    store = mx.kv.create("dist_sync")
    store.set_optimizer(mx.optimizer.Test(rescale_grad=2))
    store.init(0, nd.zeros((2,)))
    store.push(0, [nd.ones((2,)), nd.ones((2,))])
    out = nd.zeros((2,))
    store.pull(0, out=out)
    assert out.asnumpy().tolist() == [4, 4]
    store.save_optimizer_states(tmp_path / "states", dump_optimizer=True)
    store.load_optimizer_states(tmp_path / "states")
    with pytest.raises(MXNetError, match="the store has no optimizer"):
        mx.kv.create().save_optimizer_states(tmp_path / "none")


@pytest.mark.once
def test_a_store_takes_all_of_several_values_or_none():
    store, one = mx.kv.create(), nd.ones((2,))
    store.init([1, 2], [one, one])
    with pytest.raises(OperatorError, match=r"KVStore\.init: key is 2"):
        store.init([3, 2], [one, one])
    with pytest.raises(OperatorError, match=r"KVStore\.pull: key is 3"):
        store.pull(3, out=one)
    with pytest.raises(OperatorError, match=r"KVStore\.push: the value of key 2"):
        store.push([1, 2], [one * 5, nd.ones((3,))])
    store.pull(1, out=one)
    assert one.asnumpy().tolist() == [1, 1]


@pytest.mark.once
def test_what_a_store_refuses(monkeypatch):
    store = mx.kv.create()
    store.init(1, nd.ones((2,)))
    ones = nd.ones((3,))
    for call, error, message in (
        (lambda: store.init(1, ones), OperatorError, "key is 1; accepted: keys without a value"),
        (lambda: store.push(2, ones), OperatorError, "KVStore.push: key is 2; accepted: 1"),
        (
            lambda: store.push(1, ones),
            OperatorError,
            r"value of key 1 is float32 \(3,\); accepted: float32 \(2,\)",
        ),
        (lambda: store.pull(1, ones), OperatorError, r"out is of shape \(3,\)"),
        (lambda: store.pull(1), OperatorTypeError, "value of key 1 is NoneType"),
        (lambda: store.push([1, 2], [ones]), OperatorError, "values is 1; accepted: a list of 2"),
        (lambda: store.push([1, "a"], [ones, ones]), OperatorError, "all int, or all str"),
        (lambda: store.push(1.5, ones), OperatorTypeError, "key is float"),
        (lambda: store.row_sparse_pull(1, ones, row_ids=ones), AbsentError, "row_sparse_pull"),
        (lambda: store.set_gradient_compression({"type": "2bit"}), AbsentError, "compression"),
        (lambda: store.set_optimizer("sgd"), OperatorTypeError, "optimizer is str"),
        (lambda: store.is_capable("flight"), OperatorError, "capability is 'flight'"),
        (lambda: mx.kv.create("dist_async"), AbsentError, "needs other processes"),
        (lambda: mx.kv.create("remote"), OperatorError, "name is 'remote'"),
        (lambda: mx.kv.create(3), OperatorTypeError, "name is int"),
    ):
        with pytest.raises(error, match=message):
            call()
    monkeypatch.setenv("DMLC_NUM_WORKER", "4")
    with pytest.raises(AbsentError, match="'dist_sync' with DMLC_NUM_WORKER=4"):
        mx.kv.create("dist_sync")


# Batches and norms


@pytest.mark.once
def test_parts_of_batches():
    data = nd.arange(21).reshape((7, 3))
    parts = gluon.utils.split_data(data, 3, even_split=False)
    np.testing.assert_array_equal(np.concatenate([p.asnumpy() for p in parts]), data.asnumpy())
    assert [p.shape for p in parts] == [(3, 3), (2, 3), (2, 3)]
    assert [len(p) for p in gluon.utils.split_data(nd.arange(8), 3, even_split=False)] == [3, 3, 2]
    assert [len(p) for p in gluon.utils.split_data(nd.arange(2), 3, even_split=False)] == [1, 1, 0]
    assert [p.shape for p in gluon.utils.split_data(data, 3, batch_axis=1)] == [(7, 1)] * 3
    assert gluon.utils.split_data(data, 1) == [data]
    loaded = gluon.utils.split_and_load(np.ones((4, 2)), [mx.current_context()])
    assert [p.shape for p in loaded] == [(4, 2)]
    for arguments, message in (
        ((data, 2), "the size of data is 7 along axis 0; accepted: a multiple of 2"),
        ((data, 8), "accepted: a multiple of 8"),
        ((data, 0), "num_slice is 0"),
        ((data, 3, 2), "batch_axis is 2"),
    ):
        with pytest.raises(OperatorError, match=message):
            gluon.utils.split_data(*arguments)
    with pytest.raises(OperatorError, match="ctx_list is empty"):
        gluon.utils.split_and_load(data, [])


def test_parts_on_two_devices(two_contexts):
    parts = gluon.utils.split_and_load(nd.arange(4), two_contexts)
    assert [(p.context, p.asnumpy().tolist()) for p in parts] == list(
        zip(two_contexts, [[0, 1], [2, 3]], strict=True)
    )
    arrays = [nd.ones((4,), ctx=c) for c in two_contexts]
    assert gluon.utils.clip_global_norm(arrays, 1) == pytest.approx(8**0.5)
    assert np.concatenate([a.asnumpy() for a in arrays]) == pytest.approx(8**-0.5)


def test_joint_norms(rng):
    hosts = [
        rng.standard_normal(s).astype(d)
        for s, d in [((5, 3), "float32"), ((7,), "float16"), ((2,), "float32")]
    ]
    norm = np.sqrt(sum((h.astype(float) ** 2).sum() for h in hosts))
    arrays = [nd.array(h, dtype=h.dtype) for h in hosts]
    assert gluon.utils.clip_global_norm(arrays, 2 * norm) == pytest.approx(norm, rel=1e-5)
    for array, host in zip(arrays, hosts, strict=True):
        np.testing.assert_array_equal(array.asnumpy(), host)
    found = gluon.utils.clip_global_norm(arrays, norm / 4, check_isfinite=False)
    assert found.shape == (1,)
    for array, host in zip(arrays, hosts, strict=True):
        np.testing.assert_allclose(array.asnumpy(), host / 4, 2e-3 if host.dtype == np.float16 else 1e-5)
    with pytest.warns(UserWarning, match="the norm is nan"):
        gluon.utils.clip_global_norm([nd.array([np.nan])], 1)
    with pytest.raises(OperatorError, match="max_norm is 0; accepted: a number above 0"):
        gluon.utils.clip_global_norm(arrays, 0)
    with pytest.raises(OperatorTypeError, match="arrays is empty"):
        gluon.utils.clip_global_norm([], 1)


@pytest.mark.once
def test_files(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert gluon.utils.check_sha1(tmp_path / "file", "a9993e364706816aba3e25717850c26c9cd0d89d")
    assert not gluon.utils.check_sha1(tmp_path / "file", "0" * 40)
    with pytest.raises(AbsentError, match="opens no connections"):
        gluon.utils.download("https://example.org/file")
