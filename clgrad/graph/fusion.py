"""Formulas of elementwise launches, and how those of several become one kernel's.

What an elementwise launch computes is known as an expression (:mod:`clgrad.kernels.expr`), so one kernel
can be made for several launches over the same positions: what one reads of another it computes itself, and
what nobody else reads is never stored. Each result is rounded to its dtype, as if it had been.
"""

import functools
import re
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.deferred import Number
from clgrad.device import Device
from clgrad.graph.ir import Instruction, Launch, Value
from clgrad.kernels import expr, layout, map
from clgrad.kernels.expr import Expr
from clgrad.kernels.layout import Operand

#: Arrays that one kernel reads and writes, its numbers, and parts of its formulas, at most: arguments are
#: limited (1024 bytes on PoCL), and so are registers.
READS, RESULTS, NUMBERS, SIZE = 14, 8, 32, 400


@dataclass(frozen=True, eq=False)
class Formulas:
    """Elementwise formulas over one iteration space, with the arrays that they read and write.

    Attributes
    ----------
    shape : tuple of int
    operands : tuple of (Operand, Value or None)
        What slot ``i`` of the expressions stands for; index operands have no array.
    results : tuple of (Expr, Value)
        Written C-contiguously over the space.
    numbers : tuple of (dtype, number)
    labels : tuple of str
        The ops that they do the work of.
    """

    shape: tuple[int, ...]
    operands: tuple[tuple[Operand, Value | None], ...]
    results: tuple[tuple[Expr, Value], ...]
    numbers: tuple[tuple[np.dtype, Any], ...]
    labels: tuple[str, ...]
    line: str
    #: The launch that they were found in, as long as they are the same.
    launched: Launch | None = None

    @functools.cached_property
    def size(self) -> int:
        """Number of positions."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_cheap(self) -> bool:
        """Whether to compute it again takes no longer than to store and load it."""
        return expr.functions_of(e for e, _ in self.results) <= expr.CHEAP

    @property
    def bytes_read(self) -> int:
        """What is read, each array counted once."""
        return sum({v: v.layout.nbytes for v in self.reads}.values())

    @property
    def numbers_change(self) -> bool:
        """Whether some number is other at each replay."""
        return any(isinstance(n, Number) for _, n in self.numbers)

    @functools.cached_property
    def is_flat(self) -> bool:
        """Whether every operand is read in the order of memory, so that any shape of this size will do."""
        return all(o.dtype is not None and is_dense(o, self.shape) for o, _ in self.operands)

    @functools.cached_property
    def kind(self) -> tuple | None:
        """What is the same of all formulas that one kernel of groups can compute; None of others."""
        reads = [v.layout.dtype for v in self.reads]
        values = [e for e, _ in self.results]
        if not reads or not values or not self.is_flat or expr.looked_up(values):
            return None
        if any(dtypes.compute_type(dtype) != dtypes.compute_type(reads[0]) for dtype, _ in self.numbers):
            return None
        return (expr.spelled(values), tuple(reads), tuple([v.layout.dtype for v in self.writes]))

    def shaped(self, shape: tuple[int, ...]) -> "Formulas":
        """Flat formulas over another shape."""
        dense = layout.contiguous_strides(shape)
        operands = tuple([(Operand(o.dtype, dense), v) for o, v in self.operands])
        return replace(self, shape=shape, operands=operands, launched=None)

    @functools.cached_property
    def reads(self) -> tuple[Value, ...]:
        """The arrays that are read."""
        return tuple([v for _, v in self.operands if v is not None])

    @functools.cached_property
    def writes(self) -> tuple[Value, ...]:
        """The arrays that are written."""
        return tuple([v for _, v in self.results])

    def only(self, keep: Callable[[Value], bool]) -> "Formulas":
        """Without the results that nobody needs, and what only they have read."""
        results = [(e, v) for e, v in self.results if keep(v)]
        used = expr.inputs_of(e for e, _ in results)
        slots = {slot: i for i, slot in enumerate(sorted(used))}

        def leaf(node: Expr) -> Expr | int:
            if node.function == "scalar":
                return node
            slot = slots[node.payload]
            return slot if node.function == "lookup" else Expr("input", node.dtype, payload=slot)

        made = expr.rewritten([e for e, _ in results], leaf)
        operands = tuple([self.operands[slot] for slot in sorted(used)])
        pairs = tuple(zip(made, [v for _, v in results], strict=True))
        return replace(self, operands=operands, results=pairs, launched=None)

    def launch(self, device: Device) -> Launch:
        """The launch of one kernel for all of them."""
        if self.launched is not None:
            return self.launched
        outputs = [
            map.Output(e, layout.broadcast(self.shape, self.shape, v.layout.dtype)) for e, v in self.results
        ]
        operands = [o for o, _ in self.operands]
        scalars = [dtype for dtype, _ in self.numbers]
        plan = map.plan(device, joint_name(self.labels), self.shape, outputs, operands, scalars)
        plan.label = joint_label(self.labels)
        numbers = tuple([n for _, n in self.numbers])
        return Launch(plan, self.reads, self.writes, numbers, self.line)


def is_dense(operand: Operand, shape: Sequence[int]) -> bool:
    """Whether an operand steps through memory in the order of the positions."""
    dense = layout.contiguous_strides(shape)
    return operand.base == 0 and all(
        n == 1 or own == step for n, own, step in zip(shape, operand.strides, dense, strict=True)
    )


def joint_label(labels: Sequence[str]) -> str:
    """What profiles call a launch that does the work of several."""
    return ", ".join(dict.fromkeys(part for label in labels for part in label.split(", ")))


def joint_name(labels: Sequence[str]) -> str:
    """What its kernel is called: an identifier of C."""
    parts = [re.sub(r"\W+", "_", part) for part in joint_label(labels).split(", ")]
    rest = f"_and_{len(parts) - 4}_more" if len(parts) > 4 else ""
    return f"{'_'.join(part[:40] for part in parts[:4])}{rest}_fused"


def formulas_of(instruction: Instruction) -> Formulas | None:
    """The formulas of an elementwise launch; None for others."""
    if not isinstance(instruction, Launch) or not isinstance(instruction.plan.formula, map.Formula):
        return None
    formula = instruction.plan.formula
    size = int(np.prod(formula.shape, dtype=np.int64))
    results = []
    for output, value in zip(formula.outputs, instruction.writes, strict=True):
        if not is_dense(output.operand, formula.shape) or value.layout.size != size:
            return None
        results.append((output.value, value))
    return Formulas(
        formula.shape,
        with_arrays(formula.operands, instruction.reads),
        tuple(results),
        tuple(zip(formula.scalars, instruction.numbers, strict=True)),
        (instruction.label,),
        instruction.line,
        instruction,
    )


def with_arrays(
    operands: Sequence[Operand], reads: Sequence[Value]
) -> tuple[tuple[Operand, Value | None], ...]:
    """Each operand with the array that it reads; index operands read none."""
    arrays = iter(reads)
    return tuple([(o, None if o.dtype is None else next(arrays)) for o in operands])


class Kernel:
    """The operands and numbers of a kernel, as formulas are put into it."""

    def __init__(self, operands: Sequence[tuple] = (), numbers: Sequence[tuple] = ()):
        self.operands = list(operands)
        self.numbers = list(numbers)

    def take(
        self,
        expressions: Sequence[Expr],
        operands: Sequence[tuple[Operand, Value | None]],
        numbers: Sequence[tuple[np.dtype, Any]],
        shape: Sequence[int],
        made: dict[Value, Expr],
    ) -> list[Expr] | None:
        """Expressions as the kernel spells them; None where it cannot.

        ``made`` are results that the kernel has computed itself, at the same position of ``shape``; they
        are not to be read at others.
        """
        slots: dict[int, Expr | int] = {}
        for slot, (operand, value) in enumerate(operands):
            known = None if value is None else find(made, value)
            if known is not None:
                if not is_dense(operand, shape):
                    return None
                slots[slot] = known
            elif value is not None and any(value.overlaps(other) for other in made):
                return None
            else:
                slots[slot] = self._slot(operand, value)
        scalars = [self._number(dtype, number) for dtype, number in numbers]
        if any(isinstance(slots[slot], Expr) for slot in expr.looked_up(expressions)):
            return None

        def leaf(node: Expr) -> Expr | int:
            if node.function == "scalar":
                return Expr("scalar", node.dtype, payload=scalars[node.payload])
            found = slots[node.payload]
            if node.function == "lookup" or isinstance(found, Expr):
                return found
            return Expr("input", node.dtype, payload=found)

        return expr.rewritten(expressions, leaf)

    def _slot(self, operand: Operand, value: Value | None) -> int:
        pair = (operand, value)
        if pair in self.operands:
            return self.operands.index(pair)
        self.operands.append(pair)
        return len(self.operands) - 1

    def _number(self, dtype: np.dtype, number: Any) -> int:
        for i, (other_dtype, other) in enumerate(self.numbers):
            if other is number and other_dtype == dtype:
                return i
        self.numbers.append((dtype, number))
        return len(self.numbers) - 1


def find(made: dict[Value, Expr], value: Value) -> Expr | None:
    """What a kernel has computed of an array, whatever shape it is read in."""
    known = made.get(value)
    if known is None:
        for other, expression in made.items():
            if other.is_same_memory(value):
                return expression
    return known


def merged(one: Formulas, other: Formulas) -> Formulas | None:
    """Formulas that compute both, the first before the other; None where no one kernel can."""
    if one.shape != other.shape:
        if one.is_flat:
            one = one.shaped(other.shape) if one.size == other.size else one
        elif other.is_flat and one.size == other.size:
            other = other.shaped(one.shape)
        if one.shape != other.shape:
            return None
    made: dict[Value, Expr] = {}
    for expression, value in one.results:
        back = expr.rounded(expression, value.layout.dtype)
        if back is None and any(value.overlaps(v) for v in other.reads):
            return None
        if back is not None:
            made[value] = back
    for value in other.writes:
        if any(value.overlaps(v) for v in one.writes):
            return None
        if not in_place(value, (*one.operands, *other.operands), other.shape):
            return None
    for value in one.writes:
        if not in_place(
            value, [(o, v) for o, v in other.operands if v is None or find(made, v) is None], other.shape
        ):
            return None
    kernel = Kernel(one.operands, one.numbers)
    own = [e for e, _ in other.results]
    expressions = kernel.take(own, other.operands, other.numbers, other.shape, made)
    if expressions is None:
        return None
    results = (*one.results, *zip(expressions, other.writes, strict=True))
    labels = (*one.labels, *other.labels)
    return Formulas(one.shape, tuple(kernel.operands), results, tuple(kernel.numbers), labels, one.line)


def in_place(value: Value, operands: Sequence[tuple], shape: Sequence[int]) -> bool:
    """Whether a result may be written as operands are read: a position is read before it is written."""
    for operand, other in operands:
        if other is not None and value.overlaps(other):
            same = (value.block, value.start) == (other.block, other.start)
            if not same or not is_dense(operand, shape):
                return False
    return True


def fits(operands: Sized, results: Sequence[Expr], numbers: Sized) -> bool:
    """Whether a kernel may have so many arguments, and be so long."""
    return (
        len(operands) <= READS
        and len(results) <= RESULTS
        and len(numbers) <= NUMBERS
        and expr.size(results) <= SIZE
    )
