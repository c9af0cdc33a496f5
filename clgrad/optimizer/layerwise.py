"""Steps whose length follows the norms of a whole layer's weight and gradient, for large batches."""

import math
from collections.abc import Sequence
from typing import Any

from clgrad import deferred, nd
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.optimizer.base import Fused, register
from clgrad.optimizer.descent import WithMomentum


@register
class LAMB(Fused):
    """Adam's direction, with a length of lr times the weight's norm (You et al., arXiv:1904.00962, 2019).

    weight - lr * r1 / r2 * d, where d = m / (sqrt(v) + epsilon) + wd * weight, r1 the norm of the weight,
    within its bounds, and r2 that of d.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
    epsilon : float
    lower_bound, upper_bound : float, optional
        Of r1; None or 0 for none.
    bias_correction : bool
        Divide the means by 1 - beta^t.
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 2

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        lower_bound: float | None = None,
        upper_bound: float | None = None,
        bias_correction: bool = True,
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        self.bias_correction = bias_correction

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        return super()._of_each(indices) | {"step_count": self._counts(indices)}

    def _step(self, indices: Sequence, weights, grads, states, copied: bool) -> None:
        numbers = deferred.host(self._counted, indices)
        parts = [self._parts(state, copied) for state in states]
        op = nd.contrib.multi_mp_lamb_update if copied else nd.contrib.multi_lamb_update
        op(
            list(weights),
            list(grads),
            *(list(arrays) for arrays in zip(*parts, strict=True)),
            **{name: tuple(values) for name, values in numbers.items()},
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            bias_correction=self.bias_correction,
            **self._of_gradients(),
            lower_bound=self.lower_bound or -1.0,
            upper_bound=self.upper_bound or -1.0,
            out=list(weights),
        )


@register
class LARS(WithMomentum):
    """SGD with a rate for each layer: lr * eta * |weight| / (|g| + wd * |weight| + eps) in place of lr.

    Parameters whose names end in gamma, beta or bias keep lr (You, Gitman & Ginsburg, Large batch training
    of convolutional networks, arXiv:1708.03888, 2017). The norms stay on the device.

    Parameters
    ----------
    momentum : float
        0 for none.
    lazy_update : bool
        Accepted for MXNet's sake: gradients are dense.
    eta : float
        The share of a weight's norm by which a step changes it.
    eps : float
    momentum_correction : bool
        Multiply the momentum by the ratio of this step's learning rate and the last one's.
    **kwargs
        As for :class:`Optimizer`.
    """

    _DECAYING = ("_weight",)

    def __init__(
        self,
        momentum: float = 0.0,
        lazy_update: bool = True,
        eta: float = 0.001,
        eps: float = 0,
        momentum_correction: bool = True,
        **kwargs,
    ):
        super().__init__(momentum, **kwargs)
        self.momentum_correction, self.lazy_update = momentum_correction, lazy_update
        self.eta, self.eps = eta, eps
        self.last_lr: float | None = None
        self.cur_lr: float | None = None
        self._lr_update = -1  # the update that cur_lr is of

    def _correction(self) -> float:
        """The step's learning rate over that of the last."""
        if self._lr_update != self.num_update:
            lr = self.learning_rate
            self.last_lr, self.cur_lr = lr if self.cur_lr is None else self.cur_lr, lr
            self._lr_update = self.num_update
        if not self.momentum_correction or not self.last_lr or self.cur_lr is None:
            return 1.0
        return self.cur_lr / self.last_lr

    def _shared(self) -> dict[str, float]:
        return {"momentum": self.momentum * self._correction()} if self.momentum else {}

    def _step(self, indices: Sequence, weights, grads, states, copied: bool) -> None:
        numbers = deferred.host(self._counted, indices)
        names = [str(self.idx2name.get(i, i)) for i in indices]
        plain = [n.endswith(("gamma", "beta", "bias")) for n in names]
        for members in ([i for i, p in enumerate(plain) if not p], [i for i, p in enumerate(plain) if p]):
            if not members:
                continue
            chosen = [weights[i] for i in members]
            arrays = [[weights[i], grads[i], *self._parts(states[i], copied)] for i in members]
            own = {n: [v[i] for i in members] if n in ("lrs", "wds") else v for n, v in numbers.items()}
            if plain[members[0]]:
                self._launch(self._method(), chosen, arrays, (), own, copied)
                continue
            sums = [
                nd.multi_sum_sq(*arrays_, num_arrays=len(members))
                for arrays_ in (chosen, [a[1] for a in arrays])
            ]
            method = "lars_mom" if self.momentum else "lars"
            self._launch(method, chosen, arrays, sums, own | {"eta": self.eta, "eps": self.eps}, copied)


