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
from typing import Any, NamedTuple, Protocol

import numpy as np

from clgrad import dtypes
from clgrad.bounded import Bounded
from clgrad.kernels import expr, layout, map
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Storage, Stream, View
from clgrad.registry.operator import Spec, joint_name

#: Arrays that are read, and results that are stored, at most: kernel arguments are limited (1024 bytes on
#: PoCL), and so are registers.
LEAVES, STORED = 12, 6

#: Elements from which a launch waits: for fewer, a launch costs no more than what is saved.
FEWEST = 1 << 14

#: How often a sequence of calls comes up before a kernel is built for it.
REPEATS = 2

#: Calls that are known to follow a sequence of calls, at most.
FOLLOWERS = 32


class Formula(Protocol):
    """An op that computes element by element (see :class:`clgrad.registry.Elementwise`)."""

    label: str

    def expression(
        self,
        names: Sequence[str],
        operands: Sequence[Expr],
        numbers: Sequence[str],
        slot: int,
        dtype: np.dtype,
    ) -> Expr:
        """The op's formula on symbolic operands; the numbers have the slots from ``slot`` on."""
        ...


class Product(NamedTuple):
    """A call of an op whose kernel can go on with an epilogue."""

    op: Any
    names: tuple[str, ...]
    attributes: dict

    @property
    def label(self) -> str:
        """What the op is called."""
        return self.op.label

    def plan(self, stream: Stream, layouts: Sequence[Layout], epilogue: Epilogue) -> Plan:
        """The launches for arrays of these layouts, with an epilogue."""
        specs = [Spec(*x) for x in layouts]
        return self.op.make_plan(stream.device, self.names, specs, self.attributes, epilogue)


class Call(NamedTuple):
    """What the kernel of a sequence depends on of one call in it.

    Arrays are referred to by number: ``i`` is an array that was there before the sequence, ``~i`` the
    result of its ``i``-th call.
    """

    op: Formula | Product
    #: Of the arrays, and of the numbers.
    names: tuple[str, ...]
    numbers: tuple[str, ...]
    plan: Plan
    references: tuple[int, ...]


class Kernel(NamedTuple):
    """The one launch for a sequence of calls, and the arrays that it reads."""

    plan: Plan
    references: tuple[int, ...]


class Pending(NamedTuple):
    """A call that waits."""

    op: Formula | Product
    names: tuple[str, ...]
    #: The numbers among the arguments.
    attributes: dict
    plan: Plan
    views: Sequence[View]
    result: View


class Sequel:
    """A sequence of calls, with what has followed it so far: a node of the tree of all sequences."""

    __slots__ = ("calls", "followers", "kernels")

    def __init__(self, calls: tuple[Call, ...] = ()):
        self.calls = calls
        #: By the plan of the next call and what it reads.
        self.followers: Bounded[tuple, Sequel] = Bounded(FOLLOWERS)
        #: By which results are stored: the kernel, or how often it would have been used.
        self.kernels: dict[tuple[bool, ...], Kernel | int] = {}

    def kernel(self, stream: Stream, stored: tuple[bool, ...], leaves: Sequence[View]) -> Kernel | None:
        """The one launch for the sequence; None until it has come up often enough."""
        known = self.kernels.get(stored, 0)
        if isinstance(known, Kernel):
            return known
        if known < REPEATS or len(self.calls) == 1:
            self.kernels[stored] = known + 1
            return None
        made = self.kernels[stored] = self._kernel(stream, stored, [view.layout for view in leaves])
        return made

    def _kernel(self, stream: Stream, stored: Sequence[bool], layouts: Sequence[Layout]) -> Kernel:
        first = self.calls[0]
        product = first.op if isinstance(first.op, Product) else None
        formulas = self.calls if product is None else self.calls[1:]
        read = sorted({r for call in formulas for r in call.references if r >= 0})
        slots = {r: slot for slot, r in enumerate(read, 0 if product is None else 1)}
        leaves = {r: expr.operand(slot, layouts[r].dtype) for r, slot in slots.items()}
        values = [] if product is None else [expr.operand(0, first.plan.layouts[0].dtype)]
        scalars: list[np.dtype] = []
        for op, names, numbers, plan, references in formulas:
            arguments = [leaves[r] if r >= 0 else values[~r] for r in references]
            result = plan.layouts[0].dtype
            assert not isinstance(op, Product), "a product is the first call"
            value = op.expression(names, arguments, numbers, len(scalars), result)
            values.append(expr.cast(value, result))
            scalars += [result] * len(numbers)
        kept = [value for value, is_stored in zip(values, stored, strict=True) if is_stored]
        own = [layouts[r] for r in read]
        if product is None:
            return Kernel(self._map(stream, kept, own, scalars), tuple(read))
        functions = stream.device.capabilities.own_functions
        epilogue = Epilogue(tuple(kept), tuple([x.dtype for x in own]), tuple(scalars), functions)
        plan = product.plan(stream, [layouts[r] for r in first.references], epilogue)
        return Kernel(plan, (*first.references, *read))

    def _map(self, stream: Stream, values: Sequence[Expr], layouts: Sequence[Layout], scalars) -> Plan:
        shape, dtype = self.calls[0].plan.layouts[0]
        outputs = [map.Output(v, layout.broadcast(shape, shape, v.dtype)) for v in values]
        operands = [layout.broadcast(x.shape, shape, x.dtype) for x in layouts]
        name = joint_name([call.op.label for call in self.calls], "forward", dtype)
        return map.plan(stream.device, name, shape, outputs, operands, scalars)


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
        if self._first is not None:
            _, _, attributes, plan, views, result = self._first
            plan.run(self._stream, views, tuple(attributes.values()), (result,))
            self._first = None
            return
        held = self._held()
        kernel = self._sequence.kernel(self._stream, tuple([s is not None for s in held]), self._leaves)
        if kernel is None:
            self._enqueue_each(held)
        else:
            made = [s for s in held if s is not None]
            targets = [View(s, 0, x) for s, x in zip(made, kernel.plan.layouts, strict=True)]
            views = [self._leaves[r] for r in kernel.references]
            kernel.plan.run(self._stream, views, self._numbers, targets)
            self.merged = kernel.plan
        self._leaves, self._unread = [], []  # the tape keeps this object, but none of the memory

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
