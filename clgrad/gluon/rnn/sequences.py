"""Sequences as one array or as a list of its steps, cut to their lengths, and backwards."""

from collections.abc import Sequence

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error

Steps = NDArray | list[NDArray]


def time_axis(layout: str) -> int:
    """Which axis of an array counts the steps."""
    if layout not in ("NTC", "TNC"):
        raise argument_error("unroll", "layout", repr(layout), "NTC, TNC")
    return layout.index("T")


def steps_of(length: int | None, inputs: NDArray | Sequence[NDArray], axis: int) -> list[NDArray]:
    """A sequence as the list of its steps.

    Raises
    ------
    OperatorError
        It has not ``length`` steps.
    """
    if isinstance(inputs, NDArray):
        if inputs.ndim <= axis:
            accepted = "an axis of steps and one of samples"
            raise argument_error("unroll", "inputs", f"of shape {inputs.shape}", accepted)
        steps = parted(inputs, axis)
    elif isinstance(inputs, list | tuple) and all(isinstance(step, NDArray) for step in inputs):
        steps = list(inputs)
    else:
        given = type(inputs).__name__
        raise OperatorTypeError(f"unroll: inputs is {given}; accepted: an NDArray, or a list of them")
    if not steps or length not in (None, len(steps)):
        raise argument_error("unroll", "length", length, f"{len(steps)}, as many steps as inputs has")
    return steps


def parted(array: NDArray, axis: int) -> list[NDArray]:
    """The steps of an array."""
    count = array.shape[axis]
    if count == 1:
        return [array.squeeze(axis=axis)]
    return list(nd.split(array, num_outputs=count, axis=axis, squeeze_axis=True))


def joined(steps: Steps, axis: int) -> NDArray:
    """A sequence as one array."""
    return steps if isinstance(steps, NDArray) else nd.stack(*steps, axis=axis)


def arranged(steps: Steps, axis: int, merge: bool | None) -> Steps:
    """A sequence as one array (True), as a list (False), or as it is (None)."""
    if merge is None:
        return steps
    if merge:
        return joined(steps, axis)
    return parted(steps, axis) if isinstance(steps, NDArray) else steps


def masked(steps: Steps, lengths: NDArray, axis: int) -> NDArray:
    """A sequence as one array, with 0 behind the length of each sample."""
    return nd.SequenceMask(joined(steps, axis), lengths, use_sequence_length=True, axis=axis)


def backwards(steps: list[NDArray], lengths: NDArray | None) -> list[NDArray]:
    """The steps in reverse; of each sample only those within its length, which stay in front."""
    if lengths is None:
        return steps[::-1]
    return parted(nd.SequenceReverse(nd.stack(*steps, axis=0), lengths, use_sequence_length=True), 0)


def last(states: Sequence[list[NDArray]], lengths: NDArray) -> list[NDArray]:
    """Of lists of states, one for each step, those of each sample's last step."""
    return [
        nd.SequenceLast(nd.stack(*steps, axis=0), lengths, use_sequence_length=True)
        for steps in zip(*states, strict=True)
    ]
