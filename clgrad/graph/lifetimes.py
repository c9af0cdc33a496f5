"""From which instruction to which the arrays live that only a replay needs."""

from clgrad.graph import arena
from clgrad.graph.ir import Block, Graph


def lives(graph: Graph) -> dict[Block, arena.Life]:
    """The graph's own blocks, but for those that it returns."""
    handed = {v.block for v in graph.outputs}
    first: dict[Block, int] = {}
    last: dict[Block, int] = {}
    for number, instruction in enumerate(graph.instructions):
        for value in (*instruction.reads, *instruction.writes):
            if value.block.is_local and value.block not in handed:
                first.setdefault(value.block, number)
                last[value.block] = number
    return {block: arena.Life(block.nbytes, first[block], last[block]) for block in first}


def peak(graph: Graph) -> int:
    """The most bytes that they take at one time."""
    changes: dict[int, int] = {}
    for life in lives(graph).values():
        changes[life.first] = changes.get(life.first, 0) + life.nbytes
        changes[life.last + 1] = changes.get(life.last + 1, 0) - life.nbytes
    most = now = 0
    for number in sorted(changes):
        now += changes[number]
        most = max(most, now)
    return most
