"""Ops applied to symbols: each call is a node more. Gives Symbol its operators and methods."""

import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from clgrad import dtypes, name
from clgrad.errors import AbsentError, OperatorTypeError, argument_error
from clgrad.registry import table
from clgrad.symbol import catalogue
from clgrad.symbol.graph import Symbol
from clgrad.symbol.nodes import Argument, Call, Entry


def var(
    name: str,
    attr: dict[str, str] | None = None,
    shape: Sequence[int] | None = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    dtype: Any = None,
    init: Any = None,
    stype: str | None = None,
    **kwargs: Any,
) -> Symbol:
    """A symbol of one argument, to be given a value later.

    Parameters
    ----------
    name : str
    attr : dict of str, optional
        Texts that are written with the graph.
    shape : tuple of int, optional
        0 and -1 stand for unknown sizes.
    lr_mult, wd_mult, init, stype
        Written with the graph; without effect.
    dtype : str or type, optional

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.sym.var("x")
    >>> (mx.sym.exp(x) + 1).eval(x=mx.nd.zeros((2,)))[0].asnumpy()
    array([2., 2.], dtype=float32)
    """
    if not isinstance(name, str):
        raise OperatorTypeError(f"var: name is {type(name).__name__}; accepted: str")
    sizes = None if shape is None else tuple(int(n) for n in shape)
    resolved = None if dtype is None else dtypes.resolve(dtype, "var")
    hidden = {"shape": sizes, "lr_mult": lr_mult, "wd_mult": wd_mult, "init": init, **kwargs}
    attributes = dict(attr or {}) | {
        f"__{key.strip('_')}__": catalogue.text(value) for key, value in hidden.items() if value is not None
    }
    return Symbol([(Argument(name, shape=sizes, dtype=resolved, attributes=attributes), 0)])


def group(symbols: Iterable[Symbol]) -> Symbol:
    """One symbol with the outputs of several.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.sym.var("x")
    >>> mx.sym.Group([x, mx.sym.exp(x, name="e")]).list_outputs()
    ['x', 'e_output']
    """
    parts = list(symbols)
    if not parts:
        raise OperatorTypeError("Group: no symbols given; accepted: one or more")
    for part in parts:
        if not isinstance(part, Symbol):
            raise OperatorTypeError(f"Group: a part is {type(part).__name__}; accepted: Symbol")
    return Symbol([head for part in parts for head in part._heads])


def apply(op: str, *args: Any, **kwargs: Any) -> Symbol:
    """The symbol of an op's call.

    Parameters
    ----------
    op : str
        A name of ``nd``, with a dot for a namespace within it.
    *args, **kwargs
        What the op takes, with symbols in the place of arrays. Arrays that are left out become arguments,
        named after the call. ``name`` is that of the node.

    Raises
    ------
    OperatorTypeError
        An argument is unknown, given twice, or an array.
    AbsentError
        The op cannot be part of a graph.
    """
    given = dict(kwargs)
    chosen, _ = given.pop("name", None), given.pop("attr", None)
    kind = catalogue.find(catalogue.graph_name(op))
    label = name.current().get(chosen, op.rpartition(".")[2].lower())
    if kind.variadic is not None:
        return _apply_to_all(kind, label, args, given)
    given = _bound(op, kind.order, args, given)
    if kind.arrays == ("lhs", "rhs") and any(map(_is_number, given.values())):
        return _with_number(op, kind, label, given)
    arrays = [k for k in kind.arrays if k not in kind.numbers or not _is_number(given.get(k))]
    attributes = {k: _plain(op, k, v) for k, v in given.items() if v is not None and k not in arrays}
    parameters, inputs = [], []
    for parameter in arrays:
        value = given.get(parameter)
        if value is None:
            if not _is_needed(kind, parameter, attributes):
                continue
            value = var(f"{label}_{parameter}")
        parameters.append(parameter)
        inputs.append(_entry(op, parameter, value))
    return _call(kind, label, parameters, inputs, attributes)


