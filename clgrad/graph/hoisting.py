"""Takes out of a graph what depends on nothing that changes from replay to replay.

What is made of outer arrays alone that the graph does not write to (a mask, weights in another order) is
the same at each replay, until somebody writes to these arrays. It becomes a prelude: a graph of its own,
that runs at first, and again when the versions of what it reads have changed.
"""

from dataclasses import replace

from clgrad.deferred import Number
from clgrad.graph.ir import Block, Graph, Instruction, Launch, moved
from clgrad.memory import Storage, Stream


def hoisted(graph: Graph, stream: Stream) -> Graph:
    """The graph without what its prelude does."""
    steady = steady_launches(graph)
    if not steady:
        return graph
    main = [i for i in graph.instructions if i not in steady]
    read = {v.block for i in main for v in i.reads} | {v.block for v in graph.outputs}
    made = [v.block for i in steady for v in i.writes]
    prelude = replace(graph, arguments=[], instructions=steady, outputs=[], constants=[])
    graph = replace(graph, instructions=main, constants=list(graph.constants))
    for block in made:
        if block in read:
            storage = Storage(stream, block.nbytes, "captured")
            kept = Block("outer", block.nbytes, block.number, storage)
            graph.constants.append(storage)
            graph, prelude = moved(graph, block, kept, 0), moved(prelude, block, kept, 0)
    return replace(graph, prelude=prelude)


def steady_launches(graph: Graph) -> list[Instruction]:
    """The launches whose results are the same at each replay."""
    writers = graph.times_written()
    handed = {v.block for v in graph.outputs}
    known = {b for b in graph.blocks() if b.kind == "outer" and b not in writers}
    steady: list[Instruction] = []
    for instruction in graph.instructions:
        alone = all(
            v.block.is_local and v.is_whole and writers[v.block] == 1 and v.block not in handed
            for v in instruction.writes
        )
        changes = any(isinstance(n, Number) for n in instruction.numbers)
        if not isinstance(instruction, Launch) or not alone or changes:
            continue
        if all(v.block in known for v in instruction.reads):
            steady.append(instruction)
            known.update(v.block for v in instruction.writes)
    return steady
