"""Pictures of graphs (``mx.viz``): a table of layers, and a drawing for Graphviz.

Both take a :class:`clgrad.symbol.Symbol`: that of a net is ``net(mx.sym.var("data"))``.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clgrad import dtypes, files
from clgrad.errors import AbsentError, MXNetError, OperatorTypeError, argument_error
from clgrad.registry import Spec
from clgrad.symbol import Symbol, infer_values
from clgrad.symbol.nodes import Entry, Node

_COLUMNS = ("Layer (type)", "Output Shape", "Param #", "Previous Layer")
#: What names of parameters end with: drawings leave these arguments out.
_PARAMETER = re.compile(r".*_(weight|bias|beta|gamma|alpha|(moving|running)_(mean|var))$")
#: Fill colours by op, and of all others.
_COLOURS = {
    "null": "#8dd3c7",
    "Convolution": "#fb8072",
    "Deconvolution": "#fb8072",
    "FullyConnected": "#fb8072",
    "Activation": "#ffffb3",
    "LeakyReLU": "#ffffb3",
    "BatchNorm": "#bebada",
    "Pooling": "#80b1d3",
    "Concat": "#fdb462",
    "Flatten": "#fdb462",
    "Reshape": "#fdb462",
    "softmax": "#b3de69",
}
_OTHERS = "#fccde5"
_NODE = {"shape": "box", "fixedsize": "true", "width": "1.3", "height": "0.8034", "style": "filled"}


def _check(op: str, symbol: Any) -> None:
    if not isinstance(symbol, Symbol):
        raise OperatorTypeError(
            f"{op}: symbol is {type(symbol).__name__}; accepted: Symbol (of a net, net(mx.sym.var('data')))"
        )


def _size_text(spec: Spec) -> str:
    """A shape without its first axis, which counts the examples."""
    return "x".join(map(str, spec.shape[1:]))


# The table


def print_summary(
    symbol: Symbol,
    shape: Mapping[str, Sequence[int]] | None = None,
    line_length: int = 120,
    positions: Sequence[float] = (0.44, 0.64, 0.74, 1.0),
) -> None:
    """Print a row for each op: what it gives for one example, its parameters, and what it reads.

    Parameters
    ----------
    symbol : Symbol
    shape : dict of str to tuple of int, optional
        Shapes of the inputs. Without it, shapes and numbers of parameters stay out.
    line_length : int, default 120
        Characters in a line.
    positions : sequence of float
        Where the columns end, as shares of the line or in characters.

    Raises
    ------
    OperatorTypeError
        ``symbol`` is no Symbol, or the shape is of no argument.
    OperatorError
        The shapes do not fit, or do not say all.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="fc")
    >>> mx.viz.print_summary(mx.sym.relu(x, name="act"), {"data": (1, 4)}, line_length=80)
    ________________________________________________________________________________
    Layer (type)                       Output Shape    Param # Previous Layer
    ================================================================================
    data(null)                         4               0
    ________________________________________________________________________________
    fc(FullyConnected)                 3               15      data
    ________________________________________________________________________________
    act(relu)                          3               0       fc
    ================================================================================
    Total params: 15
    ________________________________________________________________________________
    """
    _check("print_summary", symbol)
    specs = {} if shape is None else infer_values(symbol, _sizes(shape), {})
    ends = [int(line_length * p) if positions[-1] <= 1 else int(p) for p in positions]
    inputs = set(shape or ()) or set(symbol.list_arguments()[:1])
    counted: set[Node] = set()
    total, blocks = 0, []
    for node in symbol._nodes:
        if node.is_argument and node.name not in inputs:
            continue
        count = _count(node, symbol, specs, inputs, counted)
        total += count
        before = [s.name for s, _ in node.inputs if not s.is_argument or s.name in inputs] or [""]
        size = _size_text(specs[node, 0]) if (node, 0) in specs else ""
        rows = [(f"{node.name}({node.op_name})", size, str(count), before[0])]
        rows += [("", "", "", name) for name in before[1:]]
        blocks.append("\n".join(_row(row, ends) for row in rows))
    thin, thick = "_" * line_length, "=" * line_length
    lines = [thin, _row(_COLUMNS, ends), thick, f"\n{thin}\n".join(blocks), thick]
    print("\n".join([*lines, f"Total params: {total}", thin]))  # noqa: T201


def _sizes(shape: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(sizes) for name, sizes in shape.items()}


def _row(fields: Sequence, ends: Sequence[int]) -> str:
    line = ""
    for field, end in zip(fields, ends, strict=True):
        line = f"{line}{field}"[:end].ljust(end)
    return line


def _count(
    node: Node, symbol: Symbol, specs: Mapping[Entry, Spec], inputs: set[str], counted: set[Node]
) -> int:
    """How many numbers are learned in a node that no node before had; moving averages are not learned."""
    total = 0
    for source, index in node.inputs:
        is_parameter = source.is_argument and source.name not in inputs and source not in symbol._auxiliary
        if is_parameter and source not in counted and (source, index) in specs:
            counted.add(source)
            size = 1
            for n in specs[source, index].shape:
                size *= n
            total += size
    return total


# The drawing


class Digraph:
    """A drawing in Graphviz's language; notebooks show it where Graphviz's program ``dot`` is there.

    Parameters
    ----------
    name : str
    format : str, default 'pdf'
        What :meth:`render` makes.

    Attributes
    ----------
    source : str
        The drawing's text.
    """

    def __init__(self, name: str, format: str = "pdf"):
        self.name = name
        self.format = format
        self._lines: list[str] = []

    def node(self, name: str, label: str, **attributes: str) -> None:
        """Add a node."""
        self._lines.append(f"\t{_quoted(name)} [{_attributes({'label': label, **attributes})}]")

    def edge(self, tail_name: str, head_name: str, **attributes: str) -> None:
        """Add an edge."""
        self._lines.append(f"\t{_quoted(tail_name)} -> {_quoted(head_name)} [{_attributes(attributes)}]")

    @property
    def source(self) -> str:
        """The drawing's text."""
        return "\n".join([f"digraph {_quoted(self.name)} {{", *self._lines, "}"]) + "\n"

    def save(self, filename: str | os.PathLike | None = None) -> str:
        """Write the text to a file, by default ``NAME.gv``; returns the file's name."""
        path = Path(filename or f"{self.name}.gv")
        files.replace(path, self.source.encode())
        return str(path)

    def pipe(self, format: str | None = None) -> bytes:
        """The picture in a format, such as ``'svg'``, drawn by ``dot``.

        Raises
        ------
        AbsentError
            Graphviz is not installed.
        MXNetError
            It does not know the format.
        """
        program = shutil.which("dot")
        if program is None:
            raise AbsentError(
                "viz: Graphviz's program `dot` is not installed (Debian: apt-get install graphviz); the "
                "text of the drawing is in `source`, and `save` writes it"
            )
        command = [program, f"-T{format or self.format}"]
        drawn = subprocess.run(command, input=self.source.encode(), capture_output=True)
        if drawn.returncode:
            raise MXNetError(f"viz: {' '.join(command)}: {drawn.stderr.decode(errors='replace').strip()}")
        return drawn.stdout

    def render(self, filename: str | os.PathLike | None = None, format: str | None = None) -> str:
        """Draw into a file, by default ``NAME.pdf``; returns the file's name. Raises as :meth:`pipe`."""
        kind = format or self.format
        path = Path(f"{filename or self.name}.{kind}")
        files.replace(path, self.pipe(kind))
        return str(path)

    view = render

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """What notebooks show."""
        if shutil.which("dot") is None:
            return {"text/plain": self.source}
        return {"image/svg+xml": self.pipe("svg").decode(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Digraph {self.name}: {len(self._lines)} nodes and edges>"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _attributes(attributes: Mapping[str, str]) -> str:
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in attributes.items())


def plot_network(
    symbol: Symbol,
    title: str = "plot",
    save_format: str = "pdf",
    shape: Mapping[str, Sequence[int]] | None = None,
    dtype: Mapping[str, Any] | None = None,
    node_attrs: Mapping[str, str] | None = None,
    hide_weights: bool = True,
) -> Digraph:
    """A drawing of the graph: a box for each op, an arrow to each from what it reads.

    Parameters
    ----------
    symbol : Symbol
    title : str, default 'plot'
    save_format : str, default 'pdf'
        What ``render`` of the drawing makes.
    shape : dict of str to tuple of int, optional
        Shapes of the inputs; then arrows say what one example's is.
    dtype : dict of str to dtype, optional
        Dtypes of the inputs; then arrows say dtypes.
    node_attrs : dict of str, optional
        Graphviz's attributes for boxes.
    hide_weights : bool, default True
        Leave parameters out.

    Returns
    -------
    Digraph

    Raises
    ------
    OperatorTypeError, OperatorError
        As for :func:`print_summary`.

    Examples
    --------
    >>> import clgrad as mx
    >>> y = mx.sym.relu(mx.sym.var("data"), name="y")
    >>> print(mx.viz.plot_network(y, shape={"data": (1, 4)}).source)
    digraph "plot" {
        "data" [label="data" shape="oval" fixedsize="true" ...]
        "y" [label="y" shape="box" fixedsize="true" ...]
        "y" -> "data" [dir="back" arrowtail="open" label="4"]
    }
    """
    _check("plot_network", symbol)
    if node_attrs is not None and not isinstance(node_attrs, Mapping):
        raise argument_error("plot_network", "node_attrs", type(node_attrs).__name__, "dict")
    types = {n: dtypes.resolve(d, "plot_network", n) for n, d in (dtype or {}).items()}
    specs = infer_values(symbol, _sizes(shape or {}), types) if shape or types else {}
    drawing = Digraph(title, save_format)
    hidden = {n for n in symbol._nodes if hide_weights and n.is_argument and _PARAMETER.match(n.name)}
    for node in symbol._nodes:
        if node not in hidden:
            own = {"shape": "oval"} if node.is_argument else {}
            colour = {"fillcolor": _COLOURS.get(node.op_name, _OTHERS)}
            drawing.node(node.name, _label(node), **{**_NODE, **(node_attrs or {}), **own, **colour})
    for node in symbol._nodes:
        for source, index in node.inputs:
            if source not in hidden:
                text = _size_text(specs[source, index]) if shape else ""
                text += f"({specs[source, index].dtype})" if types else ""
                drawing.edge(node.name, source.name, dir="back", arrowtail="open", label=text)
    return drawing


def _label(node: Node) -> str:
    """What a box says: the op with what matters most of its attributes, or else the name."""
    texts = node.texts

    def sizes(key: str) -> str:
        return "x".join(re.findall(r"\d+", texts.get(key, ""))) or "1"

    if node.op_name in ("Convolution", "Deconvolution"):
        return f"{node.op_name}\n{sizes('kernel')}/{sizes('stride')}, {texts.get('num_filter', '')}"
    if node.op_name == "FullyConnected":
        return f"FullyConnected\n{texts.get('num_hidden', '')}"
    if node.op_name in ("Activation", "LeakyReLU"):
        return f"{node.op_name}\n{texts.get('act_type', 'leaky')}"
    if node.op_name == "Pooling":
        return f"Pooling\n{texts.get('pool_type', 'max')}, {sizes('kernel')}/{sizes('stride')}"
    return node.name
