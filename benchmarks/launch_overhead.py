"""What an operation costs beyond its arithmetic: small arrays, one call after the other."""

SHAPE = (32, 64)
CASES = {
    "eager add": "x + y",
    "eager exp": "exp(x)",
    "eager sum": "sum(x)",
    "record, 4 ops, backward": "sum(sigmoid(x * y + x)), gradients of x and y",
}


#: An op takes at most twice what its launch does by bare pyopencl, and half of what it takes MXNet.
BAR = {"pyopencl": 0.5, "mxnet": 2.0}


def bar(case, peer):
    return BAR[peer] if case.startswith("eager") else {"mxnet": 1.5}.get(peer)


def _eager(nd, x, y, case):
    functions = {
        "eager add": lambda: x + y,
        "eager exp": lambda: nd.exp(x),
        "eager sum": lambda: nd.sum(x),
    }
    return functions.get(case)


def mxnet(mx, case):
    x, y = mx.nd.ones(SHAPE), mx.nd.ones(SHAPE)
    if call := _eager(mx.nd, x, y, case):
        return call
    x.attach_grad()
    y.attach_grad()

    def step():
        with mx.autograd.record():
            loss = mx.nd.sigmoid(x * y + x).sum()
        loss.backward()
        return x.grad, y.grad

    return step


def torch(torch, case):
    x, y = torch.ones(SHAPE), torch.ones(SHAPE)
    if call := _eager(torch, x, y, case):
        return call
    x.requires_grad_()
    y.requires_grad_()

    def step():
        x.grad = y.grad = None  # MXNet overwrites gradients, PyTorch would add
        torch.sigmoid(x * y + x).sum().backward()
        return x.grad, y.grad

    return step


def pyopencl(floor, case):
    return floor.replay(mxnet(floor.clgrad, case))
