"""Graphs of ops (``mx.sym``): recorded ones, those that a call of ops on symbols makes, and those of files.

Every op of ``nd`` that MXNet's graphs can hold is here under its name there, and takes symbols for arrays.
"""

import functools
from typing import Any

from clgrad.absent import getter as _getter
from clgrad.errors import AbsentError
from clgrad.symbol import catalogue as _catalogue
from clgrad.symbol.compose import apply as _apply
from clgrad.symbol.compose import group as Group  # noqa: N812  (MXNet's name)
from clgrad.symbol.compose import split_v2, var
from clgrad.symbol.graph import Symbol
from clgrad.symbol.inference import infer as infer_values
from clgrad.symbol.inference import infer_arguments
from clgrad.symbol.reading import load, load_json
from clgrad.symbol.recorded import from_entry

Variable = var
fromjson = load_json


class _Space:
    """The ops of a namespace of ``nd``, as functions of symbols."""

    def __init__(self, name: str, prefix: str):
        self._name = name
        self._prefix = prefix

    def __getattr__(self, op: str) -> Any:
        return _find(self._prefix + op, f"{self._name}.{op}")


def _find(op: str, shown: str) -> Any:
    try:
        _catalogue.find(_catalogue.graph_name(op))
    except AbsentError:
        raise AttributeError(f"mx.sym has no {shown}: clgrad's graphs cannot hold it") from None
    return functools.partial(_apply, op)


contrib, linalg, image = (
    _Space("contrib", "contrib."),
    _Space("linalg", "linalg."),
    _Space("image", "image."),
)
random = _Space("random", "random_")
_absent = _getter("nd", __name__)


def __getattr__(op: str) -> Any:
    if op.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {op!r}")
    try:
        return _find(op, op)
    except AttributeError:
        return _absent(op)  # raises, with the reason where there is one


__all__ = [
    "Group",
    "Symbol",
    "Variable",
    "from_entry",
    "fromjson",
    "infer_arguments",
    "infer_values",
    "load",
    "load_json",
    "split_v2",
    "var",
]
