"""Steps whose length in each direction follows the past gradients in it."""

import math
from collections.abc import Sequence
from typing import Any

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.optimizer.base import Fused, Optimizer, register


def _betas(optimizer) -> dict[str, float]:
    """Shares of the old means that are kept, and of what is new."""
    beta1, beta2 = optimizer.beta1, optimizer.beta2
    return {"beta1": beta1, "beta2": beta2, "rest1": 1.0 - beta1, "rest2": 1.0 - beta2}


@register
class Adam(Fused):
    """weight - lr' * m / (sqrt(v) + epsilon), m and v the running means of g and of g^2.

    g contains wd * weight. lr' = lr * sqrt(1 - beta2^t) / (1 - beta1^t) corrects for means that began at 0;
    t counts the updates (Kingma & Ba, arXiv:1412.6980, 2014).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        Shares of the old means that are kept.
    epsilon : float
    lazy_update : bool
        Accepted for MXNet's sake: gradients are dense.
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 2

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        lazy_update: bool = True,
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2, self.epsilon, self.lazy_update = beta1, beta2, epsilon, lazy_update

    def _method(self) -> str:
        return "adam"

    def _shared(self) -> dict[str, float]:
        return {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        numbers = super()._of_each(indices)
        return numbers | {"lrs": self._corrected(numbers["lrs"], indices)}

    def _corrected(self, lrs: Sequence[float], indices: Sequence) -> list[float]:
        counts = self._counts(indices)
        scales = [math.sqrt(1.0 - self.beta2**t) / (1.0 - self.beta1**t) for t in counts]
        return [lr * scale for lr, scale in zip(lrs, scales, strict=True)]


@register
class AdamW(Adam):
    """Adam with a decay apart from the gradient: weight - lr' * m / (sqrt(v) + epsilon) - lr * wd * weight.

    Loshchilov & Hutter, Decoupled weight decay regularization, arXiv:1711.05101, 2017. MXNet 1.9.1 has the
    step (``nd.contrib.adamw_update``), and the class from 2.0 on.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
    epsilon : float
    correct_bias : bool
        Correct for means that began at 0, as Adam does.
    **kwargs
        As for :class:`Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        correct_bias: bool = True,
        **kwargs,
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, **kwargs)
        self.correct_bias = correct_bias

    def _method(self) -> str:
        return "decoupled_adam"

    def _shared(self) -> dict[str, float]:
        return _betas(self) | {"epsilon": self.epsilon}

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        lrs, wds = self._get_lrs(indices), self._get_wds(indices)
        decays = [lr * wd for lr, wd in zip(lrs, wds, strict=True)]
        return {"lrs": self._corrected(lrs, indices) if self.correct_bias else lrs, "wds": decays}


@register
class Adamax(Fused):
    """weight - lr / (1 - beta1^t) * m / u, m the running mean of g, u = max(beta2 * u, |g|).

    g contains wd * weight (Kingma & Ba, arXiv:1412.6980, 2014). As in MXNet, an element whose gradient has
    always been 0 becomes NaN.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 2

    def __init__(self, learning_rate: float = 0.002, beta1: float = 0.9, beta2: float = 0.999, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2 = beta1, beta2

    def _method(self) -> str:
        return "adamax"

    def _shared(self) -> dict[str, float]:
        return {"beta1": self.beta1, "beta2": self.beta2, "rest1": 1.0 - self.beta1}

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        numbers = super()._of_each(indices)
        counts = self._counts(indices)
        lrs = [lr / (1.0 - self.beta1**t) for lr, t in zip(numbers["lrs"], counts, strict=True)]
        return numbers | {"lrs": lrs}


@register
class Nadam(Fused):
    """Adam with Nesterov's momentum, whose strength grows: beta1 * (1 - 0.96^(t * schedule_decay) / 2).

    Dozat, Incorporating Nesterov momentum into Adam, 2016. As in MXNet, the product of the momenta grows
    with the update of each parameter.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
    epsilon : float
    schedule_decay : float
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 2
    _STEPS_ALIKE = False  # the product grows from device to device

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        schedule_decay: float = 0.004,
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.schedule_decay, self.m_schedule = schedule_decay, 1.0

    def _method(self) -> str:
        return "nadam"

    def _shared(self) -> dict[str, float]:
        return _betas(self) | {"epsilon": self.epsilon}

    def _momentum(self, t: int) -> float:
        return self.beta1 * (1.0 - 0.5 * pow(0.96, t * self.schedule_decay))

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        of_grads, of_means, of_vars = [], [], []
        for t in self._counts(indices):
            now, then = self._momentum(t), self._momentum(t + 1)
            self.m_schedule *= now
            of_grads.append((1.0 - now) / (1.0 - self.m_schedule))
            of_means.append(then / (1.0 - self.m_schedule * then))
            of_vars.append(1.0 - pow(self.beta2, t))
        return super()._of_each(indices) | {"of_grads": of_grads, "of_means": of_means, "of_vars": of_vars}


@register
class AdaGrad(Fused):
    """weight - lr * (g / sqrt(h + eps) + wd * weight), h the sum of g^2 of all updates.

    Duchi, Hazan & Singer, Adaptive subgradient methods, 2011.

    Parameters
    ----------
    eps : float
    **kwargs
        As for :class:`Optimizer`.
    """

    def __init__(self, eps: float = 1e-7, **kwargs):
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def _method(self) -> str:
        return "adagrad"

    def _shared(self) -> dict[str, float]:
        return {"epsilon": self.float_stable_eps}

    def create_state(self, index, weight: NDArray) -> Any:
        """The sum of squares, 0 at first."""
        return self._zeros(weight)


@register
class GroupAdaGrad(Optimizer):
    """AdaGrad with one rate for each row of a matrix: weight - lr * g / sqrt(h + eps).

    h is the sum of the mean of g^2 over the row; for embeddings. There is no weight decay.

    Parameters
    ----------
    eps : float
    **kwargs
        As for :class:`Optimizer`.
    """

    def __init__(self, eps: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def create_state(self, index, weight: NDArray) -> NDArray:
        """A column of zeros."""
        if weight.ndim != 2:
            raise argument_error("GroupAdaGrad", "weight", f"of shape {weight.shape}", "a matrix")
        return nd.zeros((weight.shape[0], 1), ctx=weight.context, dtype=weight.dtype)

    def update(self, index, weight, grad, state) -> None:
        """Step a parameter in place."""
        self._update_count(index)
        if self._get_wd(index):
            raise argument_error("GroupAdaGrad", "wd", self._get_wd(index), "0: there is no weight decay")
        numbers = self._of_gradients()
        lr, epsilon = self._get_lr(index), self.float_stable_eps
        nd.contrib.group_adagrad_update(weight, grad, state, lr=lr, epsilon=epsilon, out=weight, **numbers)


@register
class AdaDelta(Fused):
    """weight - d - wd * weight, where d = sqrt(D + epsilon) / sqrt(G + epsilon) * g.

    G and D are the running means of g^2 and of d^2; there is no learning rate (Zeiler, ADADELTA,
    arXiv:1212.5701, 2012).

    Parameters
    ----------
    rho : float
        Share of the old means that is kept.
    epsilon : float
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 2

    def __init__(self, rho: float = 0.90, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.rho, self.epsilon = rho, epsilon

    def _method(self) -> str:
        return "adadelta"

    def _shared(self) -> dict[str, float]:
        return {"rho": self.rho, "rest": 1.0 - self.rho, "epsilon": self.epsilon}

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        return {"wds": self._get_wds(indices)}


@register
class RMSProp(Fused):
    """weight - lr * g / sqrt(n + epsilon), n the running mean of g^2; g contains wd * weight.

    Tieleman & Hinton, 2012. ``centered`` takes n - m^2 in its place, m the running mean of g, and steps by
    a momentum (Graves, arXiv:1308.0850, 2013).

    Parameters
    ----------
    learning_rate : float
    gamma1 : float
        Share of the old means that is kept.
    gamma2 : float
        The momentum, with ``centered``.
    epsilon : float
    centered : bool
    clip_weights : float, optional
        Bound of the new weight's elements; None or 0 for none.
    **kwargs
        As for :class:`Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        gamma1: float = 0.9,
        gamma2: float = 0.9,
        epsilon: float = 1e-8,
        centered: bool = False,
        clip_weights: float | None = None,
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.gamma1, self.gamma2, self.epsilon = gamma1, gamma2, epsilon
        self.centered, self.clip_weights = centered, clip_weights

    def _method(self) -> str:
        return "rmspropalex" if self.centered else "rmsprop"

    def _shared(self) -> dict[str, float]:
        numbers = {
            "gamma1": self.gamma1,
            "epsilon": self.epsilon,
            "clip_weights": self.clip_weights or -1.0,
        }
        return numbers | ({"gamma2": self.gamma2} if self.centered else {})

    def create_state(self, index, weight: NDArray) -> Any:
        """n; with ``centered`` n, the mean and the momentum."""
        return tuple(self._zeros(weight) for _ in range(3 if self.centered else 1))


