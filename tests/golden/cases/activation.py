"""Activations, functions whose gradient is chosen, and dropout where it draws nothing."""

import math

import numpy as np

from golden.case import REAL, Case, distinct, uniform, values

CASES = []


def add(op, args, attributes=None, tag="", **options):
    CASES.append(Case(op, args, attributes or {}, tag, **options))


for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign"):
    add("Activation", (distinct(3, 4),), {"act_type": kind}, kind, sweep=True, dtypes=REAL)
add("Activation", (distinct(3, 4),), {"act_type": "mish"}, "no such", error=True)


def leaky(x, act_type):
    """By the definitions, in float64."""
    wide = x.astype(np.float64)
    below = {
        "leaky": 0.25 * wide,
        "elu": 0.25 * np.expm1(wide),
        "selu": 1.6732632423543772 * np.expm1(wide),
        "gelu": None,
    }[act_type]
    if act_type == "gelu":
        y = wide * np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(wide)
    else:
        y = np.where(wide > 0, wide, below) * (1.0507009873554805 if act_type == "selu" else 1)
    return y.astype(x.dtype)


right = {"reference": leaky, "why": "in float64, and in the gradient of selu, MXNet is off"}
for kind in ("leaky", "elu", "selu", "gelu"):
    add("LeakyReLU", (distinct(3, 4),), {"act_type": kind}, kind, sweep=True, dtypes=REAL, **right)
for kind in ("leaky", "elu"):
    add("LeakyReLU", (distinct(3, 4),), {"act_type": kind, "slope": 0.5}, f"{kind}, slope")
prelu = {"act_type": "prelu"}
right = {"reference": lambda x, g, act_type: np.where(x > 0, x, g[:, None] * x), "why": "in float64"}
add("LeakyReLU", (distinct(2, 3, 2), uniform(3)), prelu, "prelu", sweep=True, dtypes=REAL, **right)
add("LeakyReLU", (distinct(2, 3), uniform(1)), prelu, "prelu, one slope")
add("LeakyReLU", (distinct(5), uniform(5)), prelu, "prelu, vector")
add("LeakyReLU", (distinct(2, 3), uniform(1, 3)), prelu, "prelu, broadcast")
add("LeakyReLU", (distinct(2, 3), uniform(2)), prelu, "prelu, slopes", error=True)
rounded = values([0.3, 1.7, -0.4, -1.6, 2.2])
add("contrib.gradientmultiplier", (distinct(3, 4),), {"scalar": -0.5}, "main", sweep=True, loss=True)
add("contrib.quadratic", (distinct(3, 4),), {"a": 2.0, "b": -1.0, "c": 3.0}, "main", sweep=True)
add("contrib.round_ste", (rounded,), {}, "main", sweep=True, loss=True)
add("contrib.sign_ste", (rounded,), {}, "main", sweep=True, loss=True)
add("contrib.div_sqrt_dim", (distinct(3, 4),), {}, "main", sweep=True)
add("hard_sigmoid", (distinct(3, 4),), {"alpha": 0.25, "beta": 0.375}, "slope", sweep=True, dtypes=REAL)
add("Dropout", (distinct(3, 4),), {"p": 0.0}, "nothing", sweep=True, dtypes=REAL)
add("Dropout", (distinct(3, 4),), {"p": 0.5}, "prediction", train=False)
add("Dropout", (distinct(3, 4),), {"p": 1.5}, "share", error=True)
