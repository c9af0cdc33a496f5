"""Reverse accumulation: ``backward`` and ``grad``.

Nodes are visited from the newest to the oldest, so no recursion and no dependency counts are needed
(Griewank & Walther, "Evaluating Derivatives", chapter 3). Rules that run while ``create_graph`` is on are
recorded like any computation, which gives derivatives of every order.
"""

import weakref
from collections.abc import Sequence

from clgrad import array, deferred, memory, tape
from clgrad.array import NDArray
from clgrad.autograd.gradients import as_list, described, fits, zeros
from clgrad.autograd.scopes import pause, scope
from clgrad.errors import AutogradError
from clgrad.memory import View
from clgrad.ranges import Range
from clgrad.registry import GradientChain, filled, table
from clgrad.tape import Node, Variable


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
    with Range("backward", "phase"):
        sweep = Sweep("backward", heads, head_grads, train_mode)
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
    targets = [_target(position, v) for position, v in enumerate(as_list(variables))]
    retain = create_graph if retain_graph is None else retain_graph
    with Range("grad", "phase"):
        sweep = Sweep("grad", heads, head_grads, train_mode, targets)
        sweep.run(retain_graph=retain, create_graph=create_graph)
        return sweep.results(targets, create_graph)


def _target(position: int, variable: NDArray) -> tuple:
    if not isinstance(variable, NDArray):
        raise AutogradError(f"grad: variables[{position}] is {type(variable).__name__}; accepted: NDArray")
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


