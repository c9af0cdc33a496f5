"""Gradients of elementwise ops as C: the rules, called with symbolic operands.

The gradients of inputs that have the output's shape are left to chains (``gradient_chain.py``). An input
that was broadcast gets one map-and-reduce launch here, which sums over the repeated axes as it goes; an
array that is an input twice gets the sum of both rules.
"""

from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.device import Device
from clgrad.kernels import expr, layout, reduce
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Stream, View
from clgrad.registry.operator import kernel_name
from clgrad.tape import Node


def as_expr(value, dtype: np.dtype) -> Expr:
    """The result of a formula or rule, which may be a number, as an expression."""
    return value if isinstance(value, Expr) else expr.constant(value, dtypes.compute_type(dtype))


class Pattern:
    """Which gradients of a recorded elementwise op are wanted, and what their rules read.

    Parameters
    ----------
    node : Node
        Any of the nodes that have this plan.
    first : sequence of int or None
        For each input the first one that is the same array; None where no gradient is wanted.

    Attributes
    ----------
    full : tuple of tuple of int
        Inputs of the output's shape that have a rule; those that are the same array stand together.
    reduced : tuple of tuple of int
        The same of inputs that were broadcast.
    keys : tuple of int
        Saved arrays that the rules of ``full`` read (an input index, or ~ an output index).
    """

    def __init__(self, node: Node, first: Sequence[int | None]):
        groups: dict[int, list[int]] = {}
        for i, leader in enumerate(first):
            if leader is not None and node.op.rule_for(node.names[i]) is not None:
                groups.setdefault(leader, []).append(i)
        shape = node.outputs[0].shape
        whole = {leader: node.input_meta(leader).shape == shape for leader in groups}
        self.full = tuple(tuple(group) for leader, group in groups.items() if whole[leader])
        #: The first of each group in ``full``, and the shape of their gradients.
        self.leaders, self.shape = tuple(group[0] for group in self.full), shape
        self.reduced = tuple(tuple(group) for leader, group in groups.items() if not whole[leader])
        self.keys = self.read_by(node, self.full)

    @staticmethod
    def read_by(node: Node, groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """Keys of the saved arrays that the rules of some inputs read."""
        members = {i for group in groups for i in group}
        return node.op._keeps(node.names, tuple(i in members for i in range(len(node.names))))

    def symbols(
        self, node: Node, dy: Expr, saved: Sequence[Expr], scalars: int, keys=None
    ) -> dict[str, Expr]:
        """What the parameters of the rules stand for; numbers have the slots from ``scalars`` on."""
        names = [name_of(node, key) for key in (self.keys if keys is None else keys)]
        symbols = {"dy": dy, **dict(zip(names, saved, strict=True))}
        for slot, name in enumerate(node.attributes, scalars):
            symbols[name] = expr.scalar(slot, node.outputs[0].dtype)
        return symbols

    @staticmethod
    def value(node: Node, i: int, symbols: dict[str, Expr]) -> Expr:
        """What the rule of an input gives."""
        rule = node.op.gradients[node.names[i]]
        result = rule.function(**{need: symbols[need] for need in rule.needs})
        return as_expr(result, node.outputs[0].dtype)


def bound(node: Node, keys: Sequence[int]) -> list[View]:
    """The saved arrays of some keys (see ``Node.load``)."""
    return [node.load(key, name_of(node, key)) for key in keys]


def name_of(node: Node, key: int) -> str:
    """What the rules call a saved array."""
    return node.names[key] if key >= 0 else "y"


class ReducedGradients:
    """The launches for the inputs that were broadcast (see ``Elementwise.reduced_vjp``)."""

    def __init__(self, device: Device, node: Node, dy: Layout, pattern: Pattern):
        self._keys = pattern.read_by(node, pattern.reduced)
        metas = [node.outputs[0] if key < 0 else node.input_meta(key) for key in self._keys]
        output = node.outputs[0]
        operands = [layout.broadcast(m.shape, output.shape, m.dtype) for m in (dy, *metas)]
        saved = [expr.operand(slot, meta.dtype) for slot, meta in enumerate(metas, 1)]
        symbols = pattern.symbols(node, expr.operand(0, dy.dtype), saved, 0, self._keys)
        self._plans: list[tuple[int, Plan]] = []
        for members in pattern.reduced:
            value = pattern.value(node, members[0], symbols)
            for other in members[1:]:
                value = value + pattern.value(node, other, symbols)
            plan = _reduce_plan(device, node, members[0], value, operands)
            plan.label = f"gradient of {node.op.label}"
            self._plans.append((members[0], plan))

    def run(self, stream: Stream, node: Node, dy: View) -> dict[int, NDArray]:
        """Enqueue the launches."""
        views = [dy, *bound(node, self._keys)]
        scalars = tuple(node.attributes.values())
        return {i: NDArray(plan.run(stream, views, scalars)[0]) for i, plan in self._plans}


def _reduce_plan(
    device: Device, node: Node, i: int, value: Expr, operands: Sequence[layout.Operand]
) -> Plan:
    shape, meta = node.outputs[0].shape, node.input_meta(i)
    dtype = node.outputs[0].dtype
    lead = len(shape) - len(meta.shape)
    axes = [a for a, n in enumerate((1,) * lead + meta.shape) if a < lead or n != shape[a]]
    return reduce.plan(
        device,
        kernel_name(node.op.label, f"grad_{node.names[i]}", dtype),
        shape,
        axes,
        [reduce.Reduction(value, "sum", meta.dtype)],
        operands,
        [dtype] * len(node.attributes),
        out_shape=meta.shape,
    )
