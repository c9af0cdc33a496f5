"""Symbolic expressions as C statements."""

from collections.abc import Callable, Sequence

import numpy as np

from clgrad import dtypes
from clgrad.kernels import expr
from clgrad.kernels.expr import Expr

_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class Emitter:
    """Spells expressions as C statements of one vector width.

    Parameters
    ----------
    width : int
        1 for scalars, else the OpenCL vector width.
    load : callable
        ``load(slot)`` gives the C expression of an operand's value at the current position.
    scalars : callable
        ``scalars(slot)`` gives the C name of a scalar kernel argument.
    lookup : callable, optional
        ``lookup(slot, address)`` gives the C expression of an operand's values at addresses, the name of
        a variable of the width.
    own : frozenset of str, optional
        Built-ins to take from ``elementary.cl.mako``: the device's ``own_functions``.
    outside : callable, optional
        ``outside(expression)`` gives the name of a C scalar that holds the expression, or None where there
        is no such variable.
    prefix : str
        What the names of variables begin with.

    Attributes
    ----------
    lines : list of str
        The statements so far.
    helpers : set of (str, numpy.dtype, int)
        Functions of ``functions.cl.mako`` (of width 1) and ``elementary.cl.mako`` that the statements call.
    """

    def __init__(
        self,
        width: int,
        load: Callable[[int], str],
        scalars: Callable[[int], str],
        lookup: Callable[[int, str], str] | None = None,
        own: frozenset[str] = frozenset(),
        outside: Callable[[Expr], str | None] = lambda node: None,
        prefix: str = "v",
    ):
        self.width = width
        self.lines: list[str] = []
        self.helpers: set[tuple[str, np.dtype, int]] = set()
        self._load = load
        self._scalars = scalars
        self._lookup = lookup
        self._own = own
        self._outside = outside
        self._prefix = prefix
        self._names: dict[int, str] = {}
        self._keep_alive: list[Expr] = []

    def value(self, root: Expr) -> str:
        """Name of the C variable that holds the expression, after appending what computes it."""
        stack = [root]
        while stack:
            node = stack[-1]
            known = self._outside(node)
            missing = [a for a in node.args if id(a) not in self._names] if known is None else []
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if id(node) not in self._names:
                self._name(node, known)
        return self._names[id(root)]

    def _name(self, node: Expr, known: str | None) -> None:
        """Make a variable of a node whose arguments have theirs, or that a C scalar holds already."""
        self._keep_alive.append(node)  # ids are names only while the node lives
        if known is not None and self.width == 1:
            self._names[id(node)] = known
            return
        name = f"{self._prefix}{len(self._names)}"
        if known is None:
            spelled = self._spell(node, [self._names[id(a)] for a in node.args])
        else:
            spelled = self._splat(known, node.dtype)
        self.lines.append(f"const {self._type(node.dtype)} {name} = {spelled};")
        self._names[id(node)] = name

    def _type(self, dtype: np.dtype) -> str:
        return dtypes.c_type(dtype, self.width)

    def _spell(self, node: Expr, args: Sequence[str]) -> str:
        function = node.function
        if function == "input":
            return self._load(node.payload)
        if function == "lookup":
            assert self._lookup is not None, "this kernel family has no lookups"
            return self._lookup(node.payload, args[0])
        if function == "scalar":
            return self._splat(self._scalars(node.payload), node.dtype)
        if function == "const":
            return self._splat(expr.c_literal(node.payload, node.dtype), node.dtype)
        if function in _ARITHMETIC:
            return f"{args[0]} {_ARITHMETIC[function]} {args[1]}"
        if function == "neg":
            return f"-{args[0]}"
        if function in _COMPARISONS:
            return self._truth(f"{args[0]} {_COMPARISONS[function]} {args[1]}", node.dtype)
        if function == "where":
            return self._select(node, args)
        if function == "cast":
            return expr.convert(args[0], node.args[0].dtype, node.dtype, self.width)
        if function == "round" and node.payload is not None:
            return expr.round_to(node.payload, args[0], self.width)
        if function in expr.HELPERS:
            return self._helper(function, node, args)
        if function in expr.EXTRAS or function in self._own:
            self.helpers.add((function, node.dtype, self.width))
            function = f"{function}_{self._type(node.dtype)}"
        return f"{function}({', '.join(args)})"

    def _splat(self, text: str, dtype: np.dtype) -> str:
        return text if self.width == 1 else f"({self._type(dtype)})({text})"

    def _truth(self, comparison: str, dtype: np.dtype) -> str:
        kind = self._type(dtype)
        if self.width == 1:
            return f"({kind})({comparison})"
        return f"{comparison} ? ({kind})(1) : ({kind})(0)"

    def _select(self, node: Expr, args: Sequence[str]) -> str:
        condition, (test, yes, no) = node.args[0].dtype, args
        if self.width == 1:
            return f"{test} != 0 ? {yes} : {no}"
        mask = f"{test} != ({self._type(condition)})(0)"
        if condition.itemsize != node.dtype.itemsize:
            # Compared again: Mesa 22.3 (llvmpipe) loses the sign of a mask widened from int to long.
            integer = self._type(np.dtype(f"int{8 * node.dtype.itemsize}"))
            mask = f"convert_{integer}({mask}) != ({integer})(0)"
        return f"{mask} ? {yes} : {no}"

    def _helper(self, function: str, node: Expr, args: Sequence[str]) -> str:
        self.helpers.add((function, node.dtype, 1))
        name = f"{function}_{dtypes.c_type(node.dtype)}"
        if self.width == 1:
            return f"{name}({', '.join(args)})"
        lanes = (", ".join(f"{a}.s{i:x}" for a in args) for i in range(self.width))
        return f"({self._type(node.dtype)})({', '.join(f'{name}({lane})' for lane in lanes)})"
