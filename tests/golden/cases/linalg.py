"""Linear algebra: diagonals, triangles, factorisations."""

from golden.case import Case, uniform, values

LINALG = ("float32", "float64")
CASES = []

# Diagonals and triangles
CASES += [
    Case("diag", (uniform(3, 4),), {}, "main", sweep=True),
    *(Case("diag", (uniform(3, 4),), {"k": k}, f"k {k}") for k in (1, -1, 3, -2)),
    Case("diag", (uniform(3),), {}, "vector"),
    Case("diag", (uniform(3),), {"k": 2}, "vector above"),
    Case("diag", (uniform(2),), {"k": -1}, "vector below"),
    Case("diag", (uniform(2, 3, 2),), {}, "three axes"),
    Case("diag", (uniform(2, 3, 2),), {"axis1": -1, "axis2": 1, "k": 1}, "axes"),
    Case("diag", (uniform(2, 2, 2, 2),), {"axis1": 0, "axis2": 2, "k": -1}, "four axes"),
    Case("diag", (uniform(1, 1),), {}, "one"),
    Case("diag", (uniform(2, 3),), {"axis1": 1, "axis2": 1}, "one axis twice", error=True),
    Case("diag", (uniform(2, 3),), {"axis1": 2}, "no such axis", error=True),
    Case("diag", (uniform(2, 3),), {"k": 5}, "beyond", error=True),
]
for op, shape in (("linalg.extractdiag", (3, 3)), ("linalg.extracttrian", (3, 3))):
    CASES += [
        Case(op, (uniform(*shape),), {}, "main", sweep=True, dtypes=LINALG),
        Case(op, (uniform(2, 1, 3, 3),), {}, "stack"),
        *(Case(op, (uniform(2, 3, 3),), {"offset": k}, f"offset {k}") for k in (1, 2, -1, -2)),
        Case(op, (uniform(1, 1),), {}, "one"),
        Case(op, (uniform(3, 4),), {}, "not square", error=True),
        Case(op, (uniform(3, 3),), {"offset": 3}, "beyond", error=True),
        Case(op, (uniform(3, 3),), {"offset": -3}, "beyond below", error=True),
        Case(op, (uniform(3),), {}, "vector", error=True),
        Case(op, (uniform(3, 3).as_dtype("float16"),), {}, "of float16", error=True, orders=0),
    ]
for op in ("linalg.makediag", "linalg.maketrian"):
    CASES += [
        Case(op, (uniform(6),), {}, "main", sweep=True, dtypes=LINALG),
        Case(op, (uniform(2, 1, 3),), {}, "stack"),
        *(Case(op, (uniform(2, 3),), {"offset": k}, f"offset {k}") for k in (1, 2, -1, -2)),
        Case(op, (uniform(1),), {}, "one"),
        Case(op, (uniform(3).as_dtype("int32"),), {}, "of int32", error=True, orders=0),
    ]
CASES += [
    Case("linalg.extracttrian", (uniform(2, 3, 3),), {"lower": False}, "upper"),
    Case("linalg.extracttrian", (uniform(3, 3),), {"lower": False, "offset": -1}, "upper below"),
    Case("linalg.maketrian", (uniform(2, 6),), {"lower": False}, "upper"),
    Case("linalg.maketrian", (uniform(3),), {"lower": True, "offset": 1}, "lower above"),
    Case("linalg.maketrian", (uniform(5),), {}, "no triangle", error=True),
    Case("linalg.sumlogdiag", (uniform(3, 3, low=0.5),), {}, "main", sweep=True, dtypes=LINALG),
    Case("linalg.sumlogdiag", (uniform(2, 1, 2, 2, low=0.5),), {}, "stack"),
    Case("linalg.sumlogdiag", (values([[[1.0, 3], [2, -1]], [[0, 1], [1, 1]]]),), {}, "edges", orders=0),
    Case("linalg.sumlogdiag", (uniform(2, 3),), {}, "not square", error=True),
]
