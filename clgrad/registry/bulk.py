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

from clgrad import dtypes
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Storage, Stream, View
from clgrad.registry.kept import Kept, Origin
from clgrad.registry.sequence import Call, Formula, Product, Sequel

#: Arrays that are read, and results that are stored, at most: kernel arguments are limited (1024 bytes on
#: PoCL), and so are registers.
LEAVES, STORED = 12, 6

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
    may_wait = plan.cache.get("may wait")
    if may_wait is None:
        may_wait = plan.cache["may wait"] = plan.layouts[0].size >= FEWEST and _is_whole(plan, views)
    if not may_wait or stream.bulk_size < 2:
        return False
    return all(view.storage.stream is stream for view in views)


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
        references = None if bulk is None else bulk.refer(plan, views)
        if references is None:
            stream.flush()
        result = View(Storage(stream, made.nbytes), 0, made)
        call = Pending(op, names, attributes, plan, views, result)
        if bulk is None or references is None:
            stream.waiting = Bulk(stream, call)
        else:
            bulk.add(call, references)
    return result


class Bulk:
    """Elementwise launches of one shape that wait in a stream.

    Most calls stay alone, so what it takes to merge them is made when a second one joins the first.
    """

    __slots__ = (
        "_first",
        "_found",
        "_kept",
        "_layout",
        "_leaves",
        "_numbers",
        "_results",
        "_sequence",
        "_shape",
        "_stream",
        "_unread",
        "merged",
    )

    def __init__(self, stream: Stream, first: Pending):
        self._stream = stream
        #: The one launch that has computed all of them, once that has happened.
        self.merged: Plan | None = None
        #: The call, while it is the only one.
        self._first: Pending | None = first
        #: What the tape keeps of the results, by number.
        self._kept: dict[int, weakref.ref[Kept]] = {}

    def keep(self, view: View) -> Kept | None:
        """Something that stands for a result that waits, without holding its memory; None for others."""
        if self._first is not None:
            number = 0 if view is self._first.result else None
        else:
            known = self._found.get(view.storage.serial)
            number = None
            if known is not None and known[0] < 0 and known[1] is view.layout and known[2] == view.offset:
                number = ~known[0]
        if number is None:
            return None
        kept = self._kept[number]() if number in self._kept else None
        if kept is None:
            kept = Kept(self._stream, number)
            self._kept[number] = weakref.ref(kept)
        return kept

    def _open(self, first: Pending, views: Sequence[View]) -> bool:
        """Make room for a second call, if it has to do with the first."""
        storages = [view.storage for view in (first.result, *first.views)]
        if not any(view.storage in storages for view in views):
            return False
        self._shape = first.result.layout.shape
        #: What the results must be like if the first is a product.
        self._layout = first.result.layout if isinstance(first.op, Product) else None
        self._leaves: list[View] = []
        #: By serial of the storage: number of the array, layout and offset.
        self._found: dict[int, tuple[int, Layout, int]] = {}
        self._numbers: list = []
        start: Sequel | None = first.plan.cache.get("sequences")
        if start is None:
            start = first.plan.cache["sequences"] = Sequel()
        self._sequence = start
        #: The memory of the results, as long as somebody holds it.
        self._results: list[weakref.ref[Storage]] = []
        #: The same, of results that no call has read: whoever asked for them gets the work done.
        self._unread: list[Storage | None] = []
        references = self._refer(first.views)
        if references is None:
            return False
        self.add(first, references)
        self._first = None
        return True

    def refer(self, plan: Plan, views: Sequence[View]) -> tuple[int, ...] | None:
        """What a call reads; None where it has nothing to do with those that wait, or finds no room."""
        if self._first is not None and not self._open(self._first, views):
            return None
        calls, before = len(self._unread), len(self._leaves)
        if plan.layouts[0].shape != self._shape or calls >= self._stream.bulk_size:
            return None
        if self._layout is not None and not self._alike(plan, views):
            return None
        references = self._refer(views)
        fits = len(self._leaves) <= LEAVES and (calls < STORED or self._stored() < STORED)
        if references is None or min(references) >= before or not fits or not self._pays(references):
            for view in self._leaves[before:]:
                del self._found[view.storage.serial]
            del self._leaves[before:]
            return None
        return references

    def _alike(self, plan: Plan, views: Sequence[View]) -> bool:
        """Whether a call reads and makes arrays that lie in memory as the product does."""
        return plan.layouts[0] is self._layout and all(v.layout is self._layout for v in views)

    def _pays(self, references: Sequence[int]) -> bool:
        """Whether reading these arrays costs less than a launch of its own.

        A CPU's tiles are pieces of rows, which no prefetcher follows: a residual cost more there.
        """
        return self._layout is None or self._stream.device.kind != "cpu" or max(references) < 0

    def _refer(self, views: Sequence[View]) -> tuple[int, ...] | None:
        references = []
        for view in views:
            storage = view.storage
            known = self._found.get(storage.serial)
            if known is None:
                known = (len(self._leaves), view.layout, view.offset)
                self._found[storage.serial] = known
                self._leaves.append(view)
            elif known[1] is not view.layout or known[2] != view.offset:
                return None  # the same memory under another shape
            references.append(known[0])
        return tuple(references)

    def add(self, pending: Pending, references: tuple[int, ...]) -> None:
        """Take a call that reads what :meth:`refer` has said."""
        op, names, attributes, plan, _, result = pending
        sequel = self._sequence.followers.get((plan, references))
        if sequel is None:
            call = Call(op, names, tuple(attributes), plan, references)
            sequel = self._sequence.followers[plan, references] = Sequel((*self._sequence.calls, call))
        self._sequence = sequel
        if attributes:
            self._numbers.extend(attributes.values())
        for reference in references:
            if reference < 0:
                self._unread[~reference] = None
        storage = result.storage
        self._found[storage.serial] = (~len(self._unread), result.layout, 0)
        self._results.append(weakref.ref(storage))
        self._unread.append(storage)

    def _held(self) -> list[Storage | None]:
        return [s or r() for s, r in zip(self._unread, self._results, strict=True)]

    def _stored(self) -> int:
        return len(self._unread) - self._held().count(None)

    def enqueue(self) -> None:
        """Enqueue one launch if there is a kernel for these calls, or one for each."""
        kept = {number: k for number, reference in self._kept.items() if (k := reference()) is not None}
        if self._first is not None:
            _, _, attributes, plan, views, result = self._first
            plan.run(self._stream, views, tuple(attributes.values()), (result,))
            self._settle(kept, [result.storage], plan.layouts)
            self._first = None
            return
        held = self._held()
        layouts = [call.plan.layouts[0] for call in self._sequence.calls]
        unstored = [number for number in kept if held[number] is None]
        if unstored and not self._sequence.recomputes(len(unstored)):
            self._store(unstored, held, layouts)
        kernel = self._sequence.kernel(self._stream, tuple([s is not None for s in held]), self._leaves)
        if kernel is None:
            self._store(unstored, held, layouts)
            self._enqueue_each(held)
        else:
            made = [s for s in held if s is not None]
            targets = [View(s, 0, x) for s, x in zip(made, kernel.plan.layouts, strict=True)]
            views = [self._leaves[r] for r in kernel.references]
            kernel.plan.run(self._stream, views, self._numbers, targets)
            self.merged = kernel.plan
        self._settle(kept, held, layouts)
        self._leaves, self._unread = [], []  # the tape keeps this object, but none of the memory

    def _store(self, numbers: Iterable[int], held: list[Storage | None], layouts: Sequence[Layout]) -> None:
        """Provide memory for results of which only the tape has something."""
        for number in numbers:
            held[number] = held[number] or Storage(self._stream, layouts[number].nbytes)

    def _settle(
        self, kept: dict[int, Kept], held: Sequence[Storage | None], layouts: Sequence[Layout]
    ) -> None:
        """Tell the tape where results are, or what to make them of."""
        origin: Origin | None = None
        for number, what in kept.items():
            storage = held[number]
            if storage is not None:
                what.is_at(View(storage, 0, layouts[number]))
            else:
                origin = origin or Origin(self._sequence, self._leaves, self._numbers)
                origin.adopt(what)

    def _enqueue_each(self, held: Sequence[Storage | None]) -> None:
        calls = self._sequence.calls
        last = {r: step for step, call in enumerate(calls) for r in call.references}
        results: list[Any] = []
        numbers = iter(self._numbers)
        for step, (_, _, names, plan, references) in enumerate(calls):
            (made,) = plan.layouts
            target = View(held[step] or Storage(self._stream, made.nbytes), 0, made)
            views = [self._leaves[r] if r >= 0 else results[~r] for r in references]
            plan.run(self._stream, views, tuple(itertools.islice(numbers, len(names))), (target,))
            results.append(target)
            for r in references:
                if r < 0 and last[r] == step:
                    results[~r] = None  # memory that lives only between two launches is used again
