"""Ops made of several launches that are differentiated as one, by a rule of their own."""

from collections.abc import Callable, Sequence
from typing import Any

from clgrad import tape
from clgrad.registry.operator import Operator


class Grouped(Operator):
    """An op whose function calls other ops, without recording them: the tape sees one node.

    It needs gradient rules, as any op: what it calls is not on the tape. Worth its while where one rule
    for the whole is cheaper than the chain of the parts' rules (batch normalisation).
    """

    def __init__(self, function, name=None, aliases=(), **options):
        super().__init__(function, name, aliases, skip=0, **options)

    def apply(self, names, arrays, attributes, out=None):
        """Run the parts; record the whole."""
        recording = tape.set_recording(False)
        outer, tape.state.launches = tape.state.launches, []
        try:
            results = self.function(**dict(zip(names, arrays, strict=True)), **attributes)
            launches = tape.state.launches
        finally:
            tape.state.launches = outer
            tape.set_recording(recording)
        if recording:
            outputs = results if isinstance(results, list | tuple) else [results]
            node = self.record(names, arrays, attributes, outputs, None)
            if node is not None:
                node.parts = tuple(launches)
        return results


def grouped(name: str | None = None, aliases: Sequence[str] = (), **options) -> Callable[[Callable], Any]:
    """Declare an op of several launches that has one gradient rule (see :class:`Grouped`)."""

    def declare(function: Callable) -> Any:
        return Grouped(function, name, aliases, **options)

    return declare
