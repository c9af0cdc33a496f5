"""What a function reads besides its arguments: guards against a replay of what has changed since.

A function's code says which variables of enclosing functions, which globals and which attributes of objects
it reads. Those that it names are looked at before each replay: objects must be the same ones, and numbers,
strings and the like have the same values. What lies deeper (an attribute of an attribute, an element of a
list) is not seen.
"""

import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from clgrad.array import NDArray
from clgrad.capturing.trees import PLAIN

#: Functions that call functions, to this depth, are looked into.
DEPTH = 4

_MISSING = object()
_PLAIN = (*PLAIN, float)
#: Nothing in them is looked at.
_ATOMS = (*_PLAIN, NDArray)


class Guard(NamedTuple):
    """Something that must stay what it was."""

    #: Reads it again.
    read: Callable[[], Any]
    value: Any
    #: Whether it is compared by value.
    is_plain: bool
    what: str

    def holds(self) -> bool:
        """Whether it is what it was."""
        now = self.read()
        if now is self.value:
            return True
        return self.is_plain and type(now) is type(self.value) and bool(now == self.value)


def guards_of(functions: Iterable[Callable]) -> list[Guard]:
    """Guards of everything that functions name, and that other functions name which they call."""
    found: dict[tuple, Guard] = {}
    seen: set[int] = set()
    for function in functions:
        _visit(function, found, seen, DEPTH)
    return list(found.values())


def _visit(function: Any, found: dict[tuple, Guard], seen: set[int], depth: int) -> None:
    if isinstance(function, types.MethodType):
        owner, function = function.__self__, function.__func__
        if isinstance(function, types.FunctionType):
            _attributes(owner, _names(function.__code__), found, seen, depth)
    elif not isinstance(function, types.FunctionType):
        call = vars(type(function)).get("__call__")
        if isinstance(call, types.FunctionType) and not _is_ours(call):
            _visit(types.MethodType(call, function), found, seen, depth)
        return
    if not isinstance(function, types.FunctionType) or id(function) in seen or _is_ours(function):
        return
    seen.add(id(function))
    names = _names(function.__code__)
    for what, key, read in _variables(function, names):
        value = read()
        if value is _MISSING or isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            continue
        found.setdefault(key, Guard(read, value, isinstance(value, _PLAIN), what))
        if isinstance(value, _ATOMS) or depth == 0:
            continue
        if callable(value):
            _visit(value, found, seen, depth - 1)
        _attributes(value, names, found, seen, depth)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        if callable(default) and depth:
            _visit(default, found, seen, depth - 1)


def _is_ours(function: types.FunctionType) -> bool:
    module = function.__module__ or ""
    return module == "clgrad" or module.startswith("clgrad.")


def _names(code: types.CodeType) -> set[str]:
    """Every name that the code reads, that of functions within it included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _variables(
    function: types.FunctionType, names: set[str]
) -> Iterator[tuple[str, tuple, Callable[[], Any]]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield f"variable {name!r}", ("cell", id(cell)), _cell_reader(cell)
    scope = function.__globals__
    for name in sorted(names & scope.keys()):
        yield f"global {name!r}", ("global", id(scope), name), _global_reader(scope, name)


def _cell_reader(cell: types.CellType) -> Callable[[], Any]:
    def read() -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return _MISSING

    return read


def _global_reader(scope: dict, name: str) -> Callable[[], Any]:
    return lambda: scope.get(name, _MISSING)


def _attributes(owner: Any, names: set[str], found: dict[tuple, Guard], seen: set[int], depth: int) -> None:
    """Guard the plain values and arrays among an object's own attributes, and see into its methods."""
    if isinstance(owner, types.ModuleType | types.FunctionType | type):
        return
    own = getattr(owner, "__dict__", None)
    if not isinstance(own, dict):
        return
    for name in sorted(names & own.keys()):
        value = own[name]
        if isinstance(value, _ATOMS):
            what = f"attribute {name!r} of {type(owner).__name__}"
            found.setdefault(
                ("attribute", id(owner), name),
                Guard(_global_reader(own, name), value, isinstance(value, _PLAIN), what),
            )
    if depth:
        for name in sorted(names - own.keys()):
            method = getattr(type(owner), name, None)
            if isinstance(method, types.FunctionType) and not _is_ours(method):
                _visit(types.MethodType(method, owner), found, seen, depth - 1)
