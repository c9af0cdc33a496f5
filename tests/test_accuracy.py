"""Elementwise functions keep the errors that docs/numerics.md promises, on the device at hand."""

import numpy as np
import pytest

from benchmarks import accuracy
from clgrad import nd
from clgrad.device import current_context

#: libclc's functions that rusticl compiles: docs/numerics.md says how far off they are.
NOT_RUSTICL = {"gamma", "gammaln", "polygamma(1)", "polygamma(2)", "polygamma(3)"}


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64"))])
@pytest.mark.parametrize("name", accuracy.FUNCTIONS)
def test_errors_are_within_bounds(name, dtype):
    if name in NOT_RUSTICL and current_context().device.platform_name == "rusticl":
        pytest.skip("rusticl's own function is worse")
    with np.errstate(all="ignore"):
        found = accuracy.measure(name, dtype)
    if found is None:
        pytest.skip("numpy's long double is no wider than float64 here")
    bound = accuracy.FUNCTIONS[name].bounds[dtype == "float64"]
    assert found["max"] <= bound, f"{found['max']:.2f} ulp at {found['at']!r}; promised: {bound}"


def test_errors_are_counted_in_units_of_the_exact_result():
    """One unit off is an error of 1; a wrong infinity or NaN is infinitely wrong."""
    exact = np.array([1.0, 3.0, 1e-40, np.inf, 1e39, np.nan, 2.0, 2.0])
    actual = np.array([1 + 2.0**-23, 3, 0, np.inf, np.inf, np.nan, np.inf, np.nan], np.float32)
    errors = accuracy.ulps(actual, exact, "float32")
    np.testing.assert_allclose(errors, [1, 0, 0.0085, 0, 0, 0, np.inf, np.inf], rtol=0.01)


def test_the_table_is_of_the_kept_results(tmp_path, monkeypatch):
    """docs/numerics.md holds what results/accuracy.json says."""
    copy = tmp_path / "numerics.md"
    copy.write_text(accuracy.DOCUMENT.read_text())
    monkeypatch.setattr(accuracy, "DOCUMENT", copy)
    accuracy.write_table()
    assert copy.read_text() == (accuracy.RESULTS.parents[1] / "docs" / "numerics.md").read_text()


# Storage in half precision: rounded once, to the nearest, ties to even


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_storage_rounds_to_nearest_even(dtype):
    """Every boundary between neighbours of a few binades, denormals, and what overflows."""
    kind = nd.zeros((1,), dtype=dtype).asnumpy().dtype
    codes = np.arange(0, 2**15, 7, dtype=np.uint16)
    stored = codes.view(kind)
    stored = stored[np.isfinite(stored.astype(np.float32))]
    low = stored.astype(np.float32)
    high = np.nextafter(stored, np.array(np.inf, kind)).astype(np.float32) if dtype == "float16" else low
    middle = (low.astype(np.float64) + high) / 2
    middle = middle[np.isfinite(middle)].astype(np.float32)
    x = np.concatenate([low, middle, np.nextafter(middle, np.float32(0)), [65519, 65520, 3.39e38, -3.4e38]])
    x = np.concatenate([x, -x]).astype(np.float32)
    x = x[(np.abs(x) >= np.finfo(np.float32).tiny) | (x == 0)]
    with np.errstate(over="ignore"):
        expected = x.astype(kind)
    actual = nd.cast(nd.array(x), dtype=dtype).asnumpy()
    np.testing.assert_array_equal(actual.view(np.uint16), expected.view(np.uint16))
