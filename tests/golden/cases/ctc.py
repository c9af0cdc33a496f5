"""Connectionist temporal classification: CTCLoss."""

import numpy as np

from golden.case import REAL, Case, uniform, values


def label(*rows, dtype="float32"):
    """Classes of each sequence, of a dtype of their own."""
    return values(rows).as_dtype(dtype)


DATA = uniform(5, 2, 3)
LABEL = label([1, 2], [2, 0])
CASES = [
    Case("CTCLoss", (DATA, LABEL), {}, "main", sweep=True, dtypes=REAL),
    Case("ctc_loss", (DATA, LABEL), {}, "name"),
    Case("contrib.CTCLoss", (DATA, LABEL), {}, "contrib"),
    Case("contrib.ctc_loss", (DATA, LABEL), {}, "contrib"),
    Case("CTCLoss", (DATA, label([1, 1], [2, 2])), {}, "repeated"),
    Case("CTCLoss", (DATA, label([0, 0], [1, 0])), {}, "empty label"),
    Case("CTCLoss", (DATA, label([1, 2, 1], [1, 0, 0], dtype="int32")), {}, "whole numbers"),
    Case("CTCLoss", (uniform(4, 3, 4), label([1, 2], [0, -1], [-1, -1])), {"blank_label": "last"}, "last"),
    Case("CTCLoss", (uniform(1, 1, 3), label([2])), {}, "one step"),
    Case(
        "CTCLoss",
        (uniform(3, 1, 1), label([0])),
        {},
        "one class",
        reference=lambda *arrays: np.zeros(1),
        why="with the blank alone, the empty label is certain; MXNet returns what its memory held",
    ),
    Case(
        "CTCLoss",
        (DATA, LABEL, values([5, 3]).as_dtype("float32")),
        {"use_data_lengths": True},
        "data lengths",
    ),
    Case(
        "CTCLoss",
        (DATA, LABEL, values([2, 1]).as_dtype("float32")),
        {"use_label_lengths": True},
        "label lengths third",
    ),
    Case(
        "CTCLoss",
        (DATA, label([1, 2], [2, 1])),
        {"label_lengths": values([1, 2]).as_dtype("float32"), "use_label_lengths": True}
        | {"data_lengths": values([4, 5]).as_dtype("float32"), "use_data_lengths": True},
        "both lengths",
    ),
    Case(
        "CTCLoss",
        (DATA, label([1, 1], [1, 2]), values([2, 1]).as_dtype("float32")),
        {"use_data_lengths": True},
        "too few steps",
        reference=lambda *arrays, **attributes: np.zeros(2),
        why="MXNet's loss is 0 as well, but its gradient is what its memory held",
    ),
    Case(
        "CTCLoss",
        (DATA, LABEL, values([0, 5]).as_dtype("float32")),
        {"use_data_lengths": True},
        "no step",
    ),
    Case("CTCLoss", (uniform(5, 1, 3, low=-800, high=800), label([1, 2])), {}, "large", orders=0),
    Case("CTCLoss", (values([[[float("nan"), 1, 2]], [[1, 2, 3]]]), label([1])), {}, "NaN", orders=0),
]
THREE = values([1, 2, 3]).as_dtype("float32")
for tag, arrays, attributes in (
    ("label wider than data", (uniform(2, 2, 3), label([1, 2, 1], [1, 0, 0])), {}),
    ("batch", (DATA, label([1, 2])), {}),
    ("label axes", (DATA, values([1, 2]).as_dtype("float32")), {}),
    ("data axes", (uniform(3, 4), LABEL), {}),
    ("blank", (DATA, LABEL), {"blank_label": "middle"}),
    ("data lengths", (DATA, LABEL, THREE), {"use_data_lengths": True}),
    ("lengths not used", (DATA, LABEL, THREE), {}),
    ("lengths not given", (DATA, LABEL), {"use_data_lengths": True}),
):
    CASES.append(Case("CTCLoss", arrays, attributes, f"bad {tag}", error=True))
