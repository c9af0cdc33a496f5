"""``capture``: a function whose work on the device is recorded once, and replayed at later calls."""

import functools
import logging
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import deferred, memory, tape
from clgrad.array import NDArray
from clgrad.bounded import Bounded
from clgrad.capturing import reads, trees
from clgrad.capturing.tracing import Call, Trace, trace
from clgrad.deferred import Number
from clgrad.device import current_context
from clgrad.errors import CaptureError, argument_error
from clgrad.graph.ir import Graph
from clgrad.graph.optimize import optimized
from clgrad.graph.replay import Replay
from clgrad.memory import Stream

_log = logging.getLogger(__name__)

#: Calls of one kind that may each do something else, until an error says where they differ. The first calls
#: of a program make what later ones find: states of an optimizer, parameters of unknown shape.
TRIES = 4

#: Recordings kept of calls of one kind that differ in conditions, or in what the function reads.
RECORDINGS = 4


def capture(function: Callable | None = None, *, fuse: bool = True, variants: int = 16) -> Any:
    """A function that does what ``function`` does, with next to no work on the host from the third call on.

    The first calls run the function, and record which kernels it launches on which memory. As soon as two
    calls have done the same, later calls enqueue these kernels again, on the arrays that they are given.
    A whole step of training can be captured: ``record``, ``backward``, the update of parameters.

    A replay repeats what the device did; nothing else of the function runs. So:

    - arrays that it returns are new ones at each call, outside of any graph;
    - arguments of another shape, dtype or device, other values of whole numbers and strings, another mode
      (recording, training, context), and other values of what the function's code names (variables of
      enclosing functions, globals, attributes) make it run and be recorded anew;
    - float arguments may change freely. What is computed from them in Python is computed anew; a condition
      on them that turns out otherwise makes the function run again;
    - random numbers are new ones at each call, the same as without capture;
    - what the host must do at each call is handed to :func:`clgrad.host`;
    - a value cannot be read: return the array, and read it outside.

    Parameters
    ----------
    function : callable
        Takes and returns NDArrays, numbers, and tuples, lists and dicts of them. Other arguments (a net, a
        trainer) are told apart by identity.
    fuse : bool
        Whether launches may be merged, left out or shared where that saves work (:mod:`clgrad.graph`); the
        results are the same but for rounding. Without, kernel follows kernel as in the function itself.
    variants : int
        How many kinds of calls, by shapes and the like, are kept.

    Returns
    -------
    Captured
        Or, without ``function``, a decorator.

    Raises
    ------
    CaptureError
        At a call: the function reads a value, keeps an array that it made, or does other work each time
        although its arguments are the same. The message names the line.

    Notes
    -----
    In MXNet, ``HybridBlock.hybridize`` does this for nets; CUDA graphs do it for streams.

    Examples
    --------
    >>> import clgrad as mx
    >>> w = mx.nd.ones((2, 3))
    >>> w.attach_grad()
    >>> @mx.capture
    ... def step(x, lr):
    ...     with mx.autograd.record():
    ...         loss = ((x * w) ** 2).sum()
    ...     loss.backward()
    ...     w[:] = w - lr * w.grad
    ...     return loss
    >>> [float(step(mx.nd.ones((2, 3)), lr)) for lr in (0.25, 0.25, 0.25, 0.5)]
    [6.0, 1.5, 0.375, 0.09375]
    >>> float(w.sum().asscalar())
    0.0
    """
    if function is None:
        return functools.partial(capture, fuse=fuse, variants=variants)
    if not callable(function):
        raise argument_error("capture", "function", type(function).__name__, "a callable")
    if isinstance(variants, bool) or not isinstance(variants, int) or variants < 1:
        raise argument_error("capture", "variants", repr(variants), "a whole number of at least 1")
    return Captured(function, fuse, variants)


class Captured:
    """What :func:`capture` returns: call it as the function."""

    def __init__(self, function: Callable, fuse: bool, variants: int):
        functools.update_wrapper(self, function)
        self.function = function
        self.fuse = fuse
        self._variants: Bounded[tuple, _Variant] = Bounded(variants)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A method of its own for each object."""
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<captured {getattr(self.function, '__qualname__', self.function)}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the function does."""
        if deferred.current() is not None or tape.state.recording:
            return self.function(*args, **kwargs)  # part of what is captured, or of a graph
        call = Call(args, kwargs, [], [])
        key = _key(call)
        variant = self._variants.get(key)
        if variant is None:
            variant = self._variants[key] = _Variant(self.function, key[0], self.fuse)
        return variant(call)

    def clear(self) -> None:
        """Forget all recordings, and give their memory back."""
        self._variants.clear()

    def graphs(self) -> list[tuple[Graph, Graph]]:
        """Of each recording that is replayed: the graph as it was recorded, and as it runs."""
        return [(r.recorded, r.replay.graph) for v in self._variants.values() for r in v.recordings]


def _key(call: Call) -> tuple:
    """What a recording depends on of a call; takes the arguments apart."""
    arrays, numbers = call.arrays, call.numbers
    shape = [trees.take_apart(value, arrays, numbers) for value in call.args]
    if call.kwargs:
        shape += [(k, trees.take_apart(v, arrays, numbers)) for k, v in call.kwargs.items()]
    context = current_context()
    device = arrays[0]._view.storage.stream.device if arrays else context.device
    stream = memory.current_stream(device)
    return (
        stream,
        context,
        tape.state.training,
        tuple(shape),
        *[_role(a) for a in arrays],
        _shared(arrays),
    )


