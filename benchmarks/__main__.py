"""``python -m benchmarks``: run benchmarks, print tables, keep the numbers in ``results/``."""

import argparse
import contextlib
import datetime
import importlib
import json
import os
import platform
import time
from pathlib import Path
from statistics import median as _median

from benchmarks.contender import Contender
from clgrad.device import devices

BENCHMARKS = ("launch_overhead", "gemm", "conv", "elementwise")
RESULTS = Path(__file__).parent / "results"

#: Seconds between two measurements: threads that spin for more work go to sleep meanwhile.
PAUSE = 0.2


def main() -> None:
    args = _options()
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(c) for c in _contenders(args)]
        for name in args.benchmarks or BENCHMARKS:
            module = importlib.import_module(f"benchmarks.{name}")
            able = [c for c in contenders if c.framework == "clgrad" or hasattr(module, c.framework)]
            times = {case: _alternately(able, name, case, args) for case in module.CASES}
            _print_table(module, name, times)
            _save(module, name, able, times)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help="of " + ", ".join(BENCHMARKS))
    parser.add_argument("--device", action="append", help="OpenCL device, again for more (default: all)")
    parser.add_argument("--mxnet-python", metavar="PYTHON", help="interpreter that has MXNet")
    parser.add_argument("--torch-python", metavar="PYTHON", help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=21, help="measurements of each contender")
    parser.add_argument("--seconds", type=float, default=0.02, help="that each of them takes, or more")
    args = parser.parse_args()
    for name in args.benchmarks:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    return args


def _contenders(args):
    for device in args.device or [f"{d.kind}:{d.index}" for d in devices()]:
        yield Contender("clgrad", device=device)
    yield Contender("numpy")
    if args.mxnet_python:
        yield Contender("mxnet", args.mxnet_python)
    if args.torch_python:
        yield Contender("torch", args.torch_python)


def _alternately(contenders, benchmark: str, case: str, args) -> dict[str, list[float]]:
    """Seconds for a call in each round, by contender; every other round goes in reverse order."""
    times: dict[str, list[float]] = {c.name: [] for c in contenders}
    for number in range(args.rounds):
        for contender in contenders[:: -1 if number % 2 else 1]:
            time.sleep(PAUSE)
            times[contender.name].append(contender.measure(benchmark, case, args.seconds))
    return times


def _print_table(module, name: str, times: dict[str, dict[str, list[float]]]) -> None:
    print(f"\n{name}: {module.__doc__.strip()}")
    width = max(len(contender) for of_case in times.values() for contender in of_case)
    for case, of_case in times.items():
        print(f"\n  {case}: {module.CASES[case]}")
        reference = of_case.get(module.REFERENCE)
        for contender, seconds in of_case.items():
            low, middle, high = (
                _shown(module, case, t) for t in (max(seconds), _median(seconds), min(seconds))
            )
            line = f"    {contender:{width}}  {middle:8.1f} {module.UNIT} ({low:.1f} to {high:.1f})"
            if reference:
                line += f"  {_median(reference) / _median(seconds):6.2f}"
                line += f"  {min(reference) / min(seconds):6.2f}"
            print(line)
    print("\n  Median, worst and best; by medians and by the best, the speed relative to")
    print(f"  {module.REFERENCE}, where that was measured.")


def _shown(module, case: str, seconds: float) -> float:
    return seconds * 1e6 if module.UNIT == "us" else module.work(case) / seconds / 1e9


def _save(module, name: str, contenders, times) -> None:
    result = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load": os.getloadavg(),
        },
        "contenders": {c.name: c.about for c in contenders},
        "reference": module.REFERENCE,
        "cases": module.CASES,
        "seconds": times,
        "medians": {
            case: {contender: _median(seconds) for contender, seconds in of_case.items()}
            for case, of_case in times.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"  {path}")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
