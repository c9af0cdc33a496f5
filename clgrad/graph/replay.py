"""Enqueues a graph again and again, with kernels whose arguments are set already.

Each launch of a graph has a kernel object of its own. Where its arrays lie is known beforehand but for
arguments and results, which are set at each replay; so what is left is to enqueue.
"""

import itertools
import weakref
from collections.abc import Iterable, Sequence

import pyopencl as cl

from clgrad import memory
from clgrad.deferred import Number
from clgrad.graph import arena
from clgrad.graph.ir import Block, Copy, Graph, Launch
from clgrad.graph.lifetimes import lives
from clgrad.kernels.launch import enqueue
from clgrad.memory import Storage, Stream, View


class _Memory:
    """Stands for a storage in a view: holds the buffer, and yet lets the array be forgotten."""

    __slots__ = ("buffer", "start")

    def __init__(self, buffer: cl.MemoryObject | None, start: int = 0):
        self.buffer = buffer
        #: The byte from which on the block lies in the buffer.
        self.start = start


class Replay:
    """A graph on a stream, ready to run.

    Attributes
    ----------
    is_lost : bool
        Whether an outer array is gone: then the graph must be recorded anew.
    arena : list of Storage
        Memory of the arrays that live only within a replay.

    Raises
    ------
    DeviceMemoryError
        There is no memory for the arena.
    """

    def __init__(self, stream: Stream, graph: Graph):
        self._stream = stream
        self.graph = graph
        self.is_lost = False
        self._outer = [b for b in graph.blocks() if b.kind == "outer"]
        #: They tell when an outer array is gone.
        self._watched = [weakref.ref(s, self._lose) for b in self._outer if (s := b.storage) is not None]
        self.is_lost = len(self._watched) < len(self._outer)
        self._results = list(dict.fromkeys(v.block for v in graph.outputs if v.block.is_local))
        self._written = graph.written()
        self._homes: dict[Block, _Memory] = {}
        self.arena, scratch = self._place(), self._provide_scratch()
        self._steps: list[_Bound | Copy] = [
            _Bound(stream, i, scratch) if isinstance(i, Launch) else i for i in graph.instructions
        ]
        self._bound = [step for step in self._steps if isinstance(step, _Bound)]
        self._numbered = [b for b in self._bound if b.is_numbered]
        results = set(self._results)
        self._with_results = _users(self._bound, results)
        self._with_changes = _users(self._bound, {*results, *graph.arguments})
        #: Serial and offset of each argument, as the kernels have it; and of what all has been exchanged.
        self._known: list[tuple[int, int]] = [(0, 0)] * len(graph.arguments)
        self._swaps = -1
        self._foreign: set[Stream] = set()

    def _place(self) -> list[Storage]:
        """Provide memory for local blocks."""
        found = lives(self.graph)
        places, sizes = arena.plan(list(found.values()), self._stream.device.capabilities.max_allocation)
        pieces = [Storage(self._stream, size, "captured") for size in sizes]
        for block, (piece, start) in zip(found, places, strict=True):
            self._homes[block] = _Memory(pieces[piece].buffer, start)
        return pieces

    def _provide_scratch(self) -> list[Storage]:
        """Scratch memory that the launches share: the first of each, the second of each, and so on.

        Each begins a buffer, since kernels count offsets in elements of dtypes that only they know.
        """
        sizes: list[int] = []
        for instruction in self.graph.instructions:
            if isinstance(instruction, Launch):
                own = [layout.nbytes for layout in instruction.plan.scratch_layouts]
                sizes = [max(pair) for pair in itertools.zip_longest(sizes, own, fillvalue=0)]
        return [Storage(self._stream, size, "captured") for size in sizes]

    def _lose(self, reference: weakref.ref) -> None:
        self.is_lost = True

    def run(self, arguments: Sequence[View], numbers: Sequence) -> list[View]:
        """Enqueue the graph, which must not be lost.

        Parameters
        ----------
        arguments : sequence of View
            Where each argument's block lies: it begins where the view does.
        numbers : sequence
            The numbers of ``graph.numbers``, by place.

        Returns
        -------
        list of View
            The outputs.

        Raises
        ------
        DeviceMemoryError
            There is no memory for the results; nothing has been enqueued.
        KernelError
            The device refused a launch.
        """
        stream = self._stream
        results = [Storage(stream, block.nbytes, "captured") for block in self._results]
        for bound in self._numbered:
            bound.set_numbers(numbers)
        self._begin_writes(arguments)
        self._bind(arguments, results)
        foreign = [v.storage.stream for v in arguments if v.storage.stream is not stream]
        foreign += self._foreign
        for other in foreign:
            other.finish()
        self._enqueue(stream)
        if foreign:  # their pools may hand the memory out again, in another queue
            stream.finish()
        for block in self._results:
            del self._homes[block]
        for bound, places in self._with_results:
            for place in places:
                bound.views[place] = None
        return self._outputs(arguments, dict(zip(self._results, results, strict=True)))

    def _begin_writes(self, arguments: Sequence[View]) -> None:
        for block in self._written:
            storage = arguments[block.number].storage if block.kind == "argument" else block.storage
            assert storage is not None, "the graph is not lost"
            storage.begin_write()

    def _bind(self, arguments: Sequence[View], results: Sequence[Storage]) -> None:
        """Set the kernels' arguments that are other arrays than before."""
        homes, changing = self._homes, self._with_results
        for number, view in enumerate(arguments):
            known = (view.storage.serial, view.offset)
            if known != self._known[number]:
                self._known[number] = known
                start = view.offset * view.layout.dtype.itemsize
                homes[self.graph.arguments[number]] = _Memory(view.storage.buffer, start)
                changing = self._with_changes
        for block, storage in zip(self._results, results, strict=True):
            homes[block] = _Memory(storage.buffer)
        if self._swaps != memory.swaps:  # somebody's backward has exchanged the memory of gradients
            self._look_up_outer(arguments)
            changing = [(b, list(range(len(b.values)))) for b in self._bound]
        for bound, places in changing:
            bound.bind(homes, places)

    def _look_up_outer(self, arguments: Sequence[View]) -> None:
        self._swaps = memory.swaps
        for block in self._outer:
            storage = block.storage
            assert storage is not None, "the graph is not lost"
            self._homes[block] = _Memory(storage.buffer)
            if storage.stream is not self._stream:
                self._foreign.add(storage.stream)
        for block, view in zip(self.graph.arguments, arguments, strict=True):
            self._homes[block].buffer = view.storage.buffer

    def _enqueue(self, stream: Stream) -> None:
        observer = stream.observer
        if observer is not None:
            observer.begin(stream)
        queue = stream.queue
        for step in self._steps:
            if isinstance(step, Copy):
                event = self._copy(queue, step)
                if observer is not None:
                    source = self._homes[step.source.block]
                    view = View(source, 0, step.source.layout)  # type: ignore[arg-type]
                    observer.copied(stream, "copy", view, event)
                continue
            for prepared in step.prepared:
                launched = prepared.step
                try:
                    event = enqueue(queue, prepared.kernel, launched.global_size, launched.local_size)
                except cl.Error as error:
                    raise prepared.refused(error) from error
                stream.count_launch(event)
                if observer is not None:
                    observer.launched(stream, step.plan, launched, step.views, event)

    def _copy(self, queue: cl.CommandQueue, copy: Copy) -> cl.Event:
        source, target = self._homes[copy.source.block], self._homes[copy.target.block]
        return cl.enqueue_copy(
            queue,
            target.buffer,
            source.buffer,
            src_offset=source.start + copy.source.start,
            dst_offset=target.start + copy.target.start,
            byte_count=copy.source.layout.nbytes,
        )

    def _outputs(self, arguments: Sequence[View], results: dict[Block, Storage]) -> list[View]:
        views = []
        for block, start, layout in self.graph.outputs:
            if block.kind == "argument":
                given = arguments[block.number]
                storage, start = given.storage, start + given.offset * given.layout.dtype.itemsize
            else:
                home = results[block] if block.is_local else block.storage
                assert home is not None, "the graph is not lost"
                storage = home
            views.append(View(storage, start // layout.dtype.itemsize, layout))
        return views


def _users(bound: "Iterable[_Bound]", blocks: set[Block]) -> "list[tuple[_Bound, list[int]]]":
    """The launches that read or write some blocks, with the places of these among their arrays."""
    found = []
    for b in bound:
        places = [i for i, value in enumerate(b.values) if value.block in blocks]
        if places:
            found.append((b, places))
    return found


class _Bound:
    """A launch with kernel objects of its own."""

    __slots__ = ("_numbers", "is_numbered", "plan", "prepared", "values", "views")

    def __init__(self, stream: Stream, launch: Launch, scratch: Sequence[Storage]):
        self.plan = launch.plan
        own = [View(s, 0, x) for s, x in zip(scratch, launch.plan.scratch_layouts, strict=False)]
        self.prepared = launch.plan.prepared()
        self.values = (*launch.reads, *launch.writes)
        #: Where they lie; then tables and scratch memory.
        self.views: list = [*[None] * len(self.values), *launch.plan.table_views(stream), *own]
        self._numbers = launch.numbers
        self.is_numbered = any(isinstance(n, Number) for n in launch.numbers)
        if launch.numbers and not self.is_numbered:
            self.set_numbers(())

    def bind(self, homes: dict[Block, _Memory], places: Iterable[int]) -> None:
        """Set the kernels' arguments, those at some places having moved."""
        for place in places:
            block, start, layout = self.values[place]
            home = homes[block]
            # A kernel's arguments are set from a view's buffer and offset alone.
            offset = (home.start + start) // layout.dtype.itemsize
            self.views[place] = View(home, offset, layout)  # type: ignore[arg-type]
        for prepared in self.prepared:
            prepared.bind(self.views)

    def set_numbers(self, values: Sequence) -> None:
        """Set the kernels' arguments that are numbers."""
        numbers = [values[n.place] if isinstance(n, Number) else n for n in self._numbers]
        for prepared in self.prepared:
            prepared.set_scalars(numbers)
