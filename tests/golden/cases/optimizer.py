"""Steps of parameters: the new weight, and the states that change in place."""

import numpy as np

from golden.case import REAL, Case, uniform, values

CASES = []
SHAPE = (2, 3)
W32 = uniform(*SHAPE).as_dtype("float32")
MP = ("float16", "float32")


def state(*shape):
    """Numbers above 0, as running means of squares are."""
    return uniform(*(shape or SHAPE), low=0.25, high=2.0)


def add(op, states, attributes, tag="main", sweep=True, dtypes=REAL, **options):
    args = (uniform(*SHAPE), uniform(*SHAPE), *states)
    CASES.append(Case(op, args, attributes, tag, sweep, dtypes, orders=0, **options))


def both(op, states, attributes, **options):
    """A plain step in every dtype, and one with decay, factor and limit."""
    add(op, states, attributes, **options)
    more = {"wd": 0.125, "rescale_grad": 0.5, "clip_gradient": 0.25}
    add(op, states, attributes | more, "decay, factor, limit", sweep=False)
    add(op, states, attributes | {"wd": 0.5, "clip_gradient": 0.0}, "limit 0", sweep=False)


LR = {"lr": 0.125}
MOMENTUM = LR | {"momentum": 0.75}
both("sgd_update", (), LR)
both("sgd_mom_update", (uniform(*SHAPE),), MOMENTUM)
both("mp_sgd_update", (W32,), LR, dtypes=MP)
single = uniform(*SHAPE).as_dtype("float32")
both("mp_sgd_mom_update", (single, W32), MOMENTUM, dtypes=MP)
both("nag_mom_update", (uniform(*SHAPE),), MOMENTUM)
# With a decay, MXNet's mp_nag_mom_update leaves another momentum than its nag_mom_update does.
add("mp_nag_mom_update", (single, W32), MOMENTUM, dtypes=MP)
both("signsgd_update", (), LR)
both("signum_update", (uniform(*SHAPE),), MOMENTUM)
add("signum_update", (uniform(*SHAPE),), MOMENTUM | {"wd_lh": 0.25}, "wd_lh", sweep=False)
# Numbers that float32 holds exactly: MXNet's attributes are float32 in any dtype.
BETAS = {"beta1": 0.875, "beta2": 0.984375, "epsilon": 2.0**-10}
both("adam_update", (uniform(*SHAPE), state()), LR | BETAS)
add("adam_update", (uniform(*SHAPE), state()), LR, "defaults", sweep=False)
RMS = LR | {"gamma1": 0.875, "epsilon": 2.0**-10}
both("rmsprop_update", (state(),), RMS)
add("rmsprop_update", (state(),), RMS | {"clip_weights": 0.5}, "clip_weights", sweep=False)
add("rmsprop_update", (state(),), LR, "defaults", sweep=False)
alex = (uniform(*SHAPE, low=2.0, high=3.0), uniform(*SHAPE, low=-0.5, high=0.5), uniform(*SHAPE))
both("rmspropalex_update", alex, RMS | {"gamma2": 0.75})
add("rmspropalex_update", alex, RMS | {"clip_weights": 0.5}, "clip_weights", sweep=False)
add("rmspropalex_update", alex, LR, "defaults", sweep=False)
ftrl = (uniform(*SHAPE), state())
both("ftrl_update", ftrl, LR | {"lamda1": 0.25, "beta": 0.5})
add("ftrl_update", ftrl, LR, "defaults", sweep=False)
ftml = (state(), state(), uniform(*SHAPE))
FTML = LR | {"t": 3, "beta1": 0.625, "beta2": 0.984375, "epsilon": 2.0**-10}
add("ftml_update", ftml, FTML)
more = {"wd": 0.125, "rescale_grad": 0.5, "clip_grad": 0.25}
add("ftml_update", ftml, FTML | more, "decay, factor, limit", sweep=False)
add("ftml_update", ftml, LR | {"t": 1}, "defaults", sweep=False)

