"""The programs of README.md and of the pages in docs/ run, block after block."""

import doctest
import re
from pathlib import Path

import pytest

import clgrad as mx
from clgrad.errors import DeviceError

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]


def run(page: str) -> int:
    """Run the blocks of a page as one program; how many there were."""
    path = ROOT / page
    blocks = re.findall(
        r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {"__name__": f"page_{path.stem}"}
    for block in blocks:
        exec(compile(block, str(path), "exec"), names)
    return len(blocks)


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    """A folder for what the pages write."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore::pyopencl.CompilerWarning")  # compilers chat
@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("docs/capture.md", 3),
        ("docs/data.md", 2),
        ("docs/migrating.md", 2),
        ("docs/nets.md", 4),
        ("docs/training.md", 5),
    ],
)
def test_the_page_runs(page, count):
    assert run(page) == count
    for registry in (mx.init.base._factory, mx.optimizer.base._factory, mx.metric.base._factory):
        for name in ("diagonal", "momentum", "largest"):  # other tests may take these names
            registry.classes.pop(name, None)


def test_the_readme_runs(capsys):
    try:
        mx.device("intel")
    except DeviceError:
        pytest.skip("shows how to choose Intel's runtime")
    assert run("README.md") == 3
    assert "[[ 6. 12.]\n [18. 24.]]" in capsys.readouterr().out
    assert Path("net.params").exists()


def test_examples_of_profiling():
    results = doctest.testfile(str(ROOT / "docs" / "profiling.md"), module_relative=False)
    assert (results.failed, results.attempted) == (0, 4)
