"""Parameter updates, each in one launch; with ``out=weight`` in place."""

from clgrad.ops.selection import select
from clgrad.ops.unary import clip
from clgrad.registry import composite, elementwise


@elementwise(name="_sgd_step")
def _sgd_step(weight, grad, lr: float, wd: float, rescale_grad: float, clip_gradient: float):
    """weight - lr * (clip(rescale_grad * grad) + wd * weight)."""
    step = rescale_grad * grad
    step = select(clip_gradient < 0, step, clip(step, -clip_gradient, clip_gradient))
    return weight - lr * (step + wd * weight)


@composite()
def sgd_update(weight, grad, lr, wd=0.0, rescale_grad=1.0, clip_gradient=-1.0, lazy_update=True, out=None):
    """Stochastic gradient descent: weight - lr * (clip(rescale_grad * grad) + wd * weight).

    ``clip_gradient`` limits each element of the rescaled gradient to [-c, c]; below 0, nothing.
    """
    return _sgd_step(weight, grad, lr, wd, rescale_grad, clip_gradient, out=out)