moments = (uniform(*SHAPE), state())
phase1 = BETAS | {"t": 2, "wd": 0.25}
for correct in (True, False):
    lamb = phase1 | {"bias_correction": correct}
    add("lamb_update_phase1", moments, lamb, f"{correct}", sweep=correct, rtol=1e-4)
limits = phase1 | {"rescale_grad": 0.5, "clip_gradient": 0.25}
add("lamb_update_phase1", moments, limits, "factor, limit", sweep=False)
wide = (uniform(*SHAPE).as_dtype("float32"), state().as_dtype("float32"), W32)
add("mp_lamb_update_phase1", wide, phase1, dtypes=MP, rtol=1e-4)
for tag, norms, bounds in (
    ("main", (2.0, 4.0), {}),
    ("no weight", (0.0, 4.0), {}),
    ("no direction", (2.0, 0.0), {}),
    ("lower", (2.0, 4.0), {"lower_bound": 3.0}),
    ("upper", (2.0, 4.0), {"upper_bound": 1.5}),
    ("bounds", (2.0, 4.0), {"lower_bound": 3.0, "upper_bound": 2.5}),
):
    r = tuple(values([n]) for n in norms)
    add("lamb_update_phase2", r, LR | bounds, tag, sweep=tag == "main")
    r = tuple(values([n]).as_dtype("float32") for n in norms)
    args = (uniform(*SHAPE), uniform(*SHAPE).as_dtype("float32"), *r, W32)
    CASES.append(Case("mp_lamb_update_phase2", args, LR | bounds, tag, tag == "main", MP, orders=0))


def adamw(
    weight, grad, mean, var, *rest, lr, eta, beta1, beta2, epsilon, wd, rescale_grad, clip_gradient=-1
):
    rescale, weight32 = np.float32(rescale_grad), rest[0] if rest else weight
    if rescale == 0 or not np.isfinite(rescale):
        return weight32.astype(weight.dtype)
    step = rescale * grad.astype("float32")
    step = np.clip(step, -clip_gradient, clip_gradient) if clip_gradient >= 0 else step
    mean, var = beta1 * mean + (1 - beta1) * step, beta2 * var + (1 - beta2) * step**2
    return (weight32 - eta * (lr * mean / (np.sqrt(var) + epsilon) + wd * weight32)).astype(weight.dtype)


why = "MXNet writes to the gradient, and nothing to out where the step is skipped"
right = {"reference": adamw, "why": why}
ADAMW = LR | BETAS | {"eta": 0.5, "wd": 0.25}
for rescale in (1.0, 0.5, 0.0, np.inf, np.nan):
    scale = {"rescale_grad": values([rescale]).as_dtype("float32"), "clip_gradient": 0.75}
    plain = ("float32",)
    add("contrib.adamw_update", moments, ADAMW | scale, f"{rescale}", rescale == 1, plain, **right)
    add("contrib.mp_adamw_update", wide, ADAMW | scale, f"{rescale}", rescale == 1, MP, **right)
add("contrib.adamw_update", moments, ADAMW | {"rescale_grad": 0.5}, "a number", False, **right)

# Many parameters. MXNet wants out.
SHAPES = ((2, 3), (5,), (1, 1))
RATES = {"lrs": (0.125, 0.25, 0.5), "wds": (0.0, 0.25, 0.125), "num_weights": 3}


def many(op, kinds, attributes, tag="main", dtypes=REAL, tail=(), **options):
    """Arrays of each parameter: weights and gradients in the case's dtype, then ``kinds``."""
    args = []
    for shape in SHAPES:
        args += [uniform(*shape), uniform(*shape), *(k(*shape) for k in kinds)]
    out = {"out": [uniform(*shape) for shape in SHAPES]}
    CASES.append(Case(op, (*args, *tail), attributes | out, tag, True, dtypes, orders=0, **options))


def float32(*shape):
    return uniform(*shape).as_dtype("float32")


