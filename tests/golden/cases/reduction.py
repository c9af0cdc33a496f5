"""Sums, products, extrema and norms along axes."""

import numpy as np

from golden.case import WHOLE, Case, distinct, integers, uniform, values

CASES = []

for name in ("sum", "mean", "prod", "max", "min", "nansum", "nanprod"):
    CASES += [
        Case(name, (distinct(2, 3, 4),), {"axis": 1}, "main", sweep=True),
        Case(name, (distinct(2, 3, 4),), {}, "all"),
        Case(name, (distinct(2, 3, 4),), {"axis": (0, -1), "keepdims": True}, "kept"),
        Case(name, (distinct(2, 3, 4),), {"axis": 1, "exclude": True}, "exclude"),
        Case(name, (distinct(1, 1),), {"axis": 0}, "one"),
        Case(name, (distinct(3, 4),), {"axis": 2}, "axis", error=True),
        Case(
            name,
            (values([[1, np.nan, 2], [3, np.inf, -np.inf], [0.0, -0.0, 1]]),),
            {"axis": 1},
            "special",
            orders=0,
        ),
    ]
CASES += [
    Case("norm", (uniform(3, 4),), {"ord": order, "axis": axis}, f"{order} {axis}", sweep=axis == 1)
    for order in (1, 2)
    for axis in (None, 1)
]


def euclidean(data, axis=None, **_):
    """The 2-norm, of whole numbers too."""
    return np.sqrt(np.sum(np.square(data.astype(np.float64)), axis=axis, keepdims=axis is None)[()])


RANGE = values([[1e30, 2e30], [1e-30, 3e-30], [1e-40, 0], [3e38, 1.0]])
CASES += [
    Case("norm", (uniform(3, 4),), {"ord": 1, "axis": 1}, "whole 1", sweep=True, dtypes=WHOLE),
    Case(
        "norm",
        (uniform(3, 4, low=-9, high=9),),
        {"ord": 2, "axis": 1},
        "whole 2",
        sweep=True,
        dtypes=WHOLE,
        reference=euclidean,
        why="MXNet scales by the largest element in whole numbers, and so gives 12 for (3, 4, 12)",
    ),
    Case("norm", (uniform(2, 3, 2),), {"axis": (0, 2)}, "pair"),
    Case("norm", (uniform(2, 3, 2),), {"axis": (0, -1), "keepdims": True, "ord": 1}, "pair, kept"),
    Case("norm", (uniform(2, 3, 2),), {"axis": (0, 1, 2)}, "all named"),
    Case("norm", (uniform(2, 3),), {"axis": -1, "keepdims": True}, "kept"),
    Case("norm", (uniform(2, 3),), {"out_dtype": "float32"}, "out_dtype"),
    Case("norm", (uniform(1),), {}, "one"),
    Case("norm", (uniform(3),), {"ord": 3}, "ord", error=True),
    Case("norm", (uniform(3),), {"axis": 1}, "axis", error=True),
    Case(
        "norm",
        (RANGE,),
        {"axis": 1},
        "range",
        orders=0,
    ),
    Case("norm", (values([[np.nan, 1], [np.inf, 1], [-np.inf, 1]]).constant(),), {"axis": 1}, "special"),
    Case("norm", (values([[0.0, 0], [0, 2]]),), {"axis": 1}, "zero", orders=0),
]

for name in ("argmax", "argmin"):
    TIES = values([[1, 3, 3, 0], [-1, -1, -2, -2], [5, 0, 5, 0]])
    CASES += [
        Case(name, (distinct(3, 4, low=-9, high=9),), {"axis": 1}, "main", sweep=True, orders=0),
        Case(name, (TIES,), {"axis": -1}, "ties", orders=0),
        Case(name, (TIES,), {"axis": 0, "keepdims": True}, "kept", orders=0),
        Case(name, (TIES,), {}, "all", orders=0),
        Case(name, (TIES,), {"keepdims": True}, "all, kept", orders=0),
        Case(name, (values([[1, np.nan, 3], [np.inf, np.nan, np.nan]]),), {"axis": 1}, "nan", orders=0),
        Case(name, (values([[-np.inf, -np.inf], [np.inf, np.inf]]),), {"axis": 1}, "infinite", orders=0),
        Case(name, (uniform(3),), {"axis": 1}, "axis", error=True),
        Case(name, (uniform(1, 1),), {"axis": 0}, "one", orders=0),
    ]
CASES += [
    Case("argmax_channel", (distinct(3, 4, low=-9, high=9),), {}, "main", sweep=True, orders=0),
    Case("argmax_channel", (distinct(2, 3, 2),), {}, "three axes", orders=0),
    Case("argmax_channel", (distinct(3),), {}, "vector", error=True),
]

for name in ("sum", "mean", "max"):
    CASES += [
        Case(name, (distinct(2, 3, 2),), {"axis": ()}, "no axes"),
        Case(name, (distinct(2, 3, 2),), {"axis": (2, 0)}, "unordered"),
        Case(name, (distinct(2, 3, 2),), {"axis": (0, 1, 2), "exclude": True}, "nothing"),
        Case(name, (distinct(2, 3, 2),), {"axis": -1, "exclude": True, "keepdims": True}, "exclude, kept"),
        Case(name, (distinct(2, 3, 2),), {"axis": (0, 0)}, "twice", error=True),
        Case(name, (distinct(1, 3, 1),), {"axis": (0, 2)}, "ones"),
    ]
CASES += [
    Case(name, (distinct(2, 3),), {"axis": 1}, "main", sweep=True, dtypes=("float32", "int32"))
    for name in ("sum_axis", "max_axis", "min_axis")
]
CASES += [
    Case(name, (integers(3, 5, low=-100, high=100),), {"axis": 1}, "range", sweep=True, dtypes=WHOLE)
    for name in ("sum", "max", "min")
]
CASES += [Case("prod", (integers(3, 5, low=-6, high=7),), {"axis": 1}, "whole", sweep=True, dtypes=WHOLE)]
CASES += [
    Case(
        "mean",
        (integers(3, 5, low=-100, high=100),),
        {"axis": 1},
        "range",
        sweep=True,
        dtypes=WHOLE,
        reference=lambda data, axis: np.trunc(np.mean(data.astype(np.float64), axis)),
        why="MXNet's sum wraps around in int8 before it is divided",
    )
]
