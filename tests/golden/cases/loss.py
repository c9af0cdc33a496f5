"""Output layers whose gradient is that of a loss."""

from golden.case import REAL, Case, distinct, uniform, values

CASES = []


def add(op, args, attributes=None, tag="", **options):
    CASES.append(Case(op, args, attributes or {}, tag, loss=True, **options))


label = values([0, 1, 3]).constant()
places = values([[0, 1, 2, 0], [1, 1, 2, 2]]).constant()
for op in ("SoftmaxOutput", "Softmax"):
    add(op, (uniform(3, 4), label), {}, "main", sweep=True, dtypes=REAL)
add(
    "SoftmaxOutput",
    (uniform(3, 4), uniform(3, 4, low=0, high=0.5).constant()),
    {"grad_scale": 3.0},
    "shares",
)
add("SoftmaxOutput", (uniform(3, 4), label), {"smooth_alpha": 0.1, "grad_scale": 2.0}, "smooth")
add("SoftmaxOutput", (uniform(3, 4), values([0, 9, -2]).constant()), {}, "no such class")
for how in ("null", "batch", "valid"):
    ignore = {"normalization": how, "use_ignore": True, "ignore_label": 1.0}
    add("SoftmaxOutput", (uniform(3, 4), label), {"normalization": how}, how)
    add("SoftmaxOutput", (uniform(3, 4), label), ignore | {"smooth_alpha": 0.1}, f"{how}, ignore")
    add(
        "SoftmaxOutput",
        (uniform(2, 3, 4), places),
        {"normalization": how, "multi_output": True},
        f"{how}, multi",
    )
    add(
        "SoftmaxOutput",
        (uniform(2, 3, 4), places),
        ignore | {"multi_output": True},
        f"{how}, multi, ignore",
    )
    rows = values([[0, 1, 2], [1, 1, 2]]).constant()
    kept = {"normalization": how, "preserve_shape": True}
    add("SoftmaxOutput", (uniform(2, 3, 4), rows), kept, f"{how}, preserve")
add("SoftmaxOutput", (uniform(3, 4), values([0, 1]).constant()), {}, "labels", error=True)

target = uniform(3, 4).constant()
for op in ("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput"):
    data = distinct(3, 4)
    add(op, (data, target), {}, "main", sweep=True, dtypes=REAL)
    add(op, (data, target), {"grad_scale": 2.0}, "scale")
    add(op, (distinct(3, 1), uniform(3).constant()), {}, "column")
    add(op, (distinct(2, 3, 2), uniform(2, 6).constant()), {}, "other shape")
    add(op, (distinct(5), uniform(5).constant()), {}, "vector")
    add(op, (data, uniform(4).constant()), {}, "labels", error=True)

for linear in (False, True):
    svm = {"use_linear": linear}
    add("SVMOutput", (distinct(3, 4), label), svm, f"{linear}", sweep=not linear, dtypes=REAL)
    halves = svm | {"margin": 0.5, "regularization_coefficient": 0.3}
    add("SVMOutput", (distinct(3, 4), label), halves, f"{linear}, margin")
    add("SVMOutput", (distinct(2, 3, 4), rows), svm, f"{linear}, 3 axes")
add("SVMOutput", (distinct(3, 4), values([0, 1]).constant()), {}, "labels", error=True)

for how in ("null", "batch", "valid"):
    scaled = {"grad_scale": 3.0, "normalization": how, "valid_thresh": 0.5}
    add("MakeLoss", (distinct(3, 4),), scaled, how, sweep=how == "null", dtypes=REAL)
add("make_loss", (distinct(3, 4),), {}, "main", sweep=True)
