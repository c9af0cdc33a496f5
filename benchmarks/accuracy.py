"""``python -m benchmarks.accuracy``: errors of the elementwise functions, in units in the last place.

Each function is measured in float32 and float64 over its whole domain: magnitudes from the smallest normal
number to the largest on a logarithmic scale, numbers of everyday size, and the neighbours of zeros, poles
and branch points. A unit in the last place (ulp) is the distance between the exact result's neighbours in
the dtype. Float32 is held against numpy and scipy in float64, float64 against numpy's long double and, where
that has no such function, against mpmath's answers to 50 digits, which ``--record`` keeps in
``results/accuracy_reference.npz``.

The results go to ``results/accuracy.json``, runtime by runtime, and from there into the table of
docs/numerics.md (``--table``).
"""

import argparse
import datetime
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.special

from clgrad import nd
from clgrad.device import current_context
from clgrad.registry import table

RESULTS = Path(__file__).parent / "results"
REFERENCE = RESULTS / "accuracy_reference.npz"
DOCUMENT = Path(__file__).parents[1] / "docs" / "numerics.md"

#: Points of a grid: random ones, beside those near special places.
POINTS = {"float32": 20_000, "float64": 4_000}
#: Of functions whose float64 results are recorded.
RECORDED = 400


@dataclass(frozen=True)
class Function:
    """An elementwise op as it is measured.

    Attributes
    ----------
    call : callable
        The op.
    exact : callable
        A numpy function of an array, as precise as the array's dtype.
    low, high : float
        The domain.
    places : tuple of float
        Zeros, poles and other numbers whose neighbourhood is looked at closely.
    mp : str or None
        Where numpy has no long double version: what gives it in mpmath, a Python expression of ``x``.
    poles : bool
        Whether whole numbers up to 0 are poles, and so no points of the grid.
    bounds : tuple of float
        Largest error in ulp that is promised, in float32 and in float64.
    """

    call: Callable
    exact: Callable
    low: float = -np.inf
    high: float = np.inf
    places: tuple[float, ...] = (0.0, 1.0, -1.0)
    mp: str | None = None
    poles: bool = False
    bounds: tuple[float, float] = (4, 4)


def _psi(n):
    return lambda x: scipy.special.polygamma(n, x)


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _gammaln(x):
    return scipy.special.gammaln(x)


_ROOT_OF_DIGAMMA = 1.4616321449683622
_BELOW_ZERO = tuple(float(-k) for k in range(8))

