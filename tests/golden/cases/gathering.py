"""Choosing, moving and replacing elements by index or by mask."""

import numpy as np

from golden.case import Case, uniform, values

MASK = values([1, 0, 2, -1, 0])


def whole(numbers, dtype="int32"):
    """An array of indices."""
    return values(numbers).as_dtype(dtype)


def masked(data, index, axis=0):
    """numpy's answer."""
    return np.compress(index != 0, data, axis)


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
]
