"""Gradients of elementwise ops that depend on each other, computed in one launch.

Where the gradient that one elementwise op gives is the head gradient of another, nobody needs it in memory:
the rules of both, called with symbolic operands, are one expression. So backward lets such gradients wait
in a chain, and computes them when something else asks for one. What is known already of a gradient is added
in the same launch, and an array that is an input twice gets the sum of both rules.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.kernels import expr, layout, map
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Stream, View
from clgrad.registry.gradient_kernels import Pattern, name_of
from clgrad.registry.kept import Origin
from clgrad.registry.operator import joint_name, kernel_name
from clgrad.registry.sequence import Sequel
from clgrad.tape import Node, Variable

#: Ops, arrays that are read when another op joins, and gradients that wait, at most: kernel arguments are
#: limited (1024 bytes on PoCL), and so are registers.
NODES, LEAVES, WAITING = 12, 12, 6

#: Entry of the graph: where an array came from, and which of the outputs it is.
Entry = tuple

#: What stands for a gradient: the number ``i`` of an array that is read, or ``~i`` for what the rules gave
#: as their ``i``-th value.
Reference = int


class _Output(NamedTuple):
    """One gradient that a chain hands on.

    ``alone`` is whether it must have memory of its own: that of a variable becomes its ``grad``.
    """

    reference: Reference
    layout: Layout
    alone: bool


class _Made(NamedTuple):
    """The plan of a chain (None if it needs no launch), and for each output its place.

    A place is the number of a result, or ``~i`` for the array that is read as leaf ``i``.
    """

    plan: Plan | None
    places: list[int]


class GradientChain:
    """Steps of backward through elementwise ops of one shape.

    Parameters
    ----------
    stream : Stream
        Where to launch.
    dy : View
        Gradient of the first op's output; it may be smaller: it broadcasts.
    owned : bool
        Whether nobody else holds the memory of ``dy``, so that it may become a variable's ``grad``.
    """

    __slots__ = (
        "_found",
        "_layouts",
        "_leaves",
        "_nodes",
        "_numbers",
        "_origins",
        "_owned",
        "_patterns",
        "_steps",
        "_stream",
        "_values",
        "waiting",
    )

    def __init__(self, stream: Stream, dy: View, owned: bool):
        self._stream = stream
        self._owned = owned
        self._nodes: list[Node] = []
        self._patterns: list[Pattern] = []
        #: For each node: its pattern, references of dy and the saved arrays, and of what is known of each
        #: gradient that it gives (None if nothing is); and for results that are to be made again: the
        #: sequence of calls, and references of what it reads. With the layouts they determine the kernel.
        self._steps: list[tuple] = []
        #: What the sequences belong to, and the number of their first value.
        self._origins: dict[Origin, int] = {}
        self._numbers: list = []
        #: The arrays that are read, dy first, their layouts, and by what each is found.
        self._leaves = [dy]
        self._layouts = [dy.layout]
        self._found: dict[tuple, Reference] = {(dy.storage, dy.offset, dy.layout): 0}
        self._values = 0
        #: The gradients that no node has taken yet.
        self.waiting: dict[Entry, Reference] = {}

    def _leaf(self, view: View) -> Reference:
        layout_ = view.layout
        key = (view.storage, view.offset, layout_)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = len(self._leaves)
            self._leaves.append(view)
            self._layouts.append(layout_)
        return found

    def takes(self, node: Node, pattern: Pattern) -> bool:
        """Whether a node whose gradient waits can join."""
        more = len(pattern.full)
        return (
            not pattern.reduced
            and pattern.shape == self._patterns[0].shape
            and len(self._nodes) < NODES
            and len(self.waiting) + more <= WAITING
            and len(self._leaves) + self._more_leaves(node, pattern) + more <= LEAVES
        )

    def _more_leaves(self, node: Node, pattern: Pattern) -> int:
        """How many arrays the rules may read besides those that are read already."""
        stored, origins = 0, set()
        for key in pattern.keys:
            saved = node.keeps(key)
            formula = None if saved.kept is None else saved.formula
            if formula is None:
                stored += 1
            else:
                origins.add(formula[0])
        if not origins:
            return stored
        return stored + sum([len(origin.leaves) for origin in origins - self._origins.keys()])

    def _saved(self, node: Node, key: int) -> Reference:
        """What a rule reads: an array, or what a formula makes of some."""
        formula = node.keeps(key).formula
        if formula is None:
            return self._leaf(node.load(key, name_of(node, key)))
        origin, number = formula
        first = self._origins.get(origin)
        if first is None:
            first = self._origins[origin] = self._values
            self._values += len(origin.sequence.calls)
            self._steps.append((origin.sequence, *[self._leaf(view) for view in origin.leaves]))
            self._numbers += origin.numbers
        return ~(first + number)

    def join(self, node: Node, pattern: Pattern, known: dict[Entry, NDArray]) -> None:
        """Take a node's gradient, and let those of its inputs of the output's shape wait.

        ``known`` holds what other users of the same arrays have given so far; what is used is taken out.
        """
        waiting = self.waiting
        step: list = [pattern, waiting.pop((node, 0)) if self._nodes else 0]
        for key in pattern.keys:
            saved = node.keeps(key)
            view = saved.view
            if view is not None and view.storage.version == saved.version:
                step.append(self._leaf(view))
            else:
                step.append(self._saved(node, key))
        for leader in pattern.leaders:
            entry = node.inputs[leader]
            prior = waiting.get(entry)
            if prior is None and (before := known.pop(entry, None)) is not None:
                prior = self._leaf(before._view)
            step.append(prior)
            waiting[entry] = ~self._values
            self._values += 1
        self._nodes.append(node)
        self._patterns.append(pattern)
        self._steps.append(tuple(step))
        if node.attributes:
            self._numbers += node.attributes.values()

    def compute(self) -> dict[Entry, NDArray]:
        """Enqueue the launch, if one is needed; the gradients that have waited."""
        leaves = self._leaves
        key = [self._stream, self._owned, *self._steps, *self._layouts]
        for (source, _), reference in self.waiting.items():
            key.append(reference)  # with the steps it tells the layout as well
            key.append(type(source) is Variable)
        found = tuple(key)
        cache = self._nodes[0].plan.cache
        made = cache.get(found)
        if made is None:
            made = cache[found] = self._make()
        results: list[View] = []
        if (plan := made.plan) is not None:
            given = self._stream, leaves, self._numbers
            results = plan.quick(*given) or plan.run(*given)
        gradients, places = {}, iter(made.places)
        for entry in self.waiting:
            place = next(places)
            gradients[entry] = NDArray(results[place] if place >= 0 else leaves[~place])
        return gradients

    def _make(self) -> _Made:
        outputs = [
            _Output(reference, _meta(entry), type(entry[0]) is Variable)
            for entry, reference in self.waiting.items()
        ]
        leaves = [expr.operand(i, view.layout.dtype) for i, view in enumerate(self._leaves)]
        scalars: list[np.dtype] = []
        values = self._evaluate(leaves, scalars)
        written: list[tuple[Expr, Layout]] = []
        places = []
        handed: set[int] = set()
        for output in outputs:
            value = leaves[output.reference] if output.reference >= 0 else values[~output.reference]
            place = self._shared(value, output, leaves, written, handed)
            if place is None:
                place = len(written)
                written.append((value, output.layout))
            handed.add(place)
            places.append(place)
        if not written:
            return _Made(None, places)
        plan = self._plan(written, scalars)
        plan.label = f"gradient of {', '.join([node.op.label for node in self._nodes])}"
        return _Made(plan, places)

    def _shared(self, value: Expr, output: _Output, leaves, written, handed) -> int | None:
        """Where the value lies already, if it may be left there."""
        for i, (other, layout_) in enumerate(written):
            if other is value and layout_ is output.layout and not output.alone:
                return i
        place = next((~i for i, leaf in enumerate(leaves) if leaf is value), None)
        if place is None or self._leaves[~place].dtype != output.layout.dtype:
            return None
        whole = self._leaves[~place].layout is output.layout
        if output.alone and not (self._owned and whole and place not in handed):
            return None
        return place

    def _evaluate(self, leaves: Sequence[Expr], scalars: list[np.dtype]) -> list[Expr]:
        """What the rules give, called with symbolic operands."""
        values: list[Expr] = []

        def referred(reference: Reference) -> Expr:
            return leaves[reference] if reference >= 0 else values[~reference]

        nodes = zip(self._nodes, self._patterns, strict=True)
        for source, *references in self._steps:
            if isinstance(source, Sequel):
                made, numbers = source.values([leaves[i] for i in references], len(scalars))
                values += made
                scalars += numbers
                continue
            (node, pattern), (dy, *rest) = next(nodes), references
            saved, priors = rest[: len(pattern.keys)], rest[len(pattern.keys) :]
            symbols = pattern.symbols(node, referred(dy), [referred(i) for i in saved], len(scalars))
            scalars += [node.outputs[0].dtype] * len(node.attributes)
            for members, prior in zip(pattern.full, priors, strict=True):
                parts = [pattern.value(node, i, symbols) for i in members]
                value = parts[0]
                for other in parts[1:]:
                    value = value + other
                value = expr.cast(value, dtypes.compute_type(node.input_meta(members[0]).dtype))
                values.append(value if prior is None else referred(prior) + value)
        return values

    def _plan(self, written: Sequence[tuple[Expr, Layout]], scalars: Sequence[np.dtype]) -> Plan:
        shape = self._nodes[0].outputs[0].shape

        def read(layout_: Layout) -> layout.Operand:
            return layout.broadcast(layout_.shape, shape, layout_.dtype)

        outputs = [map.Output(value, read(layout_)) for value, layout_ in written]
        operands = [read(view.layout) for view in self._leaves]
        return map.plan(self._stream.device, self._name(), shape, outputs, operands, scalars)

    def _name(self) -> str:
        node, dtype = self._nodes[0], self._nodes[0].outputs[0].dtype
        if len(self._nodes) == 1:
            arguments = "_".join(node.names[members[0]] for members in self._patterns[0].full)
            return kernel_name(node.op.label, f"grad_{arguments}", dtype)
        return joint_name([node.op.label for node in self._nodes], "grad", dtype)


def _meta(entry: Entry) -> Layout:
    """Shape and dtype of the array of an entry."""
    source, index = entry
    return source.outputs[index] if isinstance(source, Node) else Layout(source.shape, source.dtype)
