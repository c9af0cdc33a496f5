"""``python -m benchmarks.replay [CASE...]``: captured steps, launch by launch and by command buffers.

Both are captured on the device that ``CLGRAD_DEVICE`` names, and replayed alternately in one process, each
step waited for, or ten together. What is told is CPU time of the thread that calls, and of the process with
the runtime in it, since small launches are bound by that; under load it is steadier than a clock. On a CPU
of several cores, ``taskset -c 1`` says what the work costs, and not how it is shared out.
"""

import argparse
import os
import statistics
import time

import clgrad
from benchmarks import capture
from clgrad.graph.ir import launches

#: Replays without a change after which the command buffers are there.
WARM_UP = 6
WAYS = {"loop": "0", "buffers": "1"}
#: Small layers one after the other: nothing but launches.
CHAINS = {"4 layers": 4, "16 layers": 16, "48 layers": 48}


def chain(layers: int):
    net = clgrad.gluon.nn.HybridSequential()
    for _ in range(layers):
        net.add(clgrad.gluon.nn.Dense(32, activation="tanh"))
    net.initialize()
    x = clgrad.nd.ones((4, 32))

    def step():
        with clgrad.autograd.record():
            loss = net(x).sum()
        loss.backward()
        return loss

    return clgrad.capture(step)


def captured(case: str, way: str):
    """A captured step that is replayed one way or the other, ready to be timed."""
    os.environ["CLGRAD_COMMAND_BUFFERS"] = WAYS[way]
    step = chain(CHAINS[case]) if case in CHAINS else capture.clgrad(clgrad, f"{case}: fused")
    for _ in range(WARM_UP):
        step()
    clgrad.nd.waitall()
    return step


def timed(step, repeat: int, together: int) -> tuple[float, float]:
    """Microseconds of a step: of the thread that calls, and of the process."""
    thread, process = time.thread_time(), time.process_time()
    for _ in range(repeat):
        for _ in range(together):
            step()
        clgrad.nd.waitall()
    scale = 1e6 / (repeat * together)
    return (time.thread_time() - thread) * scale, (time.process_time() - process) * scale


def measured(case: str, together: int, rounds: int) -> dict[str, list[float]]:
    """The medians by each way."""
    steps = {way: captured(case, way) for way in WAYS}
    once = timed(steps["loop"], 1, together)[1] * together
    repeat = max(1, int(20_000 / once))
    found = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, step in steps.items():
            found[way].append(timed(step, repeat, together))
    return {way: [statistics.median(x) for x in zip(*pairs, strict=True)] for way, pairs in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.replay", description=__doc__)
    parser.add_argument("cases", nargs="*", default=[*CHAINS, capture.STEP, *capture.NETS])
    parser.add_argument("--rounds", type=int, default=41)
    options = parser.parse_args()
    device = clgrad.current_context().device
    if not device.capabilities.command_buffers:
        parser.error(f"{device.name}, {device.platform_name}, has no command buffers")
    print(f"{device.name}, {device.platform_name}: us of CPU time, loop and buffers, and loop / buffers")
    for case in options.cases:
        step = captured(case, "buffers")
        number = sum(launches(graph) for _, graph in step.graphs())
        print(f"{case}, {number} launches")
        for together in (1, 10):
            (thread, process), (own, whole) = measured(case, together, options.rounds).values()
            print(
                f"  {together:2} together   the thread {thread:9.1f}{own:9.1f}{thread / own:6.2f}"
                f"   all {process:9.1f}{whole:9.1f}{process / whole:6.2f}"
            )


if __name__ == "__main__":
    main()
