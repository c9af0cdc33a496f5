"""Recorded history as a symbol."""

from collections import Counter
from collections.abc import Iterator

from clgrad import tape
from clgrad.errors import AutogradError
from clgrad.registry import Spec
from clgrad.symbol.graph import Symbol
from clgrad.symbol.nodes import Argument, Node, Recorded


def from_entry(entry: tuple | None) -> Symbol:
    """The recorded graph above a value, as a symbol. It holds none of the graph's memory.

    Parameters
    ----------
    entry : (tape.Node or tape.Variable, int), or None
        Where an array came from (its ``_entry``).

    Returns
    -------
    Symbol
        Variables are arguments ``var0``, ``var1``, ...; constants are arguments ``null0``, ...; ops
        are named after the op, as ``exp0``. Numbers count in the order of the symbol's nodes.

    Raises
    ------
    AutogradError
        The array is not part of a recorded graph.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((2,))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = mx.nd.exp(x) * 2
    >>> from_entry(y._entry)
    <Symbol multiply0>
    """
    if entry is None or not entry[0].in_graph:
        raise AutogradError(
            "get_symbol: the array is not part of a recorded graph; compute it inside "
            "`with autograd.record():` from arrays that have attach_grad()"
        )
    nodes: dict[object, Node] = {}
    counts: Counter[str] = Counter()
    for source in _inputs_first(entry[0]):
        nodes[source] = _describe(source, nodes, counts)
    return Symbol([(nodes[entry[0]], entry[1])])


def _inputs_first(head) -> Iterator:
    """What ``head`` depends on, each after its inputs, in MXNet's order. Does not recurse."""
    done = set()
    stack = [head]
    while stack:
        source = stack[-1]
        inputs = source.inputs if isinstance(source, tape.Node) else ()
        pending = [parent for parent, _ in inputs if parent not in done]
        if pending:
            stack.extend(reversed(pending))
            continue
        stack.pop()
        if source not in done:
            done.add(source)
            yield source


def _describe(source, nodes: dict[object, Node], counts: Counter[str]) -> Node:
    if not isinstance(source, tape.Node):
        prefix = "var" if isinstance(source, tape.Variable) else "null"
        return Argument(_unique(prefix, counts), Spec(source.shape, source.dtype))
    return Recorded(
        # A Function object holds arrays and runs once, and so does a checkpoint; only its name is kept.
        None if source.op.is_user_code or not callable(source.op) else source.op,
        source.context,
        _unique(source.op.name, counts),
        source.op.name,
        source.names,
        dict(source.attributes),
        [(nodes[parent], index) for parent, index in source.inputs],
        [Spec(*output) for output in source.outputs],
    )


def _unique(prefix: str, counts: Counter[str]) -> str:
    # The twentieth `log` must not have the name of the first `log2`.
    separator = "_" if prefix[-1].isdigit() else ""
    counts[prefix] += 1
    return f"{prefix}{separator}{counts[prefix] - 1}"
