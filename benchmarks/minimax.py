"""``python -m benchmarks.minimax``: the coefficients of templates/elementary.cl.mako.

Each polynomial is the one of its degree with the least largest error on an interval, found by Remez's
exchange (Comptes rendus 198, 1934) in 60 digits. The error of a best approximation takes its largest size
at ``degree + 2`` places with alternating signs: these places are guessed, the polynomial that has the same
error at all of them is solved for, and the places move to where the error of that one is largest. Errors
are weighted so that they are relative ones of the function that is computed, and printed in bits.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

#: Steps of the grid on which extrema are looked for.
STEPS = 600


@dataclass(frozen=True)
class Polynomial:
    """What is approximated, and where.

    Attributes
    ----------
    target : callable
        The function, of the polynomial's variable.
    weight : callable
        What its errors are multiplied by.
    low, high : float
        The interval.
    degree : int
    """

    target: Callable
    weight: Callable
    low: float
    high: float
    degree: int


def remez(mp, polynomial: Polynomial) -> tuple[list, float]:
    """Coefficients from the lowest power up, and the largest weighted error."""
    low, high = mp.mpf(polynomial.low), mp.mpf(polynomial.high)
    middle, half, count = (low + high) / 2, (high - low) / 2, polynomial.degree + 2
    grid = [middle - half * mp.cos(mp.pi * k / STEPS) for k in range(STEPS + 1)]
    values = [(polynomial.target(x), polynomial.weight(x)) for x in grid]
    places = [round(k * STEPS / (count - 1)) for k in range(count)]
    for _ in range(12):
        matrix, right = mp.matrix(count, count), mp.matrix(count, 1)
        for row, place in enumerate(places):
            value, weight = values[place]
            for power in range(count - 1):
                matrix[row, power] = grid[place] ** power
            matrix[row, count - 1] = (-1) ** row / weight
            right[row] = value
        found = list(mp.lu_solve(matrix, right))[:-1]
        errors = [w * (mp.polyval(found[::-1], x) - v) for x, (v, w) in zip(grid, values, strict=True)]
        places = _alternating(errors, count)
        sizes = [abs(errors[k]) for k in places]
        if max(sizes) < min(sizes) * 1.01:
            break
    return found, max(map(abs, errors))


def _alternating(errors: list, count: int) -> list[int]:
    """The places of the largest errors of alternating signs."""
    places: list[int] = []
    for k, error in enumerate(errors):
        if not places or (errors[places[-1]] > 0) != (error > 0):
            places.append(k)
        elif abs(error) > abs(errors[places[-1]]):
            places[-1] = k
    while len(places) > count:
        places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
    assert len(places) == count, "the grid is too coarse for the error"
    return places


def polynomials(mp, double: bool) -> dict[str, Polynomial]:
    """Those of the template, in float32 or float64, under their names there."""
    half_ln2, root = mp.log(2) / 2, (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
    quarter = (mp.pi / 4) ** 2
    centre, far = (mp.mpf("5.65"), 38.7) if double else (mp.mpf("3.75"), 14.3)

    def erfcx(a):
        return mp.exp(a * a) * mp.erfc(a)

    def tail(q):
        a = centre * (1 + q) / (1 - q)
        return erfcx(a / mp.sqrt(2)) * (a + centre) / 2

    def at(limit, function):
        """The function of sqrt(z), where it cancels near 0 replaced by its limit there."""
        return lambda z: limit if z < mp.mpf(10) ** -24 else function(mp.sqrt(z))

    one, third = mp.mpf(1), mp.mpf(1) / 3
    return {
        "exp": Polynomial(
            lambda r: (mp.expm1(r) - r) / r**2 if abs(r) > mp.mpf(10) ** -15 else one / 2,
            lambda r: half_ln2,
            -half_ln2,
            half_ln2,
            10 if double else 5,
        ),
        "half_exp": Polynomial(
            lambda t: (mp.exp(-t / 2) - 1 + t / 2) / t**2 if abs(t) > mp.mpf(10) ** -15 else one / 8,
            lambda t: t**2 * mp.exp(t / 2) + mp.mpf(10) ** -30,
            -2 * half_ln2,
            2 * half_ln2,
            10 if double else 4,
        ),
        "log": Polynomial(
            at(2 * third, lambda s: (2 * mp.atanh(s) / s - 2) / s**2),
            lambda z: z / 2 + mp.mpf(10) ** -30,
            0,
            root**2,
            6 if double else 2,
        ),
        "pow": Polynomial(
            at(3 * one / 5, lambda s: (3 * mp.atanh(s) / s - 3 - s**2) / s**4),
            lambda z: z**2 / 3 + mp.mpf(10) ** -30,
            0,
            root**2,
            7 if double else 2,
        ),
        "sin": Polynomial(
            at(-one / 6, lambda r: (mp.sin(r) / r - 1) / r**2), lambda z: z + mp.mpf(10) ** -30, 0, quarter,
            5 if double else 2,
        ),
        "cos": Polynomial(
            at(one / 24, lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4), lambda z: z**2 + mp.mpf(10) ** -30,
            0, quarter, 5 if double else 2,
        ),
        "erf": Polynomial(
            at(2 / mp.sqrt(mp.pi) - 1, lambda x: mp.erf(x) / x - 1),
            lambda z: one,
            0,
            0.81,
            11 if double else 6,
        ),
        "erf_tail": Polynomial(erfcx, lambda a: mp.exp(-a * a), 0.9, 4, 8),
        "softplus": Polynomial(
            at(one / 12, lambda t: (2 * mp.atanh(t / 2) / t - 1) / t**2),
            lambda w: w + mp.mpf(10) ** -30,
            0,
            4 * one / 9,
            9 if double else 3,
        ),
        "ndtr": Polynomial(
            tail,
            lambda q: 1 / tail(q),
            -1,
            (mp.mpf(far) - centre) / (mp.mpf(far) + centre),
            23 if double else 8,
        ),
    }  # fmt: skip


def main() -> None:
    """Print the tables."""
    mp = importlib.import_module("mpmath")  # not in the environments that clgrad is developed in
    mp.mp.dps = 60
    for kind, double in (("float", False), ("double", True)):
        for name, polynomial in polynomials(mp, double).items():
            found, error = remez(mp, polynomial)
            print(f"# {kind} {name}: {float(mp.log(error, 2)):.1f} bits")
            print(
                f"    ({name!r}, {kind!r}): ({', '.join(mp.nstr(c, 18 if double else 10) for c in found)}),"
            )


if __name__ == "__main__":
    main()
