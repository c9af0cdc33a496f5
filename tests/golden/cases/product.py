"""Matrix products."""

from golden.case import Array, Case, integers, uniform

LINALG = ("float32", "float64")
CASES = []


def whole(*shape: int) -> Array:
    """Whole numbers, whose products are the same in every dtype."""
    return integers(*shape, low=0, high=5)


def _refused(case: str, dtype: str) -> Case:
    """MXNet's linalg takes float32 and float64 alone."""
    shapes = {"linalg.trmm": [(3, 3), (3, 2)], "linalg.syrk": [(2, 3)], "linalg.gemm2": [(2, 3), (3, 2)]}
    arrays = tuple(uniform(*shape).as_dtype(dtype) for shape in shapes[case])
    return Case(case, arrays, {}, f"of {dtype}", error=True, orders=0)


# dot: the last axis of lhs with the first of rhs
CASES += [
    Case("dot", (whole(2, 3), whole(3, 4)), {}, "main", sweep=True),
    Case("dot", (uniform(3, 2), uniform(3, 4)), {"transpose_a": True}, "a"),
    Case("dot", (uniform(2, 3), uniform(4, 3)), {"transpose_b": True}, "b"),
    Case("dot", (uniform(3, 2), uniform(4, 3)), {"transpose_a": True, "transpose_b": True}, "ab"),
    Case("dot", (uniform(5), uniform(5)), {}, "vectors"),
    Case("dot", (uniform(1), uniform(1)), {}, "one"),
    Case("dot", (uniform(2, 3), uniform(3)), {}, "matrix vector"),
    Case("dot", (uniform(3, 2), uniform(3)), {"transpose_a": True}, "matrix vector a"),
    Case("dot", (uniform(3), uniform(3, 2)), {}, "vector matrix"),
    Case("dot", (uniform(3), uniform(2, 3)), {"transpose_b": True}, "vector matrix b"),
    Case("dot", (uniform(2, 2, 3), uniform(3, 2)), {}, "three axes"),
    Case("dot", (uniform(2, 3), uniform(3, 2, 2)), {}, "three axes right"),
    Case("dot", (uniform(3, 2, 2), uniform(3, 4)), {"transpose_a": True}, "three axes a"),
    Case("dot", (uniform(2, 3), uniform(2, 2, 3)), {"transpose_b": True}, "three axes b"),
    Case("dot", (uniform(1, 3), uniform(3, 1)), {"forward_stype": "default"}, "one by one"),
    Case("dot", (uniform(2, 3), uniform(2, 3)), {}, "terms", error=True),
    Case("dot", (uniform(2, 2), Array(uniform(2, 2).draw, "float16")), {}, "dtypes", error=True),
    Case("dot", (uniform(2, 2), uniform(2, 2)), {"forward_stype": "dense"}, "stype", error=True),
]

# batch_dot
CASES += [
    Case("batch_dot", (whole(2, 2, 3), whole(2, 3, 2)), {}, "main", sweep=True),
    Case("batch_dot", (uniform(2, 3, 2), uniform(2, 3, 2)), {"transpose_a": True}, "a"),
    Case("batch_dot", (uniform(2, 2, 3), uniform(2, 2, 3)), {"transpose_b": True}, "b"),
    Case(
        "batch_dot",
        (uniform(2, 3, 2), uniform(2, 2, 3)),
        {"transpose_a": True, "transpose_b": True, "forward_stype": "default"},
        "ab",
    ),
    Case("batch_dot", (uniform(2, 1, 2, 3), uniform(2, 1, 3, 2)), {}, "four axes"),
    Case("batch_dot", (uniform(1, 1, 1), uniform(1, 1, 1)), {}, "one"),
    Case("batch_dot", (uniform(3, 2), uniform(2, 3)), {}, "two axes", error=True),
    Case("batch_dot", (uniform(1, 2, 3), uniform(2, 3, 2)), {}, "broadcast", error=True),
    Case("batch_dot", (uniform(2, 2, 3), uniform(2, 2, 3)), {}, "terms", error=True),
    Case(
        "batch_dot", (uniform(1, 2, 2), Array(uniform(1, 2, 2).draw, "float16")), {}, "dtypes", error=True
    ),
]

# FullyConnected
CASES += [
    Case("FullyConnected", (whole(2, 3), whole(4, 3), whole(4)), {"num_hidden": 4}, "main", sweep=True),
    Case("FullyConnected", (uniform(2, 3), uniform(4, 3)), {"num_hidden": 4, "no_bias": True}, "no bias"),
    Case("FullyConnected", (uniform(2, 2, 2), uniform(3, 4), uniform(3)), {"num_hidden": 3}, "flattened"),
    Case(
        "FullyConnected",
        (uniform(2, 2, 3), uniform(2, 3), uniform(2)),
        {"num_hidden": 2, "flatten": False},
        "last axis",
    ),
    Case(
        "FullyConnected",
        (uniform(3), uniform(2, 3)),
        {"num_hidden": 2, "flatten": False, "no_bias": True},
        "vector",
    ),
    Case("FullyConnected", (uniform(1, 1), uniform(1, 1), uniform(1)), {"num_hidden": 1}, "one"),
    Case("FullyConnected", (uniform(2, 3), uniform(4, 2), uniform(4)), {"num_hidden": 4}, "in", error=True),
    Case("FullyConnected", (uniform(2, 3), uniform(4, 3), uniform(4)), {"num_hidden": 5}, "n", error=True),
    Case("FullyConnected", (uniform(2, 3), uniform(4, 3), uniform(3)), {"num_hidden": 4}, "b", error=True),
    Case(
        "FullyConnected",
        (uniform(2, 3), uniform(4, 3), Array(uniform(4).draw, "float16")),
        {"num_hidden": 4},
        "dtypes",
        error=True,
    ),
    Case(
        "FullyConnected",
        (uniform(2, 3), uniform(4, 3), uniform(4)),
        {"num_hidden": 4, "no_bias": True},
        "bias after all",
        error=True,
    ),
]