@register
class Ftrl(Fused):
    """Follow the regularised leader: (sign(z) * lamda1 - z) / ((beta + sqrt(n)) / lr + wd), or 0.

    0 where |z| <= lamda1. n is the sum of g^2, z that of g - (change of sqrt(n)) * weight / lr: weights of
    no use become exactly 0 (McMahan et al., Ad click prediction, 2013).

    Parameters
    ----------
    lamda1 : float
        Strength of the penalty on |weight|.
    learning_rate : float
        Without a scheduler, whose ``base_lr`` stays as it is, as in MXNet.
    beta : float
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 2

    def __init__(self, lamda1: float = 0.01, learning_rate: float = 0.1, beta: float = 1, **kwargs):
        super().__init__(**kwargs)
        self.lr, self.lamda1, self.beta = learning_rate, lamda1, beta

    def _method(self) -> str:
        return "ftrl"

    def _shared(self) -> dict[str, float]:
        return {"lamda1": self.lamda1, "beta": self.beta}


@register
class FTML(Fused):
    """Follow the moving leader: -z / d (Zheng & Kwok, 2017; see ``nd.ftml_update``).

    Parameters
    ----------
    beta1, beta2 : float
    epsilon : float
    **kwargs
        As for :class:`Optimizer`.
    """

    _STATES = 3

    def __init__(self, beta1: float = 0.6, beta2: float = 0.999, epsilon: float = 1e-8, **kwargs):
        super().__init__(**kwargs)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def _method(self) -> str:
        return "ftml"

    def _shared(self) -> dict[str, float]:
        return _betas(self) | {"epsilon": self.epsilon}

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        counts = self._counts(indices)
        biases = {
            "firsts": [1 - self.beta1**t for t in counts],
            "seconds": [1 - self.beta2**t for t in counts],
        }
        return super()._of_each(indices) | biases
