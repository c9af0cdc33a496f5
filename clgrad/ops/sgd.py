"""Steps of one parameter along its gradient, or along a running sum of it: SGD, Nesterov, signs.

Each is one launch; states change in place, the weight with ``out=weight``. The gradient is multiplied by
``rescale_grad`` first, and its elements are limited to [-clip_gradient, clip_gradient] where that is not
below 0; where the weight decay goes differs from method to method. ``mp_`` ops step ``weight32``, a copy
of the weight in float32, in place, and return it in the weight's dtype.
"""

from clgrad.ops.selection import select
from clgrad.ops.unary import clip, sign
from clgrad.registry import update


def limited(step, bound):
    """The step's elements limited to [-bound, bound], where the bound is not below 0."""
    return select(bound < 0, step, clip(step, -bound, bound))


def sgd(weight, grad, lr, wd, rescale_grad, clip_gradient):
    """The new weight."""
    return weight - lr * (limited(rescale_grad * grad, clip_gradient) + wd * weight)


def sgd_momentum(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient):
    """The new weight and momentum."""
    mom = momentum * mom - lr * (limited(rescale_grad * grad, clip_gradient) + wd * weight)
    return weight + mom, mom


def nag(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient):
    """The new weight and momentum."""
    step = lr * (limited(rescale_grad * grad, clip_gradient) + wd * weight)
    mom = momentum * mom - step
    return weight + momentum * mom - step, mom


@update()
def sgd_update(
    weight,
    grad,
    lr: float,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    lazy_update: float = True,
):
    """weight - lr * (g + wd * weight), g the rescaled and limited gradient."""
    return (sgd(weight, grad, lr, wd, rescale_grad, clip_gradient),)


@update(states=("mom",))
def sgd_mom_update(
    weight,
    grad,
    mom,
    lr: float,
    momentum: float = 0.0,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    lazy_update: float = True,
):
    """weight + mom, where mom = momentum * mom - lr * (g + wd * weight) in place (Polyak, 1964)."""
    return sgd_momentum(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


@update(states=("weight32",))
def mp_sgd_update(
    weight,
    grad,
    weight32,
    lr: float,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    lazy_update: float = True,
):
    """sgd_update of weight32, in place; returned in the weight's dtype."""
    new = sgd(weight32, grad, lr, wd, rescale_grad, clip_gradient)
    return new, new


@update(states=("mom", "weight32"))
def mp_sgd_mom_update(
    weight,
    grad,
    mom,
    weight32,
    lr: float,
    momentum: float = 0.0,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    lazy_update: float = True,
):
    """sgd_mom_update of weight32, in place; returned in the weight's dtype."""
    new, mom = sgd_momentum(weight32, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)
    return new, mom, new


@update(states=("mom",))
def nag_mom_update(
    weight,
    grad,
    mom,
    lr: float,
    momentum: float = 0.0,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
):
    """weight + momentum * mom - s, where s = lr * (g + wd * weight) and mom = momentum * mom - s in place.

    Nesterov's accelerated gradient (1983).
    """
    return nag(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


@update(states=("mom", "weight32"))
def mp_nag_mom_update(
    weight,
    grad,
    mom,
    weight32,
    lr: float,
    momentum: float = 0.0,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
):
    """nag_mom_update of weight32, in place; returned in the weight's dtype."""
    new, mom = nag(weight32, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)
    return new, mom, new


@update()
def signsgd_update(
    weight, grad, lr: float, wd: float = 0.0, rescale_grad: float = 1.0, clip_gradient: float = -1.0
):
    """(1 - lr * wd) * weight - lr * sign(g) (Bernstein et al., 2018); a limit does not change a sign."""
    return ((1 - lr * wd) * weight - lr * sign(rescale_grad * grad),)


@update(states=("mom",))
def signum_update(
    weight,
    grad,
    mom,
    lr: float,
    momentum: float = 0.0,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    wd_lh: float = 0.0,
):
    """(1 - lr * wd_lh) * weight + lr * sign(mom), of a momentum that changes in place.

    mom = momentum * mom - (1 - momentum) * (g + wd * weight) (Bernstein et al., 2018); ``wd_lh`` is the
    decay of Loshchilov & Hutter.
    """
    step = limited(rescale_grad * grad, clip_gradient) + wd * weight
    mom = momentum * mom - (1 - momentum) * step
    return (1 - lr * wd_lh) * weight + lr * sign(mom), mom
