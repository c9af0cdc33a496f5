"""A page for each op: definition, parameters, dtypes, gradient rule, an example, and its kernels.

All of it is read from the declarations, or found out by running the op's first case of tests/golden on the
default device: which dtypes it takes, what it answers, and which OpenCL C was generated for it.
"""

import dataclasses
import inspect
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from golden.ask import ask, differentiable
from golden.case import Case
from golden.recording import cases_of, families
from sphinx.ext.napoleon import NumpyDocstring

import clgrad as mx
from clgrad import dtypes, memory
from clgrad.kernels import program
from clgrad.registry import Composite, Elementwise, Operator, table

#: Longest kernel source that a page shows, in lines.
LONGEST = 400


def write(folder: Path, guide: Path) -> None:
    """Write ``index.rst`` and a page for each public op into a folder, and the guide's pages."""
    folder.mkdir(exist_ok=True)
    guide.mkdir(exist_ok=True)
    count = min(os.cpu_count() or 1, 8)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shares = [[sys.executable, __file__, str(folder), str(i), str(count)] for i in range(count)]
    processes = [subprocess.Popen(share, env=environment) for share in shares]
    for page in (Path(__file__).parents[1]).glob("*.md"):
        (guide / page.name).write_text(f"```{{include}} ../../{page.name}\n:relative-images:\n```\n")
    families_: dict[str, list[str]] = {}
    for op in public_ops():
        families_.setdefault(module_of(op), []).append(op.name)
    (folder / "index.rst").write_text(index(families_))
    for process in processes:
        if process.wait() != 0:
            raise RuntimeError(f"{shlex.join(process.args)} ended with status {process.returncode}")


def write_share(folder: Path, number: int, count: int) -> None:
    """Write every ``count``-th page, from that of a number on: to run cases takes most of the time."""
    cases = first_cases()
    for op in public_ops()[number::count]:
        (folder / f"{op.name}.rst").write_text(Page(op, cases.get(op.name)).text())


def public_ops() -> list:
    """Ops that users call, each once, under its main name."""
    return sorted({op for op in table.values() if not op.name.startswith("_")}, key=lambda op: op.name)


def module_of(op) -> str:
    """The module of ``clgrad.ops`` that declares the op."""
    return op.function.__module__.rpartition(".")[2]


def first_cases() -> dict[str, Case]:
    """The case to show of each op: its main one, under the op's own name."""
    found: dict[str, Case] = {}
    for family in families():
        for case in cases_of(family):
            name = table[case.op].name if case.op in table else case.op
            if not case.error and (name not in found or (case.sweep and not found[name].sweep)):
                found[name] = case
    return found


def index(groups: dict[str, list[str]]) -> str:
    """The page that lists all ops, by the module that declares them, with their first lines."""
    count = sum(map(len, groups.values()))
    parts = [heading("Operators", "="), f"{count} ops, by the module that declares them."]
    for module, names in sorted(groups.items()):
        doc = inspect.getdoc(inspect.getmodule(table[names[0]].function)) or module
        rows = [f"   * - :doc:`{n}`\n     - {literal(summary(table[n]))}" for n in names]
        parts += [heading(module, "-"), literal(doc.split("\n\n")[0])]
        parts += ["\n".join([".. list-table::", "   :widths: 30 70", "", *rows])]
        parts += ["\n".join([".. toctree::", "   :hidden:", "", *(f"   {n}" for n in names)])]
    return "\n\n".join(parts) + "\n"


def summary(op) -> str:
    """The first line of the docstring."""
    return (op.__doc__ or "").strip().partition("\n")[0]


def heading(text: str, line: str) -> str:
    """A heading of reStructuredText."""
    return f"{text}\n{line * len(text)}"


def literal(text: str) -> str:
    """Text whose asterisks, bars and underscores mean themselves, but for what is marked as code."""
    parts = text.split("``")
    parts[::2] = [re.sub(r"([\\*|_])", r"\\\1", part) for part in parts[::2]]
    return "``".join(parts)


def code(language: str, text: str) -> str:
    """A block of code."""
    return f".. code-block:: {language}\n\n" + textwrap.indent(text.strip("\n"), "   ")


def details(title: str, body: str) -> str:
    """A part that opens when it is clicked on."""
    opened = ".. raw:: html\n\n   <details><summary>" + title + "</summary>"
    return "\n\n".join((opened, body, ".. raw:: html\n\n   </details>"))


