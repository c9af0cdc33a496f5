"""What reductions compute of what they read, before they reduce it."""

import functools
import operator

from clgrad.graph.fusion import (
    Formulas,
    Kernel,
    fits,
    is_dense,
    joint_label,
    joint_name,
    with_arrays,
)
from clgrad.graph.ir import Launch, Value
from clgrad.kernels import expr, reduce
from clgrad.memory import Stream


def with_prologue(stream: Stream, node: Launch, producer: Formulas, value: Value) -> Launch | None:
    """A reduction that computes one of the arrays that it reads; None where it cannot."""
    formula: reduce.Formula = node.plan.formula
    producer = producer.only(functools.partial(operator.eq, value))
    if producer.shape != formula.shape:
        if not producer.is_flat:
            return None
        producer = producer.shaped(formula.shape)
    operands = with_arrays(formula.operands, node.reads)
    if any(v and v.is_same_memory(value) and not is_dense(o, formula.shape) for o, v in operands):
        return None
    # The reduction's own numbers keep their slots: what finishes it may name them.
    kernel = Kernel(numbers=list(zip(formula.scalars, node.numbers, strict=True)))
    wanted = [e for e, _ in producer.results]
    if expr.looked_up(wanted):
        return None
    made = kernel.take(wanted, producer.operands, producer.numbers, producer.shape, {})
    back = None if made is None else expr.rounded(made[0], value.layout.dtype)
    if back is None:
        return None
    own = list(zip(formula.scalars, node.numbers, strict=True))
    read = [e for r in formula.reductions for e in r.values]
    values = kernel.take(read, operands, own, formula.shape, {value: back})
    if values is None:
        return None
    used = expr.inputs_of(values)
    if not fits(used, values, kernel.numbers):
        return None
    rest = iter(values)
    reductions = [r.reading([next(rest) for _ in r.values]) for r in formula.reductions]
    name = joint_name((*producer.labels, node.label))
    scalars = [dtype for dtype, _ in kernel.numbers]
    plan = reduce.plan(
        stream.device,
        name,
        formula.shape,
        formula.axes,
        reductions,
        [o for o, _ in kernel.operands],
        scalars,
        formula.out_shape,
    )
    plan.label = joint_label([*producer.labels, node.label])
    arrays = tuple([v for _, v in kernel.operands if v is not None])
    return Launch(plan, arrays, node.writes, tuple([n for _, n in kernel.numbers]), node.line)
