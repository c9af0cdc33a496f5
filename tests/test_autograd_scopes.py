"""Scopes of the autograd API: who records and trains, in which thread, and which layers see it.

Meanings are MXNet's; where MXNet 1.9.1 is wrong, the tests want what is right: docs/differences.md.
"""

import threading

import numpy as np
import pytest
from autograd_harness import assert_close, in_thread, states, variable

from clgrad import autograd, nd
from clgrad.errors import AutogradError

# Scopes


def test_default_state_is_neither_recording_nor_training():
    assert states() == (False, False)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (autograd.record, (True, True)),
        (lambda: autograd.record(train_mode=False), (True, False)),
        (autograd.pause, (False, False)),
        (lambda: autograd.pause(train_mode=True), (False, True)),
        (autograd.train_mode, (False, True)),
        (autograd.predict_mode, (False, False)),
    ],
)
def test_scope_sets_and_restores(scope, expected):
    with scope():
        assert states() == expected
    assert states() == (False, False)


def test_scopes_nest():
    with autograd.record():
        with autograd.pause():
            assert states() == (False, False)
            with autograd.train_mode():
                assert states() == (False, True)
                with autograd.record(train_mode=False):
                    assert states() == (True, False)
                assert states() == (False, True)
            assert states() == (False, False)
        with autograd.predict_mode():
            assert states() == (True, False)
            with autograd.record():
                assert states() == (True, True)
            assert states() == (True, False)
        assert states() == (True, True)
    assert states() == (False, False)


def test_scopes_restore_after_exceptions():
    with pytest.raises(KeyError), autograd.record(), autograd.predict_mode():
        raise KeyError("inside")
    assert states() == (False, False)


def test_one_scope_object_can_be_entered_again():
    scope = autograd.record()
    with autograd.pause(train_mode=True):
        with scope:
            with autograd.pause(), scope:
                assert states() == (True, True)
            assert states() == (True, True)
        assert states() == (False, True)
        with scope:
            assert states() == (True, True)
        assert states() == (False, True)


def test_state_belongs_to_the_thread():
    with autograd.record():
        assert in_thread(states) == (False, False)
        in_thread(lambda: autograd.set_training(False))
        in_thread(lambda: autograd.set_recording(False))
        assert states() == (True, True)


def test_one_scope_object_serves_several_threads():
    scope = autograd.record()
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with autograd.train_mode(), scope:
            entered.set()
            leave.wait(60)
        return states()

    result = []
    thread = threading.Thread(target=lambda: result.append(hold()))
    thread.start()
    entered.wait(60)
    with scope:
        pass
    assert states() == (False, False)
    leave.set()
    thread.join()
    assert result == [(False, False)]


@pytest.mark.parametrize(
    ("set_state", "is_state"),
    [
        (autograd.set_recording, autograd.is_recording),
        (autograd.set_training, autograd.is_training),
    ],
)
def test_set_state_returns_the_previous_state(set_state, is_state):
    assert set_state(True) is False
    assert set_state(1) is True
    assert is_state() is True
    assert set_state(False) is True
    assert is_state() is False


def test_nothing_is_recorded_in_pause():
    x = variable([1, 2])
    with autograd.record():
        y = x * x
        with autograd.pause():
            z = y * 10
        with pytest.raises(AutogradError, match="not part of a recorded graph"):
            z.backward()
        total = y + z
    total.backward()
    assert_close(x.grad, [2, 4])


# Modes of layers


def test_dropout_obeys_the_mode():
    x = variable(np.ones(1000))
    with autograd.record():
        trained = nd.Dropout(x, p=0.5)
    trained.backward()
    kept = trained.asnumpy() != 0
    assert 300 < kept.sum() < 700
    assert_close(trained, 2 * kept)
    assert_close(x.grad, 2 * kept)
    with autograd.record(train_mode=False):
        predicted = nd.Dropout(x, p=0.5)
    predicted.backward(train_mode=False)
    assert_close(predicted, np.ones(1000))
    assert_close(x.grad, np.ones(1000))
    with autograd.train_mode():
        assert (nd.Dropout(x, p=0.5).asnumpy() == 0).any()
        with autograd.predict_mode():
            assert_close(nd.Dropout(x, p=0.5), np.ones(1000))


def test_dropout_mode_is_that_of_forward():
    x = variable(np.ones(1000))
    with autograd.record():
        y = nd.Dropout(x, p=0.5)
    y.backward(train_mode=False)
    assert_close(x.grad, y.asnumpy())


def test_batch_norm_moves_its_averages_in_training_only():
    host = np.array([[1.0, 10], [3, 30]])
    gamma, beta = nd.ones(2), nd.zeros(2)
    mean, var = nd.zeros(2), nd.ones(2)
    x = variable(host)
    options = {"momentum": 0.9, "eps": 1e-5, "fix_gamma": False}
    with autograd.record(train_mode=False):
        y = nd.BatchNorm(x, gamma, beta, mean, var, **options)
    assert_close(y, host / np.sqrt(1 + 1e-5))
    assert_close(mean, [0, 0])
    assert_close(var, [1, 1])
    with autograd.record():
        y = nd.BatchNorm(x, gamma, beta, mean, var, **options)
    y.backward()
    batch_mean, batch_var = host.mean(axis=0), host.var(axis=0)
    assert_close(y, (host - batch_mean) / np.sqrt(batch_var + 1e-5))
    assert_close(mean, 0.1 * batch_mean)
    assert_close(var, 0.9 + 0.1 * batch_var)
