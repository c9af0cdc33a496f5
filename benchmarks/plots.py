"""``python -m benchmarks.plots [RESULTS] [FOLDER]``: the ratios of `report`, drawn as SVG.

For each OpenCL device a picture of all families, ``overview-DEVICE.svg``, and one of each family's cases.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean

import matplotlib
from matplotlib.figure import Figure

from benchmarks.report import PEERS, RESULTS, Ratio, load, ratios

#: From a scale that people who confuse colours can tell apart (Okabe & Ito, 2008).
COLOURS = dict(zip(PEERS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999", "#000000"), strict=True))
#: The same file from the same numbers.
METADATA = {"Date": None}


def draw(results: list[dict], folder: Path) -> Iterator[Path]:
    """Draw everything into a folder; the paths of the pictures."""
    matplotlib.rcParams |= {"svg.hashsalt": "clgrad", "font.size": 9}
    folder.mkdir(parents=True, exist_ok=True)
    found = [ratio for result in results for ratio in ratios(result)]
    for device in dict.fromkeys(r.device for r in found):
        ours = [r for r in found if r.device == device]
        suffix = re.sub(r"[^a-z0-9]+", "-", device.removeprefix("clgrad on ").lower()).strip("-")
        yield _picture(folder / f"overview-{suffix}.svg", ours, "family", device)
        for family in dict.fromkeys(r.family for r in ours):
            of_family = [r for r in ours if r.family == family]
            yield _picture(folder / f"{family}-{suffix}.svg", of_family, "case", f"{family}: {device}")


def _picture(path: Path, found: list[Ratio], rows: str, title: str) -> Path:
    """A row for each family or case, a point for each ratio; bars mark geometric means of families."""
    names = list(dict.fromkeys(getattr(r, rows) for r in found))
    peers = [p for p in PEERS if any(r.peer == p for r in found)]
    axes = Figure(figsize=(8, 1.2 + 0.4 * len(names))).subplots()
    for number, peer in enumerate(peers):
        shift = 0.2 * (number - (len(peers) - 1) / 2)
        points = [(r.medians, names.index(getattr(r, rows)) + shift) for r in found if r.peer == peer]
        axes.plot(*zip(*points, strict=True), "o", ms=4, alpha=0.7, color=COLOURS[peer], label=peer)
        if rows == "family":
            for place in dict.fromkeys(y for _, y in points):
                mean = geometric_mean(x for x, y in points if y == place)
                axes.plot(mean, place, "|", ms=14, mew=2, color=COLOURS[peer])
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("speed relative to the peer, medians (right of the line: clgrad is faster)")
    axes.set_title(title)
    axes.grid(axis="x", which="both", alpha=0.2)
    axes.legend(loc="best")
    axes.figure.savefig(path, bbox_inches="tight", metadata=METADATA)
    return path


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.plots", description=__doc__.partition("\n")[0])
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS)
    parser.add_argument("folder", nargs="?", type=Path, default=RESULTS)
    args = parser.parse_args()
    for path in draw(load(args.results), args.folder):
        print(path)


if __name__ == "__main__":
    main()
