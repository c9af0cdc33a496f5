"""Padding and cropping; blocks and windows of images as channels and columns."""

import numpy as np

from golden.case import REAL, Case, integers, uniform

CASES = []


def case(op, tag, *shapes, **more):
    fields = {k: more.pop(k) for k in ("sweep", "dtypes", "error", "reference", "why") if k in more}
    return Case(op, tuple(uniform(*shape) for shape in shapes), more, tag, **fields)


IMAGE, VOLUME = (1, 2, 3, 4), (1, 1, 2, 3, 2)
for mode in ("constant", "edge", "reflect"):
    CASES += [
        Case(
            "pad",
            (integers(*IMAGE, low=0, high=9),),
            {"mode": mode, "pad_width": (0, 0, 0, 0, 1, 2, 0, 3)},
            f"{mode} main",
            sweep=True,
        ),
        case("pad", f"{mode} 5 axes", VOLUME, mode=mode, pad_width=(0, 0, 0, 0, 1, 0, 2, 1, 0, 1)),
        case("pad", f"{mode} none", IMAGE, mode=mode, pad_width=(0,) * 8),
        case("Pad", f"{mode} string", IMAGE, mode=mode, pad_width="(0,0,0,0,1,0,1,1)"),
    ]
CASES += [
    case("pad", "value", IMAGE, mode="constant", pad_width=(0, 0, 0, 0, 1, 0, 0, 2), constant_value=1.5),
    case("pad", "leading", IMAGE, mode="constant", pad_width=(0, 0, 1, 0, 1, 0, 0, 2), error=True),
    case("pad", "short", IMAGE, mode="edge", pad_width=(0, 0, 0, 0), error=True),
    case("pad", "rank", (2, 3, 4), mode="edge", pad_width=(0, 0, 0, 0, 1, 1), error=True),
    case("pad", "mode", IMAGE, mode="wrap", pad_width=(0,) * 8, error=True),
    case("pad", "reflect too far", IMAGE, mode="reflect", pad_width=(0, 0, 0, 0, 3, 0, 0, 0), error=True),
]

CASES += [
    case("Crop", "main", IMAGE, h_w=(2, 2), offset=(1, 2)),
    case("Crop", "no offset", IMAGE, h_w=(2, 3)),
    case("Crop", "center", (1, 1, 4, 5), h_w=(2, 2), center_crop=True),
    case("Crop", "like", IMAGE, (1, 1, 2, 2), offset=(1, 1), num_args=2),
    case("Crop", "center like", IMAGE, (1, 1, 1, 2), center_crop=True, num_args=2),
    case("Crop", "too far", IMAGE, h_w=(2, 2), offset=(2, 2), error=True),
    case("Crop", "no size", IMAGE, error=True),
    case("Crop", "too large", IMAGE, h_w=(4, 4), error=True),
]

CASES += [
    case("depth_to_space", "main", (1, 4, 2, 3), block_size=2, sweep=True),
    case("depth_to_space", "more channels", (2, 8, 1, 2), block_size=2),
    case("depth_to_space", "block of 1", (1, 2, 2, 2), block_size=1),
    case("depth_to_space", "channels", (1, 6, 2, 2), block_size=2, error=True),
    case("depth_to_space", "rank", (4, 2, 2), block_size=2, error=True),
    case("depth_to_space", "block of 0", (1, 4, 2, 2), block_size=0, error=True),
    case("space_to_depth", "main", (1, 1, 4, 6), block_size=2, sweep=True),
    case("space_to_depth", "more channels", (2, 2, 3, 3), block_size=3),
    case("space_to_depth", "sizes", (1, 4, 3, 2), block_size=2, error=True),
    case("space_to_depth", "rank", (4, 2, 2), block_size=2, error=True),
]


def columns(x, kernel, stride=None, dilate=None, pad=None):
    """Windows of an array (batch, channel, ...) as columns, tap by tap."""
    rank = x.ndim - 2
    stride, dilate, pad = stride or (1,) * rank, dilate or (1,) * rank, pad or (0,) * rank
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    found = []
    for taps in np.ndindex(*kernel):
        windows = []
        for t, k, s, d, n in zip(taps, kernel, stride, dilate, x.shape[2:], strict=True):
            last = n - d * (k - 1) + t * d
            windows.append(slice(t * d, last, s))
        found.append(x[(..., *windows)].reshape(*x.shape[:2], 1, -1))
    y = np.concatenate(found, 2)
    return y.reshape(x.shape[0], -1, y.shape[-1])


ONLY_2D = "MXNet reads beyond the arguments where there are not two spatial axes, and refuses"
CASES += [
    case("im2col", "main", (1, 2, 3, 3), kernel=(2, 2), sweep=True, dtypes=REAL),
    case("im2col", "everything", (1, 1, 4, 5), kernel=(2, 2), stride=(1, 2), dilate=(2, 1), pad=(1, 1)),
    case("im2col", "1-d", (2, 1, 5), kernel=(3,), stride=(2,), pad=(1,), reference=columns, why=ONLY_2D),
    case("im2col", "3-d", (1, 1, 2, 2, 3), kernel=(2, 1, 2), reference=columns, why=ONLY_2D),
    case("im2col", "too large", (1, 1, 3, 3), kernel=(4, 1), error=True),
    case("im2col", "rank", (1, 1, 3, 3), kernel=(2,), error=True),
    case("col2im", "main", (1, 8, 4), output_size=(3, 3), kernel=(2, 2), sweep=True, dtypes=REAL),
    case(
        "col2im",
        "everything",
        (1, 4, 12),
        output_size=(4, 5),
        kernel=(2, 2),
        stride=(1, 2),
        dilate=(2, 1),
        pad=(1, 1),
    ),
    case("col2im", "positions", (1, 8, 5), output_size=(3, 3), kernel=(2, 2), error=True),
    case("col2im", "channels", (1, 7, 4), output_size=(3, 3), kernel=(2, 2), error=True),
]
