"""Work on drivers in child processes, where a crash or an endless loop costs nothing.

``python -m MODULE NAME ARGUMENT...`` runs one of the probes of a module, and prints its result as JSON in
the last line of its output.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn


@dataclass(frozen=True)
class Outcome:
    """What came of a probe: a result, or else why there is none."""

    result: Any = None
    error: str | None = None


def in_child(
    probe: str,
    *arguments: str,
    timeout: float = 120,
    module: str = "clgrad.cli.probe",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Run a probe in a child process.

    Parameters
    ----------
    probe : str
        Name of a probe.
    *arguments : str
        What it is called with.
    timeout : float, default 120
        Seconds until the child is killed.
    module : str, default "clgrad.cli.probe"
        The module that has the probe, and ends in a call of :func:`answer`.
    environment : mapping of str to str
        Environment variables that the child has besides ours.

    Returns
    -------
    Outcome
        With an error where the probe raised, crashed, or did not end.
    """
    # The child imports the same clgrad, even one that is not installed.
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "ignore", "-m", module, probe, *arguments]
    try:
        child = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(error=f"it hangs: no answer within {timeout:.0f} seconds")
    if child.returncode < 0:
        return Outcome(error=f"it crashes: {signal.strsignal(-child.returncode)}")
    try:
        return Outcome(**json.loads(child.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return Outcome(error=f"it ends with status {child.returncode}: {child.stderr.strip()}")


def answer(probes: Mapping[str, Callable[..., object]], name: str, *arguments: str) -> NoReturn:
    """In the child: run a probe, print what comes of it, and end the process.

    Parameters
    ----------
    probes : mapping of str to callable
        Those that there are.
    name : str
        Which of them to run.
    *arguments : str
        What it is called with.
    """
    try:
        found = {"result": probes[name](*arguments)}
    except Exception as error:  # whatever it is, it is the answer
        found = {"error": str(error) or repr(error)}
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)  # drivers that crash when they are unloaded have done what was asked of them