def _role(array: NDArray) -> Any:
    """What an array is in the recorded graph."""
    entry = array._entry
    if entry is None or not entry[0].in_graph:
        return None
    source = entry[0]
    return (source.grad_req, source.grad is None) if isinstance(source, tape.Variable) else "computed"


def _shared(arrays: Sequence[NDArray]) -> tuple:
    """Which arrays share memory, and how."""
    if len(arrays) < 2:
        return ()
    first: dict[int, int] = {}
    shared = []
    for i, array in enumerate(arrays):
        other = first.setdefault(id(array._view.storage), i)
        if other != i:
            shared.append((i, other, array._view.offset - arrays[other]._view.offset))
    return tuple(shared)


class _Recording:
    """A graph that is replayed, and what must hold for that."""

    def __init__(self, stream: Stream, call: Call, traced: Trace, guards: list[reads.Guard], fuse: bool):
        self.recorded = traced.graph
        graph = traced.graph
        if fuse and not traced.shares:  # else one block's memory is another's as well
            graph = optimized(graph, stream)
        self.replay = Replay(stream, graph)
        self._result = traced.result
        self.guards = guards
        #: Arguments that the function reaches by itself as well: they must be the same ones.
        self._pinned = [weakref.ref(a._view.storage) for a in call.arrays] if traced.shares else []

    def fits(self, call: Call) -> bool:
        """Whether the recording says what the call would do, as far as can be told beforehand."""
        for guard in self.guards:
            if not guard.holds():
                return False
        for reference, array in zip(self._pinned, call.arrays, strict=False):
            if reference() is not array._view.storage:
                return False
        return self.recorded.numbers.holds(call.numbers)

    def run(self, call: Call, numbers: Sequence) -> Any:
        """Replay; what the function would return."""
        arrays = iter([NDArray(v) for v in self.replay.run(call.views(), numbers)])

        def found(leaf: Any) -> Any:
            if leaf is trees.ARRAY:
                return next(arrays)
            return numbers[leaf.place] if isinstance(leaf, Number) else leaf

        return trees.put_together(self._result, found)


class _Variant:
    """Calls of one kind: of certain shapes, dtypes and modes."""

    def __init__(self, function: Callable, stream: Stream, fuse: bool):
        self._function, self._stream, self._fuse = function, stream, fuse
        self.recordings: list[_Recording] = []
        #: What calls have done that no other has done as well, the latest last.
        self._traces: list[Trace] = []
        self._in_vain = 0

    def __call__(self, call: Call) -> Any:
        """Replay a recording that fits; else run the function."""
        for recording in self.recordings:
            if recording.replay.is_lost:
                self.recordings = [r for r in self.recordings if not r.replay.is_lost]
            elif recording.fits(call):
                return self._replay(recording, call)
        return self._run(call)

    def _replay(self, recording: "_Recording", call: Call) -> Any:
        """Do what the host must do; then replay, unless what it said asks for something else."""
        numbers = recording.recorded.numbers
        returned = numbers.call_host()
        values = numbers.values(call.numbers, returned)
        if values is not None:
            return recording.run(call, values)
        for other in self.recordings:
            theirs = other.recorded.numbers
            if other is not recording and theirs.calls_as(numbers) and other.fits(call):
                values = theirs.values(call.numbers, returned)
                if values is not None:
                    return other.run(call, values)
        return self._run(call, returned)

    def _run(self, call: Call, returned: Sequence = ()) -> Any:
        """Run the function; record what it does if an earlier call has done the same."""
        result, traced = trace(self._function, call, self._stream, returned)
        problems = [other.difference(traced) for other in self._traces]
        if None in problems and not traced.kept:
            self._traces.pop(problems.index(None))
            self._in_vain = 0
            self._record(call, traced)
            return result
        self._in_vain += 1
        if self._in_vain > TRIES:
            self._refuse(traced, problems)
        self._traces = [*self._traces[1 - TRIES :], traced]
        return result

    def _record(self, call: Call, traced: Trace) -> None:
        guards = reads.guards_of(self._function)
        if len(self.recordings) == RECORDINGS:
            changed = next((g.what for g in self.recordings[-1].guards if not g.holds()), "a condition")
            _log.warning("%r is recorded ever anew, since %s changes", self._function, changed)
        recording = _Recording(self._stream, call, traced, guards, self._fuse)
        self.recordings = [recording, *self.recordings[: RECORDINGS - 1]]

    def _refuse(self, traced: Trace, problems: Sequence[str | None]) -> None:
        self._in_vain = 0
        if traced.kept:
            raise CaptureError(
                f"{traced.kept[0]}: a captured function keeps an array that it made there (in a list, an "
                "attribute, a global); a replay makes no objects: return the array, or write into one "
                "that was there before (x[:] = ...)"
            )
        raise CaptureError(
            "a captured function does something else at each call, although its arguments are the same; "
            f"{problems[-1]}. Accepted: what changes is an argument, or is handed to clgrad.host"
        )
