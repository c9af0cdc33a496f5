"""What is compared: frameworks, each in a process of its own that stays alive."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: By how much digests may differ, relative to the value or the mean of absolute values, the larger. Sums in
#: float32 differ by much less, but MXNet's norm of 4M numbers is off by 0.002.
TOLERANCE = 4e-3


class ContenderError(Exception):
    """A framework could not do what was asked; the message is its error."""


class Contender:
    """A worker process for one framework.

    Parameters
    ----------
    framework : str
        Module to import: clgrad, numpy, mxnet, torch, tinygrad; or clblast, or pyopencl (floor.py).
    python : str
        Interpreter that has it.
    device : str, optional
        For clgrad, pyopencl and CLBlast, the device, as CLGRAD_DEVICE takes it; for PyTorch, one of
        its own.
    library : Path, optional
        For CLBlast.
    """

    def __init__(
        self,
        framework: str,
        python: str = sys.executable,
        device: str | None = None,
        library: Path | None = None,
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if library is not None:
            environment["BENCHMARKS_CLBLAST"] = str(library)
        if device is not None:
            variable = "BENCHMARKS_TORCH_DEVICE" if framework == "torch" else "CLGRAD_DEVICE"
            environment[variable] = device
        if framework == "tinygrad":
            environment.setdefault("DEV", "CL")
        self.framework = framework
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.worker", framework],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.about = self._answer()
        on_device = framework in ("clgrad", "pyopencl")
        where = f" on {self.about['platform']} {self.about['driver']}" if on_device else ""
        self.name = framework + where

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *exception) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def prepare(self, benchmark: str, case: str) -> list[list[float]] | None:
        """Get a case ready, and a digest of what it computes; None if the framework has no such case."""
        return self._ask("prepare", benchmark, case)

    def measure(self, seconds: float, clock: str = "perf_counter") -> float:
        """Seconds that one call of the prepared case takes, on average over a while."""
        return self._ask("measure", seconds, clock)

    def _ask(self, *request):
        with contextlib.suppress(BrokenPipeError):  # its end is seen below
            print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._answer()
        if isinstance(answer, dict):
            raise ContenderError(answer["error"])
        return answer

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmarks: the worker for {self.framework} ended; its error is above")
        return json.loads(line)


def differ(digests: dict[str, list[list[float]]]) -> Iterator[str]:
    """A line for each contender that computes something else than the first one does."""
    if not digests:
        return
    (first, expected), *others = digests.items()
    for name, found in others:
        if len(found) != len(expected):
            yield f"{name} gives {len(found)} arrays, {first} {len(expected)}"
            continue
        for number, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
            if not _agree(ours, theirs):
                yield f"array {number} of {name} differs: {theirs}; of {first}: {ours}"


def _agree(ours: list[float], theirs: list[float]) -> bool:
    """Whether two arrays may be the same: of one size, and near in all that the digests say."""
    if ours[0] != theirs[0]:
        return False
    magnitude = ours[1]
    return all(
        abs(a - b) <= TOLERANCE * max(magnitude, abs(a)) for a, b in zip(ours[1:], theirs[1:], strict=True)
    )
