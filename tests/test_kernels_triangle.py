"""Packing of triangles, in both kernel shapes, amid canaries."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import triangle

F32 = np.dtype(np.float32)


def packed(a: np.ndarray, offset: int, lower: bool) -> np.ndarray:
    """The triangle by numpy: a lower one by rows, an upper one by columns."""
    a = a if lower else a.swapaxes(-1, -2)
    rows, columns = np.tril_indices(a.shape[-1], offset if lower else -offset)
    return a[..., rows, columns]


@pytest.mark.parametrize("shape", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("offset", "lower"), [(0, True), (0, False), (1, False), (-1, True), (36, False), (-20, True)]
)
@pytest.mark.parametrize("batch", [(), (3, 2)])
def test_pack_and_unpack(shape, offset, lower, batch, rng):
    device = device_of_shape(shape)
    a = rng.standard_normal((*batch, 37, 37)).astype(F32)
    plan = triangle.plan_pack(device, "pack", a.shape, F32, offset, lower)
    (vector,) = run(plan, [a])
    np.testing.assert_array_equal(vector, packed(a, offset, lower))
    plan = triangle.plan_unpack(device, "unpack", vector.shape, F32, offset, lower)
    (matrix,) = run(plan, [vector])
    np.testing.assert_array_equal(matrix, np.tril(a, offset) if lower else np.triu(a, offset))


def test_sides_of_triangles():
    assert [triangle.side(n) for n in range(7)] == [0, 1, None, 2, None, None, 3]
