"""What the names in a function's code mean: noted down, and given back for another call."""

import dis
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

_MISSING: Any = object()


class Bindings:
    """What the variables of enclosing functions, and the globals, hold that a function's code names.

    A loop that binds its variable anew, or a script that goes on, changes what they hold: a function that
    is called again then does something else.
    """

    def __init__(self, function: Callable):
        while isinstance(function, partial | types.MethodType):
            function = function.func if isinstance(function, partial) else function.__func__
        places: list[_Cell | _Global] = []
        if isinstance(function, types.FunctionType):
            places += [_Cell(cell) for cell in function.__closure__ or ()]
            names = _names(function.__code__) & function.__globals__.keys()
            places += [_Global(function.__globals__, name) for name in names]
        self._held = [(place, place.get()) for place in places]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """A scope in which they hold what they held; afterwards they hold what they do now."""
        present = [(place, place.get()) for place, _ in self._held]
        try:
            _hold(self._held)
            yield
        finally:
            _hold(present)


def _hold(held: list[tuple[Any, Any]]) -> None:
    for place, value in held:
        if place.get() is not value:
            place.set(value)


@lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> frozenset[str]:
    """The names of globals in a function's code, and in that of functions within it."""
    own = {i.argval for i in dis.get_instructions(code) if i.opname.endswith("_GLOBAL")}
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(own).union(*map(_names, inner))


class _Cell:
    """A variable of an enclosing function."""

    __slots__ = ("_cell",)

    def __init__(self, cell: types.CellType):
        self._cell = cell

    def get(self) -> Any:
        """What it holds."""
        try:
            return self._cell.cell_contents
        except ValueError:  # nothing yet, or any more
            return _MISSING

    def set(self, value: Any) -> None:
        """Let it hold something."""
        if value is _MISSING:
            del self._cell.cell_contents
        else:
            self._cell.cell_contents = value


class _Global:
    """A variable of a module."""

    __slots__ = ("_module", "_name")

    def __init__(self, module: dict[str, Any], name: str):
        self._module, self._name = module, name

    def get(self) -> Any:
        """What it holds."""
        return self._module.get(self._name, _MISSING)

    def set(self, value: Any) -> None:
        """Let it hold something."""
        if value is _MISSING:
            del self._module[self._name]
        else:
            self._module[self._name] = value
