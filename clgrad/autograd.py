"""Automatic differentiation: recording scopes, ``backward``, ``grad``, and user-defined functions.

The interface and its meaning are MXNet's ``mxnet.autograd``. The method is reverse accumulation
over a tape (Griewank & Walther, "Evaluating Derivatives", chapter 3): nodes are visited from the
newest to the oldest, so no recursion and no dependency counts are needed. Rules that run while
``create_graph`` is on are recorded like any computation, which gives derivatives of every order.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from clgrad import array, memory, symbol, tape
from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.errors import AutogradError
from clgrad.registry import table
from clgrad.tape import Node, Variable, set_recording, set_training, state

__all__ = [
    "Function",
    "backward",
    "get_symbol",
    "grad",
    "is_recording",
    "is_training",
    "mark_variables",
    "pause",
    "predict_mode",
    "record",
    "set_recording",
    "set_training",
    "train_mode",
]

GRAD_REQS = ("write", "add", "null")


def is_recording() -> bool:
    """Whether this thread is recording for backward."""
    return state.recording


def is_training() -> bool:
    """Whether this thread is in training mode (Dropout drops, BatchNorm uses the batch)."""
    return state.training


class _Scope:
    """Sets recording and training on entry and restores what was there on exit.

    The previous states are a stack of the thread, so one scope object may be entered again while it
    is entered, and by several threads at once.
    """

    def __init__(self, recording: bool | None, training: bool | None):
        self._recording = recording
        self._training = training

    def __enter__(self) -> None:
        state.outer_scopes.append((state.recording, state.training))
        if self._recording is not None:
            state.recording = self._recording
        if self._training is not None:
            state.training = self._training

    def __exit__(self, *exception) -> None:
        state.recording, state.training = state.outer_scopes.pop()


def record(train_mode: bool = True) -> _Scope:
    """A scope in which operations are recorded for backward.

    Parameters
    ----------
    train_mode : bool
        Whether the forward pass is in training mode.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.array([1, 2, 3, 4])
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = x * x + 1
    >>> y.backward()
    >>> print(x.grad)
    <BLANKLINE>
    [2. 4. 6. 8.]
    <NDArray 4 @...>
    """
    return _Scope(True, bool(train_mode))


def pause(train_mode: bool = False) -> _Scope:
    """A scope in which nothing is recorded; in prediction mode by default."""
    return _Scope(False, bool(train_mode))


def train_mode() -> _Scope:
    """A scope in training mode; recording stays as it is."""
    return _Scope(None, True)


def predict_mode() -> _Scope:
    """A scope in prediction mode; recording stays as it is."""
    return _Scope(None, False)


def _as_list(value) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def mark_variables(variables, gradients, grad_reqs="write") -> None:
    """Mark arrays as variables whose gradients backward computes.

    Parameters
    ----------
    variables : NDArray or list of NDArray
    gradients : NDArray or list of NDArray
        Receive the gradients; of the variables' shapes and dtypes.
    grad_reqs : str or list of str
        ``'write'`` overwrites the gradient, ``'add'`` adds to it, ``'null'`` leaves it alone.

    Raises
    ------
    AutogradError
        Lists of different lengths, an unknown request, or a gradient of another shape or dtype.
    """
    variables, gradients = _as_list(variables), _as_list(gradients)
    requests = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else list(grad_reqs)
    if not len(variables) == len(gradients) == len(requests):
        raise AutogradError(
            f"mark_variables: {len(variables)} variables, {len(gradients)} gradients and "
            f"{len(requests)} grad_reqs given; accepted: equally many"
        )
    for request in requests:
        if request not in GRAD_REQS:
            raise AutogradError(f"grad_req is {request!r}; accepted: {', '.join(GRAD_REQS)}")
    for variable, gradient, request in zip(variables, gradients, requests, strict=True):
        view = variable._view
        if request == "null":
            gradient = None
        elif gradient.shape != view.shape or gradient._view.dtype != view.dtype:
            raise AutogradError(
                f"mark_variables: the gradient is {gradient._view.dtype} {gradient.shape}; "
                f"accepted: {view.dtype} {view.shape}, as the variable"
            )
        variable._entry = (Variable(view.shape, view.dtype, gradient, request), 0)


def attach_grad(variable: NDArray, grad_req: str = "write", stype=None) -> None:
    """Give the array a gradient of zeros for ``backward`` to fill; detaches it from the graph.

    Parameters
    ----------
    variable : NDArray
    grad_req : str
        ``'write'``, ``'add'`` or ``'null'``: see :func:`mark_variables`.
    stype : str, optional
        Only ``'default'`` (dense).
    """
    gradient = None
    if grad_req != "null":
        with pause(train_mode=state.training):
            gradient = _filled(variable, 0)
    mark_variables([variable], [gradient], [grad_req])


def backward(heads, head_grads=None, retain_graph=False, train_mode=True) -> None:
    """Compute the gradients of heads with respect to the marked variables, into their ``grad``.

    Parameters
    ----------
    heads : NDArray or list of NDArray
        Computed while recording.
    head_grads : NDArray or list of NDArray or None
        Gradients with respect to the heads; None stands for ones.
    retain_graph : bool
        Keep the buffers of the graph, to go through it again.
    train_mode : bool
        Whether the rules run in training mode.

    Raises
    ------
    AutogradError
        A head is not part of a graph, the graph's buffers are freed, a buffer was written in place
        since, or a head gradient does not fit its head.

    Examples
    --------
    >>> import clgrad as mx
    >>> x, w = mx.nd.array([1, 2]), mx.nd.array([3, 4])
    >>> mx.autograd.mark_variables([x, w], [mx.nd.zeros(2), mx.nd.zeros(2)])
    >>> with mx.autograd.record():
    ...     y, z = x * w, x + w
    >>> mx.autograd.backward([y, z], [None, mx.nd.array([10, 10])])
    >>> x.grad.asnumpy()
    array([13., 14.], dtype=float32)
    """
    sweep = _Sweep("backward", heads, head_grads, train_mode)
    sweep.run(retain_graph=retain_graph, create_graph=False)
    sweep.deliver()


def grad(
    heads, variables, head_grads=None, retain_graph=None, create_graph=False, train_mode=True
) -> list[NDArray]:
    """Compute the gradients of heads with respect to variables, as new arrays.

    Parameters
    ----------
    heads, head_grads, train_mode
        See :func:`backward`.
    variables : NDArray or list of NDArray
        Marked variables, or arrays computed on the way to the heads.
    retain_graph : bool, optional
        Keep the buffers of the graph; by default as ``create_graph``.
    create_graph : bool
        Record the computation of the gradients, to differentiate it again.

    Returns
    -------
    list of NDArray
        One for each variable, also for a single one; no ``.grad`` is touched.

    Raises
    ------
    AutogradError
        As :func:`backward`; and for a variable that the heads do not depend on.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((1,))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     z = mx.nd.elemwise_add(mx.nd.exp(x), x)
    >>> dx = mx.autograd.grad(z, [x], create_graph=True)
    >>> print(dx)
    [
    [3.7182817]
    <NDArray 1 @...>]
    """
    targets = [_target(position, v) for position, v in enumerate(_as_list(variables))]
    sweep = _Sweep("grad", heads, head_grads, train_mode, targets)
    retain = create_graph if retain_graph is None else retain_graph
    sweep.run(retain_graph=retain, create_graph=create_graph)
    return sweep.results(targets, create_graph)


def _target(position: int, variable: NDArray) -> tuple:
    entry = variable._entry
    if entry is None or not entry[0].in_graph:
        raise AutogradError(
            f"grad: variables[{position}] is not part of a recorded graph; call attach_grad() on "
            "it before recording"
        )
    if not entry[0].needs_grad:
        raise AutogradError(
            f"grad: variables[{position}] needs no gradient, because of grad_req='null'; call "
            "attach_grad() with 'write' or 'add' before recording"
        )
    return entry


class _Sweep:
    """One pass of reverse accumulation over the graph above some heads."""

    def __init__(self, caller: str, heads, head_grads, train_mode: bool, targets=None):
        self._caller = caller
        self._train_mode = train_mode
        #: Memory with a later serial was made by this sweep.
        self._start = memory.last_serial()
        self._heads = _as_list(heads)
        self._entries = [self._entry(position, head) for position, head in enumerate(self._heads)]
        self._seeds = self._checked_seeds(head_grads)
        self._nodes = list(tape.walk(self._entries))
        self._targets: set[tuple] = set(targets or ())
        #: None where every marked variable is a target.
        self._leading = None if targets is None else self._lead_to_targets()
        self._gradients: dict[tuple, NDArray] = {}
        #: Serials of memory that others may hold: head gradients, and what user code saw.
        self._foreign: set[int] = set()

    def _entry(self, position: int, head: NDArray) -> tuple:
        entry = head._entry if isinstance(head, NDArray) else None
        if entry is None or not entry[0].in_graph:
            raise AutogradError(
                f"{self._caller}: heads[{position}] is not part of a recorded graph; compute it "
                "inside `with autograd.record():` from arrays that have attach_grad()"
            )
        return entry

    def _checked_seeds(self, head_grads) -> list[NDArray | None]:
        seeds = [None] * len(self._heads) if head_grads is None else _as_list(head_grads)
        if len(seeds) != len(self._heads):
            raise AutogradError(
                f"{self._caller}: {len(self._heads)} heads and {len(seeds)} head_grads given; "
                "accepted: one head gradient (or None) for each head"
            )
        for position, (head, seed) in enumerate(zip(self._heads, seeds, strict=True)):
            if seed is not None and not _fits(seed, head.shape, head._view.dtype):
                raise AutogradError(
                    f"{self._caller}: head_grads[{position}] is {_described(seed)}; "
                    f"accepted: NDArray {head._view.dtype} {head.shape}, as its head"
                )
        return seeds

    def _lead_to_targets(self) -> set[Node]:
        """The nodes that some target lies before."""
        leading: set[Node] = set()
        for node in self._nodes:
            if any(entry in self._targets or entry[0] in leading for entry in node.inputs):
                leading.add(node)
        return leading

    def _wanted(self, node: Node) -> tuple[bool, ...]:
        if self._leading is None:
            return node.wanted
        return tuple(entry in self._targets or entry[0] in self._leading for entry in node.inputs)

    def _accumulate(self, entry: tuple, gradient: NDArray) -> None:
        known = self._gradients.get(entry)
        self._gradients[entry] = gradient if known is None else table["add"](known, gradient)

    def run(self, retain_graph: bool, create_graph: bool) -> None:
        """Visit the nodes from the newest to the oldest."""
        with _Scope(bool(create_graph), bool(self._train_mode)):
            for entry, head, seed in zip(self._entries, self._heads, self._seeds, strict=True):
                gradient = _ones(head) if seed is None else seed
                self._foreign.add(gradient._view.storage.serial)
                self._accumulate(entry, gradient)
            for node in reversed(self._nodes):
                if node.needs_grad:
                    self._visit(node, create_graph)
        if not retain_graph:
            for node in self._nodes:
                node.saved = None

    def _visit(self, node: Node, create_graph: bool) -> None:
        dys = [self._take((node, i)) for i in range(len(node.outputs))]
        wanted = self._wanted(node)
        if all(dy is None for dy in dys) or not any(wanted):
            return
        if node.saved is None:
            node.load(0, "")  # raises: the buffers are freed
        if node.op.fuses and node.plan is not None and not create_graph:
            (dy,) = dys
            assert dy is not None
            self._visit_fused(node, dy, wanted)
            return
        dys = [
            dy if dy is None else _expanded(dy, layout.shape)
            for dy, layout in zip(dys, node.outputs, strict=True)
        ]
        gradients = node.op.vjp(node, dys, wanted, create_graph)
        for i, gradient in gradients.items():
            self._accumulate(node.inputs[i], gradient)
        if node.op.is_user_code:
            seen = (*dys, *gradients.values())
            self._foreign.update(a._view.storage.serial for a in seen if a is not None)

    def _visit_fused(self, node: Node, dy: NDArray, wanted: tuple[bool, ...]) -> None:
        """Let generated kernels compute the gradients and add them to what is known of them."""
        entries = node.inputs
        known = [self._gradients.get(entry) for entry in entries]
        for i, (gradient, added) in node.op.fused_vjp(node, dy, wanted, known).items():
            if added:
                self._gradients[entries[i]] = gradient
            else:
                self._accumulate(entries[i], gradient)

    def _take(self, entry: tuple) -> NDArray | None:
        """The gradient of a node's output, let go of unless it is asked for."""
        if entry in self._targets:
            return self._gradients.get(entry)
        return self._gradients.pop(entry, None)

    def results(self, targets: Sequence[tuple], create_graph: bool) -> list[NDArray]:
        """The gradient of each target; a copy where somebody else holds the memory."""
        handed: set[int] = set()
        results = []
        with _Scope(bool(create_graph), bool(self._train_mode)):
            for position, entry in enumerate(targets):
                gradient = self._gradient_of(position, entry)
                serial = gradient._view.storage.serial
                if serial <= self._start or serial in self._foreign or serial in handed:
                    gradient = table["identity"](gradient)
                handed.add(serial)
                results.append(gradient)
        return results

    def _gradient_of(self, position: int, entry: tuple) -> NDArray:
        source, index = entry
        meta = source.outputs[index] if isinstance(source, Node) else (source.shape, source.dtype)
        gradient = self._gradients.get(entry)
        if gradient is not None:
            shape, _ = meta
            return _expanded(gradient, shape)
        if not any(entry in node.inputs for node in self._nodes):
            raise AutogradError(
                f"grad: the heads do not depend on variables[{position}]; leave it out, or check "
                "that the computation from it was recorded"
            )
        # Reached, but only through ops that no gradient flows through.
        return _zeros(self._nodes[0].context, *meta)

    def deliver(self) -> None:
        """Hand the gradients to the variables that the heads depend on."""
        variables = {source for source, _ in self._entries if isinstance(source, Variable)}
        for node in self._nodes:
            for source, _ in node.inputs:
                if type(source) is Variable:
                    variables.add(source)
        holders = Counter([g._view.storage.serial for g in self._gradients.values()])
        with pause():
            for variable in variables:
                gradient = self._gradients.get((variable, 0))
                if variable.grad is None:
                    continue
                if gradient is None:
                    _store_zero(variable)
                    continue
                gradient = _expanded(gradient, variable.shape)
                serial = gradient._view.storage.serial
                ours = serial > self._start and holders[serial] <= 1 and serial not in self._foreign
                _store(variable, gradient, ours)


