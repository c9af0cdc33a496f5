"""Bulk execution: elementwise launches of one shape wait for each other, and are merged into one.

``sigmoid(x) * exp(-x)`` is four ops. Each call allocates its result and returns; its launch waits in the
stream until anything else needs the queue, so program order is kept, and nobody can see a result that is
not there. Then one kernel computes them all from the arrays that they read, and stores those results that
somebody still holds: what lives only between two of the ops is never stored.

A product of matrices may be the first call of a bulk: its kernel then goes on with the formulas where it
would have stored its result (:mod:`clgrad.kernels.epilogue`).

A kernel is built for a sequence of calls that has come up before; until then they are launched one by one.
The numbers are the same either way, since each op's result is rounded to its dtype.
"""

import itertools
import struct
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyopencl as cl

from clgrad import dtypes, ranges
from clgrad.errors import DeviceMemoryError, KernelError
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Storage, Stream, View
from clgrad.registry.kept import Kept, Origin
from clgrad.registry.sequence import NEVER, Call, Formula, Product, Sequel

#: Arrays that are read, results that are stored, and numbers, at most: kernel arguments are limited (1024
#: bytes on PoCL), and so are registers.
LEAVES, STORED, NUMBERS = 12, 6, 32

#: Elements from which a launch waits: for fewer, a launch costs no more than what is saved.
FEWEST = 1 << 14


class Pending(NamedTuple):
    """A call that waits."""

    op: Formula | Product
    names: tuple[str, ...]
    #: The numbers among the arguments.
    attributes: dict
    plan: Plan
    views: Sequence[View]
    result: View


def launch(stream: Stream, op: Formula, names, attributes: dict, plan: Plan, views: Sequence[View]) -> View:
    """Let a call's launch wait, or enqueue it where it cannot; the result."""
    if _may_wait(stream, plan, views) and (not attributes or _fit(attributes.values(), plan)):
        return _wait(stream, op, names, attributes, plan, views)
    return plan.run(stream, views, tuple(attributes.values()))[0]


def launch_product(stream: Stream, product: Product, plan: Plan, views: Sequence[View]) -> View:
    """The same for a product: it joins none, but others may join it."""
    if _may_wait(stream, plan, views):
        stream.flush()
        return _wait(stream, product, product.names, {}, plan, views)
    return plan.run(stream, views)[0]


def _may_wait(stream: Stream, plan: Plan, views: Sequence[View]) -> bool:
    if not plan.at_once and plan.cache.get("may wait") is None:
        plan.cache["may wait"] = plan.layouts[0].size >= FEWEST and _is_whole(plan, views)
        plan.at_once = not plan.cache["may wait"]
    if plan.at_once or stream.bulk_size < 2 or stream.recorder is not None:
        return False
    for view in views:  # noqa: SIM110 (all() of a generator takes thrice as long)
        if view.storage.stream is not stream:
            return False
    return True


def _is_whole(plan: Plan, views: Sequence[View]) -> bool:
    """Whether values pass through memory unchanged, so that they need not pass through it."""
    kinds = [plan.layouts[0].dtype, *[view.layout.dtype for view in views]]
    return bool(plan.steps) and all(dtypes.compute_type(kind) == kind for kind in kinds)


def _fit(numbers: Iterable, plan: Plan) -> bool:
    """Whether the numbers can be passed as the result's dtype: an error must not come after the call."""
    dtype = plan.layouts[0].dtype
    try:
        for number in numbers:
            struct.pack(dtype.char, float(number) if dtype.kind == "f" else int(number))
    except (OverflowError, ValueError, struct.error):
        return False
    return True


def _wait(stream: Stream, op, names, attributes, plan: Plan, views: Sequence[View]) -> View:
    (made,) = plan.layouts
    with stream.lock:
        bulk = stream.waiting if isinstance(stream.waiting, Bulk) else None
        joined = None if bulk is None else bulk.joined(plan, views)
        if joined is None:
            stream.flush()
        result = View(Storage(stream, made.nbytes, plan.label), 0, made)
        if bulk is None or joined is None:
            stream.waiting = Bulk(stream, Pending(op, names, attributes, plan, views, result))
        else:
            bulk.add(op, names, attributes, plan, result, joined)
            if stream.waiting is not bulk:  # a signal's handler has had the others enqueued
                plan.run(stream, views, tuple(attributes.values()), (result,))
    return result


