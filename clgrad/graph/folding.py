"""Folds a normalisation by fixed moments into the product before it, as nets have it in prediction.

Behind a convolution or a dense layer, ``gamma (y - mean) / sqrt(var + eps) + beta`` is ``s y + t`` with one
s and one t for each channel. The product with the weights s W and the bias s b + t gives the same, and as
long as nobody writes to these arrays, s W and s b + t are made once (hoisting.py).
"""

from dataclasses import replace

from clgrad import dtypes
from clgrad.graph.fusion import Formulas, formulas_of, is_dense, joint_label
from clgrad.graph.hoisting import steady_launches
from clgrad.graph.ir import Block, Graph, Instruction, Launch, Value
from clgrad.kernels import expr, layout
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Affine
from clgrad.kernels.layout import Operand
from clgrad.memory import Layout, Stream


def with_folded_norms(graph: Graph, stream: Stream) -> Graph:
    """The graph with products that scale and shift their channels by themselves."""
    steady = {v.block for i in steady_launches(graph) for v in i.writes}
    written = {v.block for i in graph.instructions for v in i.writes}
    fixed = steady | {b for b in graph.blocks() if b.kind == "outer" and b not in written}
    work = list(graph.instructions)
    products = {i.writes[0].block for i in work if isinstance(i, Launch) and i.plan.affine is not None}
    for instruction in graph.instructions:
        # First what is quickly seen of each, since nets may have hundreds of layers.
        changing = [v.block for v in instruction.reads if v.block not in fixed]
        formulas = formulas_of(instruction) if len(changing) == 1 and changing[0] in products else None
        if formulas is not None:
            _fold(graph, work, instruction, formulas, fixed, stream)
    return graph.with_instructions(work)


def _fold(
    graph: Graph,
    work: list[Instruction],
    norm: Instruction,
    formulas: Formulas,
    fixed: set[Block],
    stream: Stream,
) -> None:
    at = work.index(norm)
    found = _product(graph, work, at, formulas)
    if found is None:
        return
    product, slot, parts = found
    affine = _affine(product)
    channels = product.writes[0].layout.shape[affine.axis]
    others = [(i, o, v) for i, (o, v) in enumerate(formulas.operands) if i != slot]
    for _, operand, value in others:
        if value is None or value.block not in fixed:
            return
        if not _runs_along(operand, formulas.shape, affine.axis) or value.layout.size != channels:
            return
    if any(v.block not in fixed for v in (product.reads[affine.weights], *product.reads[2:])):
        return
    made = _made(formulas, others, parts, product, channels, stream)
    work[at : at + 1] = made
    work.remove(product)


def _product(
    graph: Graph, work: list[Instruction], at: int, formulas: Formulas
) -> tuple[Launch, int, tuple] | None:
    """The product whose result the formulas alone read, in which slot, and how they scale and shift it."""
    if len(formulas.results) != 1 or formulas.numbers_change or expr.looked_up([formulas.results[0][0]]):
        return None
    for slot, (operand, value) in enumerate(formulas.operands):
        if value is None or not value.block.is_local or not is_dense(operand, formulas.shape):
            continue
        parts = _scale_and_shift(formulas.results[0][0], slot)
        if parts is None:  # as in most cases; the rest takes longer to see
            continue
        before = [i for i in work[:at] if any(w.overlaps(value) for w in i.writes)]
        readers = [i for i in work if any(r.overlaps(value) for r in i.reads)]
        if len(before) != 1 or readers != [work[at]] or any(v.block is value.block for v in graph.outputs):
            continue
        (maker,) = before
        if isinstance(maker, Launch) and maker.plan.affine is not None and maker.writes == (value,):
            same = value.layout.shape == formulas.shape
            between = work[work.index(maker) + 1 : at]
            moves = not any(w.overlaps(r) for i in between for w in i.writes for r in maker.reads)
            if same and moves and value.layout.dtype == dtypes.float32 and not maker.numbers:
                return maker, slot, parts
    return None


