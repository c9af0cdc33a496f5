"""Lets products read and write arrays whose axes are in another order, instead of moving these first."""

from dataclasses import replace

from clgrad.graph.ir import Graph, Instruction, Launch, writer
from clgrad.kernels import layout, matmul, transpose
from clgrad.kernels.product import Strided
from clgrad.memory import Stream

#: Products that read the source of a transpose each for itself, at most. The transpose of a recurrent net's
#: weights, say, is made once, for products of every step to read quickly.
READERS = 2


def without_transposes(graph: Graph, stream: Stream) -> Graph:
    """The graph with products of the sources of transposes; what nobody reads then is left to others."""
    moved = {v.block for i in graph.instructions if _is_transpose(i) for v in i.writes}
    if not moved:
        return graph
    work = list(graph.instructions)
    for at, instruction in enumerate(work):
        if _is_product(instruction) and any(v.block in moved for v in instruction.reads):
            for operand in ("a", "b"):
                work[at] = _reading_source(work, at, operand, stream) or work[at]
    for instruction in list(work):
        if _is_transpose(instruction):
            _write_there(graph, work, work.index(instruction), stream)
    return graph.with_instructions(work)


def _is_product(instruction: Instruction) -> bool:
    if not isinstance(instruction, Launch) or not isinstance(instruction.plan.formula, matmul.Formula):
        return False
    product = instruction.plan.formula.product
    return product.epilogue is None and isinstance(product.a, Strided) and isinstance(product.b, Strided)


def _is_transpose(instruction: Instruction) -> bool:
    return isinstance(instruction, Launch) and isinstance(instruction.plan.formula, transpose.Formula)


def _reading_source(work: list[Instruction], at: int, operand: str, stream: Stream) -> Launch | None:
    """A product that reads what a transpose reads, where it can do so as quickly."""
    launch = work[at]
    assert isinstance(launch, Launch)
    formula: matmul.Formula = launch.plan.formula
    place = formula.a if operand == "a" else formula.b
    written = writer(work, at, launch.reads[place])
    if written is None or not _is_transpose(work[written[0]]):
        return None
    found = written[0]
    moved = work[found]
    assert isinstance(moved, Launch)
    (source,), axes = moved.reads, moved.plan.formula
    if sum(any(v.overlaps(moved.writes[0]) for v in i.reads) for i in work) > READERS:
        return None
    if any(v.overlaps(source) for i in work[found:at] for v in i.writes):
        return None
    matrix = getattr(formula.product, operand).through(axes.shape, axes.strides)
    if matrix is None or matrix.unit is None:
        return None
    plan = formula.plan(stream.device, replace(formula.product, **{operand: matrix}))
    plan.label = launch.plan.label
    reads = tuple([source if i == place else v for i, v in enumerate(launch.reads)])
    return replace(launch, plan=plan, reads=reads)


def _write_there(graph: Graph, work: list[Instruction], at: int, stream: Stream) -> None:
    """Let a product write what a transpose of its result would, if that is all that its result is for."""
    moved = work[at]
    assert isinstance(moved, Launch)
    (value,), (target,) = moved.reads, moved.writes
    written = writer(work, at, value)
    if written is None or not _is_product(work[written[0]]) or not value.block.is_local:
        return
    found = written[0]
    launch = work[found]
    assert isinstance(launch, Launch)
    readers = [i for i in work if any(v.overlaps(value) for v in i.reads)]
    handed = any(v.block is value.block for v in graph.outputs)
    between = work[found + 1 : at]
    touched = any(v.overlaps(target) for i in between for v in (*i.reads, *i.writes))
    if handed or touched or readers != [moved] or any(v.overlaps(target) for v in launch.reads):
        return
    formula, axes = launch.plan.formula, moved.plan.formula
    # Of each axis: its stride in the product's result, its size, and its stride in the target.
    own = layout.contiguous_strides(axes.shape)
    ordered = sorted((s, n, t) for s, n, t in zip(axes.strides, axes.shape, own, strict=True) if n > 1)[
        ::-1
    ]
    matrix = formula.product.c.through([n for _, n, _ in ordered], [t for _, _, t in ordered])
    if matrix is None or matrix.unit != "column":
        return
    plan = formula.plan(stream.device, replace(formula.product, c=matrix))
    plan.label = launch.plan.label
    work[found] = replace(launch, plan=plan, writes=(target,))
    del work[at]
