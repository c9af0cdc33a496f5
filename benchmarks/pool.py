"""Pooling of images: maxima and means of windows, and of whole channels."""

from benchmarks.cases import Op, descriptions, normal, runners, with_gradients

BAR = {"torch": 1.0}


def _pool(kind: str, kernel: int, stride: int, pad: int, *shape: int) -> Op:
    return Op(
        f"{kind} of {kernel} x {kernel}, stride {stride}, padding {pad}, of {' x '.join(map(str, shape))}",
        [normal(*shape)],
        mxnet=lambda nd, x: nd.Pooling(
            x, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad), pool_type=kind
        ),
        torch=lambda torch, x: getattr(torch.nn.functional, f"{kind}_pool2d")(x, kernel, stride, pad),
        tinygrad=lambda tensor, x: getattr(x, f"{kind}_pool2d")(kernel, stride, padding=pad),
    )


def _global(kind: str, *shape: int) -> Op:
    return Op(
        f"{kind} of whole channels of {' x '.join(map(str, shape))}",
        [normal(*shape)],
        mxnet=lambda nd, x: nd.Pooling(x, global_pool=True, pool_type=kind, kernel=(1, 1)),
        torch=lambda torch, x: getattr(torch.nn.functional, f"adaptive_{kind}_pool2d")(x, 1),
    )


OPS = with_gradients(
    {
        "max 2 x 2": _pool("max", 2, 2, 0, 32, 64, 56, 56),
        "max 3 x 3, stride 2": _pool("max", 3, 2, 1, 8, 64, 112, 112),
        "max 3 x 3, stride 1": _pool("max", 3, 1, 1, 16, 64, 28, 28),
        "avg 2 x 2": _pool("avg", 2, 2, 0, 32, 64, 56, 56),
        "avg 3 x 3, stride 1": _pool("avg", 3, 1, 1, 16, 64, 28, 28),
        "global avg 7 x 7": _global("avg", 32, 2048, 7, 7),
        "global max 8 x 8": _global("max", 32, 512, 8, 8),
    }
)
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
