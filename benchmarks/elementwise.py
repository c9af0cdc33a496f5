"""Long elementwise chains: how well memory traffic is kept down."""

UNIT = "us"
REFERENCE = "torch"
SIZE = 1 << 22
CASES = {
    "add": "x + y, 4M elements",
    "chain": "sigmoid(x) * exp(-x), 4M elements, recorded, and the gradient of x",
}


def mxnet(mx, case):
    x, y = mx.nd.ones((SIZE,)), mx.nd.ones((SIZE,))
    if case == "add":
        return lambda: x + y
    x.attach_grad()

    def step():
        with mx.autograd.record():
            z = mx.nd.sigmoid(x) * mx.nd.exp(-x)
        z.backward()

    return step


def torch(torch, case):
    x, y = torch.ones(SIZE), torch.ones(SIZE)
    if case == "add":
        return lambda: x + y
    x.requires_grad_()

    def step():
        x.grad = None  # MXNet overwrites gradients, PyTorch would add
        (torch.sigmoid(x) * torch.exp(-x)).backward(y)

    return step
