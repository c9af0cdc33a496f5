"""Ops that move elements and compute nothing."""

import numpy as np

from golden.case import SWEEP, Case, uniform, values

ALL = (*SWEEP, "bool")
CASES = []


def main(op, args, attributes=None, **options):
    """The op's main case, in all dtypes."""
    return Case(op, args, attributes or {}, "main", sweep=True, dtypes=ALL, **options)


def sparse_truth(*shape):
    """Zeros and ones, so that bool differs from element to element; in other dtypes as good as any."""
    return values((np.arange(np.prod(shape)) % 3).reshape(shape))


x = sparse_truth(2, 3, 4)

RESHAPES = {
    "0": {"shape": (4, 0, 2)},
    "-1": {"shape": (6, 1, -1)},
    "-2": {"shape": (2, -2)},
    "-3": {"shape": (-3, 4)},
    "-4": {"shape": (-4, 1, 2, -2)},
    "-4 -1": {"shape": (2, -4, -1, 3, -2)},
    "reverse": {"shape": (-1, 0), "reverse": True},
}
CASES += [main("reshape", (x,), {"shape": (4, -1)})]
CASES += [Case("reshape", (uniform(2, 3, 4),), a, tag) for tag, a in RESHAPES.items()]
CASES += [
    Case("reshape", (uniform(2, 3, 4),), {"shape": shape}, f"error {shape}", error=True)
    for shape in ((5, 5), (-1, -1), (-3, -3), (-4, 2, 2, 0, 0), (7, -1))
]

LIKE = {
    "all": ((6,), {}),
    "range": ((3, 2, 5), {"lhs_begin": 0, "lhs_end": 1, "rhs_begin": 0, "rhs_end": 2}),
    "None": ((3, 2, 5), {"lhs_begin": None, "lhs_end": 1, "rhs_begin": None, "rhs_end": 2}),
    "negative": ((5, 2, 2), {"lhs_begin": -1, "lhs_end": None, "rhs_begin": -2}),
}
CASES += [main("reshape_like", (sparse_truth(2, 3), sparse_truth(6)))]
CASES += [
    Case("reshape_like", (uniform(*shape), uniform(*like).constant()), attributes, tag)
    for (tag, (like, attributes)), shape in zip(LIKE.items(), [(2, 3), (6, 4), (6, 4), (3, 4)], strict=True)
]
CASES += [
    Case("reshape_like", (uniform(7, 6), uniform(4, 2, 4)), a, f"error {i}", error=True)
    for i, a in enumerate(
        ({}, {"lhs_begin": 1}, {"lhs_begin": 1, "rhs_begin": 1}, {"lhs_begin": 2, "lhs_end": 1})
    )
]

CASES += [
    main("flatten", (x,)),
    Case("flatten", (uniform(3),), {}, "vector"),
    Case("Flatten", (uniform(2, 1, 3),), {}, "alias"),
    main("expand_dims", (x,), {"axis": 1}),
    *(Case("expand_dims", (uniform(2, 3),), {"axis": a}, str(a)) for a in (0, 2, -1, -3)),
    *(Case("expand_dims", (uniform(2, 3),), {"axis": a}, f"error {a}", error=True) for a in (3, -4)),
    main("squeeze", (sparse_truth(1, 3, 1),)),
    *(Case("squeeze", (uniform(1, 3, 1),), {"axis": a}, str(a)) for a in (0, -1, (0, -1), (2,))),
    Case("squeeze", (uniform(1, 1),), {}, "nothing left"),
    *(Case("squeeze", (uniform(1, 3, 1),), {"axis": a}, f"error {a}", error=True) for a in (1, 3, (0, 0))),
    main("transpose", (x,)),
    Case("transpose", (uniform(2, 3, 4),), {"axes": (1, 2, 0)}, "axes"),
    Case("transpose", (uniform(3),), {}, "vector"),
    *(
        Case("transpose", (uniform(2, 3, 4),), {"axes": a}, f"error {a}", error=True)
        for a in ((0, 1), (0, 1, 1), (0, 1, 3))
    ),
    main("swapaxes", (x,), {"dim1": 0, "dim2": 2}),
    Case("swapaxes", (uniform(2, 3, 4),), {"dim1": 0, "dim2": -1}, "negative"),
    Case("swapaxes", (uniform(2, 3),), {}, "default"),
    Case("SwapAxis", (uniform(2, 3, 4),), {"dim1": 1, "dim2": 2}, "alias"),
    Case("swapaxes", (uniform(2, 3),), {"dim1": 0, "dim2": 2}, "error", error=True),
    main("moveaxis", (x, 0, -1)),
    Case("moveaxis", (uniform(2, 3, 4), (0, 1), (-1, 0)), {}, "several"),
    Case("moveaxis", (uniform(2, 3, 4), 0, 3), {}, "error place", error=True),
    Case("moveaxis", (uniform(2, 3, 4), (0, 0), (1, 2)), {}, "error twice", error=True),
    main("flip", (x,), {"axis": 1}),
    Case("flip", (uniform(2, 3),), {"axis": (0, 1)}, "several"),
    Case("reverse", (uniform(2, 3),), {"axis": 1}, "alias"),
    Case(
        "flip",
        (uniform(2, 3),),
        {"axis": -1},
        "negative",
        reference=lambda data, axis: np.flip(data, axis),
        why="MXNet takes no negative axes here",
    ),
    Case("flip", (uniform(2, 3),), {"axis": 2}, "error", error=True),
]

