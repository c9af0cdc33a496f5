"""Graphs of ops as a :class:`Symbol`: ops, attributes and shapes, but no arrays."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from clgrad import dtypes, files
from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.ops.conversion import as_in_context
from clgrad.registry import Spec
from clgrad.symbol import catalogue, inference
from clgrad.symbol.nodes import Argument, Entry, Node, Recorded

#: The version of MXNet whose files graphs are written as.
_VERSION = 10901


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

    def __init__(self, heads: Iterable[Entry]):
        self._heads = list(heads)

    @cached_property
    def _nodes(self) -> list[Node]:
        """The nodes that the outputs depend on, inputs first, in MXNet's order. Does not recurse."""
        found: dict[Node, None] = {}
        stack = [node for node, _ in reversed(self._heads)]
        while stack:
            node = stack[-1]
            pending = [parent for parent, _ in node.inputs if parent not in found]
            if pending:
                stack.extend(reversed(pending))
                continue
            found[stack.pop()] = None
        return list(found)

    @property
    def name(self) -> str | None:
        """Name of the node whose outputs these are; None where there are several."""
        names = {node.name for node, _ in self._heads}
        return names.pop() if len(names) == 1 else None

    def list_arguments(self) -> list[str]:
        """Names of the variables and constants that the outputs depend on."""
        return [node.name for node in self._arguments if node not in self._auxiliary]

    @cached_property
    def _arguments(self) -> list[Argument]:
        return [node for node in self._nodes if isinstance(node, Argument)]

    @cached_property
    def _auxiliary(self) -> set[Node]:
        """The arguments that ops write to."""
        return {
            source
            for node in self._nodes
            for parameter, (source, _) in zip(node.parameters, node.inputs, strict=True)
            if parameter in catalogue.AUXILIARY and source.is_argument
        }

    def list_auxiliary_states(self) -> list[str]:
        """Names of the variables that ops write to: moving averages of ``BatchNorm``.

        In a recorded graph there are none: a moving average is an argument like any other.
        """
        return [node.name for node in self._arguments if node in self._auxiliary]

    def list_inputs(self) -> list[str]:
        """Names of all variables and constants, auxiliary states included."""
        return [node.name for node in self._arguments]

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return [node.output_name(index) for node, index in self._heads]

    def get_internals(self) -> "Symbol":
        """Every value of the graph as an output: ``symbol.get_internals()["exp0_output"]``."""
        return Symbol((node, index) for node in self._nodes for index in range(node.count))

    def get_children(self) -> "Symbol | None":
        """The values that the nodes of these outputs read, as outputs; None of arguments."""
        nodes = dict.fromkeys(node for node, _ in self._heads)
        inputs = [entry for node in nodes for entry in node.inputs]
        return Symbol(inputs) if inputs else None

    def __len__(self) -> int:
        return len(self._heads)

    def __iter__(self) -> Iterator["Symbol"]:
        return (Symbol([head]) for head in self._heads)

    def __getitem__(self, key: int | str | slice) -> "Symbol":
        if isinstance(key, str):
            names = self.list_outputs()
            if names.count(key) != 1:
                raise OperatorError(f"Symbol: no output is named {key!r}; accepted: {', '.join(names)}")
            key = names.index(key)
        return Symbol(self._heads[key] if isinstance(key, slice) else [self._heads[key]])

    def __call__(self, **symbols: "Symbol") -> "Symbol":
        """The graph with other symbols in the place of some arguments.

        Examples
        --------
        >>> import clgrad as mx
        >>> x, y = mx.sym.var("x"), mx.sym.var("y")
        >>> mx.sym.exp(x, name="e")(x=y).list_inputs()
        ['y']
        """
        self.check_names(symbols)
        for name, symbol in symbols.items():
            if not isinstance(symbol, Symbol) or len(symbol) != 1:
                raise OperatorTypeError(
                    f"Symbol: argument {name!r} is {symbol!r}; accepted: a Symbol of one output"
                )
        entries: dict[Entry, Entry] = {}
        for node in self._nodes:
            if node.is_argument and node.name in symbols:
                entries[node, 0] = symbols[node.name]._heads[0]
                continue
            inputs = tuple(entries[entry] for entry in node.inputs)
            other = node if inputs == node.inputs else node.with_inputs(inputs)
            entries.update(((node, index), (other, index)) for index in range(node.count))
        return Symbol(entries[head] for head in self._heads)

    def attr(self, key: str) -> str | None:
        """An attribute of the node whose outputs these are, as a string; None if there is none."""
        return self.list_attr().get(key)

    def list_attr(self) -> dict[str, str]:
        """The attributes of the node whose outputs these are."""
        return self.attr_dict().get(self.name or "", {})

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """The attributes of every node that has some, by the node's name."""
        return {node.name: node.texts for node in self._nodes if node.attributes}

    # Shapes and dtypes

    def infer_shape(
        self, *args: tuple[int, ...] | None, **kwargs: tuple[int, ...]
    ) -> tuple[list, list, list]:
        """Shapes of arguments and outputs for given shapes of some arguments.

        Where they are not the recorded ones, the ops are applied to arrays of these shapes.

        Parameters
        ----------
        *args : tuple of int, or None
            Shapes of the arguments in the order of :meth:`list_arguments`; None where unknown.
        **kwargs : tuple of int
            Or the shape of each argument that differs from the recorded one, by name.

        Returns
        -------
        (arg_shapes, out_shapes, aux_shapes)
            In the order of :meth:`list_arguments`, :meth:`list_outputs` and :meth:`list_auxiliary_states`.

        Raises
        ------
        OperatorTypeError
            No argument has the name, or shapes are given both ways.
        OperatorError
            An op does not accept the shapes, or some do not follow.
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
        return self._sorted(inference.infer(self, self._shapes(args, kwargs), {}), lambda spec: spec.shape)

    def infer_shape_partial(
        self, *args: tuple[int, ...] | None, **kwargs: tuple[int, ...]
    ) -> tuple[list, list, list]:
        """What :meth:`infer_shape` gives, with () for shapes that do not follow.

        Examples
        --------
        >>> import clgrad as mx
        >>> y = mx.sym.FullyConnected(mx.sym.var("x"), num_hidden=4, no_bias=True, name="fc")
        >>> y.infer_shape_partial()
        ([(), ()], [()], [])
        """
        specs = inference.infer(self, self._shapes(args, kwargs), {}, partial=True)
        return self._sorted(specs, lambda spec: spec.shape, unknown=())

    def _shapes(self, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        return {name: tuple(shape) for name, shape in self._named(args, kwargs, "infer_shape").items()}

    def _named(self, args: tuple, kwargs: Mapping[str, Any], method: str) -> dict[str, Any]:
        """What is given of arguments, by name: in their order, or by name already."""
        names = self.list_arguments()
        if args and kwargs:
            raise OperatorTypeError(f"{method}: given in order and by name; accepted: one of both")
        if len(args) > len(names):
            raise OperatorTypeError(f"{method}: {len(args)} given; accepted: {', '.join(names)}")
        given = dict(zip(names, args, strict=False)) if args else kwargs
        return {name: value for name, value in given.items() if value is not None}

    def infer_type(self, *args: Any, **kwargs: Any) -> tuple[list[type], list[type], list[type]]:
        """Dtypes of arguments and outputs for given dtypes of some arguments.

        The shapes must be known as well: see :meth:`infer_shape`.
        """
        named = self._named(args, kwargs, "infer_type").items()
        given = {name: dtypes.resolve(dtype, "infer_type", name) for name, dtype in named}
        return self._sorted(inference.infer(self, {}, given), lambda spec: spec.dtype.type)

    def _sorted(
        self, specs: dict[Entry, Spec], what: Callable[[Spec], Any], unknown: Any = None
    ) -> tuple[list, list, list]:
        """What is asked of the values: those of arguments, of outputs, and of auxiliary states."""

        def ask(entries: Iterable[Entry]) -> list:
            return [what(specs[entry]) if entry in specs else unknown for entry in entries]

        states = ask((node, 0) for node in self._arguments if node in self._auxiliary)
        others = ask((node, 0) for node in self._arguments if node not in self._auxiliary)
        return others, ask(self._heads), states

    def check_names(self, given: Iterable[str]) -> None:
        """Raise where a name is none of an argument's."""
        names = self.list_inputs()
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
        if ctx is not None:
            arrays = {name: as_in_context(value, ctx) for name, value in arrays.items()}
        return self.evaluate(arrays)

    def evaluate(self, arrays: Mapping[str, NDArray]) -> list[NDArray]:
        """Apply the graph's ops to arrays, of which there is one for every argument."""
        uses = Counter(self._heads)
        uses.update(entry for node in self._nodes for entry in node.inputs)
        values: dict[Entry, NDArray] = {}
        for node in self._nodes:
            if node.is_argument:
                results = [arrays[node.name]]
            else:
                results = node.run([values[entry] for entry in node.inputs])
            values.update(((node, index), result) for index, result in enumerate(results))
            # Let go of what nothing reads any more, as the recorded program would have.
            for entry in (*node.inputs, *((node, index) for index in range(len(results)))):
                uses[entry] -= entry in node.inputs
                if uses[entry] <= 0:
                    values.pop(entry, None)
        return [values[head] for head in self._heads]

    def _check_arrays(self, arrays: dict[str, NDArray]) -> None:
        self.check_names(arrays)
        for name in self.list_inputs():
            if name not in arrays:
                raise OperatorTypeError(
                    f"Symbol.eval: argument {name!r} is missing; accepted: an NDArray for each of "
                    f"{', '.join(self.list_inputs())}"
                )
            if not isinstance(arrays[name], NDArray):
                raise OperatorTypeError(
                    f"Symbol.eval: argument {name!r} is {type(arrays[name]).__name__}; accepted: NDArray"
                )

    # Text

    def tojson(self) -> str:
        """The graph in the layout of MXNet's symbol files.

        Of a recorded graph, op names and attributes are clgrad's; other graphs MXNet reads.

        ``nodes`` come inputs first, each with its inputs as [position, output index, 0];
        ``arg_nodes`` are the positions of the arguments, ``node_row_ptr`` counts the outputs before
        each node, and ``heads`` are the outputs.
        """
        places = {node: i for i, node in enumerate(self._nodes)}
        described = []
        for node in self._nodes:
            inputs = [[places[source], index, 0] for source, index in node.inputs]
            attrs = {"attrs": node.texts} if node.texts else {}
            described.append({"op": node.op_name, "name": node.name, **attrs, "inputs": inputs})
        own = any(isinstance(node, Recorded) for node in self._nodes)
        rest = {
            "arg_nodes": [i for i, node in enumerate(self._nodes) if node.is_argument],
            "node_row_ptr": list(accumulate((node.count for node in self._nodes), initial=0)),
            "heads": [[places[node], index, 0] for node, index in self._heads],
            "attrs": {"framework": ["str", "clgrad"]} if own else {"mxnet_version": ["int", _VERSION]},
        }
        node_lines = ",\n    ".join(json.dumps(node) for node in described)
        entries = [f'"nodes": [\n    {node_lines}\n  ]']
        entries += [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in rest.items()]
        return "{\n  " + ",\n  ".join(entries) + "\n}"

    def save(self, fname: str | os.PathLike, remove_amp_cast: bool = True) -> None:
        """Write :meth:`tojson` to a file, whole or not at all.

        Parameters
        ----------
        fname : str or path
        remove_amp_cast : bool, default True
            Accepted for MXNet's sake.
        """
        files.replace(Path(fname), self.tojson().encode())

    def __repr__(self) -> str:
        if self.name is not None:
            return f"<Symbol {self.name}>"
        return f"<Symbol group [{', '.join(node.name for node, _ in self._heads)}]>"

    def __str__(self) -> str:
        rows = []
        for node in self._nodes:
            specs = ", ".join(f"{spec.shape} {spec.dtype}" for spec in node.outputs or ())
            rows.append((_assignment(node), specs))
        width = max((len(left) for left, _ in rows), default=0)
        lines = [f"{left:{width}}  {right}".rstrip() for left, right in rows]
        return "\n".join([*lines, f"outputs: {', '.join(self.list_outputs())}"])

    def debug_str(self) -> str:
        """The graph in the layout of MXNet's ``debug_str``: a paragraph for each node."""
        lines = ["Symbol Outputs:"]
        for i, (node, index) in enumerate(self._heads):
            lines.append(f"\toutput[{i}]={node.name}({index})")
        for node in self._nodes:
            if node.is_argument:
                lines.append(f"Variable:{node.name}")
                continue
            lines += ["-" * 20, f"Op:{node.op_name}, Name={node.name}", "Inputs:"]
            for i, (parent, index) in enumerate(node.inputs):
                lines.append(f"\targ[{i}]={parent.name}({index})")
            if node.attributes:
                lines.append("Attrs:")
                lines += [f"\t{key}={value}" for key, value in node.texts.items()]
        return "\n".join(lines) + "\n"


def _assignment(node: Node) -> str:
    if node.is_argument:
        return node.name
    pairs = [f"{p}={_value_name(e)}" for p, e in zip(node.parameters, node.inputs, strict=True)]
    pairs += [f"{key}={value}" for key, value in node.attributes.items()]
    return f"{node.name} = {node.op_name}({', '.join(pairs)})"


def _value_name(entry: Entry) -> str:
    node, index = entry
    return node.name if node.count == 1 else f"{node.name}[{index}]"
