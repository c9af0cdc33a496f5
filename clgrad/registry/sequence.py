"""Sequences of elementwise calls, and the one kernel that does the work of each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from clgrad import dtypes
from clgrad.kernels import expr, layout, map
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Stream, View
from clgrad.registry.operator import Spec, joint_name

#: How often a sequence of calls comes up before a kernel is built for it.
REPEATS = 2

#: In the place of that number, of a kernel that the device refuses.
NEVER = -(1 << 62)


class Formula(Protocol):
    """An op that computes element by element (see :class:`clgrad.registry.Elementwise`)."""

    label: str

    def apply(self, names: Sequence[str], arrays: Sequence, attributes: dict) -> Any:
        """Call the op on arrays and numbers by name."""

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


class Sequel:
    """A sequence of calls; a stream keeps the latest."""

    __slots__ = ("_cheap", "calls", "kernels", "stores")

    def __init__(self, calls: tuple[Call, ...]):
        self.calls = calls
        #: Whether results that the tape keeps are stored in any case: they were needed in memory once.
        self.stores = False
        self._cheap: bool | None = None
        #: By which results are stored: the kernel, or how often it would have been used.
        self.kernels: dict[tuple[bool, ...], Kernel | int] = {}

    @classmethod
    def of(cls, calls: tuple[Call, ...], stream: Stream) -> "Sequel":
        """The one object that a stream keeps of these calls."""
        key = tuple([part for call in calls for part in (call.plan, call.references)])
        found = stream.sequences.get(key)
        if found is None:
            found = stream.sequences[key] = cls(calls)
        return found

    def kernel(
        self, stream: Stream, stored: tuple[bool, ...], leaves: Sequence[View], at_once: bool = False
    ) -> Kernel | None:
        """The one launch for the sequence; unless ``at_once``, None until it has come up often enough."""
        known = self.kernels.get(stored, 0)
        if isinstance(known, Kernel):
            return known
        if known < (0 if at_once else REPEATS):
            self.kernels[stored] = known + 1
            return None
        made = self._kernel(stream, stored, [view.layout for view in leaves])
        made.plan.label = ", ".join([call.op.label for call in self.calls])
        self.kernels[stored] = made
        return made

    @property
    def recomputes(self) -> bool:
        """Whether results may be computed again in backward, rather than stored: they are made quickly."""
        if self.stores or self.product is not None:
            return False
        if self._cheap is None:
            leaves = {r: expr.operand(r, dtypes.float32) for r in self.leaves()}
            values, _ = self.values(leaves, 0)
            self._cheap = expr.functions_of(values) <= expr.CHEAP
        return self._cheap

    def _kernel(self, stream: Stream, stored: Sequence[bool], layouts: Sequence[Layout]) -> Kernel:
        product = self.product
        read = self.leaves()
        slots = {r: slot for slot, r in enumerate(read, 0 if product is None else 1)}
        leaves = {r: expr.operand(slot, layouts[r].dtype) for r, slot in slots.items()}
        values, scalars = self.values(leaves, 0)
        kept = [value for value, is_stored in zip(values, stored, strict=True) if is_stored]
        own = [layouts[r] for r in read]
        if product is None:
            return Kernel(self._map(stream, kept, own, scalars), tuple(read))
        functions = stream.device.capabilities.own_functions
        epilogue = Epilogue(tuple(kept), tuple([x.dtype for x in own]), tuple(scalars), functions)
        first = self.calls[0].references
        return Kernel(product.plan(stream, [layouts[r] for r in first], epilogue), (*first, *read))

    @property
    def product(self) -> Product | None:
        """The first call, if it is one of a product."""
        first = self.calls[0].op
        return first if isinstance(first, Product) else None

    def leaves(self) -> list[int]:
        """Numbers of the arrays that the formulas read, but not a product."""
        formulas = self.calls if self.product is None else self.calls[1:]
        return sorted({r for call in formulas for r in call.references if r >= 0})

    def values(
        self, leaves: Mapping[int, Expr] | Sequence[Expr], slot: int
    ) -> tuple[list[Expr], list[np.dtype]]:
        """What the calls compute, with the numbers from ``slot`` on; and the numbers' dtypes.

        A product's element is ``expr.operand(0)``.
        """
        values: list[Expr] = []
        scalars: list[np.dtype] = []
        for op, names, numbers, plan, references in self.calls:
            result = plan.layouts[0].dtype
            if isinstance(op, Product):
                values.append(expr.operand(0, result))
                continue
            arguments = [leaves[r] if r >= 0 else values[~r] for r in references]
            value = op.expression(names, arguments, numbers, slot + len(scalars), result)
            values.append(expr.cast(value, result))
            scalars += [result] * len(numbers)
        return values, scalars

    def _map(self, stream: Stream, values: Sequence[Expr], layouts: Sequence[Layout], scalars) -> Plan:
        shape, dtype = self.calls[0].plan.layouts[0]
        outputs = [map.Output(v, layout.broadcast(shape, shape, v.dtype)) for v in values]
        operands = [layout.broadcast(x.shape, shape, x.dtype) for x in layouts]
        name = joint_name([call.op.label for call in self.calls], "forward", dtype)
        return map.plan(stream.device, name, shape, outputs, operands, scalars)
