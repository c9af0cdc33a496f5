"""Running a function while its work on the device is recorded."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clgrad import memory, nested, tape
from clgrad.array import NDArray
from clgrad.capturing import trees
from clgrad.deferred import Number, Numbers, is_same
from clgrad.errors import CaptureError
from clgrad.graph.ir import Copy, Graph, Instruction, Value
from clgrad.graph.recorder import Elsewhere, Recorder
from clgrad.memory import Stream, Twin, View


class _Severed(tape.Constant):
    """Stands for the recorded history of an argument, which a replay cannot reach."""

    @property
    def needs_grad(self) -> bool:  # type: ignore[override]
        """Raise: a gradient would have to flow there."""
        raise CaptureError(
            "a captured function records what it does with an argument that is itself part of a recorded "
            "graph; accepted: arguments outside of graphs (x.detach()), or a call while recording"
        )


@dataclass
class Call:
    """A call of a captured function, its arguments taken apart.

    Attributes
    ----------
    args, kwargs
        As they were given.
    arrays : list of NDArray
    numbers : list of float
    may_branch : bool, default False
        Whether the function may branch on values, instead of raising; then it runs at each call.
    """

    args: tuple
    kwargs: dict
    arrays: list[NDArray]
    numbers: list[float]
    may_branch: bool = False

    def views(self) -> list[View]:
        """Where the blocks of a graph's arguments lie: one for each storage of arrays and gradients."""
        views = [a._view for a in self.arrays]
        for array in self.arrays:
            if array._entry is not None and (gradient := array.grad) is not None:
                views.append(gradient._view)
        if len(views) < 2:
            return views
        return list({id(v.storage): v for v in reversed(views)}.values())[::-1]


@dataclass
class Trace:
    """What a call has done.

    Attributes
    ----------
    graph : Graph
    result : object
        What the function returned; arrays are in ``graph.outputs``, in the order of their places here.
    uploads : list of (bytes, line)
        What came from the host.
    kept : list of str
        Lines where arrays were made that outlive the call without being returned.
    shares : bool
        Whether the function reaches an argument's memory by itself as well.
    branches : bool
        Whether it has branched on a value, so that another call may do something else.
    """

    graph: Graph
    result: Any
    uploads: list[tuple[bytes, str]]
    kept: list[str]
    shares: bool
    branches: bool

    @property
    def host_functions(self) -> list[Callable]:
        """What is called on the host at each replay."""
        return self.graph.numbers.host_functions

    def difference(self, other: "Trace") -> str | None:
        """Where another call has done something else; None if it has not."""
        mine, theirs = self.graph.instructions, other.graph.instructions
        for a, b in zip(mine, theirs, strict=False):
            if not _same(a, b):
                return f"{a.line}: {_described(a)}; then {b.line}: {_described(b)}"
        if len(mine) != len(theirs):
            longer = max(mine, theirs, key=len)[min(len(mine), len(theirs))]
            return f"{longer.line}: {_described(longer)}, once only"
        for (content, line), (others, _) in zip(self.uploads, other.uploads, strict=False):
            if content != others:
                return f"{line}: numbers from the host that were others the last time"
        numbers, its = self.graph.numbers, other.graph.numbers
        if not numbers.calls_as(its):
            return "which functions it calls through clgrad.host, or what it gives them"
        same = _same_values(self.graph.outputs, other.graph.outputs)
        if not same or not numbers.same_as(its) or not _alike(self, other):
            return "what it returned"
        return None


def _described(instruction: Instruction) -> str:
    return f"{instruction.name} with the numbers {list(instruction.numbers)}"


def _same(a: Instruction, b: Instruction) -> bool:
    if isinstance(a, Copy) or isinstance(b, Copy):
        return type(a) is type(b) and _same_values((*a.reads, *a.writes), (*b.reads, *b.writes))
    return (
        a.plan is b.plan
        and _same_values((*a.reads, *a.writes), (*b.reads, *b.writes))
        and len(a.numbers) == len(b.numbers)
        and all(_are_same(one, other) for one, other in zip(a.numbers, b.numbers, strict=True))
    )


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, Number) or isinstance(other, Number):
        return type(one) is type(other) and one.place == other.place
    return is_same(one, other)


def _same_values(some: Sequence[Value], others: Sequence[Value]) -> bool:
    return len(some) == len(others) and all(
        a.start == b.start
        and a.layout is b.layout
        and a.block.kind == b.block.kind
        and (a.block.number == b.block.number or a.block.kind == "outer")
        and (a.block.kind != "outer" or a.block.is_constant or a.block.storage is b.block.storage)
        for a, b in zip(some, others, strict=True)
    )


