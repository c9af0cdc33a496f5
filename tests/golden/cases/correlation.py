"""Correlation of two feature maps."""

from golden.case import REAL, Case, distinct, uniform

CASES = []


def case(tag, *shape, sweep=False, error=False, **attributes):
    arrays = (uniform(*shape), uniform(*shape))
    return Case("Correlation", arrays, attributes, tag, sweep=sweep, dtypes=REAL, error=error)


CASES += [
    case("main", 1, 2, 3, 4, sweep=True),
    case("no displacement", 1, 2, 2, 3, max_displacement=0),
    case("patches", 1, 1, 3, 4, kernel_size=3, pad_size=1, max_displacement=1),
    case("padding", 2, 1, 2, 3, pad_size=1),
    case("strides", 1, 2, 3, 4, max_displacement=2, stride1=2, stride2=2, pad_size=2),
    case("stride beyond", 1, 1, 3, 4, max_displacement=1, stride2=2, pad_size=1),
    case("part of the reach", 1, 1, 2, 3, max_displacement=3, stride2=2, pad_size=3),
    case("everything", 1, 2, 3, 3, kernel_size=3, max_displacement=2, stride1=2, stride2=1, pad_size=3),
    Case(
        "Correlation",
        (distinct(1, 2, 3, 2), distinct(1, 2, 3, 2, low=-1.9, high=2.1)),
        {"is_multiply": False, "pad_size": 1},
        "differences",
    ),
    Case(
        "Correlation",
        (distinct(1, 1, 3, 4), distinct(1, 1, 3, 4, low=-1.9, high=2.1)),
        {"is_multiply": False, "pad_size": 2, "kernel_size": 3, "stride1": 2},
        "differences of patches",
    ),
    case("even", 1, 1, 4, 4, kernel_size=2, error=True),
    case("does not fit", 1, 1, 3, 4, max_displacement=3, error=True),
    case("rank", 2, 3, 4, error=True),
    Case("Correlation", (uniform(1, 1, 3, 4), uniform(1, 2, 3, 4)), {}, "channels", error=True),
]
