"""Gradient rules: functions whose parameters name what they read."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A gradient rule; the names of its parameters say what it needs, and so what the tape keeps.

    The result of a rule may be smaller than the argument where it broadcasts to it: the gradient of a
    sum is the head gradient, the same for every term, and nobody needs the copies.

    ``dy``                    gradient of the output (``d_NAME`` for each output of several)
    ``dys``                   gradients of all outputs, as a list; None where none has arrived
    ``y``                     the output (``NAME`` for each of several)
    ``ARG``                   an array argument, or a number that stands in its place
    ``ARG_shape``             its shape (``ARG_shapes``, a list, for a variadic argument)
    ``ARG_dtype``             its dtype
    ``position``              for a variadic argument, which of its arrays
    ``ATTRIBUTE``             any other parameter of the op
    """

    function: Callable
    needs: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable, targets: tuple[str, ...]) -> "Rule":
        """Read the needs from the function's signature."""
        return cls(function, tuple(inspect.signature(function).parameters), targets)
