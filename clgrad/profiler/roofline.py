"""A roofline plot as inline SVG: work in a second over work for each byte, below what a device allows.

The model is that of Williams, Waterman and Patterson (Communications of the ACM 52:4, 2009).
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 860, 440, 70, 50, 20, 20


class Point(NamedTuple):
    """One dot.

    Attributes
    ----------
    name, colour : str
    intensity : float
        Operations for each byte.
    rate : float
        Operations in a second.
    share : float
        The time that the limits allow, as a fraction of the time taken.
    """

    name: str
    colour: str
    intensity: float
    rate: float
    share: float


def plot(points: Sequence[Point], bandwidth: float, rate: float) -> str:
    """The picture; colours of lines and text are left to the page's style (``grid``, ``roof``, ``text``).

    Parameters
    ----------
    points : sequence of Point
    bandwidth, rate : float
        Bytes, and operations, in a second that the device can do.
    """
    return "".join(_parts(points, bandwidth, rate))


def _parts(points: Sequence[Point], bandwidth: float, rate: float) -> Iterator[str]:
    ridge = rate / bandwidth
    x = Axis([*[p.intensity for p in points], ridge * 4], _LEFT, _WIDTH - _RIGHT)
    y = Axis([*[p.rate / 1e9 for p in points], rate / 1e9], _HEIGHT - _BOTTOM, _TOP)
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="roofline plot">'
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in x.ticks():
        yield f'<path class="grid" d="M{x(value):.1f} {_TOP}V{bottom}"/>'
        yield f'<text x="{x(value):.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>'
    for value in y.ticks():
        yield f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{right}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
    yield f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">operations for each byte</text>'
    yield f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">GFLOP/s</text>'
    roof = [(v, min(v * bandwidth, rate) / 1e9) for v in (x.low, ridge, x.high)]
    roof = [(max(v, y.low * 1e9 / bandwidth), max(r, y.low)) for v, r in roof]
    yield f'<polyline class="roof" points="{" ".join(f"{x(v):.1f},{y(r):.1f}" for v, r in roof)}"/>'
    for p in points:
        yield (
            f'<circle cx="{x(p.intensity):.1f}" cy="{y(p.rate / 1e9):.1f}" r="5" fill="{p.colour}" '
            f'fill-opacity=".8"><title>{escape(p.name)}: {p.rate / 1e9:.1f} GFLOP/s, '
            f"{p.share:.0%} of the limit</title></circle>"
        )
    yield "</svg>"


class Axis:
    """A logarithmic scale of whole decades, from values to places on the picture."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self.low = 10.0 ** math.floor(math.log10(min(values)))
        self.high = 10.0 ** math.ceil(math.log10(max(values)))
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        """The place of a value."""
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self._first + part * (self._last - self._first)

    def ticks(self) -> Iterator[float]:
        """The decades."""
        for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1):
            yield 10.0**power
