"""Shapes and dtypes of a graph's values, and of parameters whose shapes follow from the data's."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad import array, dtypes
from clgrad.errors import AutogradError, OperatorError, argument_error
from clgrad.registry import Spec
from clgrad.symbol.nodes import Argument, Call, Entry, Node, Recorded
from clgrad.tape import set_recording, set_training

Shape = tuple[int, ...]


def is_known(shape: Shape | None) -> bool:
    """Whether a shape has no unknown sizes, which are written as 0 or -1 in arguments."""
    return shape is not None and all(n > 0 for n in shape)


def infer(
    symbol: Any, shapes: dict[str, Shape], types: dict[str, np.dtype], only_arguments: bool = False
) -> dict[Entry, Spec]:
    """Shape and dtype of each value of a symbol's graph, for those of some arguments.

    Parameters
    ----------
    symbol : Symbol
    shapes, types : dict
        What differs from what the graph says, or what it does not say.
    only_arguments : bool, default False
        Stop as soon as the arguments are known.

    Raises
    ------
    OperatorTypeError
        No argument has the name.
    OperatorError
        An op does not accept the shapes, or they do not say all.
    AutogradError
        The shapes of a Function's inputs are not the recorded ones.
    """
    symbol.check_names((*shapes, *types))
    specs: dict[Entry, Spec] = {}
    #: Arguments whose shapes are still to be found out.
    pending: set[Argument] = set()
    for node in symbol._arguments:
        shape = shapes.get(node.name, node.shape)
        recorded = node.outputs is not None or node.name in shapes
        if recorded or is_known(shape):
            specs[node, 0] = Spec(shape, types.get(node.name) or node.dtype or dtypes.float32)
        else:
            pending.add(node)
    for node in symbol._nodes:
        if only_arguments and not pending:
            break
        if node.is_argument:
            continue
        for source, _ in node.inputs:
            if source in pending:
                _learn(node, specs, pending, types)
                break
        missing = [source.name for source, index in node.inputs if (source, index) not in specs]
        if missing:
            raise OperatorError(
                f"infer_shape: the shape of {', '.join(missing)} does not follow from the others; give it"
            )
        outputs = _outputs(node, [specs[entry] for entry in node.inputs])
        specs.update(((node, index), spec) for index, spec in enumerate(outputs))
    if pending:
        raise OperatorError(
            f"infer_shape: the shape of {', '.join(node.name for node in pending)} is not known; give it"
        )
    return specs


def infer_arguments(symbol: Any, shapes: dict[str, Shape], types: dict[str, np.dtype]) -> dict[str, Spec]:
    """Shape and dtype of each argument by name, as far as they have to be found out: see :func:`infer`."""
    specs = infer(symbol, shapes, types, only_arguments=True)
    return {node.name: spec for (node, _), spec in specs.items() if node.is_argument}


def _learn(
    node: Node, specs: dict[Entry, Spec], pending: set[Argument], types: dict[str, np.dtype]
) -> None:
    """Find shapes of a call's parameters by those of its data."""
    rule = _RULES.get(node.kind.key) if isinstance(node, Call) else None
    inputs = dict(zip(node.parameters, node.inputs, strict=True))
    known = {name: specs[entry] for name, entry in inputs.items() if entry in specs}
    if rule is None or not known:
        return
    first = next(iter(known.values()))
    for name, shape in rule({name: spec.shape for name, spec in known.items()}, node.attributes).items():
        source = inputs.get(name, (None, 0))[0]
        if isinstance(source, Argument) and source in pending:
            if source.shape is not None and not _agree(source.shape, shape):
                raise argument_error(node.name, name, f"of shape {source.shape}", f"shape {shape}")
            pending.discard(source)
            specs[source, 0] = Spec(shape, types.get(source.name) or source.dtype or first.dtype)


def _agree(partial: Shape, shape: Shape) -> bool:
    return len(partial) == len(shape) and all(a in (0, -1, b) for a, b in zip(partial, shape, strict=True))


