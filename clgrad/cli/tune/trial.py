"""One candidate in a child process: held against numpy, then timed beside the baseline."""

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from clgrad import memory
from clgrad.cli.child import answer
from clgrad.cli.timing import seconds_a_call
from clgrad.cli.tune.workloads import CHECKS, TIMED, Arrays, Workload, kind_of
from clgrad.device import Device, device
from clgrad.errors import KernelError
from clgrad.kernels import matmul_tensor, tuning
from clgrad.kernels.launch import Plan
from clgrad.kernels.parameters import FAMILIES, Tunables
from clgrad.memory import Stream, View

#: A measurement lasts at least this long, and there are at least so many rounds of them.
_SECONDS, _ROUNDS = 0.004, 5


def measure(context: str, family: str, candidate: str, baseline: str, seconds: str) -> dict[str, float]:
    """Check a candidate, and compare its speed with the baseline's.

    Parameters
    ----------
    context : str
        Name of the device.
    family : str
        Key of the family.
    candidate, baseline : str
        Parameters as JSON objects.
    seconds : str
        How long to time each workload.

    Returns
    -------
    dict of str to float
        For each workload how many times as fast the candidate is: the ratio of the best times, or the
        median of the ratios of neighbouring times, if that is lower. 1 where both make the same launches.

    Raises
    ------
    KernelError
        A kernel does not build, or computes something else than numpy does.
    """
    target = device(context).device
    kind = FAMILIES[family]
    ours, theirs = (kind.read(json.loads(text), target.capabilities) for text in (candidate, baseline))
    stream = memory.current_stream(target)
    matmul_tensor.allow_tf32(kind_of(family) == "tensor")
    for workload in CHECKS[kind_of(family)]:
        if workload.runs_on(target):
            _check(stream, workload, _plan(target, workload, ours))
    return {
        workload.name: _compare(stream, workload, ours, theirs, float(seconds))
        for workload in TIMED[kind_of(family)]
    }


def _plan(target: Device, workload: Workload, parameters: Tunables) -> Plan:
    with tuning.forced(parameters):
        return workload.plan(target)


def _check(stream: Stream, workload: Workload, plan: Plan) -> tuple[list[View], list[View]]:
    """Run a plan and look at its result; returns inputs and outputs, for more runs."""
    arrays = workload.draw()
    inputs = _uploaded(stream, arrays)
    outputs = [memory.empty(stream, shape, dtype) for shape, dtype in plan.outputs]
    # What an earlier run left in this memory would hide a kernel that writes nothing.
    for output in outputs:
        memory.upload(stream, np.full(output.shape, 77, output.dtype), output)
    plan.run(stream, inputs, outputs=outputs)
    result = memory.download(stream, outputs[0])
    if not workload.agrees(result, workload.reference(*arrays).astype(result.dtype)):
        raise KernelError(f"it computes wrong values: {workload.name}")
    return inputs, outputs


def _uploaded(stream: Stream, arrays: Arrays) -> list[View]:
    views = []
    for array in arrays:
        view = memory.empty(stream, array.shape, array.dtype)
        memory.upload(stream, array, view)
        views.append(view)
    return views


def _compare(stream: Stream, workload: Workload, ours: Tunables, theirs: Tunables, seconds: float) -> float:
    candidate, baseline = (_plan(stream.device, workload, p) for p in (ours, theirs))
    inputs, outputs = _check(stream, workload, candidate)
    if candidate.steps == baseline.steps:
        return 1.0

    def runs(plan: Plan) -> Callable[[int], float]:
        call = functools.partial(plan.run, stream, inputs, outputs=outputs)
        return functools.partial(seconds_a_call, stream, call)

    run_ours, run_theirs = runs(candidate), runs(baseline)
    run_theirs(1)  # compiles
    count = max(1, round(_SECONDS / run_theirs(1)))
    before: list[float] = []
    after: list[float] = []
    end = time.perf_counter() + seconds
    while len(before) < _ROUNDS or time.perf_counter() < end:
        # In turn first and second: what follows another finds its data in the cache.
        pair = [(run_theirs, before), (run_ours, after)]
        for run, times in pair if len(before) % 2 else pair[::-1]:
            times.append(run(count))
    ratios = [b / a for b, a in zip(before, after, strict=True)]
    return min(min(before) / min(after), statistics.median(ratios))


if __name__ == "__main__":
    answer({"measure": measure}, *sys.argv[1:])
