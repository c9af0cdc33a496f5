"""Correlation against its definition, on sizes that recorded answers of MXNet leave out."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError

COVERS = {
    "Correlation": (
        "_displaced",
        "_displaced_grad_data1",
        "_displaced_grad_data2",
        "_displaced_grad_padded",
    ),
}


def correlation(a, b, kernel, furthest, stride1, stride2, pad, multiply=True) -> np.ndarray:
    """Patch by patch."""
    a, b = (np.pad(x.astype(np.float64), [(0, 0), (0, 0), (pad, pad), (pad, pad)]) for x in (a, b))
    steps = range(-(furthest // stride2) * stride2, furthest + 1, stride2)
    size = [(n - 2 * furthest - kernel) // stride1 + 1 for n in a.shape[2:]]
    y = np.empty((a.shape[0], len(steps) ** 2, *size))
    for q, (v, u) in enumerate((v, u) for v in steps for u in steps):
        for i, j in np.ndindex(*size):
            r, c = i * stride1 + furthest, j * stride1 + furthest
            one = a[:, :, r : r + kernel, c : c + kernel]
            other = b[:, :, r + v : r + v + kernel, c + u : c + u + kernel]
            patch = one * other if multiply else np.abs(one - other)
            y[:, q, i, j] = patch.mean((1, 2, 3))
    return y


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [(1, 1, 1, 1, 0), (3, 2, 1, 1, 3), (1, 4, 2, 2, 4), (3, 3, 2, 2, 2), (5, 0, 1, 1, 2)],
)
def test_patches(arguments, multiply, rng):
    a, b = (rng.standard_normal((2, 3, 9, 11)).astype(np.float32) for _ in range(2))
    y = nd.Correlation(nd.array(a), nd.array(b), *arguments, is_multiply=multiply)
    expected = correlation(a, b, *arguments, multiply=multiply)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_repeat_to_the_bit_and_are_transposes(rng):
    """<dy, correlation(a, b)> is the product of a and its gradient, and that of b and its."""
    a, b = (nd.array(rng.standard_normal((2, 3, 8, 7))) for _ in range(2))
    a.attach_grad()
    b.attach_grad()
    found = set()
    for _ in range(2):
        with autograd.record():
            y = nd.Correlation(a, b, kernel_size=3, max_displacement=2, stride2=2, pad_size=3)
        y.backward()
        found.add(a.grad.asnumpy().tobytes() + b.grad.asnumpy().tobytes())
    assert len(found) == 1
    total = y.sum().asscalar()
    assert (a * a.grad).sum().asscalar() == pytest.approx(total, rel=1e-3, abs=1e-3)
    assert (b * b.grad).sum().asscalar() == pytest.approx(total, rel=1e-3, abs=1e-3)


def test_an_empty_batch():
    y = nd.Correlation(nd.zeros((0, 2, 4, 4)), nd.zeros((0, 2, 4, 4)))
    assert y.shape == (0, 9, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 2}, "kernel_size is 2; accepted: an odd number"),
        ({"max_displacement": 3}, r"kernel_size, max_displacement is \(1, 3\); accepted: less, or more"),
        ({"stride2": 0}, r"pad_size is \(1, 0, 1, 0\); accepted: 1, 1, 0, 0 or more"),
    ],
)
def test_errors_name_op_and_argument(arguments, message):
    x = nd.ones((1, 2, 4, 4))
    with pytest.raises(OperatorError, match=message):
        nd.Correlation(x, x, **arguments)
    with pytest.raises(
        OperatorError, match=r"data2 is float32 \(1, 2, 4, 3\); accepted: float32 \(1, 2, 4, 4\)"
    ):
        nd.Correlation(x, nd.ones((1, 2, 4, 3)))
