"""``python -m benchmarks``: run benchmarks, print tables, keep the numbers in ``results/``."""

import argparse
import contextlib
import datetime
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.contender import Contender, ContenderError, differ
from clgrad.device import devices

BENCHMARKS = (
    "launch_overhead",
    "gemm",
    "map",
    "elementwise",
    "reduce",
    "rowwise",
    "attention",
    "movement",
    "pool",
    "conv",
    "optimizers",
    "train",
    "capture",
    "sizes",
)
PEERS = ("mxnet", "torch", "tinygrad")
RESULTS = Path(__file__).parent / "results"

#: Rounds, seconds of each measurement, and seconds between two: threads that spin for work go to sleep.
THOROUGH, QUICK = (21, 0.02, 0.2), (5, 0.01, 0.05)
#: A case that has taken so many seconds gets no further round, if it has had this many.
PATIENCE, FEWEST = 120, 3


def main() -> None:
    args = _options()
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(c) for c in _contenders(args)]
        kept = []
        for name in args.benchmarks or BENCHMARKS:
            result = _run(name, contenders, args)
            report.print_table(result)
            kept.append(result)
            if args.results:
                _save(result, args.results)
    report.print_summary(kept)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help="of " + ", ".join(BENCHMARKS))
    parser.add_argument("--device", action="append", help="OpenCL device, again for more (default: all)")
    for peer in PEERS:
        parser.add_argument(f"--{peer}-python", metavar="PYTHON", help=f"interpreter that has {peer}")
    parser.add_argument(
        "--clblast", type=Path, metavar="LIBRARY", help="libclblast.so, for the first --device"
    )
    parser.add_argument("--torch-device", metavar="NAME", help="device of PyTorch's, such as cuda")
    parser.add_argument(
        "--match", metavar="TEXT", action="append", help="only cases whose name holds this, again for more"
    )
    parser.add_argument(
        "--cpu-time",
        dest="clock",
        action="store_const",
        const="process_time",
        default="perf_counter",
        help="count the time of all threads on processors: for one core of a busy machine",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, and nothing kept unless --results asks"
    )
    parser.add_argument("--rounds", type=int, help="measurements of each contender")
    parser.add_argument("--seconds", type=float, help="that each of them takes, or more")
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="for the numbers (benchmarks/results)"
    )
    args = parser.parse_args()
    for name in args.benchmarks:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    rounds, seconds, args.pause = QUICK if args.quick else THOROUGH
    args.rounds, args.seconds = args.rounds or rounds, args.seconds or seconds
    if not (args.quick or args.match):
        args.results = args.results or RESULTS
    return args


def _contenders(args):
    for device in args.device or [f"{d.kind}:{d.index}" for d in devices()]:
        yield Contender("clgrad", device=device)
        yield Contender("pyopencl", device=device)
    yield Contender("numpy")
    if args.clblast:
        yield Contender("clblast", device=args.device and args.device[0], library=args.clblast)
    for peer in PEERS:
        if python := getattr(args, f"{peer}_python"):
            yield Contender(peer, python, device=args.torch_device if peer == "torch" else None)


def _run(name: str, contenders: list[Contender], args) -> dict:
    """All that is kept of one benchmark; see `report`."""
    module = importlib.import_module(f"benchmarks.{name}")
    wanted = args.match or [""]
    cases = {
        case: what
        for case, what in module.CASES.items()
        if any(text in case for text in wanted) and _makes_sense(module, case)
    }
    able = [c for c in contenders if c.framework == "clgrad" or hasattr(module, c.framework)]
    times = {}
    for number, case in enumerate(cases, 1):
        _progress(f"{name} {number}/{len(cases)} {case}")
        times[case] = _alternately(_prepared(able, name, case), args)
    _progress("")
    return {
        "benchmark": name,
        "title": module.__doc__.strip().partition("\n")[0],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "clock": args.clock,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load": os.getloadavg(),
        },
        "contenders": {c.name: c.about for c in able},
        "cases": cases,
        "work": {case: module.work(case) for case in cases} if hasattr(module, "work") else {},
        "bars": {case: report.bars(module, case) for case in cases},
        "seconds": times,
    }


def _makes_sense(module, case: str) -> bool:
    """Whether some device here has the capability that the case is about, if it is about any."""
    needed = module.needs(case) if hasattr(module, "needs") else None
    return needed is None or any(getattr(d.capabilities, needed) for d in devices())


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text[:79]:79}", end="\r", file=sys.stderr, flush=True)


def _prepared(contenders: list[Contender], benchmark: str, case: str) -> list[Contender]:
    """Those that have the case, once what they compute was seen to be the same."""
    able, digests = [], {}
    for contender in contenders:
        try:
            digest = contender.prepare(benchmark, case)
        except ContenderError as error:
            print(f"{contender.name} fails in {benchmark} {case}: {error}", file=sys.stderr)
            continue
        if digest is not None:
            able.append(contender)
            digests[contender.name] = digest
    for line in differ(digests):
        print(f"{benchmark} {case}: {line}", file=sys.stderr)
    return able


def _alternately(contenders: list[Contender], args) -> dict[str, list[float]]:
    """Seconds for a call in each round, by contender; every other round goes in reverse order."""
    times: dict[str, list[float]] = {c.name: [] for c in contenders}
    end = time.monotonic() + PATIENCE
    for number in range(args.rounds):
        if number >= FEWEST and time.monotonic() > end:
            break
        for contender in contenders[:: -1 if number % 2 else 1]:
            time.sleep(args.pause)
            times[contender.name].append(contender.measure(args.seconds, args.clock))
    return times


def _save(result: dict, folder: Path) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{result['benchmark']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"  {path}")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