SLICES = {
    "steps": {"begin": (None, 0), "end": (None, 3), "step": (-1, 2)},
    "number": {"begin": 1, "end": 3},
    "negative": {"begin": (-2, -3), "end": (None, -1)},
    "beyond": {"begin": (1,), "end": (10,)},
    "nothing": {"begin": (2,), "end": (1,)},
}
CASES += [main("slice", (x,), {"begin": (0, 1), "end": (2, 3)})]
CASES += [
    Case("slice", (uniform(3, 4),), a, tag, orders=2 if tag != "nothing" else 0)
    for tag, a in SLICES.items()
]
CASES += [
    Case("crop", (uniform(3, 4),), {"begin": (0, 1), "end": (2, 4)}, "alias"),
    Case("slice", (uniform(3, 4),), {"begin": (0,), "end": (2,), "step": (0,)}, "error", error=True),
    main("slice_axis", (x,), {"axis": 1, "begin": 1, "end": 3}),
    Case("slice_axis", (uniform(3, 4),), {"axis": -1, "begin": -3, "end": None}, "negative"),
    *(
        Case("slice_axis", (uniform(3, 4),), {"axis": 0, "begin": b, "end": e}, f"{b} {e}", error=True)
        for b, e in ((0, 5), (-5, 2))
    ),
    main("slice_like", (x, sparse_truth(1, 2, 3))),
    *(
        Case("slice_like", (uniform(3, 4), uniform(2, 3).constant()), {"axes": a}, str(a))
        for a in ((0,), (-1,), (0, 1))
    ),
    Case("slice_like", (uniform(3, 4), uniform(2).constant()), {"axes": (0,)}, "fewer axes"),
    Case("slice_like", (uniform(3, 4), uniform(5, 3)), {}, "error larger", error=True),
    Case("slice_like", (uniform(3, 4), uniform(2, 3, 4)), {}, "error axes", error=True),
    Case("slice_like", (uniform(3, 4), uniform(2, 3)), {"axes": (2,)}, "error axis", error=True),
]

CASES += [
    main("broadcast_to", (sparse_truth(1, 3, 1),), {"shape": (2, 3, 2)}),
    Case("broadcast_to", (uniform(1, 3),), {"shape": (2, 0)}, "kept"),
    Case("broadcast_to", (uniform(2, 3),), {"shape": (4, 3)}, "error", error=True),
    main("broadcast_like", (sparse_truth(1, 3), sparse_truth(2, 3))),
    *(
        Case("broadcast_like", (uniform(1, 2, 1), uniform(3, 2, 4).constant()), a, tag)
        for tag, a in {
            "one": {"lhs_axes": (0,), "rhs_axes": (2,)},
            "negative": {"lhs_axes": (-3, 2), "rhs_axes": (-1, 1)},
            "left only": {"lhs_axes": (0,)},
        }.items()
    ),
    *(
        Case("broadcast_like", (uniform(1, 2, 1), uniform(3, 2, 4)), a, f"error {i}", error=True)
        for i, a in enumerate(
            (
                {"lhs_axes": (0, 2), "rhs_axes": (0,)},
                {"lhs_axes": (1,), "rhs_axes": (0,)},
                {"lhs_axes": (3,), "rhs_axes": (0,)},
            )
        )
    ),
    main("broadcast_axis", (sparse_truth(1, 3, 1),), {"axis": (0, 2), "size": (2, 3)}),
    Case("broadcast_axes", (uniform(1, 2, 1),), {"axis": 2, "size": 3}, "alias"),
    Case("broadcast_axis", (uniform(1, 2, 1),), {"axis": 1, "size": 3}, "error size", error=True),
    Case("broadcast_axis", (uniform(1, 2, 1),), {"axis": (0, 2), "size": 3}, "error count", error=True),
    main("tile", (sparse_truth(2, 3),), {"reps": (2, 1, 2)}),
    *(Case("tile", (uniform(2, 3),), {"reps": r}, str(r)) for r in (2, (2,), (3, 2), (1, 1), ())),
    Case(
        "tile",
        (uniform(2, 3),),
        {"reps": (0, 2)},
        "none",
        orders=0,
        reference=lambda data, reps: np.tile(data, reps),
        why="a size of 0 means unknown to MXNet",
    ),
    Case("tile", (uniform(2, 3),), {"reps": (-1, 1)}, "error", error=True),
    main("repeat", (sparse_truth(2, 3),), {"repeats": 2, "axis": 1}),
    *(Case("repeat", (uniform(2, 3),), {"repeats": 3, "axis": a}, str(a)) for a in (None, 0, -1)),
    Case("repeat", (uniform(2, 3),), {"repeats": 1}, "once"),
    Case("repeat", (uniform(2, 3),), {"repeats": 0}, "none", orders=0),
    Case("repeat", (uniform(2, 3),), {"repeats": -1}, "error count", error=True),
    Case("repeat", (uniform(2, 3),), {"repeats": 2, "axis": 2}, "error axis", error=True),
]

