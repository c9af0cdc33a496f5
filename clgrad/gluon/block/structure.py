"""Arguments of blocks: where their arrays are, and placeholders and symbols instead of arrays."""

from collections.abc import Callable
from typing import Any

from clgrad import nested
from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.symbol import Symbol


def context_of(*values: Any) -> Context | None:
    """Where the first array among the values is, however deep."""
    for value in values:
        if isinstance(value, NDArray):
            return value.context
        found = nested.leaves(value, NDArray)
        if found:
            return found[0].context
    return None


def trimmed(value: Any) -> Any:
    """A nested value with placeholders instead of arrays, which it would otherwise keep alive."""
    return nested.replaced(value, lambda leaf: PLACEHOLDER if isinstance(leaf, NDArray) else leaf)


class _Placeholder:
    """Where an array was."""


PLACEHOLDER = _Placeholder()


def with_symbols(value: Any, make: Callable[[str], Symbol]) -> tuple[Any, list[Symbol]]:
    """A trimmed value with symbols for its arrays: ``data``, or ``data0``, ``data1``, ..."""
    count = len(nested.leaves(value, _Placeholder))
    symbols = [make("data" if count == 1 else f"data{i}") for i in range(count)]
    given = iter(symbols)
    return nested.replaced(
        value, lambda leaf: next(given) if isinstance(leaf, _Placeholder) else leaf
    ), symbols
