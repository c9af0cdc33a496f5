"""Densities of random numbers' distributions."""

import math

import numpy as np

from golden.case import REAL, Case, uniform, values

CASES = []

PARAMETERS = {
    "uniform": ({"low": -1.0, "high": 2.0}, {"low": -2.0, "high": 3.5}),
    "normal": ({"mu": 0.5, "sigma": 0.75}, {"mu": -1.0, "sigma": 2.0}),
    "exponential": ({"lam": 0.5}, {"lam": 2.0}),
    "gamma": ({"alpha": 0.5, "beta": 2.0}, {"alpha": 3.0, "beta": 0.75}),
    "poisson": ({"lam": 0.75}, {"lam": 4.0}),
    "negative_binomial": ({"k": 1.5, "p": 0.25}, {"k": 4.0, "p": 0.75}),
    "generalized_negative_binomial": ({"mu": 2.0, "alpha": 0.5}, {"mu": 0.75, "alpha": 1.5}),
}
COUNTS = ("poisson", "negative_binomial", "generalized_negative_binomial")


lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def reference(log_density):
    """A density in float64, of its logarithm as a function of parameters in columns."""

    def density(sample, *parameters, is_log=False):
        sample = sample.astype(np.float64)
        result = log_density(sample, *(p.astype(np.float64)[:, None] for p in parameters))
        return result if is_log else np.exp(result)

    return density


def log_dirichlet(x, alpha):
    constant = lgamma(alpha.sum(-1)) - lgamma(alpha).sum(-1)
    return ((alpha - 1) * np.log(x)).sum(-1) + constant


DIGAMMA = "MXNet's digamma has the precision of float32"
CORRECTED = {
    "normal": {
        "reference": reference(
            lambda x, mu, sigma: -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))
        ),
        "why": "MXNet's 2 pi has the precision of float32",
    },
    "gamma": {
        "reference": reference(
            lambda x, a, b: a * np.log(b) + (a - 1) * np.log(x) - b * x - lgamma(a),
        ),
        "why": DIGAMMA,
    },
    "negative_binomial": {
        "reference": reference(
            lambda x, k, p: lgamma(x + k) - lgamma(x + 1) - lgamma(k) + k * np.log(p) + x * np.log(1 - p)
        ),
        "why": DIGAMMA,
    },
    "dirichlet": {"reference": reference(log_dirichlet), "why": DIGAMMA},
}

for name, rows in PARAMETERS.items():
    op = f"random_pdf_{name}"
    parameters = [values([row[key] for row in rows]) for key in rows[0]]
    if name in COUNTS:
        sample = values([[0, 1, 3], [2, 4, 7]]).constant()
    elif name in ("uniform", "normal"):
        sample = uniform(2, 3, low=-0.9, high=1.9)
    else:
        sample = uniform(2, 3, low=0.25, high=3.0)
    CASES += [
        Case(op, (sample, *parameters), {}, "main", sweep=True, dtypes=REAL, **CORRECTED.get(name, {})),
        Case(
            op,
            (sample, *parameters),
            {"is_log": True},
            "log",
            sweep=True,
            dtypes=REAL,
            **CORRECTED.get(name, {}),
        ),
        Case(op, (values([[1.0], [2.0]]), *parameters), {}, "one", orders=0),
        Case(
            op,
            (uniform(2, 1, 2, low=0.25, high=1.5).constant(), *parameters),
            {"is_log": True},
            "axes",
        ),
        Case(op, (uniform(2, low=0.25, high=1.5).constant(), *parameters), {}, "no axes"),
        Case(op, (uniform(3, 2), *parameters), {}, "shape", error=True),
    ]

CASES += [
    Case(
        "random_pdf_dirichlet",
        (uniform(2, 3, 4, low=0.125, high=0.5), uniform(2, 4, low=0.5, high=2)),
        {"is_log": is_log},
        f"log {is_log}",
        sweep=True,
        dtypes=REAL,
        **CORRECTED["dirichlet"],
    )
    for is_log in (False, True)
]
CASES += [
    Case("random_pdf_dirichlet", (uniform(2, 3, low=0.125, high=0.5), values([0.5, 1, 2])), {}, "shared"),
    Case("random_pdf_dirichlet", (values([0.25, 0.25, 0.5]), values([0.5, 1, 2])), {}, "one"),
    Case("random_pdf_dirichlet", (values([0.25, 0.5]), values([0.5, 1, 2])), {}, "shape", error=True),
    Case(
        "random_pdf_uniform",
        (values([[-2, -1, 0, 2, 3, np.nan]]), values([-1.0]), values([2.0])),
        {},
        "support",
        orders=0,
        reference=lambda *_: np.array([[0, 1 / 3, 1 / 3, 1 / 3, 0, np.nan]]),
        why="MXNet knows no support",
    ),
    Case(
        "random_pdf_exponential",
        (values([[-1, 0, 1, np.nan]]), values([2.0])),
        {},
        "support",
        orders=0,
        reference=lambda *_: np.array([[0, 2, 2 * math.exp(-2), np.nan]]),
        why="MXNet knows no support",
    ),
    Case(
        "random_pdf_gamma",
        (values([[-1, 0, 1, np.nan]]), values([1.0]), values([2.0])),
        {},
        "support",
        orders=0,
        reference=lambda *_: np.array([[0, 2, 2 * math.exp(-2), np.nan]]),
        why="MXNet gives NaN for x below 0, and for x = 0 where alpha is 1",
    ),
    Case(
        "random_pdf_poisson",
        (values([[-1, -0.5, 0, 1, np.nan]]), values([0.0])),
        {},
        "support",
        orders=0,
        reference=lambda *_: np.array([[0, 0, 1, 0, np.nan]]),
        why="MXNet gives NaN for the certain 0 of lam = 0",
    ),
]