def _with_number(op: str, kind: catalogue.Kind, label: str, given: dict[str, Any]) -> Symbol:
    """A call of an op of two operands, one of which is a number."""
    side, array = ("lhs", "rhs") if _is_number(given.get("lhs")) else ("rhs", "lhs")
    entry = _entry(op, array, given.get(array))
    own = catalogue.SCALAR_NAMES.get((kind.key, side))
    if own is None:
        raise argument_error(op, side, given[side], "Symbol: MXNet's graphs have no numbers there")
    return _call(catalogue.find(own), label, (array,), [entry], {"scalar": _plain(op, side, given[side])})


def _bound(op: str, order: Sequence[str], args: tuple, given: dict[str, Any]) -> dict[str, Any]:
    """All arguments by name."""
    if len(args) > len(order):
        accepted = ", ".join(order)
        raise OperatorTypeError(f"{op}: {len(args)} positional arguments given; accepted: {accepted}")
    for parameter in given:
        if parameter not in order:
            raise OperatorTypeError(f"{op}: unknown argument {parameter!r}; accepted: {', '.join(order)}")
    for parameter in order[: len(args)]:
        if parameter in given:
            raise OperatorTypeError(f"{op}: argument {parameter!r} is given twice")
    return {**dict(zip(order, args, strict=False)), **given}


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.bool_)


def split_v2(ary: Symbol, indices_or_sections, axis=0, squeeze_axis=False, name=None) -> Symbol:
    """Parts along an axis, as ``nd.split_v2`` makes them: so many equal ones, or from given places on."""
    where = indices_or_sections
    is_count = isinstance(where, numbers.Integral)
    parts = {"sections": int(where)} if is_count else {"indices": (0, *where)}
    return apply("split_v2", ary, axis=axis, squeeze_axis=squeeze_axis, name=name, **parts)


def _apply_to_all(kind: catalogue.Kind, label: str, args: tuple, attributes: dict[str, Any]) -> Symbol:
    """A call of an op that takes any number of arrays."""
    attributes.pop("num_args", None)
    values = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    inputs = [head for i, v in enumerate(values) for head in _heads(kind.key, f"{kind.variadic}{i}", v)]
    if not inputs:
        raise OperatorTypeError(f"{kind.key}: no symbols given; accepted: one or more")
    parameters = [f"{kind.variadic}{i}" for i in range(len(inputs))]
    plain = {k: _plain(kind.key, k, v) for k, v in attributes.items() if v is not None}
    return _call(kind, label, parameters, inputs, plain)


def _call(kind, label: str, parameters, inputs: list[Entry], attributes: dict[str, Any]) -> Symbol:
    count = kind.outputs(attributes)
    node = Call(label, kind.op_name, parameters, attributes, inputs, None, count)
    return Symbol([(node, index) for index in range(count)])


def _is_needed(kind: catalogue.Kind, parameter: str, attributes: dict[str, Any]) -> bool:
    """Whether a call cannot do without an array."""
    defaults = inspect.signature(table.get(kind.key, kind.function)).parameters
    if defaults[parameter].default is inspect.Parameter.empty:
        return True
    if parameter == "bias":
        return not attributes.get("no_bias", defaults["no_bias"].default)
    if parameter == "state_cell":
        return attributes.get("mode") == "lstm"
    return kind.key == "LeakyReLU" and attributes.get("act_type") == "prelu"


def _heads(op: str, parameter: str, value: Any) -> list[Entry]:
    if not isinstance(value, Symbol):
        raise OperatorTypeError(
            f"{op}: {parameter} is {type(value).__name__}; accepted: Symbol, as for every array of an op "
            "of mx.sym"
        )
    return value._heads


