"""Metrics of three batches, the second of which comes in two parts: local and global values."""

import numpy as np

#: Class, arguments, and what is predicted: scores of 4 (or 2) classes, shares of them, numbers.
CASES = [
    ("Accuracy", {}, "scores"),
    ("Accuracy", {"axis": 2}, "positions"),
    ("TopKAccuracy", {"top_k": 2}, "scores"),
    ("TopKAccuracy", {"top_k": 3}, "scores"),
    ("F1", {}, "binary"),
    ("F1", {"average": "micro"}, "binary"),
    ("MCC", {}, "binary"),
    ("MCC", {"average": "micro"}, "binary"),
    ("Perplexity", {"ignore_label": None}, "shares"),
    ("Perplexity", {"ignore_label": 1}, "shares"),
    ("MAE", {}, "numbers"),
    ("MSE", {}, "numbers"),
    ("RMSE", {}, "vectors"),
    ("CrossEntropy", {}, "shares"),
    ("NegativeLogLikelihood", {"eps": 0.01}, "shares"),
    ("PearsonCorrelation", {}, "numbers"),
    ("PearsonCorrelation", {"average": "micro"}, "vectors"),
    ("PCC", {}, "scores"),
    ("Loss", {}, "numbers"),
]
NAMES = ["acc", "top_k_acc", "ce", "nll_loss", "pearsonr", "composite", "torch", "rmse"]


def batch(draw, kind: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions."""
    if kind in ("numbers", "vectors"):
        shape = (size, 3) if kind == "numbers" else (size,)
        return draw.standard_normal(shape), draw.standard_normal(shape)
    if kind == "positions":
        return draw.randint(0, 4, (size, 3)), draw.standard_normal((size, 3, 4))
    classes = 2 if kind == "binary" else 4
    scores = draw.standard_normal((size, classes))
    if kind == "shares":
        scores = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return draw.randint(0, classes, (size,)), scores


def answer(mx, i: int) -> dict[str, np.ndarray]:
    name, arguments, kind = CASES[i]
    draw = np.random.RandomState(i)
    metric = mx.metric.create(name.lower(), **arguments)
    kept = [np.nan if name == "PCC" else metric.get()[1]]
    for sizes in ((7,), (5, 9), (6,)):
        labels, preds = zip(*(batch(draw, kind, n) for n in sizes))  # noqa: B905
        labels, preds = ([mx.nd.array(a) for a in arrays] for arrays in (labels, preds))
        if len(sizes) == 1:
            metric.update(labels[0], preds[0])
        else:
            metric.update(labels, preds)
        kept += [metric.get()[1], metric.get_global()[1]]
        if len(sizes) > 1:
            metric.reset_local()
    return {f"{i}": np.array(kept, float), f"{i}.name": np.array(metric.get()[0])}


def answers(mx) -> dict[str, np.ndarray]:
    found = {key: value for i in range(len(CASES)) for key, value in answer(mx, i).items()}
    for name in NAMES:
        arguments = {"top_k": 3} if name == "top_k_acc" else {}
        metric = mx.metric.create(name, **arguments)
        found[name] = np.array([type(metric).__name__, str(sorted(map(str, metric.get_config().items())))])
    return found
