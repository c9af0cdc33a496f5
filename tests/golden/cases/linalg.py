"""Linear algebra: diagonals, triangles, factorisations."""

import numpy as np

from golden.case import Array, Case, positive_definite, symmetrised, uniform, values

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


def regular(*shape: int) -> Array:
    """Matrices with a dominant diagonal: triangles of them, and they themselves, are well-conditioned."""
    rows, columns = shape[-2:]

    def draw(rng):
        signs = np.where(np.arange(rows) % 2, -1, 1)[:, None]
        return np.round(rng.uniform(-1, 1, shape) * 64) / 64 + 2.5 * signs * np.eye(rows, columns)

    return Array(draw)


def separated(*shape: int) -> Array:
    """Symmetric matrices whose eigenvalues are some 4 apart: derivatives of eigenvectors stay small."""

    def draw(rng):
        a = rng.uniform(-1, 1, shape)
        return (a + np.swapaxes(a, -1, -2)) / 2 + 4 * np.diag(np.arange(shape[-1]))

    return Array(draw)


SYMMETRIC = {"prepared": symmetrised}
_NOT_DEFINITE = "MXNet raises; clgrad does not wait for the device to tell, and gives NaN"

# Cholesky factors and triangular matrices
CASES += [
    Case("linalg.potrf", (positive_definite(3, 3),), {}, "main", sweep=True, dtypes=LINALG, **SYMMETRIC),
    Case("linalg.potrf", (positive_definite(2, 3, 3),), {"lower": False}, "upper", **SYMMETRIC),
    Case("linalg.potrf", (positive_definite(2, 1, 2, 2),), {}, "stack", **SYMMETRIC),
    Case("linalg.potrf", (positive_definite(1, 1),), {}, "one", **SYMMETRIC),
    Case("linalg.potrf", (values([[4.0, 9], [1, 3]]),), {}, "reads the lower triangle", orders=0),
    Case(
        "linalg.potrf",
        (values([[1.0, 2], [2, 1]]),),
        {},
        "not definite",
        orders=0,
        reference=lambda a: np.array([[1, 0], [2, np.nan]]),
        why=_NOT_DEFINITE,
    ),
    Case("linalg.potrf", (uniform(2, 3),), {}, "not square", error=True),
    Case("linalg.potri", (regular(3, 3),), {}, "main", sweep=True, dtypes=LINALG),
    Case("linalg.potri", (regular(2, 2, 2),), {"lower": False}, "upper"),
    Case("linalg.potri", (regular(1, 1),), {}, "one"),
    Case("linalg.potri", (uniform(3, 2),), {}, "not square", error=True),
    Case("linalg.trsm", (regular(3, 3), uniform(3, 2)), {}, "main", sweep=True, dtypes=LINALG),
    *(
        Case(
            "linalg.trsm",
            (regular(2, 2, 2), uniform(2, 3, 2) if rightside else uniform(2, 2, 3)),
            {"transpose": transpose, "rightside": rightside, "lower": lower, "alpha": 1.5},
            f"{transpose} {rightside} {lower}",
        )
        for transpose in (False, True)
        for rightside in (False, True)
        for lower in (False, True)
    ),
    Case("linalg.trsm", (regular(1, 1), uniform(1, 3)), {}, "one"),
    Case("linalg.trsm", (values([[1.0, 2], [2, 0]]), values([[1.0], [1]])), {}, "singular", orders=0),
    Case("linalg.trsm", (regular(2, 3), uniform(3, 3)), {}, "not square", error=True),
    Case("linalg.trsm", (regular(2, 2), uniform(3, 2)), {}, "rows", error=True),
    Case("linalg.trsm", (regular(2, 2, 2), uniform(1, 2, 2)), {}, "broadcast", error=True),
]

# LU factors
for op in ("linalg.inverse", "linalg.det", "linalg.slogdet"):
    CASES += [
        Case(op, (regular(3, 3),), {}, "main", sweep=True, dtypes=LINALG),
        Case(op, (regular(2, 1, 2, 2),), {}, "stack"),
        Case(op, (regular(1, 1),), {}, "one"),
        Case(op, (values([[0.0, 2, 1], [1, 0, 3], [4, -1, 0]]),), {}, "pivots"),
        Case(op, (uniform(2, 3),), {}, "not square", error=True),
        Case(op, (uniform(3),), {}, "vector", error=True),
    ]
_ZERO = values([[[0.0, 0], [0, 0]], [[1, 2], [2, 4]]])
CASES += [
    Case("linalg.det", (_ZERO,), {}, "singular", orders=0),
    Case("linalg.slogdet", (_ZERO,), {}, "singular", orders=0),
]

# LQ factors and eigenvalues
CASES += [
    Case("linalg.gelqf", (regular(2, 3),), {}, "main", sweep=True, dtypes=LINALG),
    Case("linalg.gelqf", (regular(3, 3),), {}, "square"),
    Case("linalg.gelqf", (regular(2, 1, 2, 4),), {}, "stack"),
    Case("linalg.gelqf", (regular(1, 1),), {}, "one"),
    Case("linalg.gelqf", (uniform(1, 4),), {}, "row"),
    Case("linalg.gelqf", (uniform(3, 2),), {}, "more rows", error=True),
    Case("linalg.syevd", (separated(3, 3),), {}, "main", sweep=True, dtypes=LINALG, **SYMMETRIC),
    Case("linalg.syevd", (positive_definite(2, 1, 2, 2),), {}, "stack", **SYMMETRIC),
    Case("linalg.syevd", (separated(4, 4),), {}, "four", **SYMMETRIC),
    Case("linalg.syevd", (positive_definite(1, 1),), {}, "one", **SYMMETRIC),
    Case("linalg.syevd", (values([[1.0, 2], [5, 3]]),), {}, "reads the lower triangle", orders=0),
    Case("linalg.syevd", (values([[3.0, 0, 0], [0, -1, 0], [0, 0, 2]]),), {}, "diagonal", orders=0),
    Case("linalg.syevd", (uniform(3, 2),), {}, "not square", error=True),
]
_OPERANDS = {
    "potrf": ((2, 2),),
    "potri": ((2, 2),),
    "trsm": ((2, 2), (2, 2)),
    "inverse": ((2, 2),),
    "det": ((2, 2),),
    "slogdet": ((2, 2),),
    "gelqf": ((2, 2),),
    "syevd": ((2, 2),),
}
CASES += [
    Case(
        f"linalg.{op}",
        tuple(uniform(*shape).as_dtype(dtype) for shape in shapes),
        {},
        f"of {dtype}",
        error=True,
        orders=0,
    )
    for op, shapes in _OPERANDS.items()
    for dtype in ("float16", "int32")
]
