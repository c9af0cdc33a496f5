"""Answers about arrays, casts of mixed precision, ranges like an array."""

import numpy as np

from golden.case import REAL, SWEEP, Case, uniform, values

CASES = []


def add(op, args, attributes=None, tag="main", **options):
    CASES.append(Case(op, args, attributes or {}, tag, **{"orders": 0, **options}))


add("all_finite", (uniform(3, 4),), sweep=True, dtypes=REAL)
for number in (np.inf, -np.inf, np.nan):
    add("all_finite", (values([1, number, 2]),), tag=f"{number}")
add("multi_all_finite", (uniform(3, 4), uniform(5)), {"num_arrays": 2}, sweep=True, dtypes=("float32",))
add("multi_all_finite", (uniform(3, 4), values([np.nan])), {"num_arrays": 2}, "nan")
near = values([1.0, -2.0, 3.0, 0.0])
add("contrib.allclose", (near, near), sweep=True)
add("contrib.allclose", (near, values([1.0, -2.0, 3.1, 0.0])), tag="far")
add("contrib.allclose", (near, values([1.0, -2.0, 3.1, 0.0])), {"rtol": 0.1, "atol": 0.0}, "rtol")
edge = values([np.nan, np.inf, -np.inf])
add("contrib.allclose", (edge, edge), tag="nan")
add("contrib.allclose", (edge, edge), {"equal_nan": False}, "nan differs")
far = {"reference": lambda a, b: np.uint8(0), "why": "infinities of two signs are not near, as in numpy"}
add("contrib.allclose", (values([np.inf]), values([-np.inf])), tag="infinities", **far)
add("contrib.allclose", (near, values([1.0, -2.0])), tag="shapes", error=True)
add("contrib.arange_like", (uniform(2, 3),), {"start": 1.0, "step": 2.0}, sweep=True)
add("contrib.arange_like", (uniform(2, 3),), {"axis": -1, "start": 0.5}, "axis")
add("contrib.arange_like", (uniform(2, 3),), {"repeat": 2}, "repeat")
add("contrib.arange_like", (uniform(5),), {"repeat": 3}, "repeat, rest")
add("amp_cast", (uniform(3, 4),), {"dtype": "float16"}, sweep=True, dtypes=SWEEP)
half = uniform(3).as_dtype("float16")
for narrow in (False, True):
    mixed = {"num_outputs": 2, "cast_narrow": narrow}
    add("amp_multicast", (half, uniform(2, 2)), mixed, f"{narrow}", rtol=1e-3)
add("amp_cast", (uniform(3, 4),), {"dtype": "float16"}, "gradient", orders=0)
