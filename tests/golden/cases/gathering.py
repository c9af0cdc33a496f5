"""Choosing, moving and replacing elements by index or by mask."""

import numpy as np

from golden.case import SWEEP, Case, distinct, integers, uniform, values

MASK = values([1, 0, 2, -1, 0])


def whole(numbers, dtype="int32"):
    """An array of indices."""
    return values(numbers).as_dtype(dtype)


def masked(data, index, axis=0):
    """numpy's answer."""
    return np.compress(index != 0, data, axis)


def filled(lhs, mhs, rhs):
    """numpy's answer."""
    y = lhs.copy()
    y[np.arange(len(y)), rhs.astype(int)] = mhs
    return y


#: Dtypes of indices on devices without float64 as well.
INDEXES = tuple(d for d in SWEEP if d != "float64")

#: Attributes of Embedding, and of the sequence ops; lengths of two sequences.
SIZES = {"input_dim": 4, "output_dim": 3}
USED = {"use_sequence_length": True}
LENGTHS = whole([1, 3])

CASES = [
    Case("contrib.boolean_mask", (uniform(5, 3), MASK.as_dtype("float32")), {}, "main", sweep=True),
    Case("contrib.boolean_mask", (uniform(5), MASK.as_dtype("int32")), {}, "vector"),
    Case("contrib.boolean_mask", (uniform(2, 2), whole([0, 0])), {}, "nothing", orders=0),
    Case("contrib.boolean_mask", (uniform(2, 2), whole([0, 1, 1])), {}, "length", error=True),
    Case("contrib.boolean_mask", (uniform(2, 2), whole([[0, 1], [1, 1]])), {}, "rank", error=True),
    Case(
        "contrib.boolean_mask",
        (uniform(3, 5, 2), MASK.as_dtype("float32")),
        {"axis": 1},
        "axis",
        reference=masked,
        why="other axes than 0 are not supported",
    ),
    Case("contrib.index_copy", (uniform(4, 2), whole([3, 0]), uniform(2, 2)), {}, "main", sweep=True),
    Case("contrib.index_copy", (uniform(4), whole([2], "int64"), uniform(1)), {}, "vector"),
    Case("contrib.index_copy", (uniform(4, 2), whole([3, 3]), uniform(2, 2)), {}, "twice", orders=0),
    # Rows and elements along one axis
    Case("take", (uniform(3, 4, 2), whole([[1, 0], [2, 1]])), {"axis": 1}, "main", sweep=True),
    Case("take", (uniform(3, 4), whole([-1, 5, 0])), {}, "clip"),
    Case("take", (uniform(3, 4), whole([-1, 5, 0])), {"axis": -1, "mode": "wrap"}, "wrap"),
    Case("take", (uniform(3, 4), whole([2, 0, 0])), {"mode": "raise"}, "raise"),
    Case("take", (uniform(3, 4), whole([2, 3])), {"mode": "raise"}, "outside", error=True),
    Case("take", (uniform(3, 4), whole([-1])), {"mode": "raise"}, "below", error=True),
    Case("take", (uniform(3, 4), whole([1])), {"mode": "last"}, "mode", error=True),
    Case("take", (uniform(3, 4), whole([1])), {"axis": 2}, "axis", error=True),
    *[Case("take", (uniform(3, 4), whole([2, 1, 1], d)), {}, d) for d in (*INDEXES, "bool")],
    Case("Embedding", (whole([[1, 4], [0, -2]]), uniform(4, 3)), SIZES, "main", sweep=True),
    Case("Embedding", (whole([0.9, 1.5], "float32"), uniform(4, 3)), SIZES, "fractions"),
    Case("Embedding", (whole([1]), uniform(4, 3)), {**SIZES, "sparse_grad": True}, "sparse", orders=0),
    Case("Embedding", (whole([1]), uniform(3, 3)), SIZES, "weight", error=True),
    Case("pick", (uniform(3, 4), whole([1, 3, 0])), {}, "main", sweep=True),
    Case("pick", (uniform(3, 4), whole([[1], [3], [0]])), {"keepdims": True}, "kept"),
    Case("pick", (uniform(2, 3, 2), whole([[1, 0], [2, 2]])), {"axis": 1}, "middle"),
    Case("pick", (uniform(3, 4), whole([-1, 4, 9, 0])), {"axis": 0}, "clip"),
    Case("pick", (uniform(3, 4), whole([-1, 4, 9])), {"axis": -1, "mode": "wrap"}, "wrap"),
    Case("pick", (uniform(3), whole([1])), {}, "vector"),
    Case("pick", (uniform(3, 4), whole([1, 2])), {}, "shape", error=True),
    Case("pick", (uniform(3, 4), whole([1, 2, 0])), {"mode": "raise"}, "mode", error=True),
    Case(
        "pick",
        (uniform(3, 4), whole([1, 11])),
        {"axis": None},
        "flat",
        reference=lambda x, index, axis: x.ravel()[index],
        why="documented, not supported",
    ),
    Case("batch_take", (uniform(3, 4), whole([1, 3, -1])), {}, "main", sweep=True),
    Case("batch_take", (uniform(3, 4), whole([[1], [3], [0]])), {}, "shape"),
    Case("batch_take", (uniform(3, 4), whole([1, 3])), {}, "rows", error=True),
    Case(
        "fill_element_0index",
        (uniform(3, 4), uniform(3), whole([1, 3, 0], "float32")),
        {},
        "main",
        sweep=True,
        reference=filled,
        why="float32 alone is supported, and without gradients",
    ),
    Case("argmax_channel", (distinct(3, 4),), {}, "main", sweep=True, orders=0),
    Case("argmax_channel", (distinct(2, 3, 2),), {}, "more axes", orders=0),
    Case("argmax_channel", (values([[1, 2, 2], [0, np.nan, 3]]),), {}, "ties, nan", orders=0),
    Case("argmax_channel", (distinct(3),), {}, "rank", error=True),
    Case("one_hot", (whole([1, 0, 3, -1]), 3), {}, "main", orders=0),
    *[Case("one_hot", (whole([[2, 0]], d), 3), {}, f"of {d}", orders=0) for d in INDEXES],
    *[Case("one_hot", (whole([2, 0]), 3, 5, 2), {"dtype": d}, f"in {d}", orders=0) for d in INDEXES],
    Case("one_hot", (whole([1.7, -0.5], "float32"), 3), {}, "fractions", orders=0),
    # where
    Case("where", (whole([[1, 0], [0, 2]]), uniform(2, 2), uniform(2, 2)), {}, "main", sweep=True),
    Case("where", (whole([1, 0]), uniform(2, 3), uniform(2, 3)), {}, "rows"),
    Case("where", (values([np.nan, 0, -1]).constant(), uniform(3), uniform(3)), {}, "nan"),
    Case("where", (whole([1, 0, 1]), uniform(2, 2), uniform(2, 2)), {}, "length", error=True),
    # Several axes at once
    Case("gather_nd", (uniform(2, 3, 4), whole([[0, 1, 1], [2, 0, 0]])), {}, "main", sweep=True),
    Case(
        "gather_nd",
        (uniform(2, 3), whole([[-1, 1], [-1, -3]])),
        {},
        "negative",
        reference=lambda x, i: x[tuple(i)],
        why="the gradient of negative indices is lost, or written outside of the array",
    ),
    Case("gather_nd", (uniform(2, 3), whole([[1, 0, 1]], "float32")), {}, "rows"),
    Case("gather_nd", (uniform(2, 3), whole([[0], [0], [0]])), {}, "too many", error=True),
    Case("gather_nd", (uniform(2, 3), whole([0, 1])), {}, "rank", error=True),
    Case("scatter_nd", (uniform(3), whole([[1, 1, 0], [0, 1, 0]])), {"shape": (2, 3)}, "main", sweep=True),
    Case("scatter_nd", (uniform(2, 3), whole([[2, 0]])), {"shape": (4, 3)}, "rows"),
    Case("scatter_nd", (uniform(3), whole([[1, 1, 0]])), {"shape": (3,)}, "twice", orders=0),
    Case("scatter_nd", (uniform(2, 3), whole([[2, 0]])), {"shape": (4, 2)}, "shape", error=True),
    Case(
        "ravel_multi_index",
        (integers(2, 5, low=0, high=6),),
        {"shape": (7, 6)},
        "main",
        sweep=True,
        orders=0,
    ),
    Case("ravel_multi_index", (integers(3, 4, low=0, high=3),), {"shape": (-1, 4, 3)}, "unknown", orders=0),
    Case("ravel_multi_index", (values([[1.7, 9], [2.5, -1]]),), {"shape": (7, 6)}, "unchecked", orders=0),
    Case("ravel_multi_index", (integers(2, 5, low=0, high=6),), {"shape": (7, 6, 3)}, "rank", error=True),
    Case("unravel_index", (integers(5, low=0, high=42),), {"shape": (7, 6)}, "main", sweep=True, orders=0),
    Case("unravel_index", (integers(5, low=0, high=42),), {"shape": (-1, 3, 2)}, "unknown", orders=0),
    Case("unravel_index", (values([22.7, 100, -1]),), {"shape": (7, 6)}, "unchecked", orders=0),
    Case("unravel_index", (integers(5, low=0, high=42),), {}, "shape", error=True),
    Case(
        "unravel_index",
        (integers(2, 2, low=0, high=42),),
        {"shape": (7, 6)},
        "more axes",
        orders=0,
        reference=lambda data, shape: np.stack(np.unravel_index(data.astype(int), shape)),
        why="it gives the shape (axes, data.shape[1]), and fills a part of it",
    ),
    Case("contrib.index_array", (uniform(2, 3),), {}, "main", sweep=True, orders=0),
    Case("contrib.index_array", (uniform(2, 3, 2),), {"axes": (-1, 0)}, "axes", orders=0),
    # Padded sequences
    *[
        Case(name, (uniform(3, 2, 2), LENGTHS), USED, "main", sweep=True)
        for name in ("SequenceMask", "SequenceLast", "SequenceReverse")
    ],
    Case("SequenceMask", (uniform(3, 2),), {}, "whole"),
    Case("SequenceReverse", (uniform(3, 2),), {}, "whole"),
    Case(
        "SequenceLast",
        (uniform(3, 2),),
        {},
        "whole",
        reference=lambda x: x[-1],
        why="without lengths, matrices get the gradient 0",
    ),
    *[
        Case(name, (uniform(2, 3), whole([2, 1, 1])), USED, "matrix")
        for name in ("SequenceMask", "SequenceLast", "SequenceReverse")
    ],
    *[
        Case(name, (uniform(2, 3, 2), LENGTHS), {**USED, "axis": 1}, "axis 1")
        for name in ("SequenceMask", "SequenceLast")
    ],
    *[
        Case(name, (uniform(2, 3, 2), LENGTHS), {**USED, "axis": 2}, "axis", error=True)
        for name in ("SequenceMask", "SequenceLast", "SequenceReverse")
    ],
    *[
        Case(name, (uniform(3),), {}, "rank", error=True)
        for name in ("SequenceMask", "SequenceLast", "SequenceReverse")
    ],
    Case("SequenceMask", (uniform(3, 2, 2), LENGTHS), {**USED, "value": -1.5}, "value"),
    Case("SequenceMask", (uniform(3, 2), whole([1.7, 0], "float32")), USED, "fractions"),
    Case("SequenceReverse", (uniform(3, 3), whole([0, 1, 3])), USED, "short"),
    Case(
        "SequenceReverse",
        (uniform(2, 3, 2), LENGTHS),
        {**USED, "axis": 1},
        "axis 1",
        reference=lambda x, n, axis, use_sequence_length: np.stack(
            [np.concatenate([a[:m][::-1], a[m:]]) for a, m in zip(x, n, strict=True)]
        ),
        why="not supported",
    ),
]
