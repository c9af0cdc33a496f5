"""Planner of map-and-reduce kernels: an expression at each position, combined along some axes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clgrad.device import Device
from clgrad.kernels import expr, layout, reduction, template, tuning
from clgrad.kernels.access import Access, vector_width
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.layout import Operand
from clgrad.kernels.map import GPU_VECTOR_BYTES, array_argument
from clgrad.kernels.parameters import ReduceCpu, ReduceGpu
from clgrad.kernels.reduction import Reduction
from clgrad.kernels.signature import Signature

__all__ = ["Reduction", "join", "plan"]

#: Terms that are added up before their sum is added to the total.
BLOCK = 256
#: How many times as many vectors as it has accumulators make the one row of a result long on CPUs, and
#: accumulators of each row where short ones are reduced together.
LONG, SHORT_UNROLL = 4, 2
#: Elements of a row up to which, and of all rows from which on, rows are reduced in the order of memory
#: though those of one result lie far apart; and vectors of a row from which on (of a deviation's, since to
#: join two of them takes divisions).
READS_ON, READS_ON_VECTORS = (4096, 1 << 18), (2, 32)
#: Vectors side by side that long columns are reduced by on CPUs: the more of a row is read before the next
#: one, on another page, the better. And how many operations they may make up, so that kernels compile fast.
ACROSS, OPERATIONS = (16, 8, 4), 160
#: Bytes of local memory for the accumulators of rows that are reduced in the order of memory; how many rows
#: are taken at a time; elements, of more than caches hold, and vectors of a row from which on that pays.
PANEL_BYTES, PANEL_ROWS, PANEL_ELEMENTS, PANEL_VECTORS = 16384, 8, 1 << 19, 4
#: As how many operations a deviation counts, since its accumulators are larger.
DEVIATION = 20


@dataclass(frozen=True, eq=False)
class Formula:
    """What a plan computes, for those who put more into its kernel: the arguments of :func:`plan`."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    reductions: tuple[Reduction, ...]
    operands: tuple[Operand, ...]
    scalars: tuple[np.dtype, ...]
    out_shape: tuple[int, ...]


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
    kept_shape = tuple(n for a, n in enumerate(shape) if a not in axes)
    out_shape = kept_shape if out_shape is None else out_shape
    assert math.prod(out_shape) == math.prod(kept_shape), "results would be written beside their memory"
    made = _plan(device, name, shape, axes, reductions, operands, scalars, out_shape, sources)
    if made.steps and sources is None and not any(r.part for r in reductions):
        parts = tuple(shape), tuple(axes), tuple(reductions), tuple(operands), tuple(scalars)
        made.formula = Formula(*parts, out_shape)
    return made


def _plan(
    device: Device,
    name: str,
    shape: Sequence[int],
    axes: Sequence[int],
    reductions: Sequence[Reduction],
    operands: Sequence[Operand],
    scalars: Sequence[np.dtype],
    out_shape: tuple[int, ...],
    sources: Sequence[In] | None,
) -> Plan:
    kept = [a for a in range(len(shape)) if a not in axes]
    kept_shape = tuple(shape[a] for a in kept)
    allocations = [(out_shape, r.dtype) for r in reductions]
    if sources is None:
        sources = [In(i) for i in range(sum(o.dtype is not None for o in operands))]
    count = len(set(sources))
    if math.prod(kept_shape) == 0:
        return Plan(device, [], allocations, count)
    space = _Space(device, shape, kept, list(axes), reductions, operands)
    splits = parts = space.splits()
    if _reads_on(space, shape, kept):
        lead = range(kept[0])
        trail = [a for a in axes if a > kept[-1]]
        space = _Space(device, shape, [*lead, *kept], trail, reductions, operands)
        splits, parts = 1, math.prod(shape[a] for a in lead)
    if parts == 1:
        steps = [_step(space, name, reductions, operands, scalars, Out, 1, sources)]
        return Plan(device, steps, allocations, count)
    partial = [Reduction(r.value, r.how, r.value.dtype, part=r.part, place=r.place) for r in reductions]
    outputs = math.prod(kept_shape)
    steps = [
        _step(space, name, partial, operands, scalars, Scratch, splits, sources),
        join(device, f"{name}_join", reductions, parts, outputs, scalars),
    ]
    scratch = [parts * outputs * r.dtype_of(state).itemsize for r in reductions for state in r.states]
    return Plan(device, steps, allocations, count, scratch)


