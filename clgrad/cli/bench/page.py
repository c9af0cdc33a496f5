"""The page of ``clgrad bench``: a roofline plot and a table in one HTML file that needs nothing else."""

from collections.abc import Iterator
from html import escape

from clgrad.profiler.roofline import Point, plot

#: Okabe and Ito's colours, which people who confuse colours can tell apart.
_COLOURS = {
    "map": "#0072B2", "reduction": "#56B4E9", "rows": "#009E73", "moving": "#999999", "product": "#D55E00",
    "images": "#CC79A7", "training": "#E69F00",
}  # fmt: skip

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
            _plot(summary),
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


def _plot(summary: dict) -> str:
    """The ops that do arithmetic."""
    points = [
        Point(
            r["name"],
            _COLOURS[r["family"]],
            r["operations"] / r["traffic"],
            r["operations"] / r["seconds"],
            r["share"],
        )
        for r in summary["results"]
        if r["operations"]
    ]
    return plot(points, summary["bandwidth"], summary["rate"])