CONCATENATE = {
    "reference": lambda arrays, axis=0: np.concatenate(arrays, axis),
    "why": "MXNet cannot record it",
}
CASES += [
    main("concat", (sparse_truth(2, 3), sparse_truth(2, 1), sparse_truth(2, 2))),
    Case("concat", (uniform(2, 3), uniform(1, 3)), {"dim": 0}, "0"),
    Case("concat", (uniform(2, 3), uniform(2, 1)), {"dim": -1}, "negative"),
    Case("concat", (uniform(2, 3),), {}, "one"),
    Case("Concat", (uniform(2, 3), uniform(2, 3)), {"num_args": 2, "dim": 1}, "alias"),
    Case("concat", (uniform(2, 3), uniform(1, 3)), {"dim": 1}, "error size", error=True),
    Case("concat", (uniform(2), uniform(2)), {}, "error axis", error=True),
    Case("concat", (uniform(2), uniform(2).as_dtype("int32")), {"dim": 0}, "error dtype", error=True),
    main("concatenate", ([sparse_truth(2, 3), sparse_truth(1, 3)],), **CONCATENATE),
    Case("concatenate", ([uniform(2, 3), uniform(2, 1)],), {"axis": 1}, "axis", **CONCATENATE),
    Case("concatenate", ([uniform(2, 3)],), {}, "one"),
    Case("concatenate", ([],), {}, "error", error=True),
    main("stack", (sparse_truth(2, 3), sparse_truth(2, 3))),
    *(Case("stack", (uniform(2, 3), uniform(2, 3)), {"axis": a}, str(a)) for a in (1, 2, -1)),
    Case("stack", (uniform(2),), {}, "one"),
    Case("stack", (uniform(2), uniform(2)), {"axis": 2}, "error axis", error=True),
    Case("stack", (uniform(2), uniform(3)), {}, "error shape", error=True),
    main("split", (x,), {"num_outputs": 3}),
    Case("split", (uniform(2, 4),), {"num_outputs": 2, "axis": 0, "squeeze_axis": True}, "squeeze"),
    Case("split", (uniform(2, 4),), {"num_outputs": 2, "axis": -1}, "negative"),
    Case("split", (uniform(2, 4),), {"num_outputs": 1}, "one"),
    Case("split", (uniform(2, 1),), {"num_outputs": 1, "squeeze_axis": True}, "one squeezed"),
    Case("SliceChannel", (uniform(2, 4),), {"num_outputs": 4}, "alias"),
    Case("split", (uniform(2, 4),), {"num_outputs": 3}, "error count", error=True),
    Case("split", (uniform(2, 4),), {"num_outputs": 0}, "error none", error=True),
    Case("split", (uniform(2, 4),), {"num_outputs": 2, "squeeze_axis": True}, "error squeeze", error=True),
    main("split_v2", (sparse_truth(6), (2, 3))),
    *(
        Case("split_v2", (uniform(2, 6), where), {"axis": axis}, f"{where} {axis}")
        for where, axis in ((2, 0), (3, 1), ((1,), 1), ((2, 2), -1), ((), 0), (1, 0))
    ),
    Case("split_v2", (uniform(2, 3), (1, 2)), {"axis": 1, "squeeze_axis": True}, "squeeze"),
    Case("split_v2", (uniform(2, 3), 2), {"squeeze_axis": True}, "squeeze 0"),
    *(
        Case("split_v2", (uniform(6), where), {}, f"error {where}", error=True)
        for where in (4, (4, 2), (2, 10), (-2,))
    ),
    Case("split_v2", (uniform(2, 3), 1), {"squeeze_axis": True}, "error squeeze", error=True),
]

# Refusals last: MXNet may answer the question that follows one with the same error.
CASES.sort(key=lambda case: case.error)
