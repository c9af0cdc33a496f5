"""Attention on interleaved projections."""

from golden.case import Case, uniform

CASES = []


def add(op, args, attributes=None, tag="main", sweep=True, **options):
    CASES.append(Case(f"contrib.interleaved_matmul_{op}", args, attributes or {}, tag, sweep, **options))


FLOATS = {"dtypes": ("float16", "float32", "float64")}
add("selfatt_qk", (uniform(3, 1, 12),), {"heads": 2}, **FLOATS)
add("selfatt_valatt", (uniform(3, 1, 12), uniform(2, 3, 3)), {"heads": 2}, **FLOATS)
add("encdec_qk", (uniform(2, 2, 4), uniform(3, 2, 8)), {"heads": 2}, **FLOATS)
add("encdec_valatt", (uniform(3, 2, 8), uniform(4, 2, 3)), {"heads": 2}, **FLOATS)
add("selfatt_qk", (uniform(2, 2, 6),), {"heads": 1}, "one head", sweep=False)
