"""Functions with a derivative of the user's own."""

import weakref
from collections.abc import Callable, Sequence

from clgrad import tape
from clgrad.array import NDArray
from clgrad.autograd.gradients import as_list, described, fits, zeros
from clgrad.autograd.scopes import pause
from clgrad.errors import AutogradError
from clgrad.tape import Node, state


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
        returned = as_list(results)
        for position, value in enumerate(returned):
            if not isinstance(value, NDArray):
                raise AutogradError(
                    f"{self.name}.forward: output {position} is {described(value)}; accepted: NDArray"
                )
        # New objects: an input that is handed through keeps its own origin, beside the output's.
        outputs = [value.detach() for value in returned]
        arrays = [i for i in inputs if isinstance(i, NDArray)]
        if state.watcher is not None:
            state.watcher.reads(arrays)
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
        entries = [i._entry or tape.constant(i) for i in inputs]
        node = Node(
            self,
            tuple(f"inputs[{place}]" for place in self._places),
            {},
            tuple(entries),
            tuple(o._view.layout for o in outputs),
            None,
            tuple(a._view.storage.handle for a in (*inputs, *outputs)),
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
            zeros(node.context, shape, dtype) if dy is None else dy
            for dy, (shape, dtype) in zip(dys, node.outputs, strict=True)
        ]
        results = as_list(self.backward(*filled))
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
            if not fits(result, shape, dtype):
                raise AutogradError(
                    f"{self.name}.backward: the gradient of {node.names[i]} is "
                    f"{described(result)}; accepted: NDArray {dtype} {shape}, as the input"
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
