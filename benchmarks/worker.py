"""A process of its own for one framework, which measures when it is told to.

``python -m benchmarks.worker FRAMEWORK``, in an environment that has the framework. Each line of
the input is a JSON list: benchmark, case, and seconds to measure for; a line of the output answers.
Only the standard library and the framework are imported.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable


def main(name: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what frameworks print is no answer
    framework = importlib.import_module(name)
    print(json.dumps(_describe(name, framework)), file=answers, flush=True)
    steps: dict[tuple[str, str], Callable[[int], float]] = {}
    for line in sys.stdin:
        benchmark, case, seconds = json.loads(line)
        if (benchmark, case) not in steps:
            steps[benchmark, case] = _prepare(framework, benchmark, case)
        print(json.dumps(_measure(steps[benchmark, case], seconds)), file=answers, flush=True)


def _describe(name: str, framework) -> dict[str, str]:
    about = {"version": framework.__version__}
    if name == "clgrad":
        device = framework.current_context().device
        about |= {
            "device": device.name,
            "platform": device.platform_name,
            "driver": device.driver_version,
        }
    elif name == "numpy":
        blas = importlib.import_module("threadpoolctl").threadpool_info()[0]
        keys = ("internal_api", "version", "architecture", "num_threads")
        about |= {f"blas {key}": str(blas.get(key)) for key in keys}
    return about


def _prepare(framework, benchmark: str, case: str) -> Callable[[int], float]:
    """A function that takes a number of calls and returns the seconds that they took."""
    module = importlib.import_module(f"benchmarks.{benchmark}")
    name = framework.__name__
    # MXNet and clgrad run the same code.
    setup = getattr(module, "mxnet" if name == "clgrad" else name)
    call = setup(framework, case)
    wait = framework.nd.waitall if name in ("clgrad", "mxnet") else lambda: None

    def run(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        return time.perf_counter() - start

    for _ in range(3):  # kernels are built and caches filled
        run(1)
    return run


def _measure(run: Callable[[int], float], seconds: float) -> float:
    """Seconds for one call: calls are doubled until they take long enough together."""
    calls = 1
    while (taken := run(calls)) < seconds:
        calls *= 2
    return taken / calls


if __name__ == "__main__":
    main(sys.argv[1])
