"""Chains of elementwise ops, recorded and differentiated: how well memory traffic is kept down."""

from benchmarks.cases import Op, descriptions, normal, runners

SIZE = 1 << 22

BAR = {"torch": 4.0}

OPS = {
    "chain": Op(
        "sigmoid(x) * exp(-x), 4M elements, recorded, and the gradient of x",
        [normal(SIZE)],
        mxnet=lambda nd, x: nd.sigmoid(x) * nd.exp(-x),
        torch=lambda torch, x: torch.sigmoid(x) * torch.exp(-x),
        tinygrad=lambda tensor, x: x.sigmoid() * (-x).exp(),
        gradients=True,
    ),
    "long chain": Op(
        "tanh(x * y + x) ** 2 / (1 + abs(y)), 4M elements, recorded, and the gradients of x and y",
        [normal(SIZE), normal(SIZE, seed=1)],
        mxnet=lambda nd, x, y: nd.tanh(x * y + x) ** 2 / (1 + nd.abs(y)),
        torch=lambda torch, x, y: torch.tanh(x * y + x) ** 2 / (1 + torch.abs(y)),
        tinygrad=lambda tensor, x, y: (x * y + x).tanh() ** 2 / (1 + y.abs()),
        gradients=True,
    ),
}
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
