"""Calls of captured functions while recording: a graph for what they compute, and one for the gradients.

The tape gets one node for the whole call, which keeps what the graph of gradients reads. Backward replays
that graph: there is one for each set of results that gradients come to, so that what nobody uses has no
gradient, rather than one of zeros. For gradients of gradients, and where no graph was recorded for just
those results yet, the function runs again, recorded op by op.
"""

import gc
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from clgrad import deferred, dtypes, tape
from clgrad.array import NDArray
from clgrad.autograd.gradients import zeros
from clgrad.autograd.restoring import unchanged
from clgrad.autograd.scopes import Scope
from clgrad.autograd.sweep import Sweep
from clgrad.capturing import trees
from clgrad.capturing.reads import Guard
from clgrad.capturing.recording import Recording, prepared
from clgrad.capturing.tracing import Call, Trace, Tracing, plain, template
from clgrad.errors import AutogradError
from clgrad.graph.ir import Block, Graph, Instruction, Value, moved
from clgrad.graph.recomputation import recomputed
from clgrad.graph.recorder import Recorder
from clgrad.graph.replay import Replay
from clgrad.memory import Layout, Stream, View
from clgrad.ops.generator import Draws, generator
from clgrad.tape import Node, Saved, state

#: Where an array is in the graph: ``("head", k)``, ``("argument", j)``, or an entry of the tape.
Origin = tuple[Any, int] | None

#: Places among a call's heads of those that gradients come to.
Given = tuple[int, ...]

#: Sets of heads that graphs of gradients are recorded for, at most, of calls of one kind; for others the
#: function runs again each time.
SETS = 4

