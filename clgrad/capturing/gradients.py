"""What calls of captured functions do while recording: results, and behind them the gradients, recorded."""

import gc
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from clgrad import dtypes, tape
from clgrad.array import NDArray
from clgrad.autograd.gradients import zeros
from clgrad.autograd.sweep import Sweep
from clgrad.capturing import trees
from clgrad.capturing.tracing import Call, Trace, Tracing, plain, template
from clgrad.errors import AutogradError
from clgrad.graph.ir import Block, Graph, Instruction, Value, moved
from clgrad.graph.recomputation import recomputed
from clgrad.graph.recorder import Recorder
from clgrad.memory import Layout, Stream, View
from clgrad.tape import Node, state

#: Where an array is in the graph: ``("head", k)``, ``("argument", j)``, or an entry of the tape.
Origin = tuple[Any, int] | None

#: Places among a call's heads of those that gradients come to.
Given = tuple[int, ...]


class Backward(NamedTuple):
    """The gradients of some heads, as they were recorded.

    Attributes
    ----------
    instructions : list of Instruction
    gradients : list of Value or None
        For each target; None where no gradient comes.
    """

    instructions: list[Instruction]
    gradients: list[Value | None]

    @property
    def found(self) -> list[Value]:
        """The gradients that there are."""
        return [v for v in self.gradients if v is not None]


@dataclass
class GradientTrace(Trace):
    """A call, and the graphs of its gradients behind that of its results.

    Attributes
    ----------
    arguments : int
        How many arguments the function's own graph has; those after them are gradients of heads.
    mark : int
        How many instructions the function's own graph has.
    origins : list of Origin
        For each array of the result.
    targets : list of (object, int)
        Where gradients flow to.
    behind : list of list of int
        For each head, which targets it depends on.
    backwards : dict of Given to Backward
    """

    arguments: int = 0
    mark: int = 0
    origins: list[Origin] = field(default_factory=list)
    targets: list[tuple[Any, int]] = field(default_factory=list)
    behind: list[list[int]] = field(default_factory=list)
    backwards: dict[Given, Backward] = field(default_factory=dict)

    def difference(self, other: Trace) -> str | None:
        """Where another call has done something else; None if it has not."""
        assert isinstance(other, GradientTrace)
        found = super().difference(other)
        mine, theirs = ((t.origins, t.targets, t.behind) for t in (self, other))
        return "what gradients flow to" if found is None and mine != theirs else found


def trace(
    function: Callable, call: Call, stream: Stream, returned: Sequence = (), asked: Sequence[Given] = ()
) -> tuple[Any, GradientTrace]:
    """Call the function, which is recorded as ever; and go back through it, to record that as well.

    That is from all heads, and from those of each set of ``asked`` alone.
    """
    since = tape.next_order()
    with Tracing(call, stream, returned, _entry) as tracing:
        result = function(*tracing.args, **tracing.kwargs)
        tracing.refuse_changes()
        arrays = trees.arrays(result)
        recorder = tracing.recorder
        recorder.settle([a._view for a in arrays])
        mark, arguments = len(recorder.graph.instructions), len(recorder.graph.arguments)
        heads = heads_among(arrays, since)
        targets = _crossed([a._entry for a in heads], since)
        backwards = {} if recorder.branches else _record_gradients(recorder, heads, targets, since, asked)
    views = [a._view for a in arrays]
    traced = GradientTrace(
        recorder.graph,
        template(result),
        recorder.uploads,
        [],
        tracing.shares,
        recorder.branches,
        arguments,
        mark,
        [_origin(a, heads, call) for a in arrays],
        [_argument(entry, call) or entry for entry in targets],
        [[targets.index(entry) for entry in _crossed([h._entry], since)] for h in heads],
        backwards,
    )
    traced.kept = _kept(recorder, views, heads, since)
    result = trees.with_arrays(result, [NDArray(tracing.outside(a._view), a._entry) for a in arrays])
    return plain(result), traced


def _entry(array: NDArray) -> tuple | None:
    """The place of an argument in the graph, which its proxy shares."""
    entry = array._entry
    return entry if entry is not None and entry[0].in_graph else None


def _made(entry: tuple | None, since: int) -> bool:
    return entry is not None and isinstance(entry[0], Node) and entry[0].order > since


def heads_among(arrays: Iterable[NDArray], since: int) -> list[NDArray]:
    """Those that were made since and have gradients."""
    return [a for a in arrays if (e := a._entry) is not None and _made(e, since) and e[0].needs_grad]


def _crossed(heads: Sequence[tuple | None], since: int) -> list[tuple]:
    """Where the graph between here and some heads goes on outside, and gradients flow to."""
    found: dict[tuple, None] = {}
    for node in tape.walk([e for e in heads if e is not None], since):
        for entry in node.inputs:
            if entry[0].needs_grad and not _made(entry, since):
                found[entry] = None
    return list(found)


def _origin(array: NDArray, heads: Sequence[NDArray], call: Call) -> Origin:
    for k, head in enumerate(heads):
        if head is array:
            return ("head", k)
    entry = array._entry
    if entry is None or not entry[0].in_graph:
        return None
    if isinstance(entry[0], Node) and not entry[0].needs_grad:
        return None
    return _argument(entry, call) or entry


def _argument(entry: tuple, call: Call) -> Origin:
    for j, array in enumerate(call.arrays):
        if array._entry == entry:
            return ("argument", j)
    return None


