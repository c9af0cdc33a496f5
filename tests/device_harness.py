"""What tests of devices and drivers share: invented devices, and Python started in other environments."""

import os
import subprocess
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pyopencl as cl
import pytest

ROOT = Path(__file__).parents[1]

ABOUT_OPENCL = ("CLGRAD_", "OCL_", "OPENCL_", "POCL_", "PYOPENCL_", "RUSTICL_", "LD_LIBRARY_PATH")

# The loader that pyopencl bundles looks for the PoCL wheel there, whatever OCL_ICD_VENDORS says.
HIDE_POCL_WHEEL = "import os, pyopencl; os.environ['PYOPENCL_HOME'] = os.environ['OCL_ICD_VENDORS']\n"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="drivers are files on Linux alone")


def has_package(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


needs_intel_wheel = pytest.mark.skipif(
    not has_package("intel-opencl-rt") or sys.platform != "linux", reason="needs intel-opencl-rt"
)

needs_pocl_wheel = pytest.mark.skipif(
    not has_package("pocl-binary-distribution") or sys.platform != "linux",
    reason="needs pocl-binary-distribution",
)


def start(code: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a new Python with no variables that concern OpenCL but those given."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(ABOUT_OPENCL)}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env | environment, stdout=pipe, stderr=pipe, text=True)


def run(code: str, **environment: str) -> str:
    """What ``code`` prints in a new Python; a failure if it fails, or hangs."""
    process = start(code, **environment)
    try:
        output, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"hangs: {code}")
    assert process.returncode == 0, errors
    return output.strip()


def fake_platform(name: str, *cl_devices: SimpleNamespace, version: str = "OpenCL 3.0"):
    platform = SimpleNamespace(name=name, version=version, vendor=f"{name} Inc.")
    platform.get_devices = lambda: list(cl_devices)
    for cl_device in cl_devices:
        cl_device.platform = platform
    return platform


def fake_device(name: str, **properties: object) -> SimpleNamespace:
    gpu_properties = {
        "name": name,
        "vendor": "Maker",
        "driver_version": "1.0",
        "type": cl.device_type.GPU,
        "extensions": "cl_khr_fp64",
        "available": True,
        "compiler_available": True,
        "max_work_group_size": 1024,
        "local_mem_size": 49152,
        "max_compute_units": 10,
        "max_clock_frequency": 1000,
        "max_num_sub_groups": 0,
        "max_mem_alloc_size": 2**30,
        "global_mem_size": 2**32,
        "max_parameter_size": 4352,
        "native_vector_width_float": 1,
        "single_fp_config": int(cl.device_fp_config.FMA),
        "host_unified_memory": False,
    }
    return SimpleNamespace(**(gpu_properties | properties))


CPU = {"type": cl.device_type.CPU, "host_unified_memory": True, "native_vector_width_float": 8}
