"""2-d convolution of 16 images of 64 channels, 32 x 32, by 64 kernels of 3 x 3."""

UNIT = "GFLOP/s"
REFERENCE = "torch"
BATCH, CHANNELS, SIZE, KERNEL = 16, 64, 32, 3
CASES = {
    "forward": "the convolution alone",
    "forward and backward": "with the gradients of data and weight",
}


def work(case: str) -> float:
    """Floating-point operations of one call: each gradient takes as many as the convolution."""
    forward = 2 * BATCH * CHANNELS**2 * SIZE**2 * KERNEL**2
    return forward if case == "forward" else 3 * forward


def mxnet(mx, case):
    data = mx.nd.random.normal(shape=(BATCH, CHANNELS, SIZE, SIZE))
    weight = mx.nd.random.normal(shape=(CHANNELS, CHANNELS, KERNEL, KERNEL))
    attributes = {"kernel": (KERNEL, KERNEL), "pad": (1, 1), "num_filter": CHANNELS}

    def forward():
        return mx.nd.Convolution(data, weight, no_bias=True, **attributes)

    if case == "forward":
        return forward
    data.attach_grad()
    weight.attach_grad()

    def step():
        with mx.autograd.record():
            y = forward()
        y.backward()

    return step


def torch(torch, case):
    data = torch.randn(BATCH, CHANNELS, SIZE, SIZE)
    weight = torch.randn(CHANNELS, CHANNELS, KERNEL, KERNEL)

    def forward():
        return torch.nn.functional.conv2d(data, weight, padding=1)

    if case == "forward":
        return forward
    data.requires_grad_()
    weight.requires_grad_()
    ones = torch.ones(BATCH, CHANNELS, SIZE, SIZE)

    def step():
        data.grad = weight.grad = None
        forward().backward(ones)

    return step
