"""What ``clgrad doctor`` tries in child processes, where a crashing driver costs nothing.

``python -m clgrad.cli.probe NAME ARGUMENT...`` runs one of the probes below, and prints its result
as JSON in the last line of its output.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl

from clgrad.device import device, devices, icd
from clgrad.errors import DeviceError

_SOURCE = """
__kernel void probe(__global const float *x, __global float *y, __local float *shared)
{
    const size_t i = get_global_id(0), own = get_local_id(0), last = get_local_size(0) - 1;
    shared[own] = exp(x[i]);
    barrier(CLK_LOCAL_MEM_FENCE);
    y[i] = shared[last - own] + x[i];
}
"""
_GROUP = 16


@dataclass(frozen=True)
class Outcome:
    """What came of a probe: a result, or else why there is none."""

    result: Any = None
    error: str | None = None


def in_child(probe: str, *arguments: str, timeout: float = 120) -> Outcome:
    """Run a probe in a child process.

    Parameters
    ----------
    probe : str
        Name of a probe.
    *arguments : str
        What it is called with.
    timeout : float, default 120
        Seconds until the child is killed.

    Returns
    -------
    Outcome
        With an error where the probe raised, crashed, or did not end.
    """
    # The child imports the same clgrad, even one that is not installed.
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "ignore", "-m", "clgrad.cli.probe", probe, *arguments]
    try:
        child = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
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


def try_driver(library: str, source: str) -> list[str]:
    """Load one vendor library, and start the OpenCL loader with that driver alone.

    Parameters
    ----------
    library : str
        As in :class:`clgrad.device.icd.Driver`.
    source : str
        Likewise.

    Returns
    -------
    list of str
        The devices that it brings.

    Raises
    ------
    OSError
        The library cannot be loaded.
    """
    if source == "pip":
        problem = icd.preload(library)
        if problem:
            raise OSError(problem)
    ctypes.CDLL(library)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "driver.icd").write_text(f"{library}\n")
        os.environ["OCL_ICD_VENDORS"] = folder
        os.environ["PYOPENCL_HOME"] = folder  # or its loader adds the PoCL wheel
        try:
            platforms = cl.get_platforms()
        except cl.Error:  # how a loader says that there is none
            platforms = []
    return [f"{d.name.strip()}, {p.name}" for p in platforms for d in p.get_devices()]


def list_devices() -> list[dict[str, str]]:
    """What clgrad makes of all drivers together.

    Returns
    -------
    list of dict
        Context and description of each device.

    Raises
    ------
    DeviceError
        There is none.
    """
    return [{"context": f"{d.kind}({d.index})", "name": f"{d.name}, {d.platform_name}"} for d in devices()]


def run_kernel(context: str) -> None:
    """Build a small kernel for a device, run it, and compare what it computes with numpy.

    Parameters
    ----------
    context : str
        Name of the device.

    Raises
    ------
    DeviceError
        The result is wrong.
    """
    target = device(context).device
    # The number of the process makes it a program that no cache has.
    options = [*target.build_options, f"-DPROBE={os.getpid()}"]
    program = cl.Program(target.cl_context, _SOURCE).build(options, cache_dir=False)
    x = np.linspace(-2, 2, 4 * _GROUP, dtype=np.float32)
    y = np.empty_like(x)
    flags = cl.mem_flags
    x_buffer = cl.Buffer(target.cl_context, flags.COPY_HOST_PTR, hostbuf=x)
    y_buffer = cl.Buffer(target.cl_context, flags.WRITE_ONLY, y.nbytes)
    queue = cl.CommandQueue(target.cl_context)
    shared = cl.LocalMemory(_GROUP * x.itemsize)
    cl.Kernel(program, "probe")(queue, x.shape, (_GROUP,), x_buffer, y_buffer, shared)
    cl.enqueue_copy(queue, y, y_buffer)
    expected = np.exp(x).reshape(-1, _GROUP)[:, ::-1].ravel() + x
    if not np.allclose(y, expected, rtol=1e-5):
        raise DeviceError(f"it computes wrong values: {y[:4]} instead of {expected[:4]}")


_PROBES: dict[str, Callable[..., object]] = {
    probe.__name__: probe for probe in (try_driver, list_devices, run_kernel)
}


def _main(name: str, *arguments: str) -> None:
    try:
        answer = {"result": _PROBES[name](*arguments)}
    except Exception as error:  # whatever it is, it is the answer
        answer = {"error": str(error) or repr(error)}
    print("\n" + json.dumps(answer), flush=True)
    os._exit(0)  # drivers that crash when they are unloaded have done what was asked of them


if __name__ == "__main__":
    _main(*sys.argv[1:])