@register
class LBSGD(WithMomentum):
    """SGD for large batches: gradients of ``batch_scale`` updates make one step, of a rate that warms up.

    Parameters
    ----------
    momentum : float
        0 for none.
    multi_precision : bool
    warmup_strategy : {'linear', 'power2', 'sqrt', 'lars'}
        How the factor of the learning rate grows from 1 to ``batch_scale``; with ``'lars'`` it is
        sqrt(|weight|^2 / (|g|^2 + wd * |weight|^2)), between 0.01 and 100.
    warmup_epochs : int
    batch_scale : int
        Updates whose gradients are averaged.
    updates_per_epoch : int
    begin_epoch : int
    num_epochs : int
        Accepted for MXNet's sake.
    **kwargs
        As for :class:`Optimizer`.
    """

    def __init__(
        self,
        momentum: float = 0.0,
        multi_precision: bool = False,
        warmup_strategy: str = "linear",
        warmup_epochs: int = 5,
        batch_scale: int = 1,
        updates_per_epoch: int = 32,
        begin_epoch: int = 0,
        num_epochs: int = 60,
        **kwargs,
    ):
        super().__init__(momentum, multi_precision=multi_precision, **kwargs)
        if batch_scale < 1:
            raise argument_error("LBSGD", "batch_scale", batch_scale, "a whole number of at least 1")
        self.aggregate_num = 0
        self.warmup_strategy, self.warmup_epochs, self.batch_scale = (
            warmup_strategy,
            warmup_epochs,
            batch_scale,
        )
        self.updates_per_epoch, self.num_epochs = updates_per_epoch, num_epochs
        self.init_updates = begin_epoch * updates_per_epoch

    def create_state(self, index, weight: NDArray) -> Any:
        """The momentum; with a ``batch_scale`` above 1, that and the sum of gradients."""
        momentum = super().create_state(index, weight)
        return momentum if self.batch_scale == 1 else (momentum, self._zeros(weight))

    def _step(self, indices: Sequence, weights, grads, states, copied: bool) -> None:
        for one in zip(indices, weights, grads, states, strict=True):
            self._step_one(*one, copied)

    def _step_one(self, index, weight, grad, state, copied: bool) -> None:
        lr, wd, done, factor = deferred.host(self._counted_one, index)
        parts = self._parts(state, copied)
        if self.batch_scale > 1:
            total = state[0][1] if copied else state[1]
            parts = [p for p in parts if p is not total]
            total += grad.astype(total.dtype)
            if done % self.batch_scale:
                return
            grad = total / self.batch_scale
            total[:] = 0
        arrays = [[weight, grad, *parts]]
        if self.warmup_strategy == "lars":
            rates, of_each, kind = self._adaptive(weight, grad, lr, wd), {}, "preloaded_multi"
        else:
            rates, of_each, kind = [], {"lrs": [lr * factor], "wds": [wd]}, "multi"
        numbers = self._shared() | of_each
        self._launch(self._method(), [weight], arrays, rates, numbers, copied, kind)

    def _counted_one(self, index) -> tuple[float, float, int, float]:
        """Count an update: learning rate and decay, how many there were, and the factor of the rate."""
        lr, wd = self._get_lr(index), self._get_wd(index)  # of the updates before, as in MXNet
        self._update_count(index)
        done = self.init_updates + self._index_update_count[index] - self.begin_num_update
        return lr, wd, done, self._factor(done)

    def _parts(self, state, copied: bool) -> list[NDArray]:
        if not copied:
            return super()._parts(state, copied)
        own, copy = state
        return [*super()._parts(own, copied=False), copy]

    @staticmethod
    def _adaptive(weight, grad, lr: float, wd: float) -> list[NDArray]:
        """Learning rate and decay, as arrays: the norms stay on the device."""
        of_weight, of_grad = nd.multi_sum_sq(weight), nd.multi_sum_sq(grad)
        ratio = nd.sqrt(of_weight / (of_grad + wd * of_weight + 1e-18))
        return [lr * nd.clip(ratio, 0.01, 100), nd.full((1,), wd, ctx=weight.context)]

    def _factor(self, done: int) -> float:
        """The factor of the learning rate, between 1 and ``batch_scale``."""
        warmup = self.warmup_epochs * self.updates_per_epoch
        if done >= warmup:
            return float(self.batch_scale)
        if warmup <= 1 or self.warmup_strategy not in ("linear", "power2", "sqrt"):
            return 1.0
        share = done / warmup
        grown = {"linear": share, "power2": share * share, "sqrt": math.sqrt(share)}[self.warmup_strategy]
        return 1.0 + (self.batch_scale - 1) * grown