def _reads_on(space: "_Space", shape: Sequence[int], kept: Sequence[int]) -> bool:
    """Whether rows are reduced in the order of memory, and those of one result joined by a second launch.

    So it is with sums over the images and the pixels of each channel: a CPU foresees what is read next if
    that is what lies next, which is worth a launch where caches do not hold it all.
    """
    if space.gpu or space.order == "columns" or not kept or kept[0] == 0:
        return False
    row, vectors = math.prod(shape[kept[-1] + 1 :]), READS_ON_VECTORS[space.deviates]
    dense = len(kept) == kept[-1] + 1 - kept[0]
    return dense and vectors * space.width <= row <= READS_ON[0] and math.prod(shape) >= READS_ON[1]


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
        kinds = [r.dtype_of(state) for state in r.states]
        value, *rest = (expr.operand(slot, kind) for slot, kind in zip(slots, kinds, strict=True))
        part, place = (None, rest[0]) if r.finds else ((rest[0], rest[1]) if rest else None, None)
        totals.append(Reduction(value, r.how, r.dtype, r.finish, part, place))
        operands += [Operand(kind, (outputs, 1)) for kind in kinds]
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
        self.deviates = any(r.how == "deviation" for r in reductions)
        self.team = self._team()
        self.unroll = self._unroll(reductions)
        self.panel = self._panel(reductions)
        self.abreast = self._abreast()
        if self.abreast:
            self.unroll = 1  # few rows are left for the other loop

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
        if self.gpu or any(r.part for r in reductions):
            return 1
        if self.order == "columns":
            operations = expr.size(v for r in reductions for v in r.values)
            return self._across(operations + DEVIATION * sum(r.how == "deviation" for r in reductions))
        unroll = tuning.of(self.device, ReduceCpu).unroll
        least = LONG if len(self.reduced_sizes) == 1 else 1
        return unroll if self.reduced_sizes[-1] >= least * unroll * self.width else 1

    def _across(self, operations: int) -> int:
        if self.width == 1 or self.terms < 64:
            return 1
        fitting = min(self.kept_sizes[-1] // self.width, OPERATIONS // operations)
        return next((n for n in ACROSS if n <= fitting), 1)

    def _panel(self, reductions: Sequence[Reduction]) -> int:
        """Columns whose accumulators lie in local memory, or 0 where registers hold enough of them."""
        small = self.terms < 4 * PANEL_ROWS or self.outputs * self.terms < PANEL_ELEMENTS
        if self.gpu or self.order == "rows" or self.deviates or small or not self._ascending():
            return 0
        operations = PANEL_ROWS * expr.size(v for r in reductions for v in r.values)
        if self.kept_sizes[-1] <= min(self.unroll, PANEL_VECTORS) * self.width or operations > OPERATIONS:
            return 0
        room = min(PANEL_BYTES, self.device.capabilities.local_memory)
        each = 2 * sum(r.dtype_of(state).itemsize for r in reductions for state in r.states)
        most = room // each // self.width * self.width
        if not most:
            return 0
        panels = -(-self.kept_sizes[-1] // most)
        return -(-self.kept_sizes[-1] // (panels * self.width)) * self.width

    def _abreast(self) -> int:
        """Accumulators of each of as many short rows as a vector has lanes, or 0."""
        if self.gpu or self.order == "columns" or self.width < 4 or self.deviates or self.splits() > 1:
            return 0
        matrix = len(self.kept_sizes) == len(self.reduced_sizes) == 1
        cpu, elements = tuning.of(self.device, ReduceCpu), self.outputs * self.terms
        worth = self.outputs >= self.width and elements >= cpu.grain  # it takes longer to compile
        if not matrix or not worth or not self._ascending() or self.terms > cpu.short * self.width:
            return 0
        return SHORT_UNROLL if self.terms >= SHORT_UNROLL * self.width else 1

    def _ascending(self) -> bool:
        """Whether addresses grow with those of the results, so that kernels see where arrays end."""
        return all(s >= 0 for a in self.accesses.values() for s in (a.operand.base, *a.strides))

    def end(self, access: Access) -> int:
        """The address behind the last one that an operand with ascending ones has."""
        first, second = self.kept_sizes, self.reduced_sizes
        sizes = first + second if self.order == "rows" else second + first
        steps = zip(sizes, access.strides, strict=True)
        return access.operand.base + sum((n - 1) * s for n, s in steps) + 1

    def loader(self, width: int) -> Callable[[int], str]:
        """How an :class:`Emitter` of this width reads an operand."""
        return lambda slot: self.accesses[slot].load("column", width)

    def units(self) -> int:
        """Outputs, or blocks of neighbouring outputs, that are reduced together."""
        if self.order == "rows":
            return self.outputs
        return math.prod(self.kept_sizes[:-1]) * -(-self.kept_sizes[-1] // self.side)

    @property
    def side(self) -> int:
        """Neighbouring outputs that are reduced together, in the order "columns"."""
        return self.panel or self.unroll * self.width

    def splits(self) -> int:
        """Parts that the reduced axes are cut into, so that few outputs still fill the device."""
        units, cores = self.units(), self.device.capabilities.compute_units
        if not self.gpu:
            cpu = tuning.of(self.device, ReduceCpu)
            parts = cpu.parts_per_unit * cores // units
            across = self.side if self.order == "columns" else self.width
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
    for access in space.accesses.values():
        if (space.abreast or space.panel) and access.inner and access.operand.dtype is not None:
            signature.fixed(f"{access.name}_end", space.end(access))
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
    if target is Out:
        return [(f"y{i}", reduction.dtype) for i, reduction in enumerate(reductions)]
    return [
        (f"y{i}{state}", reduction.dtype_of(state))
        for i, reduction in enumerate(reductions)
        for state in reduction.states
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
        values[width] = [[reduction.term(emitter, r, v) for v in r.values] for r in reductions]
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
        abreast=space.abreast,
        panel=space.panel,
        together=PANEL_ROWS,
        side=space.side,
        folds=[reduction.folds(space.width, r.value.dtype.itemsize) for r in reductions],
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
    answers = ["" if whole else red.answer for red in reductions]
    emitter = Emitter(width, lambda slot: f"tail{slot}{answers[slot]}", lambda slot: f"c{slot}", own=own)
    stores = []
    for i, red in enumerate(reductions):
        total = Expr("input", red.dtype_of(answers[i]), payload=i)
        result = red.finish(total)
        value = emitter.value(result)
        stores.append(expr.store(red.dtype, value, result.dtype, f"y{i}", "@", width))
        for state in red.states[1:] if whole else ():
            kind, value = red.dtype_of(state), f"({red.ctype(width, state)})(tail{i}{state})"
            stores.append(expr.store(kind, value, kind, f"y{i}{state}", "@", width))
    return ["{", *emitter.lines, *stores, "}"], emitter.helpers
