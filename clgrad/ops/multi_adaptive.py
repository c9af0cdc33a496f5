"""Steps of many parameters at once by the optimizers for which MXNet has an op of one parameter, or none.

Each is a formula of one parameter, from which two ops are made: ``_multi_X_update``, and
``_multi_mp_X_update``, which steps a copy of the weight in float32 (the last array of each parameter) and
rounds it to the weight. Learning rates, weight decays and what else differs between parameters are
numbers of the launch.
"""

import inspect
from collections.abc import Callable, Sequence

from clgrad.ops.adaptive import adam_update, ftrl_update, rmsprop_update, rmspropalex_update
from clgrad.ops.arithmetic import maximum
from clgrad.ops.multi_optimizer import multi_lars
from clgrad.ops.sgd import limited, nag, sgd, sgd_momentum, signsgd_update, signum_update
from clgrad.ops.unary import abs, sqrt
from clgrad.registry import MultiUpdate


def _nag(
    weight, grad, mom, lr: float, wd: float, momentum: float, rescale_grad: float, clip_gradient: float
):
    """nag_mom_update of many parameters."""
    return nag(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


def _moments(step, mean, var, beta1, beta2, rest1, rest2):
    """The new means. What 1 - beta is comes from the host: of 0.999, float32 has it to five digits only."""
    return beta1 * mean + rest1 * step, beta2 * var + rest2 * step * step


def _decoupled_adam(
    weight,
    grad,
    mean,
    var,
    lr: float,
    wd: float,
    beta1: float,
    beta2: float,
    rest1: float,
    rest2: float,
    epsilon: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """weight - lr * mean / (sqrt(var) + epsilon) - wd * weight, of moments without the decay."""
    step = limited(rescale_grad * grad, clip_gradient)
    mean, var = _moments(step, mean, var, beta1, beta2, rest1, rest2)
    return weight - lr * mean / (sqrt(var) + epsilon) - wd * weight, mean, var


def _adamax(
    weight,
    grad,
    mean,
    var,
    lr: float,
    wd: float,
    beta1: float,
    beta2: float,
    rest1: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """weight - lr * mean / var, where var = max(beta2 * var, |g|)."""
    step = limited(rescale_grad * grad + wd * weight, clip_gradient)
    mean, var = beta1 * mean + rest1 * step, maximum(beta2 * var, abs(step))
    return weight - lr * mean / var, mean, var


def _nadam(
    weight,
    grad,
    mean,
    var,
    lr: float,
    wd: float,
    of_grad: float,
    of_mean: float,
    of_var: float,
    beta1: float,
    beta2: float,
    rest1: float,
    rest2: float,
    epsilon: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """weight - lr * (of_grad * g + of_mean * mean) / (sqrt(var / of_var) + epsilon)."""
    step = limited(rescale_grad * grad + wd * weight, clip_gradient)
    mean, var = _moments(step, mean, var, beta1, beta2, rest1, rest2)
    return weight - lr * (of_grad * step + of_mean * mean) / (sqrt(var / of_var) + epsilon), mean, var


def _adagrad(
    weight, grad, history, lr: float, wd: float, epsilon: float, rescale_grad: float, clip_gradient: float
):
    """weight - lr * (g / sqrt(history + epsilon) + wd * weight), where history += g^2."""
    step = limited(rescale_grad * grad, clip_gradient)
    history = history + step * step
    return weight - lr * (step / sqrt(history + epsilon) + wd * weight), history


def _adadelta(
    weight,
    grad,
    squares,
    deltas,
    wd: float,
    rho: float,
    rest: float,
    epsilon: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """weight - d - wd * weight, where d = sqrt(deltas + epsilon) / sqrt(squares + epsilon) * g.

    squares and deltas are the running means of g^2, this step's included, and of d^2.
    """
    step = limited(rescale_grad * grad, clip_gradient)
    squares = rho * squares + rest * step * step
    delta = sqrt(deltas + epsilon) / sqrt(squares + epsilon) * step
    return weight - delta - wd * weight, squares, rho * deltas + rest * delta * delta


def _ftml(
    weight,
    grad,
    d,
    v,
    z,
    lr: float,
    wd: float,
    first: float,
    second: float,
    beta1: float,
    beta2: float,
    rest1: float,
    rest2: float,
    epsilon: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """ftml_update of many parameters."""
    step = limited(rescale_grad * grad + wd * weight, clip_gradient)
    v = beta2 * v + rest2 * step * step
    new = first / lr * (sqrt(v / second) + epsilon)
    z = beta1 * z + rest1 * step - (new - beta1 * d) * weight
    return -z / new, new, v, z


def _dcasgd(
    weight, grad, previous, lr: float, wd: float, lamda: float, rescale_grad: float, clip_gradient: float
):
    """weight - lr * (g + wd * weight + lamda * g^2 * (weight - previous))."""
    step = limited(rescale_grad * grad, clip_gradient)
    return weight - lr * (step + wd * weight + lamda * step * step * (weight - previous)), weight


def _dcasgd_mom(
    weight,
    grad,
    mom,
    previous,
    lr: float,
    wd: float,
    momentum: float,
    lamda: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """weight + mom, where mom = momentum * mom - the step of _dcasgd."""
    step = limited(rescale_grad * grad, clip_gradient)
    mom = momentum * mom - lr * (step + wd * weight + lamda * step * step * (weight - previous))
    return weight + mom, mom, weight


def _sgld(weight, grad, noise, lr: float, wd: float, rescale_grad: float, clip_gradient: float):
    """weight - lr / 2 * (g + wd * weight) + noise."""
    return (weight - lr / 2 * (limited(rescale_grad * grad, clip_gradient) + wd * weight) + noise,)


def _lars(
    weight,
    grad,
    weights_sum_sq: float,
    grads_sum_sq: float,
    lr: float,
    wd: float,
    eta: float,
    eps: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """sgd_update of many parameters with the rates of multi_lars."""
    lr = multi_lars(lr, weights_sum_sq, grads_sum_sq, wd, eta, eps, rescale_grad)
    return (sgd(weight, grad, lr, wd, rescale_grad, clip_gradient),)


def _lars_mom(
    weight,
    grad,
    mom,
    weights_sum_sq: float,
    grads_sum_sq: float,
    lr: float,
    wd: float,
    momentum: float,
    eta: float,
    eps: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """sgd_mom_update of many parameters with the rates of multi_lars."""
    lr = multi_lars(lr, weights_sum_sq, grads_sum_sq, wd, eta, eps, rescale_grad)
    return sgd_momentum(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


def mixed(formula: Callable, states: Sequence[str]) -> Callable:
    """The same formula of a copy of the weight, ``weight32``, which comes behind the other arrays."""
    given = list(inspect.signature(formula).parameters.values())
    numbers = [p for p in given if p.annotation is float]
    arrays = [p for p in given if p.annotation is not float]
    copy = inspect.Parameter("weight32", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def step(weight, weight32, **rest):
        new, *others = formula(weight=weight32, **rest)
        return new, *others, new

    step.__signature__ = inspect.Signature([*arrays, copy, *numbers])  # type: ignore[attr-defined]
    step.__doc__ = f"{formula.__doc__} Of copies of the weights."
    return step


#: What an op's parameter is called where it has a number for each weight.
_EACH = {"lr": "lrs", "wd": "wds", "first": "firsts", "second": "seconds"}
_EACH |= {"of_grad": "of_grads", "of_mean": "of_means", "of_var": "of_vars"}


def _declare(
    name: str, formula: Callable, states: Sequence[str] = (), preloaded: Sequence[str] = ()
) -> None:
    """Make both ops."""
    each = {n: a for n, a in _EACH.items() if n in inspect.signature(formula).parameters}
    MultiUpdate(formula, f"_multi_{name}_update", states, each=each, preloaded=preloaded)
    copied = mixed(formula, states)
    MultiUpdate(copied, f"_multi_mp_{name}_update", (*states, "weight32"), each=each, preloaded=preloaded)


_declare("nag", _nag, ("mom",))
_declare("signsgd", signsgd_update.function)
_declare("signum", signum_update.function, ("mom",))
_declare("adam", adam_update.function, ("mean", "var"))
_declare("decoupled_adam", _decoupled_adam, ("mean", "var"))
_declare("adamax", _adamax, ("mean", "var"))
_declare("nadam", _nadam, ("mean", "var"))
_declare("adagrad", _adagrad, ("history",))
_declare("adadelta", _adadelta, ("squares", "deltas"))
_declare("rmsprop", rmsprop_update.function, ("n",))
_declare("rmspropalex", rmspropalex_update.function, ("n", "g", "delta"))
_declare("ftrl", ftrl_update.function, ("z", "n"))
_declare("ftml", _ftml, ("d", "v", "z"))
_declare("dcasgd", _dcasgd, ("previous",))
_declare("dcasgd_mom", _dcasgd_mom, ("mom", "previous"))
_declare("sgld", _sgld)
_SUMS = ("weights_sum_sq", "grads_sum_sq")
_declare("lars", _lars, (), _SUMS)
_declare("lars_mom", _lars_mom, ("mom",), _SUMS)
