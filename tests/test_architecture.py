"""docs/architecture.md and clgrad/ops/__init__.py name every module, as pyproject.toml's layers do."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def modules(package: str) -> set[str]:
    return {p.stem for p in (ROOT / package).iterdir() if p.suffix in ("", ".py") and p.stem[:2] != "__"}


@pytest.mark.parametrize("package", ["clgrad", "clgrad/kernels"])
def test_the_layers_name_every_module(package):
    named = set(re.findall(r"`([a-z_]+)/?`", ARCHITECTURE.partition("## The life of one op")[0]))
    assert modules(package) - named == set()


def test_the_table_of_ops_names_every_module():
    source = (ROOT / "clgrad" / "ops" / "__init__.py").read_text(encoding="utf-8")
    table = re.findall(r":mod:`\.(\w+)`", ast.get_docstring(ast.parse(source)))
    assert set(table) == modules("clgrad/ops")
