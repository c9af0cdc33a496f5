"""Steps of one parameter by adaptive methods, whose step of an element follows its past gradients.

States and arguments are as in :mod:`clgrad.ops.sgd`.
"""

import math

from clgrad import tape
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, reduce
from clgrad.ops.arguments import ones_behind
from clgrad.ops.creation import full
from clgrad.ops.selection import select
from clgrad.ops.sgd import limited
from clgrad.ops.unary import abs, sign, sqrt
from clgrad.registry import Call, Spec, composite, elementwise, operator, update
from clgrad.registry.arrays import checked_out


def adam_moments(grad, mean, var, beta1, beta2):
    """The new means of the gradient and of its square."""
    return beta1 * mean + (1 - beta1) * grad, beta2 * var + (1 - beta2) * grad * grad


@update(states=("mean", "var"))
def adam_update(
    weight,
    grad,
    mean,
    var,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    lazy_update: float = True,
):
    """weight - lr * mean / (sqrt(var) + epsilon), of moments that change in place (Kingma & Ba, 2015).

    The decay is part of the gradient, and limited with it. The bias of the moments is left to lr.
    """
    step = limited(rescale_grad * grad + wd * weight, clip_gradient)
    mean, var = adam_moments(step, mean, var, beta1, beta2)
    return weight - lr * mean / (sqrt(var) + epsilon), mean, var


@update(states=("n",))
def rmsprop_update(
    weight,
    grad,
    n,
    lr: float,
    gamma1: float = 0.95,
    epsilon: float = 1e-8,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    clip_weights: float = -1.0,
):
    """weight - lr * g / sqrt(n + epsilon), where n = gamma1 * n + (1 - gamma1) * g^2 in place.

    The decay is part of g, and limited with it (Tieleman & Hinton, 2012).
    """
    step = limited(rescale_grad * grad + wd * weight, clip_gradient)
    n = gamma1 * n + (1 - gamma1) * step * step
    return limited(weight - lr * step / sqrt(n + epsilon), clip_weights), n


@update(states=("n", "g", "delta"))
def rmspropalex_update(
    weight,
    grad,
    n,
    g,
    delta,
    lr: float,
    gamma1: float = 0.95,
    gamma2: float = 0.9,
    epsilon: float = 1e-8,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
    clip_weights: float = -1.0,
):
    """weight + delta, where delta = gamma2 * delta - lr * s / sqrt(n - g^2 + epsilon) in place.

    s is the gradient with the decay, n and g are the running means of s^2 and s (Graves, 2013).
    """
    step = limited(rescale_grad * grad + wd * weight, clip_gradient)
    n = gamma1 * n + (1 - gamma1) * step * step
    g = gamma1 * g + (1 - gamma1) * step
    delta = gamma2 * delta - lr * step / sqrt(n - g * g + epsilon)
    return limited(weight + delta, clip_weights), n, g, delta


@update(states=("z", "n"))
def ftrl_update(
    weight,
    grad,
    z,
    n,
    lr: float,
    lamda1: float = 0.01,
    beta: float = 1.0,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
):
    """(sign(z) * lamda1 - z) / ((beta + sqrt(n)) / lr + wd) where |z| > lamda1, else 0.

    z += g - (sqrt(n + g^2) - sqrt(n)) * weight / lr and n += g^2, both in place (McMahan et al., 2013).
    """
    step = limited(rescale_grad * grad, clip_gradient)
    grown = n + step * step
    z = z + step - (sqrt(grown) - sqrt(n)) * weight / lr
    new = (sign(z) * lamda1 - z) / ((beta + sqrt(grown)) / lr + wd)
    return select(abs(z) > lamda1, new, 0), z, grown


