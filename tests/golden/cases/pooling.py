"""Pooling over 1 to 3 spatial axes."""

import numpy as np

from golden.case import REAL, Case, distinct, values

CASES = []

KINDS = {"max": {}, "avg": {}, "sum": {}, "lp": {"p_value": 2}}

for kind, more in KINDS.items():

    def pool(tag, *shape, kind=kind, more=more, sweep=False, **attributes):
        attributes = {"pool_type": kind, **more, **attributes}
        data = distinct(*shape, low=0.3) if kind == "lp" else distinct(*shape)
        return Case("Pooling", (data,), attributes, f"{kind} {tag}", sweep=sweep, dtypes=REAL)

    CASES += [
        pool("main", 1, 2, 3, 4, kernel=(2, 2), sweep=True),
        pool("1-d", 2, 1, 7, kernel=(3,), stride=(2,), pad=(1,)),
        pool("3-d", 1, 1, 2, 3, 3, kernel=(2, 2, 1), stride=(1, 1, 2), pad=(1, 0, 0)),
        pool("stride and pad", 1, 2, 3, 4, kernel=(2, 3), stride=(2, 1), pad=(1, 1)),
        pool("full", 1, 1, 4, 6, kernel=(3, 3), stride=(2, 2), pooling_convention="full"),
        pool("full 1-d", 1, 2, 6, kernel=(3,), stride=(2,), pad=(1,), pooling_convention="full"),
        pool("global", 2, 2, 3, 2, global_pool=True),
        pool("global ignores", 1, 2, 3, 3, kernel=(2, 2), stride=(2, 2), pad=(1, 1), global_pool=True),
        pool("global 1-d", 2, 2, 4, global_pool=True),
        pool("layout NCW", 1, 2, 4, kernel=(2,), layout="NCW"),
        pool("layout NCHW", 1, 2, 3, 3, kernel=(2, 2), layout="NCHW"),
        pool("layout NWC", 1, 4, 3, kernel=(2,), layout="NWC"),
        pool("layout NHWC", 1, 3, 3, 2, kernel=(2, 2), layout="NHWC"),
        pool("layout NDHWC", 1, 2, 2, 3, 2, kernel=(2, 1, 2), layout="NDHWC"),
        pool("string", 1, 1, 3, 4, kernel="(2, 2)", stride="(1,2)"),
        pool("one", 1, 1, 1, 1, kernel=(1, 1)),
    ]

CASES += [
    Case(
        "Pooling",
        (distinct(1, 2, 3, 4),),
        {"pool_type": "avg", "kernel": (2, 3), "pad": (1, 1)} | more,
        tag,
    )
    for tag, more in {
        "avg counts the padding": {"count_include_pad": True},
        "avg leaves the padding out": {"count_include_pad": False},
        "avg leaves out, with strides": {"count_include_pad": False, "stride": (2, 2)},
        "avg leaves out, full": {
            "count_include_pad": False,
            "stride": (2, 2),
            "pooling_convention": "full",
        },
    }.items()
]
CASES += [
    Case(
        "Pooling",
        (distinct(1, 1, 3, 4, low=0.3),),
        {"pool_type": "lp", "p_value": p, "kernel": (2, 2), "stride": (1, 2)},
        f"lp {p}",
    )
    for p in (1, 3)
]
CASES += [
    Case(
        "Pooling",
        (values([[[1.0, np.nan, 0, 2, 3, np.inf, -np.inf, 1]]]),),
        {"kernel": (2,), "pool_type": kind},
        f"{kind} special",
        orders=0,
        **more,
    )
    for kind, more in {
        "max": {
            "reference": lambda data, **_: np.maximum(data[..., :-1], data[..., 1:]),
            "why": "a maximum of NaN and a number is NaN, as in numpy; MXNet drops NaN, or the number",
        },
        "avg": {},
        "sum": {},
    }.items()
]
EMPTY = {"kernel": (1, 2), "stride": (1, 5), "pad": (0, 1), "pooling_convention": "full"}
CASES += [
    Case("Pooling", (distinct(1, 1, 1, 4),), EMPTY | {"pool_type": kind}, f"{kind} window of padding only")
    for kind in ("max", "avg", "sum")
]
for tag, attributes in {
    "no kernel": {},
    "kernel of another rank": {"kernel": (2,)},
    "kernel too large": {"kernel": (5, 2)},
    "stride 0": {"kernel": (2, 2), "stride": (0, 1)},
    "layout of another rank": {"kernel": (2, 2), "layout": "NCW"},
    "pool_type": {"kernel": (2, 2), "pool_type": "median"},
    "convention": {"kernel": (2, 2), "pooling_convention": "half"},
    "lp without p": {"kernel": (2, 2), "pool_type": "lp"},
}.items():
    CASES.append(Case("Pooling", (distinct(1, 2, 3, 4),), attributes, tag, error=True))
