"""What is compared: frameworks, each in a process of its own that stays alive."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Contender:
    """A worker process for one framework.

    Parameters
    ----------
    framework : str
        Module to import: clgrad, numpy, mxnet or torch.
    python : str
        Interpreter that has it.
    device : str, optional
        For clgrad, the device, as CLGRAD_DEVICE takes it.
    """

    def __init__(self, framework: str, python: str = sys.executable, device: str | None = None):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if device is not None:
            environment["CLGRAD_DEVICE"] = device
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
        where = f" on {self.about['platform']} {self.about['driver']}" if device is not None else ""
        self.name = framework + where

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *exception) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def measure(self, benchmark: str, case: str, seconds: float) -> float:
        """Seconds that one call of the case takes, on average over a while."""
        print(json.dumps([benchmark, case, seconds]), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmarks: the worker for {self.framework} ended; its error is above")
        return json.loads(line)
