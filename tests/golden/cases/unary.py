"""Elementwise functions of one array: every dtype, special values, attributes, sizes 0 and 1."""

import numpy as np

from golden.case import REAL, SPECIAL, SWEEP, Case, distinct, integers, uniform, values

#: Each function, and where its main case draws from: away from kinks, jumps and poles.
DOMAINS = {
    **dict.fromkeys(("abs", "negative", "square", "identity", "softsign", "sigmoid"), (-3, 3)),
    **dict.fromkeys(("sqrt", "cbrt"), (0.3, 4)),
    **dict.fromkeys(("exp", "expm1", "sin", "cos", "sinh", "cosh", "tanh", "arctan"), (-2, 2)),
    **dict.fromkeys(("arcsin", "arccos", "arctanh", "log1p"), (-0.8, 0.8)),
    **dict.fromkeys(("reciprocal", "rsqrt", "rcbrt", "log", "log2", "log10", "arccosh"), (1.3, 4)),
    **dict.fromkeys(("tan", "arcsinh", "relu"), (-1.2, 1.2)),
    "smooth_l1": (-2, 2),
}
#: Functions that MXNet computes with constants, or in parts, of single precision whatever the dtype.
SINGLE = {
    "erf": (-3, 3),
    "erfinv": (-0.8, 0.8),
    "gamma": (1.3, 4),
    "gammaln": (1.3, 4),
    "degrees": (-1.2, 1.2),
    "radians": (-1.2, 1.2),
    "hard_sigmoid": (-2, 2),
}
#: Functions that jump: their gradient is 0, and finite differences have nothing to say.
STEPS = ("sign", "floor", "ceil", "rint", "round", "trunc", "fix", "logical_not")

#: Where MXNet is wrong at special values, what is right and why.
RIGHT = {"sign": (np.sign, "MXNet says 0 of NaN, which then is lost")}


def special(name: str) -> Case:
    """Values where definitions decide; no gradients."""
    reference, why = RIGHT.get(name, (None, ""))
    return Case(name, (SPECIAL,), {}, "special", orders=0, reference=reference, why=why)


CASES = [
    Case(name, (distinct(5, low=low, high=high),), {}, "main", sweep=True)
    for name, (low, high) in DOMAINS.items()
]
for name, (low, high) in SINGLE.items():
    array, others = distinct(5, low=low, high=high), tuple(d for d in SWEEP if d != "float64")
    CASES += [
        Case(name, (array,), {}, "main", sweep=True, dtypes=others),
        Case(name, (array,), {}, "double", sweep=True, dtypes=("float64",), rtol=0.1),  # 5e-7
    ]
CASES += [Case(name, (distinct(7, low=-3, high=3),), {}, "main", sweep=True, orders=0) for name in STEPS]
CASES += [special(name) for name in (*DOMAINS, *SINGLE, *STEPS)]
CASES += [
    Case(name, (uniform(*shape, low=0.5),), {}, f"size {shape}")
    for name in ("sqrt", "identity")
    for shape in ((1,), (1, 1, 1), (3, 1, 5))
]
CASES += [
    Case(op, (distinct(4),), {}, "main", sweep=True, dtypes=SWEEP if op != "MakeLoss" else REAL, orders=0)
    for op in ("BlockGrad", "stop_gradient", "make_loss", "MakeLoss")
]
CASES += [
    Case(
        f"contrib.{name}",
        (values([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -2.0, 60000.0]).constant(),),
        {},
        "main",
        sweep=True,
        dtypes=REAL,
        orders=0,
    )
    for name in ("isnan", "isinf", "isfinite")
]

# Attributes

CASES += [
    Case("clip", (distinct(9),), {"a_min": -1.25, "a_max": 0.75}, "main", sweep=True),
    Case("clip", (SPECIAL,), {"a_min": -1.0, "a_max": 2.0}, "special", orders=0),
    Case("clip", (SPECIAL,), {"a_min": -np.inf, "a_max": 2.0}, "one side", orders=0),
    Case("clip", (distinct(5),), {"a_min": 1.0, "a_max": -1.0}, "crossed", orders=0),
    Case("clip", (values([-1.0, 0.0, 1.0]),), {"a_min": -1.0, "a_max": 1.0}, "bounds", orders=0),
    Case("clip", (integers(9, low=-50, high=50),), {"a_min": -3.7, "a_max": 7.2}, "whole", orders=0),
    Case("clip", (distinct(5),), {"a_min": 1.0}, "no bound", error=True),
    Case("smooth_l1", (distinct(9),), {"scalar": 0.5}, "wide"),
    Case("smooth_l1", (distinct(9),), {"scalar": 3.0}, "narrow"),
    Case("hard_sigmoid", (distinct(9),), {"alpha": 0.5, "beta": 0.1}, "steep"),
]
