"""Counts in bins against numpy, in both kernel shapes."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import histogram, layout

F32 = np.dtype(np.float32)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("size", "bins"), [(1, 1), (37, 5), (20011, 3), (20011, 300)])
@pytest.mark.parametrize("shape", ["cpu", "gpu"])
def test_parts(shape, size, bins, wide, rng, monkeypatch):
    if wide:
        monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    x = rng.integers(-4, 40, size).astype(F32) / 4
    edges = np.linspace(0, 8, bins + 1).astype(F32)
    plan = histogram.plan_parts(device_of_shape(shape), "histogram", size, bins, F32, F32)
    (parts,) = run(plan, [x, edges])
    np.testing.assert_array_equal(parts.sum(0), np.histogram(x, edges)[0])
