"""Ops that MXNet's ``nd`` has no function for: parts of its ops, and functions of its numpy interface."""

import numpy as np
from scipy import special

from golden.case import REAL, Case, distinct, uniform

NONE_THERE = "MXNet's nd has no function of this name"


def extra(op, reference, *args, **attributes):
    """The main case of an op that numpy answers for."""
    return Case(op, args, attributes, "main", sweep=True, dtypes=REAL, reference=reference, why=NONE_THERE)


CASES = [
    extra("gelu", lambda data: data * special.ndtr(data), distinct(3, 5)),
    extra(
        "elu",
        lambda data, slope: np.where(data > 0, data, slope * np.expm1(data)),
        distinct(3, 5),
        slope=0.5,
    ),
    extra(
        "leaky_relu", lambda data, slope: np.where(data > 0, data, slope * data), distinct(3, 5), slope=0.25
    ),
    extra("softrelu", lambda data: np.logaddexp(data, 0), distinct(3, 5)),
    extra("digamma", special.digamma, uniform(3, 5, low=1.25, high=4)),
    extra("polygamma", lambda data, n: special.polygamma(n, data), uniform(3, 5, low=1.25, high=4), n=2),
    extra("arctan2", np.arctan2, uniform(3, 5, low=0.5), uniform(3, 1, low=0.5)),
    extra("full_like", np.full_like, distinct(3, 5).constant(), fill_value=2.5),
]