def _alike(a: Trace, b: Trace) -> bool:
    """Whether they returned the same, but for arrays, in the same containers."""

    def comparable(leaf: Any) -> Any:
        if isinstance(leaf, Number):
            return ("place", leaf.place)
        return (type(leaf), leaf) if isinstance(leaf, (*trees.PLAIN, float)) else trees.Same(leaf)

    return nested.replaced(a.result, comparable) == nested.replaced(b.result, comparable)


class Tracing:
    """A scope in which the work of a captured function is recorded.

    Attributes
    ----------
    args, kwargs
        What to call the function with: the same memory, told apart from what it reaches otherwise.
    recorder : Recorder
    """

    def __init__(
        self, call: Call, stream: Stream, returned: Sequence, place: Callable[[NDArray], tuple | None]
    ):
        """``place`` says where in the graph an argument is; ``returned`` is for Numbers."""
        self._stream, self._call = stream, call
        self._twins: dict[int, Twin] = {}
        self._numbers = Numbers(returned)
        floats = [self._numbers.argument(n) for n in call.numbers]
        proxies = [self._proxy(a, place(a)) for a in call.arrays]
        self.args, self.kwargs = trees.put_together((call.args, call.kwargs), proxies, floats)
        self._given = nested.leaves((self.args, self.kwargs))
        self.recorder = Recorder(stream, self._numbers, call.may_branch)
        gradients = self._gradients()
        for view in call.views():
            names = [self._twins.get(id(view.storage), view.storage)]
            if id(view.storage) in gradients:
                names.append(view.storage)  # which is how backward reaches it
            self.recorder.argument(view, names)

    def _proxy(self, array: NDArray, place: tuple | None) -> NDArray:
        view = array._view
        twin = self._twins.get(id(view.storage))
        if twin is None:
            twin = self._twins[id(view.storage)] = Twin(view.storage)
        return NDArray(View(twin, view.offset, view.layout), place)

    def _gradients(self) -> set[int]:
        return {id(g._view.storage) for a in self._call.arrays if (g := a.grad) is not None}

    def __enter__(self) -> "Tracing":
        memory.flush()
        memory.set_recorder(self._stream, self.recorder, Elsewhere())
        self._numbers.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._numbers.__exit__()
        memory.set_recorder(self._stream, None, None)

    def refuse_changes(self) -> None:
        """Raise where lists and dictionaries that were given hold something else now.

        Raises
        ------
        CaptureError
        """
        now = nested.leaves((self.args, self.kwargs))
        if len(now) != len(self._given) or any(map(operator.is_not, now, self._given)):
            raise CaptureError(
                "a captured function changes a list or a dictionary that it is given, which a replay does "
                "not; accepted: one that returns what is new"
            )

    def outside(self, view: View) -> View:
        """An array by its own name."""
        storage = view.storage
        return View(storage.original, view.offset, view.layout) if isinstance(storage, Twin) else view

    @property
    def shares(self) -> bool:
        """Whether the function reaches an argument's memory by itself as well."""
        gradients = self._gradients()
        return any(
            self.recorder.reaches(twin.original)
            for twin in self._twins.values()
            if id(twin.original) not in gradients
        )


def trace(
    function: Callable, call: Call, stream: Stream, returned: Sequence = (), asked: Sequence = ()
) -> tuple[Any, Trace]:
    """Call the function and record what it enqueues.

    ``returned`` is what functions on the host have returned already for this call; ``asked`` is for calls
    while recording (:mod:`clgrad.capturing.differentiated`).

    Returns
    -------
    object
        What the function returned, its arrays outside of any graph.
    Trace

    Raises
    ------
    CaptureError
        The function does what cannot be replayed.
    """
    with Tracing(call, stream, returned, _outside_of_graphs) as tracing:
        result = function(*tracing.args, **tracing.kwargs)
        tracing.refuse_changes()
    views = [a._view for a in trees.arrays(result)]
    recorder = tracing.recorder
    recorder.settle(views)
    result = trees.with_arrays(result, [NDArray(tracing.outside(v)) for v in views])
    kept = recorder.kept_outside(views)  # what is still held now is held by somebody else
    found = recorder.uploads, kept, tracing.shares, recorder.branches
    return plain(result), Trace(recorder.graph, template(result), *found)


def template(result: Any) -> Any:
    """What a function returned, without the arrays."""
    return nested.replaced(result, lambda leaf: trees.ARRAY if type(leaf) is NDArray else leaf)


def plain(result: Any) -> Any:
    """What a function returned, with Python's numbers."""
    return nested.replaced(result, lambda leaf: leaf.value if isinstance(leaf, Number) else leaf)


def _outside_of_graphs(array: NDArray) -> tuple | None:
    """The place of an argument of a function that is not itself recorded."""
    entry = array._entry
    if entry is not None and isinstance(entry[0], tape.Node):
        return (_Severed(array.shape, array._view.dtype), 0)
    return entry
