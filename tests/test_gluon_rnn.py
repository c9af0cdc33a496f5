"""Recurrent layers and cells against those of MXNet, and layers against the cells that they are made of."""

import numpy as np
import pytest
from golden.training import recorded, recurrent

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.gluon import rnn

CASES = [f"layer{i}" for i in range(len(recurrent.LAYERS))] + [name for name, *_ in recurrent.CELLS]


@pytest.fixture(scope="module")
def answers():
    return recurrent.answers(mx), recorded("recurrent")


@pytest.mark.parametrize("case", CASES)
def test_it_is_that_of_mxnet(case, answers):
    ours, theirs = ({k: v for k, v in found.items() if k.startswith(f"{case}.")} for found in answers)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if value.dtype.kind == "U":
            assert ours[key].tolist() == value.tolist()
        else:
            np.testing.assert_allclose(ours[key], value, rtol=2e-5, atol=3e-6, err_msg=key)


@pytest.mark.once
def test_arguments_are_those_of_mxnet(answers):
    ours, theirs = (found["signatures"].tolist() for found in answers)
    assert ours == theirs


LAYERS = {
    "relu": lambda **options: rnn.RNN(4, **options),
    "lstm": lambda **options: rnn.LSTM(4, **options),
    "gru": lambda **options: rnn.GRU(4, **options),
}


def learnt(block) -> list[np.ndarray]:
    return [p.grad().asnumpy() for p in block.collect_params().values()]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forwards", "both"])
