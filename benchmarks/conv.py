"""Convolutions: the shapes of ResNet-50, depthwise ones, LeNet's, transposed and dilated ones."""

from benchmarks.cases import Op, descriptions, normal, runners, with_gradients

#: Of the convolutions with their gradients alone.
BAR = {"torch": 0.7}


def bar(case: str, peer: str) -> float | None:
    return BAR.get(peer) if case.endswith("gradients") else None


def _described(batch, channels, filters, size, kernel, stride) -> str:
    images = f"{batch} images of {size} x {size}"
    return f"{channels} to {filters} channels, {kernel} x {kernel}, stride {stride}, of {images}"


def _conv(batch, channels, filters, size, kernel, stride=1, pad=None, groups=1, dilate=1) -> Op:
    pad = kernel // 2 * dilate if pad is None else pad
    out = (size + 2 * pad - dilate * (kernel - 1) - 1) // stride + 1
    attributes = {
        "kernel": (kernel, kernel),
        "stride": (stride, stride),
        "pad": (pad, pad),
        "dilate": (dilate, dilate),
        "num_filter": filters,
        "num_group": groups,
        "no_bias": True,
    }
    return Op(
        _described(batch, channels, filters, size, kernel, stride),
        [normal(batch, channels, size, size), normal(filters, channels // groups, kernel, kernel, seed=1)],
        mxnet=lambda nd, x, weight: nd.Convolution(x, weight, **attributes),
        torch=lambda torch, x, weight: torch.nn.functional.conv2d(
            x, weight, None, stride, pad, dilate, groups
        ),
        tinygrad=lambda tensor, x, weight: x.conv2d(
            weight, groups=groups, stride=stride, dilation=dilate, padding=pad
        ),
        work=2 * batch * filters * out**2 * channels // groups * kernel**2,
    )


def _transposed(batch, channels, filters, size, kernel, stride, pad) -> Op:
    attributes = {
        "kernel": (kernel, kernel),
        "stride": (stride, stride),
        "pad": (pad, pad),
        "num_filter": filters,
    }
    return Op(
        "transposed: " + _described(batch, channels, filters, size, kernel, stride),
        [normal(batch, channels, size, size), normal(channels, filters, kernel, kernel, seed=1)],
        mxnet=lambda nd, x, weight: nd.Deconvolution(x, weight, no_bias=True, **attributes),
        torch=lambda torch, x, weight: torch.nn.functional.conv_transpose2d(x, weight, None, stride, pad),
        tinygrad=lambda tensor, x, weight: x.conv_transpose2d(weight, stride=stride, padding=pad),
        work=2 * batch * channels * size**2 * filters * kernel**2,
    )


OPS = with_gradients(
    {
        "64 3x3 32": _conv(16, 64, 64, 32, 3),
        "stem 7x7 s2": _conv(4, 3, 64, 224, 7, 2),
        "64-64 1x1 56": _conv(8, 64, 64, 56, 1),
        "64-256 1x1 56": _conv(8, 64, 256, 56, 1),
        "256-64 1x1 56": _conv(8, 256, 64, 56, 1),
        "64 3x3 56": _conv(8, 64, 64, 56, 3),
        "256-512 1x1 s2 56": _conv(8, 256, 512, 56, 1, 2, 0),
        "128 3x3 s2 56": _conv(8, 128, 128, 56, 3, 2),
        "128 3x3 28": _conv(8, 128, 128, 28, 3),
        "256 3x3 14": _conv(8, 256, 256, 14, 3),
        "1024-256 1x1 14": _conv(8, 1024, 256, 14, 1),
        "512 3x3 7": _conv(8, 512, 512, 7, 3),
        "512-2048 1x1 7": _conv(8, 512, 2048, 7, 1),
        "depthwise 3x3 56": _conv(8, 128, 128, 56, 3, groups=128),
        "depthwise 3x3 s2 56": _conv(8, 128, 128, 56, 3, 2, groups=128),
        "grouped 3x3 28": _conv(8, 128, 128, 28, 3, groups=32),
        "LeNet 1-20 5x5": _conv(64, 1, 20, 28, 5, pad=0),
        "LeNet 20-50 5x5": _conv(64, 20, 50, 12, 5, pad=0),
        "dilated 3x3 28": _conv(8, 128, 128, 28, 3, dilate=2),
        "transposed 4x4 s2": _transposed(16, 128, 64, 16, 4, 2, 1),
    }
)
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)


def work(case: str) -> float:
    """Floating-point operations of one call: each gradient takes as many as the convolution."""
    return OPS[case].work
