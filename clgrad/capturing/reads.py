"""What a function reads besides its arguments: guards against a replay of what has changed since.

A function's code says which variables of enclosing functions, which globals and which attributes of objects
it reads. Those that it names are looked at before each replay: objects must be the same ones, and numbers,
strings and the like have the same values. So it is with the functions that it calls, the properties that it
reads, the operators of classes, the blocks of a net, and what lists, dictionaries and numpy arrays hold
(:mod:`clgrad.capturing.contents`).
"""

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from clgrad.capturing import contents
from clgrad.capturing.contents import ATOMS

#: Functions that call functions, and attributes of attributes, are looked into to this depth.
DEPTH = 4

_MISSING = object()

#: Special methods that run where objects are made, or lost, and not where they are used.
_NAMED = {"__init__", "__new__", "__del__", "__init_subclass__", "__class_getitem__", "__post_init__"}

#: Packages whose code names nothing that programs change.
_SETTLED = {*sys.stdlib_module_names, "numpy", "clgrad"}


class Guard(Protocol):
    """Something that must stay what it was."""

    @property
    def what(self) -> str:
        """What errors call it."""

    def holds(self) -> bool:
        """Whether it is what it was."""


class Read(NamedTuple):
    """A variable or an attribute that must stay what it was."""

    #: Reads it again.
    read: Callable[[], Any]
    value: Any
    what: str

    def holds(self) -> bool:
        """Whether it is what it was."""
        now = self.read()
        return now is self.value or contents.is_equal(now, self.value)


def guards_of(
    functions: Iterable[Callable], objects: Iterable[Any] = (), but: Sequence[Callable] = ()
) -> dict[tuple, Guard]:
    """Guards of what functions name, and what other functions name that they call, by what that is.

    ``objects`` are reached as arguments. What some functions read does not count: they are called anyway.
    """
    finder = _Finder(but)
    for function in functions:
        finder.visit(function, DEPTH)
    for value in objects:
        finder.enter(value, set(), DEPTH, "an argument")
    finder.look_again()
    return finder.found


