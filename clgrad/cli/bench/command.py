"""``clgrad bench``: measure a device's limits, and ops beside them."""

import datetime
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from clgrad import memory
from clgrad.cli.bench.page import page
from clgrad.cli.bench.workloads import Workload, workloads
from clgrad.cli.timing import seconds_a_call
from clgrad.device import Context, Device, current_context, device
from clgrad.errors import DeviceError
from clgrad.kernels import peaks
from clgrad.memory import Stream

#: A measurement repeats its call until this many seconds have passed, or more.
_SECONDS = 0.01
#: Elements of large arrays: beyond the caches of any device.
_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    #: As in ``CLGRAD_DEVICE``; None for the default device.
    device: str | None = None
    #: Measurements of each workload.
    rounds: int = 9
    #: Elements of the arrays of ops that are bound by memory.
    elements: int = _ELEMENTS
    #: Files to write: ``.json`` or ``.html``.
    output: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Result:
    """A workload beside the device's limits, all measured in the same rounds.

    Attributes
    ----------
    name, family, traffic, operations
        Those of the workload.
    seconds : float
        Median time of a call.
    bandwidth : float
        What a copy moves, in byte/s.
    rate : float
        What multiply-adds reach, in operations/s.
    share : float
        Time that the device's limits alone allow, by the time that was taken.
    """

    name: str
    family: str
    traffic: int
    operations: int
    seconds: float
    bandwidth: float
    rate: float
    share: float


def bench(options: Options) -> int:
    """Measure, print a table, and write what was asked for; the exit status.

    Raises
    ------
    DeviceError
        There is no such device, or its memory is too small.
    """
    for path in options.output:
        if path.suffix not in (".json", ".html"):
            raise DeviceError(f"--output {path}: accepted are names that end in .json or .html")
    context = device(options.device) if options.device else current_context()
    target = context.device
    elements = _fitting(target, options.elements)
    print(f"{target.name}, {target.platform_name}, driver {target.driver_version}")
    print(f"{'':54}{'time':>10}  {'GB/s':>7}  {'GFLOP/s':>8}  {'of the limit':>12}")
    results = []
    for result in _measure(context, elements, options.rounds):
        _print(result)
        results.append(result)
    summary = _summary(target, results)
    print("\nlimits:", ", ".join(f"{k} {v}" for k, v in summary["limits"].items()))
    print(
        "of the limit, geometric means:", ", ".join(f"{k} {v:.0%}" for k, v in summary["families"].items())
    )
    for path in options.output:
        path.write_text(page(summary) if path.suffix == ".html" else json.dumps(summary, indent=1) + "\n")
        print(path)
    return 0


def _fitting(target: Device, elements: int) -> int:
    """The number of elements, lowered to what fits the device: eight such arrays may be alive."""
    room = min(target.capabilities.global_memory // 16, target.capabilities.max_allocation) // 4
    fitting = min(elements, room) // 65536 * 65536
    if fitting < 65536:
        raise DeviceError(
            f"{target.name}: arrays of 65,536 elements do not fit its memory; given {elements}"
        )
    return fitting


def _measure(context: Context, elements: int, rounds: int) -> Iterator[Result]:
    """Each workload alternately with the limits, so that what slows the machine slows all of them."""
    stream = memory.current_stream(context.device)
    copies = [_repeated(stream, w) for w in peaks.copy(stream, 4 * elements)]
    multiply_add = peaks.multiply_add(stream)
    adds = _repeated(stream, multiply_add)
    for workload in workloads(context, elements):
        measured = [*copies, adds, _repeated(stream, workload)]
        times = [[run() for run in measured] for _ in range(rounds)]
        *copied, added, seconds = (statistics.median(column) for column in zip(*times, strict=True))
        bandwidth = 8 * elements / min(copied)
        rate = multiply_add.operations / added
        share = workload.bound(bandwidth, rate) / seconds
        described = (workload.name, workload.family, workload.traffic, workload.operations)
        yield Result(*described, seconds, bandwidth, rate, share)


def _repeated(stream: Stream, workload: Workload | peaks.Load) -> Callable[[], float]:
    """A function that measures the seconds of a call, over as many calls as take long enough."""
    seconds_a_call(stream, workload.call, 3)  # compiles, what is merged too
    count = math.ceil(_SECONDS / seconds_a_call(stream, workload.call, 1))
    return lambda: seconds_a_call(stream, workload.call, count)


def _print(result: Result) -> None:
    moved, done = result.traffic / result.seconds / 1e9, result.operations / result.seconds / 1e9
    print(
        f"{result.name:54}{_time(result.seconds):>10}  {moved:7.1f}  {done:8.1f}  {result.share:12.0%}",
        flush=sys.stdout.isatty(),
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


def _summary(target: Device, results: Iterable[Result]) -> dict:
    """All that was measured, for JSON and for the page."""
    results = list(results)
    families = dict.fromkeys(r.family for r in results)
    bandwidth, rate = (
        statistics.median(getattr(r, what) for r in results) for what in ("bandwidth", "rate")
    )
    return {
        "device": target.name,
        "platform": f"{target.platform_name}, {target.platform_version}",
        "driver": target.driver_version,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "bandwidth": bandwidth,
        "rate": rate,
        "limits": {
            "copy": f"{bandwidth / 1e9:.1f} GB/s",
            "float32 multiply-adds": f"{rate / 1e9:.0f} GFLOP/s",
        },
        "families": {
            family: statistics.geometric_mean(r.share for r in results if r.family == family)
            for family in families
        },
        "results": [asdict(r) for r in results],
    }
