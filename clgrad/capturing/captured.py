"""``capture``: a function whose work on the device is recorded once, and replayed at later calls."""

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import deferred, memory, tape
from clgrad.array import NDArray
from clgrad.bounded import Bounded
from clgrad.capturing import trees
from clgrad.capturing.differentiated import Differentiated
from clgrad.capturing.recording import Plain
from clgrad.capturing.tracing import Call
from clgrad.capturing.variants import Variant
from clgrad.device import current_context
from clgrad.errors import argument_error
from clgrad.graph.ir import Graph


def capture(function: Callable | None = None, *, fuse: bool = True, variants: int = 16) -> Any:
    """A function that does what ``function`` does, with next to no work on the host from the third call on.

    The first calls run the function, and record which kernels it launches on which memory. As soon as two
    calls have done the same, later calls enqueue these kernels again, on the arrays that they are given.
    A whole step of training can be captured: ``record``, ``backward``, the update of parameters.

    A replay repeats what the device did; nothing else of the function runs. So:

    - arrays that it returns are new ones at each call, outside of any graph;
    - arguments of another shape, dtype or device, other values of whole numbers and strings, another mode
      (recording, training, context), and other values of what the function's code names (variables of
      enclosing functions, globals, attributes, with what lists, dictionaries and numpy arrays hold) make it
      run and be recorded anew;
    - float arguments may change freely. What is computed from them in Python is computed anew; a condition
      on them that turns out otherwise makes the function run again;
    - random numbers are new ones at each call, the same as without capture;
    - what the host must do at each call is handed to :func:`clgrad.host`;
    - a value cannot be read: return the array, and read it outside;
    - called while recording, it is one op with several results; in backward, those that no gradient comes
      to have none, as without capture.

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

    def __init__(
        self,
        function: Callable,
        fuse: bool = True,
        variants: int = 16,
        reads_of: Callable[[], Sequence[Callable]] | None = None,
        may_branch: bool = False,
    ):
        """``reads_of`` gives further functions whose code says what is read besides arguments.

        With ``may_branch``, a function that branches on values (by ``contrib.cond``,
        ``contrib.while_loop``) runs at each call, instead of raising.
        """
        functools.update_wrapper(self, function)
        self.function = function
        self.fuse = fuse
        self._reads_of = lambda: [function, *(reads_of() if reads_of is not None else ())]
        self._may_branch = may_branch
        self._variants: Bounded[tuple, Variant] = Bounded(variants)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A method of its own for each object."""
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<captured {getattr(self.function, '__qualname__', self.function)}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the function does."""
        if deferred.current() is not None:
            return self.function(*args, **kwargs)  # part of what is captured
        if tape.state.watcher is not None:
            return self.function(
                *args, **kwargs
            )  # in a checkpoint, which has to see what is read and written
        call = Call(args, kwargs, [], [], self._may_branch)
        key = _key(call)
        variant = self._variants.get(key)
        if variant is None:
            kind = Differentiated if tape.state.recording else Plain
            variant = Variant(self.function, self._reads_of, key[0], kind, self.fuse)
            self._variants[key] = variant
        return variant(call)

    def clear(self) -> None:
        """Forget all recordings, and give their memory back."""
        self._variants.clear()

    def graphs(self) -> list[tuple[Graph, Graph]]:
        """Of each recording that is replayed: the graph as it was recorded, and as it runs.

        Calls while recording have more: behind the first, one of the gradients for each set of results that
        gradients have come to.
        """
        return [pair for v in self._variants.values() for r in v.recordings for pair in r.graphs()]


def _key(call: Call) -> tuple:
    """What a recording depends on of a call; takes the arguments apart."""
    arrays, numbers, state = call.arrays, call.numbers, tape.state
    shape: list = []
    for value in call.args:
        if type(value) is NDArray:  # what all the rest is for is the exception
            arrays.append(value)
            shape.append(value._view.layout)
        else:
            shape.append(trees.take_apart(value, arrays, numbers))
    if call.kwargs:
        shape += [(k, trees.take_apart(v, arrays, numbers)) for k, v in call.kwargs.items()]
    context = current_context()
    device = arrays[0]._view.storage.stream.device if arrays else context.device
    stream = memory.current_stream(device)
    return (
        stream,
        context,
        state.training,
        state.recording,
        tuple(shape),
        *[None if a._entry is None else _role(a) for a in arrays],
        () if len(arrays) == 1 and arrays[0]._entry is None else _shared(arrays),
    )


def _role(array: NDArray) -> Any:
    """What an array is in the recorded graph."""
    entry = array._entry
    if entry is None or not entry[0].in_graph:
        return None
    source = entry[0]
    if isinstance(source, tape.Variable):
        return (source.grad_req, source.grad is None)
    return ("computed", source.needs_grad)


def _shared(arrays: Sequence[NDArray]) -> tuple:
    """Which arrays and gradients share memory, and how, and which a place in the graph."""
    arrays = [*arrays, *[g for a in arrays if a._entry is not None and (g := a.grad) is not None]]
    if len(arrays) < 2:
        return ()
    first: dict[int, int] = {}
    shared = []
    for i, array in enumerate(arrays):
        other = first.setdefault(id(array._view.storage), i)
        if other != i:
            same = array._entry == arrays[other]._entry
            shared.append((i, other, array._view.offset - arrays[other]._view.offset, same))
    return tuple(shared)
