"""Planner of map-and-reduce kernels: an expression at each position, combined along some axes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import expr, layout, template, tuning
from clgrad.kernels.access import Access, vector_width
from clgrad.kernels.expr import Emitter, Expr
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.layout import Operand
from clgrad.kernels.map import GPU_VECTOR_BYTES, array_argument
from clgrad.kernels.parameters import ReduceCpu, ReduceGpu
from clgrad.kernels.signature import Signature

#: Terms that are added up before their sum is added to the total.
BLOCK = 256
#: Vectors of a long row that are taken at a time on CPUs, each by an accumulator of its own, since a core
#: can have several of them in flight; and how many times as many vectors make a row long.
UNROLL, LONG = 4, 4
#: Vectors side by side that long columns are reduced by on CPUs: the more of a row is read before the next
#: one, on another page, the better. And how many operations they may make up, so that kernels compile fast.
ACROSS, OPERATIONS = (16, 8, 4), 160


@dataclass(frozen=True)
class Reduction:
    """One result: what is combined, how, and what becomes of the total.

    Attributes
    ----------
    value : Expr
        Formula at each position.
    how : str
        ``sum``, ``prod``, ``max``, ``min`` (the last two propagate NaN) or ``deviation``: the sum of
        squares about the mean, which is never a difference of large sums. Its accumulator has the mean
        and the count of the terms beside it (B. P. Welford, 1962), and two are joined as in T. F. Chan,
        G. H. Golub, R. J. LeVeque: "Updating formulae and a pairwise algorithm for computing sample
        variances" (1979).
    dtype : numpy.dtype
        Storage dtype of the result.
    finish : callable, optional
        Formula applied to the total, such as a division for a mean.
    part : (Expr, Expr), optional
        Mean and count of the terms of which ``value`` is the deviation, where those are joined.
    """

    value: Expr
    how: str
    dtype: np.dtype
    finish: Callable[[Expr], Expr] = field(default=lambda total: total)
    part: tuple[Expr, Expr] | None = None

    @property
    def values(self) -> tuple[Expr, ...]:
        """What is read at each position."""
        return (self.value, *(self.part or ()))

    @property
    def states(self) -> tuple[str, ...]:
        """Suffixes of the C variables that make up an accumulator."""
        return ("", "_mean", "_count") if self.how == "deviation" else ("",)

    def ctype(self, width: int) -> str:
        """C type of the accumulator."""
        return dtypes.c_type(self.value.dtype, width)

    def identity(self, width: int) -> str:
        """C spelling of the value that combining leaves unchanged."""
        kind = dtypes.describe(self.value.dtype)
        text = {"prod": "1", "max": kind.min_literal, "min": kind.max_literal}.get(self.how, "0")
        return f"({self.ctype(width)})({text})"

    def declare(self, name: str, width: int) -> str:
        """C statement that makes an empty accumulator."""
        if self.how != "deviation":
            return f"{self.ctype(width)} {name} = {self.identity(width)};"
        zero, counted = self.identity(width), self._count_width(width)
        return (
            f"{self.ctype(width)} {name} = {zero}, {name}_mean = {zero}; "
            f"{self.ctype(counted)} {name}_count = {self.identity(counted)};"
        )

    def _count_width(self, width: int) -> int:
        """Lanes of an accumulator have seen equally many terms, unless those were counted before."""
        return width if self.part else 1

    def take(self, name: str, values: Sequence[str], width: int) -> str:
        """C statement that adds the values of one position to an accumulator."""
        if self.how != "deviation":
            return f"{name} = {self.combine(name, values[0], width)};"
        if self.part:
            value, mean, count = values
            return self._chan(name, value, mean, count, width)
        kind, x = self.ctype(width), values[0]
        return (
            f"{{ {name}_count += 1; const {kind} step = {x} - {name}_mean; "
            f"{name}_mean += step * (1 / {name}_count); {name} += step * ({x} - {name}_mean); }}"
        )

    def join(self, name: str, other: str, width: int) -> str:
        """C statement that adds an accumulator to another."""
        if self.how != "deviation":
            return f"{name} = {self.combine(name, other, width)};"
        return self._chan(name, other, f"{other}_mean", f"{other}_count", width)

    def _chan(self, name: str, value: str, mean: str, count: str, width: int) -> str:
        counted, kind = self.ctype(self._count_width(width)), self.ctype(width)
        return (
            f"{{ const {counted} n = {name}_count + {count}, share = {count} / max(n, ({counted})(1)); "
            f"const {kind} step = {mean} - {name}_mean; {name}_mean += step * share; "
            f"{name} += {value} + step * ({name}_count * share) * step; {name}_count = n; }}"
        )

    def lane(self, name: str, lane: int) -> str:
        """C statement that declares ``lane``, an accumulator for one lane of a wider one."""
        part = f".s{lane:x}"
        parts = [part, part, part if self.part else ""]
        states = zip(self.states, parts, strict=False)
        return f"const {self.ctype(1)} " + ", ".join(f"lane{s} = {name}{s}{p}" for s, p in states) + ";"

    def combine(self, a: str, b: str, width: int) -> str:
        """C spelling of the combination of two values."""
        if self.how in ("sum", "prod"):
            return f"{a} {'+' if self.how == 'sum' else '*'} {b}"
        if self.value.dtype.kind != "f":
            return f"{self.how}({a}, {b})"
        # fmax drops NaN; a comparison with NaN is false, so a NaN that arrives is taken and stays.
        sign = ">" if self.how == "max" else "<"
        if width == 1:
            return f"({b} {sign} {a} || {b} != {b}) ? {b} : {a}"
        return f"select({a}, {b}, ({b} {sign} {a}) | ({b} != {b}))"


def plan(
    device: Device,
    name: str,
    shape: Sequence[int],
    axes: Sequence[int],
    reductions: Sequence[Reduction],
    operands: Sequence[Operand],
    scalars: Sequence[np.dtype] = (),
    out_shape: tuple[int, ...] | None = None,
    sources: Sequence[In] | None = None,
) -> Plan:
    """Plan reductions of expressions over ``axes`` of the iteration space ``shape``.

    Parameters are those of :func:`clgrad.kernels.map.plan`; ``out_shape`` is the shape of every result,
    the kept axes where not given; ``sources`` says which input holds each array operand, by default the
    inputs in order. Reducing nothing gives the identity (0 for a sum).
    """
    kept = [a for a in range(len(shape)) if a not in axes]
    kept_shape = tuple(shape[a] for a in kept)
    out_shape = kept_shape if out_shape is None else out_shape
    allocations = [(out_shape, r.dtype) for r in reductions]
    if sources is None:
        sources = [In(i) for i in range(sum(o.dtype is not None for o in operands))]
    count = len(set(sources))
    if math.prod(kept_shape) == 0:
        return Plan(device, [], allocations, count)
    space = _Space(device, shape, kept, list(axes), reductions, operands)
    splits = space.splits()
    if splits == 1:
        steps = [_step(space, name, reductions, operands, scalars, Out, 1, sources)]
        return Plan(device, steps, allocations, count)
    partial = [Reduction(r.value, r.how, r.value.dtype, part=r.part) for r in reductions]
    outputs = math.prod(kept_shape)
    steps = [
        _step(space, name, partial, operands, scalars, Scratch, splits, sources),
        join(device, f"{name}_join", reductions, splits, outputs, scalars),
    ]
    scratch = [splits * outputs * r.value.dtype.itemsize for r in reductions for _ in r.states]
    return Plan(device, steps, allocations, count, scratch)


def join(
    device: Device,
    name: str,
    reductions: Sequence[Reduction],
    splits: int,
    outputs: int,
    scalars: Sequence[np.dtype],
) -> Step:
    """Second launch: combine the partial results of ``splits``, which lie in the plan's scratch memory.

    Reduction ``i`` writes output ``i``. The scratch memory holds one array of (splits, outputs) for each,
    or for each of its accumulator's variables, in order.
    """
    operands: list[Operand] = []
    totals = []
    for r in reductions:
        slots = range(len(operands), len(operands) + len(r.states))
        value, *rest = (expr.operand(slot, r.value.dtype) for slot in slots)
        part = (rest[0], rest[1]) if rest else None
        totals.append(Reduction(value, r.how, r.dtype, r.finish, part))
        operands += [Operand(r.value.dtype, (outputs, 1))] * len(slots)
    space = _Space(device, (splits, outputs), [1], [0], totals, operands)
    return _step(space, name, totals, operands, scalars, Out, 1, [Scratch(i) for i in range(len(operands))])


class _Space:
    """The iteration space of a reduction, merged, with the loop that suits its memory layout."""

    def __init__(self, device, shape, kept, reduced, reductions, operands):
        self.device = device
        self.used = sorted(expr.inputs_of(v for r in reductions for v in r.values))
        used = [operands[slot] for slot in self.used]
        self.wide = layout.needs_long(shape, used)
        self.kept_sizes, k = self._merge(shape, kept, used)
        self.reduced_sizes, r = self._merge(shape, reduced, used)
        self.order = self._choose_order(k, r)
        first, second = (k, r) if self.order == "rows" else (r, k)
        self.accesses = {
            slot: Access(f"x{slot}", operands[slot], a + b)
            for slot, a, b in zip(self.used, first, second, strict=True)
        }
        self.outputs = math.prod(self.kept_sizes)
        self.terms = math.prod(self.reduced_sizes)
        self.gpu = device.kind != "cpu"
        register = GPU_VECTOR_BYTES if self.gpu else tuning.of(device, ReduceCpu).vector_bytes
        self.width = vector_width(
            register,
            [r.dtype for r in reductions],
            [r.finish(r.value) for r in reductions],  # what finishes a total is a vector in "columns"
        )
        if self.gpu and self.order == "columns":
            self.width = 1  # neighbouring work-items already read neighbouring addresses
        self.team = self._team()
        self.unroll = self._unroll(reductions)

    @staticmethod
    def _merge(shape, axes, operands):
        # Merging may drop axes of size 1, never one of size 0: an empty sum is still a sum.
        return layout.merge_axes(
            [shape[a] for a in axes], [tuple(o.strides[a] for a in axes) for o in operands]
        )

    def _choose_order(self, kept_strides, reduced_strides) -> str:
        """The axes along which operands are contiguous; one that is read again and again counts little."""

        def elements(strides, sizes):
            return math.prod(n for s, n in zip(strides, sizes, strict=True) if s)

        along = across = 0
        for kept, reduced in zip(kept_strides, reduced_strides, strict=True):
            weight = elements(kept, self.kept_sizes) * elements(reduced, self.reduced_sizes)
            along += weight * (reduced[-1] == 1)
            across += weight * (kept[-1] == 1)
        return "columns" if across > along or (across and self.reduced_sizes[-1] == 1) else "rows"

    def _team(self) -> int:
        if not self.gpu or self.order == "columns" or self.terms < 64:
            return 1
        return tuning.of(self.device, ReduceGpu).team

    def _unroll(self, reductions: Sequence[Reduction]) -> int:
        if self.gpu or any(len(r.states) > 1 for r in reductions):
            return 1
        if self.order == "columns":
            return self._across(expr.size(v for r in reductions for v in r.values))
        if all(r.how in ("sum", "prod") and r.value.dtype.itemsize < 8 for r in reductions):
            return 1  # one adds as fast as memory is read; comparisons and doubles take longer
        return UNROLL if self.reduced_sizes[-1] >= LONG * UNROLL * self.width else 1

    def _across(self, operations: int) -> int:
        if self.width == 1 or self.terms < 64:
            return 1
        fitting = min(self.kept_sizes[-1] // self.width, OPERATIONS // operations)
        return next((n for n in ACROSS if n <= fitting), 1)

    def loader(self, width: int) -> Callable[[int], str]:
        """How an :class:`Emitter` of this width reads an operand."""
        return lambda slot: self.accesses[slot].load("column", width)

    def units(self) -> int:
        """Outputs, or blocks of neighbouring outputs, that are reduced together."""
        if self.order == "rows":
            return self.outputs
        return math.prod(self.kept_sizes[:-1]) * -(-self.kept_sizes[-1] // (self.unroll * self.width))

    def splits(self) -> int:
        """Parts that the reduced axes are cut into, so that few outputs still fill the device."""
        units, cores = self.units(), self.device.capabilities.compute_units
        if not self.gpu:
            cpu = tuning.of(self.device, ReduceCpu)
            parts = cpu.parts_per_unit * cores // units
            across = self.width * (self.unroll if self.order == "columns" else 1)
            least = max(1, cpu.grain // min(self.outputs, across))
        elif self.team > 1:
            parts, least = 8 * cores // units, 8 * self.team
        else:
            parts, least = 512 * cores // units, 64
        return max(1, min(parts, self.terms // least))

    def ranges(self, splits: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Global and local size."""
        units, cores = self.units(), self.device.capabilities.compute_units
        if not self.gpu:
            cpu, work = tuning.of(self.device, ReduceCpu), self.outputs * self.terms
            items = min(units, -(-work // cpu.grain), cpu.items_per_unit * cores)
            return (max(1, items), splits), (1, 1)
        gpu = tuning.of(self.device, ReduceGpu)
        if self.team > 1:
            return (min(units, gpu.groups_per_unit * cores) * self.team, splits), (self.team, 1)
        local = gpu.group
        return (min(-(-units // local), gpu.groups_per_unit * cores) * local, splits), (local, 1)


def _step(
    space: _Space,
    name: str,
    reductions: Sequence[Reduction],
    operands: Sequence[Operand],
    scalars: Sequence[np.dtype],
    target: type[Out] | type[Scratch],
    splits: int,
    sources: Sequence[In | Scratch],
) -> Step:
    signature = Signature(space.wide)
    outputs = _stored(reductions, target)
    for i, (output, dtype) in enumerate(outputs):
        signature.array(output, dtype, target(i))
    for slot, access in space.accesses.items():
        access.declare(signature, array_argument(operands, slot, sources))
    for slot, dtype in enumerate(scalars):
        signature.scalar(f"c{slot}", slot, dtype)
    kept_names = signature.axes("n", space.kept_sizes)
    reduced_names = signature.axes("m", space.reduced_sizes)
    for label, value in (
        ("outputs", space.outputs),
        ("kept_rows", math.prod(space.kept_sizes[:-1])),
        ("kept_columns", space.kept_sizes[-1]),
        ("reduced_rows", math.prod(space.reduced_sizes[:-1])),
        ("reduced_columns", space.reduced_sizes[-1]),
    ):
        signature.fixed(label, value)
    source = _source(space, name, signature, reductions, kept_names, reduced_names, outputs)
    global_size, local_size = space.ranges(splits)
    return Step(name, source, global_size, local_size, signature.args)


def _stored(reductions: Sequence[Reduction], target) -> list[tuple[str, np.dtype]]:
    """C name and dtype of each array that is written: results, or all that partial results are made of."""
    return [
        (f"y{i}{state}", reduction.dtype)
        for i, reduction in enumerate(reductions)
        for state in (reduction.states if target is Scratch else ("",))
    ]


@dataclass(frozen=True)
class _Output:
    """What the template's pointer shift needs to know of an output."""

    name: str
    operand: Operand


def _source(space, name, signature, reductions, kept_names, reduced_names, stored) -> str:
    body, values, finish, helpers = {}, {}, {}, set()
    own = space.device.capabilities.own_functions
    for width in {space.width, 1}:
        emitter = Emitter(width, space.loader(width), lambda slot: f"c{slot}", own=own)
        values[width] = [[emitter.value(v) for v in r.values] for r in reductions]
        body[width] = emitter.lines
        finish[width], used = _finish(reductions, width, own, whole=len(stored) > len(reductions))
        helpers |= emitter.helpers | used
    outputs = [_Output(output, Operand(dtype, ())) for output, dtype in stored]
    return template.render(
        "reduce",
        name=name,
        shape=space.device.kind,
        order=space.order,
        team=space.team,
        width=space.width,
        unroll=space.unroll,
        block=BLOCK,
        signature=signature,
        helpers=sorted(helpers, key=str),
        kept_sizes=kept_names,
        reduced_sizes=reduced_names,
        accesses=list(space.accesses.values()),
        arrays=outputs + list(space.accesses.values()),
        reductions=reductions,
        body=body,
        values=values,
        finish=finish,
    )


def _finish(
    reductions: Sequence[Reduction], width: int, own: frozenset[str], whole: bool
) -> tuple[list[str], set]:
    """C lines that finish the totals ``tail0``, ... and store them at the position ``@``.

    With ``whole``, whole accumulators are stored, to be joined later.
    """
    emitter = Emitter(width, lambda slot: f"tail{slot}", lambda slot: f"c{slot}", own=own)
    stores = []
    for i, reduction in enumerate(reductions):
        total = Expr("input", reduction.value.dtype, payload=i)
        result = reduction.finish(total)
        value = emitter.value(result)
        stores.append(expr.store(reduction.dtype, value, result.dtype, f"y{i}", "@", width))
        for state in reduction.states[1:] if whole else ():
            value = f"({reduction.ctype(width)})(tail{i}{state})"
            stores.append(expr.store(reduction.dtype, value, result.dtype, f"y{i}{state}", "@", width))
    return ["{", *emitter.lines, *stores, "}"], emitter.helpers
