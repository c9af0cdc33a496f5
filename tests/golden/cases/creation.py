"""Arrays from nothing: constants, ranges, the identity, one-hot rows."""

import numpy as np

from golden.case import SWEEP, Case, integers, uniform, values

CASES = []

for dtype in (*SWEEP, "bool"):
    CASES += [
        Case("zeros", ((2, 3),), {"dtype": dtype}, dtype),
        Case("ones", ((2, 3),), {"dtype": dtype}, dtype),
        Case("full", ((2, 3), 3), {"dtype": dtype}, dtype),
    ]
for dtype in SWEEP:
    CASES += [
        Case("arange", (5,), {"dtype": dtype}, dtype),
        Case("arange", (1, 9), {"step": 3, "repeat": 2, "dtype": dtype}, f"repeat {dtype}"),
        Case("linspace", (0, 10, 5), {"dtype": dtype}, dtype),
        Case("eye", (3, 4), {"k": 1, "dtype": dtype}, dtype),
        Case(
            "one_hot",
            (values([1, 0, 2]).constant(),),
            {"depth": 3, "on_value": 8, "off_value": 1, "dtype": dtype},
            dtype,
        ),
    ]
CASES += [
    Case("zeros", (2,), {}, "number"),
    Case("full", (2, 3.5), {"dtype": "int32"}, "truncated"),
    Case("full", ((2,), np.nan), {}, "nan"),
    *(
        Case(
            op,
            (shape, *value),
            {},
            f"{shape}",
            reference=lambda shape, *value, op=op: np.full(shape, {"zeros": 0, "ones": 1}.get(op, 7.0)),
            why="a size of 0, and having no axes, mean unknown to MXNet",
        )
        for op, value in (("zeros", ()), ("ones", ()), ("full", (7.0,)))
        for shape in ((0, 2), ())
    ),
]
CASES += [
    Case("arange", (2, 10, 3), {}, "step"),
    Case("arange", (5, 1, -2), {}, "down"),
    Case("arange", (1, 2, 0.25), {}, "fraction"),
    Case("arange", (2,), {"infer_range": True}, "infer"),
    Case("arange", (5, None), {}, "None"),
    Case("arange", (0, 3, 0.5), {"dtype": "int32"}, "whole step"),
    Case("arange", (0.5, 3), {"dtype": "int32"}, "whole start"),
    Case("arange", (1, 6), {"repeat": 0}, "error repeat", error=True),
    Case("linspace", (0, 1, 5), {"endpoint": False}, "open"),
    Case("linspace", (1, 0, 4), {}, "down"),
    Case("linspace", (3, 7, 1), {}, "one"),
    Case("linspace", (0, 1, 0), {}, "none"),
    Case("linspace", (0, 9, 5), {"dtype": "int32"}, "whole"),
    Case("linspace", (0, 1, -1), {}, "error", error=True),
    Case("eye", (3,), {}, "square"),
    Case("eye", (3, 0, -1), {}, "below"),
    Case("eye", (2, 5, 4), {}, "right"),
    Case("eye", (2, 2, 5), {}, "outside"),
    Case("eye", (0,), {}, "none"),
    Case("eye", (2, -3), {}, "negative"),
    Case("eye", (-1,), {}, "error", error=True),
    Case("one_hot", (values([[1, 0], [2, 2]]).constant(),), {"depth": 3}, "axes"),
    Case("one_hot", (values([1, -1, 5, 1.75]).constant(),), {"depth": 3}, "outside"),
    Case("one_hot", (values([1, 0]).as_dtype("int64"), 2), {}, "whole"),
    Case("one_hot", (values([1, 0]).constant(),), {"depth": 0}, "none"),
    Case("one_hot", (values([1, 0]).constant(),), {"depth": -1}, "error", error=True),
    Case("zeros_like", (uniform(2, 3).constant(),), {}, "main", sweep=True, dtypes=(*SWEEP, "bool")),
    Case("ones_like", (uniform(2, 3).constant(),), {}, "main", sweep=True, dtypes=(*SWEEP, "bool")),
    Case("shape_array", (uniform(2, 1, 3).constant(),), {}, "main", sweep=True),
    Case("size_array", (uniform(2, 1, 3).constant(),), {}, "main", sweep=True),
    Case("onehot_encode", (integers(4, low=0, high=3).constant(), uniform(4, 3).constant()), {}, "main"),
]

# Refusals last: MXNet may answer the question that follows one with the same error.
CASES.sort(key=lambda case: case.error)
