"""From which instruction to which the arrays live that only a replay needs."""

from clgrad.graph import arena
from clgrad.graph.fusion import formulas_of, in_place
from clgrad.graph.ir import Block, Graph, Instruction, Value


def lives(graph: Graph) -> tuple[dict[Block, arena.Life], dict[Block, Block]]:
    """When the graph's own blocks are needed, but for those that it returns.

    Returns
    -------
    dict of Block to Life
        Of each block that needs room of its own.
    dict of Block to Block
        Of those that take over the room of another: an elementwise launch may write where it has read what
        nobody reads after it.
    """
    handed = {v.block for v in graph.outputs}
    first: dict[Block, int] = {}
    last: dict[Block, int] = {}
    for number, instruction in enumerate(graph.instructions):
        for value in (*instruction.reads, *instruction.writes):
            if value.block.is_local and value.block not in handed:
                first.setdefault(value.block, number)
                last[value.block] = number
    heirs: dict[Block, Block] = {}
    for number, instruction in enumerate(graph.instructions):
        free = [v for v in instruction.reads if last.get(v.block) == number and v.is_whole]
        for value in instruction.writes:
            if first.get(value.block) == number and value.is_whole:
                room = next((r for r in free if _may_take_over(instruction, value, r)), None)
                if room is not None:
                    heirs[value.block] = room.block
                    free = [r for r in free if r.block is not room.block]
    found: dict[Block, arena.Life] = {}
    for block in first:
        owner = block
        while owner in heirs:
            owner = heirs[owner]
        known = found.get(owner, arena.Life(owner.nbytes, first[owner], last[owner]))
        found[owner] = known._replace(last=max(known.last, last[block]))
        if owner is not block:
            heirs[block] = owner
    return found, heirs


def _may_take_over(instruction: Instruction, value: Value, room: Value) -> bool:
    """Whether an instruction may write a result where it reads an array."""
    if value.layout.nbytes != room.layout.nbytes:
        return False
    formulas = formulas_of(instruction)
    return formulas is not None and in_place(value.moved(room.block), formulas.operands, formulas.shape)


def peak(graph: Graph) -> int:
    """The most bytes that they take at one time."""
    changes: dict[int, int] = {}
    for life in lives(graph)[0].values():
        changes[life.first] = changes.get(life.first, 0) + life.nbytes
        changes[life.last + 1] = changes.get(life.last + 1, 0) - life.nbytes
    most = now = 0
    for number in sorted(changes):
        now += changes[number]
        most = max(most, now)
    return most
