"""Calls of captured functions while recording: a graph for what they compute, and one for the gradients.

The tape gets one node for the whole call, which keeps what the graph of gradients reads. Backward replays
that graph: there is one for each set of results that gradients come to, so that what nobody uses has no
gradient, rather than one of zeros. For gradients of gradients, and where no graph was recorded for just
those results yet, the function runs again, recorded op by op.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clgrad import deferred, dtypes, tape
from clgrad.array import NDArray
from clgrad.autograd.gradients import zeros
from clgrad.autograd.restoring import Kept, as_before, keep
from clgrad.autograd.scopes import Scope
from clgrad.autograd.sweep import Sweep
from clgrad.capturing import trees
from clgrad.capturing.gradients import (
    Given,
    GradientTrace,
    depended_on,
    heads_among,
    idle,
    parted,
    read,
    trace,
)
from clgrad.capturing.reads import Guard
from clgrad.capturing.recording import Recording, prepared
from clgrad.capturing.tracing import Call
from clgrad.errors import AutogradError
from clgrad.graph.ir import Block, Graph
from clgrad.graph.replay import Replay
from clgrad.memory import Layout, Storage, Stream, View
from clgrad.ops.generator import Draws, generator
from clgrad.tape import Node, Saved, state

#: Sets of heads that graphs of gradients are recorded for, beside all of them, of calls of one kind; for
#: others the function runs again each time.
SETS = 4

#: What errors call an array that was written to before backward.
_GIVEN = "an array that the captured function reads or returns"


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
        forward, backwards = parted(traced, fuse)
        self._recorded = (forward, *backwards.values())
        self._forward = Replay(stream, prepared(traced, forward, stream, fuse))
        self.backwards = {
            given: Replay(stream, prepared(traced, graph, stream, fuse))
            for given, graph in backwards.items()
        }
        self._results = len(traced.origins)
        #: What must not be written until backward: what each graph reads that is not its own.
        self._of_results = read(forward, traced.arguments)
        self._of_gradients = {given: read(graph, traced.arguments) for given, graph in backwards.items()}
        self._behind = traced.behind
        #: Heads that no gradient depends on, such as places of extrema.
        self._idle = idle(traced)
        self._asked = asked
        #: Arrays from outside that a call writes to, such as moving averages; and those of them that its
        #: results depend on, as they were before.
        self._written = [b for b in forward.written() if not b.is_local]
        heads = [
            v for v, o in zip(traced.graph.outputs, traced.origins, strict=True) if o and o[0] == "head"
        ]
        self._states = depended_on(forward, self._written, heads)

    def replays(self) -> list[Replay]:
        """What is replayed: results and gradients."""
        return [self._forward, *self.backwards.values()]

    def relevant(self, dys: Sequence) -> Given:
        """The heads that gradients come to, and go on from."""
        return tuple([k for k, dy in enumerate(dys) if dy is not None and k not in self._idle])

    def backward_of(self, given: Given) -> tuple[Given, Replay] | None:
        """The graph of gradients from some of the heads; None where there is none for just these.

        Then later calls are recorded anew, with a graph for these as well.
        """
        known = self.backwards.get(given)
        if known is not None:
            return given, known
        for heads, replay in self.backwards.items():
            if self._idle.issuperset(set(heads).symmetric_difference(given)):
                return heads, replay
        if given not in self._asked and len(self._asked) < SETS:
            self._asked.append(given)
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
        before = [keep(_whole(s)) for s in _storages(self._states, arguments)]
        views = self._forward.run(arguments, numbers)
        arrays = [NDArray(v) for v in views[: self._results]]
        heads = [
            a for a, origin in zip(arrays, self._origins, strict=True) if origin and origin[0] == "head"
        ]
        residuals = views[self._results :]
        node = self._node(call, heads, arguments, residuals, numbers, returned, before) if heads else None
        for array, origin in zip(arrays, self._origins, strict=True):
            if origin is not None:
                is_head = origin[0] == "head"
                array._entry = (node, origin[1]) if is_head else _entry_of(origin, call.arrays)
        return self._filled(arrays, numbers)

    def _node(self, call: Call, heads, arguments, residuals, numbers, returned, before) -> Node:
        """The call on the tape."""
        inputs = tuple([_entry_of(t, call.arrays) for t in self._targets])
        calls = zip(self.numbers.host_functions, returned, strict=False)
        kept = _OnTape(
            call=call,
            residuals=[Saved(view) for view in residuals],
            arguments=arguments,
            numbers=numbers,
            draws=_draws(returned),
            returned=[r for f, r in calls if deferred.is_users(f)],
            of_gradients={
                given: [Saved(_view(block, arguments)) for block in blocks]
                for given, blocks in self._of_gradients.items()
            },
            of_results=[Saved(_view(block, arguments)) for block in self._of_results],
            heads=[Saved(h._view) for h in heads],
            written=_storages(self._written, arguments),
            before=before,
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


def _view(block: Block, arguments: Sequence[View]) -> View:
    if block.kind == "argument":
        return arguments[block.number]
    storage = block.storage
    assert storage is not None, "the graph is not lost"
    return _whole(storage)


def _storages(blocks: Iterable[Block], arguments: Sequence[View]) -> list[Storage]:
    return list(dict.fromkeys(_view(block, arguments).storage for block in blocks))


def _whole(storage: Storage) -> View:
    return View(storage, 0, Layout((storage.nbytes,), dtypes.uint8))


@dataclass
class _OnTape:
    """What the tape keeps of a call until backward has come."""

    call: Call
    residuals: list[Saved]
    arguments: Sequence[View]
    numbers: Sequence
    draws: Draws
    #: What functions of the program's have returned on the host.
    returned: list
    of_gradients: dict[Given, list[Saved]]
    of_results: list[Saved]
    heads: list[Saved]
    #: What the function writes to, and what stood there before where that matters.
    written: list[Storage]
    before: list[Kept]

    @property
    def is_stale(self) -> bool:
        """Whether somebody wrote to what the function reads or returns."""
        return any(saved.is_stale for saved in (*self.of_results, *self.heads))


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
        kept: _OnTape = node.saved[0]  # type: ignore[assignment]
        recording = self._recording
        given = recording.relevant(dys)
        is_recorded = create_graph or deferred.current() is not None  # as a replay is not
        found = None if is_recorded else recording.backward_of(given)
        if found is None and not is_recorded and (kept.is_stale or recording.changed):
            found = recording.wider(given)  # the function cannot run again
        if found is None:
            return self._again(node, kept, dys, wanted, create_graph)
        heads, replay = found
        for saved in (*kept.of_gradients[heads], *kept.heads):
            saved.load(node, _GIVEN)
        residuals = [saved.load(node, _GIVEN) for saved in kept.residuals]
        seeds = [_zeros(node, k) if dy is None else dy for k, dy in enumerate(dys)]
        made = replay.run([*kept.arguments, *[dy._view for dy in seeds], *residuals], kept.numbers)
        gradients = zip(recording.reached[heads], made, strict=True)
        targets = range(len(wanted)) if heads == given else recording.targets_of(given)
        return {i: NDArray(view) for i, view in gradients if wanted[i] and i in targets}

    def _again(self, node: Node, kept: _OnTape, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Call the function, recorded op by op, with the arguments in their places in the graph."""
        for saved in (*kept.of_results, *kept.heads):
            saved.load(node, _GIVEN)
        recording = self._recording
        if recording.changed:
            raise AutogradError(
                f"backward of {self.label}: the function has to run again, and {recording.changed} has "
                "changed since; accepted: what it reads stays until backward"
            )
        since = tape.next_order()
        with as_before([_whole(storage) for storage in kept.written], kept.before):
            with (
                Scope(True, recording.training),
                generator.repeated(kept.draws),
                deferred.repeated(kept.returned),
            ):
                result = recording.function(*kept.call.args, **kept.call.kwargs)
            heads = heads_among(trees.arrays(result), since)
            if tuple(h._view.layout for h in heads) != node.outputs:
                raise AutogradError(
                    f"backward of {self.label}: called again, the function returns other arrays than "
                    "before; accepted: a function that does the same each time"
                )
            asked = [i for i, dy in enumerate(dys) if dy is not None]
            seeds = [heads[i] for i in asked], [dys[i] for i in asked]
            targets = {i: entry for i, entry in enumerate(node.inputs) if wanted[i]}
            sweep = Sweep(self.label, *seeds, state.training, targets.values(), since)
            sweep.run(retain_graph=True, create_graph=create_graph)
            reached = [i for i, target in targets.items() if sweep.reached(target)]
            found = sweep.results([targets[i] for i in reached], create_graph)
            return dict(zip(reached, found, strict=True))


def _zeros(node: Node, k: int) -> NDArray:
    shape, dtype = node.outputs[k]
    return zeros(node.context, shape, dtype)
