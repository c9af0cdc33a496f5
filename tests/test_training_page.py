"""The program of docs/training.md runs."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[1] / "docs" / "training.md"


def test_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    blocks = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 5
    names = {"__name__": "training_page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    registries = [names["mx"].init.base._factory, names["mx"].optimizer.base._factory]
    registries.append(names["mx"].metric.base._factory)
    for registry in registries:  # other tests may take these names
        for name in ("diagonal", "momentum", "largest"):
            registry.classes.pop(name, None)