@update(name="_ftml_update", states=("d", "v", "z"))
def _ftml_update(
    weight,
    grad,
    d,
    v,
    z,
    beta1: float,
    beta2: float,
    epsilon: float,
    lr: float,
    first: float,
    second: float,
    wd: float,
    rescale_grad: float,
    clip_grad: float,
):
    """-z / d, where d = first / lr * (sqrt(v / second) + epsilon); here, since lr may be 0."""
    step = limited(rescale_grad * grad + wd * weight, clip_grad)
    v = beta2 * v + (1 - beta2) * step * step
    new = first / lr * (sqrt(v / second) + epsilon)
    z = beta1 * z + (1 - beta1) * step - (new - beta1 * d) * weight
    return -z / new, new, v, z


@composite()
def ftml_update(
    weight,
    grad,
    d,
    v,
    z,
    lr,
    beta1=0.6,
    beta2=0.999,
    epsilon=1e-8,
    t=None,
    wd=0.0,
    rescale_grad=1.0,
    clip_grad=-1.0,
    out=None,
):
    """-z / d, of states that change in place: follow the moving leader (Zheng & Kwok, 2017).

    v = beta2 * v + (1 - beta2) * g^2, d' = (1 - beta1^t) / lr * (sqrt(v / (1 - beta2^t)) + epsilon),
    z = beta1 * z + (1 - beta1) * g - (d' - beta1 * d) * weight, d = d'. ``t`` counts the steps from 1.
    """
    bias = (moment_bias("ftml_update", beta, t) for beta in (beta1, beta2))
    numbers = (beta1, beta2, epsilon, lr, *bias, wd, rescale_grad, clip_grad)
    return _ftml_update(weight, grad, d, v, z, *numbers, out=out)


def moment_bias(op: str, beta: float, t: int | None) -> float:
    """1 - beta^t, what a running mean lacks after t steps from 0."""
    if not 0 <= beta <= 1:
        raise argument_error(op, "beta1, beta2", beta, "0 to 1")
    if t is None or t < 1:
        raise argument_error(op, "t", t, "a whole number above 0")
    return 1 - beta**t


def adamw(weight, grad, mean, var, rescale_grad, lr, eta, beta1, beta2, epsilon, wd, clip_gradient):
    """The new weight and moments; the old ones where rescale_grad is 0, infinite or NaN."""
    step = limited(rescale_grad * grad, clip_gradient)
    new_mean, new_var = adam_moments(step, mean, var, beta1, beta2)
    new = weight - eta * (lr * new_mean / (sqrt(new_var) + epsilon) + wd * weight)
    sound = (abs(rescale_grad) < math.inf) * (rescale_grad != 0)
    return select(sound, new, weight), select(sound, new_mean, mean), select(sound, new_var, var)


@update(name="_adamw_update", states=("mean", "var"), label="contrib.adamw_update")
def _adamw_update(
    weight,
    grad,
    mean,
    var,
    rescale_grad,
    lr: float,
    eta: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    wd: float,
    clip_gradient: float,
):
    """Of one parameter."""
    numbers = (lr, eta, beta1, beta2, epsilon, wd, clip_gradient)
    return adamw(weight, grad, mean, var, rescale_grad, *numbers)


@update(name="_mp_adamw_update", states=("mean", "var", "weight32"), label="contrib.mp_adamw_update")
def _mp_adamw_update(
    weight,
    grad,
    mean,
    var,
    weight32,
    rescale_grad,
    lr: float,
    eta: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    wd: float,
    clip_gradient: float,
):
    """Of one parameter, by a copy of it."""
    numbers = (lr, eta, beta1, beta2, epsilon, wd, clip_gradient)
    new, mean, var = adamw(weight32, grad, mean, var, rescale_grad, *numbers)
    return new, mean, var, new


def as_scale(rescale_grad, weight):
    """A factor, given as a number or as an array of one, as an array on the weight's device."""
    if hasattr(rescale_grad, "as_in_context"):
        return rescale_grad.detach().as_in_context(weight.context).reshape((1,))
    return full((1,), rescale_grad, ctx=weight.context)


