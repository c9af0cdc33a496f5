"""A process of its own for one framework, which measures when it is told to.

``python -m benchmarks.worker FRAMEWORK``, in an environment that has the framework and numpy. Each line of
the input is a JSON list, and a line of the output answers:

["prepare", benchmark, case]
    A digest of what the case computes, for comparison with what others answer; null if the framework has no
    such case; ``{"error": ...}`` if it fails.
["measure", seconds, clock]
    Seconds that one call of the case last prepared takes, on average over a while, by the function of that
    name in ``time``.
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np

#: Modules here that are frameworks.
OURS = {"clblast": "benchmarks.clblast", "pyopencl": "benchmarks.floor"}

#: How many values of an array a digest holds.
PICKED = 16


def main(name: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what frameworks print is no answer
    framework = importlib.import_module(OURS.get(name, name))
    if name == "torch" and os.environ.get("BENCHMARKS_TORCH_DEVICE"):
        framework.set_default_device(os.environ["BENCHMARKS_TORCH_DEVICE"])
    call, wait = None, _waiter(name, framework)
    print(json.dumps(_describe(name, framework)), file=answers, flush=True)
    for line in sys.stdin:
        request, *arguments = json.loads(line)
        if request == "prepare":
            call = None  # the arrays of the last case go first
            try:
                call = _setup(name, framework, *arguments)
                answer = call and _digest(name, call)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        else:
            answer = _measure(call, wait, *arguments)
        print(json.dumps(answer), file=answers, flush=True)


def _describe(name: str, framework) -> dict[str, str]:
    about = {"version": getattr(framework, "__version__", None) or importlib.metadata.version(name)}
    if name in ("clgrad", "pyopencl"):
        device = framework.device if name == "pyopencl" else framework.current_context().device
        about |= {
            "device": device.name,
            "platform": device.platform_name,
            "driver": device.driver_version,
        }
    elif name == "clblast":
        about |= {"device": framework.device.name, "platform": framework.device.platform_name}
    elif name == "torch":
        about |= {"threads": framework.get_num_threads(), "device": str(framework.get_default_device())}
    elif name == "tinygrad":
        device = framework.Device[framework.Device.DEFAULT]
        about |= {"device": f"{device.device} {getattr(device, 'device_name', '')}".strip()}
    elif name == "numpy":
        blas = importlib.import_module("threadpoolctl").threadpool_info()[0]
        keys = ("internal_api", "version", "architecture", "num_threads")
        about |= {f"blas {key}": str(blas.get(key)) for key in keys}
    return about


def _waiter(name: str, framework) -> Callable[[], None]:
    """What waits until all that was enqueued is done."""
    if name in ("clgrad", "mxnet"):
        return framework.nd.waitall
    if name == "torch" and framework.get_default_device().type == "cuda":
        return framework.cuda.synchronize
    if name in OURS:
        return framework.wait
    if name == "tinygrad":
        return framework.Device[framework.Device.DEFAULT].synchronize
    return lambda: None


def _setup(name: str, framework, benchmark: str, case: str) -> Callable | None:
    module = importlib.import_module(f"benchmarks.{benchmark}")
    # clgrad runs what is written for MXNet, unless there is something of its own.
    setup = getattr(module, name, None) or (module.mxnet if name == "clgrad" else None)
    call = setup and setup(framework, case)
    return _enqueued(framework, call) if call and name == "clgrad" else call


def _enqueued(clgrad, call: Callable) -> Callable:
    """A call whose launches do not wait to be merged with the next call's: that would be no repetition."""

    def enqueued():
        result = call()
        clgrad.engine.flush()
        return result

    return enqueued


def _digest(name: str, call: Callable) -> list[list[float]]:
    """Of each array that a call returns: size, mean of absolute values, mean, and some of the values.

    The third call answers. The first two have built kernels, and steps of training have moved by then.
    """
    call()
    call()
    result = call()
    digests = []
    for array in result if isinstance(result, list | tuple) else [result]:
        values = np.asarray(_values(name, array), np.float64).ravel()
        some = values[:: max(1, values.size // PICKED)][:PICKED]
        digests.append([float(values.size), *map(float, (np.abs(values).mean(), values.mean(), *some))])
    return digests


def _values(name: str, array):
    if name in ("clgrad", "mxnet"):
        return array.asnumpy()
    if name == "torch":
        return array.detach().cpu().double().numpy()  # numpy has no bfloat16
    return array.numpy() if name == "tinygrad" or name in OURS else array


def _measure(call: Callable, wait: Callable[[], None], seconds: float, clock: str) -> float:
    """Seconds for one call: calls are doubled until they take long enough together."""
    now = getattr(time, clock)
    calls = 1
    while (taken := _run(call, wait, calls, now)) < seconds:
        calls *= 2
    return taken / calls


def _run(call: Callable, wait: Callable[[], None], calls: int, now: Callable[[], float]) -> float:
    start = now()
    for _ in range(calls):
        call()
    wait()
    return now() - start


if __name__ == "__main__":
    main(sys.argv[1])
