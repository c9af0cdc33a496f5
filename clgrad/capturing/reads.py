"""What a function reads besides its arguments: guards against a replay of what has changed since.

A function's code says which variables of enclosing functions, which globals and which attributes of objects
it reads. Those that it names are looked at before each replay: objects must be the same ones, and numbers,
strings and the like have the same values. So it is with the functions that it calls, the properties that it
reads, and the blocks of a net. What is in lists, dictionaries and the like is not seen.
"""

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from clgrad.array import NDArray
from clgrad.capturing.trees import PLAIN

#: Functions that call functions, and attributes of attributes, are looked into to this depth.
DEPTH = 4

_MISSING = object()
_PLAIN = (*PLAIN, float)
#: Nothing in them is looked at.
_ATOMS = (*_PLAIN, NDArray)

#: Packages whose code names nothing that programs change.
_SETTLED = {*sys.stdlib_module_names, "numpy", "clgrad"}


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


def guards_of(
    functions: Iterable[Callable], objects: Iterable[Any] = (), but: Sequence[Callable] = ()
) -> list[Guard]:
    """Guards of everything that functions name, and that other functions name which they call.

    ``objects`` are reached as arguments. What some functions read does not count: they are called anyway.
    """
    finder = _Finder(but)
    for function in functions:
        finder.visit(function, DEPTH)
    for value in objects:
        finder.enter(value, set(), DEPTH)
    finder.look_again()
    return list(finder.found.values())


class _Finder:
    """Goes through functions, and notes down what they name."""

    def __init__(self, but: Sequence[Callable]):
        self.found: dict[tuple, Guard] = {}
        self._seen: set[tuple] = {(id(_plain_function(f)), id(getattr(f, "__self__", None))) for f in but}
        self._names: set[str] = set()
        self._objects: dict[int, Any] = {}

    def look_again(self) -> None:
        """Look at all objects for what any function names: they may be handed to each other."""
        for _ in range(DEPTH):
            before = len(self._names), len(self._objects)
            for value in list(self._objects.values()):
                self._attributes(value, set(self._names), DEPTH)
            if before == (len(self._names), len(self._objects)):
                return

    def enter(self, value: Any, names: set[str], depth: int) -> None:
        """Look at the attributes of an object that are named, and at what it does when it is called."""
        if isinstance(value, _ATOMS) and not isinstance(value, type):
            return
        if isinstance(value, types.ModuleType):
            if not _is_settled(value.__name__):
                self._attributes(value, names, depth)
            return
        if callable(value):
            self.visit(value, depth)
        if not isinstance(value, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
            self._objects[id(value)] = value
            self._attributes(value, names, depth)

    def visit(self, function: Any, depth: int) -> None:
        """Look at what a function names."""
        owner = getattr(function, "__self__", None) if isinstance(function, types.MethodType) else None
        function = function.__func__ if isinstance(function, types.MethodType) else function
        key = id(function), id(owner)
        if key in self._seen or depth < 0:
            return
        self._seen.add(key)
        if isinstance(function, types.FunctionType):
            if owner is not None:
                self._attributes(owner, _names(function.__code__), depth)
                self._parts(owner)
            if not _is_settled(function.__module__):
                self._variables(function, depth)
        elif isinstance(function, functools.partial):
            for value in (function.func, *function.args, *function.keywords.values()):
                self.enter(value, _names_of(function.func), depth - 1)
        elif hasattr(type(function), "own_code"):  # a block
            for inner in function.own_code():
                self.visit(inner, DEPTH)
        elif not isinstance(function, type):
            call = _attribute(type(function), "__call__")
            if isinstance(call, types.FunctionType) and not _is_settled(call.__module__):
                self.visit(types.MethodType(call, function), depth)
        inner = getattr(function, "__dict__", {}).get("__wrapped__")
        if inner is not None:
            self.visit(inner if owner is None else types.MethodType(inner, owner), depth - 1)

    def _parts(self, owner: Any) -> None:
        """Guard how many blocks a block is made of: others may be added."""
        parts = getattr(owner, "_children", None)
        if isinstance(parts, dict) and (parts or hasattr(owner, "__len__")):
            what = f"the number of parts of {type(owner).__name__}"
            self.found.setdefault(("parts", id(owner)), Guard(parts.__len__, len(parts), True, what))

    def _variables(self, function: types.FunctionType, depth: int) -> None:
        names = _names(function.__code__)
        self._names |= names
        for what, key, read in _variables(function, names):
            value = read()
            if value is _MISSING or isinstance(value, types.BuiltinFunctionType):
                continue
            self.found.setdefault(key, Guard(read, value, isinstance(value, _PLAIN), what))
            self.enter(value, names, depth - 1)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.enter(default, names, depth - 1)

    def _attributes(self, owner: Any, names: set[str], depth: int) -> None:
        """Guard the named attributes of an object, and see into them."""
        if depth < 0:
            return
        for name in sorted(names):
            value = _attribute(owner, name)
            if value is _MISSING or isinstance(value, types.BuiltinFunctionType):
                continue
            function = _function_of(value)
            if function is None or isinstance(owner, types.ModuleType):
                self._attribute(owner, name, value)
                key = ("attribute", id(owner), id(value), name)
                if key not in self._seen:
                    self._seen.add(key)
                    self.enter(value, names, depth - 1)
            elif not _is_settled(function.__module__):
                self.visit(types.MethodType(function, owner), depth - 1)

    def _attribute(self, owner: Any, name: str, value: Any) -> None:
        is_plain = isinstance(value, _PLAIN)
        kind = owner if isinstance(owner, type | types.ModuleType) else type(owner)
        if not isinstance(value, _ATOMS) and _is_settled(getattr(kind, "__module__", kind.__name__)):
            return  # what blocks and the like are made of is not exchanged
        read = functools.partial(getattr, owner, name, _MISSING)
        if read() is value:  # else a descriptor makes it anew
            what = f"attribute {name!r} of {kind.__name__}"
            self.found.setdefault(("attribute", id(owner), name), Guard(read, value, is_plain, what))


def _attribute(owner: Any, name: str) -> Any:
    """An attribute as it is stored, in the object or in its class, without asking a property."""
    own = getattr(owner, "__dict__", {})
    if name in own:
        return own[name]
    for base in owner.__mro__ if isinstance(owner, type) else type(owner).__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            is_slot = isinstance(found, types.MemberDescriptorType) and not isinstance(owner, type)
            return getattr(owner, name, _MISSING) if is_slot else found
    return _MISSING


def _function_of(value: Any) -> types.FunctionType | None:
    """The function that reading or calling an attribute runs."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    elif isinstance(value, classmethod | staticmethod):
        value = value.__func__
    return value if isinstance(value, types.FunctionType) else None


def _plain_function(function: Any) -> Any:
    return function.__func__ if isinstance(function, types.MethodType) else function


def _is_settled(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _SETTLED


def _names_of(function: Any) -> set[str]:
    function = _plain_function(function)
    return _names(function.__code__) if isinstance(function, types.FunctionType) else set()


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