#: What errors call an array that was written to before backward.
_GIVEN = "an array that the captured function reads or returns"


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

    ``asked`` says from which heads; by default from all of them.
    """
    since = tape.next_order()
    with Tracing(call, stream, returned, _entry) as tracing:
        result = function(*tracing.args, **tracing.kwargs)
        arrays = trees.arrays(result)
        recorder = tracing.recorder
        recorder.settle([a._view for a in arrays])
        mark, arguments = len(recorder.graph.instructions), len(recorder.graph.arguments)
        heads = _heads(arrays, since)
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


def _heads(arrays: Iterable[NDArray], since: int) -> list[NDArray]:
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
    for given in asked if any(asked) and max(map(max, asked)) < len(heads) else [everything]:
        mark = len(recorder.graph.instructions)
        seeds = [heads[k] for k in given], [dys[k] for k in given]
        sweep = Sweep("capture", *seeds, state.training, targets, since)
        sweep.run(retain_graph=True, create_graph=False)
        reached = [t for t in targets if sweep.reached(t)]
        results = dict(zip(reached, sweep.results(reached, create_graph=False), strict=True))
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


class Differentiated(Recording):
    """Of calls that are themselves recorded."""

    trace = staticmethod(trace)

    def __init__(
        self,
        function: Callable,
        stream: Stream,
        call: Call,
        traced: GradientTrace,
        guards: list[Guard],
        fuse: bool,
        asked: list[Given],
    ):
        """``asked`` is where to note for which heads backward wants graphs."""
        super().__init__(call, traced, guards)
        self.function, self.training = function, state.training
        self._origins, self._targets = traced.origins, traced.targets
        #: Places among the targets of those that a gradient comes to.
        self.reached = {
            given: [i for i, g in enumerate(b.gradients) if g is not None]
            for given, b in traced.backwards.items()
        }
        forward, backwards = _parted(traced, fuse)
        self._recorded = (forward, *backwards.values())
        self._forward = Replay(stream, prepared(traced, forward, stream, fuse))
        self.backwards = {
            given: Replay(stream, prepared(traced, graph, stream, fuse))
            for given, graph in backwards.items()
        }
        self._results = len(traced.origins)
        #: What must not be written until backward: what each graph reads that is not its own.
        self._of_results = _read(forward, traced.arguments)
        self._of_gradients = {given: _read(graph, traced.arguments) for given, graph in backwards.items()}
        self._behind = traced.behind
        #: Heads that no gradient depends on, such as places of extrema.
        self._idle = _idle(traced)
        self._asked = asked
        #: For which heads backward has replayed a graph.
        self._used: set[Given] = set()
        #: Arrays from outside that a call writes to, such as moving averages.
        self.written = [b for b in forward.written() if b.kind == "outer"]

    def replays(self) -> list[Replay]:
        """What is replayed: results and gradients."""
        return [self._forward, *self.backwards.values()]

    def relevant(self, dys: Sequence) -> Given:
        """The heads that gradients come to, and go on from."""
        return tuple([k for k, dy in enumerate(dys) if dy is not None and k not in self._idle])

    def backward_of(self, given: Given) -> tuple[Given, Replay] | None:
        """The graph of gradients from some of the heads; None where there is none for just these.

        Then later calls are recorded anew, for the sets of heads that backward was called with so far.
        """
        for heads, replay in self.backwards.items():
            if self._idle.issuperset(set(heads).symmetric_difference(given)):
                self._used.add(heads)
                return heads, replay
        if given not in self._asked and len(self._used | {*self._asked, given}) <= SETS:
            self._asked[:] = list(dict.fromkeys([*self._asked, *self._used, given]))
            self.lose()
        return None

    def wider(self, given: Given) -> tuple[Given, Replay] | None:
        """A graph of gradients from more heads; None if there is none either."""
        return next(((h, r) for h, r in self.backwards.items() if set(given) <= set(h)), None)

    def targets_of(self, given: Given) -> set[int]:
        """Places of the targets that some of the heads depend on."""
        return set().union(*[self._behind[k] for k in given])

    def graphs(self) -> list[tuple[Graph, Graph]]:
        """The graph of the results, and those of the gradients."""
        replayed = [replay.graph for replay in self.replays()]
        pairs = list(zip(self._recorded, replayed, strict=True))
        return [pairs[0], *(pair for pair in pairs[1:] if pair[0].instructions)]

    def run(self, call: Call, numbers: Sequence, returned: Sequence) -> Any:
        """Replay; what the function would return, with one node behind it."""
        arguments = call.views()
        views = self._forward.run(arguments, numbers)
        arrays = [NDArray(v) for v in views[: self._results]]
        heads = [
            a for a, origin in zip(arrays, self._origins, strict=True) if origin and origin[0] == "head"
        ]
        node = (
            self._node(call, heads, arguments, views[self._results :], numbers, returned) if heads else None
        )
        for array, origin in zip(arrays, self._origins, strict=True):
            if origin is not None:
                is_head = origin[0] == "head"
                array._entry = (node, origin[1]) if is_head else _entry_of(origin, call.arrays)
        return self._filled(arrays, numbers)

    def _node(self, call: Call, heads, arguments, residuals, numbers, returned) -> Node:
        """The call on the tape."""
        inputs = tuple([_entry_of(t, call.arrays) for t in self._targets])
        kept = _Kept(
            call,
            [Saved(view) for view in residuals],
            arguments,
            numbers,
            _draws(returned),
            {
                given: [Saved(_view(block, arguments)) for block in blocks]
                for given, blocks in self._of_gradients.items()
            },
            [Saved(_view(block, arguments)) for block in self._of_results],
            [Saved(h._view) for h in heads],
        )
        node = Node(
            _Gradient(self),
            tuple(f"input{i}" for i in range(len(inputs))),
            {},
            inputs,
            tuple(h._view.layout for h in heads),
            None,
            [0] * len(inputs) + [h._view.storage.handle for h in heads],
            heads[0]._view.device,
        )
        node.behind = [[node.inputs[i] for i in behind] for behind in self._behind]
        node.saved = {0: kept}  # type: ignore[dict-item]
        return node


def _draws(returned: Sequence) -> Draws:
    """The draws among what functions on the host have returned."""
    draws = Draws()
    for result in returned:
        if isinstance(result, dict) and result.keys() == {"seed", "draw"}:
            draws.note(result)
    return draws


def _entry_of(origin: tuple[Any, int], arrays: Sequence[NDArray]) -> tuple | None:
    """The entry of the tape that a place stands for, of those that are no heads."""
    source, index = origin
    return arrays[index]._entry if source == "argument" else origin


def _parted(traced: GradientTrace, fuse: bool) -> tuple[Graph, dict[Given, Graph]]:
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


def _idle(traced: GradientTrace) -> set[int]:
    seeds = traced.graph.arguments[traced.arguments :]
    used = {v.block for b in traced.backwards.values() for v in b.found}
    used |= {v.block for b in traced.backwards.values() for i in b.instructions for v in i.reads}
    return {k for given in traced.backwards for k in given if seeds[k] not in used}


def _needed(work: Sequence[Instruction], results: Sequence[Value], among: set[Block]) -> list[Block]:
    """Which of some blocks are read, or handed out."""
    read = dict.fromkeys(v.block for i in work for v in i.reads)
    return [b for b in read | dict.fromkeys(v.block for v in results) if b in among]


def _read(graph: Graph, arguments: int) -> list[Block]:
    """The outer blocks that a graph reads, and those of the function's arguments."""
    read = dict.fromkeys(v.block for i in graph.instructions for v in i.reads)
    return [b for b in read if b.kind == "outer" or (b.kind == "argument" and b.number < arguments)]