class _State(NamedTuple):
    """Calls that wait together. Replaced as a whole: Python may be interrupted between any two lines."""

    calls: tuple[Call, ...]
    #: The arrays that they read.
    leaves: tuple[View, ...]
    #: By serial of the storage: number of the array or result, layout and offset.
    found: dict[int, tuple[int, Layout, int]]
    numbers: tuple
    #: The memory of the results, as long as somebody holds it.
    results: tuple[weakref.ref[Storage], ...]
    #: The same, of results that no call has read: whoever asked for them gets the work done.
    unread: tuple[Storage | None, ...]

    def held(self) -> list[Storage | None]:
        """The results' memory, where it is wanted."""
        return [s or r() for s, r in zip(self.unread, self.results)]  # noqa: B905

    def refer(self, views: Sequence[View]) -> "_Read | None":
        """What a call reads of these views; None where one has two shapes."""
        leaves, found, references = self.leaves, self.found, []
        for view in views:
            serial = view.storage.serial
            known = found.get(serial)
            if known is None:
                known = (len(leaves), view.layout, view.offset)
                leaves, found = (*leaves, view), {**found, serial: known}
            elif known[1] is not view.layout or known[2] != view.offset:
                return None  # the same memory under another shape
            references.append(known[0])
        return leaves, found, tuple(references)

    def after(self, op, names, attributes: dict, plan: Plan, result: View, read: "_Read") -> "_State":
        """The state with one more call, that reads this."""
        leaves, found, references = read
        storage, numbers = result.storage, self.numbers
        if attributes:
            numbers = (*numbers, *attributes.values())
        unread = [*self.unread, storage]
        for reference in references:
            if reference < 0:
                unread[~reference] = None
        return _State(
            (*self.calls, Call(op, names, tuple(attributes), plan, references)),
            leaves,
            {**found, storage.serial: (~len(self.results), result.layout, 0)},
            numbers,
            (*self.results, weakref.ref(storage)),
            tuple(unread),
        )


#: What a call reads: the leaves, with its own, how they are found, and what it refers to of them.
_Read = tuple[tuple[View, ...], dict[int, tuple[int, Layout, int]], tuple[int, ...]]