@composite(name="contrib.adamw_update")
def adamw_update(
    weight,
    grad,
    mean,
    var,
    rescale_grad: float | NDArray,
    lr,
    eta,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    wd=0.0,
    clip_gradient=-1.0,
    out=None,
):
    """weight - eta * (lr * mean / (sqrt(var) + epsilon) + wd * weight) (Loshchilov & Hutter, 2019).

    The moments change in place. ``rescale_grad`` is a number or an array of one; where it is 0, infinite
    or NaN, as when a loss scale overflowed, nothing changes.
    """
    arrays = (weight, grad, mean, var, as_scale(rescale_grad, weight))
    return _adamw_update(*arrays, lr, eta, beta1, beta2, epsilon, wd, clip_gradient, out=out)


@composite(name="contrib.mp_adamw_update")
def mp_adamw_update(
    weight,
    grad,
    mean,
    var,
    weight32,
    rescale_grad: float | NDArray,
    lr,
    eta,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    wd=0.0,
    clip_gradient=-1.0,
    out=None,
):
    """contrib.adamw_update of weight32, in place; returned in the weight's dtype."""
    arrays = (weight, grad, mean, var, weight32, as_scale(rescale_grad, weight))
    return _mp_adamw_update(*arrays, lr, eta, beta1, beta2, epsilon, wd, clip_gradient, out=out)


@operator(name="_row_squares", numbers=("rescale_grad", "clip_gradient"))
def _row_squares(call: Call, grad: Spec, *, shape, rescale_grad, clip_gradient):
    """The mean of g^2 of each row, g the rescaled and limited gradient."""
    rows, dtype = grad.shape, grad.dtype
    count = max(1, math.prod(rows[1:]))
    step = limited(expr.scalar(0, dtype) * expr.operand(0, dtype), expr.scalar(1, dtype))
    mean = reduce.Reduction(step * step, "sum", dtype, lambda total: total / count)
    axes, own = range(1, len(rows)), layout.broadcast(rows, rows, dtype)
    name, numbers = call.kernel(dtype), [dtype, dtype]
    return reduce.plan(call.device, name, rows, axes, [mean], [own], numbers, out_shape=shape)


@elementwise(name="_group_adagrad")
def _group_adagrad(
    weight, grad, history, lr: float, rescale_grad: float, clip_gradient: float, epsilon: float
):
    """weight - lr * g / sqrt(history + epsilon)."""
    step = limited(rescale_grad * grad, clip_gradient)
    return weight - lr * step / sqrt(history + epsilon)


@composite(name="contrib.group_adagrad_update")
def group_adagrad_update(
    weight, grad, history, lr, rescale_grad=1.0, clip_gradient=-1.0, epsilon=1e-5, out=None
):
    """weight - lr * g / sqrt(history + epsilon), where history += the mean of g^2 over each row, in place.

    ``history`` has one number for each row of the weight: shape (rows,) or (rows, 1, ...).
    """
    op, rows = "contrib.group_adagrad_update", weight.shape[:1]
    kept = ones_behind(rows, weight.ndim)
    if weight.ndim < 2 or history.shape not in (rows, kept):
        raise argument_error(
            op, "history", f"of shape {history.shape}", f"{rows} for a weight {weight.shape}"
        )
    layout = weight._view.layout
    if grad._view.layout != layout:
        given = f"{grad._view.dtype} {grad.shape}"
        raise argument_error(op, "grad", given, f"{layout.dtype} {layout.shape}, as the weight")
    if out is not None:  # before history changes
        checked_out(op, out, [layout], weight.context.device)
    recording = tape.set_recording(False)
    try:
        squares = _row_squares(
            grad, shape=history.shape, rescale_grad=rescale_grad, clip_gradient=clip_gradient
        )
        history += squares
        numbers = (lr, rescale_grad, clip_gradient, epsilon)
        return _group_adagrad(weight, grad, history.reshape(kept), *numbers, out=out)
    finally:
        tape.set_recording(recording)