FUNCTIONS = {
    "sqrt": Function(table["sqrt"], np.sqrt, 0),
    "rsqrt": Function(table["rsqrt"], lambda x: 1 / np.sqrt(x), 0),
    "cbrt": Function(table["cbrt"], np.cbrt),
    "rcbrt": Function(table["rcbrt"], lambda x: 1 / np.cbrt(x)),
    "reciprocal": Function(table["reciprocal"], lambda x: 1 / x),
    "exp": Function(table["exp"], np.exp, -750, 750),
    "expm1": Function(table["expm1"], np.expm1, -750, 750),
    "log": Function(table["log"], np.log, 0),
    "log2": Function(table["log2"], np.log2, 0),
    "log10": Function(table["log10"], np.log10, 0),
    "log1p": Function(table["log1p"], np.log1p, -1),
    "sin": Function(table["sin"], np.sin, places=(0, np.pi / 2, np.pi, 2 * np.pi, -np.pi, 10 * np.pi)),
    "cos": Function(table["cos"], np.cos, places=(0, np.pi / 2, np.pi, -np.pi / 2, 10.5 * np.pi)),
    "tan": Function(table["tan"], np.tan, places=(0, np.pi / 4, np.pi / 2, np.pi, -np.pi / 2)),
    "arcsin": Function(table["arcsin"], np.arcsin, -1, 1, (0, 0.5, -0.5, 1, -1)),
    "arccos": Function(table["arccos"], np.arccos, -1, 1, (0, 0.5, -0.5, 1, -1)),
    "arctan": Function(table["arctan"], np.arctan),
    "sinh": Function(table["sinh"], np.sinh, -720, 720),
    "cosh": Function(table["cosh"], np.cosh, -720, 720),
    "tanh": Function(table["tanh"], np.tanh, places=(0.0, 0.5, 1.0, -9.0, 20.0)),
    "arcsinh": Function(table["arcsinh"], np.arcsinh),
    "arccosh": Function(table["arccosh"], np.arccosh, 1, places=(1.0, 2.0)),
    "arctanh": Function(table["arctanh"], np.arctanh, -1, 1, (0.0, 0.5, 1.0, -1.0)),
    "erf": Function(table["erf"], scipy.special.erf, places=(0.0, 1.0, -3.0), mp="erf(x)"),
    "erfinv": Function(table["erfinv"], scipy.special.erfinv, -1, 1, (0.0, 0.5, 1.0, -1.0), "erfinv(x)"),
    "gamma": Function(
        table["gamma"], scipy.special.gamma, -190, 180, (1.0, 2.0, *_BELOW_ZERO), "gamma(x)", True
    ),
    "gammaln": Function(
        table["gammaln"], _gammaln, -1e4, np.inf, (1.0, 2.0, *_BELOW_ZERO), "log(abs(gamma(x))) if x < 1e4 else loggamma(x).real", True
    ),
    "digamma": Function(
        table["digamma"], scipy.special.digamma, -1e4, np.inf, (_ROOT_OF_DIGAMMA, *_BELOW_ZERO), "digamma(x)", True
    ),
    "polygamma(1)": Function(
        lambda x: table["polygamma"](x, 1), _psi(1), -1e4, np.inf, _BELOW_ZERO, "psi(1, x)", True
    ),
    "polygamma(2)": Function(
        lambda x: table["polygamma"](x, 2), _psi(2), -1e3, np.inf, _BELOW_ZERO, "psi(2, x)", True
    ),
    "polygamma(3)": Function(
        lambda x: table["polygamma"](x, 3), _psi(3), -1e3, np.inf, _BELOW_ZERO, "psi(3, x)", True
    ),
    "sigmoid": Function(table["sigmoid"], _sigmoid, -740, 740, (0.0, -88.0)),
    "softrelu": Function(table["softrelu"], _softplus, -740, 1e4, (0.0, -88.0, 20.0)),
    "gelu": Function(
        table["gelu"], lambda x: x * scipy.special.ndtr(x), -38, np.inf, (0.0, -1.0, -10.0), "x * ncdf(x)"
    ),
}


def grid(function: Function, dtype: str, points: int | None = None) -> np.ndarray:
    """Arguments in the dtype: the same in every run."""
    kind = np.finfo(dtype)
    rng = np.random.RandomState(7)
    points = points or POINTS[dtype]
    low, high = max(function.low, -float(kind.max)), min(function.high, float(kind.max))
    sign = rng.choice([-1.0, 1.0], points)
    wide = sign * np.exp2(rng.uniform(kind.minexp, kind.maxexp, points))
    usual = rng.uniform(max(low, -12), min(high, 12), points)
    inside = rng.uniform(max(low, -800), min(high, 800), points // 4)
    steps = np.exp2(-np.arange(1.0, kind.nmant + 4))
    near = [p + s * d * max(abs(p), 1) for p in function.places for s in (-1, 1) for d in (0.0, *steps)]
    x = np.concatenate([wide, usual, inside, near, [low, high]])
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    x = x[(x >= low) & (x <= high) & np.isfinite(x) & ((np.abs(x) >= kind.tiny) | (x == 0))]
    if function.poles:
        x = x[(x > 0) | (x != np.floor(x))]
    return np.unique(x)


def ulps(actual: np.ndarray, exact: np.ndarray, dtype: str) -> np.ndarray:
    """Errors in units in the last place of the dtype; infinite where a NaN or infinity is wrong.

    Below the smallest normal number, the unit is that number: results may be flushed to 0.
    """
    kind = np.finfo(dtype)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(exact), exact.dtype.type(kind.tiny))
        exponent = np.floor(np.log2(np.where(np.isfinite(size), size, 1)))
        unit = np.exp2(exponent - kind.nmant)
        unit = np.where(np.abs(exact) < kind.tiny, kind.tiny, unit)
        error = np.abs(actual.astype(exact.dtype) - exact) / unit
        beyond = np.abs(exact) >= kind.max
        right = np.where(beyond, np.abs(actual) >= kind.max, np.isfinite(actual))
        right &= ~beyond | (np.sign(actual) == np.sign(exact))
        error = np.where(beyond & right, 0, np.where(right, error, np.inf))
        return np.where(np.isnan(exact), np.where(np.isnan(actual), 0, np.inf), error)


