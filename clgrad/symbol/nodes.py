"""What a symbol's graph is made of: arguments, recorded ops, and calls of ops that were composed."""

from collections.abc import Sequence
from typing import Any

from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.errors import AutogradError
from clgrad.registry import Operator, Spec
from clgrad.symbol import catalogue

#: A value of the graph: a node, and which of its outputs.
Entry = tuple["Node", int]


class Node:
    """An argument or an op. Nodes refer to those that they read, and are never changed.

    Attributes
    ----------
    name, op_name : str
        ``op_name`` is ``'null'`` for an argument, as in MXNet.
    parameters : tuple of str
        Parameter of the op that each input stands for.
    attributes : dict
        Values of the op's other parameters.
    inputs : tuple of (Node, int)
    outputs : tuple of Spec, or None
        Shapes and dtypes, where they are known.
    count : int
        Number of outputs.
    context : Context or None
        Where a recorded op ran.
    """

    __slots__ = ("attributes", "count", "inputs", "name", "op_name", "outputs", "parameters")

    is_argument = False
    context: Context | None = None

    def __init__(
        self,
        name: str,
        op_name: str,
        parameters: Sequence[str] = (),
        attributes: dict[str, Any] | None = None,
        inputs: Sequence[Entry] = (),
        outputs: Sequence[Spec] | None = None,
        count: int = 1,
    ):
        self.name = name
        self.op_name = op_name
        self.parameters = tuple(parameters)
        self.attributes = attributes or {}
        self.inputs = tuple(inputs)
        self.outputs = None if outputs is None else tuple(outputs)
        self.count = count if outputs is None else len(outputs)

    @property
    def texts(self) -> dict[str, str]:
        """The attributes as MXNet has them: strings."""
        return {key: catalogue.text(value) for key, value in self.attributes.items()}

    def output_name(self, index: int) -> str:
        """MXNet's name of an output."""
        if self.is_argument:
            return self.name
        return f"{self.name}_output{index if self.count > 1 else ''}"

    def with_inputs(self, inputs: Sequence[Entry]) -> "Node":
        """The same op on other inputs."""
        raise NotImplementedError

    def run(self, arrays: Sequence[NDArray]) -> list[NDArray]:
        """The results of the op."""
        raise NotImplementedError


class Argument(Node):
    """A value that the graph is given.

    Parameters
    ----------
    name : str
    spec : Spec, optional
        Shape and dtype, where both are known.
    shape : tuple of int, optional
        What is known of the shape: 0 and -1 stand for unknown sizes.
    dtype : numpy.dtype, optional
    attributes : dict of str, optional
        Texts that are written with the graph.
    """

    __slots__ = ("dtype", "shape")

    is_argument = True

    def __init__(self, name: str, spec: Spec | None = None, shape=None, dtype=None, attributes=None):
        super().__init__(name, "null", attributes=attributes, outputs=None if spec is None else (spec,))
        self.shape = shape if spec is None else spec.shape
        self.dtype = dtype if spec is None else spec.dtype


class Recorded(Node):
    """An op from the tape; ``op`` is None for a Function or a checkpoint, which cannot be applied again."""

    __slots__ = ("context", "op")

    def __init__(self, op: Operator | None, context: Context | None, *args: Any):
        super().__init__(*args)
        self.op = op
        self.context = context

    def with_inputs(self, inputs: Sequence[Entry]) -> Node:
        """The same op on other inputs, of which it is not known what they give."""
        node = Recorded(
            self.op, self.context, self.name, self.op_name, self.parameters, self.attributes, inputs
        )
        node.count = self.count
        return node

    def run(self, arrays: Sequence[NDArray]) -> list[NDArray]:
        """The results of the op, as it was recorded."""
        if self.op is None:
            raise AutogradError(
                f"Symbol.eval: {self.name} cannot be applied again, because {self.op_name} is an "
                "autograd.Function, whose objects are used once, or a checkpoint; call it anew instead"
            )
        whole = self.attributes.get("size") == self.attributes.get("shape")
        if self.op_name == "_write_at" or (self.op_name == "_slice_assign" and not whole):
            raise AutogradError(
                f"Symbol.eval: {self.name} wrote to a part of an array, and the graph does not hold "
                "the rest; assemble the array with concat instead"
            )
        result = self.op.apply(self.parameters, arrays, dict(self.attributes))
        return list(result) if isinstance(result, list | tuple) else [result]


class Call(Node):
    """A call of one of ``nd``'s ops, by its name in MXNet's graphs."""

    __slots__ = ()

    def with_inputs(self, inputs: Sequence[Entry]) -> Node:
        """The same call on other inputs."""
        return Call(self.name, self.op_name, self.parameters, self.attributes, inputs, None, self.count)

    @property
    def texts(self) -> dict[str, str]:
        """The attributes as MXNet has them; where it takes any number of arrays, with their number."""
        if self.kind.variadic is None or self.kind.key not in catalogue.COUNTED:
            return super().texts
        return super().texts | {"num_args": str(len(self.inputs))}

    @property
    def kind(self) -> catalogue.Kind:
        """What is known of the op."""
        return catalogue.find(self.op_name)

    def run(self, arrays: Sequence[NDArray]) -> list[NDArray]:
        """The results of the call; of those that MXNet keeps to itself, none."""
        results = self.kind.call(self.parameters, arrays, self.attributes)
        return list(results)[: self.count] if isinstance(results, list | tuple) else [results]