class Bulk:
    """Elementwise launches of one shape that wait in a stream.

    Most calls stay alone, so what it takes to merge them is made when a second one joins the first.
    """

    __slots__ = ("_first", "_is_product", "_kept", "_layout", "_place", "_state", "_stream", "merged")

    def __init__(self, stream: Stream, first: Pending):
        self._stream = stream
        #: The one launch that has computed all of them, once that has happened.
        self.merged: Plan | None = None
        self._layout, self._is_product = first.result.layout, isinstance(first.op, Product)
        #: The call, while it is the only one; then there is a state, which counts; at the end neither.
        self._first: Pending | None = first
        self._state: _State | None = None
        #: What the tape keeps of the results, by number.
        self._kept: dict[int, weakref.ref[Kept]] = {}
        #: For a profile: the launch counts where the first call was made.
        self._place = ranges.place()

    def keep(self, view: View) -> Kept | None:
        """Something that stands for a result that waits, without holding its memory; None for others."""
        number = self._number(view)
        if number is None:
            return None
        kept = self._kept[number]() if number in self._kept else None
        if kept is None:
            kept = Kept(self._stream, number)
            self._kept[number] = weakref.ref(kept)
        return kept

    def _number(self, view: View) -> int | None:
        if self._state is None:
            return 0 if self._first is not None and view is self._first.result else None
        number, layout, offset = self._state.found.get(view.storage.serial, (0, None, 0))
        return ~number if number < 0 and layout is view.layout and offset == view.offset else None

    def joined(self, plan: Plan, views: Sequence[View]) -> tuple[_State, _Read] | None:
        """The state, and what a call reads.

        None where it has nothing to do with those that wait, or where there is no room.
        """
        first, state = self._first, self._state
        if plan.layouts[0].shape != self._layout.shape:
            return None
        if self._is_product and not _alike(self._layout, plan, views):
            return None
        if state is None and first is not None:
            storages = [view.storage for view in (first.result, *first.views)]
            state = _opened(first) if any(view.storage in storages for view in views) else None
        read = None if state is None else state.refer(views)
        if state is None or read is None:
            return None
        leaves, _, references = read
        calls = len(state.results)
        related = min(references) < len(state.leaves)
        full = calls >= STORED and calls - state.held().count(None) >= STORED
        if not related or full or calls >= self._stream.bulk_size:
            return None
        if len(leaves) > LEAVES or len(state.numbers) >= NUMBERS:
            return None
        # A CPU's tiles are pieces of rows, which no prefetcher follows: a residual cost more there.
        if self._is_product and self._stream.device.kind == "cpu" and max(references) >= 0:
            return None
        return state, read

    def add(
        self, op, names, attributes: dict, plan: Plan, result: View, joined: tuple[_State, _Read]
    ) -> None:
        """Take a call as :meth:`joined` has said."""
        state, read = joined
        self._state = state.after(op, names, attributes, plan, result, read)
        self._first = None

    def enqueue(self, queue: cl.CommandQueue) -> None:
        """Enqueue one launch if there is a kernel for these calls, or one for each.

        If it fails or is interrupted, it can be called again; once it is through, that has no effect.
        """
        if self._place is None:
            self._enqueue(queue)
        else:
            with self._place:
                self._enqueue(queue)

    def _enqueue(self, queue: cl.CommandQueue) -> None:
        first, state = self._first, self._state
        kept = {number: k for number, reference in self._kept.items() if (k := reference()) is not None}
        if state is not None:
            self._enqueue_together(state, kept, queue)
        elif first is not None:
            numbers = tuple(first.attributes.values())
            first.plan.run(self._stream, first.views, numbers, (first.result,), queue)
            _settle(kept, [first.result.storage], [first.result.layout])
        self._first = self._state = None  # the tape keeps this object, but none of the memory

    def _enqueue_together(self, state: _State, kept: dict[int, Kept], queue: cl.CommandQueue) -> None:
        held = state.held()
        sequence = Sequel.of(state.calls, self._stream)
        layouts = [call.plan.layouts[0] for call in state.calls]
        unstored = [number for number in kept if held[number] is None]
        try:
            wanted = sum(layouts[number].nbytes for number in unstored)
            if unstored and not _recomputes(sequence, state, wanted):
                self._provide(unstored, held, layouts)
            if not self._enqueue_merged(sequence, state, held, queue):
                self._provide(unstored, held, layouts)
                self._enqueue_each(state, held, queue)
        except DeviceMemoryError:
            # There is no room for what lies between the calls. One launch needs none, though it takes long
            # to build, and the tape can have what it wants made again.
            if unstored and sequence.product is not None:
                raise
            held = state.held()
            if not self._enqueue_merged(sequence, state, held, queue, at_once=True):
                raise
        _settle(kept, held, layouts, sequence, state)

    def _provide(
        self, numbers: Iterable[int], held: list[Storage | None], layouts: Sequence[Layout]
    ) -> None:
        """Provide memory for results of which only the tape has something."""
        for number in numbers:
            if held[number] is None:
                held[number] = Storage(self._stream, layouts[number].nbytes, "kept for gradients")

    def _enqueue_merged(
        self,
        sequence: Sequel,
        state: _State,
        held: Sequence[Storage | None],
        queue: cl.CommandQueue,
        at_once: bool = False,
    ) -> bool:
        made = [s for s in held if s is not None]
        stored = tuple([s is not None for s in held])
        if len(made) > STORED:
            return False
        try:
            kernel = sequence.kernel(self._stream, stored, state.leaves, at_once)
            if kernel is None:
                return False
            targets = [View(s, 0, x) for s, x in zip(made, kernel.plan.layouts, strict=True)]
            views = [state.leaves[r] for r in kernel.references]
            kernel.plan.run(self._stream, views, state.numbers, targets, queue)
        except KernelError:  # it asks too much of the device; one by one, the calls are known to run
            sequence.kernels[stored] = NEVER
            return False
        self.merged = kernel.plan
        return True

    def _enqueue_each(self, state: _State, held: Sequence[Storage | None], queue: cl.CommandQueue) -> None:
        calls = state.calls
        last = {r: step for step, call in enumerate(calls) for r in call.references}
        results: list[Any] = []
        numbers = iter(state.numbers)
        for step, (_, _, names, plan, references) in enumerate(calls):
            (made,) = plan.layouts
            target = View(held[step] or Storage(self._stream, made.nbytes, plan.label), 0, made)
            views = [state.leaves[r] if r >= 0 else results[~r] for r in references]
            own = tuple(itertools.islice(numbers, len(names)))
            plan.run(self._stream, views, own, (target,), queue)
            results.append(target)
            for r in references:
                if r < 0 and last[r] == step:
                    results[~r] = None  # memory that lives only between two launches is used again


def _recomputes(sequence: Sequel, state: _State, nbytes: int) -> bool:
    """Whether to make results of so many bytes again, rather than store them.

    What they are made of stays in memory for that, so it must not be more.
    """
    return sequence.recomputes and sum(v.storage.nbytes for v in state.leaves) <= nbytes


def _alike(product: Layout, plan: Plan, views: Sequence[View]) -> bool:
    """Whether a call reads and makes arrays that lie in memory as a product does."""
    return plan.layouts[0] is product and all(view.layout is product for view in views)


_NOTHING = _State((), (), {}, (), (), ())


def _opened(first: Pending) -> _State | None:
    """The state of one call."""
    read = _NOTHING.refer(first.views)
    if read is None:
        return None
    return _NOTHING.after(first.op, first.names, first.attributes, first.plan, first.result, read)


def _settle(
    kept: dict[int, Kept],
    held: Sequence[Storage | None],
    layouts: Sequence[Layout],
    sequence: Sequel | None = None,
    state: _State | None = None,
) -> None:
    """Tell the tape where results are, or what to make them of."""
    origin: Origin | None = None
    for number, what in kept.items():
        storage = held[number]
        if storage is not None:
            what.is_at(View(storage, 0, layouts[number]))
        else:
            assert sequence is not None, "the result of a lone call is stored"
            assert state is not None
            origin = origin or Origin(sequence, state.leaves, state.numbers)
            origin.adopt(what)
