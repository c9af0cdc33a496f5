"""Losses: values, and gradients of a weighted sum of them by the first input (and others that learn)."""

import numpy as np

#: Class, arguments, and inputs: shapes of normally distributed ones; (low, high, shape) of whole numbers;
#: before a shape "sign" (1 and -1), "bit" (1 and 0), "share" (parts of 1), "rate" (above 0).
#: How many of the inputs, from the first on, get a gradient.
CASES = [
    ("L2Loss", {}, [(4, 3), (4, 3)], 2),
    ("L2Loss", {"weight": 3.0, "batch_axis": 1}, [(4, 3, 2), (24,), (4, 1, 1)], 1),
    ("L1Loss", {}, [(4, 3), (4, 3)], 2),
    ("L1Loss", {"weight": 0.5}, [(4, 1), (4,), (4, 1)], 1),
    ("HuberLoss", {}, [(4, 3), (4, 3)], 1),
    ("HuberLoss", {"rho": 0.3, "weight": 2}, [(4, 3), (4, 3), (4, 1)], 1),
    ("PoissonNLLLoss", {}, [(4, 3), (0, 5, (4, 3))], 1),
    ("PoissonNLLLoss", {"from_logits": False, "weight": 2}, [("rate", (4, 3)), (0, 5, (4, 3)), (4, 1)], 1),
    ("PoissonNLLLoss", {"compute_full": True}, [(4, 3), (1, 5, (4, 3))], 0),  # MXNet cannot record it
    ("SigmoidBinaryCrossEntropyLoss", {}, [(4, 3), ("bit", (4, 3))], 1),
    (
        "SigmoidBinaryCrossEntropyLoss",
        {"weight": 2},
        [(4, 3), ("bit", (4, 3)), (4, 1), ("rate", (1, 3))],
        1,
    ),
    ("SigmoidBCELoss", {"from_sigmoid": True}, [("share", (4, 3)), ("bit", (4, 3))], 1),
    (
        "SigmoidBCELoss",
        {"from_sigmoid": True},
        [("share", (4, 3)), ("bit", (4, 3)), (4, 1), ("rate", (1, 3))],
        1,
    ),
    ("SoftmaxCrossEntropyLoss", {}, [(5, 7), (0, 7, (5,))], 1),
    ("SoftmaxCrossEntropyLoss", {"weight": 2}, [(5, 7), (0, 7, (5,)), (5, 1)], 1),
    ("SoftmaxCrossEntropyLoss", {}, [(5, 2, 7), (0, 7, (5, 2))], 1),
    ("SoftmaxCrossEntropyLoss", {"batch_axis": 1}, [(5, 2, 7), (0, 7, (5, 2)), (5, 2, 1)], 1),
    ("SoftmaxCrossEntropyLoss", {"axis": 1}, [(5, 7, 3), (0, 7, (5, 3))], 1),
    ("SoftmaxCELoss", {"sparse_label": False}, [(5, 7), ("share", (5, 7)), (5, 1)], 2),
    ("SoftmaxCELoss", {"from_logits": True}, [(5, 7), (0, 7, (5,))], 1),
    ("SoftmaxCELoss", {"from_logits": True, "sparse_label": False, "axis": 1}, [(5, 7, 2), (5, 7, 2)], 1),
    ("KLDivLoss", {}, [(4, 3), ("share", (4, 3))], 1),
    (
        "KLDivLoss",
        {"from_logits": False, "axis": 1, "weight": 2},
        [(4, 3, 2), ("share", (4, 3, 2)), (4, 1, 1)],
        1,
    ),
    ("CTCLoss", {}, [(2, 6, 4), (0, 3, (2, 2))], 1),
    ("CTCLoss", {"layout": "TNC", "label_layout": "TN", "weight": 2}, [(6, 2, 4), (0, 3, (2, 2))], 1),
    ("CTCLoss", {}, [(2, 6, 4), (0, 3, (2, 2)), (4, 6, (2,)), (1, 2, (2,)), (2,)], 1),
    ("HingeLoss", {}, [(4, 3), ("sign", (4, 3))], 1),
    ("HingeLoss", {"margin": 2, "weight": 2}, [(4, 1), ("sign", (4,)), (4, 1)], 1),
    ("SquaredHingeLoss", {"margin": 2}, [(4, 3), ("sign", (4, 3)), (4, 1)], 1),
    ("LogisticLoss", {}, [(4, 3), ("sign", (4, 3))], 1),
    ("LogisticLoss", {"label_format": "binary", "weight": 2}, [(4, 3), ("bit", (4, 3)), (4, 1)], 1),
    ("TripletLoss", {}, [(4, 3), (4, 3), (4, 3)], 3),
    ("TripletLoss", {"margin": 5, "weight": 2}, [(4, 3, 2), (4, 6), (4, 3, 2)], 1),
    ("CosineEmbeddingLoss", {}, [(4, 3), (4, 3), ("sign", (4,))], 2),
    ("CosineEmbeddingLoss", {"margin": 0.1, "weight": 2}, [(4, 3), (4, 3), ("sign", (4,)), (4, 1)], 2),
    ("SDMLLoss", {}, [(4, 3), (4, 3)], 2),
    ("SDMLLoss", {"smoothing_parameter": 0.1}, [(3, 5), (3, 5)], 1),
]


def drawn(draw, kind) -> np.ndarray:
    """An input."""
    if kind and not isinstance(kind[0], str) and len(kind) == 3 and isinstance(kind[2], tuple):
        return draw.randint(kind[0], kind[1], kind[2])
    if kind[0] == "sign":
        return draw.randint(0, 2, kind[1]) * 2 - 1
    if kind[0] == "bit":
        return draw.randint(0, 2, kind[1])
    if kind[0] == "rate":
        return draw.uniform(0.2, 3, kind[1])
    if kind[0] == "share":
        parts = draw.uniform(0.1, 1, kind[1])
        return parts / parts.sum(-1, keepdims=True)
    return draw.standard_normal(kind)


def answer(mx, i: int) -> dict[str, np.ndarray]:
    name, arguments, kinds, learning = CASES[i]
    draw = np.random.RandomState(i)
    inputs = [mx.nd.array(drawn(draw, kind)) for kind in kinds]
    for x in inputs[:learning]:
        x.attach_grad()
    loss = getattr(mx.gluon.loss, name)(**arguments)
    if not learning:
        return {f"{i}.value": loss(*inputs).asnumpy()}
    with mx.autograd.record():
        value = loss(*inputs)
    heads = mx.nd.array(draw.uniform(0.5, 2, value.shape))
    value.backward(heads)
    found = {f"{i}.value": value.asnumpy(), f"{i}.repr": np.array(repr(loss))}
    return found | {f"{i}.gradient{k}": x.grad.asnumpy() for k, x in enumerate(inputs[:learning])}


def answers(mx) -> dict[str, np.ndarray]:
    return {key: value for i in range(len(CASES)) for key, value in answer(mx, i).items()}
