"""Products of square float32 matrices, either one transposed or neither.

Bar: at 1024, 60% of numpy's speed on Intel's runtime and on Debian's PoCL.
"""

UNIT = "GFLOP/s"
REFERENCE = "numpy"
CASES = {
    f"{n} {layout}": f"{n} x {n}, {meaning}"
    for n in (512, 1024, 2048)
    for layout, meaning in (("NN", "A B"), ("NT", "A B'"), ("TN", "A' B"))
}


def work(case: str) -> float:
    """Floating-point operations of one call."""
    size, _ = _parse(case)
    return 2 * size**3


def _parse(case: str) -> tuple[int, tuple[bool, bool]]:
    size, layout = case.split()
    return int(size), (layout[0] == "T", layout[1] == "T")


def mxnet(mx, case):
    n, (transpose_a, transpose_b) = _parse(case)
    a, b = mx.nd.random.uniform(shape=(n, n)), mx.nd.random.uniform(shape=(n, n))
    return lambda: mx.nd.dot(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def numpy(np, case):
    n, (transpose_a, transpose_b) = _parse(case)
    rng = np.random.default_rng(0)
    a, b = rng.random((n, n), np.float32), rng.random((n, n), np.float32)
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    return lambda: a @ b


def torch(torch, case):
    n, (transpose_a, transpose_b) = _parse(case)
    a, b = torch.rand(n, n), torch.rand(n, n)
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    return lambda: a @ b
