"""Makes one launch of several, where nothing in between needs what they do."""

import functools
import operator
from collections.abc import Iterable

from clgrad.dtypes import compute_type
from clgrad.graph.endings import Ending, is_product
from clgrad.graph.fusion import (
    Formulas,
    fits,
    formulas_of,
    merged,
)
from clgrad.graph.grouping import Group, may_wait
from clgrad.graph.ir import Block, Copy, Graph, Launch, Value, depends, writer
from clgrad.graph.prologues import with_prologue
from clgrad.kernels import reduce
from clgrad.memory import Stream

#: How far apart in the graph two launches may be that are made one.
REACH = 96

#: Elements up to which launches that share no array are made one, since a launch costs more than they do.
SMALL = 1 << 15

#: A launch, a copy, or the formulas of elementwise launches, which may yet be merged.
Node = Launch | Copy | Formulas | Group


def fused(graph: Graph, stream: Stream) -> Graph:
    """The graph with fewer launches."""
    work = _Work([formulas_of(i) or i for i in graph.instructions], graph, stream)
    work.finish_products()
    work.merge()
    work.repeat()
    work.begin_reductions()
    work.group()
    return graph.with_instructions(
        [n.launch(stream.device) if isinstance(n, Formulas | Group) else n for n in work.nodes]
    )


