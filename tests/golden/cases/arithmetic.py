"""Elementwise functions of two arrays, or of an array and a number."""

import numpy as np

from golden.case import Case, distinct, uniform, values

CASES = []

#: Ops that numbers may be arguments of as well.
NAMES = ["add", "subtract", "multiply", "divide", "modulo", "power", "maximum", "minimum"]
#: Other names, which take arrays only.
OTHERS = [
    *("broadcast_add", "broadcast_plus", "broadcast_sub", "broadcast_minus", "broadcast_mul"),
    *("broadcast_div", "broadcast_mod", "broadcast_power", "broadcast_maximum", "broadcast_minimum"),
]

#: Two arrays whose quotients are not whole: no op has a kink, a jump or a pole there.
LHS = values([2.75, 2.5, 1.25, 3.25, 1.75, 2.25], (2, 3))
RHS = values([1.5, 1.875, 2.125])
#: Special values, each beside each.
FEW = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3.4e38, 1.2e-38, 0.5, 2.0, -3.0]
ROWS, COLUMNS = values(FEW, (12, 1)).constant(), values(FEW).constant()

for name in (*NAMES, "true_divide"):
    CASES += [
        Case(name, (LHS, RHS), {}, "main", sweep=True),
        Case(name, (LHS, 1.6875), {}, "array and number", sweep=True),
        Case(name, (2.375, LHS), {}, "number and array", sweep=True),
        Case(name, (ROWS, COLUMNS), {}, "special", orders=0),
        Case(name, (uniform(2), uniform(3)), {}, "shapes", error=True),
        Case(name, (uniform(3), uniform(3).as_dtype("int32")), {}, "dtypes", error=True),
        Case(name, (values([0.75]), values([1.625])), {}, "one"),
    ]
CASES += [Case(name, (LHS, RHS), {}, "main", sweep=True, dtypes=("float32", "int32")) for name in OTHERS]
CASES += [
    Case("broadcast_hypot", (LHS, RHS), {}, "main", sweep=True),
    Case("broadcast_hypot", (ROWS, COLUMNS), {}, "special", orders=0),
]
for shapes in (((3,), (2, 1)), ((1, 3, 1), (2, 1, 2)), ((1,), (2, 2)), ((2, 3, 1, 2), (1, 1, 2, 1))):
    CASES += [
        Case(name, (distinct(*shapes[0], low=0.55), distinct(*shapes[1], low=0.8)), {}, f"{shapes}")
        for name in ("add", "multiply", "divide", "broadcast_sub")
    ]
for name in ("add", "sub", "mul", "div"):
    same = values([1.5, 1.875, 2.125, -1.25, 2.5, -1.75], (2, 3))
    CASES += [
        Case(f"elemwise_{name}", (LHS, same), {}, "main", sweep=True),
        Case(f"elemwise_{name}", (LHS, RHS), {}, "shapes", error=True),
        Case(f"elemwise_{name}", (LHS, LHS.as_dtype("int32")), {}, "dtypes", error=True),
    ]
