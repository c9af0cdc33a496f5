"""Recordings: a graph that is replayed, and what must hold for that."""

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import nested
from clgrad.array import NDArray
from clgrad.autograd.variables import add_dependent
from clgrad.capturing import trees
from clgrad.capturing.reads import Guard
from clgrad.capturing.tracing import Call, Trace, trace
from clgrad.deferred import Number
from clgrad.errors import KernelError
from clgrad.graph.ir import Graph
from clgrad.graph.optimize import optimized
from clgrad.graph.replay import Replay
from clgrad.memory import Stream

_log = logging.getLogger(__name__)


class Recording:
    """What calls of one kind do, for as long as its conditions hold."""

    #: Runs a function, and records what it does.
    trace = staticmethod(trace)

    def __init__(self, call: Call, traced: Trace, guards: list[Guard]):
        self.numbers = traced.graph.numbers
        self.guards = guards
        self._result = traced.result
        #: Whether an array that the function reaches by itself has other gradients since, or none.
        self._is_lost = False
        #: What the function reaches by itself: no argument, unless the recording is of one that is.
        self._reached: set[int] = set()
        for block in traced.graph.blocks():
            if block.storage is not None:
                add_dependent(block.storage, self)
                self._reached.add(block.storage.serial)
        #: Arguments that the function reaches by itself as well: they must be the same ones.
        self._pinned = [weakref.ref(a._view.storage) for a in call.arrays] if traced.shares else []

    @property
    def is_lost(self) -> bool:
        """Whether an array that the function reaches by itself is gone, or marked anew."""
        return self._is_lost or any(replay.is_lost for replay in self.replays())

    @property
    def changed(self) -> str | None:
        """What the function reads that is not what it was, if anything."""
        return next((guard.what for guard in self.guards if not guard.holds()), None)

    def lose(self) -> None:
        """Fit no call any more."""
        self._is_lost = True

    def replays(self) -> list[Replay]:
        """What is replayed."""
        raise NotImplementedError

    def fits(self, call: Call) -> bool:
        """Whether the recording says what the call would do, as far as can be told beforehand."""
        for guard in self.guards:
            if not guard.holds():
                return False
        if self._pinned:
            for reference, array in zip(self._pinned, call.arrays, strict=False):
                if reference() is not array._view.storage:
                    return False
        else:
            for array in call.arrays:
                if array._view.storage.serial in self._reached:
                    return False
        return self.numbers.holds(call.numbers)

    def run(self, call: Call, numbers: Sequence, returned: Sequence) -> Any:
        """Replay; what the function would return.

        ``numbers`` are those of the recording, by place; ``returned`` is what functions on the host said.
        """
        raise NotImplementedError

    def graphs(self) -> list[tuple[Graph, Graph]]:
        """Each graph as it was recorded, and as it runs."""
        raise NotImplementedError

    def _filled(self, arrays: Sequence[NDArray], numbers: Sequence) -> Any:
        """What the function returns, with these arrays in their places."""
        if self._result is trees.ARRAY:
            return arrays[0]
        rest = iter(arrays)

        def found(leaf: Any) -> Any:
            if leaf is trees.ARRAY:
                return next(rest)
            return numbers[leaf.place] if isinstance(leaf, Number) else leaf

        return nested.replaced(self._result, found)


class Plain(Recording):
    """Of calls that are not themselves recorded."""

    def __init__(
        self,
        function: Callable,
        stream: Stream,
        call: Call,
        traced: Trace,
        guards: list[Guard],
        fuse: bool,
        asked: Sequence = (),
    ):
        """``asked`` is for calls while recording."""
        super().__init__(call, traced, guards)
        self._recorded = traced.graph
        self._replay = Replay(stream, prepared(traced, traced.graph, stream, fuse))

    @property
    def is_lost(self) -> bool:
        """Whether an array that the function reaches by itself is gone, or marked anew."""
        return self._is_lost or self._replay.is_lost

    def replays(self) -> list[Replay]:
        """What is replayed."""
        return [self._replay]

    def run(self, call: Call, numbers: Sequence, returned: Sequence) -> Any:
        """Replay; what the function would return."""
        return self._filled([NDArray(v) for v in self._replay.run(call.views(), numbers)], numbers)

    def graphs(self) -> list[tuple[Graph, Graph]]:
        """The graph as it was recorded, and as it runs."""
        return [(self._recorded, self._replay.graph)]


def prepared(traced: Trace, graph: Graph, stream: Stream, fuse: bool) -> Graph:
    """A graph as it is to run."""
    if not fuse or traced.shares:  # then one block's memory is another's as well
        return graph
    try:
        return optimized(graph, stream)
    except KernelError as error:  # what was recorded is known to run
        _log.warning(
            "a captured function is replayed as it is, since the device refuses a kernel: %s", error
        )
        return graph
