"""Recorded history as a :class:`Symbol`: ops, attributes and shapes, but no arrays.

The interface is that of MXNet's ``Symbol``, as far as a recorded graph needs it. A symbol holds
none of the graph's memory; it can be printed, written as MXNet's JSON, and applied to other arrays.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from clgrad import array, dtypes
from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.errors import AutogradError, OperatorError, OperatorTypeError
from clgrad.ops.conversion import as_in_context
from clgrad.registry import Operator, Spec
from clgrad.tape import Node, Variable, set_recording

#: A value of the graph: position of its node in the list of nodes, and output index.
Entry = tuple[int, int]

#: MXNet's op name of a node that is an argument.
_ARGUMENT = "null"


class _SymbolNode(NamedTuple):
    """An argument or an op of the graph; in a list of nodes, inputs come before what reads them."""

    name: str
    op_name: str
    #: None for an argument, and for an ``autograd.Function`` or a checkpoint: they cannot be applied again.
    op: Operator | None
    parameters: tuple[str, ...]
    attributes: dict[str, object]
    inputs: tuple[Entry, ...]
    outputs: tuple[Spec, ...]
    context: Context | None

    @property
    def is_argument(self) -> bool:
        return self.op_name == _ARGUMENT

    @property
    def texts(self) -> dict[str, str]:
        """The attributes as MXNet has them: strings."""
        return {key: str(value) for key, value in self.attributes.items()}

    def output_name(self, index: int) -> str:
        if self.is_argument:
            return self.name
        return f"{self.name}_output{index if len(self.outputs) > 1 else ''}"


def from_entry(entry: tuple | None) -> "Symbol":
    """The recorded graph above a value, as a symbol.

    Parameters
    ----------
    entry : (tape.Node or tape.Variable, int), or None
        Where an array came from (its ``_entry``).

    Returns
    -------
    Symbol
        Variables are arguments ``var0``, ``var1``, ...; constants are arguments ``null0``, ...; ops
        are named after the op, as ``exp0``. Numbers count in the order of the symbol's nodes.

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
    >>> from_entry(y._entry)
    <Symbol multiply0>
    """
    if entry is None or not entry[0].in_graph:
        raise AutogradError(
            "get_symbol: the array is not part of a recorded graph; compute it inside "
            "`with autograd.record():` from arrays that have attach_grad()"
        )
    nodes: list[_SymbolNode] = []
    places: dict[object, int] = {}
    counts: Counter[str] = Counter()
    for source in _inputs_first(entry[0]):
        places[source] = len(nodes)
        nodes.append(_describe(source, places, counts))
    return Symbol(nodes, [(places[entry[0]], entry[1])])


def _inputs_first(head) -> Iterator:
    """What ``head`` depends on, each after its inputs, in MXNet's order. Does not recurse."""
    done = set()
    stack = [head]
    while stack:
        source = stack[-1]
        inputs = source.inputs if isinstance(source, Node) else ()
        pending = [parent for parent, _ in inputs if parent not in done]
        if pending:
            stack.extend(reversed(pending))
            continue
        stack.pop()
        if source not in done:
            done.add(source)
            yield source


def _describe(source, places: dict[object, int], counts: Counter[str]) -> _SymbolNode:
    if not isinstance(source, Node):
        prefix = "var" if isinstance(source, Variable) else "null"
        spec = Spec(source.shape, source.dtype)
        return _SymbolNode(_unique(prefix, counts), _ARGUMENT, None, (), {}, (), (spec,), None)
    return _SymbolNode(
        _unique(source.op.name, counts),
        source.op.name,
        # A Function object holds arrays and runs once, and so does a checkpoint; only its name is kept.
        None if source.op.is_user_code or not callable(source.op) else source.op,
        source.names,
        dict(source.attributes),
        tuple((places[parent], index) for parent, index in source.inputs),
        tuple(Spec(*output) for output in source.outputs),
        source.context,
    )


def _unique(prefix: str, counts: Counter[str]) -> str:
    # The twentieth `log` must not have the name of the first `log2`.
    separator = "_" if prefix[-1].isdigit() else ""
    counts[prefix] += 1
    return f"{prefix}{separator}{counts[prefix] - 1}"