class _Finder:
    """Goes through functions, and notes down what they name."""

    def __init__(self, but: Sequence[Callable]):
        self.found: dict[tuple, Guard] = {}
        self._seen: set[tuple] = {(id(_plain_function(f)), id(getattr(f, "__self__", None))) for f in but}
        self._names: set[str] = set()
        #: Names of attributes that there need not be.
        self._asked_for: set[str] = set()
        self._objects: dict[int, Any] = {}

    def look_again(self) -> None:
        """Look at all objects for what any function names: they may be handed to each other."""
        for _ in range(DEPTH):
            before = len(self._names), len(self._objects)
            for value in list(self._objects.values()):
                self._attributes(value, set(self._names), DEPTH)
            if before == (len(self._names), len(self._objects)):
                return

    def enter(self, value: Any, names: set[str], depth: int, what: str) -> None:
        """Look at what an object does when called, at what it holds, and at attributes that are named."""
        if isinstance(value, ATOMS) and not isinstance(value, type):
            return
        if isinstance(value, contents.CONTAINERS):
            self._contents(value, names, depth, what)
        if isinstance(value, types.ModuleType):
            if not _is_settled(value.__name__):
                self._attributes(value, names, depth)
            return
        if callable(value):
            self.visit(value, depth)
        if not isinstance(value, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
            self._objects[id(value)] = value
            self._attributes(value, names, depth)
            self._operators(value, depth)

    def _contents(self, container: Any, names: set[str], depth: int, what: str) -> None:
        """Guard what a container holds, and see into that."""
        key = ("contents", id(container))
        if key in self.found or key in self._seen:
            return
        self._seen.add(key)
        guard = contents.guard_of(container, what)
        if guard is not None:
            self.found[key] = guard
        for member in contents.members(container):
            self.enter(member, names, depth, what)

    def _operators(self, owner: Any, depth: int) -> None:
        """Look at what classes of the program define for ``x[i]``, ``len(x)``, ``x + y`` and the like."""
        for base in type(owner).__mro__:
            if not _is_settled(base.__module__):
                for name, value in base.__dict__.items():
                    if isinstance(value, types.FunctionType) and _is_operator(name):
                        self._attribute(type(owner), name, value)
                        self.visit(types.MethodType(value, owner), depth - 1)

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
                self.enter(value, _names_of(function.func), depth - 1, "an argument of a partial function")
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
            self.found.setdefault(("parts", id(owner)), Read(parts.__len__, len(parts), what))

    def _variables(self, function: types.FunctionType, depth: int) -> None:
        names = _names(function.__code__)
        self._names |= names
        self._asked_for |= _asked_for(function.__code__)
        for what, key, read in _variables(function, names):
            value = read()
            if value is _MISSING:
                continue
            self.found.setdefault(key, Read(read, value, what))
            self.enter(value, names, depth - 1, what)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.enter(default, names, depth - 1, f"a default of {function.__qualname__}")

    def _attributes(self, owner: Any, names: set[str], depth: int) -> None:
        """Guard the named attributes of an object, and see into them."""
        if depth < 0:
            return
        for name in sorted(names):
            value = _attribute(owner, name)
            if value is _MISSING:
                if name in self._asked_for:
                    self._attribute(owner, name, value)
                continue
            function = _function_of(value)
            if function is None or isinstance(owner, types.ModuleType):
                self._attribute(owner, name, value)
                key = ("attribute", id(owner), id(value), name)
                if key not in self._seen and not (
                    _is_own(owner) and isinstance(value, contents.CONTAINERS)
                ):
                    self._seen.add(key)
                    self.enter(value, names, depth - 1, _called(owner, name))
            elif not _is_settled(function.__module__):
                self._attribute(owner if name in _own(owner) else type(owner), name, value)
                self.visit(types.MethodType(function, owner), depth - 1)

    def _attribute(self, owner: Any, name: str, value: Any) -> None:
        if not isinstance(value, ATOMS) and _is_own(owner):
            return
        read = functools.partial(getattr, owner, name, _MISSING)
        if read() is value:  # else a descriptor makes it anew
            self.found.setdefault(("attribute", id(owner), name), Read(read, value, _called(owner, name)))


def _own(owner: Any) -> Any:
    return getattr(owner, "__dict__", {})


def _attribute(owner: Any, name: str) -> Any:
    """An attribute as it is stored, in the object or in its class, without asking a property."""
    own = _own(owner)
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


def _kind(owner: Any) -> Any:
    return owner if isinstance(owner, type | types.ModuleType) else type(owner)


def _is_own(owner: Any) -> bool:
    """Whether clgrad has made an object: what blocks and the like are made of is not exchanged."""
    kind = _kind(owner)
    return getattr(kind, "__module__", kind.__name__).partition(".")[0] == "clgrad"


def _called(owner: Any, name: str) -> str:
    return f"attribute {name!r} of {_kind(owner).__name__}"


def _is_operator(name: str) -> bool:
    """Whether a method of this name runs without being named."""
    return name.startswith("__") and name.endswith("__") and name not in _NAMED


def _is_settled(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _SETTLED


def _names_of(function: Any) -> set[str]:
    function = _plain_function(function)
    return _names(function.__code__) if isinstance(function, types.FunctionType) else set()


def _names(code: types.CodeType) -> set[str]:
    """Every name that the code reads, that of functions within it included."""
    names = {*code.co_names, *_asked_for(code)}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _asked_for(code: types.CodeType) -> set[str]:
    """Every name that the code may give to ``getattr`` or ``hasattr``."""
    names: set[str] = set()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _asked_for(constant)
        elif isinstance(constant, str) and not {"getattr", "hasattr"}.isdisjoint(code.co_names):
            names.add(constant)
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
