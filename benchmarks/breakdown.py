"""``python -m benchmarks.breakdown``: where the microseconds of an op and of a recorded step go.

Parts of clgrad are called alone, on arrays so small that the kernels count for little. Given is the time of
all threads on processors, the least of many rounds: so it can be run beside other work. ``taskset -c 1``
before it keeps the runtime's threads on the same core. ``CLGRAD_DEVICE`` chooses the device.
"""

import time
from collections.abc import Callable

import clgrad as mx
from benchmarks.floor import replay
from benchmarks.launch_overhead import SHAPE
from clgrad import autograd, memory, nd, tape
from clgrad.array import NDArray, stream_of
from clgrad.autograd.sweep import Sweep
from clgrad.kernels.launch import enqueue
from clgrad.memory import Storage, View
from clgrad.registry import table

ROUNDS, CALLS = 60, 100


def main() -> None:
    print(f"{mx.current_context().device.name}: microseconds, and what a line adds to those above it")
    _print("x + y", _op())
    _print("record, 4 ops, backward", _step())


def _op() -> dict[str, Callable]:
    """Ways to add two arrays, each with more around the launch than the one before."""
    x, y = nd.ones(SHAPE), nd.ones(SHAPE)
    add, stream = table["add"], stream_of(x)
    result = (x + y)._view
    views, nbytes = [x._view, y._view], result.nbytes
    plan = next(p for key, p in stream.plans.items() if key[0] is add and p.layouts[0] is result.layout)
    prepared, queue = plan.prepared()[0], stream.queue
    prepared.bind([*views, result])
    launch = queue, prepared.kernel, prepared.step.global_size, prepared.step.local_size
    x.attach_grad()

    def recorded():
        with autograd.record():
            return x + y

    return {
        "enqueue": lambda: enqueue(*launch),
        "memory from the pool, arguments (the floor)": replay(lambda: x + y),
        "storage and view, counting (Plan.quick)": lambda: plan.quick(stream, views, ()),
        "arguments, plan, NDArray (the op)": lambda: x + y,
        "the scope and the tape (the op, recorded)": recorded,
        "of all that: a Storage, with its memory": lambda: Storage(stream, nbytes),
        "a View": lambda: View(result.storage, 0, result.layout),
        "an NDArray": lambda: NDArray(result),
    }


def _step() -> dict[str, Callable]:
    """Stages of a recorded step."""
    x, y = nd.ones(SHAPE), nd.ones(SHAPE)
    x.attach_grad()
    y.attach_grad()

    def forward():
        return nd.sigmoid(x * y + x).sum()

    def recorded():
        with autograd.record():
            return forward()

    def step():
        recorded().backward()
        return x.grad, y.grad

    def swept():
        Sweep("backward", recorded(), None, True).run(retain_graph=False, create_graph=False)

    return {
        "launches alone (the floor)": replay(step),
        "forward": forward,
        "recorded": recorded,
        "what backward passes": lambda: tape.reached([recorded()._entry]),
        "rules, one kernel for the gradients": swept,
        "handing them over (the step)": step,
    }


def _print(title: str, calls: dict[str, Callable]) -> None:
    best = _measure(list(calls.values()))
    print(f"\n{title}")
    before = 0.0
    for what, seconds in zip(calls, best, strict=True):
        added = f"{(seconds - before) * 1e6:+8.2f}" if seconds > before else ""
        print(f"  {what:50} {seconds * 1e6:8.2f} {added}")
        before = seconds


def _measure(calls: list[Callable]) -> list[float]:
    """Seconds of each call: of the rounds, which take turns, the shortest."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            start = time.process_time()
            for _ in range(CALLS):
                call()
            memory.current_stream(mx.current_context().device).finish()
            best[i] = min(best[i], (time.process_time() - start) / CALLS)
    return best


if __name__ == "__main__":
    main()
