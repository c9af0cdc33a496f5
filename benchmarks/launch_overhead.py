"""What an operation costs beyond its arithmetic: small arrays, one call after the other."""

SHAPE = (32, 64)
CASES = {
    "eager add": "x + y",
    "record, 4 ops, backward": "sum(sigmoid(x * y + x)), gradients of x and y",
}
#: At least as fast as MXNet.
BAR = {"mxnet": 1.0}


def mxnet(mx, case):
    x, y = mx.nd.ones(SHAPE), mx.nd.ones(SHAPE)
    if case == "eager add":
        return lambda: x + y
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
    if case == "eager add":
        return lambda: x + y
    x.requires_grad_()
    y.requires_grad_()

    def step():
        x.grad = y.grad = None  # MXNet overwrites gradients, PyTorch would add
        torch.sigmoid(x * y + x).sum().backward()
        return x.grad, y.grad

    return step
