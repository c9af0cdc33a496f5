"""A page for each of clgrad's public modules: what it offers besides ops, with its docstrings.

Which names a module has is asked of the module; what is on a page is not shown again under another name.
"""

import importlib
import inspect
import re
from pathlib import Path

from oppages import heading

import clgrad
from clgrad.gluon import HybridBlock
from clgrad.registry import table

#: The pages, by chapter: modules whose public names they show.
CHAPTERS = {
    "Arrays and gradients": (
        "clgrad.nd",
        "clgrad.nd.sparse",
        "clgrad.autograd",
        "clgrad.random",
        "clgrad.symbol",
    ),
    "Nets": (
        "clgrad.gluon",
        "clgrad.gluon.nn",
        "clgrad.gluon.rnn",
        "clgrad.gluon.loss",
        "clgrad.gluon.utils",
        "clgrad.gluon.contrib.nn",
        "clgrad.initializer",
        "clgrad.viz",
    ),
    "Training": ("clgrad.optimizer", "clgrad.lr_scheduler", "clgrad.metric", "clgrad.kvstore"),
    "Data": (
        "clgrad.gluon.data",
        "clgrad.gluon.data.vision",
        "clgrad.gluon.data.vision.transforms",
        "clgrad.gluon.contrib.data",
        "clgrad.io",
        "clgrad.image",
    ),
    "Devices, launches and tools": (
        "clgrad",
        "clgrad.graph",
        "clgrad.engine",
        "clgrad.profiler",
        "clgrad.tape",
        "clgrad.test_utils",
        "clgrad.util",
        "clgrad.errors",
    ),
}


def write(folder: Path) -> None:
    """Write ``index.rst`` and a page for each module into a folder."""
    folder.mkdir(exist_ok=True)
    besides = "What ``import clgrad as mx`` gives besides :doc:`ops <../ops/index>`."
    parts = [heading("Modules", "="), besides]
    shown: set[int] = {id(op) for op in table.values()}
    for chapter, modules in CHAPTERS.items():
        rows = []
        for name in modules:
            module = importlib.import_module(name)
            (folder / f"{name}.rst").write_text(page(name, module, shown), encoding="utf-8")
            rows.append(f"   * - :doc:`{name}`\n     - {summary(module)}")
        parts += [heading(chapter, "-"), "\n".join([".. list-table::", "   :widths: 35 65", "", *rows])]
        parts.append("\n".join([".. toctree::", "   :hidden:", "", *(f"   {name}" for name in modules)]))
    (folder / "index.rst").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def summary(module) -> str:
    """The first paragraph of a module's docstring, as one line."""
    return " ".join((inspect.getdoc(module) or "").partition("\n\n")[0].split())


def page(name: str, module, shown: set[int]) -> str:
    """The page of a module; what it shows is added to ``shown``."""
    parts = [heading(name, "="), inspect.getdoc(module) or "", f".. py:currentmodule:: {name}"]
    for public in names_of(name, module):
        value = getattr(module, public)
        if id(value) in shown:
            continue
        if inspect.isclass(value):
            parts.append(f".. autoclass:: {name}.{public}\n   :members:")
        elif inspect.isroutine(value):
            parts.append(f".. autofunction:: {name}.{public}")
        else:
            continue
        shown.add(id(value))
    return "\n\n".join(parts) + "\n"


def names_of(name: str, module) -> list[str]:
    """The public names of a module."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    return [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", "").startswith(name)
    ]


def skip(app, what, name, value, skipped, options) -> bool | None:
    """Leave out methods that are ops, which have pages of their own, and layers' ``hybrid_forward``."""
    is_op = what == "class" and getattr(value, "__name__", None) in vars(clgrad.nd)
    is_inside = name == "hybrid_forward" and value is not HybridBlock.hybrid_forward
    return True if is_op or is_inside else None


def escape(app, what, name, value, options, lines: list[str]) -> None:
    """In a docstring, let the bars of |x| and the end of ``b_`` mean themselves, but in code."""
    example = False
    for i, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            parts = line.split("``")
            parts[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
            lines[i] = "``".join(parts)
