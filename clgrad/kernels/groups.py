"""Planners of one operation on many groups of arrays, in as few launches as kernel arguments allow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import expr, layout, template
from clgrad.kernels.access import vector_width
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.map import GPU_VECTOR_BYTES, ranges
from clgrad.kernels.signature import Signature

#: Groups of one launch, at most: the kernel's source grows with them.
MOST_GROUPS = 64
#: Bytes of a pointer and its offset among kernel arguments, and of anything else, at most.
ARRAY_BYTES, NUMBER_BYTES = 16, 8
#: Bytes of kernel arguments that every OpenCL device takes (OpenCL 1.2, table 4.3).
LEAST_PARAMETER_BYTES = 1024


@dataclass(frozen=True)
class _Formula:
    """What happens to each element: C lines for vectors and for single elements, and what they need."""

    reads: Sequence[np.dtype]
    outputs: Sequence[tuple[Expr, np.dtype]]
    width: int

    def lines(self, width: int) -> tuple[list[str], set]:
        """The statements that compute and store ``width`` elements from position ``i`` on."""
        emitter = Emitter(width, lambda s: expr.load(self.reads[s], f"x{s}", "i", width), lambda s: f"c{s}")
        stores = [
            expr.store(dtype, emitter.value(value), value.dtype, f"y{k}", "i", width)
            for k, (value, dtype) in enumerate(self.outputs)
        ]
        return emitter.lines + stores, emitter.helpers


def plan(
    device: Device,
    name: str,
    shapes: Sequence[tuple[int, ...]],
    reads: Sequence[np.dtype],
    outputs: Sequence[tuple[Expr, np.dtype]],
    shared: int,
    each: int,
    tables: Sequence[tuple[np.dtype, bool]] = (),
) -> Plan:
    """Plan a formula over each element of each group of arrays.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Shape of the arrays of each group.
    reads : sequence of numpy.dtype
        Dtypes of a group's inputs; ``expr.operand(i)`` stands for the i-th. The plan's inputs are those of
        the first group, then those of the second, ...
    outputs : sequence of (Expr, numpy.dtype)
        Formula and dtype of a group's results. The plan's outputs are the first result of each group, then
        the second of each, ...
    shared, each : int
        How many numbers all groups share, and how many each has of its own; ``expr.scalar`` counts them in
        this order. A run takes the shared ones, then those of the first group, ...
    tables : sequence of (numpy.dtype, bool)
        Further inputs that hold a number for each group, or (False) one for all; ``expr.scalar`` counts
        them behind the others.
    """
    allocations = [(shape, dtype) for _, dtype in outputs for shape in shapes]
    inputs = len(shapes) * len(reads) + len(tables)
    width = _width(device, [*reads, *(d for _, d in outputs)], [v for v, _ in outputs])
    formula = _Formula(reads, outputs, width)
    filled = [k for k, shape in enumerate(shapes) if math.prod(shape)]
    fixed = len(tables) * ARRAY_BYTES + (shared + 1) * NUMBER_BYTES
    one = (len(reads) + len(outputs)) * ARRAY_BYTES + (each + 1) * NUMBER_BYTES
    steps = []
    for members in _chunks(device, filled, fixed, one):
        step = _Launch(device, name, shapes, formula, members, shared, each, tables)
        steps.append(step.made())
    return Plan(device, steps, allocations, inputs)


def _width(device: Device, storages, values) -> int:
    target = device.capabilities.vector_bytes if device.kind == "cpu" else GPU_VECTOR_BYTES
    return vector_width(target, storages, values)


def _chunks(device: Device, members: Sequence[int], fixed: int, one: int) -> list[Sequence[int]]:
    """The members in parts whose kernel arguments the device takes."""
    room = max(device.capabilities.max_parameter_bytes, LEAST_PARAMETER_BYTES) - fixed
    size = max(1, min(MOST_GROUPS, room // one))
    return [members[i : i + size] for i in range(0, len(members), size)]


class _Launch:
    """One launch for some of the groups."""

    def __init__(self, device, name, shapes, formula, members, shared, each, tables):
        self.device, self.name, self.formula, self.members = device, name, formula, list(members)
        self.tables = list(tables)
        self.sizes = [math.prod(shapes[k]) for k in members]
        self.scalar = dtypes.compute_type(formula.reads[0])
        self.shared = [f"c{s}" for s in range(shared)]
        self.own = [f"c{shared + p}" for p in range(each)]
        self.loaded = [f"c{shared + each + t}" for t in range(len(tables))]
        groups = len(shapes)
        signature = self.signature = Signature(layout.needs_long((sum(self.sizes),), []))
        for slot, label in enumerate(self.shared):
            signature.scalar(label, slot, self.scalar)
        for t, (dtype, _) in enumerate(self.tables):
            signature.array(f"t{t}", dtype, In(groups * len(formula.reads) + t))
        for g, k in enumerate(self.members):
            for i, dtype in enumerate(formula.reads):
                signature.array(f"g{g}_x{i}", dtype, In(k * len(formula.reads) + i))
            for i, (_, dtype) in enumerate(formula.outputs):
                signature.array(f"g{g}_y{i}", dtype, Out(i * groups + k))
            for p, label in enumerate(self.own):
                signature.scalar(f"g{g}_{label}", shared + k * each + p, self.scalar)
            signature.fixed(f"g{g}_size", self.sizes[g])

    def parameters(self) -> str:
        """What the function of one group takes."""
        reads = [
            f"__global const {dtypes.describe(d).storage} *x{i}" for i, d in enumerate(self.formula.reads)
        ]
        writes = [
            f"__global {dtypes.describe(d).storage} *y{i}" for i, (_, d) in enumerate(self.formula.outputs)
        ]
        numbers = [
            f"const {dtypes.c_type(self.scalar)} {n}" for n in (*self.shared, *self.own, *self.loaded)
        ]
        return ", ".join([*reads, *writes, *numbers])

    def arguments(self, g: int) -> str:
        """What the kernel passes to it for group ``g``."""
        names = [f"g{g}_x{i}" for i in range(len(self.formula.reads))]
        names += [f"g{g}_y{i}" for i in range(len(self.formula.outputs))]
        arrays = [f"{n} + {n}_offset" for n in names]
        own = [f"g{g}_{n}" for n in self.own]
        loaded = [
            expr.load(dtype, f"t{t}", f"t{t}_offset + {self.members[g] if every else 0}")
            for t, (dtype, every) in enumerate(self.tables)
        ]
        return ", ".join([*arrays, *self.shared, *own, *loaded])

    def made(self) -> Step:
        """The step."""
        width = self.formula.width
        vector, vector_helpers = self.formula.lines(width)
        single, helpers = self.formula.lines(1)
        source = template.render(
            "groups",
            k=self,
            width=width,
            vector_body=vector,
            scalar_body=single,
            helpers=sorted(helpers | vector_helpers, key=str),
        )
        blocks = sum(-(-n // width) for n in self.sizes)
        return Step(self.name, source, *ranges(self.device, blocks, sum(self.sizes)), self.signature.args)


def plan_sums(
    device: Device,
    name: str,
    sizes: Sequence[int],
    dtype: np.dtype,
    parts: int,
    term: Callable[[Expr], Expr],
) -> Plan:
    """Plan the sums of a term of each element, over ``parts`` shares of each of many arrays.

    Inputs: the arrays. Outputs: the sums, of shape (arrays, parts), in the dtype that is computed in.
    """
    wide = dtypes.compute_type(dtype)
    outputs = [((len(sizes), parts), wide)]
    steps = []
    for members in _chunks(device, range(len(sizes)), ARRAY_BYTES, ARRAY_BYTES + NUMBER_BYTES):
        signature = Signature(layout.needs_long((max(sizes),), []))
        signature.array("y", wide, Out(0))
        for g, k in enumerate(members):
            # An array of size 0 has no memory to point at.
            signature.array(f"x{g}", dtype, In(k)) if sizes[k] else None
            signature.fixed(f"size{g}", sizes[k])
        value = term(expr.operand(0, dtype))
        width = _width(device, [dtype], [value])
        source = template.render(
            "group_sums",
            name=name,
            device=device,
            signature=signature,
            dtype=dtype,
            wide=wide,
            width=width,
            terms={w: _term(value, dtype, w) for w in {width, 1}},
            first=members[0],
            parts=parts,
            filled=[sizes[k] > 0 for k in members],
        )
        steps.append(Step(name, source, (parts, len(members)), None, signature.args))
    return Plan(device, steps, outputs, len(sizes))


def _term(value: Expr, dtype: np.dtype, width: int) -> tuple[list[str], str]:
    """C lines that compute the term of the elements from position ``i`` on, and its name."""
    emitter = Emitter(width, lambda slot: expr.load(dtype, "x", "i", width), str)
    result = emitter.value(value)
    return emitter.lines, result
