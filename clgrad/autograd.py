"""Automatic differentiation: recording scopes, ``backward``, ``grad``, and user-defined functions.

The interface and its meaning are MXNet's ``mxnet.autograd``. The method is reverse accumulation over a
tape (Griewank & Walther, "Evaluating Derivatives", chapter 3): nodes are visited from the newest to the
oldest, so no recursion and no dependency counts are needed. Rules that run while ``create_graph`` is on
are recorded like any other computation, which gives derivatives of every order.
"""

import weakref
from collections import Counter
from collections.abc import Sequence

from clgrad import array, memory, symbol, tape
from clgrad.array import NDArray
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

    The previous states are a stack, so one scope object may be entered again while it is entered.
    """

    def __init__(self, recording: bool | None, training: bool | None):
        self._recording = recording
        self._training = training
        self._previous: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._previous.append((state.recording, state.training))
        if self._recording is not None:
            state.recording = self._recording
        if self._training is not None:
            state.training = self._training

    def __exit__(self, *exception) -> None:
        state.recording, state.training = self._previous.pop()


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
    <NDArray 4 @cpu(0)>
    """
    return _Scope(True, bool(train_mode))


def pause(train_mode: bool = False) -> _Scope:
    """A scope, inside a recorded one, in which nothing is recorded; by default in prediction mode."""
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
                f"mark_variables: the gradient is {gradient._view.dtype} {gradient.shape}; accepted: "
                f"{view.dtype} {view.shape}, as the variable"
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
    start = memory.last_serial()
    sweep = _Sweep("backward", heads, head_grads, train_mode)
    sweep.run(retain_graph=retain_graph, create_graph=False)
    sweep.deliver(start)


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
    <NDArray 1 @cpu(0)>]
    """
    targets = []
    for position, variable in enumerate(_as_list(variables)):
        if variable._entry is None or not variable._entry[0].in_graph:
            raise AutogradError(
                f"grad: variables[{position}] is not part of a recorded graph; call attach_grad() on "
                "it before recording"
            )
        targets.append(variable._entry)
    sweep = _Sweep("grad", heads, head_grads, train_mode, targets)
    retain = create_graph if retain_graph is None else retain_graph
    sweep.run(retain_graph=retain, create_graph=create_graph)
    return [sweep.gradient_of(position, entry) for position, entry in enumerate(targets)]


class _Sweep:
    """One pass of reverse accumulation over the graph above some heads."""

    def __init__(self, caller: str, heads, head_grads, train_mode: bool, targets=None):
        self._caller = caller
        self._train_mode = train_mode
        heads = _as_list(heads)
        self._entries = [self._entry(position, head) for position, head in enumerate(heads)]
        self._nodes = list(tape.walk(self._entries))
        self._targets = None if targets is None else set(targets)
        self._leading = self._lead_to_targets()
        self._gradients: dict[tuple, NDArray] = {}
        self._foreign: set[int] = set()  # serials of memory that user code may hold
        for entry, head, seed in zip(self._entries, heads, self._seeds(heads, head_grads), strict=True):
            self._accumulate(entry, _filled(head, 1) if seed is None else seed)

    def _entry(self, position: int, head: NDArray) -> tuple:
        entry = head._entry
        if entry is None or not entry[0].in_graph:
            raise AutogradError(
                f"{self._caller}: heads[{position}] is not part of a recorded graph; compute it inside "
                "`with autograd.record():` from arrays that have attach_grad()"
            )
        return entry

    def _seeds(self, heads, head_grads) -> list:
        seeds = [None] * len(heads) if head_grads is None else _as_list(head_grads)
        if len(seeds) != len(heads):
            raise AutogradError(
                f"{self._caller}: {len(heads)} heads and {len(seeds)} head_grads given; accepted: one "
                "head gradient (or None) for each head"
            )
        for position, (head, seed) in enumerate(zip(heads, seeds, strict=True)):
            if seed is not None and (seed.shape != head.shape or seed.dtype != head.dtype):
                raise AutogradError(
                    f"{self._caller}: head_grads[{position}] is {seed._view.dtype} {seed.shape}; "
                    f"accepted: {head._view.dtype} {head.shape}, as its head"
                )
        return seeds

    def _lead_to_targets(self) -> set[Node] | None:
        """The nodes that some target lies before; None when every marked variable is a target."""
        if self._targets is None:
            return None
        leading: set[Node] = set()
        for node in self._nodes:
            if any(entry in self._targets or entry[0] in leading for entry in node.inputs):
                leading.add(node)
        return leading

    def _wanted(self, node: Node) -> tuple[bool, ...]:
        if self._leading is None:
            return tuple(source.needs_grad for source, _ in node.inputs)
        return tuple(
            entry in self._targets or entry[0] in self._leading for entry in node.inputs
        )

    def _accumulate(self, entry: tuple, gradient: NDArray) -> None:
        known = self._gradients.get(entry)
        self._gradients[entry] = gradient if known is None else table["add"](known, gradient)

    def run(self, retain_graph: bool, create_graph: bool) -> None:
        """Visit the nodes from the newest to the oldest."""
        with _Scope(bool(create_graph), bool(self._train_mode)):
            for node in reversed(self._nodes):
                if node.needs_grad:
                    self._visit(node, create_graph)
        if not retain_graph:
            for node in self._nodes:
                node.saved = None

    def _visit(self, node: Node, create_graph: bool) -> None:
        if node.saved is None:
            node.load(0, "")  # raises: the buffers are freed
        dys = [self._take((node, i)) for i in range(len(node.outputs))]
        if all(dy is None for dy in dys):
            return
        wanted = self._wanted(node)
        if not any(wanted):
            return
        gradients = node.op.vjp(node, dys, wanted, create_graph)
        for i, gradient in gradients.items():
            self._accumulate(node.inputs[i], gradient)
            if node.op.is_user_code:
                self._foreign.add(gradient._view.storage.serial)

    def _take(self, entry: tuple) -> NDArray | None:
        """The gradient of a node's output, let go of unless it is asked for."""
        if self._targets is not None and entry in self._targets:
            return self._gradients.get(entry)
        return self._gradients.pop(entry, None)

    def gradient_of(self, position: int, entry: tuple) -> NDArray:
        """The result for a target."""
        gradient = self._gradients.get(entry)
        if gradient is not None:
            return gradient
        source, index = entry
        reached = any(entry in node.inputs for node in self._nodes)
        if not reached:
            raise AutogradError(
                f"grad: the heads do not depend on variables[{position}]; leave it out, or check that "
                "the computation from it was recorded"
            )
        shape, dtype = source.outputs[index] if isinstance(source, Node) else (source.shape, source.dtype)
        context = self._nodes[0].context
        return table["_full"].create(context, shape=shape, dtype=dtype.name, value=0)

    def deliver(self, start: int) -> None:
        """Hand the gradients to the variables that the heads depend on."""
        variables = dict.fromkeys(
            source
            for node in self._nodes
            for source, _ in node.inputs
            if isinstance(source, Variable) and source.needs_grad
        )
        variables |= dict.fromkeys(s for s, _ in self._entries if isinstance(s, Variable))
        holders = Counter(g._view.storage.serial for g in self._gradients.values())
        with pause():
            for variable in variables:
                gradient = self._gradients.get((variable, 0))
                if variable.grad is None:
                    continue
                if gradient is None:
                    _store_zero(variable)
                    continue
                serial = gradient._view.storage.serial
                ours = serial > start and holders[serial] == 1 and serial not in self._foreign
                _store(variable, gradient, ours)