def mp_sgd(*data, num_weights, rescale_grad, clip_gradient, out, lrs=None, wds=None, momentum=None):
    """Weight, gradient, perhaps momentum, and the weight in float32, of each."""
    if lrs is None:
        *data, lrs, wds = data
    size, results = 3 if momentum is None else 4, []
    for i in range(num_weights):
        weight, grad, *mom, weight32 = data[size * i : size * (i + 1)]
        step = np.clip(rescale_grad * grad.astype("float32"), -clip_gradient, clip_gradient)
        step = lrs[i] * (step + wds[i] * weight32)
        step = step if momentum is None else step - momentum * mom[0]
        results.append((weight32 - step).astype(weight.dtype))
    return results


scaled = {"rescale_grad": 0.5, "clip_gradient": 0.5}
single_rates = (values(RATES["lrs"]).as_dtype("float32"), values(RATES["wds"]).as_dtype("float32"))
for prefix, attributes, tail in (
    ("multi_", RATES, ()),
    ("preloaded_multi_", {"num_weights": 3}, single_rates),
):
    attributes = attributes | scaled
    plain = ("float32",) if tail else REAL
    many(f"{prefix}sgd_update", (), attributes, tail=tail, dtypes=plain)
    momentum = attributes | {"momentum": 0.75}
    many(f"{prefix}sgd_mom_update", (uniform,), momentum, tail=tail, dtypes=plain)
    right = {"reference": mp_sgd, "why": "MXNet mixes up its arrays where all are float32"}
    many(f"{prefix}mp_sgd_update", (float32,), attributes, tail=tail, dtypes=MP, **right)
    many(f"{prefix}mp_sgd_mom_update", (float32, float32), momentum, tail=tail, dtypes=MP, **right)

arrays = tuple(uniform(*shape) for shape in SHAPES)
CASES.append(Case("multi_sum_sq", arrays, {"num_arrays": 3}, "main", True, MP, orders=0))
vectors = (state(4), state(4), state(4), uniform(4, low=0, high=0.5))
lars = {"eta": 0.125, "eps": 2.0**-10}
CASES += [
    Case("multi_lars", vectors, lars, "main", True, ("float32",), orders=0),
    Case("multi_lars", vectors, lars | {"rescale_grad": 0.5}, "factor", orders=0),
    Case("multi_lars", (state(3), values([0, 1, 4]), values([1, 0, 9]), state(3)), lars, "none", orders=0),
]


def lists(op, kinds, attributes, kind=uniform, **options):
    args = tuple([k(*shape) for shape in SHAPES] for k in (kind, kind, *kinds))
    out = {"out": [kind(*shape) for shape in SHAPES]}
    CASES.append(Case(op, args, attributes | out, "main", orders=0, **options))


def float16(*shape):
    return uniform(*shape).as_dtype("float16")


adamw = BETAS | {"lrs": RATES["lrs"], "wds": RATES["wds"], "etas": (1.0, 0.5, 0.25), "rescale_grad": 0.5}
state32 = lambda *shape: state(*shape).as_dtype("float32")  # noqa: E731
lists("contrib.multi_adamw_update", (uniform, state), adamw)
mp = (float32, state32, float32)
lists("contrib.multi_mp_adamw_update", mp, adamw, float16, rtol=1e-3)
lamb = BETAS | {"lrs": RATES["lrs"], "wds": RATES["wds"], "step_count": (1, 2, 3), "rescale_grad": 0.5}
lists("contrib.multi_lamb_update", (uniform, state), lamb, rtol=1e-4)
lists("contrib.multi_mp_lamb_update", mp, lamb, float16, rtol=1e-3)


def group_adagrad(weight, grad, history, lr, epsilon):
    return weight - lr * grad / np.sqrt(history + np.mean(grad**2, 1, keepdims=True) + epsilon)


why = "MXNet has it for sparse gradients only"
rows = LR | {"epsilon": 2.0**-10}
add(
    "contrib.group_adagrad_update",
    (state(2, 1),),
    rows,
    sweep=False,
    reference=group_adagrad,
    why=why,
)
