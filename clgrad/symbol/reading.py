"""Symbols from MXNet's files of graphs, which are JSON: reading executes nothing, and believes nothing."""

import json
import os
from pathlib import Path
from typing import Any

from clgrad.errors import MXNetError, OperatorTypeError
from clgrad.symbol import catalogue
from clgrad.symbol.graph import Symbol
from clgrad.symbol.nodes import Argument, Call, Entry, Node


def load(fname: str | os.PathLike) -> Symbol:
    """The symbol of a file that MXNet or ``Symbol.save`` wrote.

    Raises
    ------
    MXNetError
        The file is damaged.
    AbsentError
        The graph has an op that clgrad lacks.
    OSError
        The file cannot be read.
    """
    if not isinstance(fname, str | os.PathLike):
        raise OperatorTypeError(f"symbol.load: fname is {type(fname).__name__}; accepted: str or a path")
    return _parse(Path(fname).read_bytes(), f"symbol.load: {os.fspath(fname)}")


def load_json(json_str: str) -> Symbol:
    """The symbol of a file's content.

    Raises
    ------
    MXNetError, AbsentError
        As for :func:`load`.

    Examples
    --------
    >>> import clgrad as mx
    >>> symbol = mx.sym.exp(mx.sym.var("x"), name="e")
    >>> mx.sym.load_json(symbol.tojson()).list_outputs()
    ['e_output']
    """
    if not isinstance(json_str, str):
        raise OperatorTypeError(f"load_json: json_str is {type(json_str).__name__}; accepted: str")
    return _parse(json_str, "load_json")


def _parse(content: str | bytes, what: str) -> Symbol:
    try:
        graph = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MXNetError(f"{what}: this is not JSON ({error})") from None
    nodes: list[Node] = []
    try:
        for described in _field(graph, "nodes", list):
            nodes.append(_node(described, nodes))
        heads = [_entry(head, nodes) for head in _field(graph, "heads", list)]
    except _DamageError as damage:
        raise MXNetError(f"{what}: node {len(nodes)}: {damage}") from None
    if not heads:
        raise MXNetError(f"{what}: the graph has no outputs")
    return Symbol(heads)


class _DamageError(Exception):
    """A graph that is not what it should be."""


def _field(described: Any, key: str, kind: type, default: Any = None) -> Any:
    if not isinstance(described, dict):
        raise _DamageError(f"{type(described).__name__} where a dictionary should be")
    value = described.get(key, default)
    if not isinstance(value, kind):
        raise _DamageError(f"{key!r} is {type(value).__name__}; accepted: {kind.__name__}")
    return value


def _entry(described: Any, nodes: list[Node]) -> Entry:
    """An input or output: the number of a node that came before, and which of its outputs."""
    if not isinstance(described, list) or not 2 <= len(described) <= 3:
        raise _DamageError(f"{described!r} where two or three numbers should be")
    place, index = described[:2]
    if type(place) is not int or type(index) is not int or not 0 <= place < len(nodes):
        raise _DamageError(f"the input {described} is none of the {len(nodes)} nodes before")
    if not 0 <= index < nodes[place].count:
        raise _DamageError(f"the input {described} is none of the outputs of {nodes[place].name}")
    return nodes[place], index


def _node(described: Any, nodes: list[Node]) -> Node:
    name, op_name = _field(described, "name", str), _field(described, "op", str)
    # MXNet called the attributes otherwise in its time.
    key = next((k for k in ("attrs", "attr", "param") if k in described), "attrs")
    attrs = _field(described, key, dict, {})
    if not all(isinstance(text, str) for text in attrs.values()):
        raise _DamageError(f"{name}: an attribute is no text")
    inputs = [_entry(entry, nodes) for entry in _field(described, "inputs", list)]
    if op_name == "null":
        if inputs:
            raise _DamageError(f"{name} is an argument, and has inputs")
        shape = catalogue.value(attrs.get("__shape__", "None"))
        is_shape = isinstance(shape, tuple) and all(type(n) is int for n in shape)
        return Argument(name, shape=shape if is_shape else None, attributes=attrs)
    return _call(name, catalogue.find(op_name), attrs, inputs)


#: Attributes that say what is known anyway; and devices, since graphs run where their inputs are.
_NOT_TAKEN = ("num_args", "is_int", "ctx")


def _call(name: str, kind: catalogue.Kind, attrs: dict[str, str], inputs: list[Entry]) -> Node:
    attributes = {}
    for key, text in attrs.items():
        value = catalogue.value(text)
        if value is not None and not key.startswith("__") and key not in _NOT_TAKEN:
            attributes[key] = value
    if kind.variadic is not None:
        parameters = [f"{kind.variadic}{i}" for i in range(len(inputs))]
    else:
        parameters = list(kind.arrays[: len(inputs)])
        if len(inputs) > len(kind.arrays):
            raise _DamageError(f"{name} has {len(inputs)} inputs; accepted: {', '.join(kind.arrays)}")
    try:
        count = kind.outputs(attributes)
    except (TypeError, ValueError, OverflowError):
        raise _DamageError(f"{name}: the number of outputs does not follow from {attributes}") from None
    if not 0 < count <= _MOST_OUTPUTS:
        raise _DamageError(f"{name} would have {count} outputs")
    return Call(name, kind.op_name, parameters, attributes, inputs, None, count)


#: Outputs that a node can have: more is damage.
_MOST_OUTPUTS = 65_536