def _record_gradients(
    recorder: Recorder,
    heads: Sequence[NDArray],
    targets: Sequence[tuple],
    since: int,
    asked: Sequence[Given],
) -> dict[Given, Backward]:
    """Go back from the heads that are asked for; the gradients of the targets."""
    if not heads:
        return {}
    with recorder.paused():
        dys = [zeros(h.context, h.shape, h._view.dtype) for h in heads]
    for dy in dys:
        recorder.argument(dy._view, [dy._view.storage])
    found: dict[Given, Backward] = {}
    everything = tuple(range(len(heads)))
    for given in [everything, *(g for g in asked if set(g) < set(everything))]:
        mark = len(recorder.graph.instructions)
        seeds = [heads[k] for k in given], [dys[k] for k in given]
        try:
            sweep = Sweep("capture", *seeds, state.training, targets, since)
            sweep.run(retain_graph=True, create_graph=False)
            reached = [t for t in targets if sweep.reached(t)]
            results = dict(zip(reached, sweep.results(reached, create_graph=False), strict=True))
        except AutogradError:  # which backward may never ask for; if it does, it will say so itself
            del recorder.graph.instructions[mark:]
            continue
        gradients = [recorder.value(results[t]._view) if t in results else None for t in targets]
        found[given] = Backward(recorder.graph.instructions[mark:], gradients)
    return found


def _kept(recorder: Recorder, views: Sequence[View], heads: Sequence[NDArray], since: int) -> list[str]:
    """Where arrays were made that are held by somebody else than the caller and the tape."""
    nodes = tape.walk([h._entry for h in heads if h._entry is not None], since)
    return recorder.kept_outside([*views, *_held(nodes)])


def _held(nodes: Iterable[Node]) -> list[View]:
    """The arrays that nodes of the tape hold: for gradient rules, or wherever user code has put them."""
    found: list[View] = []
    stack: list[Any] = []
    for node in nodes:
        if node.op.is_user_code or not hasattr(node.op, "gradients"):
            stack += [node.op, node.saved, node.attributes]
        else:
            found += [s.view for s in (node.saved or {}).values() if s.view is not None]
    seen: set[int] = set()
    while stack:
        held = stack.pop()
        if id(held) in seen or isinstance(held, type | types.ModuleType | types.CodeType | Stream | Node):
            continue
        seen.add(id(held))
        if isinstance(held, View):
            found.append(held)
        elif isinstance(held, types.FunctionType):
            stack += held.__closure__ or ()
        else:
            stack += gc.get_referents(held)
    return found


def parted(traced: GradientTrace, fuse: bool) -> tuple[Graph, dict[Given, Graph]]:
    """The graph of the results, and those of the gradients.

    What passes between them are outputs of the first, and arguments of the others behind their own; with
    ``fuse`` these compute again what is quickly made.
    """
    whole = traced.graph
    first = whole.instructions[: traced.mark]
    written = {v.block for i in first for v in i.writes if v.block.is_local}
    work: dict[Given, list[Instruction]] = {}
    needed: dict[Block, None] = {}
    for given, backward in traced.backwards.items():
        second = backward.instructions
        mine = _needed(second, backward.found, written)
        if fuse and not traced.shares:
            again = recomputed(first, mine, whole.with_instructions([*first, *second]))
            second = [*again, *second]
            made = {v.block for i in again for v in i.writes}
            mine = _needed(second, backward.found, written - made)
        work[given] = second
        needed.update(dict.fromkeys(mine))
    passed = [Value(b, 0, Layout((b.nbytes,), dtypes.uint8)) for b in needed]
    forward = replace(
        whole,
        arguments=whole.arguments[: traced.arguments],
        instructions=first,
        outputs=whole.outputs + passed,
    )
    return forward, {
        given: _after(replace(whole, instructions=second, outputs=traced.backwards[given].found), needed)
        for given, second in work.items()
    }


def _after(graph: Graph, passed: Iterable[Block]) -> Graph:
    """A graph with further arguments in the place of what another one passes on."""
    graph = replace(graph, arguments=list(graph.arguments))
    for block in passed:
        argument = Block("argument", block.nbytes, len(graph.arguments))
        graph = moved(graph, block, argument, 0)
        graph.arguments.append(argument)
    return graph


def idle(traced: GradientTrace) -> set[int]:
    """Heads that no gradient depends on, such as places of extrema."""
    seeds = traced.graph.arguments[traced.arguments :]
    used = {v.block for b in traced.backwards.values() for v in b.found}
    used |= {v.block for b in traced.backwards.values() for i in b.instructions for v in i.reads}
    return {k for given in traced.backwards for k in given if seeds[k] not in used}


def _needed(work: Sequence[Instruction], results: Sequence[Value], among: set[Block]) -> list[Block]:
    """Which of some blocks are read, or handed out."""
    read = dict.fromkeys(v.block for i in work for v in i.reads)
    return [b for b in read | dict.fromkeys(v.block for v in results) if b in among]


def read(graph: Graph, arguments: int) -> list[Block]:
    """The outer blocks that a graph reads, and those of the function's arguments."""
    read = dict.fromkeys(v.block for i in graph.instructions for v in i.reads)
    return [b for b in read if b.kind == "outer" or (b.kind == "argument" and b.number < arguments)]


def depended_on(graph: Graph, written: Sequence[Block], results: Iterable[Value]) -> list[Block]:
    """Which blocks that a graph writes to it also makes some results of, as they were before."""
    made: dict[Block, set[Block]] = {block: {block} for block in written}
    for instruction in graph.instructions:
        read = set().union(*[made.get(v.block, ()) for v in instruction.reads])
        for value in instruction.writes:  # perhaps not all of the array, as in x[:, 0] = y
            made[value.block] = made.get(value.block, set()) | read
    before = set().union(*[made.get(v.block, ()) for v in results])
    return [block for block in written if block in before]
