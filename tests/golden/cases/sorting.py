"""Sorting, the first k, and cumulative sums."""

import numpy as np

from golden.case import Case, distinct, uniform, values

#: Ties in float32; few enough that MXNet sorts by insertion, which is stable.
TIES = values([2, 1, 2, 1, 2, 1, 1, 2, 0.5, 2]).constant()
NAN = values([[1, np.nan, 3, -np.inf], [np.nan, 0.0, np.inf, -0.0]]).constant()
UNORDERED = "NaN compares false with everything, so std::sort leaves any order"
#: MXNet's default axis is -1; but sort's backward forgets it unless it is given.
#: Dtypes of a histogram: MXNet 1.9.1 has it for these.
COUNTABLE = ("float16", "float32", "float64", "int32", "int64", "uint8", "int8")

CASES = []
for name in ("sort", "argsort"):
    orders = 2 if name == "sort" else 0
    function = np.sort if name == "sort" else np.argsort
    CASES += [
        Case(name, (distinct(2, 5, 3),), {"axis": 1}, "main", sweep=True, orders=orders),
        Case(name, (distinct(3, 4),), {"axis": -1, "is_ascend": False}, "descending", orders=orders),
        Case(name, (distinct(3, 4),), {"axis": 0}, "leading", orders=orders),
        Case(name, (distinct(3, 4),), {"axis": None}, "flat", orders=orders),
        Case(name, (distinct(3, 4),), {}, "defaults", orders=orders),
        Case(name, (distinct(1),), {"axis": 0}, "one", orders=orders),
        Case(name, (distinct(3, 4),), {"axis": 2}, "axis", error=True),
        Case(name, (TIES,), {}, "ties", orders=0),
        Case(name, (TIES,), {"is_ascend": False}, "ties descending", orders=0),
        Case(
            name,
            (NAN,),
            {"axis": 1},
            "nan",
            orders=0,
            reference=lambda x, axis, function=function: function(x, axis, kind="stable"),
            why=UNORDERED,
        ),
    ]
CASES += [
    Case("argsort", (distinct(2, 5),), {"dtype": dtype}, dtype, orders=0)
    for dtype in ("uint8", "int32", "int64", "float16")
]
CASES += [
    Case("argsort", (distinct(2, 5),), {"dtype": "int8"}, "dtype", error=True),
    Case("topk", (distinct(2, 5, 3),), {"axis": 1, "k": 2, "ret_typ": "value"}, "main", sweep=True),
    Case(
        "topk", (distinct(3, 5),), {"axis": -1, "k": 3, "ret_typ": "value", "is_ascend": True}, "ascending"
    ),
    Case("topk", (distinct(3, 5),), {"axis": None, "k": 4, "ret_typ": "value"}, "flat value"),
    Case("topk", (distinct(3, 5),), {"axis": 1, "k": 0, "ret_typ": "value"}, "all"),
    Case("topk", (distinct(3, 5),), {}, "defaults", orders=0),
    Case("topk", (distinct(3, 5),), {"k": 6}, "k", error=True),
    Case("topk", (distinct(3, 5),), {"axis": 2}, "axis", error=True),
    Case("topk", (distinct(3, 5),), {"ret_typ": "largest"}, "ret_typ", error=True),
    Case("topk", (TIES,), {"k": 7}, "ties", orders=0),
    *[
        Case("topk", (distinct(3, 5),), {"axis": axis, "k": 3, "ret_typ": what}, f"{what} {axis}", orders=0)
        for what in ("indices", "mask", "both")
        for axis in (None, 0, 1)
    ],
    Case("topk", (distinct(3, 5),), {"k": 2, "ret_typ": "both", "dtype": "int32"}, "int32", orders=0),
]
CASES += [
    Case("cumsum", (uniform(2, 4, 3),), {"axis": 1}, "main", sweep=True),
    Case("cumsum", (uniform(3, 4),), {}, "flat"),
    Case("cumsum", (uniform(5),), {"axis": 0}, "vector"),
    Case(
        "cumsum",
        (uniform(3, 4),),
        {"axis": -1},
        "last",
        reference=lambda a, axis: np.cumsum(a, axis),
        why="negative axes fail",
    ),
    Case("cumsum", (uniform(3, 4),), {"axis": 2}, "axis", error=True),
    *[Case("cumsum", (uniform(3, 4),), {"axis": 0, "dtype": d}, d, orders=0) for d in ("float16", "int32")],
    Case("cumsum", (values([1.5, np.nan, 2]),), {}, "nan", orders=0),
]
#: Multiples of 1/4 on edges and between them, and outside.
COUNTED = values([0, 0.25, 1, 1.5, 2, 3, -1, 2.5, 2, 0.75, 4]).constant()
CASES += [
    Case("histogram", (COUNTED, 4, (0, 2)), {}, "main", sweep=True, dtypes=COUNTABLE, orders=0),
    Case("histogram", (COUNTED, 5), {}, "own range", orders=0),
    Case("histogram", (values([1, 1, 1]).constant(), 2), {}, "one value", orders=0),
    Case("histogram", (COUNTED,), {"bins": values([0, 0.5, 2, 3]).constant()}, "edges", orders=0),
    Case("histogram", (values([1, np.nan, 2]).constant(), 2, (0, 2)), {}, "nan", orders=0),
    Case("histogram", (uniform(2, 3).constant(), 3), {"range": (-1, 1)}, "matrix", orders=0),
    Case(
        "histogram", (values([0, 1, 2, 3, 4, 5, 6, 7]).as_dtype("int32"), 3, (0, 7)), {}, "whole", orders=0
    ),
    Case("histogram", (COUNTED, 0), {}, "bins", error=True),
    Case("histogram", (COUNTED, 2, (3, 1)), {}, "range", error=True),
]
