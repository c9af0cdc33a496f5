"""``python -m benchmarks.accuracy``: errors of the elementwise functions, in units in the last place.

Each function is measured in float32 and float64 over its whole domain: magnitudes from the smallest normal
number to the largest on a logarithmic scale, numbers of everyday size, and the neighbours of zeros, poles
and branch points. A unit in the last place (ulp) is the distance between the neighbours of the exact result
in the dtype. Float32 is held against numpy and scipy in float64; float64 against numpy's long double and,
where that has no such function, against mpmath's answers to 50 digits, which ``--record`` keeps in
``results/accuracy_reference.npz``.

Each run adds its device's errors to ``results/accuracy.json`` and writes the table of docs/numerics.md
from all of them.
"""

import argparse
import datetime
import importlib
import itertools
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
    floor : float
        Where functions cross 0 between poles, the sizes of what cancels: a smaller result's error is
        counted in units of this number.
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
    floor: float = 0
    bounds: tuple[float, float] = (4, 4)


def _psi(n):
    return lambda x: scipy.special.polygamma(n, x)


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


_PI = np.pi
_HALVES = (0.0, 0.5, -0.5, 1.0, -1.0)
_NEGATIVE = tuple(float(-k) for k in range(8))
_EXPONENT = {"low": -750, "high": 750}
_POLES = {"low": -1e3, "places": (1.0, 2.0, *_NEGATIVE), "poles": True}


def _op(name: str, exact: Callable, *numbers: float, **options) -> Function:
    """A function that is an op, with numbers for its further arguments."""
    return Function(lambda x: table[name](x, *numbers), exact, **options)