def _store_zero(variable: Variable) -> None:
    if variable.grad_req == "write":
        target = variable.grad
        table["_full"].create(
            target.context, out=target, shape=target.shape, dtype=target._view.dtype.name, value=0
        )


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

    Subclasses define :meth:`forward`, which computes on arrays without being recorded (numpy is fine),
    and :meth:`backward`, which takes the gradient of each output and returns that of each input. An
    object is used once.

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

    def __init__(self):
        self._saved: tuple = ()
        self._used = False

    @property
    def name(self) -> str:
        """The class's name, for the tape."""
        return type(self).__name__

    def save_for_backward(self, *args: NDArray) -> None:
        """Keep arrays for :meth:`backward`, which finds them in ``saved_tensors``."""
        self._saved = args

    @property
    def saved_tensors(self) -> tuple:
        """What :meth:`save_for_backward` kept."""
        return tuple(s.restore() if isinstance(s, _SavedOutput) else s for s in self._saved)

    def forward(self, *inputs):
        """Compute the outputs; to be defined by the subclass."""
        raise NotImplementedError(f"{self.name}.forward is not defined")

    def backward(self, *output_grads):
        """Compute the gradient of each input; to be defined by the subclass."""
        raise NotImplementedError(f"{self.name}.backward is not defined")

    def __call__(self, *inputs: NDArray):
        """Run forward; recorded as one node."""
        if self._used:
            raise AutogradError(f"{self.name}: a Function object is used once; make a new one")
        self._used = True
        with pause(train_mode=state.training):
            results = self.forward(*inputs)
        outputs = _as_list(results)
        # An input that is handed through must not take this node as its own origin.
        outputs = [o.detach() if any(o is i for i in inputs) else o for o in outputs]
        if state.recording and any(
            i._entry is not None and i._entry[0].in_graph for i in inputs if isinstance(i, NDArray)
        ):
            self._record([i for i in inputs if isinstance(i, NDArray)], outputs)
        return outputs if isinstance(results, list | tuple) else outputs[0]

    def _record(self, inputs: list[NDArray], outputs: list[NDArray]) -> None:
        entries = []
        for i in inputs:
            if i._entry is None:
                i._entry = (tape.Constant(i.shape, i._view.dtype), 0)
            entries.append(i._entry)
        metas = tuple((o.shape, o._view.dtype) for o in outputs)
        handles = tuple(a.handle for a in (*inputs, *outputs))
        names = tuple(f"inputs[{i}]" for i in range(len(inputs)))
        context = outputs[0].context
        node = Node(self, names, {}, tuple(entries), metas, None, handles, context)
        # Saved outputs refer to the node by weak means only: node -> self -> output -> node would be a
        # cycle, and memory would wait for the garbage collector.
        self._saved = tuple(
            _SavedOutput.of(s, outputs, node) for s in self._saved
        )
        for index, output in enumerate(outputs):
            output._entry = (node, index)

    def vjp(self, node: Node, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Call the user's backward; None and surplus gradients flow nowhere."""
        filled = [
            table["_full"].create(node.context, shape=shape, dtype=dtype.name, value=0)
            if dy is None
            else dy
            for dy, (shape, dtype) in zip(dys, node.outputs, strict=True)
        ]
        results = _as_list(self.backward(*filled))
        if len(results) != len(node.inputs):
            raise AutogradError(
                f"{self.name}.backward returned {len(results)} gradients; accepted: one (or None) for "
                f"each of the {len(node.inputs)} inputs"
            )
        gradients = {}
        for i, (result, name) in enumerate(zip(results, node.names, strict=True)):
            if result is None or not wanted[i]:
                continue
            shape, dtype = node.input_meta(i)
            if not isinstance(result, NDArray) or (result.shape, result._view.dtype) != (shape, dtype):
                given = f"{result._view.dtype} {result.shape}" if isinstance(result, NDArray) else result
                raise AutogradError(
                    f"{self.name}.backward: the gradient of {name} is {given}; accepted: NDArray "
                    f"{dtype} {shape}, as the input"
                )
            gradients[i] = result
        return gradients


class _SavedOutput:
    """An output that a Function saved: its memory, and its place in the graph without a strong cycle."""

    def __init__(self, saved: NDArray, node: Node, index: int):
        self._view = saved._view
        self._node = weakref.ref(node)
        self._index = index

    @classmethod
    def of(cls, saved, outputs: Sequence[NDArray], node: Node):
        """Wrap an array that is one of the outputs; leave others as they are."""
        for index, output in enumerate(outputs):
            if saved is output:
                return cls(saved, node, index)
        return saved

    def restore(self) -> NDArray:
        """The output as an array of the graph."""
        node = self._node()
        return NDArray(self._view, None if node is None else (node, self._index))
