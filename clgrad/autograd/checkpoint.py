"""Checkpoints: what lies within a function is computed again in backward, rather than kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from clgrad import memory, nested, tape
from clgrad.array import NDArray
from clgrad.autograd.bindings import Bindings
from clgrad.autograd.gradients import described
from clgrad.autograd.restoring import Kept, as_before, keep, put_back
from clgrad.autograd.scopes import Scope
from clgrad.autograd.sweep import Sweep
from clgrad.errors import AutogradError, OperatorTypeError
from clgrad.memory import View
from clgrad.ops.generator import Draws, generator
from clgrad.tape import Node, Saved, Variable, state


def checkpoint(function: Callable, *args, **kwargs):
    """``function(*args, **kwargs)``, of which backward computes again what lies between.

    Of all that the function computes, the tape keeps nothing but the results: backward calls the function
    once more and differentiates that. This takes the time of a second forward pass, and memory for one
    function at a time: a net of n layers in sqrt(n) checkpoints of sqrt(n) layers keeps 2 sqrt(n) results
    instead of n. Checkpoints may lie within checkpoints.

    Gradients, of every order, flow to the arguments and to all else that the function reads and that is in
    the graph, such as the parameters of a net. In backward the function finds what it found before: the
    same random numbers (Dropout), train or predict mode, the same objects under the names in its code, such
    as a loop's variable, and the same values in arrays that it writes to itself (the moving averages of
    BatchNorm), which count one call. It must do the same each time, though: draws of numpy's random
    numbers, for instance, differ, and so may attributes of objects.

    Parameters
    ----------
    function : callable
        A Block, or any function. Its results are arrays, or lists, tuples and dicts of arrays and of
        anything else.
    *args, **kwargs
        Its arguments: arrays of any shape and dtype, or lists, tuples and dicts of them; and anything else.

    Returns
    -------
    object
        What the function returns. Outside of :func:`record` that is all that happens.

    Raises
    ------
    OperatorTypeError
        The function is none.
    AutogradError
        By backward, where gradients would be wrong: an array that the function reads was written to since,
        or the function read, drew or returned something else than in the forward pass.

    Examples
    --------
    >>> import clgrad as mx
    >>> w = mx.nd.array([1, 2])
    >>> w.attach_grad()
    >>> def layer(x):
    ...     return mx.nd.Dropout(mx.nd.exp(w * x), 0.5)
    >>> with mx.autograd.record():
    ...     y = mx.nd.ones((2,))
    ...     for _ in range(4):
    ...         y = mx.autograd.checkpoint(layer, y)
    >>> y.backward()

    References
    ----------
    Griewank and Walther, "Algorithm 799: revolve", ACM TOMS 26 (2000); Chen, Xu, Zhang and Guestrin,
    "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174 (2016).
    """
    if not callable(function):
        raise OperatorTypeError(
            f"checkpoint: function is {described(function)}; accepted: something to call"
        )
    if not state.recording:
        return function(*args, **kwargs)
    given = _with_arrays((args, kwargs), lambda a: NDArray(a._view, a._entry))
    bindings = Bindings(function)
    run = _Run()
    with run.watching(), generator.noted() as draws:
        results = function(*args, **kwargs)
    heads = run.heads(results)
    if not heads:
        return results
    call = _Call(function, bindings, given, state.training, draws, run, [_meta(a) for a in heads])
    node = _record(call, heads)
    places = iter(range(len(heads)))
    ours = {id(a) for a in heads}
    return _with_arrays(results, lambda a: NDArray(a._view, (node, next(places))) if id(a) in ours else a)


def _with_arrays(value: Any, change: Callable[[NDArray], NDArray]) -> Any:
    """A nested value with other arrays."""
    return nested.replaced(value, lambda leaf: change(leaf) if isinstance(leaf, NDArray) else leaf)


def _names(args: tuple, kwargs: dict) -> dict[tuple, str]:
    """What errors call the arrays among the arguments."""
    given = {**{f"args[{i}]": value for i, value in enumerate(args)}, **kwargs}
    return {_place(a._view): name for name, value in given.items() for a in nested.leaves(value, NDArray)}


def _meta(array: NDArray) -> tuple:
    return array.shape, array._view.dtype


class _Read(NamedTuple):
    """An array from outside that a run has read: its place in the graph, and its memory's version then."""

    entry: tuple
    saved: Saved
    view: View