def _expanded(gradient: NDArray, shape: tuple[int, ...]) -> NDArray:
    """A gradient that rules may have left smaller than its array, at the array's shape."""
    return gradient if gradient.shape == shape else table["broadcast_to"](gradient, shape=shape)


def _fits(gradient, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether something given as a gradient is an array of the shape and dtype."""
    if not isinstance(gradient, NDArray):
        return False
    return gradient.shape == shape and gradient._view.dtype == dtype


def _described(value) -> str:
    """Something given, for an error."""
    if isinstance(value, NDArray):
        return f"NDArray {value._view.dtype} {value.shape}"
    return type(value).__name__


def _store_zero(variable: Variable) -> None:
    if variable.grad_req == "write":
        target = variable.grad
        _zeros(target.context, target.shape, target._view.dtype, out=target)


def _store(variable: Variable, gradient: NDArray, ours: bool) -> None:
    """Write or add a gradient; memory that only this pass knows is handed over, not copied."""
    target = variable.grad
    if variable.grad_req == "add":
        table["add"](target, gradient, out=target)
        return
    old, new = target._view, gradient._view
    if (
        ours
        and old.covers_storage()
        and new.covers_storage()
        and old.storage.stream is new.storage.stream
    ):
        array.begin_write(target, "backward")
        old.storage.buffer, new.storage.buffer = new.storage.buffer, old.storage.buffer
    else:
        table["identity"](gradient, out=target)


def _filled(like: NDArray, value: float) -> NDArray:
    return table["_full"].create(
        like.context, shape=like.shape, dtype=like._view.dtype.name, value=value
    )


#: Largest head, in elements, whose gradient of ones is kept for the next backward.
_KEPT_ONES = 4096


def _ones(like: NDArray) -> NDArray:
    """The head gradient where none is given. Small ones are kept: most heads are losses."""
    if like.size > _KEPT_ONES:
        return _filled(like, 1)
    stream = array.stream_of(like)
    key = ("head gradient", like._view.layout)
    known = stream.plans.get(key)
    if known is None or known.storage.version:  # user code may have written to it
        known = stream.plans[key] = _filled(like, 1)._view
    return NDArray(known)


def _zeros(context: Context, shape: tuple[int, ...], dtype: np.dtype, out=None) -> NDArray:
    return table["_full"].create(context, out=out, shape=shape, dtype=dtype.name, value=0)


def get_symbol(x: NDArray):
    """The recorded history of an array as a :class:`clgrad.symbol.Symbol`.

    Raises
    ------
    AutogradError
        The array is not part of a recorded graph.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((2,))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = mx.nd.exp(x) * 2
    >>> mx.autograd.get_symbol(y).list_arguments()
    ['var0']
    """
    return symbol.from_entry(x._entry)


class Function:
    """A function with a derivative of the user's own.

    Subclasses define :meth:`forward`, which computes on arrays without being recorded (numpy is
    fine), and :meth:`backward`, which takes the gradient of each output and returns that of each
    input. An object is used once.

    Examples
    --------
    >>> import clgrad as mx
    >>> class sigmoid(mx.autograd.Function):
    ...     def forward(self, x):
    ...         y = 1 / (1 + mx.nd.exp(-x))
    ...         self.save_for_backward(y)
    ...         return y
    ...     def backward(self, dy):
    ...         y, = self.saved_tensors
    ...         return dy * y * (1 - y)
    >>> func = sigmoid()
    >>> x = mx.nd.random.uniform(shape=(10,))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     m = func(x)
    ...     m.backward()
    >>> dx = x.grad.asnumpy()
    """

    #: Results of user code may be held by the user.
    is_user_code = True
    fuses = False

    def __init__(self):
        self._saved: tuple = ()
        self._used = False
        #: Of the recorded call. Weak: node -> this object -> node would be a cycle, and memory
        #: would wait for the garbage collector.
        self._node: Callable[[], Node | None] | None = None

    @property
    def name(self) -> str:
        """The class's name, for the tape."""
        return type(self).__name__

    label = name

    def save_for_backward(self, *args: NDArray) -> None:
        """Keep arrays for :meth:`backward`, which finds them in ``saved_tensors``."""
        self._saved = args

    @property
    def saved_tensors(self) -> tuple:
        """What :meth:`save_for_backward` kept.

        Raises
        ------
        AutogradError
            An array was written in place since the call, or an earlier backward has freed it.
        """
        if self._node is None:
            return self._saved  # inside forward
        return tuple(s.load(self._node()) if isinstance(s, _SavedArray) else s for s in self._saved)

    def forward(self, *inputs):
        """Compute the outputs; to be defined by the subclass."""
        raise NotImplementedError(f"{self.name}.forward is not defined")

    def backward(self, *output_grads):
        """Compute the gradient of each input; to be defined by the subclass."""
        raise NotImplementedError(f"{self.name}.backward is not defined")

    def __call__(self, *inputs: NDArray):
        """Run forward; recorded as one node.

        Raises
        ------
        AutogradError
            The object was called before, or forward returned something else than arrays.
        """
        if self._used:
            raise AutogradError(f"{self.name}: a Function object is used once; make a new one")
        self._used = True
        with pause(train_mode=state.training):
            results = self.forward(*inputs)
        returned = _as_list(results)
        for position, value in enumerate(returned):
            if not isinstance(value, NDArray):
                raise AutogradError(
                    f"{self.name}.forward: output {position} is {_described(value)}; "
                    "accepted: NDArray"
                )
        # New objects: an input that is handed through keeps its own origin, beside the output's.
        outputs = [value.detach() for value in returned]
        arrays = [i for i in inputs if isinstance(i, NDArray)]
        if state.recording and any(i._entry is not None and i._entry[0].in_graph for i in arrays):
            self._record(inputs, returned, outputs)
        if isinstance(results, tuple):
            return tuple(outputs)
        return outputs if isinstance(results, list) else outputs[0]

    def _record(self, given: tuple, returned: list[NDArray], outputs: list[NDArray]) -> None:
        #: Which of forward's arguments are arrays, and so inputs of the node.
        self._places = [place for place, value in enumerate(given) if isinstance(value, NDArray)]
        self._arguments = len(given)
        inputs = [given[place] for place in self._places]
        for i in inputs:
            if i._entry is None:
                i._entry = (tape.Constant(i.shape, i._view.dtype), 0)
        node = Node(
            self,
            tuple(f"inputs[{place}]" for place in self._places),
            {},
            tuple(i._entry for i in inputs),
            tuple(o._view.layout for o in outputs),
            None,
            tuple(a.handle for a in (*inputs, *outputs)),
            outputs[0]._view.device,
        )
        for index, output in enumerate(outputs):
            output._entry = (node, index)
        self._node = weakref.ref(node)
        self._saved = tuple(
            _SavedArray(s, key, returned, node) if isinstance(s, NDArray) else s
            for key, s in enumerate(self._saved)
        )

    def vjp(self, node: Node, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Call the user's backward; None and surplus gradients flow nowhere."""
        filled = [
            _zeros(node.context, shape, dtype) if dy is None else dy
            for dy, (shape, dtype) in zip(dys, node.outputs, strict=True)
        ]
        results = _as_list(self.backward(*filled))
        if len(results) != self._arguments:
            raise AutogradError(
                f"{self.name}.backward returned {len(results)} gradients; accepted: one (or None) "
                f"for each of forward's {self._arguments} arguments"
            )
        gradients = {}
        for i, place in enumerate(self._places):
            result = results[place]
            if result is None or not wanted[i]:
                continue
            shape, dtype = node.input_meta(i)
            if not _fits(result, shape, dtype):
                raise AutogradError(
                    f"{self.name}.backward: the gradient of {node.names[i]} is "
                    f"{_described(result)}; accepted: NDArray {dtype} {shape}, as the input"
                )
            gradients[i] = result
        return gradients


class _SavedArray:
    """An array that a Function saved. The node holds its memory, and frees it after backward."""

    def __init__(self, array: NDArray, key: int, returned: Sequence[NDArray], node: Node):
        self._key = key
        #: The array's place in the graph; of a new output its index only: no cycle.
        self._entry = array._entry
        self._output = None
        if array._entry is None:
            self._output = next((i for i, value in enumerate(returned) if value is array), None)
        assert node.saved is not None
        node.saved[key] = tape.Saved(array._view)

    def load(self, node: Node | None) -> NDArray:
        """The array with its place in the graph."""
        if node is None:
            raise AutogradError("saved_tensors: the recorded call is gone, and its arrays with it")
        view = node.load(self._key, f"saved_tensors[{self._key}]")
        return NDArray(view, self._entry if self._output is None else (node, self._output))