class Symbol:
    """A graph of ops with one or more outputs, as :func:`clgrad.autograd.get_symbol` returns it.

    ``len``, iteration, and indexing by position or by name give its outputs, each as a symbol.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((2, 3))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = mx.nd.exp(x) * 2
    >>> symbol = mx.autograd.get_symbol(y)
    >>> print(symbol)
    var0                                         (2, 3) float32
    exp0 = exp(data=var0)                        (2, 3) float32
    multiply0 = multiply(lhs=exp0, rhs=2)        (2, 3) float32
    outputs: multiply0_output
    >>> symbol.eval(var0=mx.nd.zeros((1, 2)))[0].asnumpy()
    array([[2., 2.]], dtype=float32)
    """

    def __init__(self, nodes: list[_SymbolNode], heads: Iterable[Entry]):
        self._nodes = nodes
        self._heads = list(heads)

    @cached_property
    def _needed(self) -> list[int]:
        """Positions of the nodes that the outputs depend on, inputs first."""
        needed = {place for place, _ in self._heads}
        for place in range(max(needed, default=-1), -1, -1):
            if place in needed:
                needed.update(parent for parent, _ in self._nodes[place].inputs)
        return sorted(needed)

    @property
    def name(self) -> str | None:
        """Name of the node whose outputs these are; None where there are several."""
        names = {self._nodes[place].name for place, _ in self._heads}
        return names.pop() if len(names) == 1 else None

    def list_arguments(self) -> list[str]:
        """Names of variables (``var0``) and constants (``null0``) that the outputs depend on."""
        return [node.name for node in self._arguments()]

    def _arguments(self) -> list[_SymbolNode]:
        return [self._nodes[place] for place in self._needed if self._nodes[place].is_argument]

    def list_auxiliary_states(self) -> list[str]:
        """Always empty: a moving average is an argument like any other."""
        return []

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return [self._nodes[place].output_name(index) for place, index in self._heads]

    def get_internals(self) -> "Symbol":
        """Every value of the graph as an output: ``symbol.get_internals()["exp0_output"]``."""
        heads = [
            (place, index) for place in self._needed for index in range(len(self._nodes[place].outputs))
        ]
        return Symbol(self._nodes, heads)

    def __len__(self) -> int:
        return len(self._heads)

    def __iter__(self) -> Iterator["Symbol"]:
        return (Symbol(self._nodes, [head]) for head in self._heads)

    def __getitem__(self, key: int | str) -> "Symbol":
        if isinstance(key, str):
            names = self.list_outputs()
            if names.count(key) != 1:
                raise OperatorError(f"Symbol: no output is named {key!r}; accepted: {', '.join(names)}")
            key = names.index(key)
        return Symbol(self._nodes, [self._heads[key]])

    def attr(self, key: str) -> str | None:
        """An attribute of the node whose outputs these are, as a string; None if there is none."""
        return self.list_attr().get(key)

    def list_attr(self) -> dict[str, str]:
        """The attributes of the node whose outputs these are."""
        return self.attr_dict().get(self.name or "", {})

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """The attributes of every node that has some, by the node's name."""
        nodes = (self._nodes[place] for place in self._needed)
        return {node.name: node.texts for node in nodes if node.attributes}

    # Shapes and dtypes

    def infer_shape(self, **shapes: tuple[int, ...]) -> tuple[list, list, list]:
        """Shapes of arguments and outputs for given shapes of some arguments.

        Where they are not the recorded ones, the ops are applied to arrays of these shapes.

        Parameters
        ----------
        **shapes : tuple of int
            Shape of each argument that differs from the recorded one, by name.

        Returns
        -------
        (arg_shapes, out_shapes, aux_shapes)
            In the order of :meth:`list_arguments` and :meth:`list_outputs`; the third is empty.

        Raises
        ------
        OperatorTypeError
            No argument has the name.
        OperatorError
            An op does not accept the shapes.
        AutogradError
            The shapes of a Function's inputs are not the recorded ones.

        Examples
        --------
        >>> import clgrad as mx
        >>> x = mx.nd.ones((2, 3))
        >>> x.attach_grad()
        >>> with mx.autograd.record():
        ...     y = x.T
        >>> mx.autograd.get_symbol(y).infer_shape(var0=(4, 5))
        ([(4, 5)], [(5, 4)], [])
        """
        given = {name: tuple(shape) for name, shape in shapes.items()}
        arguments, outputs = self._infer(given, {})
        return [spec.shape for spec in arguments], [spec.shape for spec in outputs], []

    def infer_type(self, **types: object) -> tuple[list[type], list[type], list[type]]:
        """Dtypes of arguments and outputs for given dtypes of some arguments.

        See :meth:`infer_shape`.
        """
        given = {name: dtypes.resolve(dtype, "infer_type", name) for name, dtype in types.items()}
        arguments, outputs = self._infer({}, given)
        return [spec.dtype.type for spec in arguments], [spec.dtype.type for spec in outputs], []

    def _infer(
        self, shapes: dict[str, tuple[int, ...]], types: dict[str, np.dtype]
    ) -> tuple[list[Spec], list[Spec]]:
        self._check_names((*shapes, *types))
        specs: dict[Entry, Spec] = {}
        for place in self._needed:
            node = self._nodes[place]
            if node.is_argument:
                (recorded,) = node.outputs
                shape = shapes.get(node.name, recorded.shape)
                outputs = [Spec(shape, types.get(node.name, recorded.dtype))]
            else:
                outputs = self._infer_outputs(node, [specs[entry] for entry in node.inputs])
            specs.update(((place, index), spec) for index, spec in enumerate(outputs))
        arguments = [specs[place, 0] for place in self._needed if self._nodes[place].is_argument]
        return arguments, [specs[head] for head in self._heads]

    def _infer_outputs(self, node: _SymbolNode, inputs: list[Spec]) -> list[Spec]:
        if inputs == [self._nodes[place].outputs[index] for place, index in node.inputs]:
            return list(node.outputs)
        if node.op is None:
            raise AutogradError(
                f"infer_shape: the outputs of {node.name} are known for the recorded shapes and dtypes "
                f"of its inputs only, because {node.op_name} is an autograd.Function, or a checkpoint"
            )
        # Only the ops know their shapes; arrays of any content will do to ask them.
        recording = set_recording(False)
        try:
            arrays = [array.empty(spec.shape, spec.dtype, node.context) for spec in inputs]
            return [Spec(result.shape, result._view.dtype) for result in _apply(node, arrays)]
        finally:
            set_recording(recording)

    def _check_names(self, given: Iterable[str]) -> None:
        names = self.list_arguments()
        for name in given:
            if name not in names:
                raise OperatorTypeError(
                    f"Symbol: no argument is named {name!r}; accepted: {', '.join(names)}"
                )

    # Running

    def eval(self, ctx: Context | None = None, **arrays: NDArray) -> list[NDArray]:
        """Apply the graph's ops to arrays.

        Recorded like any computation where recording is on. Random ops repeat the recorded draw.

        Parameters
        ----------
        ctx : Context, optional
            Where to compute; by default where the arrays are.
        **arrays : NDArray
            The value of every argument, by name, constants included.

        Returns
        -------
        list of NDArray
            The value of each output.

        Raises
        ------
        OperatorTypeError
            An argument is missing, unknown or not an NDArray.
        OperatorError
            An op does not accept the arrays.
        AutogradError
            The graph contains an ``autograd.Function``, or a write to a part of an array.

        Examples
        --------
        >>> import clgrad as mx
        >>> x = mx.nd.ones((2,))
        >>> x.attach_grad()
        >>> with mx.autograd.record():
        ...     y = x * x
        >>> mx.autograd.get_symbol(y).eval(var0=mx.nd.array([3, 4]))[0].asnumpy()
        array([ 9., 16.], dtype=float32)
        """
        self._check_arrays(arrays)
        uses = Counter(self._heads)
        uses.update(entry for place in self._needed for entry in self._nodes[place].inputs)
        values: dict[Entry, NDArray] = {}
        for place in self._needed:
            node = self._nodes[place]
            if node.is_argument:
                value = arrays[node.name]
                results = [value if ctx is None else as_in_context(value, ctx)]
            else:
                results = _apply(node, [values[entry] for entry in node.inputs])
            values.update(((place, index), result) for index, result in enumerate(results))
            # Let go of what nothing reads any more, as the recorded program would have.
            for entry in (*node.inputs, *((place, index) for index in range(len(results)))):
                uses[entry] -= entry in node.inputs
                if uses[entry] <= 0:
                    values.pop(entry, None)
        return [values[head] for head in self._heads]

    def _check_arrays(self, arrays: dict[str, NDArray]) -> None:
        self._check_names(arrays)
        for name in self.list_arguments():
            if name not in arrays:
                raise OperatorTypeError(
                    f"Symbol.eval: argument {name!r} is missing; accepted: an NDArray for each of "
                    f"{', '.join(self.list_arguments())}"
                )
            if not isinstance(arrays[name], NDArray):
                raise OperatorTypeError(
                    f"Symbol.eval: argument {name!r} is {type(arrays[name]).__name__}; accepted: NDArray"
                )

    # Text

    def tojson(self) -> str:
        """The graph in the layout of MXNet's symbol files; op names and attributes are clgrad's.

        ``nodes`` come inputs first, each with its inputs as [position, output index, 0];
        ``arg_nodes`` are the positions of the arguments, ``node_row_ptr`` counts the outputs before
        each node, and ``heads`` are the outputs.
        """
        places = {place: i for i, place in enumerate(self._needed)}
        nodes = [self._nodes[place] for place in self._needed]
        described = []
        for node in nodes:
            inputs = [[places[place], index, 0] for place, index in node.inputs]
            attrs = {"attrs": node.texts} if node.attributes else {}
            described.append({"op": node.op_name, "name": node.name, **attrs, "inputs": inputs})
        rest = {
            "arg_nodes": [i for i, node in enumerate(nodes) if node.is_argument],
            "node_row_ptr": list(accumulate((len(node.outputs) for node in nodes), initial=0)),
            "heads": [[places[place], index, 0] for place, index in self._heads],
            "attrs": {"framework": ["str", "clgrad"]},
        }
        node_lines = ",\n    ".join(json.dumps(node) for node in described)
        entries = [f'"nodes": [\n    {node_lines}\n  ]']
        entries += [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in rest.items()]
        return "{\n  " + ",\n  ".join(entries) + "\n}"

    def __repr__(self) -> str:
        if self.name is not None:
            return f"<Symbol {self.name}>"
        return f"<Symbol group [{', '.join(self._nodes[place].name for place, _ in self._heads)}]>"

    def __str__(self) -> str:
        rows = []
        for place in self._needed:
            node = self._nodes[place]
            specs = ", ".join(f"{spec.shape} {spec.dtype}" for spec in node.outputs)
            rows.append((self._assignment(node), specs))
        width = max((len(left) for left, _ in rows), default=0)
        lines = [f"{left:{width}}  {right}" for left, right in rows]
        return "\n".join([*lines, f"outputs: {', '.join(self.list_outputs())}"])

    def _assignment(self, node: _SymbolNode) -> str:
        if node.is_argument:
            return node.name
        pairs = [
            f"{parameter}={self._value_name(entry)}"
            for parameter, entry in zip(node.parameters, node.inputs, strict=True)
        ]
        pairs += [f"{key}={value}" for key, value in node.attributes.items()]
        return f"{node.name} = {node.op_name}({', '.join(pairs)})"

    def _value_name(self, entry: Entry) -> str:
        place, index = entry
        node = self._nodes[place]
        return node.name if len(node.outputs) == 1 else f"{node.name}[{index}]"

    def debug_str(self) -> str:
        """The graph in the layout of MXNet's ``debug_str``: a paragraph for each node."""
        lines = ["Symbol Outputs:"]
        for i, (place, index) in enumerate(self._heads):
            lines.append(f"\toutput[{i}]={self._nodes[place].name}({index})")
        for place in self._needed:
            node = self._nodes[place]
            if node.is_argument:
                lines.append(f"Variable:{node.name}")
                continue
            lines += ["-" * 20, f"Op:{node.op_name}, Name={node.name}", "Inputs:"]
            for i, (parent, index) in enumerate(node.inputs):
                lines.append(f"\targ[{i}]={self._nodes[parent].name}({index})")
            if node.attributes:
                lines.append("Attrs:")
                lines += [f"\t{key}={value}" for key, value in node.texts.items()]
        return "\n".join(lines) + "\n"


def _apply(node: _SymbolNode, inputs: list[NDArray]) -> list[NDArray]:
    """The results of one op."""
    if node.op is None:
        raise AutogradError(
            f"Symbol.eval: {node.name} cannot be applied again, because {node.op_name} is an "
            "autograd.Function, whose objects are used once, or a checkpoint; call it anew instead"
        )
    whole = node.attributes.get("size") == node.attributes.get("shape")
    if node.op_name == "_write_at" or (node.op_name == "_slice_assign" and not whole):
        raise AutogradError(
            f"Symbol.eval: {node.name} wrote to a part of an array, and the graph does not hold "
            "the rest; assemble the array with concat instead"
        )
    result = node.op.apply(node.parameters, inputs, dict(node.attributes))
    return list(result) if isinstance(result, list | tuple) else [result]
