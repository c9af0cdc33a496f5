"""What products do with their elements before they store them."""

from collections.abc import Callable
from dataclasses import replace

from clgrad.dtypes import compute_type
from clgrad.graph.fusion import Formulas, Kernel, find, joint_label
from clgrad.graph.ir import Launch, Value
from clgrad.kernels import expr, matmul
from clgrad.kernels.epilogue import Epilogue
from clgrad.memory import Stream


def is_product(node: Launch) -> bool:
    """Whether a launch computes a product of matrices."""
    return isinstance(node.plan.formula, matmul.Formula)


class Ending:
    """What a product's kernel does with its elements."""

    def __init__(self, stream: Stream, product: Launch, value: Value):
        self._stream = stream
        self._product = product
        self._value = value
        self._dtype = value.layout.dtype
        element = expr.operand(0, self._dtype)
        self._kernel = Kernel([(None, value)])
        self._made = {value: element}
        self.taken: list[Formulas] = []

    def accepts(self, node: Formulas) -> bool:
        """Whether the formulas can be computed from the elements, one by one."""
        others = [v for v in node.reads if find(self._made, v) is None]
        size = self._value.layout.size
        if len(others) == len(node.reads) or node.size != size or not node.is_flat:
            return False
        if any(v.layout.dtype != self._dtype for v in node.writes):
            return False
        if expr.looked_up(e for e, _ in node.results):
            return False
        if self._stream.device.kind == "cpu" and others:
            return False  # tiles are pieces of rows, which no prefetcher follows: another array costs more
        if any(v.layout.size != size or compute_type(v.layout.dtype) != v.layout.dtype for v in others):
            return False
        touched = (*self._product.reads, *node.reads)
        if any(w.overlaps(t) for w in node.writes for t in touched):
            return False
        return len(self._made) + len(node.results) <= 6 and len(self._kernel.operands) + len(others) <= 8

    def take(self, node: object) -> None:
        """Take formulas in that were accepted."""
        assert isinstance(node, Formulas)
        own = [e for e, _ in node.results]
        made = self._kernel.take(own, node.operands, node.numbers, node.shape, self._made)
        assert made is not None, "it reads elements only"
        for expression, value in zip(made, node.writes, strict=True):
            back = expr.rounded(expression, value.layout.dtype)
            assert back is not None, "elements are computed in their own dtype"
            self._made[value] = back
        self.taken.append(node)

    def launch(self, needed: Callable[[Value], bool]) -> Launch:
        """The product's launch with its ending."""
        results = [(e, v) for v, e in self._made.items() if needed(v)]
        results = results or list(zip(self._made.values(), self._made, strict=True))[-1:]
        arrays = [v for _, v in self._kernel.operands[1:]]
        numbers = self._kernel.numbers
        epilogue = Epilogue(
            tuple([e for e, _ in results]),
            tuple([v.layout.dtype for v in arrays]),
            tuple([dtype for dtype, _ in numbers]),
            self._stream.device.capabilities.own_functions,
        )
        product = self._product
        formula: matmul.Formula = product.plan.formula
        plan = formula.plan(self._stream.device, replace(formula.product, epilogue=epilogue))
        plan.label = joint_label([product.label, *(x for node in self.taken for x in node.labels)])
        return Launch(
            plan,
            (*product.reads, *arrays),
            tuple([v for _, v in results]),
            tuple([n for _, n in numbers]),
            product.line,
        )
