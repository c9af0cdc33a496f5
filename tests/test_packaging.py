"""The wheel as a user gets it: built, installed into an empty environment, used elsewhere."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent

TRAIN = """
import numpy as np
import clgrad as mx

rng = np.random.default_rng(0)
x = mx.nd.array(rng.normal(size=(64, 5)))
label = mx.nd.dot(x, mx.nd.array(rng.normal(size=(5, 1))))
weight, bias = mx.nd.zeros((1, 5)), mx.nd.zeros((1,))
for parameter in (weight, bias):
    parameter.attach_grad()
losses = []
for step in range(50):
    with mx.autograd.record():
        y = mx.nd.FullyConnected(x, weight, bias, num_hidden=1)
        loss = ((y - label) ** 2).mean()
    loss.backward()
    for parameter in (weight, bias):
        mx.nd.sgd_update(parameter, parameter.grad, lr=0.1, out=parameter)
    losses.append(float(loss.asnumpy()[0]))
assert losses[-1] < 1e-3 * losses[0], losses
print("trained")
"""

# Prints what `import clgrad` imports beside its dependencies, and what those import in turn.
IMPORT = """
import sys
import mako.exceptions, mako.lookup, numpy, pyopencl

def refuse(*args, **kwargs):
    raise AssertionError("importing clgrad starts OpenCL")

pyopencl.get_platforms = pyopencl.Context = pyopencl.create_some_context = refuse
before = set(sys.modules)
import clgrad
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that knows nothing of this checkout; a failure shows it all."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLGRAD_", "PYTEST_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution, so both are complete."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment that holds the wheel, PoCL and what they depend on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    (interpreter,) = [*folder.glob("bin/python"), *folder.glob("Scripts/python.exe")]
    run(interpreter, "-m", "pip", "install", f"clgrad[pocl] @ {wheel.as_uri()}", cwd=folder)
    return interpreter


def test_wheel_holds_the_package_and_its_data_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"clgrad/tuned/{path.name}" for path in (ROOT / "clgrad/tuned").glob("*.json")} <= set(names)
    templates = {path.name for path in (ROOT / "templates").iterdir()}
    assert any(name.endswith(".cl.mako") for name in templates)
    assert templates <= {path.removeprefix("clgrad/templates/") for path in names}
    name, version, _ = wheel.name.split("-", maxsplit=2)
    metadata = f"{name}-{version}.dist-info"
    assert {path.partition("/")[0] for path in names} == {"clgrad", metadata}


def test_import_needs_the_dependencies_only_and_starts_no_opencl(python: Path, tmp_path: Path) -> None:
    imported = set(run(python, "-c", IMPORT, cwd=tmp_path).split())
    dependencies = {"mako", "ml_dtypes", "numpy", "pyopencl"}
    standard = {*sys.stdlib_module_names, "__mp_main__"}  # what multiprocessing calls the main module
    assert imported - standard - dependencies == {"clgrad"}


def test_installed_wheel_trains_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    output = run(python, "-c", TRAIN, cwd=tmp_path, CLGRAD_CACHE_DIR=str(cache))
    assert output.split() == ["trained"]


def test_installed_command_runs(python: Path, tmp_path: Path) -> None:
    command = python.with_name("clgrad" + python.suffix)
    assert "(0)" in run(command, "devices", cwd=tmp_path)
