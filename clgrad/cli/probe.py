"""What ``clgrad doctor`` tries in child processes (``child.py``)."""

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyopencl as cl

from clgrad.cli.child import answer
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


if __name__ == "__main__":
    answer(_PROBES, *sys.argv[1:])