# gemm2, gemm: stacks of matrices
for gemm, extra in (("linalg.gemm2", ()), ("linalg.gemm", ((2, 4),))):
    more = {"beta": -0.5} if extra else {}

    def operands(*shapes, extra=extra):
        return tuple(uniform(*shape) for shape in (*shapes, *extra))

    def stacked(a, b, c, extra=extra):
        return tuple(uniform(*shape) for shape in ((a, b, c) if extra else (a, b)))

    CASES += [
        Case(gemm, operands((2, 3), (3, 4)), {}, "main", sweep=True, dtypes=LINALG),
        Case(gemm, operands((3, 2), (3, 4)), {"transpose_a": True, "alpha": 2.5, **more}, "a"),
        Case(gemm, operands((2, 3), (4, 3)), {"transpose_b": True, "alpha": -1, **more}, "b"),
        Case(gemm, operands((3, 2), (4, 3)), {"transpose_a": True, "transpose_b": True}, "ab"),
        Case(gemm, stacked((2, 2, 3), (2, 3, 2), (2, 2, 2)), {"alpha": 0.5}, "stack"),
        Case(gemm, stacked((2, 1, 2, 2), (2, 1, 2, 3), (2, 1, 2, 3)), {}, "stack of stacks"),
        Case(gemm, stacked((2, 2, 3), (3, 2, 2), (2, 2, 2)), {"axis": 0}, "axis 0"),
        Case(gemm, stacked((3, 2, 2), (2, 2, 3), (2, 2, 2)), {"axis": -3, "transpose_a": True,
             "transpose_b": True}, "axis -3 ab"),
        Case(gemm, stacked((2, 1, 2, 3), (2, 3, 2, 1), (2, 1, 2, 1)), {"axis": 1, "alpha": 3}, "axis 1"),
        Case(gemm, stacked((2, 3), (3, 1), (2, 1)), {"axis": 0}, "axis 0 of two"),
        Case(gemm, stacked((1, 1), (1, 1), (1, 1)), {}, "one"),
        Case(gemm, stacked((2, 3), (2, 3), (2, 3)), {}, "terms", error=True),
        Case(gemm, stacked((2, 3), (3, 2), (2, 2)), {"axis": 1}, "axis of columns", error=True),
        Case(gemm, stacked((1, 2, 2), (2, 2, 2), (2, 2, 2)), {}, "broadcast", error=True),
    ]  # fmt: skip
CASES += [
    Case("linalg.gemm", (uniform(2, 3), uniform(3, 2), uniform(2, 2)), {"beta": 0}, "beta 0"),
    Case("linalg.gemm", (uniform(2, 3), uniform(3, 2), uniform(2, 3)), {}, "c", error=True),
    Case("linalg.gemm2", (uniform(2, 2), Array(uniform(2, 2).draw, "float16")), {}, "dtypes", error=True),
    Case("linalg_gemm", (uniform(2, 3), uniform(3, 2), uniform(2, 2)), {}, "older name"),
]

# syrk, trmm
CASES += [
    Case("linalg.syrk", (uniform(2, 3),), {}, "main", sweep=True, dtypes=LINALG),
    Case("linalg.syrk", (uniform(2, 3),), {"transpose": True, "alpha": 2.5}, "transposed"),
    Case("linalg.syrk", (uniform(2, 1, 2, 3),), {"alpha": -1}, "stack"),
    Case("linalg.syrk", (uniform(2, 3, 1),), {"transpose": True}, "one"),
    Case("linalg.trmm", (uniform(3, 3), uniform(3, 2)), {}, "main", sweep=True, dtypes=LINALG),
    *(
        Case(
            "linalg.trmm",
            (uniform(2, 2, 2), uniform(2, 3, 2) if rightside else uniform(2, 2, 3)),
            {"transpose": transpose, "rightside": rightside, "lower": lower, "alpha": 1.5},
            f"{transpose} {rightside} {lower}",
        )
        for transpose in (False, True)
        for rightside in (False, True)
        for lower in (False, True)
    ),
    Case("linalg.trmm", (uniform(1, 1), uniform(1, 3)), {}, "one"),
    Case("linalg.trmm", (uniform(2, 3), uniform(3, 3)), {}, "square", error=True),
    Case("linalg.trmm", (uniform(2, 2), uniform(3, 2)), {}, "terms", error=True),
    Case("linalg.trmm", (uniform(2, 2, 2), uniform(1, 2, 2)), {}, "broadcast", error=True),
]
CASES += [
    _refused(op, dtype)
    for op in ("linalg.gemm2", "linalg.syrk", "linalg.trmm")
    for dtype in ("float16", "int32")
]

# khatri_rao; MXNet has no gradient of it
CASES += [
    Case("khatri_rao", (whole(2, 3), whole(3, 3)), {}, "main", sweep=True),
    Case("khatri_rao", (uniform(2, 2), uniform(1, 2), uniform(3, 2)), {}, "three"),
    Case("khatri_rao", (uniform(2, 2),), {}, "itself"),
    Case("khatri_rao", (uniform(2, 2), uniform(2, 3)), {}, "columns", error=True),
    Case("khatri_rao", (uniform(2, 2), uniform(2)), {}, "axes", error=True),
]
