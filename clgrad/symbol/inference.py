"""Shapes and dtypes of a graph's values, and of parameters whose shapes follow from the data's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad import array, dtypes
from clgrad.errors import AutogradError, OperatorError, argument_error
from clgrad.registry import Spec
from clgrad.symbol.nodes import Argument, Call, Entry, Node, Recorded
from clgrad.symbol.outputs import OUTPUTS
from clgrad.symbol.parameters import PARAMETERS, Shape
from clgrad.tape import set_recording, set_training


def is_known(shape: Shape | None) -> bool:
    """Whether a shape has no unknown sizes, which are written as 0 or -1 in arguments."""
    return shape is not None and all(n > 0 for n in shape)


def infer(
    symbol: Any,
    shapes: dict[str, Shape],
    types: dict[str, np.dtype],
    only_arguments: bool = False,
    partial: bool = False,
) -> dict[Entry, Spec]:
    """Shape and dtype of each value of a symbol's graph, for those of some arguments.

    Parameters
    ----------
    symbol : Symbol
    shapes, types : dict
        What differs from what the graph says, or what it does not say.
    only_arguments : bool, default False
        Stop as soon as the arguments are known.
    partial : bool, default False
        Leave out what does not follow, instead of raising.

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
        if missing and partial:
            continue
        if missing:
            raise OperatorError(
                f"infer_shape: the shape of {', '.join(missing)} does not follow from the others; give it"
            )
        outputs = _outputs(node, [specs[entry] for entry in node.inputs])
        specs.update(((node, index), spec) for index, spec in enumerate(outputs))
    if pending and not partial:
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
    rule = PARAMETERS.get(node.kind.key) if isinstance(node, Call) else None
    inputs = dict(zip(node.parameters, node.inputs, strict=True))
    known = {name: specs[entry] for name, entry in inputs.items() if entry in specs}
    if rule is None or not known:
        return
    first = next(iter(known.values()))
    found = _ask(rule, {name: spec.shape for name, spec in known.items()}, node.attributes) or {}
    for name, shape in found.items():
        source = inputs.get(name, (None, 0))[0]
        if isinstance(source, Argument) and source in pending:
            if source.shape is not None and not _agree(source.shape, shape):
                raise argument_error(node.name, name, f"of shape {source.shape}", f"shape {shape}")
            pending.discard(source)
            specs[source, 0] = Spec(shape, types.get(source.name) or source.dtype or first.dtype)


def _ask(rule: Callable, inputs: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """What a rule says; None where attributes are missing or make no sense, which the op will say."""
    try:
        return rule(inputs, attributes)
    except OperatorError:
        raise
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


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
    rule = OUTPUTS.get(node.kind.key) if isinstance(node, Call) and node.count == 1 else None
    if rule is not None and all(len(s.shape) == 0 or min(s.shape) > 0 for s in inputs):
        found = _ask(rule, dict(zip(node.parameters, inputs, strict=True)), node.attributes)
        if found is not None:
            return [found]
    # Only the ops know their shapes; arrays of any content will do to ask them.
    recording, training = set_recording(False), set_training(False)
    try:
        arrays = [array.empty(spec.shape, spec.dtype, node.context) for spec in inputs]
        return [Spec(result.shape, result._view.dtype) for result in node.run(arrays)]
    finally:
        set_recording(recording)
        set_training(training)