def _view(block: Block, arguments: Sequence[View]) -> View:
    if block.kind == "argument":
        return arguments[block.number]
    storage = block.storage
    assert storage is not None, "the graph is not lost"
    return View(storage, 0, Layout((storage.nbytes,), dtypes.uint8))


@dataclass
class _Kept:
    """What the tape keeps of a call until backward has come."""

    call: Call
    residuals: list[Saved]
    arguments: Sequence[View]
    numbers: Sequence
    draws: Draws
    of_gradients: dict[Given, list[Saved]]
    of_results: list[Saved]
    heads: list[Saved]


class _Gradient:
    """The op of a call's node."""

    is_user_code = False
    fuses = False

    def __init__(self, recording: Differentiated):
        self._recording = recording
        function = recording.function
        self.name = "capture"
        self.label = f"captured {getattr(function, '__name__', type(function).__name__)}"

    def vjp(self, node: Node, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Replay the graph of gradients; or for gradients of those, go back through the function itself."""
        assert node.saved is not None
        kept: _Kept = node.saved[0]  # type: ignore[assignment]
        recording = self._recording
        given = recording.relevant(dys)
        is_recorded = create_graph or deferred.current() is not None  # as a replay is not
        found = None if is_recorded else recording.backward_of(given)
        if found is None and not is_recorded and any(s.is_stale for s in (*kept.of_results, *kept.heads)):
            found = recording.wider(given)  # the function cannot run again
        if found is None:
            return self._again(node, kept, dys, wanted, create_graph)
        heads, replay = found
        for saved in (*kept.of_gradients[heads], *kept.heads):
            saved.load(node, _GIVEN)
        residuals = [saved.load(node, _GIVEN) for saved in kept.residuals]
        seeds = [_zeros(node, k) if dy is None else dy for k, dy in enumerate(dys)]
        made = replay.run([*kept.arguments, *[dy._view for dy in seeds], *residuals], kept.numbers)
        targets = recording.targets_of(given)
        gradients = zip(recording.reached[heads], made, strict=True)
        return {i: NDArray(view) for i, view in gradients if i in targets and wanted[i]}

    def _again(self, node: Node, kept: _Kept, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Call the function, recorded op by op, with the arguments in their places in the graph."""
        for saved in (*kept.of_results, *kept.heads):
            saved.load(node, _GIVEN)
        recording = self._recording
        since = tape.next_order()
        written = [_view(block, ()) for block in recording.written if block.storage is not None]
        with unchanged(written), Scope(True, recording.training), generator.repeated(kept.draws):
            result = recording.function(*kept.call.args, **kept.call.kwargs)
        heads = _heads(trees.arrays(result), since)
        if tuple(h._view.layout for h in heads) != node.outputs:
            raise AutogradError(
                f"backward of {self.label}: called again, the function returns other arrays than before; "
                "accepted: a function that does the same each time"
            )
        asked = [i for i, dy in enumerate(dys) if dy is not None]
        targets = {i: entry for i, entry in enumerate(node.inputs) if wanted[i]}
        sweep = Sweep(
            self.label,
            [heads[i] for i in asked],
            [dys[i] for i in asked],
            state.training,
            targets.values(),
            since,
        )
        sweep.run(retain_graph=True, create_graph=create_graph)
        reached = [i for i, target in targets.items() if sweep.reached(target)]
        found = sweep.results([targets[i] for i in reached], create_graph)
        return dict(zip(reached, found, strict=True))


def _zeros(node: Node, k: int) -> NDArray:
    shape, dtype = node.outputs[k]
    return zeros(node.context, shape, dtype)
