"""Sums, products, extrema and norms along axes."""

import numpy as np

from golden.case import Case, distinct, uniform, values

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