def _affine(product: Launch) -> Affine:
    assert product.plan.affine is not None, "that is how it was chosen"
    return product.plan.affine


def _runs_along(operand: Operand, shape: tuple[int, ...], axis: int) -> bool:
    """Whether an operand changes along one axis only."""
    return operand.base == 0 and all(
        n == 1 or step == int(a == axis % len(shape))
        for a, (n, step) in enumerate(zip(shape, operand.strides, strict=True))
    )


def _scale_and_shift(root: Expr, slot: int) -> tuple[Expr | float, Expr | float] | None:
    """(s, t) of an expression s x + t, x being the operand in a slot; None of others."""
    made: dict[int, tuple | None] = {}

    def parts(node: Expr) -> tuple | None:
        if id(node) not in made:
            made[id(node)] = _parts(node, slot, parts)
        return made[id(node)]

    found = parts(root)
    return None if found is None or found[0] is None else found


def _parts(node: Expr, slot: int, parts) -> tuple | None:
    """Scale (None for 0) and shift of a node; None where it is not affine."""
    if node.function == "input":
        return (1.0, 0.0) if node.payload == slot else (None, node)
    inner = [parts(a) for a in node.args]
    if any(p is None for p in inner):
        return None
    if all(scale is None for scale, _ in inner):
        return (None, node)
    if node.function == "neg":
        ((scale, shift),) = inner
        return (-scale, -shift)
    if node.function == "cast" and node.dtype == node.args[0].dtype:
        return inner[0]
    if node.function not in ("add", "sub", "mul", "div"):
        return None
    (a, b), (c, d) = inner
    if node.function in ("add", "sub"):
        sign = 1.0 if node.function == "add" else -1.0
        scale = sign * c if a is None else a if c is None else a + sign * c
        return (scale, b + d if node.function == "add" else b - d)
    if node.function == "mul":
        if a is not None and c is not None:
            return None
        return (a * d, b * d) if c is None else (c * b, d * b)
    return (a / d, b / d) if c is None else None


def _made(
    formulas: Formulas, others, parts, product: Launch, channels: int, stream: Stream
) -> list[Instruction]:
    """Scale and shift of each channel, the scaled weights, and the product of these."""
    device, affine, dtype = stream.device, _affine(product), dtypes.float32
    along = (channels,)
    slots = {old: new for new, (old, _, _) in enumerate(others)}
    operands = [(Operand(o.dtype, (1,)), v) for _, o, v in others]

    def leaf(node: Expr) -> Expr | int:
        return Expr("input", node.dtype, payload=slots[node.payload]) if node.function == "input" else node

    scale, shift = expr.rewritten([expr.cast(p, dtype) for p in parts], leaf)
    if affine.has_bias:
        operands.append((Operand(dtype, (1,)), product.reads[2]))
        shift = expr.operand(len(operands) - 1, dtype) * scale + shift
    vector = Layout(along, dtype)
    s, t = (Value(Block("local", vector.nbytes), 0, vector) for _ in range(2))
    moments = Formulas(
        along, tuple(operands), ((scale, s), (shift, t)), formulas.numbers, formulas.labels, formulas.line
    )
    weights = product.reads[affine.weights]
    shape = weights.layout.shape
    scaled = Value(Block("local", weights.layout.nbytes), 0, weights.layout)
    by_channel = Operand(dtype, (1, *[0] * (len(shape) - 1)))
    dense = Operand(dtype, layout.contiguous_strides(shape))
    both = expr.operand(0, dtype) * expr.operand(1, dtype)
    weighting = Formulas(
        shape, ((dense, weights), (by_channel, s)), ((both, scaled),), (), (product.label,), product.line
    )
    reads = [scaled if i == affine.weights else v for i, v in enumerate(product.reads[:2])]
    plan = affine.with_bias()
    plan.label = joint_label([product.label, *formulas.labels])
    launch = replace(product, plan=plan, reads=(*reads, t), writes=formulas.writes)
    return [moments.launch(device), weighting.launch(device), launch]
