"""What kind of value a parameter takes: conversion of what MXNet accepts, refusal of the rest.

A parameter's annotation says its kind; where there is none, the default and the glossary do. Numbers may be
numpy's, sequences lists or numpy arrays, and each value may be a string that spells it, as MXNet's symbols
have attributes: ``"(3, 3)"``, ``"True"``. What comes out can be compared and hashed.
"""

import ast
import functools
import inspect
import numbers
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clgrad.array import NDArray
from clgrad.deferred import Number
from clgrad.device import Context
from clgrad.errors import OperatorTypeError, shortened
from clgrad.registry.glossary import ARRAYS, VALUES


def _integer(value) -> int:
    if isinstance(value, NDArray):
        raise TypeError
    if isinstance(value, Number) and isinstance(value.value, int):
        return value  # type: ignore[return-value]  # of a function that is being captured: see _real
    value = operator.index(value)
    if not -(2**31) <= value < 2**31:  # kernels take most of them as int
        raise OverflowError
    return value


def _size(value) -> int:
    value = operator.index(value)
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return value


def _real(value) -> float:
    if isinstance(value, int | float):
        return value
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    if isinstance(value, Number):  # of a function that is being captured: it may change
        return value  # type: ignore[return-value]
    if isinstance(value, numbers.Real):  # a fraction
        return float(value)
    raise TypeError


def _boolean(value) -> bool:
    if isinstance(value, bool | np.bool_) or (isinstance(value, int | np.integer) and value in (0, 1)):
        return bool(value)
    raise TypeError


def _either(value):
    return value if isinstance(value, NDArray) else _real(value)


def _elements(read: Callable, sole: bool = True, gaps: bool = False) -> Callable:
    """Read a sequence; also one element alone, where ``sole``, and None as an element, where ``gaps``."""

    def read_all(value):
        if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1):
            return tuple([None if gaps and v is None else read(v) for v in value])
        if sole:
            return read(value)
        raise TypeError

    return read_all


def _of(*types: type) -> Callable:
    def read(value):
        if isinstance(value, types):
            return value
        raise TypeError

    return read


#: By kind, as the glossary writes it: how to read a value, raising TypeError (or OverflowError).
_READERS: dict[str, Callable] = {
    "int": _integer,
    "float": _real,
    "bool": _boolean,
    "str": _of(str),
    "str or type": _of(str, type, np.dtype),
    "Context": _of(Context, str),
    "NDArray": _of(NDArray),
    "float or NDArray": _either,
    "int or tuple of int": _elements(_integer),
    "int, None or tuple of them": _elements(_size, gaps=True),
    "size or tuple of sizes": _elements(_size),
    "tuple of int": _elements(_integer),
    "tuple of float": _elements(_real),
}
_READERS |= {"list of NDArray": lambda value: list(_elements(_of(NDArray), sole=False)(value))}
#: Types whose values need no reading; a look at the type is all that most calls pay.
_PLAIN: dict[str, set[type]] = {"float": {int, float}, "bool": {bool}, "str": {str}}
#: Kinds that take one whole number.
_WHOLE = {
    "int",
    "int or tuple of int",
    "int, None or tuple of them",
    "size or tuple of sizes",
    "tuple of int",
}
#: Annotations that stand above the glossary; others mean that the op itself looks at the value.
_ANNOTATED: dict[Any, str] = {
    int: "int",
    int | None: "int",
    NDArray: "NDArray",
    float | NDArray: "float or NDArray",
    float | None: "float",
    list: "list of NDArray",
    Context | None: "Context",
}
#: Kinds whose strings are names and not spelled values.
_NAMES = ("str", "str or type", "Context")


@dataclass(frozen=True)
class Kind:
    """The kind of one parameter.

    Attributes
    ----------
    name : str
        As the glossary writes it.
    optional : bool
        Whether None is accepted as well.
    plain : set of type
        Types whose values are taken as they are.
    whole : bool
        Whether a whole number is taken as it is.
    """

    name: str
    optional: bool
    plain: frozenset[type]
    whole: bool

    def read(self, op: str, argument: str, value: Any) -> Any:
        """The value in its plain form.

        Raises
        ------
        OperatorTypeError
            It is of another kind.
        """
        if value is None and self.optional:
            return None
        try:
            return _READERS[self.name](self._spelled(value))
        except (TypeError, OverflowError):
            plain = value is None or isinstance(value, int | float | str | tuple | list)
            given = shortened(repr(value)) if plain else type(value).__name__
            accepted = self.name + (" or None" if self.optional else "")
            raise OperatorTypeError(
                f"{op}: argument {argument!r} is {given}; accepted: {accepted}"
            ) from None

    def _spelled(self, value: Any) -> Any:
        """What a string spells, where one is given and the kind is not one of names."""
        if not isinstance(value, str) or self.name in _NAMES:
            return value
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two of deep nesting
            raise TypeError from None


def kind_of(parameter: inspect.Parameter) -> Kind | None:
    """The kind of a parameter; None where nothing is known of it, and anything goes."""
    default = parameter.default
    name = _kind_name(parameter.name, parameter.annotation, default)
    if name not in _READERS:
        return None
    optional = default is None or default == () or parameter.annotation in (int | None, Context | None)
    plain = frozenset(_PLAIN.get(name, ()))
    return Kind(name, optional, plain | {type(None)} if optional else plain, name in _WHOLE)


def _kind_name(name: str, annotation, default) -> str:
    if annotation is not float and annotation is not inspect.Parameter.empty:
        return _ANNOTATED.get(annotation, "")
    if name in ARRAYS and (default is None or default is inspect.Parameter.empty):
        return "NDArray"
    kind = VALUES.get(name, ("float" if annotation is float else "",))[0]
    if isinstance(default, bool | int | float | str) and annotation is not float:
        # the glossary may be wider than this op's parameter; but 0 may stand for 0.0, and for a dtype a str
        wider = isinstance(default, str) or (type(default) is int and kind == "float")
        return kind if wider and kind else type(default).__name__
    # an op whose default is a tuple takes several of what elsewhere is one
    return "int or tuple of int" if isinstance(default, tuple) and kind == "int" else kind


def kinds_of(parameters) -> dict[str, Kind]:
    """The kinds of parameters, by name, where they are known."""
    found = {p.name: kind_of(p) for p in parameters if p.kind is not p.VAR_POSITIONAL}
    return {name: kind for name, kind in found.items() if kind is not None}


def reads(function: Callable) -> Callable:
    """Decorate a function that is no op: its arguments are read as those of ops are."""
    signature, op = inspect.signature(function), function.__name__
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    kinds, names = kinds_of(parameters), [p.name for p in parameters]

    @functools.wraps(function)
    def call(*args, **kwargs):
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        read = read_all(op, kinds, given)
        if read:
            args = tuple([read.get(n, v) for n, v in zip(names, args, strict=False)]) + args[len(names) :]
            kwargs = {n: read.get(n, v) for n, v in kwargs.items()}
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                raise OperatorTypeError(f"{op}: {error}; accepted: {signature}") from None
            raise

    return call


def read_all(op: str, kinds: dict[str, Kind], given: dict[str, Any]) -> dict[str, Any]:
    """The given arguments whose values had to be read, in their plain form."""
    read = {}
    for argument, value in given.items():
        kind = kinds.get(argument)
        if kind is None or type(value) in kind.plain:
            continue
        if type(value) is int and kind.whole and -(2**31) <= value < 2**31:
            continue  # the usual case, without a call
        read[argument] = kind.read(op, argument, value)
    return read
