"""Steps of optimizers: parameters of whole nets along gradients that are there already.

Weights after the first steps are compared before steps are timed.
"""

from benchmarks import models

BAR = {"torch": 1.0, "mxnet": 1.2}

NETS = {"MLP": models.MLP, "ResNet-18": models.RESNET18_32, "GPT block": models.GPT_BLOCK}
METHODS = {
    "SGD": ("sgd", {"momentum": 0.9}),
    "Adam": ("adam", {}),
    "RMSProp": ("rmsprop", {"gamma1": 0.9}),
    "LAMB": ("lamb", {}),
}
SIZES = {
    "MLP": "6 arrays, 0.7M numbers",
    "ResNet-18": "102 arrays, 11.2M numbers",
    "GPT block": "14 arrays, 0.8M numbers",
}
CASES = {f"{method}, {net}": SIZES[net] for net in NETS for method in METHODS}
RATE = 1e-3


def mxnet(mx, case: str):
    """An Updater's step, of clgrad as of MXNet; PyTorch has no LAMB."""
    method, _, net = case.partition(", ")
    name, arguments = METHODS[method]
    weights = [mx.nd.array(a) for a in NETS[net].parameters().values()]
    grads = [mx.nd.ones(w.shape) * 0.5 for w in weights]
    update = mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=RATE, **arguments))
    indices = list(range(len(weights)))

    def step():
        update(indices, grads, weights)
        return weights[0], weights[-1]

    return step


def torch(torch, case: str):
    method, _, net = case.partition(", ")
    makers = {
        "SGD": lambda w: torch.optim.SGD(w, lr=RATE, momentum=0.9),
        "Adam": lambda w: torch.optim.Adam(w, lr=RATE),
        "RMSProp": lambda w: torch.optim.RMSprop(w, lr=RATE, alpha=0.9),
    }
    if method not in makers:
        return None
    weights = [torch.tensor(a, requires_grad=True) for a in NETS[net].parameters().values()]
    for weight in weights:
        weight.grad = torch.full_like(weight, 0.5)
    optimizer = makers[method](weights)

    def step():
        optimizer.step()
        return weights[0].detach(), weights[-1].detach()

    return step
