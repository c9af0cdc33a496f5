"""How cost grows with size: from launches, which cost the same for any size, to memory and arithmetic."""

from benchmarks.cases import Op, descriptions, normal, runners

#: The same ops are held against bars elsewhere, at sizes that matter.
BAR = {"mxnet": None}

ELEMENTS = {"256": 1 << 8, "4K": 1 << 12, "64K": 1 << 16, "1M": 1 << 20, "16M": 1 << 24}
#: Rows and columns of square matrices.
SQUARES = (16, 64, 256, 1024)


def _add(n: int) -> Op:
    return Op(f"x + y, {n} elements", [normal(n), normal(n, seed=1)], *3 * [lambda _, x, y: x + y])


def _sum(n: int) -> Op:
    return Op(
        f"sum of {n} elements",
        [normal(n)],
        mxnet=lambda nd, x: nd.sum(x),
        torch=lambda torch, x: torch.sum(x),
        tinygrad=lambda tensor, x: x.sum(),
    )


def _sigmoid(n: int) -> Op:
    return Op(
        f"sigmoid of {n} elements, recorded, and its gradient",
        [normal(n)],
        mxnet=lambda nd, x: nd.sigmoid(x),
        torch=lambda torch, x: torch.sigmoid(x),
        tinygrad=lambda tensor, x: x.sigmoid(),
        gradients=True,
    )


def _product(n: int) -> Op:
    return Op(
        f"{n} x {n} by {n} x {n}",
        [normal(n, n), normal(n, n, seed=1)],
        mxnet=lambda nd, x, y: nd.dot(x, y),
        torch=lambda torch, x, y: x @ y,
        tinygrad=lambda tensor, x, y: x @ y,
        work=2 * n**3,
    )


OPS = {
    f"{name} {size}": make(n)
    for name, make in (("add", _add), ("sum", _sum), ("sigmoid, gradients", _sigmoid))
    for size, n in ELEMENTS.items()
} | {f"product {n}": _product(n) for n in SQUARES}
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)


def work(case: str) -> float:
    """Floating-point operations of one call, of products alone."""
    return OPS[case].work
