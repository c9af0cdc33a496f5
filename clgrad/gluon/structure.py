"""Nested lists and tuples of arrays or symbols, as arguments and results of blocks."""

from collections.abc import Callable
from typing import Any

from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.symbol import Symbol


def context_of(*values: Any) -> Context | None:
    """Where the first array among the values is, however deep."""
    for value in values:
        if isinstance(value, NDArray):
            return value.context
        if isinstance(value, list | tuple):
            found = context_of(*value)
            if found is not None:
                return found
    return None


def leaves(value: Any, kind: Any) -> list:
    """All objects of a type, or of several, in a structure, in order."""
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part, kind)]
    return [value] if isinstance(value, kind) else []


def replaced(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """The structure with other objects in the place of those of a kind."""
    if isinstance(value, list | tuple):
        parts = [replaced(part, kind, replace) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return replace(value) if isinstance(value, kind) else value


def trimmed(value: Any) -> Any:
    """The structure with placeholders instead of arrays, which it would otherwise keep alive."""
    return replaced(value, NDArray, lambda array: PLACEHOLDER)


class _Placeholder:
    """Where an array was."""


PLACEHOLDER = _Placeholder()


def with_symbols(value: Any, make: Callable[[str], Symbol]) -> tuple[Any, list[Symbol]]:
    """A trimmed structure with symbols for its arrays: ``data``, or ``data0``, ``data1``, ..."""
    count = len(leaves(value, _Placeholder))
    symbols = [make("data" if count == 1 else f"data{i}") for i in range(count)]
    given = iter(symbols)
    return replaced(value, _Placeholder, lambda placeholder: next(given)), symbols
