"""Docstrings of ops, completed from their declarations and from the glossary of shared parameters."""

import inspect

from clgrad.registry.glossary import ARRAYS, VALUES

#: What a parameter is where neither the glossary nor its default says more.
_UNKNOWN = "object"


def complete(op) -> str:
    """The declaration's docstring, followed by parameters, result, errors and differentiability.

    A docstring that has sections of its own is left as it is.
    """
    text = inspect.cleandoc(op.function.__doc__ or "")
    if "Parameters\n---" in text:
        return text
    return "\n\n".join(filter(None, (text, _parameters(op), _returns(op), _RAISES, _notes(op))))


def complete_composite(function) -> str:
    """The same for a function of arrays that calls other ops: its signature is the declaration."""
    text = inspect.cleandoc(function.__doc__ or "")
    if "Parameters\n---" in text:
        return text
    lines = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            lines += _array(f"*{name}", "NDArray")
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            lines += _parameter(name, parameter.default)
    return "\n\n".join((text, _section("Parameters", lines), _RESULT, _RAISES))


def _section(title: str, lines: list[str]) -> str:
    return "\n".join((title, "-" * len(title), *lines)) if lines else ""


_RESULT = _section("Returns", ["NDArray, or list of NDArray\n    On the device of the arguments."])
_RAISES = _section(
    "Raises",
    [
        "OperatorError\n    Shapes, devices or values that do not fit; the message names the argument.",
        "OperatorTypeError\n    An argument of the wrong kind or dtype, a missing or an unknown one.",
    ],
)


def _parameters(op) -> str:
    lines = []
    if op.variadic is not None:
        lines += _array(f"*{op.variadic}", "NDArray")
    for name in op.arguments:
        optional = ", optional" if name in op.optional else ""
        lines += _array(name, ("NDArray or number" if op.takes_numbers else "NDArray") + optional)
    for name, default in op.attributes.items():
        lines += _parameter(name, default)
    lines.append("out : NDArray, optional\n    Receives the result, of its shape and dtype.")
    return _section("Parameters", lines)


def _array(name: str, kind: str) -> list[str]:
    meaning = ARRAYS.get(name.lstrip("*"))
    return [f"{name} : {kind}"] + ([f"    {meaning}"] if meaning else [])


def _parameter(name: str, default) -> list[str]:
    """A parameter by its name, and by its default where the glossary does not know it."""
    required = default is inspect.Parameter.empty
    if name in ARRAYS or (required and name not in VALUES):
        return _array(name, "NDArray" if required else "NDArray, optional")
    plain = isinstance(default, bool | int | float | str)
    kind, meaning = VALUES.get(name, (type(default).__name__ if plain else _UNKNOWN, ""))
    given = "" if required else ", optional" if default is None else f", default {default!r}"
    return [f"{name} : {kind}{given}"] + ([f"    {meaning}"] if meaning else [])


def _returns(op) -> str:
    if len(op.outputs) == 1:
        return _section("Returns", ["NDArray\n    On the device of the arguments."])
    return _section("Returns", [f"list of NDArray\n    {', '.join(op.outputs)}."])


def _notes(op) -> str:
    if not op.gradients:
        return ""
    return _section("Notes", [f"Differentiable, to any order, with respect to {', '.join(op.gradients)}."])
