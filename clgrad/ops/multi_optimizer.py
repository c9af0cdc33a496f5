"""Steps of many parameters at once, in as few launches as kernel arguments allow.

The arrays are those of the first parameter, then those of the second, ... States change in place; the new
weights are returned, or written to ``out``, a list. ``preloaded_`` ops take learning rates and weight
decays as arrays, behind the others.
"""

from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.ops.adaptive import adamw, as_scale
from clgrad.ops.group_sums import group_sums
from clgrad.ops.lamb import lamb_bias, lamb_direction, lamb_rate
from clgrad.ops.selection import select
from clgrad.ops.sgd import sgd, sgd_momentum
from clgrad.ops.unary import sqrt
from clgrad.registry import MultiUpdate, composite, elementwise


def _sgd(weight, grad, lr: float, wd: float, rescale_grad: float = 1.0, clip_gradient: float = -1.0):
    """sgd_update of many parameters."""
    return (sgd(weight, grad, lr, wd, rescale_grad, clip_gradient),)


def _sgd_mom(
    weight,
    grad,
    mom,
    lr: float,
    wd: float,
    momentum: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
):
    """sgd_mom_update of many parameters."""
    return sgd_momentum(weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


def _mp_sgd(
    weight, grad, weight32, lr: float, wd: float, rescale_grad: float = 1.0, clip_gradient: float = -1.0
):
    """mp_sgd_update of many parameters."""
    new = sgd(weight32, grad, lr, wd, rescale_grad, clip_gradient)
    return new, new


def _mp_sgd_mom(
    weight,
    grad,
    mom,
    weight32,
    lr: float,
    wd: float,
    momentum: float = 0.0,
    rescale_grad: float = 1.0,
    clip_gradient: float = -1.0,
):
    """mp_sgd_mom_update of many parameters."""
    new, mom = sgd_momentum(weight32, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)
    return new, mom, new


_RATES = {"lr": "lrs", "wd": "wds"}
for _method, _formula, _states in (
    ("sgd", _sgd, ()),
    ("sgd_mom", _sgd_mom, ("mom",)),
    ("mp_sgd", _mp_sgd, ("weight32",)),
    ("mp_sgd_mom", _mp_sgd_mom, ("mom", "weight32")),
):
    MultiUpdate(_formula, f"multi_{_method}_update", _states, each=_RATES)
    MultiUpdate(_formula, f"preloaded_multi_{_method}_update", _states, preloaded=_RATES)


def _zero(data):
    """Zeros."""
    return (0,)


_reset = MultiUpdate(_zero, "_reset_arrays", (), label="reset_arrays")
_reset.real = False


@composite()
def reset_arrays(*data, num_arrays=None):
    """Sets every array to 0, in place, and returns nothing: arrays of one dtype in one launch."""
    arrays = list(data[0]) if len(data) == 1 and isinstance(data[0], list | tuple) else list(data)
    if not arrays or num_arrays not in (None, len(arrays)):
        raise argument_error("reset_arrays", "num_arrays", num_arrays, f"{len(arrays)}, the arrays given")
    for dtype in dict.fromkeys(a._view.dtype for a in arrays):
        same = [a for a in arrays if a._view.dtype == dtype]
        _reset(*same, out=same)
    return []


# Norms


def _scaled(data, scale: float):
    """The array times a number that lies on the device."""
    return (data * scale,)


multi_scale = MultiUpdate(_scaled, "_multi_scale", (), single=("scale",))


@composite()
def multi_sum_sq(*data, num_arrays=None):
    """The sum of squares of each array, as a vector; float32 for the 16-bit dtypes."""
    return group_sums("multi_sum_sq", data, num_arrays, square=True)


@elementwise(domain=(0.5, 2), broadcasts=False)
def multi_lars(lrs, weights_sum_sq, grads_sum_sq, wds, eta: float, eps: float, rescale_grad: float = 1.0):
    """lr * eta * |w| / (|g| * rescale_grad + wd * |w| + eps), and lr where |w| or |g| is 0.

    Of vectors that have a number for each parameter: layer-wise adaptive rates (You et al., 2017).
    """
    weight, grad = sqrt(weights_sum_sq), rescale_grad * sqrt(grads_sum_sq)
    scaled = lrs * eta * weight / (grad + wds * weight + eps)
    return select((weights_sum_sq > 0) * (grads_sum_sq > 0), scaled, lrs)


# AdamW


def _adamw(
    weight,
    grad,
    mean,
    var,
    rescale_grad: float,
    lr: float,
    wd: float,
    eta: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    clip_gradient: float = -1.0,
):
    """contrib.adamw_update of many parameters."""
    numbers = (lr, eta, beta1, beta2, epsilon, wd, clip_gradient)
    return adamw(weight, grad, mean, var, rescale_grad, *numbers)


def _mp_adamw(
    weight,
    grad,
    mean,
    var,
    weight32,
    rescale_grad: float,
    lr: float,
    wd: float,
    eta: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    clip_gradient: float = -1.0,
):
    """contrib.mp_adamw_update of many parameters."""
    numbers = (lr, eta, beta1, beta2, epsilon, wd, clip_gradient)
    new, mean, var = adamw(weight32, grad, mean, var, rescale_grad, *numbers)
    return new, mean, var, new


_OF_EACH = {"lr": "lrs", "wd": "wds", "eta": "etas"}
_multi_adamw = MultiUpdate(
    _adamw, "_multi_adamw_update", ("mean", "var"), each=_OF_EACH, single=("rescale_grad",)
)
_multi_mp_adamw = MultiUpdate(
    _mp_adamw,
    "_multi_mp_adamw_update",
    ("mean", "var", "weight32"),
    each=_OF_EACH,
    single=("rescale_grad",),
)


def _interleaved(op: str, size: int, *lists) -> list[NDArray]:
    """The arrays of the first parameter, then those of the second, ..."""
    counts = {len(arrays) for arrays in lists}
    if len(counts) != 1 or (size and size not in counts) or not lists[0]:
        given = f"lists of {[len(arrays) for arrays in lists]} arrays"
        raise argument_error(op, "weights, grads, ...", given, f"lists of {size or len(lists[0])} each")
    return [a for row in zip(*lists, strict=True) for a in row]


@composite(name="contrib.multi_adamw_update")
def multi_adamw_update(
    weights,
    grads,
    mean: list,
    var: list,
    rescale_grad: float | NDArray,
    lrs,
    wds,
    etas,
    size=0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    clip_gradient=-1.0,
    out=None,
):
    """contrib.adamw_update of many parameters: lists of weights, gradients and moments."""
    arrays = _interleaved("contrib.multi_adamw_update", size, weights, grads, mean, var)
    numbers = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "clip_gradient": clip_gradient}
    scale = as_scale(rescale_grad, weights[0])
    return _multi_adamw(*arrays, scale, lrs=lrs, wds=wds, etas=etas, **numbers, out=out)