def _outputs(node: Node, inputs: list[Spec]) -> list[Spec]:
    recorded = [None if source.outputs is None else source.outputs[index] for source, index in node.inputs]
    if node.outputs is not None and inputs == recorded:
        return list(node.outputs)
    if isinstance(node, Recorded) and node.op is None:
        raise AutogradError(
            f"infer_shape: the outputs of {node.name} are known for the recorded shapes and dtypes "
            f"of its inputs only, because {node.op_name} is an autograd.Function, or a checkpoint"
        )
    # Only the ops know their shapes; arrays of any content will do to ask them.
    recording, training = set_recording(False), set_training(False)
    try:
        arrays = [array.empty(spec.shape, spec.dtype, node.context) for spec in inputs]
        return [Spec(result.shape, result._view.dtype) for result in node.run(arrays)]
    finally:
        set_recording(recording)
        set_training(training)


# Parameters by data


def _sizes(attributes: dict[str, Any], name: str) -> Shape:
    value = attributes.get(name, ())
    return (value,) if isinstance(value, int) else tuple(value)


def _data(shapes: dict[str, Shape]) -> Shape:
    shape = shapes.get("data")
    if not shape:
        raise argument_error("infer_shape", "data", f"of shape {shape}", "one axis or more, and known")
    return shape


def _linear(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
    data, units = _data(shapes), int(attributes["num_hidden"])
    inputs = math.prod(data[1:]) if attributes.get("flatten", True) else data[-1]
    return {"weight": (units, inputs), "bias": (units,)}


def _kernel(shapes: dict[str, Shape], attributes: dict[str, Any]) -> Shape:
    data, kernel = _data(shapes), _sizes(attributes, "kernel")
    if len(data) != len(kernel) + 2:
        axes = f"{len(kernel) + 2} axes, to go with the kernel {kernel}"
        raise argument_error("infer_shape", "data", f"of shape {data}", axes)
    return kernel


def _convolution(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
    kernel, filters = _kernel(shapes, attributes), int(attributes["num_filter"])
    channels = _data(shapes)[1] // int(attributes.get("num_group", 1))
    return {"weight": (filters, channels, *kernel), "bias": (filters,)}


def _deconvolution(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
    kernel, filters = _kernel(shapes, attributes), int(attributes["num_filter"])
    each = filters // int(attributes.get("num_group", 1))
    return {"weight": (_data(shapes)[1], each, *kernel), "bias": (filters,)}


def _vectors(default_axis: int) -> Callable[[dict[str, Shape], dict[str, Any]], dict[str, Shape]]:
    """Of normalisation: one number for each place along an axis."""

    def rule(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
        data, axis = _data(shapes), int(attributes.get("axis", default_axis))
        if not -len(data) <= axis < len(data):
            accepted = f"a shape that has the axis {axis}"
            raise argument_error("infer_shape", "data", f"of shape {data}", accepted)
        return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_var"), (data[axis],))

    return rule


def _groups(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
    return dict.fromkeys(("gamma", "beta"), (int(attributes.get("num_groups", 1)),))


def _embedding(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
    return {"weight": (int(attributes["input_dim"]), int(attributes["output_dim"]))}


def _slopes(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
    data = _data(shapes)
    return {"gamma": data[1:2] or data}


def _alike(names: Sequence[str]) -> Callable[[dict[str, Shape], dict[str, Any]], dict[str, Shape]]:
    """Of elementwise ops that do not broadcast: all as the one that is known."""

    def rule(shapes: dict[str, Shape], attributes: dict[str, Any]) -> dict[str, Shape]:
        return dict.fromkeys(names, next(iter(shapes.values())))

    return rule


_RULES: dict[str, Callable[[dict[str, Shape], dict[str, Any]], dict[str, Shape]]] = {
    "FullyConnected": _linear,
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "BatchNorm": _vectors(1),
    "contrib.BatchNormWithReLU": _vectors(1),
    "contrib.SyncBatchNorm": _vectors(1),
    "LayerNorm": _vectors(-1),
    "InstanceNorm": _vectors(1),
    "GroupNorm": _groups,
    "Embedding": _embedding,
    "LeakyReLU": _slopes,
    **dict.fromkeys(
        ("elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div"), _alike(("lhs", "rhs"))
    ),
}
