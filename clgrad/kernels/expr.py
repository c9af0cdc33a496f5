"""Symbolic operands: Python formulas in, OpenCL C out.

A formula such as ``dy * y * (1 - y)``, called with :class:`Expr` operands, builds a small typed graph;
:class:`~clgrad.kernels.emitter.Emitter` spells the graph as C, for scalars or for vectors.
Truth values are 0 and 1 in the dtype that was compared, as in MXNet.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np

from clgrad import dtypes
from clgrad.device.capabilities import OWN_BUILTINS

#: OpenCL C built-ins of floating-point arguments, each defined for vectors too (OpenCL C 3.0, 6.15.2).
BUILTINS = frozenset(
    [
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "ceil",
        "cos",
        "cosh",
        "erf",
        "exp",
        "exp2",
        "expm1",
        "fabs",
        "floor",
        "fmod",
        "hypot",
        "log",
        "log10",
        "log1p",
        "log2",
        "pow",
        "rint",
        "round",
        "rsqrt",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
        "trunc",
    ]
)

#: Functions of templates/functions.cl.mako, written for scalars and applied to each component.
HELPERS = frozenset(
    [
        "digamma",
        "erfinv",
        "float_modulo",
        "gamma",
        "gammaln",
        "int_divide",
        "int_floor_divide",
        "int_modulo",
        "int_power",
        "polygamma",
    ]
)

#: Functions that OpenCL C lacks, of templates/elementary.cl.mako, for any width.
EXTRAS = frozenset(["gelu_slope", "ndtr", "softplus"])

#: All of templates/elementary.cl.mako; its versions of built-ins are for devices that lack good ones.
ELEMENTARY = EXTRAS | OWN_BUILTINS


#: Functions that take no longer than to store and load an array.
CHEAP = frozenset(
    [
        *("input", "scalar", "const", "cast", "round", "where", "add", "sub", "mul", "div", "neg"),
        *("eq", "ne", "lt", "le", "gt", "ge", "fabs", "floor", "ceil", "rint"),
        *("exp", "exp2", "log", "log2", "expm1", "log1p", "sqrt", "rsqrt"),
        *("tanh", "erf", "ndtr", "softplus"),
    ]
)


class Expr:
    """A node: an operand (``input``, ``scalar``), a ``const``, or a function of other nodes."""

    __slots__ = ("args", "dtype", "function", "payload")
    __hash__ = object.__hash__

    def __init__(self, function: str, dtype: np.dtype, args: tuple["Expr", ...] = (), payload=None):
        self.function = function
        self.dtype = dtype
        self.args = args
        self.payload = payload

    def __add__(self, other):
        return arithmetic("add", self, other)

    def __radd__(self, other):
        return arithmetic("add", other, self)

    def __sub__(self, other):
        return arithmetic("sub", self, other)

    def __rsub__(self, other):
        return arithmetic("sub", other, self)

    def __mul__(self, other):
        return arithmetic("mul", self, other)

    def __rmul__(self, other):
        return arithmetic("mul", other, self)

    def __truediv__(self, other):
        return divide(self, other)

    def __rtruediv__(self, other):
        return divide(other, self)

    def __neg__(self):
        return Expr("neg", self.dtype, (self,))

    def __lt__(self, other):
        return compare("lt", self, other)

    def __le__(self, other):
        return compare("le", self, other)

    def __gt__(self, other):
        return compare("gt", self, other)

    def __ge__(self, other):
        return compare("ge", self, other)

    def __eq__(self, other):
        return compare("eq", self, other)

    def __ne__(self, other):
        return compare("ne", self, other)

    def __bool__(self):
        raise TypeError("a symbolic operand has no truth value; use where(condition, x, y)")


def operand(slot: int, dtype: np.dtype) -> Expr:
    """The array operand ``slot``, as loaded from storage of ``dtype``."""
    return Expr("input", dtypes.compute_type(dtype), payload=slot)


def index(slot: int, narrow: bool = False) -> Expr:
    """The index operand ``slot``: a linear function of the position, without memory behind it.

    Of 64 bits, or of 32 where the operand is ``narrow``: then vectors hold as many as of floats.
    """
    return Expr("input", dtypes.int32 if narrow else dtypes.int64, payload=slot)


def lookup(slot: int, dtype: np.dtype, address: Expr) -> Expr:
    """The element of array operand ``slot`` at an address that is computed; it must lie in the array."""
    return Expr("lookup", dtypes.compute_type(dtype), (address,), slot)


def scalar(slot: int, dtype: np.dtype) -> Expr:
    """The number ``slot`` that is passed to the kernel at each launch."""
    return Expr("scalar", dtypes.compute_type(dtype), payload=slot)


def constant(value: float, dtype: np.dtype) -> Expr:
    """A number that is part of the source."""
    return Expr("const", dtype, payload=value)


def promote(a, b) -> tuple[Expr, Expr]:
    """Two operands, one of them perhaps a number, as expressions of one dtype."""
    if not isinstance(a, Expr):
        a = _literal(a, b.dtype)
    elif not isinstance(b, Expr):
        b = _literal(b, a.dtype)
    if a.dtype == b.dtype:
        return a, b
    # A real number meets an integer: the real dtype stays (numpy would widen float32 to float64).
    real = [x.dtype for x in (a, b) if x.dtype.kind == "f"]
    common = np.result_type(*(real or (a.dtype, b.dtype)))
    return cast(a, common), cast(b, common)


def _literal(value, dtype: np.dtype) -> Expr:
    fractional = dtype.kind != "f" and not float(value).is_integer()  # infinity and NaN are none
    return constant(value, dtypes.float32 if fractional else dtype)


def arithmetic(function: str, a, b) -> Expr:
    """``add``, ``sub`` or ``mul`` of two operands, at least one of them symbolic."""
    a, b = promote(a, b)
    return Expr(function, a.dtype, (a, b))


def divide(a, b) -> Expr:
    """Quotient; integers divide as in C, and 0 where the divisor is 0."""
    a, b = promote(a, b)
    return Expr("div" if a.dtype.kind == "f" else "int_divide", a.dtype, (a, b))


def compare(function: str, a, b) -> Expr:
    """``eq``, ``ne``, ``lt``, ``le``, ``gt`` or ``ge``: 1 or 0 in the dtype compared."""
    a, b = promote(a, b)
    return Expr(function, a.dtype, (a, b))


def where(condition: Expr, a, b) -> Expr:
    """``a`` where the condition is not 0, else ``b``."""
    if not isinstance(a, Expr) and not isinstance(b, Expr):
        a = _literal(a, condition.dtype)
    a, b = promote(a, b)
    return Expr("where", a.dtype, (condition, a, b))


def call(function: str, *args) -> Expr:
    """A built-in or helper function; integer operands of built-ins are first made real."""
    typed = [a for a in args if isinstance(a, Expr)]
    dtype = np.result_type(*(a.dtype for a in typed))
    if function in BUILTINS | EXTRAS or (function in HELPERS and not function.startswith("int_")):
        dtype = _real(dtype)
    return Expr(function, dtype, tuple(cast(a, dtype) for a in args))


def _real(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind == "f" else dtypes.float32


def cast(value, dtype: np.dtype) -> Expr:
    """The value converted to a compute dtype."""
    if not isinstance(value, Expr):
        return constant(value, dtype)
    if value.dtype == dtype:
        return value
    if value.function == "const":
        return constant(value.payload, dtype)
    return Expr("cast", dtype, (value,))


def rounded(value: Expr, storage: np.dtype) -> Expr | None:
    """What is loaded again of a value that is stored; None of dtypes for which there is no formula."""
    compute = dtypes.compute_type(storage)
    if compute == storage:
        return cast(value, storage)
    if storage in (dtypes.float16, dtypes.bfloat16):
        return Expr("round", compute, (cast(value, compute),), storage)
    return None


def _nodes(roots: Iterable[Expr]) -> Iterator[Expr]:
    """Every expression that the roots are made of, once, and after its own arguments."""
    seen: set[int] = set()
    stack = [(root, False) for root in roots]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((a, False) for a in node.args)


def rewritten(roots: Iterable[Expr], leaf: Callable[[Expr], Expr | int]) -> list[Expr]:
    """The expressions with other operands and scalars.

    ``leaf`` is asked for what comes in the place of each ``input`` and ``scalar``; and of each ``lookup``,
    whose address stays, for the slot of the operand.
    """
    made: dict[int, Expr] = {}
    roots = list(roots)
    for node in _nodes(roots):
        if node.function in ("input", "scalar"):
            replaced = leaf(node)
            assert isinstance(replaced, Expr), "only a lookup is given a slot"
        else:
            payload = leaf(node) if node.function == "lookup" else node.payload
            args = tuple([made[id(a)] for a in node.args])
            same = payload == node.payload and all(a is b for a, b in zip(args, node.args, strict=True))
            replaced = node if same else Expr(node.function, node.dtype, args, payload)
        made[id(node)] = replaced
    return [made[id(root)] for root in roots]


def spelled(roots: Iterable[Expr]) -> tuple:
    """The expressions as something to compare, which is the same for those that compute the same."""
    roots = list(roots)
    places: dict[int, int] = {}
    nodes: dict[tuple, int] = {}
    for node in _nodes(roots):
        args = tuple([places[id(a)] for a in node.args])
        own = (node.function, node.dtype, repr(node.payload), args)  # 0 and -0 differ
        places[id(node)] = nodes.setdefault(own, len(nodes))
    return (*nodes, tuple([places[id(root)] for root in roots]))


def inputs_of(roots: Iterable[Expr]) -> set[int]:
    """Slots of the array and index operands that the expressions read."""
    return {node.payload for node in _nodes(roots) if node.function in ("input", "lookup")}


def looked_up(roots: Iterable[Expr]) -> set[int]:
    """Slots of the array operands that the expressions read at computed addresses."""
    return {node.payload for node in _nodes(roots) if node.function == "lookup"}


def size(roots: Iterable[Expr]) -> int:
    """Of how many operands and operations the expressions are made."""
    return sum(1 for _ in _nodes(roots))


def functions_of(roots: Iterable[Expr]) -> set[str]:
    """The functions that the expressions are made of."""
    return {node.function for node in _nodes(roots)}


def dtypes_of(roots: Iterable[Expr]) -> set[np.dtype]:
    """Compute dtypes of the expressions and of all that they are made of."""
    return {node.dtype for node in _nodes(roots)}


def unvarying(roots: Iterable[Expr], varying: Collection[int]) -> set[int]:
    """Ids of the expressions made of operands that are not among ``varying``, and of numbers.

    Numbers alone are left out: a compiler knows by itself that they stay what they are.
    """
    numbers: set[int] = set()
    found: set[int] = set()
    for node in _nodes(roots):
        args = [id(a) for a in node.args]
        if node.function == "input":
            if node.payload not in varying:
                found.add(id(node))
        elif node.function == "lookup":
            continue
        elif all(a in numbers for a in args):
            numbers.add(id(node))
        elif all(a in found or a in numbers for a in args):
            found.add(id(node))
    return found


def c_literal(value: float, dtype: np.dtype) -> str:
    """A number as a C literal of the dtype; never a bare double, which many GPUs do not have."""
    if dtype.kind != "f":
        suffix = {"int64": "L"}.get(dtype.name, "")
        number = int(value)
        if number == np.iinfo(dtype).min and dtype.kind == "i":
            return dtypes.describe(dtype).min_literal
        return f"(({dtypes.c_type(dtype)}){number}{suffix})"
    suffix = "f" if dtype == dtypes.float32 else ""
    if suffix:
        with np.errstate(over="ignore"):  # to infinity
            value = float(np.float32(value))
    if math.isnan(value):
        return "NAN" if suffix else "((double)NAN)"
    if math.isinf(value):
        text = "INFINITY" if value > 0 else "(-INFINITY)"
        return text if suffix else f"((double){text})"
    digits = repr(float(value))
    digits = digits if any(c in digits for c in ".en") else digits + ".0"
    return f"({digits}{suffix})"


def convert(text: str, source: np.dtype, target: np.dtype, width: int = 1) -> str:
    """C spelling of a value of compute dtype ``source`` converted to compute dtype ``target``.

    Real numbers beyond the range of a whole dtype become its bound, and NaN 0: what C leaves undefined.
    """
    if source == target:
        return text
    kind = dtypes.c_type(target, width)
    if source.kind == "f" and target.kind != "f":
        zero = f"({dtypes.c_type(source, width)})(0)"
        number = f"{text} == {text}"  # PoCL 3.0 makes the least number of NaN
        number = f"{number} ? {text} : {zero}" if width == 1 else f"select({zero}, {text}, {number})"
        return f"convert_{kind}_sat({number})"
    return f"({kind})({text})" if width == 1 else f"convert_{kind}({text})"


def round_to(storage: np.dtype, text: str, width: int = 1) -> str:
    """C expression of a float, the name of a variable, rounded as if it were stored as float16 or bfloat16.

    To the nearest, ties to even, by adding to the bits: a carry goes on into the exponent. Below 2^-14
    numbers of float16 are 2^-24 apart, as those of float32 between 0.5 and 1 are. A NaN stays one.
    """
    wide = str(width) if width > 1 else ""
    kind = f"uint{wide}"
    size = f"(as_{kind}({text}) & 0x7fffffffu)"
    dropped = 13 if storage == dtypes.float16 else 16
    half, mask = (1 << (dropped - 1)) - 1, 0xFFFFFFFF << dropped & 0xFFFFFFFF

    def chosen(condition: str, yes: str, no: str) -> str:
        return f"({condition} ? {yes} : {no})" if width == 1 else f"select({no}, {yes}, {condition})"

    def number(bits: int) -> str:
        return f"({kind})({bits:#x}u)"

    bits = f"(({size} + {half:#x}u + (({size} >> {dropped}) & 1u)) & {mask:#x}u)"
    if storage == dtypes.float16:
        bits = chosen(f"{bits} >= {number(0x47800000)}", number(0x7F800000), bits)
        small = f"as_{kind}((as_float{wide}({size}) + 0.5f) - 0.5f)"
        bits = chosen(f"{size} < {number(0x38800000)}", small, bits)
    bits = chosen(f"{size} > {number(0x7F800000)}", number(0x7FC00000), bits)
    return f"as_float{wide}({bits} | (as_{kind}({text}) & 0x80000000u))"


def load(storage: np.dtype, pointer: str, position: str, width: int = 1) -> str:
    """C expression that loads ``width`` adjacent elements as the compute type."""
    if storage == dtypes.float16:
        return f"vload_half{width if width > 1 else ''}(0, {pointer} + ({position}))"
    if storage == dtypes.bfloat16:
        if width == 1:
            return f"as_float((uint)({pointer}[{position}]) << 16)"
        return f"as_float{width}(convert_uint{width}(vload{width}(0, {pointer} + ({position}))) << 16)"
    if width == 1:
        return f"{pointer}[{position}]"
    return f"vload{width}(0, {pointer} + ({position}))"


def store(
    storage: np.dtype,
    value: str,
    source: np.dtype,
    pointer: str,
    position: str,
    width: int = 1,
    streams: bool = False,
) -> str:
    """C statement that converts a value of compute dtype ``source`` and stores it.

    With ``streams`` it calls ``STREAM`` (``common.streaming``) where a whole vector needs no other steps.
    """
    if storage == dtypes.bool_:
        kind = dtypes.c_type(source, width)
        if width == 1:
            value, source = f"(uchar)({value} != 0)", dtypes.uint8
        else:
            truth = f"select(({kind})(0), ({kind})(1), {value} != ({kind})(0))"
            value, source = truth, source
    value = convert(value, source, dtypes.compute_type(storage), width)
    if storage == dtypes.float16:
        return f"vstore_half{width if width > 1 else ''}({value}, 0, {pointer} + ({position}));"
    if storage == dtypes.bfloat16:
        return _store_bfloat16(value, f"{pointer} + ({position})", width)
    if width == 1:
        return f"{pointer}[{position}] = {value};"
    if streams:
        return f"STREAM({dtypes.describe(storage).storage}, {width}, {value}, {pointer} + ({position}));"
    return f"vstore{width}({value}, 0, {pointer} + ({position}));"


def _store_bfloat16(value: str, pointer: str, width: int) -> str:
    """C block that rounds floats to the nearest bfloat16, ties to even; a NaN stays a (quiet) NaN."""
    kind = f"uint{width}" if width > 1 else "uint"
    nan, rounded = "(bits >> 16) | 0x40u", "(bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16"
    is_nan = "(bits & 0x7fffffffu) > 0x7f800000u"
    if width == 1:
        store_ = f"*({pointer}) = (ushort)({is_nan} ? {nan} : {rounded});"
    else:
        chosen = f"select({rounded}, {nan}, {is_nan})"
        store_ = f"vstore{width}(convert_ushort{width}({chosen}), 0, {pointer});"
    return f"{{ const {kind} bits = as_{kind}({value}); {store_} }}"
