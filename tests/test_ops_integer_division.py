"""Division of whole numbers: no trap on a divisor of 0 or on MIN / -1, and Python's rounding for //."""

import numpy as np
import pytest

from clgrad import nd

SIGNED = ("int8", "int32", "int64")


def pairs(dtype):
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.min + 1, 0, 1, 2, 3, 7, limits.max], dtype)
    if limits.min:
        values = np.concatenate([values, np.array([-1, -2, -3, -7], dtype)])
    return np.repeat(values, values.size), np.tile(values, values.size)


@pytest.mark.parametrize("dtype", [*SIGNED, "uint8"])
def test_floor_division_and_modulo_are_numpys(dtype):
    """A quotient that is truncated, or a remainder of the wrong sign, breaks this."""
    a, b = pairs(dtype)
    with np.errstate(all="ignore"):
        quotient, remainder = np.floor_divide(a, b), np.mod(a, b)
    x, y = nd.array(a, dtype=dtype), nd.array(b, dtype=dtype)
    np.testing.assert_array_equal((x // y).asnumpy(), quotient)
    np.testing.assert_array_equal((x % y).asnumpy(), remainder)


@pytest.mark.parametrize("dtype", [*SIGNED, "uint8"])
def test_division_truncates_as_c_and_gives_0_for_0(dtype):
    """On CPUs, an unguarded x / 0 or MIN / -1 kills the process."""
    a, b = pairs(dtype)
    exact = [
        0 if n == 0 else abs(int(m)) // abs(int(n)) * (1 if (m < 0) == (n < 0) else -1)
        for m, n in zip(a, b, strict=True)
    ]
    expected = (
        np.array(exact, "object").astype("int64", casting="unsafe")
        if dtype != "int64"
        else (np.array([((n + 2**63) % 2**64) - 2**63 for n in exact], "int64"))
    )
    y = (nd.array(a, dtype=dtype) / nd.array(b, dtype=dtype)).asnumpy()
    np.testing.assert_array_equal(y, expected.astype(dtype))
