"""Planner of recurrent layers on CPUs: all steps of a layer in one launch, all their gradients in another.

A cell's formulas come from the caller (:mod:`clgrad.ops.cells`), and are called with symbolic operands that
stand for the columns at hand of each gate. What a work-item has of the batch it takes through all steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import expr, template, tuning
from clgrad.kernels.access import fitting, vector_width
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.parameters import MatmulCpu
from clgrad.kernels.product import ceil_div
from clgrad.kernels.signature import Signature

#: Rows of a batch that are worth a work-item of their own: fewer read the weights for too few products.
_ROWS = 4
#: Multiplications of a step that one core may as well do alone: launches for each step cost more.
_SMALL = 1 << 21
#: Vectors of columns that a backward tile has, and rows that a tile has at most.
_VECTORS, _TALLEST = 2, 12
#: Rows of the weights that a work-item of the packing kernel takes.
_BLOCK = 64

#: ``formulas(x, p, h, c, mask)``: the states after a step, and what is kept for its gradient, by the names
#: of the arrays that they are stored in.
Forward = Callable[..., Mapping[str, list]]
#: ``formulas(gates, h, c, mask, dh, dc)``: the gradients of gates and states, by name likewise.
Backward = Callable[..., Mapping[str, list]]


@dataclass(frozen=True)
class Layer:
    """One layer in one direction.

    Attributes
    ----------
    steps, batch, size : int
        There are so many steps, sequences, and numbers in a state.
    gates, activated : int
        Parts of ``x`` and ``p``, and of what is kept of them for the gradient, each of ``size`` numbers.
    dtype : numpy.dtype
    mask : numpy.dtype or None
        Of the array that says which steps count, where there is one.
    has_cell : bool
        Whether the state has a second part, c.
    reverse : bool
        From the last step to the first.
    """

    steps: int
    batch: int
    size: int
    gates: int
    activated: int
    dtype: np.dtype
    mask: np.dtype | None
    has_cell: bool
    reverse: bool


def takes(device: Device, layer: Layer) -> bool:
    """Whether the kernels are made for the layer, and worth it."""
    if device.kind != "cpu" or layer.dtype != dtypes.compute_type(layer.dtype):
        return False
    if layer.steps < 2 or not layer.batch or layer.size < 2:  # else there are no vectors
        return False
    busy = ceil_div(layer.batch, _ROWS) >= device.capabilities.compute_units
    return busy or layer.batch * layer.gates * layer.size**2 <= _SMALL


def plan_forward(device: Device, name: str, layer: Layer, formulas: Forward) -> Plan:
    """Plan all steps.

    Inputs: x, weight, bias, state, and cell and mask where there are such. Outputs: hs, gates, and cs where
    there is a cell.
    """
    kernel = _Kernel(device, layer, "forward", across=True, vectors=layer.gates)
    given = ["x", "weight", "bias", "state", *_optional(layer)]
    kernel.declare(given, ["hs", "gates", *(["cs"] if layer.has_cell else [])])
    gates = range(layer.gates)
    x = [kernel.by_step("x", g, layer.gates) for g in gates]
    biases = [kernel.load("bias", f"{g} * size + j") for g in gates]
    p = [kernel.operand(f"sums[r * {layer.gates} + {g}] + {bias}") for g, bias in enumerate(biases)]
    made = formulas(x, p, *kernel.states())
    for target, values in made.items():
        kernel.write(target, values)
    states, parts = (layer.steps, layer.batch, layer.size), layer.activated * layer.size
    outputs = [(states, layer.dtype), ((*states[:2], parts), layer.dtype)]
    return kernel.plan(name, outputs + ([(states, layer.dtype)] if layer.has_cell else []), len(given))


def plan_backward(
    device: Device, name: str, layer: Layer, heads: tuple[str, ...], two: bool, formulas: Backward
) -> Plan:
    """Plan the gradients of all steps.

    Inputs: gates, weight, hs, state; cs, cell and mask where there are such; ``heads``, of d_hs and d_cs
    those that there are. Outputs: dx, dp (with ``two``; else they are the same), dh, and dc where there is
    a cell.
    """
    vectors = _VECTORS if layer.size >= _VECTORS * _lanes(device, layer) else 1
    kernel = _Kernel(device, layer, "backward", across=False, vectors=vectors)
    cells = ["cs"] if layer.has_cell else []
    given = ["gates", "weight", "hs", "state", *cells, *_optional(layer), *heads]
    made = ["dx", *(["dp"] if two else []), "dh", *(["dc"] if layer.has_cell else [])]
    kernel.kept, kernel.carry = two or layer.mask is not None, layer.has_cell
    kernel.head = "dp" if two else "dx"
    kernel.declare(given, made)
    gates = [kernel.by_step("gates", g, layer.activated) for g in range(layer.activated)]
    dh = kernel.operand(f"sums[r * {vectors} + v]")
    dh = dh + kernel.by_step("d_hs", 0, 1) if "d_hs" in heads else dh
    dh = dh + kernel.of_state("kept_before") if kernel.kept else dh
    dc = None
    if layer.has_cell:
        dc = kernel.of_state("carry_before")
        dc = dc + kernel.by_step("d_cs", 0, 1) if "d_cs" in heads else dc
    for target, values in formulas(gates, *kernel.states(), dh, dc).items():
        kernel.write(target, values)
    wide, states = (layer.steps, layer.batch, layer.gates * layer.size), (layer.batch, layer.size)
    outputs = [(wide, layer.dtype)] * (1 + two) + [(states, layer.dtype)] * (1 + layer.has_cell)
    return kernel.plan(name, outputs, len(given))


def _optional(layer: Layer) -> list[str]:
    return ["cell"] * layer.has_cell + ["mask"] * (layer.mask is not None)


def _lanes(device: Device, layer: Layer) -> int:
    """Width of vectors."""
    width = vector_width(tuning.of(device, MatmulCpu).vector_bytes, [layer.dtype])
    return fitting(width, layer.size)


class _Kernel:
    """One of the template's kernels, with the launch that packs the weights for it."""

    def __init__(self, device: Device, layer: Layer, kind: str, across: bool, vectors: int):
        self.device, self.layer, self.kind, self.across = device, layer, kind, across
        self.dtype, self.reverse, self.has_cell = layer.dtype, layer.reverse, layer.has_cell
        self.lanes, self.vectors, self.block = _lanes(device, layer), vectors, _BLOCK
        self.T, self.TV = (dtypes.c_type(layer.dtype, width) for width in (1, self.lanes))
        #: Columns of a state that a panel has, and rows of the packed weights.
        self.step = self.lanes * (1 if across else vectors)
        self.depth = layer.size * (1 if across else layer.gates)
        self.panels = ceil_div(layer.size, self.step)
        self.kept = self.carry = False
        self.head = ""
        units = device.capabilities.compute_units
        self.slices = min(units, ceil_div(layer.batch, _ROWS))
        rows = ceil_div(layer.batch, self.slices)
        most = min(max(tuning.of(device, MatmulCpu).accumulators // vectors, 1), _TALLEST)
        self.tiles = ceil_div(rows, most)
        top = ceil_div(rows, self.tiles)
        self.heights = [height for height in (top, top - 1) if height]
        wide = layer.steps * layer.batch * layer.size * max(layer.gates, layer.activated) >= 1 << 31
        self.signature = Signature(wide)
        self.pointers: list[str] = []
        self.statements: list[str] = []
        self.helpers: list[tuple] = []
        self._texts: list[str] = []
        self._writes: list[tuple[str, str, Expr]] = []

    @property
    def handed(self) -> list[str]:
        """Arrays by which a backward step hands on gradients that do not go through gates."""
        return ["kept"] * self.kept + ["carry"] * self.carry

    def declare(self, given: list[str], made: list[str]) -> None:
        """Declare the kernel's parameters: the plan's inputs and outputs, but for the weights, by name."""
        layer = self.layer
        for i, name in enumerate(given):
            if name != "weight":
                self._array(name, (layer.mask if name == "mask" else None) or layer.dtype, In(i))
        for i, name in enumerate(made):
            self._array(name, layer.dtype, Out(i))
        for i, name in enumerate(["packed", *self.handed]):
            self._array(name, layer.dtype, Scratch(i))
        self.signature.sizes(steps=layer.steps, batch=layer.batch, size=layer.size, depth=self.depth)
        self.signature.sizes(panels=self.panels, slices=self.slices, tiles=self.tiles)

    def _array(self, name: str, dtype: np.dtype, source: In | Out | Scratch) -> None:
        self.signature.array(name, dtype, source)
        self.pointers.append(name)

    def load(self, pointer: str, at: str) -> str:
        """C expression of a vector."""
        return expr.load(self.dtype, pointer, at, self.lanes)

    def operand(self, text: str, dtype: np.dtype | None = None) -> Expr:
        """What a C expression says."""
        self._texts.append(text)
        return expr.operand(len(self._texts) - 1, dtype or self.dtype)

    def by_step(self, name: str, part: int, parts: int) -> Expr:
        """A part of an array that has a row for each step and sequence."""
        return self.operand(self.load(name, f"(row * {parts} + {part}) * size + j"))

    def of_state(self, name: str) -> Expr:
        """An array that has a row for each sequence."""
        return self.operand(self.load(name, "i * size + j"))

    def states(self) -> tuple[Expr, Expr | None, Expr | None]:
        """The states before, h and c, and the mask: what there is of them."""
        mask, layer = None, self.layer
        if layer.mask is not None:
            kind = dtypes.c_type(dtypes.compute_type(layer.mask), self.lanes)
            mask = self.operand(f"({kind})({expr.load(layer.mask, 'mask', 'row')})", layer.mask)
        return self.of_state("h_before"), self.of_state("c_before") if layer.has_cell else None, mask

    def write(self, name: str, values: list) -> None:
        """What to store: in an array by step, or as what is handed on."""
        for part, value in enumerate(values):
            at = "i * size + j" if name in self.handed else f"(row * {len(values)} + {part}) * size + j"
            self._writes.append((f"{name}_after" if name in self.handed else name, at, value))

    def plan(self, name: str, outputs: list, inputs: int) -> Plan:
        """The two launches."""
        own = self.device.capabilities.own_functions
        emitter = Emitter(self.lanes, lambda slot: self._texts[slot], str, own=own)
        names = [emitter.value(value) for *_, value in self._writes]
        stores = [
            expr.store(self.dtype, text, value.dtype, pointer, at, self.lanes)
            for text, (pointer, at, value) in zip(names, self._writes, strict=True)
        ]
        self.statements, self.helpers = emitter.lines + stores, sorted(emitter.helpers, key=str)
        layer, itemsize = self.layer, self.dtype.itemsize
        source = self._render(self.kind, name, self)
        flops = 2 * layer.steps * layer.batch * layer.gates * layer.size**2
        steps = [
            self._pack(f"{name}_pack"),
            Step(name, source, (self.slices, 1, 1), (1, 1, 1), self.signature.args, flops),
        ]
        packed = self.panels * self.depth * self.lanes * self.vectors
        scratch = [packed * itemsize] + [2 * layer.batch * layer.size * itemsize] * len(self.handed)
        return Plan(self.device, steps, outputs, inputs, scratch)

    def _render(self, kernel: str, name: str, k: "_Kernel | _Packing") -> str:
        return template.render("recurrent", kernel=kernel, name=name, k=k, lanes=self.lanes, T=self.T)

    def _pack(self, name: str) -> Step:
        packing = _Packing(self)
        source = self._render("pack", name, packing)
        groups = (self.panels, ceil_div(self.depth, _BLOCK), 1)
        return Step(name, source, groups, (1, 1, 1), packing.signature.args)


class _Packing:
    """The kernel that packs the weights for another."""

    helpers = ()

    def __init__(self, kernel: _Kernel):
        self.dtype, self.TV, self.across = kernel.dtype, kernel.TV, kernel.across
        self.vectors, self.step, self.block = kernel.vectors, kernel.step, _BLOCK
        self.signature = Signature(kernel.panels * kernel.depth * kernel.lanes * kernel.vectors >= 1 << 31)
        self.signature.array("weight", kernel.dtype, In(1))
        self.signature.array("packed", kernel.dtype, Scratch(0))
        self.signature.sizes(size=kernel.layer.size, depth=kernel.depth)
