"""Matrix products: square, skinny, batched and odd ones, and dense layers."""

import numpy as np

from benchmarks.cases import Op, descriptions, normal, runners, uniform, with_gradients

BAR = {"torch": 0.9}


def bar(case: str, peer: str) -> float | None:
    """The bar is set for large square products, and for neither numpy nor the rest."""
    return BAR.get(peer) if case.startswith(("1024 ", "2048 ")) else None


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
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)


def numpy(numpy, case: str):
    op = OPS[case]
    if op.numpy is None:
        return None
    arrays = op.arrays()
    return lambda: op.numpy(numpy, *arrays)


def clblast(clblast, case: str):
    op = OPS[case]
    if op.clblast is None:
        return None
    x, y = op.arrays()
    zeros = np.zeros_like(op.numpy(np, x, y))
    arrays = [clblast.Matrix(array) for array in (x, y, zeros)]
    return lambda: op.clblast(clblast, *arrays)


def work(case: str) -> float:
    """Floating-point operations of one call."""
    return OPS[case].work