@composite(name="contrib.multi_mp_adamw_update")
def multi_mp_adamw_update(
    weights,
    grads,
    mean: list,
    var: list,
    weights32,
    rescale_grad: float | NDArray,
    lrs,
    wds,
    etas,
    size=0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    clip_gradient=-1.0,
    out=None,
):
    """contrib.mp_adamw_update of many parameters: lists of weights, gradients, moments and copies."""
    arrays = _interleaved("contrib.multi_mp_adamw_update", size, weights, grads, mean, var, weights32)
    numbers = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "clip_gradient": clip_gradient}
    scale = as_scale(rescale_grad, weights[0])
    return _multi_mp_adamw(*arrays, scale, lrs=lrs, wds=wds, etas=etas, **numbers, out=out)


# LAMB


def _lamb_direction(
    weight,
    grad,
    mean,
    var,
    wd: float,
    first: float,
    second: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    rescale_grad: float,
    clip_gradient: float,
):
    """The directions of the steps of many parameters."""
    numbers = (beta1, beta2, epsilon, wd, rescale_grad, clip_gradient, first, second)
    return lamb_direction(weight, grad, mean, var, *numbers)


def _lamb_step(weight, g, r1: float, r2: float, lr: float, lower_bound: float, upper_bound: float):
    """The steps of many parameters along their directions, by the squares of the norms."""
    return (weight - lamb_rate(lr, sqrt(r1), sqrt(r2), lower_bound, upper_bound) * g,)


