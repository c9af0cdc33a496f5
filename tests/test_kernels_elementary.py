"""The functions of templates/elementary.cl.mako: all of them on every device, in vectors and tails."""

import dataclasses

import numpy as np
import plan_harness
import pytest
import scipy.special

from benchmarks import accuracy
from clgrad.device import current_context
from clgrad.kernels import expr, layout, map


def normal_cdf(x):
    """By erfcx, since scipy's ndtr magnifies the rounding of x / sqrt(2) in its lower tail."""
    a = np.abs(x)
    lower = 0.5 * np.exp(-0.5 * a * a) * scipy.special.erfcx(a.astype(np.float64) * np.sqrt(0.5))
    return np.where(np.isnan(x), x, np.where(x < 0, lower, 1 - lower))


#: What belongs together goes into one kernel: builds take longer than runs.
FAMILIES = {
    "exponentials": {
        "exp": np.exp,
        "expm1": np.expm1,
        "tanh": np.tanh,
        "sinh": np.sinh,
        "cosh": np.cosh,
        "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    },
    "normal": {"erf": scipy.special.erf, "ndtr": normal_cdf},
    "logarithms": {"log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p},
    "angles": {"sin": np.sin, "cos": np.cos, "tan": np.tan},
}

#: Largest errors in ulp; others are within 3.
LARGEST = {"ndtr": 14, "tan": 4}

EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 1e-30, -1e30, 1e30]

DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64"))]


def applied(functions, dtype, *arrays):
    """Each function of the arrays, by kernels that take none of the device's own."""
    device = plan_harness.Cpu(current_context().device)
    device.capabilities = dataclasses.replace(device.capabilities, own_functions=expr.ELEMENTARY)
    shape, dtype = arrays[0].shape, np.dtype(dtype)
    operand = layout.broadcast(shape, shape, dtype)
    operands = [expr.operand(slot, dtype) for slot in range(len(arrays))]
    outputs = [map.Output(expr.call(f, *operands), operand) for f in functions]
    plan = map.plan(device, "own", shape, outputs, [operand] * len(arrays))
    return dict(zip(functions, plan_harness.run(plan, list(arrays)), strict=True))


def arguments(dtype, rng):
    """Edges, and numbers of all sizes beside each other in one vector."""
    kind = np.finfo(dtype)
    sizes = np.exp2(rng.uniform(kind.minexp, kind.maxexp, 2000)) * rng.choice([-1, 1], 2000)
    usual = rng.uniform(-20, 20, 2000)
    x = np.concatenate([EDGES, [kind.tiny, -kind.tiny, kind.max, -kind.max], sizes, usual]).astype(dtype)
    return rng.permutation(x)


def exact(function, x):
    """What a function gives in wider numbers, where numpy has them."""
    wide = x.astype(np.longdouble if x.dtype == np.float64 else np.float64)
    with np.errstate(all="ignore"):
        try:
            return function(wide)
        except TypeError:  # scipy's special functions end at float64
            return function(x.astype(np.float64)).astype(wide.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_errors_and_edges(family, dtype, rng):
    """A coefficient, a selection at an edge, or a lane that is spoilt by its neighbour."""
    x = arguments(dtype, rng)
    results = applied(FAMILIES[family], dtype, x)
    for name, y in results.items():
        expected = exact(FAMILIES[family][name], x)
        errors = accuracy.ulps(y, expected, dtype)
        worst = int(np.argmax(errors))
        assert errors[worst] <= LARGEST.get(name, 3), f"{name}({x[worst]!r}) = {y[worst]!r}"
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(expected[zero]), err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_gelu(dtype, rng):
    """Phi(x) + x phi(x), in which the parts may cancel: errors are those of the parts."""
    x = arguments(dtype, rng)
    slope = applied(["gelu_slope"], dtype, x)["gelu_slope"]
    near = np.clip(x.astype(np.longdouble), -60, 60)  # farther out, phi is 0
    first, second = normal_cdf(near), near * np.exp(-0.5 * near * near) / np.sqrt(2 * np.pi)
    allowed = 10 * np.finfo(dtype).eps * (first + np.abs(second)) + np.finfo(dtype).smallest_subnormal * 40
    assert np.isnan(slope[np.isnan(x)]).all()
    known = ~np.isnan(x)
    assert (np.abs(slope - (first + second)) <= allowed)[known].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_edges_are_those_of_c(dtype, rng):
    """Signs, whole and odd exponents, zeros, infinities and NaN, each with each; then all sizes."""
    kind = np.finfo(dtype)
    whole = 2.0**kind.nmant
    edges = [
        *EDGES,
        -2.0,
        7.0,
        whole + 1,
        whole * 2 + 2,
        -whole - 1,
        kind.tiny,
        kind.max,
        -kind.max,
        1 - kind.eps,
    ]
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(edges, edges))
    size = np.exp2(rng.uniform(kind.minexp, kind.maxexp, 4000))
    exponent = rng.uniform(-1.2, 1.2, 4000) * kind.maxexp / np.log2(size)
    x, y = np.append(x, size.astype(dtype)), np.append(y, exponent.astype(dtype))
    actual = applied(["pow"], dtype, x, y)["pow"]
    wide = np.longdouble if dtype == "float64" else np.float64
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(wide), y.astype(wide))
    errors = accuracy.ulps(actual, expected, dtype)
    worst = int(np.argmax(errors))
    assert errors[worst] <= 3, f"{x[worst]!r} ** {y[worst]!r} = {actual[worst]!r}"
    tiny = np.abs(expected) < kind.smallest_subnormal / 4
    np.testing.assert_array_equal(np.signbit(actual[tiny]), np.signbit(expected[tiny]))


def test_powers_of_the_base_have_whole_logarithms():
    """What users compare with ==: the parts of the logarithm add up without error."""
    powers = np.float32(2) ** np.arange(-126, 128, dtype=np.float32)
    tens = np.float32(10) ** np.arange(11, dtype=np.float32)
    x = np.append(powers, tens).astype(np.float32)
    logs = applied(["log2", "log10"], "float32", x)
    np.testing.assert_array_equal(logs["log2"][: len(powers)], np.arange(-126, 128))
    np.testing.assert_array_equal(logs["log10"][len(powers) :], np.arange(11))