FUNCTIONS = {
    "sqrt": _op("sqrt", np.sqrt, low=0, bounds=(1, 1)),
    "rsqrt": _op("rsqrt", lambda x: 1 / np.sqrt(x), low=0, bounds=(2, 2)),
    "cbrt": _op("cbrt", np.cbrt, bounds=(2, 2)),
    "rcbrt": _op("rcbrt", lambda x: 1 / np.cbrt(x), bounds=(3, 3)),
    "reciprocal": _op("reciprocal", lambda x: 1 / x, bounds=(1, 1)),
    "exp": _op("exp", np.exp, **_EXPONENT),
    "expm1": _op("expm1", np.expm1, **_EXPONENT),
    "log": _op("log", np.log, low=0),
    "log2": _op("log2", np.log2, low=0),
    "log10": _op("log10", np.log10, low=0),
    "log1p": _op("log1p", np.log1p, low=-1),
    "sin": _op("sin", np.sin, places=(0, _PI / 2, _PI, 2 * _PI, -_PI, 10 * _PI)),
    "cos": _op("cos", np.cos, places=(0, _PI / 2, _PI, -_PI / 2, 10.5 * _PI)),
    "tan": _op("tan", np.tan, places=(0, _PI / 4, _PI / 2, _PI, -_PI / 2)),
    "arcsin": _op("arcsin", np.arcsin, low=-1, high=1, places=_HALVES),
    "arccos": _op("arccos", np.arccos, low=-1, high=1, places=_HALVES),
    "arctan": _op("arctan", np.arctan),
    "sinh": _op("sinh", np.sinh, low=-720, high=720),
    "cosh": _op("cosh", np.cosh, low=-720, high=720),
    "tanh": _op("tanh", np.tanh, places=(0.0, 0.5, 1.0, -9.0, 20.0)),
    "arcsinh": _op("arcsinh", np.arcsinh),
    "arccosh": _op("arccosh", np.arccosh, low=1, places=(1.0, 2.0)),
    "arctanh": _op("arctanh", np.arctanh, low=-1, high=1, places=_HALVES),
    "power(x, 2.5)": _op("power", lambda x: x ** x.dtype.type(2.5), 2.5, low=0),
    "power(x, -3)": _op("power", lambda x: x ** x.dtype.type(-3), -3),
    "power(1.5, x)": Function(
        lambda x: table["power"](1.5, x), lambda x: x.dtype.type(1.5) ** x, -1800, 1800
    ),
    "hypot(x, 3)": Function(
        lambda x: table["broadcast_hypot"](x, 3.0), lambda x: np.hypot(x, x.dtype.type(3))
    ),
    "arctan2(x, -2)": Function(
        lambda x: table["arctan2"](x, -2.0), lambda x: np.arctan2(x, x.dtype.type(-2))
    ),
    "erf": _op("erf", scipy.special.erf, places=(0.0, 1.0, -3.0), mp="erf(x)", bounds=(5, 4)),
    "erfinv": _op(
        "erfinv", scipy.special.erfinv, low=-1, high=1, places=_HALVES, mp="erfinv(x)", bounds=(6, 4)
    ),
    "gamma": _op("gamma", scipy.special.gamma, mp="gamma(x)", bounds=(16, 16), **_POLES | {"low": -190}),
    "gammaln": _op(
        "gammaln",
        scipy.special.gammaln,
        mp="log(abs(gamma(x))) if x < 1e4 else loggamma(x).real",
        floor=0.5,
        bounds=(16, 16),
        **_POLES,
    ),
    "digamma": _op(
        "digamma",
        scipy.special.digamma,
        low=0,
        places=(0.0, 1.0, 1.4616321449683622, 2.0),
        mp="digamma(x)",
        poles=True,
        bounds=(16, 16),
    ),
    "digamma, x < 0": _op(
        "digamma", scipy.special.digamma, high=0, mp="digamma(x)", floor=4, bounds=(16, 16), **_POLES
    ),
    **{
        f"polygamma({n})": _op(
            "polygamma", _psi(n), n, mp=f"psi({n}, x)", floor=floor, bounds=(16, 16), **_POLES
        )
        for n, floor in ((1, 0), (2, 16), (3, 0))
    },
    "sigmoid": _op("sigmoid", _sigmoid, places=(0.0, -88.0), low=-740, high=740),
    "softrelu": _op("softrelu", _softplus, places=(0.0, -88.0, 20.0), low=-740, high=1e4),
    "gelu": _op(
        "gelu",
        lambda x: x * scipy.special.ndtr(x),
        low=-38,
        places=(0.0, -1.0, -10.0),
        mp="x * ncdf(x)",
        bounds=(8, 16),
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


def ulps(actual: np.ndarray, exact: np.ndarray, dtype: str, floor: float = 0) -> np.ndarray:
    """Errors in units in the last place of the dtype; infinite where a NaN or infinity is wrong.

    Below the smallest normal number, the unit is that number: results may be flushed to 0.
    """
    kind = np.finfo(dtype)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(exact), exact.dtype.type(max(floor, kind.tiny)))
        exponent = np.floor(np.log2(np.where(np.isfinite(size), size, 1)))
        unit = np.exp2(exponent - kind.nmant)
        unit = np.where(size <= kind.tiny, kind.tiny, unit)
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
    errors = ulps(
        FUNCTIONS[name].call(nd.array(x, dtype=dtype)).asnumpy(), exact, dtype, FUNCTIONS[name].floor
    )
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


def label(device) -> str:
    """What the table calls a device: its platform and driver."""
    return f"{device.platform_name}, {device.driver_version}".replace("Portable Computing Language", "PoCL")


def keep(device, found: dict) -> None:
    """Add a device's errors to the file of results."""
    path = RESULTS / "accuracy.json"
    everything = json.loads(path.read_text()) if path.exists() else {}
    everything[label(device)] = {
        "device": device.name,
        "date": datetime.date.today().isoformat(),
        "functions": found,
    }
    path.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def write_table() -> None:
    """The table of docs/numerics.md: promised bounds, and what was measured on each device."""
    everything = json.loads((RESULTS / "accuracy.json").read_text())
    lines = ["| function | promised | " + " | ".join(everything) + " |"]
    lines.append("|---" * (2 + len(everything)) + "|")
    for name, function in FUNCTIONS.items():
        cells = [_cell(result["functions"].get(name, {})) for result in everything.values()]
        promised = " / ".join(f"{b:g}" for b in function.bounds)
        lines.append(f"| {name} | {promised} | " + " | ".join(cells) + " |")
    text = DOCUMENT.read_text()
    before, _, rest = text.partition("<!-- accuracy -->\n")
    _, _, after = rest.partition("<!-- /accuracy -->\n")
    DOCUMENT.write_text(
        before + "<!-- accuracy -->\n" + "\n".join(lines) + "\n<!-- /accuracy -->\n" + after
    )


def _cell(found: dict) -> str:
    """Errors in float32 and float64, and where they are largest."""
    return " / ".join(f"{e['max']:.2f} at {e['at']:.3g}" for e in found.values())


def main() -> None:
    """Measure on the default device; or record references, or write the table only."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--record", action="store_true", help="ask mpmath for the float64 references anew")
    parser.add_argument("--table", action="store_true", help="write the table from kept results")
    args = parser.parse_args()
    if args.record:
        record()
        return
    if not args.table:
        device = current_context().device
        dtypes = ["float32", "float64"] if device.capabilities.fp64 else ["float32"]
        found: dict = {}
        for name, dtype in itertools.product(FUNCTIONS, dtypes):
            one = measure(name, dtype)
            if one is None:
                continue
            found.setdefault(name, {})[dtype] = one
            print(
                f"{name:16}{dtype:8} max {one['max']:9.2f} ulp at {one['at']:<12.5g} mean {one['mean']:.3f}"
            )
        keep(device, found)
    write_table()


if __name__ == "__main__":
    main()
