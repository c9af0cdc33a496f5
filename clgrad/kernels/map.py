"""Planner of elementwise kernels: expressions over an iteration space, each position on its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import expr, layout, template, tuning
from clgrad.kernels.access import Access, fitting, vector_width
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.layout import Operand
from clgrad.kernels.parameters import MapCpu, MapGpu
from clgrad.kernels.signature import Signature

#: Elements below which a further CPU work-item costs more than it brings.
CPU_GRAIN = 8192
#: Elements of a row below which vectors narrower than a register bring nothing.
SHORT = 4
#: Bytes that one GPU work-item moves at a time (a 128-bit transaction).
GPU_VECTOR_BYTES = 16
#: Operands and operations of an element that counts as one for the number of work-items.
_LIGHT = 16
#: Arrays that one launch adds up: compilers take seconds for hundreds, and devices limit arguments.
ADDENDS = 32
#: Elements of a row from which on some scalars at its beginning cost less than stores that are not aligned.
_LONG = 512


@dataclass(frozen=True)
class Output:
    """One result of a map: its formula, and where it is stored.

    ``operand`` gives strides over the iteration space, so a map can write into part of an array.
    """

    value: Expr
    operand: Operand


@dataclass(frozen=True, eq=False)
class Formula:
    """What a plan computes, for those who make one of several: the arguments of :func:`plan`."""

    shape: tuple[int, ...]
    outputs: tuple[Output, ...]
    operands: tuple[Operand, ...]
    scalars: tuple[np.dtype, ...]


def plan(
    device: Device,
    name: str,
    shape: Sequence[int],
    outputs: Sequence[Output],
    operands: Sequence[Operand],
    scalars: Sequence[np.dtype] = (),
    out_shapes: Sequence[tuple[int, ...]] | None = None,
) -> Plan:
    """Plan ``outputs[k].value`` at each position of ``shape``.

    Parameters
    ----------
    device : Device
    name : str
        Kernel name, ``<op>_<forward|grad_ARG>_<dtype>``.
    shape : sequence of int
        The iteration space.
    outputs : sequence of Output
    operands : sequence of Operand
        Operand ``i`` is what ``expr.operand(i)`` or ``expr.index(i)`` stands for. The plan's inputs are
        the array operands, in order.
    scalars : sequence of numpy.dtype
        Dtypes of the numbers passed to each run.
    out_shapes : sequence of tuple of int, optional
        Shapes to allocate for the outputs; the iteration space where not given.
    """
    shape = tuple(shape)
    if out_shapes is None:
        out_shapes = [shape] * len(outputs)
    allocations = [(s, _storage(o.operand)) for s, o in zip(out_shapes, outputs, strict=True)]
    count = sum(o.dtype is not None for o in operands)
    if math.prod(shape) == 0:
        return Plan(device, [], allocations, count)
    made = Plan(device, [step(device, name, shape, outputs, operands, scalars)], allocations, count)
    made.formula = Formula(shape, tuple(outputs), tuple(operands), tuple(scalars))
    return made


def plan_sum(device: Device, name: str, shape: tuple[int, ...], dtype: np.dtype, count: int) -> Plan:
    """Plan the sum of ``count`` arrays of one shape and dtype, added in their order.

    Of more than ADDENDS, each launch adds so many to what there is, which is kept in the dtype of the
    computation: the bits are those of one launch.
    """
    dense = layout.broadcast(shape, shape, dtype)
    if count <= ADDENDS or math.prod(shape) == 0:
        return plan(device, name, shape, [Output(_sum([dtype] * count), dense)], [dense] * count)
    kept, total = replace(dense, dtype=dtypes.compute_type(dtype)), Scratch(0)
    steps = []
    for first in range(0, count, ADDENDS):
        last = min(first + ADDENDS, count)
        operands = [dense] * (last - first)
        sources: list[In | Scratch] = [In(i) for i in range(first, last)]
        if first:
            operands, sources = [kept, *operands], [total, *sources]
        made, target = (dense, Out(0)) if last == count else (kept, total)
        output = Output(_sum([_storage(o) for o in operands]), made)
        steps.append(step(device, name, shape, [output], operands, sources=sources, targets=[target]))
    return Plan(device, steps, [(shape, dtype)], count, [layout.footprint(kept, shape)])


def _sum(storages: Sequence[np.dtype]) -> Expr:
    total = expr.operand(0, storages[0])
    for slot, dtype in enumerate(storages[1:], 1):
        total = total + expr.operand(slot, dtype)
        if dtype == dtypes.bool_:
            total = expr.compare("ne", total, 0)  # a count would wrap around
    return total


def _storage(operand: Operand) -> np.dtype:
    assert operand.dtype is not None, "an output needs memory"
    return operand.dtype


def step(
    device: Device,
    name: str,
    shape: Sequence[int],
    outputs: Sequence[Output],
    operands: Sequence[Operand],
    scalars: Sequence[np.dtype] = (),
    sources: Sequence[In | Scratch] | None = None,
    targets: Sequence[Out | Scratch] | None = None,
) -> Step:
    """One launch of a map, for plans of several.

    ``sources`` says which argument holds each array operand, ``targets`` each output; by default the
    plan's inputs and outputs in order.
    """
    sources = [In(i) for i in range(len(operands))] if sources is None else sources
    targets = [Out(i) for i in range(len(outputs))] if targets is None else targets
    used = sorted(expr.inputs_of(o.value for o in outputs))
    everything = [o.operand for o in outputs] + [operands[slot] for slot in used]
    sizes, strides = layout.merge_axes(shape, [o.strides for o in everything])
    signature = Signature(layout.needs_long(shape, everything))
    arguments: list = [*targets, *[array_argument(operands, slot, sources) for slot in used]]
    names = [*[f"y{i}" for i in range(len(outputs))], *[f"x{slot}" for slot in used]]
    accesses = [Access(n, o, s) for n, o, s in zip(names, everything, strides, strict=True)]
    for access, argument in zip(accesses, arguments, strict=True):
        access.declare(signature, argument)
    for slot, dtype in enumerate(scalars):
        signature.scalar(f"c{slot}", slot, dtype)
    writes, reads = accesses[: len(outputs)], dict(zip(used, accesses[len(outputs) :], strict=True))
    weight = max(1, expr.size(o.value for o in outputs) // _LIGHT)
    source, width = _source(device, name, sizes, signature, outputs, writes, reads, weight)
    blocks = math.prod(sizes[:-1]) * -(-sizes[-1] // width)
    global_size, local_size = ranges(device, blocks, math.prod(sizes) * weight)
    touches = {
        argument: layout.footprint(operand, shape)
        for argument, operand in zip(arguments, everything, strict=True)
        if argument is not None
    }
    return Step(name, source, global_size, local_size, signature.args, touches=touches)


def _source(
    device: Device,
    name: str,
    sizes: Sequence[int],
    signature: Signature,
    outputs: Sequence[Output],
    writes: Sequence[Access],
    reads: Mapping[int, Access],
    weight: int,
) -> tuple[str, int]:
    """The kernel's source, once all its arguments are declared, and how many elements its vectors have."""
    outer_sizes = signature.rows(sizes)
    width = _width(device, sizes, writes, outputs)
    streams = width > 1 and _streams(device, math.prod(sizes), writes)
    crooked = any(stride % width for stride in writes[0].strides[:-1])
    row = _Row(outputs, reads, device.capabilities.own_functions)
    vector_body = row.body(width, outputs, writes, streams)
    scalar_body = row.body(1, outputs, writes)
    source = template.render(
        "map",
        name=name,
        shape=device.kind,
        signature=signature,
        helpers=sorted(row.helpers, key=str),
        width=width,
        streams=streams,
        aligned=streams and weight == 1 and sizes[-1] >= _LONG and crooked,
        outer_sizes=outer_sizes,
        accesses=[*writes, *reads.values()],
        row_body=row.lines,
        vector_body=vector_body,
        scalar_body=scalar_body,
    )
    return source, width