class _Work:
    """A graph that is being made smaller."""

    def __init__(self, nodes: list[Node], graph: Graph, stream: Stream):
        self.nodes = nodes
        self._stream = stream
        self._handed = {v.block for v in graph.outputs}
        #: Which nodes read of a block, by id.
        self._readers: dict[Block, dict[int, Node]] = {}
        self._exchange((), nodes)

    def _exchange(self, gone: Iterable[Node], new: Iterable[Node]) -> None:
        """Note that some nodes are replaced by others."""
        for node in gone:
            for value in node.reads:
                self._readers[value.block].pop(id(node), None)
        for node in new:
            for value in node.reads:
                self._readers.setdefault(value.block, {})[id(node)] = node

    def _needed(self, value: Value, but: Iterable[Node]) -> bool:
        """Whether something else than some nodes needs a value in memory."""
        if not value.block.is_local or value.block in self._handed:
            return True
        apart = {id(n) for n in but}
        readers = [n for key, n in self._readers.get(value.block, {}).items() if key not in apart]
        return any(v.overlaps(value) for node in readers for v in node.reads)

    # Elementwise launches

    def merge(self) -> None:
        """Make one launch of elementwise ones over the same positions."""
        waiting, self.nodes = self.nodes, []
        for node in waiting:
            found = self._partner(node, len(self.nodes)) if isinstance(node, Formulas) else None
            if found is None:
                self.nodes.append(node)
            else:
                at, joint, moves_up = found
                self._exchange((self.nodes[at], node), (joint,))
                if moves_up:
                    self.nodes[at] = joint
                else:
                    del self.nodes[at]
                    self.nodes.append(joint)

    def _partner(self, node: Formulas, place: int) -> tuple[int, Formulas, bool] | None:
        """An earlier node that can be made one with this one, what they become, and where it stands."""
        blocked = False
        for at in range(place - 1, max(-1, place - 1 - REACH), -1):
            other = self.nodes[at]
            if isinstance(other, Formulas) and other.size == node.size and self._may_pay(other, node):
                moves_up = not blocked
                if moves_up or not any(depends(n, other) for n in self.nodes[at + 1 : place]):
                    joint = self._joint(other, node)
                    if joint is not None:
                        return at, joint, moves_up
            blocked = blocked or depends(node, other)
        return None

    @staticmethod
    def _may_pay(one: Formulas, other: Formulas) -> bool:
        """Whether they have an array in common, or are so small that launches are what they cost."""
        mine = {*one.reads, *one.writes}
        if not mine.isdisjoint((*other.reads, *other.writes)):
            return True
        return one.size <= SMALL and not may_wait(one, other)

    def _joint(self, one: Formulas, other: Formulas) -> Formulas | None:
        joint = merged(one, other)
        if joint is None:
            return None
        joint = joint.only(lambda v: self._needed(v, (one, other)))
        results = [e for e, _ in joint.results]
        return joint if fits(joint.operands, results, joint.numbers) else None

    def repeat(self) -> None:
        """Compute in a launch what another one stores for it, where that takes no more reading.

        So it is with what gradients read of a forward pass: they read what it was made of anyway.
        """
        for at, node in enumerate(self.nodes):
            while isinstance(node, Formulas):
                found = self._repeated(node, at)
                if found is None:
                    break
                self._exchange((node,), (found,))
                node = self.nodes[at] = found
        self.nodes = [self._pruned(n) for n in self.nodes]
        self.nodes = [n for n in self.nodes if n is not _NOTHING]

    def _repeated(self, node: Formulas, at: int) -> Formulas | None:
        for read in node.reads:
            found = writer(self.nodes, at, read, REACH)
            producer = None if found is None else self.nodes[found[0]]
            if found is None or not isinstance(producer, Formulas) or producer.size != node.size:
                continue
            where, value = found
            producer = producer.only(functools.partial(operator.eq, value))
            if not producer.is_cheap or not self._is_untouched(producer, where, at):
                continue
            joint = merged(producer, node)
            if joint is None:
                continue
            joint = joint.only(functools.partial(operator.contains, node.writes))
            results = [e for e, _ in joint.results]
            if joint.bytes_read < node.bytes_read and fits(joint.operands, results, joint.numbers):
                return joint
        return None

    def _is_untouched(self, producer: Formulas, where: int, at: int) -> bool:
        """Whether what formulas at one place read is the same at a later one."""
        between = self.nodes[where:at]
        return not any(w.overlaps(r) for n in between for w in n.writes for r in producer.reads)

    def _pruned(self, node: Node) -> Node:
        """Without results that nobody needs any more."""
        if not isinstance(node, Formulas) or all(self._needed(v, (node,)) for v in node.writes):
            return node
        lean = node.only(lambda v: self._needed(v, (node,)))
        self._exchange((node,), (lean,))
        return lean if lean.results else _NOTHING

    # Reductions

    def begin_reductions(self) -> None:
        """Let reductions compute what they read, where nobody else reads it."""
        for at, node in enumerate(self.nodes):
            while isinstance(node, Launch) and isinstance(node.plan.formula, reduce.Formula):
                found = self._source(node, at)
                if found is None:
                    break
                where, rest, reduction = found
                left = _NOTHING if rest is None else rest
                self._exchange((node, self.nodes[where]), (reduction, left))
                node = self.nodes[at] = reduction
                self.nodes[where] = left
        self.nodes = [n for n in self.nodes if n is not _NOTHING]

    def _source(self, node: Launch, at: int) -> tuple[int, Formulas | None, Launch] | None:
        """A producer of what a reduction reads: where it is, what is left of it, and the new reduction."""
        for read in node.reads:
            found = writer(self.nodes, at, read, REACH)
            if found is None:
                continue
            where, value = found
            producer = self.nodes[where]
            if not isinstance(producer, Formulas) or self._needed(value, (node,)):
                continue
            if not self._is_untouched(producer, where, at):
                continue
            reduction = with_prologue(self._stream, node, producer, value)
            if reduction is not None:
                rest = producer.only(functools.partial(operator.ne, value))
                return where, rest if rest.results else None, reduction
        return None

    # The same formulas

    def group(self) -> None:
        """Make one launch of the same formulas of several arrays."""
        waiting, self.nodes = self.nodes, []
        for node in waiting:
            kind = node.kind if isinstance(node, Formulas) else None
            found = None if kind is None else self._fellows(node, kind)
            if found is None:
                self.nodes.append(
                    Group([node]) if kind is not None and isinstance(node, Formulas) else node
                )
                continue
            at, moves_up = found
            group = self.nodes[at]
            assert isinstance(group, Group), "that is what was looked for"
            assert isinstance(node, Formulas), "others are of no kind"
            joint = Group([*group.members, node])
            if moves_up:
                self.nodes[at] = joint
            else:
                del self.nodes[at]
                self.nodes.append(joint)
        self.nodes = [_single(n) for n in self.nodes]

    def _fellows(self, node: Node, kind: tuple) -> tuple[int, bool] | None:
        """An earlier group of this kind that a node can join: where it is, and whether it stays there."""
        place, blocked = len(self.nodes), False
        for at in range(place - 1, max(-1, place - 1 - REACH), -1):
            other = self.nodes[at]
            apart = not depends(node, other)
            is_fellow = apart and isinstance(other, Group) and other.kind == kind
            if is_fellow and not (blocked and any(depends(n, other) for n in self.nodes[at + 1 :])):
                return at, not blocked
            blocked = blocked or not apart
        return None

    # Products

    def finish_products(self) -> None:
        """Let products go on with the elementwise formulas of their results."""
        at = 0
        while at < len(self.nodes):
            node = self.nodes[at]
            if isinstance(node, Launch) and node.plan.finishes and is_product(node):
                self._finish(node, at)
            at += 1

    def _finish(self, product: Launch, at: int) -> None:
        (value,) = product.writes
        dtype = value.layout.dtype
        if compute_type(dtype) != dtype:
            return
        ending = Ending(self._stream, product, value)
        while (found := self._follower(ending, at)) is not None:
            ending.take(self.nodes.pop(found))
        if ending.taken:
            self._exchange((product, *ending.taken), ())
            self.nodes[at] = ending.launch(lambda v: self._needed(v, ()))
            self._exchange((), (self.nodes[at],))

    def _follower(self, ending: Ending, at: int) -> int | None:
        """Where formulas are that read what the product's kernel makes, and can be computed there."""
        for i in range(at + 1, min(len(self.nodes), at + 1 + REACH)):
            node = self.nodes[i]
            if not isinstance(node, Formulas) or not ending.accepts(node):
                continue
            if not any(depends(node, other) for other in self.nodes[at + 1 : i]):
                return i
        return None


def _single(node: Node) -> Node:
    """The formulas themselves, of a group that no others have joined."""
    return node.members[0] if isinstance(node, Group) and len(node.members) == 1 else node


_NOTHING = Formulas((), (), (), (), (), "")
