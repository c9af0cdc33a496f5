"""One launch for the same formulas of several arrays, whatever their sizes: steps of a net's parameters.

A loop of ``sgd_update``, or of ``w[:] = w - rate * w.grad``, launches a kernel for each parameter. These do
not depend on each other, so that one kernel can go through all of them (:mod:`clgrad.kernels.groups`), as
it does where a Trainer makes the steps.
"""

from collections.abc import Sequence

from clgrad.deferred import Number, is_same
from clgrad.device import Device
from clgrad.graph.fusion import Formulas, joint_label, joint_name
from clgrad.graph.ir import Launch, Value
from clgrad.kernels import expr, groups
from clgrad.kernels.expr import Expr


class Group:
    """Formulas that are the same but for their arrays, and depend on nothing that another one makes."""

    def __init__(self, members: Sequence[Formulas]):
        self.members = tuple(members)
        self.kind = members[0].kind
        self.reads: tuple[Value, ...] = tuple([v for m in members for v in m.reads])
        # As kernels.groups has them: the first result of each, then the second of each.
        results = [[v for _, v in m.results] for m in members]
        self.writes: tuple[Value, ...] = tuple([v for row in zip(*results, strict=True) for v in row])

    def launch(self, device: Device) -> Launch:
        """The launch of all of them."""
        first = self.members[0]
        columns = list(zip(*[[n for _, n in m.numbers] for m in self.members], strict=True))
        shared = [s for s, column in enumerate(columns) if all(_are_one(n, column[0]) for n in column)]
        each = [s for s in range(len(columns)) if s not in shared]
        slots = {slot: i for i, slot in enumerate([*shared, *each])}

        def leaf(node: Expr) -> Expr:
            if node.function == "scalar":
                return Expr("scalar", node.dtype, payload=slots[node.payload])
            return node

        values = expr.rewritten([e for e, _ in first.results], leaf)
        outputs = [(e, v.layout.dtype) for e, (_, v) in zip(values, first.results, strict=True)]
        labels = [label for m in self.members for label in m.labels]
        plan = groups.plan(
            device,
            joint_name(labels),
            [m.shape for m in self.members],
            [v.layout.dtype for v in first.reads],
            outputs,
            shared=len(shared),
            each=len(each),
        )
        plan.label = joint_label(labels)
        numbers = [columns[s][0] for s in shared]
        numbers += [columns[s][k] for k in range(len(self.members)) for s in each]
        return Launch(plan, self.reads, self.writes, tuple(numbers), first.line)


def may_wait(one: Formulas, other: Formulas) -> bool:
    """Whether two that share no array had better be grouped with others: they are steps of parameters."""
    if any(all(v.block.is_local for v in f.writes) for f in (one, other)):
        return False
    return one.kind is not None and one.kind == other.kind


def _are_one(number: object, other: object) -> bool:
    if isinstance(number, Number) or isinstance(other, Number):
        return number is other
    return is_same(number, other)
