"""The programs of the pages in docs/ run, block after block."""

import re
from pathlib import Path

import pytest

import clgrad as mx

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["capture", "training"])
def test_the_page_runs(monkeypatch, tmp_path, page):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = DOCS / f"{page}.md"
    blocks = re.findall(
        r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) >= 3
    names = {"__name__": f"page_{page}"}
    for block in blocks:
        exec(compile(block, str(path), "exec"), names)
    for registry in (mx.init.base._factory, mx.optimizer.base._factory, mx.metric.base._factory):
        for name in ("diagonal", "momentum", "largest"):  # other tests may take these names
            registry.classes.pop(name, None)