def reference(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Arguments, and results more precise than the dtype; None where nothing gives them."""
    function = FUNCTIONS[name]
    if dtype == "float64" and function.mp is not None:
        if not REFERENCE.exists():
            return None
        kept = np.load(REFERENCE)
        exact = kept[f"{name}.high"] * (1 + kept[f"{name}.rest"].astype(np.longdouble))
        return grid(function, dtype, RECORDED), exact
    precise = np.longdouble if dtype == "float64" else np.float64
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 63:
        return None
    x = grid(function, dtype)
    with np.errstate(all="ignore"):
        return x, function.exact(x.astype(precise))


def measure(name: str, dtype: str) -> dict | None:
    """The largest error of a function on the default device, and where; the usual error beside it."""
    pair = reference(name, dtype)
    if pair is None:
        return None
    x, exact = pair
    errors = ulps(FUNCTIONS[name].call(nd.array(x, dtype=dtype)).asnumpy(), exact, dtype)
    worst = int(np.argmax(errors))
    return {
        "max": float(errors[worst]),
        "at": float(x[worst]),
        "mean": float(np.mean(errors[np.isfinite(errors)])),
        "points": len(x),
    }


def record() -> None:
    """Ask mpmath for what numpy's long double does not have."""
    mpmath = importlib.import_module("mpmath")  # an environment without it can measure all the same

    kept = {}
    mpmath.mp.dps = 50
    scope = {n: getattr(mpmath, n) for n in dir(mpmath) if not n.startswith("_")}
    for name, function in FUNCTIONS.items():
        if function.mp is None:
            continue
        results = [_asked(function.mp, scope, x) for x in grid(function, "float64", RECORDED)]
        high = np.array([float(r) for r in results])
        rest = [float(r / h - 1) if np.isfinite(h) and h else 0 for r, h in zip(results, high, strict=True)]
        kept |= {f"{name}.high": high, f"{name}.rest": np.array(rest, np.float32)}
    np.savez_compressed(REFERENCE, **kept)


def _asked(expression: str, scope: dict, x: float):
    try:
        return scope["mpf"](eval(expression, scope | {"x": scope["mpf"](float(x))}))
    except (ValueError, ZeroDivisionError):
        return scope["mpf"]("nan")  # a pole


def main() -> None:
    """Measure on the default device; or record references, or write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("functions", nargs="*", help="of " + ", ".join(FUNCTIONS))
    parser.add_argument("--record", action="store_true", help="ask mpmath for the float64 references anew")
    args = parser.parse_args()
    if args.record:
        record()
        return
    device = current_context().device
    dtypes = ["float32", "float64"] if device.capabilities.fp64 else ["float32"]
    found: dict = {}
    for name in args.functions or FUNCTIONS:
        for dtype in dtypes:
            one = measure(name, dtype)
            if one is not None:
                found.setdefault(name, {})[dtype] = one
                print(f"{name:14} {dtype} max {one['max']:10.2f} ulp at {one['at']:<24.17g} mean {one['mean']:.3f}")


if __name__ == "__main__":
    main()
