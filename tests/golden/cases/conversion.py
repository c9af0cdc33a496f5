"""Sums of many, choosing, and conversion between all dtypes."""

import numpy as np

from golden.case import SPECIAL, SWEEP, WHOLE, Case, distinct, uniform, values

CASES = []

# Sums of many

for name in ("add_n", "ElementWiseSum"):
    CASES += [
        Case(name, (uniform(2, 3), uniform(2, 3), uniform(2, 3)), {}, "main", sweep=True),
        Case(name, (uniform(2, 3),), {}, "one"),
        Case(name, (uniform(3), uniform(2)), {}, "shapes", error=True),
        Case(name, (uniform(3), uniform(3).as_dtype("int32")), {}, "dtypes", error=True),
    ]

# Choosing

ODD = values([0, -0.0, np.nan, np.inf, 0.5, -1])
CONDITION = values([1, 0, 2, 0, -1, 0], (2, 3))
CASES += [Case("where", (CONDITION.constant(), distinct(2, 3), distinct(2, 3)), {}, "main", sweep=True)]
CASES += [
    Case("where", (CONDITION.as_dtype(dtype), distinct(2, 3), distinct(2, 3)), {}, f"{dtype} condition")
    for dtype in SWEEP
]
CASES += [
    Case("where", (values([0, 1]).as_dtype(dtype), distinct(2, 3), distinct(2, 3)), {}, f"{dtype} vector")
    for dtype in ("float32", "int32", "uint8")
]
CASES += [
    Case(
        "where",
        (values([0, -0.0, np.nan, np.inf, 0.5, -1]).constant(), distinct(6), distinct(6)),
        {},
        "nan",
    ),
    Case("where", (values([0, 1, 1]).constant(), uniform(2, 3), uniform(2, 3)), {}, "rows", error=True),
    Case("where", (values([0, 1]).constant(), uniform(2), uniform(3)), {}, "shapes", error=True),
    Case(
        "where",
        (values([0, 1]).constant(), uniform(2), uniform(2).as_dtype("int32")),
        {},
        "dtypes",
        error=True,
    ),
]

# Conversion


def converted(data, dtype):
    """Real numbers to whole ones: beyond the range its bound, and 0 of NaN. Whole ones wrap around."""
    if dtype not in WHOLE or data.dtype.kind != "f":
        return data.astype(dtype)
    kind = np.iinfo(dtype)
    return np.array(
        [0 if np.isnan(x) else int(min(max(float(x), kind.min), kind.max)) for x in data], object
    ).clip(kind.min, kind.max)


WHY = "undefined in C: MXNet gives what the processor happens to do"
CASES += [
    Case(
        name,
        (distinct(7, low=-100, high=100),),
        {"dtype": target},
        target,
        sweep=True,
        orders=2 if target == "float64" else 0,  # others round in steps
        reference=converted if target == "uint8" else None,
        why=WHY if target == "uint8" else "",
    )
    for name, targets in (("cast", (*SWEEP, "bool")), ("Cast", ("float64", "int32")))
    for target in targets
]
CASES += [
    Case(
        "cast",
        (SPECIAL,),
        {"dtype": target},
        f"special {target}",
        orders=0,
        reference=converted if target in WHOLE else None,
        why=WHY if target in WHOLE else "",
    )
    for target in (*SWEEP, "bool")
]
BEYOND = values([300, -300, 128, -129, 255, 2**31, -1]).as_dtype("int64")
CASES += [Case("cast", (BEYOND,), {"dtype": target}, f"wrapped {target}") for target in WHOLE]
