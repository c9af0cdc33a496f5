"""Matrix products: square, skinny, batched and odd ones, and dense layers; 16-bit ones on tensor cores."""

import numpy as np

from benchmarks.cases import Op, descriptions, normal, runners, uniform, with_gradients

BAR = {"torch": 0.9}

#: How large products on a GPU with tensor cores are named: by what is multiplied there.
FORMATS = ("float32", "tf32", "float16", "bfloat16")


def bar(case: str, peer: str) -> float | None:
    """The bar is set for large square products, and for neither numpy nor the rest."""
    if peer == "torch" and case.startswith(tuple(f"{kind} 4096 " for kind in FORMATS)):
        return 0.85 if case.startswith("float32") else 0.5
    return BAR.get(peer) if case.startswith(("1024 ", "2048 ")) else None


def needs(case: str) -> str | None:
    """The capability of a device without which a case says nothing."""
    return "tensor_cores" if case.startswith(FORMATS) else None


def _product(m: int, k: int, n: int, layout: str = "NN") -> Op:
    a, b = (layout[0] == "T", layout[1] == "T")
    return Op(
        f"{m} x {k} by {k} x {n}" + (f", {layout} (T: given transposed)" if layout != "NN" else ""),
        [uniform(0, 1, *((k, m) if a else (m, k))), uniform(0, 1, *((n, k) if b else (k, n)), seed=1)],
        mxnet=lambda nd, x, y: nd.dot(x, y, transpose_a=a, transpose_b=b),
        torch=lambda torch, x, y: (x.T if a else x) @ (y.T if b else y),
        tinygrad=lambda tensor, x, y: (x.T if a else x) @ (y.T if b else y),
        numpy=lambda np, x, y: (x.T if a else x) @ (y.T if b else y),
        clblast=lambda clblast, x, y, z: clblast.product(x, y, z, a, b),
        work=2 * m * k * n,
    )


def _batched(batch: int, m: int, k: int, n: int, transposed: bool = False) -> Op:
    return Op(
        f"{batch} products of {m} x {k} by {k} x {n}"
        + (", the second given transposed" if transposed else ""),
        [normal(batch, m, k), normal(batch, *((n, k) if transposed else (k, n)), seed=1)],
        mxnet=lambda nd, x, y: nd.batch_dot(x, y, transpose_b=transposed),
        torch=lambda torch, x, y: torch.bmm(x, y.mT if transposed else y),
        tinygrad=lambda tensor, x, y: x @ (y.transpose(1, 2) if transposed else y),
        numpy=lambda np, x, y: x @ (y.swapaxes(1, 2) if transposed else y),
        clblast=lambda clblast, x, y, z: clblast.product(x, y, z, False, transposed),
        work=2 * batch * m * k * n,
    )


def _dense(rows: int, inputs: int, outputs: int) -> Op:
    return Op(
        f"{rows} x {inputs}, a dense layer to {outputs}, with bias",
        [normal(rows, inputs), normal(outputs, inputs, seed=1), normal(outputs, seed=2)],
        mxnet=lambda nd, x, weight, bias: nd.FullyConnected(x, weight, bias, num_hidden=outputs),
        torch=lambda torch, x, weight, bias: torch.nn.functional.linear(x, weight, bias),
        tinygrad=lambda tensor, x, weight, bias: x.linear(weight.T, bias),
        work=2 * rows * inputs * outputs,
    )


OPS = {
    **{
        f"{n} {layout}": _product(n, n, n, layout)
        for n in (512, 1024, 2048)
        for layout in ("NN", "NT", "TN")
    },
    "128": _product(128, 128, 128),
    "256": _product(256, 256, 256),
    "odd 1000": _product(1000, 1000, 1000),
    "odd 1023": _product(1023, 1023, 1023),
    "odd 129 x 257 x 513": _product(129, 257, 513),
    "outer 4096 x 64 x 4096": _product(4096, 64, 4096),
    "inner 64 x 8192 x 64": _product(64, 8192, 64),
    "tall 8192 x 256 x 32": _product(8192, 256, 32),
    "vector 1 x 4096 x 4096": _product(1, 4096, 4096),
    "4096 x 4096 x 1 vector": _product(4096, 4096, 1),
    "batch 32 of 128 x 64 x 128": _batched(32, 128, 64, 128, transposed=True),
    "batch 32 of 128 x 128 x 64": _batched(32, 128, 128, 64),
    "batch 1024 of 16": _batched(1024, 16, 16, 16),
    "batch 8 of 512": _batched(8, 512, 512, 512),
    **with_gradients(
        {
            "dense 128 x 784 x 512": _dense(128, 784, 512),
            "dense 1024 x 256 x 1024": _dense(1024, 256, 1024),
            "dense 128 x 512 x 10": _dense(128, 512, 10),
        }
    ),
}
#: Rows, sum and columns of each; the last one has few tiles and a long sum.
SHAPES = {
    **{f"4096 {layout}": (4096, 4096, 4096, layout) for layout in ("NN", "NT", "TN")},
    "1024 NN": (1024, 1024, 1024, "NN"),
    "odd 4095 NN": (4095, 4095, 4095, "NN"),
    "inner 256 x 16384 x 256 NN": (256, 16384, 256, "NN"),
}
TENSOR = {f"{kind} {name}": (kind, _product(*shape)) for kind in FORMATS for name, shape in SHAPES.items()}

CASES = descriptions(OPS) | {case: f"{op.what}, {kind}" for case, (kind, op) in TENSOR.items()}
_mxnet, _torch, _tinygrad = runners(OPS)


def mxnet(mx, case: str):
    return None if case in TENSOR else _mxnet(mx, case)


def tinygrad(tinygrad, case: str):
    return None if case in TENSOR else _tinygrad(tinygrad, case)


def clgrad(clgrad, case: str):
    clgrad.allow_tf32(case.startswith("tf32"))
    if case not in TENSOR:
        return _mxnet(clgrad, case)
    kind, op = TENSOR[case]
    stored = "float32" if kind == "tf32" else kind
    arrays = [clgrad.nd.array(array, dtype=stored) for array in op.arrays()]
    return lambda: op.mxnet(clgrad.nd, *arrays)


def torch(torch, case: str):
    torch.backends.cuda.matmul.allow_tf32 = case.startswith("tf32")
    if case not in TENSOR:
        return _torch(torch, case)
    kind, op = TENSOR[case]
    stored = getattr(torch, "float32" if kind == "tf32" else kind)
    arrays = [torch.tensor(array).to(stored) for array in op.arrays()]
    return lambda: op.torch(torch, *arrays)


def numpy(numpy, case: str):
    op = OPS.get(case)
    if op is None or op.numpy is None:
        return None
    arrays = op.arrays()
    return lambda: op.numpy(numpy, *arrays)


def clblast(clblast, case: str):
    op = TENSOR[case][1] if case.startswith("float32") else OPS.get(case)
    if op is None or op.clblast is None:
        return None
    x, y = op.arrays()
    zeros = np.zeros_like(op.numpy(np, x, y))
    arrays = [clblast.Matrix(array) for array in (x, y, zeros)]
    return lambda: op.clblast(clblast, *arrays)


def work(case: str) -> float:
    """Floating-point operations of one call."""
    return TENSOR[case][1].work if case in TENSOR else OPS[case].work