@pytest.mark.parametrize("mode", LAYERS)
def test_a_layer_is_what_its_cells_are(mode, bidirectional, rng):
    """With lengths, which MXNet has on GPUs only; and the layer's parameters are the cells'."""
    options = {"num_layers": 2, "bidirectional": bidirectional, "input_size": 3}
    layer = LAYERS[mode](layout="NTC", use_sequence_length=True, **options)
    layer.initialize(mx.init.Uniform(0.5))
    stack = layer.unfuse()
    assert {id(p) for p in stack.collect_params().values()} == {
        id(p) for p in layer.collect_params().values()
    }
    x, lengths = nd.array(rng.standard_normal((3, 5, 3))), nd.array([5, 2, 3])
    with autograd.record():
        fused, fused_states = layer(x, layer.begin_state(3), lengths)
        loss = (fused * fused).sum() + sum(s.sum() for s in fused_states)
    loss.backward()
    fused_gradients = learnt(layer)
    with autograd.record():
        steps, states = stack.unroll(5, x, merge_outputs=True, valid_length=lengths)
        loss = (steps * steps).sum() + sum(s.sum() for s in states)
    loss.backward()
    np.testing.assert_allclose(fused.asnumpy(), steps.asnumpy(), rtol=1e-5, atol=1e-6)
    assert (fused.asnumpy()[1, 2:] == 0).all()
    per_cell = len(fused_states)
    for i, state in enumerate(fused_states):
        own = np.stack([s.asnumpy() for s in states[i::per_cell]])
        np.testing.assert_allclose(state.asnumpy(), own, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(fused_gradients, learnt(layer), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_limits_of_an_lstms_cell_state(rng):
    layer = rnn.LSTM(4, input_size=3, state_clip_min=-0.05, state_clip_max=0.1)
    layer.initialize(mx.init.Uniform(1))
    x = nd.array(rng.standard_normal((6, 2, 3)))
    _, (_, c) = layer(x, layer.begin_state(2))
    assert c.asnumpy().min() >= -0.05
    assert c.asnumpy().max() <= np.float32(0.1)
    with pytest.raises(OperatorError, match="unfuse"):
        layer.unfuse()


def test_dropout_between_layers_in_training_only():
    layer = rnn.GRU(8, num_layers=2, dropout=0.5, input_size=3)
    layer.initialize(mx.init.Uniform(1))
    x = nd.ones((4, 2, 3))
    np.testing.assert_array_equal(layer(x).asnumpy(), layer(x).asnumpy())
    with autograd.train_mode():
        assert (layer(x).asnumpy() != layer(x).asnumpy()).any()


def test_half_precision_and_hybridized(rng):
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    layer = rnn.LSTM(4, input_size=3)
    layer.initialize(mx.init.Uniform(0.5))
    expected = layer(nd.array(x)).asnumpy()
    layer.hybridize()
    for _ in range(3):
        np.testing.assert_allclose(layer(nd.array(x)).asnumpy(), expected, rtol=1e-6)
    output, states = layer(nd.array(x), layer.begin_state(2))
    np.testing.assert_allclose(output.asnumpy(), expected, rtol=1e-6)
    assert len(states) == 2
    layer.cast("float16")
    half = layer(nd.array(x).astype("float16"))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.asnumpy(), expected, atol=2e-3)


def test_zoneout_keeps_values_of_the_step_before():
    cell = rnn.ZoneoutCell(rnn.RNNCell(64, input_size=3), 0, 0.5)
    cell.initialize(mx.init.Uniform(1))
    states = [nd.full((2, 64), 0.5)]
    with autograd.train_mode():
        _, after = cell(nd.ones((2, 3)), states)
    kept = (after[0].asnumpy() == 0.5).mean()
    assert 0.3 < kept < 0.7
    cell = rnn.ZoneoutCell(rnn.RNNCell(64, input_size=3), 0.5)
    cell.initialize(mx.init.Uniform(1))
    with autograd.train_mode():
        outputs, _ = cell.unroll(3, nd.ones((2, 3, 3)))
    first, second, _ = (o.asnumpy() for o in outputs)
    assert 0.3 < (first == 0).mean() < 0.7  # the output before the first is 0
    assert 0.3 < (first == second).mean() < 0.7
    with autograd.train_mode():
        outputs, _ = cell.unroll(1, nd.ones((2, 1, 3)))
    assert 0.3 < (outputs[0].asnumpy() == 0).mean() < 0.7  # nothing is left of the sequence before


@pytest.mark.once
def test_what_is_cut_to_lengths_is_one_array():
    cell = rnn.BidirectionalCell(rnn.GRUCell(2, input_size=3), rnn.GRUCell(2, input_size=3))
    cell.initialize()
    steps, lengths = [nd.ones((2, 3))] * 4, nd.array([4, 2])
    found = [cell.unroll(4, steps, merge_outputs=m, valid_length=lengths)[0] for m in (None, True, False)]
    assert found[0].shape == found[1].shape == (2, 4, 4)
    assert [step.shape for step in found[2]] == [(2, 4)] * 4


def test_states_of_ones_own_making():
    cell = rnn.SequentialRNNCell()
    cell.add(rnn.LSTMCell(2))
    cell.add(rnn.GRUCell(3))
    states = cell.begin_state(
        4, func=nd.ones, dtype="float64" if mx.cpu().device.capabilities.fp64 else "float32"
    )
    assert [s.shape for s in states] == [(4, 2), (4, 2), (4, 3)]
    assert all((s.asnumpy() == 1).all() for s in states)
    assert cell[1].state_info(5) == [{"shape": (5, 3), "__layout__": "NC"}]
    assert len(cell) == 2


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: rnn.RNN(4, activation="gelu"), "activation is 'gelu'"),
        (lambda: rnn.LSTM(4, layout="NCT"), "layout is 'NCT'"),
        (lambda: rnn.LSTM(4)(nd.ones((2, 3))), r"inputs is of shape \(2, 3\)"),
        (lambda: rnn.LSTM(4)(nd.ones((2, 3, 3)), None, nd.ones(3)), "sequence_length is NDArray"),
        (
            lambda: made(rnn.GRU(4))(nd.ones((2, 3, 3)), nd.ones((1, 3, 5))),
            r"states is of shapes \[\(1, 3, 5\)\]",
        ),
        (lambda: rnn.GRUCell(4).unroll(3, nd.ones((2, 4, 3))), "length is 3; accepted: 4"),
        (lambda: rnn.GRUCell(4).unroll(3, [nd.ones((2, 4))]), "length is 3; accepted: 1"),
        (lambda: rnn.GRUCell(4).unroll(0, []), "length is 0"),
        (lambda: rnn.GRUCell(4).unroll(3, nd.ones((2, 3, 3)), layout="TCN"), "layout is 'TCN'"),
        (lambda: rnn.DropoutCell(1), "rate is 1"),
        (
            lambda: rnn.ZoneoutCell(rnn.BidirectionalCell(rnn.RNNCell(2), rnn.RNNCell(2))),
            "BidirectionalCell",
        ),
        (lambda: stepped(taken()), "another cell, such as a ZoneoutCell"),
        (lambda: rnn.ResidualCell(taken()), "another cell, such as a ZoneoutCell"),
        (lambda: rnn.SequentialRNNCell()(nd.ones((2, 3)), [nd.ones((2, 3))]), "states is 1 arrays"),
    ],
)
def test_bad_arguments(call, complaint):
    with pytest.raises(OperatorError, match=complaint):
        call()


def made(block):
    block.initialize()
    return block


def stepped(cell):
    return cell.begin_state(batch_size=2)


def taken():
    cell = rnn.RNNCell(2)
    cell.outer = [rnn.ZoneoutCell(cell)]
    return cell


@pytest.mark.once
def test_what_is_no_cell():
    with pytest.raises(OperatorTypeError, match="cell is Dense"):
        rnn.SequentialRNNCell().add(mx.gluon.nn.Dense(2))
    with pytest.raises(OperatorTypeError, match="base_cell is Dense"):
        rnn.ResidualCell(mx.gluon.nn.Dense(2))
    with pytest.raises(OperatorTypeError, match="inputs is int"):
        rnn.GRUCell(2).unroll(3, 5)
    with pytest.raises(NotImplementedError, match="call unroll"):
        rnn.BidirectionalCell(rnn.RNNCell(2), rnn.RNNCell(2))(nd.ones((2, 3)), [])