def array_argument(
    operands: Sequence[Operand], slot: int, sources: Sequence[In | Scratch]
) -> In | Scratch | None:
    """Which of ``sources`` holds operand ``slot``; None for an index operand, which has no memory."""
    if operands[slot].dtype is None:
        return None
    return sources[sum(o.dtype is not None for o in operands[:slot])]


def _width(
    device: Device, sizes: Sequence[int], writes: Sequence[Access], outputs: Sequence[Output]
) -> int:
    if any(w.inner != 1 for w in writes):
        return 1
    cpu = device.kind == "cpu"
    tuned = tuning.of(device, MapCpu) if cpu else tuning.of(device, MapGpu)
    storages, values = [_storage(o.operand) for o in outputs], [o.value for o in outputs]
    width = vector_width(tuned.vector_bytes, storages, values)
    # Few rows are not worth a kernel of their own.
    short = cpu and SHORT <= sizes[-1] < width and math.prod(sizes) >= CPU_GRAIN
    return fitting(width, sizes[-1]) if short else width


def _streams(device: Device, elements: int, writes: Sequence[Access]) -> bool:
    return streams(device, elements * sum(_storage(w.operand).itemsize for w in writes))


class _Row(Emitter):
    """Spells the body of a map's kernel, and, as it comes to them, scalars that are the same along a row.

    They are made once for each row, before its loops: a compiler could not know that what is stored there
    leaves the operands as they are, and would load them, and make what is made of them, for every vector.
    """

    def __init__(self, outputs: Sequence[Output], reads: Mapping[int, Access], own: frozenset[str]):
        super().__init__(1, lambda slot: reads[slot].load("0", 1), _scalar, own=own, prefix="r")
        self._reads = reads
        varying = [slot for slot, access in reads.items() if access.inner]
        self._same = expr.unvarying((o.value for o in outputs), varying)

    def body(
        self, width: int, outputs: Sequence[Output], writes: Sequence[Access], streams: bool = False
    ) -> list[str]:
        """Statements for ``width`` neighbouring elements."""
        reads = self._reads
        emitter = Emitter(
            width,
            lambda slot: reads[slot].load("column", width),
            _scalar,
            lambda slot, address: reads[slot].lookup(address, width),
            self._own,
            lambda node: self.value(node) if id(node) in self._same else None,
        )
        stores = [
            access.store(emitter.value(output.value), output.value.dtype, "column", width, streams)
            for output, access in zip(outputs, writes, strict=True)
        ]
        self.helpers |= emitter.helpers
        return emitter.lines + stores


def _scalar(slot: int) -> str:
    return f"c{slot}"


def ranges(device: Device, blocks: int, elements: int) -> tuple[tuple[int], tuple[int]]:
    """Global and local size for ``blocks`` independent blocks that hold ``elements`` elements."""
    units = device.capabilities.compute_units
    if device.kind == "cpu":
        cpu = tuning.of(device, MapCpu)
        wanted = min(blocks, -(-elements // cpu.grain), cpu.items_per_unit * units)
        return (max(1, wanted),), (1,)
    gpu = tuning.of(device, MapGpu)
    local = gpu.group
    groups = min(-(-blocks // local), gpu.groups_per_unit * units)
    return (max(1, groups) * local,), (local,)


def streams(device: Device, nbytes: int) -> bool:
    """Whether results of so many bytes are stored past the caches.

    A CPU reads a line before it writes to it, unless it is told that all of the line will be written; so
    results that are too large to be found in a cache later cost half as much again as they need to.
    """
    return device.kind == "cpu" and nbytes >= tuning.of(device, MapCpu).stream_bytes
