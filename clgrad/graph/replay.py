"""Enqueues a graph again and again, with kernels whose arguments are set already.

Where the arrays of a graph lie is known beforehand but for arguments and results, which are set at each
replay (:mod:`clgrad.graph.binding`); so what is left is to enqueue. Where the device has command buffers,
launches whose arguments never change are enqueued together (:mod:`clgrad.graph.command_buffer`).
"""

import functools
import itertools
import logging
import weakref
from collections.abc import Callable, Sequence

import pyopencl as cl

from clgrad import memory
from clgrad.errors import CaptureError, DeviceError
from clgrad.graph import arena
from clgrad.graph.binding import Binder, Bound, BoundCopy, Home, Work, binder
from clgrad.graph.command_buffer import LONGEST, CommandBuffer, runs, wanted
from clgrad.graph.ir import Graph, Launch
from clgrad.graph.lifetimes import lives
from clgrad.kernels.launch import enqueue
from clgrad.memory import Storage, Stream, View

_log = logging.getLogger(__name__)

#: Replays without a change to wait for before command buffers are made anew, at most.
PATIENCE = 64


class LostError(CaptureError):
    """An array that a graph works on is gone."""


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
        self._prelude = None if graph.prelude is None else Prelude(stream, graph.prelude)
        self.is_lost = False
        self._outer = [b for b in graph.blocks() if b.kind == "outer"]
        #: They tell when an outer array is gone.
        self._references = [weakref.ref(s, self._lose) for b in self._outer if (s := b.storage) is not None]
        self.is_lost = len(self._references) < len(self._outer) or (
            self._prelude is not None and self._prelude.replay.is_lost
        )
        self._results = list(dict.fromkeys(v.block for v in graph.outputs if v.block.is_local))
        written = graph.written()
        self._written_arguments = [b.number for b in written if b.kind == "argument"]
        self._written_outer = [i for i, b in enumerate(self._outer) if b in written]
        self._homes = {b: Home() for b in (*graph.arguments, *graph.blocks())}
        self.arena, scratch = self._place(), self._provide_scratch()
        #: Blocks that are elsewhere at each replay.
        self._changing = {*graph.arguments, *self._results}
        self._work: list[Work] = [
            Bound(stream, i, self._homes, scratch, self._changing)
            if isinstance(i, Launch)
            else BoundCopy(i, self._homes, self._changing)
            for i in graph.instructions
        ]
        self._bound = [w for w in self._work if isinstance(w, Bound)]
        self._numbered = [b for b in self._bound if b.is_numbered]
        copied = {v.block for w in self._work if isinstance(w, BoundCopy) for v in w.values}
        self._copied = [self._homes[b] for b in copied & self._changing]
        self._bind: Binder | None = None
        #: Offsets of the arguments, as the kernels have them.
        self._offsets: list[int] = []
        #: Of what all has been exchanged, when it was last looked where the outer arrays are.
        self._swaps = -1
        self._foreign: set[Stream] = set()
        self._plain = self._segments = _segments(self._work)
        self._queue: cl.CommandQueue | None = None
        may = wanted(stream.device) and any(fits for fits, _ in runs(self._work))
        #: Replays without a change to wait for before command buffers are made, and how many are left of
        #: them; 0 where none are made.
        self._patience = self._left = int(may)

    def _place(self) -> list[Storage]:
        """Provide memory for local blocks."""
        found, heirs = lives(self.graph)
        places, sizes = arena.plan(list(found.values()), self._stream.device.capabilities.max_allocation)
        pieces = [Storage(self._stream, size, "captured") for size in sizes]
        for block, (piece, start) in zip(found, places, strict=True):
            home = self._homes[block]
            home.buffer, home.start = pieces[piece].buffer, start
        for block, owner in heirs.items():
            home, room = self._homes[block], self._homes[owner]
            home.buffer, home.start = room.buffer, room.start
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

    def _lose(self, reference: weakref.ref | None = None) -> None:
        """Give up, and give the memory back: also that of the array, which kernels have as an argument."""
        self.is_lost = True
        self.arena, self._work, self._bound, self._numbered = [], [], [], []
        self._plain = self._segments = []
        self._homes, self._copied, self._bind = {}, [], None

    def run(self, arguments: Sequence[View], numbers: Sequence) -> list[View]:
        """Enqueue the graph.

        Parameters
        ----------
        arguments : sequence of View
            Where each argument's block lies: it begins where the view does. Their layouts are the same each
            time.
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
        LostError
            An outer array is gone; nothing has been enqueued.
        """
        stream = self._stream
        if self._prelude is not None:
            if self._prelude.replay.is_lost:
                self._lose()
            else:
                self._prelude.run()
        outer = self._hold()
        if self._bind is None:
            self._bind = self._binder(arguments)
        settled = memory.storage.swaps == self._swaps and stream.observer is None and not self._foreign
        outputs = self._bind(stream, arguments, outer) if settled else None
        if outputs is None:
            return self._run_with_care(arguments, numbers, outer)
        for bound in self._numbered:
            bound.set_numbers(numbers)
        self._begin_writes(arguments, outer)
        queue = stream.queue
        if queue is not self._queue:
            self._queue = queue
            self._forget_command_buffers()
        elif self._left:
            self._left -= 1
            if not self._left:
                self._make_command_buffers(queue)
        for segment in self._segments:
            segment(stream, queue)
        for home in self._copied:
            home.buffer = None
        return outputs

    def _hold(self) -> list[Storage]:
        """The outer arrays: memory that was freed meanwhile could become that of a result."""
        held = [storage for reference in self._references if (storage := reference()) is not None]
        if self.is_lost or len(held) < len(self._outer):
            raise LostError("an array that the captured function reaches by itself is gone")
        return held

    def _binder(self, arguments: Sequence[View]) -> Binder:
        layouts = [view.layout for view in arguments]
        homes, offsets = self._homes, self._offsets
        return binder(self.graph, self._work, homes, self._results, self._outer, layouts, offsets)

    def _begin_writes(self, arguments: Sequence[View], outer: Sequence[Storage]) -> None:
        for number in self._written_arguments:
            arguments[number].storage.begin_write()
        if self._written_outer:
            memory.begin_writes([outer[number] for number in self._written_outer])

    # Command buffers

    def _make_command_buffers(self, queue: cl.CommandQueue) -> None:
        make = functools.partial(self._command_buffer, queue)
        try:
            self._segments = _segments(self._work, make)
        except DeviceError as error:
            self._give_up(error)

    def _command_buffer(self, queue: cl.CommandQueue, work: Sequence[Work]) -> "_Segment":
        commands = CommandBuffer(self._stream.device, queue, work)

        def enqueue_all(stream: Stream, queue: cl.CommandQueue) -> None:
            try:
                commands.enqueue()
            except DeviceError as error:  # nothing of it was enqueued
                self._give_up(error)
                for segment in _segments(work):
                    segment(stream, queue)
            else:
                stream.count_launch(None, commands.launches)

        return enqueue_all

    def _give_up(self, error: DeviceError) -> None:
        if self._patience:  # else another one of the same replay has failed before
            _log.warning("a captured function uses no command buffers any more: %s", error)
        self._segments = self._plain
        self._patience = self._left = 0

    def _forget_command_buffers(self) -> None:
        """Make them anew after some time; the more often that happens, the later."""
        if self._segments is not self._plain:
            self._segments = self._plain
            self._patience = min(2 * self._patience, PATIENCE)
        self._left = self._patience

    # What does not happen at every replay

    def _run_with_care(
        self, arguments: Sequence[View], numbers: Sequence, outer: Sequence[Storage]
    ) -> list[View]:
        """Do the same where outer arrays are elsewhere or of other streams, or somebody observes."""
        stream = self._stream
        results = [Storage(stream, block.nbytes, "captured") for block in self._results]
        for bound in self._numbered:
            bound.set_numbers(numbers)
        foreign = {*self._find(arguments, results, outer)}
        self._begin_writes(arguments, outer)
        for other in foreign:
            other.finish()
        try:
            self._enqueue_observed(stream)
        finally:
            for block in self._changing:
                self._homes[block].buffer = None
            for bound in self._bound:
                for place in bound.changing:
                    bound.views[place] = None
        if foreign:  # their pools may hand the memory out again, in another queue
            stream.finish()
        return self._outputs(arguments, results, outer)

    def _find(
        self, arguments: Sequence[View], results: Sequence[Storage], outer: Sequence[Storage]
    ) -> set[Stream]:
        """Set the kernels' arguments that are other arrays than before; the other streams that own some."""
        swaps, moved = memory.storage.swaps, set(self._changing)
        if self._swaps == -1:
            moved.update(self._homes)
        self._foreign.clear()
        for block, storage in zip(self._outer, outer, strict=True):
            if self._homes[block].buffer is not storage.buffer:
                self._homes[block].buffer = storage.buffer
                moved.add(block)
            if storage.stream is not self._stream:
                self._foreign.add(storage.stream)
        if len(moved) > len(self._changing):
            self._forget_command_buffers()
        for block, storage in zip(self._results, results, strict=True):
            self._homes[block].buffer = storage.buffer
        for block, view in zip(self.graph.arguments, arguments, strict=True):
            home = self._homes[block]
            home.buffer, home.start = view.storage.buffer, view.offset * view.layout.dtype.itemsize
        self._offsets.clear()
        for bound in self._bound:
            places = [i for i, value in enumerate(bound.values) if value.block in moved]
            if places:
                bound.bind(places)
        self._swaps = swaps
        return self._foreign | {v.storage.stream for v in arguments if v.storage.stream is not self._stream}

    def _enqueue_observed(self, stream: Stream) -> None:
        observer = stream.observer
        if observer is not None:
            observer.begin(stream)
        queue = stream.queue
        if observer is None:
            for segment in self._plain:
                segment(stream, queue)
            return
        for work in self._work:
            if isinstance(work, BoundCopy):
                observer.copied(stream, "copy", work.source_view, work(stream, queue))
                continue
            for prepared in work.prepared:
                step = prepared.step
                try:
                    event = enqueue(queue, prepared.kernel, step.global_size, step.local_size)
                except cl.Error as error:
                    raise prepared.refused(error) from error
                stream.count_launch(event)
                observer.launched(stream, work.plan, step, work.views, event)

    def _outputs(
        self, arguments: Sequence[View], results: Sequence[Storage], outer: Sequence[Storage]
    ) -> list[View]:
        storages = dict(zip((*self._results, *self._outer), (*results, *outer), strict=True))
        views = []
        for block, start, layout in self.graph.outputs:
            if block.kind == "argument":
                given = arguments[block.number]
                storage, start = given.storage, start + given.offset * given.layout.dtype.itemsize
            else:
                storage = storages[block]
            views.append(View(storage, start // layout.dtype.itemsize, layout))
        return views


#: Enqueues some of the graph's work, given the stream and its queue.
_Segment = Callable[[Stream, cl.CommandQueue], object]


def _segments(
    work: Sequence[Work], make: Callable[[Sequence[Work]], _Segment] | None = None
) -> list[_Segment]:
    """What enqueues work in order; ``make`` gives what enqueues a run that fits a command buffer."""
    segments: list[_Segment] = []
    for fits, members in itertools.groupby(runs(work), key=lambda run: run[0] and make is not None):
        if fits and make is not None:
            segments += [make(run) for _, run in members]
        else:
            segments += _one_by_one([w for _, run in members for w in run])
    return segments


def _one_by_one(work: Sequence[Work]) -> list[_Segment]:
    segments: list[_Segment] = []
    waiting: list[Bound] = []
    for w in work:
        if isinstance(w, Bound):
            waiting.append(w)
        if waiting and (not isinstance(w, Bound) or len(waiting) == LONGEST):
            segments.append(_loop(waiting))
            waiting = []
        if isinstance(w, BoundCopy):
            segments.append(w)
    return [*segments, _loop(waiting)] if waiting else segments


def _loop(bound: Sequence[Bound]) -> _Segment:
    """What enqueues launches one by one."""
    launches = [p for b in bound for p in b.prepared]
    calls = [(p.kernel, p.step.global_size, p.step.local_size) for p in launches]
    number = len(calls)

    def enqueue_each(stream: Stream, queue: cl.CommandQueue) -> None:
        event = None
        try:
            for kernel, global_size, local_size in calls:
                event = enqueue(queue, kernel, global_size, local_size)
        except cl.Error as error:
            raise next(p for p in launches if p.kernel is kernel).refused(error) from error
        stream.count_launch(event, number)

    return enqueue_each


class Prelude:
    """What a graph needs that stays the same, as long as nobody writes to the arrays that it is made of."""

    def __init__(self, stream: Stream, graph: Graph):
        self.replay = Replay(stream, graph)
        written = graph.written()
        self._read = [b for b in graph.blocks() if b.kind == "outer" and b not in written]
        self._versions: list[int] | None = None

    def run(self) -> None:
        """Make it, if it is not there."""
        versions = [s.version for b in self._read if (s := b.storage) is not None]
        if versions != self._versions:
            self.replay.run([], [])
            self._versions = versions
