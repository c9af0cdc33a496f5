"""Steps along the gradient, its sign, or a running sum of it."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from clgrad import deferred, nd
from clgrad.array import NDArray
from clgrad.optimizer.base import Fused, Optimizer, register


class WithMomentum(Fused):
    """What steps by a momentum, unless it is 0, have in common."""

    _COPY_BEHIND = True

    def __init__(self, momentum: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum

    #: Methods without and with a momentum.
    _METHODS: ClassVar[tuple[str, str]] = ("sgd", "sgd_mom")

    def _method(self) -> str:
        return self._METHODS[self.momentum != 0]

    def _shared(self) -> dict[str, float]:
        return {"momentum": self.momentum} if self.momentum else {}

    def create_state(self, index, weight: NDArray) -> Any:
        """The momentum, 0 at first; None without one."""
        return self._zeros(weight) if self.momentum else None


@register
class SGD(WithMomentum):
    """Stochastic gradient descent: weight += mom, where mom = momentum * mom - lr * (g + wd * weight).

    Robbins & Monro, 1951; Polyak, 1964.

    Parameters
    ----------
    momentum : float
        0 for none.
    lazy_update : bool
        Accepted for MXNet's sake: gradients are dense.
    **kwargs
        As for :class:`Optimizer`.

    Examples
    --------
    >>> import clgrad as mx
    >>> weight, grad = mx.nd.ones((2,)), mx.nd.ones((2,))
    >>> mx.optimizer.SGD(learning_rate=0.5).update(0, weight, grad, None)
    >>> weight.asnumpy()
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, momentum: float = 0.0, lazy_update: bool = True, **kwargs):
        super().__init__(momentum, **kwargs)
        self.lazy_update = lazy_update


@register
class ccSGD(SGD):  # noqa: N801
    """:class:`SGD`, under a name that MXNet once had for it."""


@register
class NAG(WithMomentum):
    """Nesterov's accelerated gradient: weight += momentum * mom - s.

    s = lr * (g + wd * weight), and mom = momentum * mom - s (Nesterov, 1983; Sutskever et al., 2013).

    Parameters
    ----------
    momentum : float
        0 for none, which is plain descent.
    **kwargs
        As for :class:`Optimizer`.
    """

    _METHODS = ("sgd", "nag")


@register
class Signum(WithMomentum):
    """(1 - lr * wd_lh) * weight + lr * sign(mom), of a momentum.

    mom = momentum * mom - (1 - momentum) * (g + wd * weight). Without a momentum,
    (1 - lr * wd) * weight - lr * sign(g). Bernstein, Wang, Azizzadenesheli & Anandkumar, signSGD,
    arXiv:1802.04434, 2018.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        0 for none.
    wd_lh : float
        Decay of Loshchilov & Hutter, apart from the gradient; only with a momentum.
    **kwargs
        As for :class:`Optimizer`.
    """

    _COPY_BEHIND = False
    _METHODS = ("signsgd", "signum")

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9, wd_lh: float = 0.0, **kwargs):
        super().__init__(momentum, learning_rate=learning_rate, **kwargs)
        self.wd_lh = wd_lh

    def _shared(self) -> dict[str, float]:
        return {"momentum": self.momentum, "wd_lh": self.wd_lh} if self.momentum else {}


@register
class DCASGD(Fused):
    """Descent with compensation for gradients of older weights, as asynchronous workers send them.

    weight += mom, where mom = momentum * mom - lr * (g + wd * weight + lamda * g^2 * (weight - previous)),
    previous being the weight before the last step (Zheng et al., arXiv:1609.08326, 2016).

    Parameters
    ----------
    momentum : float
        0 for none.
    lamda : float
        Strength of the compensation.
    **kwargs
        As for :class:`Optimizer`.
    """

    def __init__(self, momentum: float = 0.0, lamda: float = 0.04, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.lamda = momentum, lamda

    def _method(self) -> str:
        return "dcasgd_mom" if self.momentum else "dcasgd"

    def _shared(self) -> dict[str, float]:
        return {"lamda": self.lamda} | ({"momentum": self.momentum} if self.momentum else {})

    def create_state(self, index, weight: NDArray) -> Any:
        """The momentum, or None, and the weight before the last step."""
        return self._zeros(weight) if self.momentum else None, weight.copy()


@register
class SGLD(Fused):
    """Langevin dynamics: weight - lr / 2 * (g + wd * weight) + noise of the variance lr.

    Its steps sample from a posterior distribution (Welling & Teh, Bayesian learning via stochastic
    gradient Langevin dynamics, 2011).

    Parameters
    ----------
    **kwargs
        As for :class:`Optimizer`.
    """

    _STEPS_ALIKE = False  # noise differs from device to device

    def _method(self) -> str:
        return "sgld"

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        numbers = super()._of_each(indices)
        return numbers | {"scales": [math.sqrt(lr) for lr in numbers["lrs"]]}

    def _step(self, indices: Sequence, weights, grads, states, copied: bool) -> None:
        numbers = deferred.host(self._counted, indices)
        arrays = []
        for i, scale in enumerate(numbers.pop("scales")):
            own = self._parts(states[i], copied)
            kind = own[0] if own else weights[i]
            noise = nd.random.normal(0, scale, kind.shape, kind.dtype, kind.context)
            arrays.append([weights[i], grads[i], noise, *own])
        self._launch("sgld", weights, arrays, (), numbers, copied)


@register
class Test(Optimizer):
    """weight + rescale_grad * grad, of which the state is a copy: for tests of what drives optimizers."""

    __test__ = False  # nothing for pytest to collect

    def create_state(self, index, weight: NDArray) -> NDArray:
        """Zeros."""
        return nd.zeros(weight.shape, ctx=weight.context, dtype=weight.dtype)

    def update(self, index, weight, grad, state) -> None:
        """Step a parameter in place."""
        weight += grad * self.rescale_grad
        state[:] = weight
