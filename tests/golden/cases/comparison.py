"""Comparisons and logic: truth values in the operands' dtype; no gradients."""

from golden.case import Case, uniform, values
from golden.cases.arithmetic import COLUMNS, ROWS

OPS = [
    *("equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal"),
    *("logical_and", "logical_or", "logical_xor"),
]
#: Ties, and zeros, in every dtype.
LHS = values([2.0, 0.0, 1.0, 3.25, 1.75, 0.0], (2, 3))
RHS = values([2.0, 1.875, 0.0])

CASES = []
for name in OPS:
    CASES += [
        Case(name, (LHS, RHS), {}, "main", sweep=True, orders=0),
        Case(name, (LHS, 1.6875), {}, "array and number", sweep=True, orders=0),
        Case(name, (2.375, LHS), {}, "number and array", orders=0),
        Case(name, (ROWS, COLUMNS), {}, "special", orders=0),
        Case(name, (uniform(2), uniform(3)), {}, "shapes", error=True),
        Case(name, (uniform(3), uniform(3).as_dtype("int32")), {}, "dtypes", error=True),
    ]
    CASES += [
        Case(f"broadcast_{name}", (LHS, RHS), {}, "main", sweep=True, dtypes=("float32", "int32"), orders=0)
    ]
