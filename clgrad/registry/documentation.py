"""Docstrings of ops, completed from their declarations."""

import inspect

_ARRAYS = "NDArray"
_OPERAND = "NDArray or number"

_GENERAL = {
    "axis": "int or tuple of int, optional",
    "keepdims": "bool",
    "exclude": "bool",
    "shape": "tuple of int",
    "dtype": "str or type",
    "transpose_a": "bool",
    "transpose_b": "bool",
}


def complete(op) -> str:
    """The declaration's docstring, followed by parameters, result, errors and differentiability.

    A docstring that has sections of its own is left as it is.
    """
    text = inspect.cleandoc(op.function.__doc__ or "")
    if "Parameters\n---" in text:
        return text
    return "\n\n".join(filter(None, (text, _parameters(op), _returns(op), _raises(op), _notes(op))))


def _section(title: str, lines: list[str]) -> str:
    return "\n".join((title, "-" * len(title), *lines)) if lines else ""


def _parameters(op) -> str:
    lines = []
    if op.variadic is not None:
        lines.append(f"*{op.variadic} : {_ARRAYS}")
    for name in op.arguments:
        optional = ", optional" if name in op.optional else ""
        lines.append(f"{name} : {_OPERAND if op.takes_numbers else _ARRAYS}{optional}")
    for name, default in op.attributes.items():
        kind = _GENERAL.get(name) or (
            type(default).__name__ if isinstance(default, bool | int | float | str) else "object"
        )
        given = "" if default is inspect.Parameter.empty else f", default {default!r}"
        lines.append(f"{name} : {kind}{given}")
    lines.append("out : NDArray, optional\n    Receives the result, of its shape and dtype.")
    return _section("Parameters", lines)


def _returns(op) -> str:
    if len(op.outputs) == 1:
        return _section("Returns", ["NDArray\n    On the device of the arguments."])
    return _section("Returns", [f"list of NDArray\n    {', '.join(op.outputs)}."])


def _raises(op) -> str:
    return _section(
        "Raises",
        [
            "OperatorError\n    Shapes, devices or values that do not fit; the message names the argument.",
            "OperatorTypeError\n    An argument of the wrong kind or dtype, a missing or an unknown one.",
        ],
    )


def _notes(op) -> str:
    if not op.gradients:
        return ""
    return _section("Notes", [f"Differentiable, to any order, with respect to {', '.join(op.gradients)}."])
