"""The page of ``clgrad bench``: a roofline plot and a table in one HTML file that needs nothing else."""

import math
from collections.abc import Iterator
from html import escape

#: Okabe and Ito's colours, which people who confuse colours can tell apart.
_COLOURS = {
    "map": "#0072B2", "reduction": "#56B4E9", "rows": "#009E73", "moving": "#999999", "product": "#D55E00",
    "images": "#CC79A7", "training": "#E69F00",
}  # fmt: skip

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 860, 440, 70, 50, 20, 20

_EXPLANATION = (
    "The line is what the device allows: what a copy moves, and what multiply-adds reach. Points lie above "
    "it where arrays stay in a cache. Ops without arithmetic are in the table alone."
)

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { padding: .2rem .6rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f4 }
.bar { display: inline-block; height: .7em; margin-right: .5em }
.share { width: 7em; text-align: left } svg { width: 100%; height: auto }
svg text { font-size: 12px; fill: #444 } .grid { stroke: #ddd }
.roof { stroke: #222; fill: none; stroke-width: 2 }
.key { display: inline-block; margin-right: 1.2em; white-space: nowrap }
"""


def page(summary: dict) -> str:
    """Lay out what was measured (see ``command.py``) as a document of HTML."""
    title = f"clgrad on {summary['device']}"
    about = f"{summary['platform']}, driver {summary['driver']}, {summary['date']}"
    limits = ", ".join(f"{name} {value}" for name, value in summary["limits"].items())
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f"<h1>{escape(title)}</h1><p>{escape(about)}<br>Limits, measured: {escape(limits)}.</p>",
            f"<p>{''.join(_keys(summary))}</p>",
            "".join(_plot(summary)),
            f"<p>{_EXPLANATION}</p>",
            '<table><tr><th>op<th>time<th>GB/s<th>GFLOP/s<th colspan="2">of the limit',
            *_rows(summary),
            "</table></html>",
        ]
    )


def _keys(summary: dict) -> Iterator[str]:
    for family, share in summary["families"].items():
        dot = f'<span class="bar" style="width:.7em;background:{_COLOURS[family]}"></span>'
        yield f'<span class="key">{dot}{family} {share:.0%}</span>'


def _rows(summary: dict) -> Iterator[str]:
    for r in summary["results"]:
        moved, done = r["traffic"] / r["seconds"] / 1e9, r["operations"] / r["seconds"] / 1e9
        width = 6 * min(r["share"], 1.0)
        bar = f'<span class="bar" style="width:{width:.2f}em;background:{_COLOURS[r["family"]]}"></span>'
        yield (
            f"<tr><td>{escape(r['name'])}<td>{r['seconds'] * 1e3:.3f} ms<td>{moved:.1f}<td>{done:.1f}"
            f'<td>{r["share"]:.0%}<td class="share">{bar}'
        )


def _plot(summary: dict) -> Iterator[str]:
    """Operations in a second over operations for each byte, both on logarithmic scales."""
    shown = [r for r in summary["results"] if r["operations"]]
    intensities = [r["operations"] / r["traffic"] for r in shown]
    rates = [r["operations"] / r["seconds"] / 1e9 for r in shown]
    ridge = summary["rate"] / summary["bandwidth"]
    x = _Axis([*intensities, ridge * 4], _LEFT, _WIDTH - _RIGHT)
    y = _Axis([*rates, summary["rate"] / 1e9], _HEIGHT - _BOTTOM, _TOP)
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
    roof = [(v, min(v * summary["bandwidth"], summary["rate"]) / 1e9) for v in (x.low, ridge, x.high)]
    roof = [(max(v, y.low * 1e9 / summary["bandwidth"]), max(r, y.low)) for v, r in roof]
    yield f'<polyline class="roof" points="{" ".join(f"{x(v):.1f},{y(r):.1f}" for v, r in roof)}"/>'
    for r, intensity, rate in zip(shown, intensities, rates, strict=True):
        yield (
            f'<circle cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="5" fill="{_COLOURS[r["family"]]}" '
            f'fill-opacity=".8"><title>{escape(r["name"])}: {rate:.1f} GFLOP/s, '
            f"{r['share']:.0%} of the limit</title></circle>"
        )
    yield "</svg>"


class _Axis:
    """A logarithmic scale of whole decades, from values to places on the picture."""

    def __init__(self, values: list[float], first: float, last: float) -> None:
        self.low = 10.0 ** math.floor(math.log10(min(values)))
        self.high = 10.0 ** math.ceil(math.log10(max(values)))
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self._first + part * (self._last - self._first)

    def ticks(self) -> Iterator[float]:
        """The decades."""
        for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1):
            yield 10.0**power