def _entry(op: str, parameter: str, value: Any) -> Entry:
    heads = _heads(op, parameter, value)
    if len(heads) != 1:
        raise argument_error(op, parameter, f"a symbol of {len(heads)} outputs", "a symbol of one output")
    return heads[0]


def _plain(op: str, key: str, value: Any) -> Any:
    """An attribute that can be written."""
    if isinstance(value, Symbol):
        raise OperatorTypeError(f"{op}: {key} is a Symbol; accepted: a value, since it is no array")
    if isinstance(value, np.generic):
        return value.item()
    return tuple(value) if isinstance(value, list) else value


# Operators and methods of Symbol

_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "mod": "modulo",
    "pow": "power",
}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "lt": "lesser",
    "le": "lesser_equal",
}
_OPERANDS = (Symbol, numbers.Real, np.bool_)


def _binary(op: str, reflected: bool) -> Callable:
    def method(self: Symbol, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return apply(op, other, self) if reflected else apply(op, self, other)

    return method


def _find_method(self: Symbol, op: str) -> Any:
    """``symbol.relu()``: an op of ``nd`` on the symbol. Python asks for what is not there."""
    if not op.startswith("_") and op in table and "." not in op:
        return lambda *args, **kwargs: apply(op, self, *args, **kwargs)
    if op in ("bind", "simple_bind"):
        raise AbsentError(
            f"Symbol.{op}: MXNet's executors are not part of clgrad; use eval, or SymbolBlock"
        )
    if op in ("shape", "dtype", "size", "ndim", "context", "ctx", "asnumpy", "asscalar", "grad"):
        raise AttributeError(
            f"a Symbol has no {op}: it stands for arrays of any shape, which the graph gets later. A "
            "hybrid_forward that is to be exported must do without"
        )
    raise AttributeError(f"'Symbol' object has no attribute {op!r}")


def _numbers_of(values: tuple) -> Any:
    """Numbers given one by one, or as one list or tuple."""
    return values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values


def _reshape(self: Symbol, *shape: Any, **kwargs: Any) -> Symbol:
    """The same elements under another shape, given as numbers or as one tuple."""
    return apply("reshape", self, **({"shape": _numbers_of(shape)} if shape else {}), **kwargs)


def _transpose(self: Symbol, *axes: Any, **kwargs: Any) -> Symbol:
    """Axes in another order, given as numbers or as one tuple; reversed where not given."""
    return apply("transpose", self, **({"axes": _numbers_of(axes)} if axes else {}), **kwargs)


def _astype(self: Symbol, dtype: Any, copy: bool = True) -> Symbol:
    """The values in another dtype."""
    return apply("cast", self, dtype=dtypes.resolve(dtype, "astype").name)


def _bool(self: Symbol) -> bool:
    """Refused: nothing is known yet."""
    raise OperatorTypeError(
        "bool(Symbol): a Symbol has no value, so that no branch can depend on it; accepted: F.where, "
        "F.contrib.cond on arrays, or a condition that is known beforehand"
    )


def _itself(self: Symbol) -> Symbol:
    """The symbol itself."""
    return self


for _name, _op in _OPERATORS.items():
    setattr(Symbol, f"__{_name}__", _binary(_op, reflected=False))
    setattr(Symbol, f"__r{_name}__", _binary(_op, reflected=True))
for _name, _op in _COMPARISONS.items():
    setattr(Symbol, f"__{_name}__", _binary(_op, reflected=False))
for _name, _function in {
    "__hash__": object.__hash__,
    "__bool__": _bool,
    "__neg__": lambda self: apply("negative", self),
    "__abs__": lambda self: apply("abs", self),
    "__getattr__": _find_method,
    "T": property(lambda self: apply("transpose", self)),
    "reshape": _reshape,
    "transpose": _transpose,
    "astype": _astype,
    "copy": lambda self: apply("identity", self),
    "as_nd_ndarray": _itself,
}.items():
    setattr(Symbol, _name, _function)
