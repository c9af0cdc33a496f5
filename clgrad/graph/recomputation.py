"""What a graph of gradients had better compute again than be given, since that takes memory until then.

As in Chen, Xu, Zhang & Guestrin, "Training deep nets with sublinear memory cost" (2016), but only of
elementwise formulas whose functions take no longer than to store and load an array, and that are made of
arrays that are there anyway. Fused into the launches that read them, they cost next to nothing.
"""

from collections.abc import Sequence

from clgrad.graph.fusion import formulas_of
from clgrad.graph.ir import Block, Graph, Instruction


def recomputed(forward: Sequence[Instruction], needed: Sequence[Block], whole: Graph) -> list[Instruction]:
    """What to compute again, in order: what it makes need not be kept.

    ``needed`` are blocks that ``forward``, the first part of ``whole``, makes for the second part. What is
    computed again may read others of them, and outputs.
    """
    written = whole.times_written()
    handed = {v.block for v in whole.outputs if written.get(v.block) == 1}
    there = {b for b in whole.blocks() if not b.is_local and b not in written} | handed
    makers: dict[Block, Instruction] = {}
    for instruction in forward:
        if _is_cheap(instruction) and all(v.block in there or v.block in makers for v in instruction.reads):
            (value,) = instruction.writes
            if value.is_whole and value.block.is_local and written[value.block] == 1:
                makers[value.block] = instruction
        kept = [v.block for v in instruction.writes if v.block in needed and v.block not in makers]
        there.update(b for b in kept if written[b] == 1)
    wanted: set[Block] = set()
    stack = [b for b in needed if b in makers and b not in handed]
    while stack:
        block = stack.pop()
        if block not in wanted:
            wanted.add(block)
            stack += [v.block for v in makers[block].reads if v.block in makers and v.block not in there]
    return [i for i in forward if i in [makers[b] for b in wanted]]


def _is_cheap(instruction: Instruction) -> bool:
    formulas = formulas_of(instruction)
    return formulas is not None and len(formulas.results) == 1 and formulas.is_cheap
