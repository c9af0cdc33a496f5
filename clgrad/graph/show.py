"""``clgrad.graph.show``: what a captured function launches, as it was recorded and as it runs."""

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from clgrad.errors import OperatorTypeError
from clgrad.graph.ir import Block, Graph, Value, launches, traffic
from clgrad.graph.lifetimes import peak


def show(step: Any, file: TextIO | None = None, details: bool = True) -> None:
    """Print what a captured function launches: before it was made better, and after.

    For each recording there is a table of launches, bytes that they read and write, and the most bytes that
    the graph's own arrays take at one time; then each launch, with the arrays that it reads and writes.
    ``x`` are arguments, ``w`` arrays that the function reaches by itself, ``t`` those that live only in a
    replay, ``y`` what is returned. Calls while recording have a second graph, that of the gradients.

    Parameters
    ----------
    step : Captured, or a hybridized HybridBlock
        Called often enough that it is replayed; else it is said that nothing is.
    file : file object, optional
        Where to print; standard output by default.
    details : bool, default True
        Whether to list the launches.

    Raises
    ------
    OperatorTypeError
        ``step`` is something else.

    Examples
    --------
    >>> import clgrad as mx
    >>> step = mx.capture(lambda x: (mx.nd.exp(x) + 1).sum())
    >>> for _ in range(3):
    ...     y = step(mx.nd.ones((4, 8)))
    >>> mx.graph.show(step)
    recording 1               recorded  runs
      launches and copies            3     1
      bytes read and written       644   132
      bytes at one time            128     0
    <BLANKLINE>
      exp, add, sum
          x0 (4, 8) float32  ->  y0 (1,) float32
    """
    file = sys.stdout if file is None else file
    step = getattr(step, "_captured", step)
    if not hasattr(step, "graphs"):
        if step is None:
            print("nothing is replayed yet", file=file)
            return
        raise OperatorTypeError(
            f"graph.show: step is {type(step).__name__}; accepted: what clgrad.capture returns, or a "
            "hybridized block"
        )
    pairs = step.graphs()
    if not pairs:
        print("nothing is replayed yet", file=file)
    for number, (before, after) in enumerate(pairs, 1):
        for line in _described(f"recording {number}", before, after, details):
            print(line, file=file)


def _described(title: str, before: Graph, after: Graph, details: bool) -> Iterator[str]:
    rows = [
        ("launches and copies", launches),
        ("bytes read and written", traffic),
        ("bytes at one time", peak),
    ]
    cells = [(title, "recorded", "runs")]
    cells += [(f"  {what}", f"{count(before):,}", f"{count(after):,}") for what, count in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    for what, left, right in cells:
        yield f"{what:{widths[0]}}  {left:>{widths[1]}}  {right:>{widths[2]}}"
    if details:
        yield ""
        names = _names(after)
        for instruction in after.instructions:
            yield f"  {instruction.label}"
            yield f"      {_arrays(instruction.reads, names)}  ->  {_arrays(instruction.writes, names)}"


def _names(graph: Graph) -> dict[Block, str]:
    """What each block is called."""
    handed = {v.block for v in graph.outputs if v.block.is_local}
    counts: dict[str, int] = {}
    names = {}
    for block in graph.blocks():
        letter = "y" if block in handed else {"argument": "x", "outer": "w", "local": "t"}[block.kind]
        number = block.number if letter == "x" else counts.get(letter, 0)
        counts[letter] = counts.get(letter, 0) + 1
        names[block] = f"{letter}{number}"
    return names


def _arrays(values: tuple[Value, ...], names: dict[Block, str]) -> str:
    spelled = []
    for block, start, layout in values:
        at = f"+{start}" if start else ""
        spelled.append(f"{names[block]}{at} {layout.shape} {layout.dtype}")
    return ", ".join(dict.fromkeys(spelled))
