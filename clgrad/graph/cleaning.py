"""Leaves out what need not be done: copies, what is computed twice, and what nobody reads."""

from collections.abc import Sequence

from clgrad.deferred import Number
from clgrad.graph.fusion import formulas_of, in_place
from clgrad.graph.ir import Block, Copy, Graph, Instruction, Launch, Value, places, relocated


def without_copies(graph: Graph) -> Graph:
    """Let what is copied be written where the copy is wanted.

    So it is with gradients: ``backward`` makes them in memory of its own, which then becomes that of
    ``x.grad``.
    """
    work: list[Instruction | None] = list(graph.instructions)
    touched = places(graph.instructions)
    handed = {v.block for v in graph.outputs}
    for at, copy in enumerate(graph.instructions):
        # One whose own source was moved meanwhile is another instruction now, and stays.
        if not isinstance(copy, Copy) or work[at] is not copy or copy.source.block in handed:
            continue
        source, target = copy.source.block, copy.target
        if _may_be_written_there(work, copy, touched):
            work[at] = None
            for number in touched[source]:
                instruction = work[number]
                if instruction is not None:
                    work[number] = relocated(instruction, {source: (target.block, target.start)})
            touched[target.block] = sorted({*touched[target.block], *touched.pop(source)})
    return graph.with_instructions([i for i in work if i is not None])


def _may_be_written_there(
    work: Sequence[Instruction | None], copy: Copy, touched: dict[Block, list[int]]
) -> bool:
    source, target = copy.source, copy.target
    if not source.block.is_local or not source.is_whole or source.block is target.block:
        return False
    first = next(n for n in touched[source.block] if (i := work[n]) and _touches(i.writes, source))
    for number in touched[target.block]:
        instruction = work[number]
        if number < first or instruction is None or instruction is copy:
            continue
        if not _touches((*instruction.reads, *instruction.writes), target):
            continue
        formulas = formulas_of(instruction) if number == first else None
        there = [v.moved(target.block, target.start) for v in instruction.writes if v.block is source.block]
        if formulas is None or not all(in_place(v, formulas.operands, formulas.shape) for v in there):
            return False
    return True


def _touches(values: Sequence[Value], other: Value) -> bool:
    return any(v.overlaps(other) for v in values)


def without_repetition(graph: Graph) -> Graph:
    """Launch once what is launched twice on the same values."""
    writers = graph.times_written()
    handed = {v.block for v in graph.outputs}
    versions: dict[Block, int] = {}
    known: dict[tuple, Launch] = {}
    renamed: dict[Block, tuple[Block, int]] = {}
    kept: list[Instruction] = []
    for recorded in graph.instructions:
        instruction = relocated(recorded, renamed)
        if isinstance(instruction, Launch):
            key = _what(instruction, versions)
            pairs = list(zip(instruction.writes, known[key].writes if key in known else (), strict=False))
            once = [
                v.block.is_local and v.block not in handed and writers[v.block] == 1 and v.is_whole
                for v in instruction.writes
            ]
            if pairs and all(once) and all(writers[o.block] == 1 for _, o in pairs):
                renamed |= {mine.block: (other.block, 0) for mine, other in pairs}
                continue
            if all(once):
                known[key] = instruction
        for value in instruction.writes:
            versions[value.block] = versions.get(value.block, 0) + 1
        kept.append(instruction)
    return graph.with_instructions(kept)


def _what(launch: Launch, versions: dict[Block, int]) -> tuple:
    """What a launch computes: plan, values that are read, and numbers."""
    reads = [(v, versions.get(v.block, 0)) for v in launch.reads]
    numbers = [id(n) if isinstance(n, Number) else repr(n) for n in launch.numbers]  # 0 and -0 differ
    return (launch.plan, *reads, *numbers)


def without_waste(graph: Graph) -> Graph:
    """Leave out what writes only local blocks that nobody reads afterwards."""
    read = {v.block for v in graph.outputs}
    kept: list[Instruction] = []
    for instruction in reversed(graph.instructions):
        if any(not v.block.is_local or v.block in read for v in instruction.writes):
            kept.append(instruction)
            read.update(v.block for v in instruction.reads)
    return graph.with_instructions(kept[::-1])
