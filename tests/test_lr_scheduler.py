"""Learning rates, against those of MXNet to the last bit."""

import numpy as np
import pytest
from golden.training import recorded, schedules

import clgrad as mx
from clgrad.errors import MXNetError, OperatorError

pytestmark = pytest.mark.once


def test_schedules():
    theirs = recorded("schedules")
    for key, rates in schedules.answers(mx).items():
        np.testing.assert_array_equal(rates, theirs[key], err_msg=key)


def test_a_schedule_of_ones_own():
    class Halves(mx.lr_scheduler.LRScheduler):
        def __call__(self, num_update):
            return self.base_lr / 2**num_update

    assert Halves(4)(3) == 0.5
    with pytest.raises(NotImplementedError, match="LRScheduler has no method"):
        mx.lr_scheduler.LRScheduler()(3)


def test_a_warm_up_until_the_end():
    schedule = mx.lr_scheduler.CosineScheduler(4, base_lr=1, warmup_steps=4)
    assert [schedule(n) for n in (0, 3, 4, 5)] == [0, 0.75, 0, 0]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("FactorScheduler", {"step": 0}, "FactorScheduler: step is 0; accepted: a whole number"),
        ("FactorScheduler", {"step": 2, "factor": 1.5}, "factor is 1.5"),
        ("FactorScheduler", {"step": 2, "warmup_begin_lr": 1}, "warmup_begin_lr is 1; accepted: at most"),
        ("FactorScheduler", {"step": 2, "warmup_steps": -1}, "warmup_steps is -1"),
        ("FactorScheduler", {"step": 2, "warmup_mode": "cold"}, "warmup_mode is 'cold'"),
        ("MultiFactorScheduler", {"step": [3, 3]}, "step is .*; accepted: increasing"),
        ("MultiFactorScheduler", {"step": [0]}, "step is 0"),
        ("MultiFactorScheduler", {"step": 3}, "step is 3; accepted: a list"),
        ("PolyScheduler", {"max_update": 0}, "PolyScheduler: max_update is 0"),
        ("CosineScheduler", {"max_update": 2.5}, "CosineScheduler: max_update is 2.5"),
    ],
)
def test_errors(name, arguments, message):
    with pytest.raises(MXNetError, match=message):
        getattr(mx.lr_scheduler, name)(**arguments)


def test_errors_of_warm_ups():
    with pytest.raises(OperatorError, match="num_update is 3; accepted: below 3"):
        mx.lr_scheduler.LRScheduler(warmup_steps=3).get_warmup_lr(3)
