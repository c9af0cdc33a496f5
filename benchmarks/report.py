"""Tables of ratios from the numbers that ``python -m benchmarks`` keeps.

``python -m benchmarks.report [FOLDER]`` prints them again from the JSON files in ``results/``, with a
summary of all families.

A ratio is clgrad's speed relative to a peer's: 2.0 means half the time. Two are given, of the medians of
the rounds and of the best rounds. On a machine that does nothing else they agree; where they do not,
something else was running.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

RESULTS = Path(__file__).parent / "results"
PEERS = ("torch", "mxnet", "tinygrad", "clblast", "numpy", "pyopencl")

#: Bars that hold for each case of each family; PyTorch's are those of the families.
EVERYWHERE = {"mxnet": 1.2}
#: Families that have no part in the mean of all: they repeat cases of others.
UNCOUNTED = {"capture", "sizes"}
#: How many of the slowest cases the summary names, for each peer.
NAMED = 8


@dataclass(frozen=True)
class Ratio:
    """How fast clgrad is on a device, relative to a peer, in one case."""

    family: str
    case: str
    device: str
    peer: str
    medians: float
    best: float
    bar: float | None

    @property
    def short(self) -> bool:
        """Below the bar by both counts."""
        return self.bar is not None and max(self.medians, self.best) < self.bar


def bars(module, case: str) -> dict[str, float]:
    """The least ratio that a case should reach, by peer; a family may set None where there is none."""
    special, of_family = getattr(module, "bar", None), getattr(module, "BAR", {})
    found = {}
    for peer, value in (EVERYWHERE | of_family).items():
        own = special(case, peer) if special and peer in of_family else value
        if own is not None:
            found[peer] = own
    return found


def ratios(result: dict) -> Iterator[Ratio]:
    """All ratios of a result, in the order of its cases."""
    for case, seconds in result["seconds"].items():
        for device in (name for name in seconds if name.startswith("clgrad")):
            for peer in PEERS:
                # pyopencl is measured on each device
                name = device.replace("clgrad", peer, 1) if peer == "pyopencl" else peer
                if name not in seconds:
                    continue
                ours, theirs = seconds[device], seconds[name]
                yield Ratio(
                    result["benchmark"],
                    case,
                    device,
                    peer,
                    median(theirs) / median(ours),
                    min(theirs) / min(ours),
                    result["bars"].get(case, {}).get(peer),
                )


def print_table(result: dict) -> None:
    """A line for each case and device: time, and ratios to each peer; ``!`` marks those below their bar."""
    found = {(r.case, r.device, r.peer): r for r in ratios(result)}
    peers = [p for p in PEERS if any(p == peer for *_, peer in found)]
    devices = [name for name in result["contenders"] if name.startswith("clgrad")]
    width = max(map(len, result["cases"]), default=10) + 2
    print(f"\n{result['benchmark']}: {result['title']}")
    for device in devices:
        print(f"\n  {device}")
        print(f"    {'':{width}}{'time':>12}{'':>12}" + "".join(f"{peer:>16}" for peer in peers))
        for case, seconds in result["seconds"].items():
            if device in seconds:
                line = f"    {case:{width}}{_time(median(seconds[device])):>12}"
                line += f"{_rate(result, case, device):>12}"
                print(line + "".join(f"{_shown(found.get((case, device, peer))):>16}" for peer in peers))
        means = [_mean(r for r in found.values() if (r.device, r.peer) == (device, peer)) for peer in peers]
        print(f"    {'geometric mean':{width}}{'':24}" + "".join(f"{mean:>16}" for mean in means))


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _rate(result: dict, case: str, device: str) -> str:
    work = result["work"].get(case)
    return f"{work / median(result['seconds'][case][device]) / 1e9:.1f} GF/s" if work else ""


def _shown(ratio: Ratio | None) -> str:
    return f"{ratio.medians:.2f} ({ratio.best:.2f}){'!' if ratio.short else ' '}" if ratio else ""


def _mean(found: Iterable[Ratio]) -> str:
    found = list(found)
    if not found:
        return ""
    return f"{geometric_mean(r.medians for r in found):.2f} ({geometric_mean(r.best for r in found):.2f}) "


def print_summary(results: list[dict]) -> None:
    """Geometric means of the families for each device and peer, and the cases farthest below their bar."""
    found = [ratio for result in results for ratio in ratios(result)]
    for device, peer in dict.fromkeys((r.device, r.peer) for r in found):
        ours = [r for r in found if (r.device, r.peer) == (device, peer)]
        counted = [r for r in ours if r.family not in UNCOUNTED]
        if counted:
            print(f"\n{device}, relative to {peer}: {_mean(counted)}in the mean of {len(counted)} cases")
        else:
            print(f"\n{device}, relative to {peer}")
        for family in dict.fromkeys(r.family for r in ours):
            of_family = [r for r in ours if r.family == family]
            short = sum(r.short for r in of_family)
            line = f"  {family:18}{_mean(of_family):>16}"
            print(line + (f"   {short} of {len(of_family)} below their bar" if short else ""))
        for ratio in sorted(filter(lambda r: r.short, ours), key=lambda r: r.best / r.bar)[:NAMED]:
            line = f"    {_shown(ratio)} for at least {ratio.bar:g}: {ratio.family}, {ratio.case}"
            print(line)


def load(folder: Path) -> list[dict]:
    """The results that a folder holds."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [result for result in found if "seconds" in result and "bars" in result]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, default=RESULTS)
    args = parser.parse_args()
    results = load(args.folder)
    for result in results:
        print_table(result)
    print_summary(results)


if __name__ == "__main__":
    main()
