"""LAMB: steps of one parameter in two phases, a direction and a length (You et al., 2020).

States and arguments are as in :mod:`clgrad.ops.sgd`.
"""

from clgrad.errors import argument_error
from clgrad.ops.adaptive import adam_moments, moment_bias
from clgrad.ops.selection import select
from clgrad.ops.sgd import limited
from clgrad.ops.unary import sqrt
from clgrad.registry import composite, update


def lamb_direction(weight, grad, mean, var, beta1, beta2, epsilon, wd, rescale_grad, clip_gradient, *bias):
    """The direction of the step, and the new moments, which ``bias`` divides on the way."""
    step = limited(rescale_grad * grad, clip_gradient)
    mean, var = adam_moments(step, mean, var, beta1, beta2)
    first, second = bias
    return mean / first / (sqrt(var / second) + epsilon) + wd * weight, mean, var


def lamb_bias(
    op: str, beta1: float, beta2: float, t: int | None, bias_correction: bool
) -> tuple[float, float]:
    """What the moments are divided by."""
    return (moment_bias(op, beta1, t), moment_bias(op, beta2, t)) if bias_correction else (1.0, 1.0)


@update(name="_lamb_phase1", states=("mean", "var"), label="lamb_update_phase1")
def _lamb_phase1(
    weight,
    grad,
    mean,
    var,
    beta1: float,
    beta2: float,
    epsilon: float,
    wd: float,
    rescale_grad: float,
    clip_gradient: float,
    first: float,
    second: float,
):
    """Of one parameter."""
    numbers = (beta1, beta2, epsilon, wd, rescale_grad, clip_gradient, first, second)
    return lamb_direction(weight, grad, mean, var, *numbers)


@composite()
def lamb_update_phase1(
    weight,
    grad,
    mean,
    var,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    t=None,
    bias_correction=True,
    wd=0.0,
    rescale_grad=1.0,
    clip_gradient=-1.0,
    out=None,
):
    """The direction m / (sqrt(v) + epsilon) + wd * weight of LAMB's step (You et al., 2020).

    The moments change in place; m and v are these, divided by 1 - beta^t with ``bias_correction``.
    """
    bias = lamb_bias("lamb_update_phase1", beta1, beta2, t, bias_correction)
    numbers = (beta1, beta2, epsilon, wd, rescale_grad, clip_gradient, *bias)
    return _lamb_phase1(weight, grad, mean, var, *numbers, out=out)


@composite()
def mp_lamb_update_phase1(
    weight,
    grad,
    mean,
    var,
    weight32,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    t=None,
    bias_correction=True,
    wd=0.0,
    rescale_grad=1.0,
    clip_gradient=-1.0,
    out=None,
):
    """lamb_update_phase1 of weight32; the direction is float32."""
    if weight.shape != weight32.shape:
        accepted = f"{weight32.shape}, as weight32"
        raise argument_error("mp_lamb_update_phase1", "weight", f"of shape {weight.shape}", accepted)
    bias = lamb_bias("mp_lamb_update_phase1", beta1, beta2, t, bias_correction)
    numbers = (beta1, beta2, epsilon, wd, rescale_grad, clip_gradient, *bias)
    return _lamb_phase1(weight32, grad, mean, var, *numbers, out=out)


def lamb_rate(lr, r1, r2, lower_bound, upper_bound):
    """lr * r1 / r2, r1 kept within its bounds where these are not below 0; lr where either is 0."""
    r1 = select((lower_bound >= 0) * (r1 < lower_bound), lower_bound, r1)
    r1 = select((upper_bound >= 0) * (r1 > upper_bound), upper_bound, r1)
    none = ((r1 == 0) + (r2 == 0)) > 0
    return select(none, lr, lr * r1 / select(none, 1, r2))


@update()
def lamb_update_phase2(weight, g, r1, r2, lr: float, lower_bound: float = -1.0, upper_bound: float = -1.0):
    """weight - lr * r1 / r2 * g: r1 and r2 are the norms of the weight and of the direction g."""
    return (weight - lamb_rate(lr, r1, r2, lower_bound, upper_bound) * g,)


@update(states=("weight32",))
def mp_lamb_update_phase2(
    weight, g, r1, r2, weight32, lr: float, lower_bound: float = -1.0, upper_bound: float = -1.0
):
    """lamb_update_phase2 of weight32, in place; returned in the weight's dtype."""
    new = weight32 - lamb_rate(lr, r1, r2, lower_bound, upper_bound) * g
    return new, new