#: The place in the graph of an array that has none.
_NOWHERE = (None, 0)


class _Run:
    """One run of a function: what it reads that it has not made itself, and what it writes to."""

    def __init__(self) -> None:
        self._outer: tape.Watcher | None = None
        #: Nodes of a higher order, and memory of a higher serial, were made since the run began.
        self.since = tape.next_order()
        self.first = self.last = memory.last_serial()
        #: By place in the graph, and in memory.
        self.found: dict[tuple, _Read] = {}
        #: What stood in arrays from outside before they were first written to, by place in memory.
        self.before: dict[tuple, Kept] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note down what this thread reads and writes."""
        self._outer, state.watcher = state.watcher, self
        try:
            yield
        finally:
            state.watcher, self._outer = self._outer, None
            self.last = memory.last_serial()

    def reads(self, arrays: Sequence[NDArray]) -> None:
        """Keep those that were there before."""
        if self._outer is not None:
            self._outer.reads(arrays)
        for a in arrays:
            entry = a._entry if a._entry is not None and a._entry[0].in_graph else _NOWHERE
            if self._from_outside(entry[0], a._view) and (entry, _place(a._view)) not in self.found:
                self.found[entry, _place(a._view)] = _Read(entry, Saved(a._view), a._view)

    def writes(self, array: NDArray) -> None:
        """Keep what stands there, if the array was there before."""
        if self._outer is not None:
            self._outer.writes(array)
        view = array._view
        if view.storage.serial <= self.first and _place(view) not in self.before:
            self.before[_place(view)] = keep(view)

    def _from_outside(self, source, view: View) -> bool:
        if isinstance(source, Node):
            return source.order < self.since
        return isinstance(source, Variable) or view.storage.serial <= self.first

    def _made(self, source) -> bool:
        return isinstance(source, Node) and source.order > self.since

    def heads(self, results: Any) -> list[NDArray]:
        """The arrays among the results that this run has made, and that have gradients."""
        arrays: list[NDArray] = nested.leaves(results, NDArray)
        sources = [(a, (a._entry or _NOWHERE)[0]) for a in arrays]
        return [a for a, source in sources if self._made(source) and source.needs_grad]

    def entered(self, heads: Sequence[NDArray]) -> list[tuple]:
        """Where the graph of this run goes on outside, and gradients flow to."""
        entries: dict[tuple, None] = {}
        for node in tape.walk([a._entry or _NOWHERE for a in heads], self.since):
            for entry in node.inputs:
                source = entry[0]
                if source.needs_grad and not self._made(source):
                    entries[entry] = None
        return list(entries)

    def guards(self) -> list[tuple[Saved, tuple]]:
        """What must not be written until backward: all that was read, but for what the run has written."""
        written = {view.storage for view, _, _ in self.before.values()}
        reads = [read for read in self.found.values() if read.view.storage not in written]
        return [(read.saved, _place(read.view)) for read in reads]


def _place(view: View) -> tuple:
    return view.storage.serial, view.offset, view.layout


class _Call(NamedTuple):
    """What it takes to call the function again. Kept where the tape keeps arrays, and freed like them."""

    function: Callable
    bindings: Bindings
    given: tuple
    training: bool
    draws: Draws
    run: _Run
    #: Shape and dtype of each result that has a gradient.
    results: list[tuple]


def _record(call: _Call, heads: list[NDArray]) -> Node:
    """Put the call on the tape as one node."""
    entries = call.run.entered(heads)
    views = {read.entry: read.view for read in call.run.found.values()}
    known = [views.get(entry) for entry in entries]
    inputs = [0 if view is None else view.storage.handle for view in known]
    node = Node(
        _Checkpoint(getattr(call.function, "__name__", type(call.function).__name__)),
        tuple(f"input{i}" for i in range(len(entries))),
        {},
        tuple(entries),
        tuple(a._view.layout for a in heads),
        None,
        (*inputs, *[a._view.storage.handle for a in heads]),
        heads[0]._view.device,
    )
    node.saved = {0: cast(Saved, call)}
    return node


class _Checkpoint:
    """The op of a checkpoint's node."""

    is_user_code = False
    fuses = False

    def __init__(self, function: str):
        self.name = "checkpoint"
        self.label = f"checkpoint of {function}"

    def vjp(self, node: Node, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Call the function again, recorded, and go back through that."""
        assert node.saved is not None
        call = cast(_Call, node.saved[0])
        names = _names(*call.given)
        for saved, place in call.run.guards():
            saved.load(node, names.get(place, "a closed-over array"))
        run, heads = self._repeat(call)
        targets = self._targets(node, wanted, call.run, run, run.entered(heads))
        asked = [i for i in range(len(heads)) if dys[i] is not None]
        sweep = Sweep(
            self.label,
            [heads[i] for i in asked],
            [dys[i] for i in asked],
            state.training,
            targets.values(),
            run.since,
        )
        sweep.run(retain_graph=create_graph, create_graph=create_graph)
        reached = [i for i, target in targets.items() if sweep.reached(target)]
        return dict(zip(reached, sweep.results([targets[i] for i in reached], create_graph), strict=True))

    def _repeat(self, call: _Call) -> tuple[_Run, list[NDArray]]:
        """Call the function as it was called, and leave no trace of that."""
        args, kwargs = _with_arrays(call.given, lambda a: NDArray(a._view, a._entry))
        run = _Run()
        before = call.run.before.values()
        with as_before([kept.view for kept in before], before):
            try:
                with (
                    call.bindings.restored(),
                    Scope(True, call.training),
                    run.watching(),
                    generator.repeated(call.draws),
                ):
                    results = call.function(*args, **kwargs)
            finally:
                put_back(run.before.values())
        heads = run.heads(results)
        if [_meta(a) for a in heads] != call.results:
            raise self._differs("returns other arrays")
        self._compare(call.run, run)
        return run, heads

    def _compare(self, first: _Run, again: _Run) -> None:
        """See that nothing was read that had been there before and was not read then."""
        entries = {read.entry for read in first.found.values()} - {_NOWHERE}
        places = {_place(read.view) for read in first.found.values()}
        for read in again.found.values():
            kept_by_it = first.first < read.view.storage.serial <= first.last
            if not (kept_by_it or read.entry in entries or _place(read.view) in places):
                shape, dtype = read.view.layout
                raise self._differs(f"reads another array (of {dtype}, of shape {shape})")

    def _targets(
        self, node: Node, wanted: Sequence[bool], first: _Run, again: _Run, entries: Sequence[tuple]
    ) -> dict[int, tuple]:
        """Where the gradient of each input that is wanted arrives now.

        An array that was marked again has a new place in the graph since; its memory tells which it is.
        """
        now = {_place(read.view): read.entry for read in again.found.values()}
        then = {read.entry: read.view for read in first.found.values()}
        targets = {}
        for i, entry in enumerate(node.inputs):
            view = then.get(entry)
            found = entry if entry in entries or view is None else now.get(_place(view), _NOWHERE)
            if not wanted[i]:
                continue
            if found in entries:
                targets[i] = found
            elif view is None or not first.first < view.storage.serial <= first.last:
                shape, dtype = node.input_meta(i)
                raise self._differs(
                    f"does not depend on an array (of {dtype}, of shape {shape}) that it read"
                )
        return targets

    def _differs(self, what: str) -> AutogradError:
        return AutogradError(
            f"backward of {self.label}: called again, the function {what}, unlike in the forward "
            "pass; accepted: a function that does the same each time"
        )
