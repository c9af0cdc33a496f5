"""Softmax and normalisation: statistics of rows, channels or groups, and a map with them."""

from benchmarks.cases import Op, descriptions, full, integers, normal, runners, with_gradients

BAR = {"torch": 1.0}

IMAGES = (32, 64, 56, 56)


def _softmax(name: str, shape: tuple[int, ...], axis: int = -1) -> Op:
    return Op(
        f"{name} of {' x '.join(map(str, shape))} along axis {axis}",
        [normal(*shape)],
        mxnet=lambda nd, x: getattr(nd, name)(x, axis=axis),
        torch=lambda torch, x: getattr(torch, name)(x, axis),
        tinygrad=lambda tensor, x: getattr(x, name)(axis),
    )


def _cross_entropy(rows: int, classes: int) -> Op:
    return Op(
        f"sum of the cross-entropies of {rows} rows of {classes} classes",
        [normal(rows, classes)],
        constants=[integers(classes, rows)],
        mxnet=lambda nd, x, label: nd.softmax_cross_entropy(x, label),
        torch=lambda torch, x, label: torch.nn.functional.cross_entropy(x, label, reduction="sum").reshape(
            1
        ),
        tinygrad=lambda tensor, x, label: x.cross_entropy(label, reduction="sum").reshape(1),
    )


def _layer_norm(rows: int, columns: int) -> Op:
    return Op(
        f"LayerNorm of {rows} rows of {columns}",
        [normal(rows, columns), full(1, columns), full(0, columns)],
        mxnet=lambda nd, x, gamma, beta: nd.LayerNorm(x, gamma, beta, eps=1e-5),
        torch=lambda torch, x, gamma, beta: torch.nn.functional.layer_norm(
            x, (columns,), gamma, beta, 1e-5
        ),
        tinygrad=lambda tensor, x, gamma, beta: x.layernorm(eps=1e-5) * gamma + beta,
    )


def _batch_norm(*shape: int) -> Op:
    channels = shape[1]

    def torch(torch, x, gamma, beta, mean, var):
        return torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training=x.requires_grad, eps=1e-5)

    return Op(
        f"BatchNorm of {' x '.join(map(str, shape))}; with gradients: by statistics of the batch",
        [normal(*shape), full(1, channels), full(0, channels)],
        constants=[full(0, channels), full(1, channels)],
        mxnet=lambda nd, *arrays: nd.BatchNorm(*arrays, eps=1e-5, fix_gamma=False),
        torch=torch,
    )


def _group_norm(groups: int, *shape: int) -> Op:
    # MXNet has a gamma and a beta for each group, PyTorch for each channel.
    return Op(
        f"GroupNorm of {' x '.join(map(str, shape))} in {groups} groups",
        [normal(*shape)],
        constants=[full(1, groups), full(0, groups), full(1, shape[1]), full(0, shape[1])],
        mxnet=lambda nd, x, gamma, beta, *_: nd.GroupNorm(x, gamma, beta, num_groups=groups, eps=1e-5),
        torch=lambda torch, x, _, __, gamma, beta: torch.nn.functional.group_norm(
            x, groups, gamma, beta, 1e-5
        ),
    )


OPS = with_gradients(
    {
        "softmax 8192 x 512": _softmax("softmax", (8192, 512)),
        "softmax 128 x 32768": _softmax("softmax", (128, 32768)),
        "softmax 131072 x 10": _softmax("softmax", (131072, 10)),
        "softmax of channels": _softmax("softmax", (32, 21, 64, 64), 1),
        "log_softmax 8192 x 512": _softmax("log_softmax", (8192, 512)),
        "log_softmax 128 x 10": _softmax("log_softmax", (128, 10)),
        "cross-entropy 4096 x 1000": _cross_entropy(4096, 1000),
        "cross-entropy 128 x 10": _cross_entropy(128, 10),
        "LayerNorm 8192 x 512": _layer_norm(8192, 512),
        "LayerNorm 1024 x 256": _layer_norm(1024, 256),
        "BatchNorm images": _batch_norm(*IMAGES),
        "BatchNorm 14 x 14": _batch_norm(32, 256, 14, 14),
        "GroupNorm images": _group_norm(8, *IMAGES),
    }
)
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
