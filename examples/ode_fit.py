"""Fit the predator-prey equations to the furs of hares and lynxes by gradients through an ODE solver.

    python examples/ode_fit.py

meets both populations but for 22%. The model of Lotka and Volterra, u' = (a - b v) u for the prey and v' =
(d u - c) v for the predators, has six unknowns: its rates and where it begins. The solver, fourth-order
Runge-Kutta, is written in nd, so autograd goes back through all of its steps. Many fits that begin
elsewhere are solved side by side, since the error has other minima than the best.
"""

import sys

import common
import numpy as np

import clgrad as mx
from clgrad import autograd, gluon, nd

#: Furs that the Hudson's Bay Company collected, in thousands (D. A. MacLulich, 1937; E. P. Odum, 1953), as
#: tabulated by P. Howard: Modeling basics, 2009.
YEARS = np.arange(1900, 1921)
HARES = np.array([
    30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1, 40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6,
    14.6, 16.2, 24.7,
])  # fmt: skip
LYNXES = np.array([
    4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4, 8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1,
    8.6,
])  # fmt: skip
NAMES = [
    "a (births of hares)",
    "b (hares eaten)",
    "c (deaths of lynxes)",
    "d (lynxes fed)",
    "u(1900)",
    "v(1900)",
]
#: Where fits begin, and how far apart: logarithms are drawn from a normal distribution.
GUESS, SPREAD = np.array([1.0, 0.03, 1.0, 0.03, 30.0, 4.0]), 0.3


def slopes(hares, lynxes, a, b, c, d):
    """The time derivatives of logarithms of the populations, which stay positive so."""
    return a - b * nd.exp(lynxes), d * nd.exp(hares) - c


def runge_kutta(state, rates, step: float):
    """The state after a step of the classical fourth-order method."""

    def moved(slope, share):
        return [x + (step * share) * k for x, k in zip(state, slope, strict=True)]

    k1 = slopes(*state, *rates)
    k2 = slopes(*moved(k1, 0.5), *rates)
    k3 = slopes(*moved(k2, 0.5), *rates)
    k4 = slopes(*moved(k3, 1), *rates)
    total = [p + 2 * (q + r) + s for p, q, r, s in zip(k1, k2, k3, k4, strict=True)]
    return moved(total, 1 / 6)


class Solver:
    """The solver of the equations, whose steps are captured: hundreds of small ops become few launches."""

    def __init__(self, args):
        self.advance = common.capture(args)(self._advance)

    def _advance(self, hares, lynxes, a, b, c, d, steps: int, time: float):
        """The state behind some steps, which take so much time together."""
        for _ in range(steps):
            hares, lynxes = runge_kutta((hares, lynxes), (a, b, c, d), time / steps)
        return hares, lynxes

    def __call__(self, unknowns, years: int, steps_a_year: int, points_a_year: int):
        """Logarithms of hares and of lynxes (times, fits), from (6, fits) logarithms of the unknowns."""
        *rates, hares, lynxes = nd.split(unknowns, 6, axis=0, squeeze_axis=True)
        rates = [nd.exp(rate) for rate in rates]
        states = [(hares, lynxes)]
        steps = steps_a_year // points_a_year
        for _ in range(years * points_a_year):
            hares, lynxes = self.advance(hares, lynxes, *rates, steps, 1 / points_a_year)
            states.append((hares, lynxes))
        return [nd.stack(*species, axis=0) for species in zip(*states, strict=True)]


def draw(curves, errors: np.ndarray, chosen: int, title: str):
    figure = common.figure(title)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    times = np.linspace(YEARS[0], YEARS[-1], len(curves[0]))
    rows = zip(("hares", "lynxes"), (HARES, LYNXES), curves, (common.BLUE, common.RED), strict=True)
    for name, counted, curve, colour in rows:
        left.plot(times, np.exp(curve.asnumpy()[:, 0]), color=colour, label=f"{name}, fitted")
        left.plot(YEARS, counted, "o", color=colour, markersize=4, label=f"{name}, counted")
    left.set(xlabel="year", ylabel="thousands of furs", ylim=(0, 100), xticks=YEARS[::4])
    left.legend(ncols=2)
    right.semilogy(errors, color=common.GRAY, alpha=0.4, linewidth=0.7)
    right.semilogy(errors[:, chosen], color=common.BLUE, linewidth=2, label="the best fit")
    right.set(
        title=f"{errors.shape[1]} fits", xlabel="iteration", ylabel="mean squared error of logarithms"
    )
    right.legend()
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "ode_fit")
    parser.add_argument("--fits", type=common.positive, default=32, help="that begin at different places")
    parser.add_argument("--iterations", type=common.positive, default=400, help="steps of Adam")
    parser.add_argument("--steps-a-year", type=common.positive, default=5, help="of the solver")
    args = common.begin(parser, arguments)
    begin = np.log(GUESS)[:, None] + SPREAD * np.random.normal(size=(6, args.fits))
    unknowns = gluon.Parameter("unknowns", shape=begin.shape)
    unknowns.initialize(mx.init.Constant(nd.array(begin)))
    falling = mx.lr_scheduler.CosineScheduler(args.iterations, base_lr=0.05, final_lr=0.001)
    trainer = gluon.Trainer([unknowns], "adam", {"learning_rate": 0.05, "lr_scheduler": falling})
    data = [nd.array(np.log(species)[:, None]) for species in (HARES, LYNXES)]
    solve, years = Solver(args), len(YEARS) - 1

    def errors():
        """The mean squared residual of the logarithms, for each fit."""
        found = solve(unknowns.data(), years, args.steps_a_year, points_a_year=1)
        squares = [(x - y) ** 2 for x, y in zip(found, data, strict=True)]
        return (squares[0] + squares[1]).mean(axis=0) / 2

    with common.Progress(args.iterations, "iteration") as progress:
        for _ in range(args.iterations):
            with autograd.record():
                error = errors()
            error.backward()
            trainer.step(1)
            progress.update(error=error)

    final = errors().asnumpy()
    chosen = int(np.nanargmin(final))
    best, error = np.exp(unknowns.data().asnumpy()[:, chosen]), float(np.sqrt(final[chosen]))
    for name, value in zip(NAMES, best, strict=True):
        print(f"  {name:<22}{value:8.4f}")
    near = int((final < 1.02 * final[chosen]).sum())
    agreed = "" if near == 1 else f" (as {near} of {args.fits} fits)"
    result = f"populations off by {error:.1%}, root mean square of logarithms{agreed}"
    rates = ", ".join(f"{name[0]} = {value:.3f}" for name, value in zip(NAMES[:4], best, strict=False))
    fitted = solve(unknowns.data()[:, chosen : chosen + 1], years, 20, points_a_year=20)
    curves = {"error": progress.curves["error"].reshape(-1, args.fits)}
    figure = draw(fitted, curves["error"], chosen, f"Lotka-Volterra, {rates}: off by {error:.1%}")
    return common.conclude(args, result, error, figure, {"unknowns": unknowns.data()}, curves)


if __name__ == "__main__":
    sys.exit(main())
