"""Moving data: transposes, joining, slicing, gathering, and the gradients of these."""

from benchmarks.cases import Op, descriptions, integers, normal, runners, with_gradients

BAR = {"torch": 1.0}


def _transpose(*shape: int, axes: tuple[int, ...]) -> Op:
    return Op(
        f"transpose of {' x '.join(map(str, shape))} to {axes}",
        [normal(*shape)],
        mxnet=lambda nd, x: nd.transpose(x, axes=axes),
        torch=lambda torch, x: x.permute(axes).contiguous(),
        tinygrad=lambda tensor, x: x.permute(axes).contiguous(),
    )


def _concat(axis: int) -> Op:
    return Op(
        f"three arrays of 1024 x 1024, joined along axis {axis}",
        [normal(1024, 1024, seed=seed) for seed in range(3)],
        mxnet=lambda nd, *arrays: nd.concat(*arrays, dim=axis),
        torch=lambda torch, *arrays: torch.cat(arrays, axis),
        tinygrad=lambda tensor, x, y, z: x.cat(y, z, dim=axis),
    )


def _embedding(ids: int, vocabulary: int, width: int, most: int | None = None) -> Op:
    return Op(
        f"rows of {vocabulary} x {width} at {ids} places" + (f" of the first {most}" if most else ""),
        [normal(vocabulary, width)],
        constants=[integers(most or vocabulary, ids)],
        mxnet=lambda nd, weight, at: nd.Embedding(at, weight, input_dim=vocabulary, output_dim=width),
        torch=lambda torch, weight, at: torch.nn.functional.embedding(at, weight),
    )


TWICE = {
    "transpose 2048 x 2048": _transpose(2048, 2048, axes=(1, 0)),
    "transpose to NHWC": _transpose(32, 64, 46, 46, axes=(0, 2, 3, 1)),
    "transpose heads": _transpose(32, 512, 8, 32, axes=(0, 2, 1, 3)),
    "concat axis 0": _concat(0),
    "concat axis 1": _concat(1),
    "slice columns": Op(
        "x[:, 100:1900] of 2048 x 2048",
        [normal(2048, 2048)],
        mxnet=lambda nd, x: nd.slice_axis(x, axis=1, begin=100, end=1900),
        torch=lambda torch, x: x[:, 100:1900].contiguous(),
        tinygrad=lambda tensor, x: x[:, 100:1900].contiguous(),
    ),
    "pad images": Op(
        "32 x 64 x 46 x 46, padded by 1",
        [normal(32, 64, 46, 46)],
        mxnet=lambda nd, x: nd.pad(
            x, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 1, 1), constant_value=0
        ),
        torch=lambda torch, x: torch.nn.functional.pad(x, (1, 1, 1, 1)),
        tinygrad=lambda tensor, x: x.pad((1, 1, 1, 1)).contiguous(),
    ),
    "broadcast rows": Op(
        "1 x 2048, broadcast to 2048 x 2048",
        [normal(1, 2048)],
        mxnet=lambda nd, x: nd.broadcast_to(x, shape=(2048, 2048)),
        torch=lambda torch, x: x.expand(2048, 2048).contiguous(),
        tinygrad=lambda tensor, x: x.expand(2048, 2048).contiguous(),
    ),
    "embedding": _embedding(16384, 10000, 256),
    "embedding, few words": _embedding(16384, 10000, 256, most=50),
    "pick": Op(
        "one of each of 65536 rows of 64",
        [normal(65536, 64)],
        constants=[integers(64, 65536)],
        mxnet=lambda nd, x, at: nd.pick(x, at, axis=1),
        torch=lambda torch, x, at: x.gather(1, at[:, None])[:, 0],
    ),
}

ONCE = {
    "take rows": Op(
        "16384 rows of 50000 x 128",
        [normal(50000, 128)],
        constants=[integers(50000, 16384)],
        mxnet=lambda nd, x, at: nd.take(x, at),
        torch=lambda torch, x, at: x[at],
    ),
    "take columns": Op(
        "1024 columns of 2048 x 4096",
        [normal(2048, 4096)],
        constants=[integers(4096, 1024)],
        mxnet=lambda nd, x, at: nd.take(x, at, axis=1),
        torch=lambda torch, x, at: x.index_select(1, at),
    ),
    "flip": Op(
        "2048 x 2048, the rows reversed",
        [normal(2048, 2048)],
        mxnet=lambda nd, x: nd.flip(x, axis=1),
        torch=lambda torch, x: x.flip(1),
        tinygrad=lambda tensor, x: x.flip(1).contiguous(),
    ),
    "one_hot": Op(
        "4096 numbers of 1000 classes",
        [],
        constants=[integers(1000, 4096)],
        mxnet=lambda nd, at: nd.one_hot(at, 1000),
        torch=lambda torch, at: torch.nn.functional.one_hot(at, 1000).to(torch.float32),
    ),
    "copy": Op(
        "4M elements",
        [normal(1 << 22)],
        mxnet=lambda nd, x: x.copy(),
        torch=lambda torch, x: x.clone(),
    ),
}

OPS = {**with_gradients(TWICE), **ONCE}
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