def _mp_lamb_step(
    weight, g, weight32, r1: float, r2: float, lr: float, lower_bound: float, upper_bound: float
):
    """The same of copies of the weights."""
    new = weight32 - lamb_rate(lr, sqrt(r1), sqrt(r2), lower_bound, upper_bound) * g
    return new, new


_BIASES = {"wd": "wds", "first": "firsts", "second": "seconds"}
_lamb_phase1 = MultiUpdate(_lamb_direction, "_multi_lamb_phase1", ("mean", "var"), each=_BIASES)
_LR = {"each": {"lr": "lrs"}, "preloaded": ("r1", "r2")}
_lamb_phase2 = MultiUpdate(_lamb_step, "_multi_lamb_phase2", (), **_LR)
_mp_lamb_phase2 = MultiUpdate(_mp_lamb_step, "_multi_mp_lamb_phase2", ("weight32",), **_LR)


def _lamb(op: str, arrays, weights, step_count, lrs, wds, moments: dict, bounds: dict, out, copies=None):
    """Directions, norms, steps."""
    step_count = step_count if isinstance(step_count, tuple) else (step_count,)
    if len(step_count) != len(weights):
        raise argument_error(op, "step_count", step_count, f"{len(weights)} numbers")
    biases = [lamb_bias(op, moments["beta1"], moments["beta2"], t, moments["bias"]) for t in step_count]
    firsts, seconds = zip(*biases, strict=True)
    numbers = {k: v for k, v in moments.items() if k != "bias"}
    directions = _lamb_phase1(*arrays, wds=wds, firsts=firsts, seconds=seconds, **numbers)
    directions = directions if isinstance(directions, list) else [directions]
    norms = (multi_sum_sq(*weights), multi_sum_sq(*directions))
    lists = (weights, directions, copies) if copies else (weights, directions)
    phase2 = _mp_lamb_phase2 if copies else _lamb_phase2
    return phase2(*_interleaved(op, 0, *lists), *norms, lrs=lrs, **bounds, out=out)


@composite(name="contrib.multi_lamb_update")
def multi_lamb_update(
    weights,
    grads,
    mean: list,
    var: list,
    step_count,
    lrs,
    wds,
    num_tensors=0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    bias_correction=True,
    rescale_grad=1.0,
    clip_gradient=-1.0,
    lower_bound=-1.0,
    upper_bound=-1.0,
    out=None,
):
    """Both phases of LAMB (lamb_update_phase1 and 2) for many parameters."""
    op = "contrib.multi_lamb_update"
    moments = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "bias": bias_correction}
    moments |= {"rescale_grad": rescale_grad, "clip_gradient": clip_gradient}
    bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    arrays = _interleaved(op, num_tensors, weights, grads, mean, var)
    return _lamb(op, arrays, weights, step_count, lrs, wds, moments, bounds, out)


@composite(name="contrib.multi_mp_lamb_update")
def multi_mp_lamb_update(
    weights,
    grads,
    mean: list,
    var: list,
    weights32,
    step_count,
    lrs,
    wds,
    num_tensors=0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    bias_correction=True,
    rescale_grad=1.0,
    clip_gradient=-1.0,
    lower_bound=-1.0,
    upper_bound=-1.0,
    out=None,
):
    """contrib.multi_lamb_update of ``weights32``, in place; returned in the weights' dtype."""
    op = "contrib.multi_mp_lamb_update"
    moments = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "bias": bias_correction}
    moments |= {"rescale_grad": rescale_grad, "clip_gradient": clip_gradient}
    bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    arrays = _interleaved(op, num_tensors, weights32, grads, mean, var)
    return _lamb(op, arrays, weights, step_count, lrs, wds, moments, bounds, out, weights32)
