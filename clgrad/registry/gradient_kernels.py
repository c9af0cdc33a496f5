"""Gradient kernels of elementwise ops: the rules, called with symbolic operands, as C.

One launch serves all inputs of the output's shape; an input that was broadcast gets one map-and-reduce
launch, which sums over the repeated axes as it goes. What is already known of a gradient is added in the
same launch, and an array that is an input twice gets the sum of both rules.
"""

from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.device import Device
from clgrad.kernels import expr, layout, map, reduce
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Stream, View
from clgrad.registry.operator import kernel_name
from clgrad.tape import Node


def as_expr(value, dtype: np.dtype) -> Expr:
    """The result of a formula or rule, which may be a number, as an expression."""
    return value if isinstance(value, Expr) else expr.constant(value, dtypes.compute_type(dtype))


class GradientKernels:
    """The plans for one pattern of wanted inputs (see ``Elementwise.fused_vjp``)."""

    def __init__(self, op, device: Device, node: Node, dy: Layout, pattern: tuple):
        self._op = op
        self._device = device
        self._dy = dy  # may be smaller than the output: it broadcasts
        self._output: Layout = node.outputs[0]
        pattern = pattern[1:]
        self._scalars = [self._output.dtype] * len(node.attributes)
        self._groups = self._group(node, pattern)
        members = {i for group in self._groups.values() for i in group}
        #: Keys of the saved arrays that the rules read.
        self._keys = op._keeps(node.names, tuple(i in members for i in range(len(node.names))))
        self._operands, symbols = self._bind(node)

        self._same: list[int] = []  # inputs whose gradient is dy itself
        self._added: list[int] = []  # inputs whose known gradient the map adds
        self._reductions: list[tuple[Plan, int]] = []
        self._map: tuple[Plan, list[int]] | None = None
        self._plan(node, pattern, symbols)

    def _group(self, node: Node, pattern) -> dict[int, list[int]]:
        """Inputs that have a rule, by the first input that is the same array."""
        groups: dict[int, list[int]] = {}
        for i, wanted in enumerate(pattern):
            if wanted is not None and self._op.rule_for(node.names[i]) is not None:
                groups.setdefault(wanted[0], []).append(i)
        return groups

    def _read(self, layout_: Layout) -> layout.Operand:
        return layout.broadcast(layout_.shape, self._output.shape, layout_.dtype)

    def _bind(self, node: Node) -> tuple[list[layout.Operand], dict[str, Expr]]:
        """Operands dy and the saved arrays, and what the rules' parameters stand for."""
        operands = [self._read(self._dy)]
        symbols = {"dy": expr.operand(0, self._dy.dtype)}
        for slot, key in enumerate(self._keys, 1):
            name, meta = _saved(node, key)
            operands.append(self._read(meta))
            symbols[name] = expr.operand(slot, meta.dtype)
        for slot, name in enumerate(node.attributes):
            symbols[name] = expr.scalar(slot, self._output.dtype)
        return operands, symbols

    def _plan(self, node: Node, pattern, symbols: dict[str, Expr]) -> None:
        full: dict[int, Expr] = {}
        for first, members in self._groups.items():
            values = [self._value(node, i, symbols) for i in members]
            value = values[0]
            for other in values[1:]:
                value = value + other
            meta = node.input_meta(first)
            if meta.shape != self._output.shape:
                self._reductions.append((self._reduce_plan(node, first, meta, value), first))
            elif value is symbols["dy"] and meta is self._output and pattern[first][1] is None:
                self._same.append(first)
            else:
                full[first] = value
        if full:
            self._map = self._map_plan(node, pattern, full)

    def _value(self, node: Node, i: int, symbols: dict[str, Expr]) -> Expr:
        rule = self._op.gradients[node.names[i]]
        result = rule.function(**{need: symbols[need] for need in rule.needs})
        return as_expr(result, self._output.dtype)

    def _map_plan(self, node: Node, pattern, full: dict[int, Expr]) -> tuple[Plan, list[int]]:
        operands = list(self._operands)
        outputs = []
        for first, value in full.items():
            known = pattern[first][1]
            if known is not None:
                value = expr.operand(len(operands), known.dtype) + value
                operands.append(self._read(known))
                self._added.append(first)
            outputs.append(map.Output(value, self._read(node.input_meta(first))))
        name = self._name("_".join(node.names[first] for first in full))
        shape = self._output.shape
        plan = map.plan(self._device, name, shape, outputs, operands, self._scalars)
        return plan, list(full)

    def _reduce_plan(self, node: Node, first: int, meta: Layout, value: Expr) -> Plan:
        shape = self._output.shape
        lead = len(shape) - len(meta.shape)
        axes = [a for a, n in enumerate((1,) * lead + meta.shape) if a < lead or n != shape[a]]
        return reduce.plan(
            self._device,
            self._name(node.names[first]),
            shape,
            axes,
            [reduce.Reduction(value, "sum", meta.dtype)],
            self._operands,
            self._scalars,
            out_shape=meta.shape,
        )

    def _name(self, arguments: str) -> str:
        return kernel_name(self._op.label, f"grad_{arguments}", self._output.dtype)

    def run(
        self, stream: Stream, node: Node, dy: View, known: Sequence[NDArray | None]
    ) -> dict[int, tuple[NDArray, bool]]:
        """Enqueue the launches (see ``Elementwise.fused_vjp``)."""
        views = [dy]
        for key in self._keys:
            views.append(node.load(key, node.names[key] if key >= 0 else "y"))
        scalars = tuple(node.attributes.values())
        gradients = {i: (NDArray(dy), False) for i in self._same}
        for plan, i in self._reductions:
            (view,) = plan.run(stream, views, scalars)
            gradients[i] = NDArray(view), False
        if self._map is not None:
            plan, targets = self._map
            views += [g._view for g in (known[i] for i in self._added) if g is not None]
            for i, view in zip(targets, plan.run(stream, views, scalars), strict=True):
                gradients[i] = NDArray(view), i in self._added
        return gradients


def _saved(node: Node, key: int) -> tuple[str, Layout]:
    """Name and layout of a saved array by its key (an input index, or ~ an output index)."""
    return (node.names[key], node.input_meta(key)) if key >= 0 else ("y", node.outputs[~key])
