"""``mx.lr_scheduler``: learning rates that change with the number of updates.

A scheduler is called with the largest number of updates that any parameter has had, and returns the
learning rate of the next. What it has done so far is in its attributes, as in MXNet: numbers of updates
are expected to grow.
"""

import logging
import math

from clgrad.errors import AbsentError, OperatorTypeError, argument_error

__all__ = ["CosineScheduler", "FactorScheduler", "LRScheduler", "MultiFactorScheduler", "PolyScheduler"]

_log = logging.getLogger(__name__)


def _whole(owner: object, argument: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        accepted = f"a whole number of at least {least}"
        raise argument_error(type(owner).__name__, argument, repr(value), accepted)


class LRScheduler:
    """Base class of schedulers.

    Parameters
    ----------
    base_lr : float
        The learning rate to begin with, after the warm-up. An optimizer with a ``learning_rate`` of its own
        replaces it.
    warmup_steps : int
        For how many updates the learning rate is that of the warm-up.
    warmup_begin_lr : float
        The learning rate of the warm-up, from which it grows to ``base_lr`` with ``'linear'``.
    warmup_mode : {'linear', 'constant'}
    """

    def __init__(
        self,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        _whole(self, "warmup_steps", warmup_steps, 0)
        if warmup_begin_lr > base_lr:
            name, accepted = type(self).__name__, f"at most {base_lr}, the base_lr"
            raise argument_error(name, "warmup_begin_lr", warmup_begin_lr, accepted)
        if warmup_mode not in ("linear", "constant"):
            name = type(self).__name__
            raise argument_error(name, "warmup_mode", repr(warmup_mode), "'linear', 'constant'")
        self.base_lr = base_lr
        self.warmup_steps = warmup_steps
        self.warmup_begin_lr = warmup_begin_lr
        self.warmup_final_lr = base_lr
        self.warmup_mode = warmup_mode

    def get_warmup_lr(self, num_update: int) -> float:
        """The learning rate of an update that is part of the warm-up."""
        if num_update >= self.warmup_steps:
            accepted = f"below {self.warmup_steps}, the warmup_steps"
            raise argument_error("get_warmup_lr", "num_update", num_update, accepted)
        if self.warmup_mode == "constant":
            return self.warmup_begin_lr
        grown = (self.warmup_final_lr - self.warmup_begin_lr) * float(num_update) / float(self.warmup_steps)
        return self.warmup_begin_lr + grown

    def __call__(self, num_update: int) -> float:
        """The learning rate after ``num_update`` updates."""
        return self.get_warmup_lr(num_update) if num_update < self.warmup_steps else self._after(num_update)

    def _after(self, num_update: int) -> float:
        """The learning rate when the warm-up is over."""
        raise AbsentError(f"{type(self).__name__} has no method __call__(num_update)")


class _Stepwise(LRScheduler):
    """Factors that come one after the other."""

    def __init__(self, step, factor: float, base_lr: float, *warmup):
        super().__init__(base_lr, *warmup)
        if factor > 1:
            raise argument_error(type(self).__name__, "factor", factor, "at most 1")
        self.step, self.factor, self.count = step, factor, 0

    def _reduce(self, num_update: int) -> None:
        self.base_lr *= self.factor
        _log.info("Update[%d]: learning rate %0.5e", num_update, self.base_lr)


class FactorScheduler(_Stepwise):
    """base_lr * factor^floor((updates - 1) / step), but not below ``stop_factor_lr``.

    Parameters
    ----------
    step : int
        Updates with the same learning rate.
    factor : float
        At most 1.
    stop_factor_lr : float
        The least learning rate.
    base_lr, warmup_steps, warmup_begin_lr, warmup_mode
        As for :class:`LRScheduler`.

    Examples
    --------
    >>> import clgrad as mx
    >>> schedule = mx.lr_scheduler.FactorScheduler(step=2, factor=0.5, base_lr=1)
    >>> [schedule(n) for n in range(1, 7)]
    [1, 1, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        step: int,
        factor: float = 1,
        stop_factor_lr: float = 1e-8,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(step, factor, base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        _whole(self, "step", step, 1)
        self.stop_factor_lr = stop_factor_lr

    def _after(self, num_update: int) -> float:
        while num_update > self.count + self.step:
            self.count += self.step
            self._reduce(num_update)
            self.base_lr = max(self.base_lr, self.stop_factor_lr)
        return self.base_lr


class MultiFactorScheduler(_Stepwise):
    """base_lr * factor^k, k the number of steps that have been passed.

    Parameters
    ----------
    step : list of int
        After which updates the learning rate is multiplied by the factor; increasing.
    factor : float
        At most 1.
    base_lr, warmup_steps, warmup_begin_lr, warmup_mode
        As for :class:`LRScheduler`.

    Examples
    --------
    >>> import clgrad as mx
    >>> schedule = mx.lr_scheduler.MultiFactorScheduler(step=[2, 3], factor=0.5, base_lr=1)
    >>> [schedule(n) for n in range(1, 6)]
    [1, 1, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        step: list[int],
        factor: float = 1,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(step, factor, base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(step, list) or not step:
            raise OperatorTypeError(f"MultiFactorScheduler: step is {step!r}; accepted: a list of int")
        for value in step:
            _whole(self, "step", value, 1)
        if step != sorted(set(step)):
            raise argument_error("MultiFactorScheduler", "step", step, "increasing numbers")
        self.cur_step_ind = 0

    def _after(self, num_update: int) -> float:
        while self.cur_step_ind < len(self.step) and num_update > self.step[self.cur_step_ind]:
            self.count = self.step[self.cur_step_ind]
            self.cur_step_ind += 1
            self._reduce(num_update)
        return self.base_lr


class _Decay(LRScheduler):
    """From base_lr to final_lr until the last update, then constant."""

    def __init__(self, max_update: int, base_lr: float, final_lr: float, *warmup):
        super().__init__(base_lr, *warmup)
        _whole(self, "max_update", max_update, 1)
        self.base_lr_orig, self.final_lr = base_lr, final_lr
        self.max_update, self.max_steps = max_update, max_update - self.warmup_steps

    def _after(self, num_update: int) -> float:
        if num_update <= self.max_update:
            share = self._share(num_update - self.warmup_steps) if self.max_steps else 0
            self.base_lr = self.final_lr + (self.base_lr_orig - self.final_lr) * share
        return self.base_lr

    def _share(self, steps: int) -> float:
        """How much of the way is left."""
        raise NotImplementedError


class PolyScheduler(_Decay):
    """final_lr + (base_lr - final_lr) * (1 - updates / max_update)^pwr, counted from the warm-up on.

    Parameters
    ----------
    max_update : int
        The update from which the learning rate is ``final_lr``.
    base_lr : float
    pwr : float
    final_lr : float
    warmup_steps, warmup_begin_lr, warmup_mode
        As for :class:`LRScheduler`.

    Examples
    --------
    >>> import clgrad as mx
    >>> schedule = mx.lr_scheduler.PolyScheduler(max_update=4, base_lr=1)
    >>> [schedule(n) for n in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    def __init__(
        self,
        max_update: int,
        base_lr: float = 0.01,
        pwr: float = 2,
        final_lr: float = 0,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.power = pwr

    def _share(self, steps: int) -> float:
        return pow(1 - float(steps) / float(self.max_steps), self.power)


class CosineScheduler(_Decay):
    """final_lr + (base_lr - final_lr) * (1 + cos(pi * updates / max_update)) / 2, from the warm-up on.

    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983, 2016.

    Parameters
    ----------
    max_update : int
        The update from which the learning rate is ``final_lr``.
    base_lr : float
    final_lr : float
    warmup_steps, warmup_begin_lr, warmup_mode
        As for :class:`LRScheduler`.

    Examples
    --------
    >>> import clgrad as mx
    >>> schedule = mx.lr_scheduler.CosineScheduler(max_update=2, base_lr=1)
    >>> [round(schedule(n), 6) for n in range(4)]
    [1.0, 0.5, 0.0, 0.0]
    """

    def __init__(
        self,
        max_update: int,
        base_lr: float = 0.01,
        final_lr: float = 0,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)

    def _share(self, steps: int) -> float:
        return (1 + math.cos(math.pi * steps / self.max_steps)) / 2