@dataclasses.dataclass
class Page:
    """One op, and the case that shows it."""

    op: object
    case: Case | None

    def text(self) -> str:
        """The page."""
        op = self.op
        parts = [heading(op.name, "="), self.signature(), self.description()]
        if op.aliases:
            parts.append(
                "Other names: " + ", ".join(f"``{a}``" for a in op.aliases if not a.startswith("_")) + "."
            )
        parts += [heading("Dtypes", "-"), self.dtypes(), heading("Gradient", "-"), self.rule()]
        if self.case is not None:
            parts += [heading("Example", "-"), code("python", self.example())]
            parts += [heading("Kernels", "-"), self.kernel_sections()]
        return "\n\n".join(parts) + "\n"

    def signature(self) -> str:
        return f".. py:function:: clgrad.nd.{self.op.name}{inspect.signature(self.op)}\n   :no-index:"

    def description(self) -> str:
        doc = inspect.cleandoc(self.op.__doc__ or "")
        body, _, sections = doc.partition("\n\nParameters\n---")
        sections = str(NumpyDocstring("Parameters\n---" + sections)) if sections else ""
        return textwrap.indent(literal(body), "   ") + "\n\n" + textwrap.indent(sections, "   ")

    def dtypes(self) -> str:
        """The dtypes in which the case is answered, found out by asking."""
        if self.case is None:
            return "See the description."
        names = [d.name for d in dtypes.supported()]
        values = dataclasses.replace(self.case, orders=0)  # gradients would take kernels of their own
        taken = [n for n in names if not answers_error(values, n)]
        return ", ".join(f"``{n}``" for n in taken) + "."

    def rule(self) -> str:
        """The source of the gradient rules."""
        op = self.op
        if isinstance(op, Composite):
            program_ = "A program of other ops, whose rules apply:\n\n" + code(
                "python", source(op.function)
            )
            own = [f"Of ``{part.name}``:\n\n{rules(part)}" for part in hidden_parts(op.function)]
            return "\n\n".join([program_, *own])
        if not op.gradients:
            return "None: the result does not change smoothly with the arguments, or is a whole number."
        kind = (
            "One generated kernel each, or, recorded, these ops"
            if isinstance(op, Elementwise)
            else "These ops"
        )
        return f"{kind}:\n\n{rules(op)}"

    def example(self) -> str:
        """The case as a program, with what it answers."""
        case = self.case
        args, attributes = case.draw("float32")
        names = [*inspect.signature(self.op).parameters]
        lines = ["from clgrad import nd", ""]

        def typed(value, name: str) -> str:
            """The value, or for arrays the name of a variable that an earlier line sets to it."""
            if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
                return "[" + ", ".join(typed(v, f"{name}{i}") for i, v in enumerate(value)) + "]"
            if not isinstance(value, np.ndarray):
                return repr(value)
            lines.append(declared(name, value))
            return name

        several = len(names) < len(args)  # *data
        parts = [typed(a, f"{names[0]}{i}" if several else names[i]) for i, a in enumerate(args)]
        parts += [f"{key}={typed(value, key)}" for key, value in attributes.items()]
        lines += ["", f"nd.{case.op}({', '.join(parts)})"]
        outputs = [v for k, v in ask(mx, case, "float32").items() if k.startswith("out")]
        text = "\n\n".join(np.array2string(v, precision=5, threshold=40) for v in outputs)
        return "\n".join([*lines, *(f"# {line}" for line in text.splitlines())])

    def kernel_sections(self) -> str:
        """What was generated for the case in float32 on the device that built these pages."""
        device = mx.current_context().device
        forward, backward = kernels_of(self.case)
        parts = [
            f"As generated for the example above, in float32, for {device.name} ({device.platform_name})."
        ]
        for title, sources in (("forward", forward), ("backward", backward)):
            parts += [details(f"{title}: {name}", code("c", cut(text))) for name, text in sources.items()]
        if not forward:
            parts.append("No launch: the result is the argument's memory under another shape.")
        return "\n\n".join(parts)


def rules(op) -> str:
    """The source of an op's gradient rules."""
    sources = dict.fromkeys(source(rule.function) for rule in op.gradients.values())
    return "\n\n".join(code("python", s) for s in sources)


def hidden_parts(function) -> list[Operator]:
    """The ops without a page of their own, but with gradient rules, that a function comes to call.

    Functions of :mod:`clgrad.ops` that it calls by name are followed.
    """
    seen, parts, waiting = {function}, {}, [function]
    while waiting:
        at = waiting.pop()
        for called in (at.__globals__.get(name) for name in at.__code__.co_names):
            if isinstance(called, Operator) and called.name.startswith("_") and called.gradients:
                parts[called.name] = called
            elif inspect.isfunction(called) and called not in seen and "clgrad.ops" in called.__module__:
                seen.add(called)
                waiting.append(called)
    return list(parts.values())


def answers_error(case: Case, dtype: str) -> bool:
    """Whether a case is refused in a dtype."""
    return "error" in ask(mx, case, dtype)


def source(function) -> str:
    """Source of a rule: the whole statement that declares it."""
    return textwrap.dedent(inspect.getsource(function))


def declared(name: str, value: np.ndarray) -> str:
    """A line, or several, that make a variable an array."""
    before = f"{name} = nd.array("
    text = np.array2string(value, separator=", ", threshold=60, precision=4, prefix=before)
    dtype = "" if value.dtype == np.float32 else f', dtype="{value.dtype}"'
    return f"{before}{text}{dtype})"


def cut(text: str) -> str:
    """A source without its blank lines, and not too long."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[:LONGEST])


def kernels_of(case: Case) -> tuple[dict[str, str], dict[str, str]]:
    """Sources of the kernels that a case runs, by name: forward, and what only backward adds."""
    plain = Case(case.op, case.args, case.attributes, case.tag, train=case.train, orders=0)
    forward = built_by(lambda: ask(mx, plain, "float32"))
    if not differentiable(case, "float32") or not case.orders:
        return forward, {}
    both = built_by(lambda: ask(mx, case, "float32"))
    return forward, {name: text for name, text in both.items() if name not in forward}


def built_by(action) -> dict[str, str]:
    """Sources of all kernels that something needs, by kernel name, as CLGRAD_DUMP_KERNELS writes them."""
    program.forget()
    for stream in memory.all_streams():
        stream.plans.clear()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CLGRAD_DUMP_KERNELS"] = folder
        try:
            action()
        finally:
            del os.environ["CLGRAD_DUMP_KERNELS"]
        return {p.stem.rpartition("_")[0]: p.read_text() for p in sorted(Path(folder).glob("*.cl"))}


if __name__ == "__main__":
    write_share(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
