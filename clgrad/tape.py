"""The tape: nodes that hold an op, what it read and wrote, and the kernel launches that did it.

Recording state belongs to the thread. A node keeps alive only the arrays that gradient rules name;
of everything else it keeps shape, dtype and the buffer handle, so that the record can be printed.
"""

import itertools
import operator
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from clgrad.device import Context
from clgrad.errors import AutogradError
from clgrad.memory import Layout, View, Waiting


class Watcher(Protocol):
    """Something that wants to know which arrays recorded calls read, and which arrays are written to."""

    def reads(self, arrays: Sequence) -> None:
        """Take note of what a recorded call has read."""

    def writes(self, array) -> None:
        """Take note of an array that is about to be written to."""


class _State(threading.local):
    recording = False
    training = False
    watcher: Watcher | None = None
    #: While a grouped op runs: its parts' (plan, buffer handles)
    launches: list | None = None

    def __init__(self):
        #: (recording, training) outside of each autograd scope that this thread is in
        self.outer_scopes: list[tuple[bool, bool]] = []


state = _State()


class Variable:
    """A leaf of the graph: an array that was marked to receive a gradient."""

    __slots__ = ("__weakref__", "dtype", "fresh", "grad", "grad_req", "needs_grad", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, grad, grad_req: str):
        self.shape = shape
        self.dtype = dtype
        self.grad = grad
        self.grad_req = grad_req
        #: Whether backward has filled the gradient since a Trainer took it last.
        self.fresh = False
        #: Whether gradients are to flow here.
        self.needs_grad = grad_req != "null"

    in_graph = True


class Constant:
    """A leaf of the graph that no gradient flows to: any unmarked array that a recorded op read."""

    __slots__ = ("dtype", "shape")
    needs_grad = False
    in_graph = False

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self.shape = shape
        self.dtype = dtype


def constant(array) -> tuple:
    """The place in the graph of an array that has none yet: a leaf without gradient."""
    view = array._view
    array._entry = (Constant(view.layout.shape, view.layout.dtype), 0)
    return array._entry


class Saved:
    """An array that a gradient rule will read, with the version of the memory that it read.

    Parameters
    ----------
    view : View
    kept : object, optional
        What stands for the array as long as it is not in memory (:class:`clgrad.registry.kept.Kept`).
    """

    __slots__ = ("kept", "version", "view")

    def __init__(self, view: View, kept: Any = None):
        #: The array; None where something stands for it.
        self.view = view if kept is None else None
        self.kept = kept
        self.version = view.storage.version

    @property
    def formula(self) -> tuple[Any, int] | None:
        """What makes the array, and which of its results it is; None if the array is in memory."""
        origin = None if self.kept is None else self.kept.origin
        return None if origin is None else (origin, self.kept.number)

    @property
    def is_stale(self) -> bool:
        """Whether somebody wrote to its memory since."""
        return self.view is not None and self.view.storage.version != self.version

    def load(self, node: "Node", name: str) -> View:
        """The array, if nobody wrote to its memory since.

        Raises
        ------
        AutogradError
            The memory was written in place after the op read it.
        """
        was_stored = self.formula is None
        view = self.view or self.kept.load()
        if was_stored and view.storage.version != self.version:
            raise AutogradError(
                f"backward of {node.op.label}: the array {name!r} of shape {view.shape} was "
                "written in place after the forward pass read it, so its gradient would be wrong; "
                "write to a copy (x.copy()), or write after backward"
            )
        return view


_order = itertools.count()
_order_of = operator.attrgetter("order")


class Node:
    """One recorded op.

    Attributes
    ----------
    op : Operator
    names : tuple of str
        Parameter name of each input array.
    attributes : dict
        Values of the op's other parameters.
    inputs : tuple of (Node, Variable or Constant; output index)
        Where each input array came from.
    outputs : sequence of Layout
        Shape and dtype of each result.
    plan : Plan or None
        The launches; None for ops that only relabel memory, and for those made of ``parts``.
    parts : tuple of (Plan, handles)
        The launches of an op that is made of several.
    bulk : Waiting or None
        The launches that this one waited with. Once they are enqueued, its ``merged`` is the plan of the
        one launch that did the work of them all, or None if each ran alone.
    handles : sequence of int
        Buffer handles of inputs, then outputs, as they were at the launch.
    saved : dict
        Arrays kept for the gradient rules: input index, or ``~`` output index, to :class:`Saved`.
        None once backward has freed them.
    device : Device
        Where the op ran.
    wanted : tuple of bool
        For each input, whether some variable with a gradient lies behind it.
    order : int
        Later nodes have larger numbers: a topological order for free.
    behind : sequence of sequence of (source, index), or None
        For each result, the inputs that it depends on; None where each depends on all of them.
    """

    __slots__ = (
        "__weakref__",
        "attributes",
        "behind",
        "bulk",
        "device",
        "handles",
        "inputs",
        "names",
        "needs_grad",
        "op",
        "order",
        "outputs",
        "parts",
        "plan",
        "saved",
        "wanted",
    )

    def __init__(self, op, names, attributes, inputs, outputs, plan, handles, device, wanted=None):
        self.op = op
        self.device = device
        self.names = names
        self.attributes = attributes
        self.inputs = inputs
        self.outputs = outputs
        self.plan = plan
        self.parts: tuple = ()
        self.bulk: Waiting | None = None
        self.handles = handles
        self.saved: dict[int, Saved] | None = {}
        self.order = next(_order)
        self.behind: Sequence[Sequence[tuple]] | None = None
        if wanted is None:
            wanted = tuple([source.needs_grad for source, _ in inputs])
        self.wanted = wanted
        self.needs_grad = True in wanted

    in_graph = True

    @property
    def context(self) -> Context:
        """The device that the op ran on, as a context."""
        return Context(self.device.kind, self.device.index)

    def input_meta(self, i: int) -> Layout:
        """Shape and dtype of an input array."""
        source, index = self.inputs[i]
        if isinstance(source, Node):
            return source.outputs[index]
        return Layout(source.shape, source.dtype)

    def load(self, key: int, name: str) -> View:
        """A saved array: key is an input index, or ``~index`` of an output."""
        return self.keeps(key).load(self, name)

    def keeps(self, key: int) -> Saved:
        """What was saved of an array."""
        if self.saved is None:
            raise AutogradError(
                f"backward of {self.op.label}: its buffers were freed by an earlier backward "
                "through this graph; pass retain_graph=True to the earlier call, or record again"
            )
        return self.saved[key]


