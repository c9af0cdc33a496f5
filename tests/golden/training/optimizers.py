"""Twenty steps of three parameters by each optimizer: the weights after some of them."""

import numpy as np

SHAPES = [(5, 4), (7,), (3, 2, 2)]
NAMES = {0: "a_weight", 1: "b_bias", 2: "c_gamma"}
KEPT = (1, 2, 5, 20)
#: Decay, factor and limit; names, of which biases have no decay; factors of learning rates.
FULL = {"wd": 0.05, "rescale_grad": 0.5, "clip_gradient": 0.4, "param_idx2name": NAMES}
LARGE = {"learning_rate": 0.1}
MOMENTUM = LARGE | {"momentum": 0.9}
#: Class and arguments; each is run as it is, with FULL, and with copies of float16 weights.
METHODS = [
    ("SGD", LARGE),
    ("SGD", MOMENTUM),
    ("NAG", LARGE),
    ("NAG", MOMENTUM),
    ("Signum", {}),
    ("Signum", {"momentum": 0, "learning_rate": 0.02}),
    ("Signum", {"wd_lh": 0.1}),
    ("Adam", LARGE),
    ("Adamax", LARGE),
    ("Nadam", LARGE),
    ("AdaGrad", LARGE),
    ("AdaDelta", {"epsilon": 1e-3}),
    ("RMSProp", LARGE),
    ("RMSProp", {"learning_rate": 0.01, "centered": True, "clip_weights": 1.5}),
    ("Ftrl", LARGE | {"beta": 2.0}),
    ("FTML", LARGE),
    ("DCASGD", LARGE),
    ("LAMB", LARGE),
    ("LAMB", LARGE | {"bias_correction": False, "lower_bound": 0.5, "upper_bound": 2.0}),
    ("LARS", LARGE | {"eta": 0.1}),
    ("LARS", MOMENTUM | {"eta": 0.1, "eps": 1e-3}),
    ("LBSGD", MOMENTUM),
    ("LBSGD", LARGE | {"batch_scale": 4, "updates_per_epoch": 2, "warmup_strategy": "power2"}),
    ("LBSGD", LARGE | {"batch_scale": 2, "warmup_strategy": "lars"}),
    ("Test", {}),
]
VARIANTS = ("plain", "full", "scheduled", "mixed")


def arguments_of(mx, name: str, arguments: dict, variant: str) -> dict:
    """The arguments of a variant."""
    if variant == "full":
        return arguments | FULL
    if variant == "scheduled":
        rate = arguments.get("learning_rate", 0.05)
        schedule = mx.lr_scheduler.FactorScheduler(4, 0.5, base_lr=rate, warmup_steps=3)
        return arguments | {"lr_scheduler": schedule, "begin_num_update": 2}
    if variant == "mixed":
        decay = {} if name == "NAG" else {"wd": 0.05}  # MXNet's NAG keeps another momentum with a decay
        return arguments | {"multi_precision": True, "rescale_grad": 0.5} | decay
    return arguments


def trajectory(mx, name: str, arguments: dict, variant: str) -> np.ndarray:
    """The weights after the steps of KEPT, one behind the other."""
    optimizer = mx.optimizer.create(name, **arguments_of(mx, name, arguments, variant))
    if variant == "full":
        optimizer.set_lr_mult({"a_weight": 0.5, 2: 2.0})
        optimizer.set_wd_mult({"c_gamma": 0.25})
    update = mx.optimizer.get_updater(optimizer)
    dtype = "float16" if variant == "mixed" else "float32"
    draw = np.random.RandomState(7)
    weights = [mx.nd.array(draw.standard_normal(s), dtype=dtype) for s in SHAPES]
    found = []
    for step in range(1, KEPT[-1] + 1):
        grads = [mx.nd.array(draw.standard_normal(s) + 0.5, dtype=dtype) for s in SHAPES]
        update([0, 1, 2], grads, weights)
        if step in KEPT:
            found += [w.asnumpy().ravel() for w in weights]
    return np.concatenate(found)


def adamw(mx) -> np.ndarray:
    """AdamW, which MXNet 1.9.1 has as an op only: 20 steps of one weight, with limit and decay."""
    draw = np.random.RandomState(8)
    weight, numbers = mx.nd.array(draw.standard_normal((6, 5))), {"rescale_grad": 0.5, "clip_gradient": 0.4}
    grads = [mx.nd.array(draw.standard_normal((6, 5))) for _ in range(20)]
    if hasattr(mx.optimizer, "AdamW"):
        update = mx.optimizer.get_updater(mx.optimizer.AdamW(learning_rate=0.1, wd=0.05, **numbers))
        for grad in grads:
            update(0, grad, weight)
        return weight.asnumpy()
    mean, var = mx.nd.zeros((6, 5)), mx.nd.zeros((6, 5))
    scale = mx.nd.array([numbers.pop("rescale_grad")])
    for t, grad in enumerate(grads, 1):
        numbers |= {"lr": 0.1 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t), "wd": 0.1 * 0.05, "epsilon": 1e-6}
        mx.nd.contrib.adamw_update(weight, grad, mean, var, scale, eta=1.0, out=weight, **numbers)
    return weight.asnumpy()


def answers(mx) -> dict[str, np.ndarray]:
    found = {
        f"{i}.{variant}": trajectory(mx, *method, variant)
        for i, method in enumerate(METHODS)
        for variant in (VARIANTS[:2] if method[0] == "Test" else VARIANTS)
    }
    return found | {"adamw": adamw(mx)}