class Sweep:
    """One pass of reverse accumulation over the graph above some heads.

    It ends at nodes of a lower order than ``since``, as at leaves.
    """

    def __init__(self, caller: str, heads, head_grads, train_mode: bool, targets=None, since: int = 0):
        self._caller = caller
        self._train_mode = train_mode
        #: Memory with a later serial was made by this sweep.
        self._start = memory.last_serial()
        self._heads = as_list(heads)
        self._entries = [self._entry(position, head) for position, head in enumerate(self._heads)]
        self._seeds = self._checked_seeds(head_grads)
        self._nodes, self._variables = tape.reached(self._entries, since)
        self._targets: set[tuple] = set(targets or ())
        #: None where every marked variable is a target.
        self._leading = None if targets is None else self._lead_to_targets()
        self._gradients: dict[tuple, NDArray] = {}
        #: Variables whose gradients here hold what they held before as well.
        self._started: set[Variable] = set()
        #: Serials of memory that others may hold: head gradients, and what user code saw.
        self._foreign: set[int] = set()
        #: Gradients of elementwise ops that wait to be computed together.
        self._chain: GradientChain | None = None

    def _entry(self, position: int, head: NDArray) -> tuple:
        entry = head._entry if isinstance(head, NDArray) else None
        if entry is None or not entry[0].in_graph:
            raise AutogradError(
                f"{self._caller}: heads[{position}] is not part of a recorded graph; compute it "
                "inside `with autograd.record():` from arrays that have attach_grad()"
            )
        return entry

    def _checked_seeds(self, head_grads) -> list[NDArray | None]:
        if head_grads is None:
            return [None] * len(self._heads)
        seeds = as_list(head_grads)
        if len(seeds) != len(self._heads):
            raise AutogradError(
                f"{self._caller}: {len(self._heads)} heads and {len(seeds)} head_grads given; "
                "accepted: one head gradient (or None) for each head"
            )
        for position, (head, seed) in enumerate(zip(self._heads, seeds, strict=True)):
            if seed is not None and not fits(seed, head.shape, head._view.dtype):
                raise AutogradError(
                    f"{self._caller}: head_grads[{position}] is {described(seed)}; "
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
        """Visit the nodes from the newest to the oldest, and let go of what each has kept."""
        with scope(bool(create_graph), bool(self._train_mode)):
            if self._leading is None:
                self._start_from_known()
            for i, entry in enumerate(self._entries):
                head, seed = self._heads[i], self._seeds[i]
                gradient = _ones(head) if seed is None else seed
                self._foreign.add(gradient._view.storage.serial)
                self._accumulate(entry, gradient)
            for node in reversed(self._nodes):
                if node.needs_grad:
                    if node.op.fuses and node.plan is not None and not create_graph:
                        self._visit_fused(node)
                    else:
                        self._visit(node, create_graph)
                if not retain_graph:
                    node.saved = None
            self._end_chain()

    def _start_from_known(self) -> None:
        """Let gradients that are to be added to begin with what is there: the last launch adds it."""
        adding = [variable for variable in self._variables if variable.grad_req == "add"]
        serials = [variable.grad._view.storage.serial for variable in adding]
        for variable, serial in zip(adding, serials, strict=True):
            if serials.count(serial) == 1:  # else one would be handed over, and the other one lost
                self._gradients[variable, 0] = variable.grad
                self._started.add(variable)

    def _visit(self, node: Node, create_graph: bool) -> None:
        self._end_chain()
        dys = self._head_gradients(node)
        wanted = node.wanted if self._leading is None else self._wanted(node)
        if dys is None or True not in wanted:
            return
        if node.saved is None:
            node.load(0, "")  # raises: the buffers are freed
        gradients = node.op.vjp(node, dys, wanted, create_graph)
        for i, gradient in gradients.items():
            self._accumulate(node.inputs[i], gradient)
        if node.op.is_user_code:
            seen = (*dys, *gradients.values())
            self._foreign.update(a._view.storage.serial for a in seen if a is not None)

    def _head_gradients(self, node: Node) -> list[NDArray | None] | None:
        """The gradients of a node's outputs, at their shapes; None where not one has arrived."""
        dys: list[NDArray | None] = []
        arrived = False
        for i, layout in enumerate(node.outputs):
            dy = self._take((node, i))
            if dy is not None:
                arrived = True
                if dy._view.layout is not layout:
                    dy = _expanded(dy, layout.shape)
            dys.append(dy)
        return dys if arrived else None

    def _visit_fused(self, node: Node) -> None:
        """Let generated kernels compute the gradients: where that pays, with those of other ops."""
        entry, chain = (node, 0), self._chain
        if chain is not None and entry not in chain.waiting:
            self._end_chain()
            chain = None
        if chain is None and entry not in self._gradients:
            return
        wanted = node.wanted if self._leading is None else self._wanted(node)
        if True not in wanted:
            return
        if node.saved is None:
            node.load(0, "")  # raises: the buffers are freed
        pattern = node.op.pattern(node, wanted)
        is_target = self._targets and entry in self._targets
        if chain is not None and not is_target and chain.takes(node, pattern):
            chain.join(node, pattern, self._gradients)
            return
        self._end_chain()
        dy = self._take(entry)
        assert dy is not None
        if pattern.reduced:
            for i, gradient in node.op.reduced_vjp(node, pattern, dy).items():
                self._accumulate(node.inputs[i], gradient)
        if pattern.full:
            self._chain = node.op.chain(dy, self._owns(dy))
            self._chain.join(node, pattern, self._gradients)

    def _end_chain(self) -> None:
        """Compute the gradients that wait."""
        if self._chain is not None:
            self._gradients.update(self._chain.compute())
            self._chain = None

    def _owns(self, gradient: NDArray) -> bool:
        """Whether this sweep made the memory, and has shown it to nobody."""
        serial = gradient._view.storage.serial
        return serial > self._start and serial not in self._foreign

    def _take(self, entry: tuple) -> NDArray | None:
        """The gradient of a node's output, let go of unless it is asked for."""
        if self._targets and entry in self._targets:
            return self._gradients.get(entry)
        return self._gradients.pop(entry, None)

    def reached(self, entry: tuple) -> bool:
        """Whether a gradient has come to a target."""
        return entry in self._gradients

    def results(self, targets: Sequence[tuple], create_graph: bool) -> list[NDArray]:
        """The gradient of each target; a copy where somebody else holds the memory."""
        handed: set[int] = set()
        results = []
        with scope(bool(create_graph), bool(self._train_mode)):
            for position, entry in enumerate(targets):
                gradient = self._gradient_of(position, entry)
                serial = gradient._view.storage.serial
                if not self._owns(gradient) or serial in handed:
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
        is_reached = source in self._variables or source in self._nodes
        if not is_reached or not any(entry in node.inputs for node in self._nodes):
            raise AutogradError(
                f"grad: the heads do not depend on variables[{position}]; leave it out, or check "
                "that the computation from it was recorded"
            )
        # Reached, but only through ops that no gradient flows through.
        return zeros(self._nodes[0].context, *meta)

    def deliver(self) -> None:
        """Hand the gradients to the variables that the heads depend on."""
        serials = [g._view.storage.serial for g in self._gradients.values()]
        whole: list[tuple[Variable, NDArray | None]] = []  # which may take memory that is not there
        for variable in self._variables:
            if variable.grad is None:
                continue
            gradient = self._gradients.get((variable, 0))
            if gradient is not None and gradient.shape != variable.shape:
                with pause():
                    gradient = _expanded(gradient, variable.shape)
            whole.append((variable, gradient))
        deferred.host(_mark_fresh, [weakref.ref(variable) for variable, _ in whole])
        for variable, gradient in whole:
            if gradient is None:
                _store_zero(variable)
            elif variable.grad_req == "add" and variable not in self._started:
                with pause():
                    table["add"](variable.grad, gradient, out=variable.grad)
            elif gradient is not variable.grad:  # else nothing was added
                ours = self._owns(gradient) and serials.count(gradient._view.storage.serial) <= 1
                _store(variable.grad, gradient, ours)


def _mark_fresh(variables: Sequence[weakref.ref[Variable]]) -> None:
    """Note that backward has filled gradients; whoever uses them up takes the note away.

    Weak references, since replays call this again, and must not keep what a captured function has marked.
    """
    for reference in variables:
        variable = reference()
        if variable is not None:
            variable.fresh = True


def _expanded(gradient: NDArray, shape: tuple[int, ...]) -> NDArray:
    """A gradient that rules may have left smaller than its array, at the array's shape."""
    return gradient if gradient.shape == shape else table["_expand_to"](gradient, shape=shape)


def _hand_over(new: View, old: View) -> bool:
    """Exchange the memory of two arrays of a layout, if each is all of its memory; whether that is so."""
    source, target, nbytes = new.storage, old.storage, new.layout.nbytes
    whole = not (new.offset or old.offset) and source.nbytes == nbytes and target.nbytes == nbytes
    if not whole or source.stream is not target.stream:
        return False
    target.begin_write()
    target.swap(source)
    return True


def _store_zero(variable: Variable) -> None:
    if variable.grad_req == "write":
        target = variable.grad
        with pause():
            zeros(target.context, target.shape, target._view.dtype, out=target)


def _store(target: NDArray, gradient: NDArray, ours: bool) -> None:
    """Write a gradient; memory that only this pass knows is handed over, not copied."""
    if not (ours and _hand_over(gradient._view, target._view)):
        with pause():
            table["identity"](gradient, out=target)


#: Largest head, in elements, that gets a gradient of its own shape.
_LARGE = 4096


def _ones(like: NDArray) -> NDArray:
    """The head gradient where none is given, kept for the next backward.

    That of a large head has one element: gradients broadcast.
    """
    stream, layout = array.stream_of(like), like._view.layout
    if layout.size > _LARGE:
        layout = memory.Layout((1,), layout.dtype)
    key = ("head gradient", layout)
    known = stream.plans.get(key)
    if known is None or known.storage.version:  # user code may have written to it
        known = stream.plans[key] = filled(like.context, layout.shape, layout.dtype, 1)._view
    return NDArray(known)