def set_recording(is_recording: bool) -> bool:
    """Switch recording on or off for this thread; returns the previous state."""
    previous, state.recording = state.recording, bool(is_recording)
    return previous


def set_training(train_mode: bool) -> bool:
    """Switch training mode on or off for this thread; returns the previous state."""
    previous, state.training = state.training, bool(train_mode)
    return previous


def next_order() -> int:
    """A number that those of all nodes made from now on exceed."""
    return next(_order)


def walk(heads: Sequence[tuple], since: int = 0) -> list[Node]:
    """The nodes that the entries ``(source, index)`` depend on, oldest first.

    Nodes of a lower order than ``since`` count as leaves.
    """
    return reached(heads, since)[0]


def reached(heads: Sequence[tuple], since: int = 0) -> tuple[list[Node], dict[Variable, None]]:
    """As :func:`walk`, with the variables that they and the heads depend on. Does not recurse."""
    nodes: dict[Node, None] = {}
    variables: dict[Variable, None] = {}
    stack = list(heads)
    results: set[tuple] = set()
    while stack:
        entry = stack.pop()
        source, index = entry
        kind = type(source)
        if kind is Node:
            if source.behind is not None and entry not in results and source.order >= since:
                nodes[source] = None
                results.add(entry)
                stack.extend(source.behind[index])
            elif source not in nodes and source.order >= since:
                nodes[source] = None
                stack.extend(source.inputs)
        elif kind is Variable:
            variables[source] = None
    return sorted(nodes, key=_order_of), variables


def show(array, file=None) -> None:
    """Print the recorded launches that ``array`` depends on, oldest first.

    For each op there are its kernels with global and local size, then one line for each array: buffer
    handle, shape, dtype and bytes. Ops whose launches were merged into one name the same kernel.

    Parameters
    ----------
    array : NDArray
        Computed under :func:`clgrad.autograd.record`.
    file : file object, optional
        Where to print; standard output by default.

    Raises
    ------
    AutogradError
        The array is not part of a recorded graph.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((2, 3))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = mx.nd.exp(x) * 2
    >>> mx.tape.show(y)  # doctest: +ELLIPSIS
    #0 exp
       kernel exp_forward_float32 global (...) local (...)
       in  data ... (2, 3) float32 24 bytes
       out 0 ... (2, 3) float32 24 bytes
    #1 multiply
    ...
    """
    if array._entry is None:
        raise AutogradError("tape.show: the array is not part of a recorded graph")
    array._view.storage.stream.flush()  # what waits is not a launch yet
    for number, node in enumerate(walk([array._entry])):
        print(f"#{number} {node.op.label}", file=file)
        for line in (*_launch_lines(node), *_array_lines(node)):
            print(f"   {line}", file=file)


def _launch_lines(node: Node) -> Iterator[str]:
    merged = None if node.bulk is None else node.bulk.merged
    if merged is not None:
        yield "one launch with its neighbours:"
    plans = [merged or node.plan] if node.plan is not None else [plan for plan, _ in node.parts]
    if not plans and (node.op.is_user_code or not callable(node.op)):
        yield "launches of its own, which the tape does not hold"
    elif not plans:
        yield "no launch: the output relabels the input's memory"
    for plan in plans:
        for step in plan.steps:
            yield f"kernel {step.kernel} global {step.global_size} local {step.local_size}"
        for nbytes in plan.scratch:
            yield f"scratch {nbytes} bytes"


def _array_lines(node: Node) -> Iterator[str]:
    handles = iter(node.handles)
    for i, name in enumerate(node.names):
        shape, dtype = node.input_meta(i)
        yield f"in  {name} {next(handles):#x} {_extent(shape, dtype)}"
    for index, (shape, dtype) in enumerate(node.outputs):
        yield f"out {index} {next(handles):#x} {_extent(shape, dtype)}"


def _extent(shape: tuple[int, ...], dtype: np.dtype) -> str:
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return f"{shape} {dtype} {nbytes} bytes"
