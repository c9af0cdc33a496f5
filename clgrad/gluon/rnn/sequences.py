"""Sequences as one array or as a list of its steps, cut to their lengths, and backwards."""

from collections.abc import Sequence
from typing import Any

from clgrad import nd, symbol
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.symbol import Symbol

#: Sequences, of arrays or of symbols: one, or a list of its steps.
Steps = Any
ARRAYS = (NDArray, Symbol)


def namespace(value: Any) -> Any:
    """Where the ops for an array, a symbol, or a list of either are."""
    return symbol if isinstance(value[0] if isinstance(value, list | tuple) else value, Symbol) else nd


def time_axis(layout: str) -> int:
    """Which axis of an array counts the steps."""
    if layout not in ("NTC", "TNC"):
        raise argument_error("unroll", "layout", repr(layout), "NTC, TNC")
    return layout.index("T")


def steps_of(length: int | None, inputs: Steps, axis: int) -> list:
    """A sequence as the list of its steps.

    Raises
    ------
    OperatorError
        It has not ``length`` steps.
    """
    if isinstance(inputs, Symbol):
        steps = _parts(inputs, length, axis)
    elif isinstance(inputs, NDArray):
        if inputs.ndim <= axis:
            accepted = "an axis of steps and one of samples"
            raise argument_error("unroll", "inputs", f"of shape {inputs.shape}", accepted)
        steps = parted(inputs, axis)
    elif isinstance(inputs, list | tuple) and all(isinstance(step, NDArray | Symbol) for step in inputs):
        steps = list(inputs)
    else:
        given = type(inputs).__name__
        raise OperatorTypeError(f"unroll: inputs is {given}; accepted: an NDArray, or a list of them")
    if not steps or length not in (None, len(steps)):
        raise argument_error("unroll", "length", length, f"{len(steps)}, as many steps as inputs has")
    return steps


def _parts(sequence: Symbol, length: int | None, axis: int) -> list[Symbol]:
    """The steps of a symbol, which does not know how many there are."""
    if length is None:
        raise argument_error("unroll", "length", None, "the number of steps, of a symbol")
    if length == 1:
        return [symbol.squeeze(sequence, axis=axis)]
    return list(symbol.split(sequence, num_outputs=length, axis=axis, squeeze_axis=True))


def parted(array: Steps, axis: int, length: int | None = None) -> list:
    """The steps of an array, or of a symbol of this length."""
    if isinstance(array, Symbol):
        return _parts(array, length, axis)
    count = array.shape[axis]
    if count == 1:
        return [array.squeeze(axis=axis)]
    return list(nd.split(array, num_outputs=count, axis=axis, squeeze_axis=True))


def joined(steps: Steps, axis: int) -> Any:
    """A sequence as one array."""
    return steps if isinstance(steps, ARRAYS) else namespace(steps).stack(*steps, axis=axis)


def arranged(steps: Steps, axis: int, merge: bool | None, length: int | None = None) -> Steps:
    """A sequence as one array (True), as a list (False), or as it is (None)."""
    if merge is None:
        return steps
    if merge:
        return joined(steps, axis)
    return parted(steps, axis, length) if isinstance(steps, ARRAYS) else steps


def masked(steps: Steps, lengths: Any, axis: int) -> Any:
    """A sequence as one array, with 0 behind the length of each sample."""
    whole = joined(steps, axis)
    return namespace(whole).SequenceMask(whole, lengths, use_sequence_length=True, axis=axis)


def backwards(steps: list, lengths: Any) -> list:
    """The steps in reverse; of each sample only those within its length, which stay in front."""
    if lengths is None:
        return steps[::-1]
    reverse = namespace(steps).SequenceReverse(joined(steps, 0), lengths, use_sequence_length=True)
    return parted(reverse, 0, len(steps))


def last(states: Sequence[list], lengths: Any) -> list:
    """Of lists of states, one for each step, those of each sample's last step."""
    return [
        namespace(steps).SequenceLast(joined(steps, 0), lengths, use_sequence_length=True)
        for steps in zip(*states, strict=True)
    ]
