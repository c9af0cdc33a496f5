"""Ops that are programs of other ops: what they call is recorded, so they need no gradient rule."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad.array import NDArray
from clgrad.errors import DeviceMemoryError, OperatorError, OperatorTypeError
from clgrad.registry import documentation
from clgrad.registry.arrays import checked_out, no_array, of_numpy
from clgrad.registry.kinds import kinds_of, read_all
from clgrad.registry.operator import table


class Composite:
    """A function of arrays that calls other ops; in the table like any op.

    Of the parameters that are arrays (those named in ``arrays``, and those of kind NDArray, see
    :mod:`.kinds`), numpy's arrays become NDArrays beside the others, and anything else is refused,
    but for other storage types where the function takes ``sparse`` matrices as well.
    """

    def __init__(
        self,
        function: Callable,
        name: str | None,
        aliases: Sequence[str],
        arrays: Sequence[str] = (),
        sparse: bool = False,
        **testing,
    ):
        self.sparse = sparse
        parameters = inspect.signature(function).parameters
        self._kinds = kinds_of(parameters.values())
        found = [
            n
            for n, kind in self._kinds.items()
            if kind.name == "NDArray" and not (n == "out" and kind.optional)
        ]
        self.arrays = tuple(dict.fromkeys([*arrays, *found]))
        self._kinds = {n: kind for n, kind in self._kinds.items() if n not in (*self.arrays, "out")}
        self.variadic = next((p.name for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)
        named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        #: Parameters that take arguments by position, that do by name, and that must have one; and whether
        #: there are no others, which take any number.
        self._order = [p.name for p in named if p.kind is p.POSITIONAL_OR_KEYWORD]
        self._names = {p.name for p in named}
        self._required = {p.name for p in named if p.default is p.empty}
        self._simple = len(named) == len(parameters)
        self._optional = {p.name for p in named if p.default is None}
        functools.update_wrapper(self, function)
        self.__doc__ = documentation.complete_composite(function)
        self.function = function
        self.name = name or function.__name__.lstrip("_")
        #: The name without its namespace, which errors of the function itself may begin with.
        self.short = self.name.rpartition(".")[2]
        #: Whether the function writes ``out`` by itself.
        self.writes = "out" in parameters
        self.aliases = tuple(aliases)
        self.testing = testing
        self.__signature__ = inspect.signature(function)
        for key in (self.name, *self.aliases):
            if key in table:
                raise ValueError(f"two ops are named {key}")
            table[key] = self

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *args, out=None, name=None, **kwargs):
        """Apply the function; ``out`` (a list where there are several results) receives copies of them."""
        if self.writes and out is not None:
            kwargs["out"], out = out, None
        given = self._usual(args, kwargs)
        if given is None:
            args, kwargs = self._bind(args, kwargs)
        else:
            args, kwargs = (), given
        try:
            results = self.function(*args, **kwargs)
            return results if out is None else self._write(results, out)
        except (OperatorError, OperatorTypeError, DeviceMemoryError) as error:
            if self.short not in str(error):  # the part that raised says what is wrong, but not where
                error.args = (f"{self.name}: {error}",)
            raise

    def _usual(self, args, kwargs) -> dict[str, Any] | None:
        """The arguments of a usual call by name; to ask `inspect` takes longer than a small op does."""
        if not self._simple or len(args) > len(self._order):
            return None
        given = {**dict(zip(self._order, args, strict=False)), **kwargs}
        if len(given) < len(args) + len(kwargs) or not self._required <= given.keys() <= self._names:
            return None
        given.update(self._read(given))
        return given

    def _bind(self, args, kwargs) -> tuple[tuple, dict[str, Any]]:
        """What the function is called with, as Python sorts arguments."""
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise OperatorTypeError(f"{self.name}: {error}; accepted: {self.__signature__}") from None
        read = self._read(bound.arguments)
        self._check_variadic(bound.arguments)
        bound.arguments.update(read)
        return bound.args, bound.kwargs

    def _read(self, given: dict[str, Any]) -> dict[str, Any]:
        """The given arguments that had to be read, in their plain form."""
        return read_all(self.name, self._kinds, given) | self._read_arrays(given)

    def _write(self, results, out):
        """Copy results to where they should go."""
        made = [results] if isinstance(results, NDArray) else list(results)
        outputs = [r._view.layout for r in made]
        targets = checked_out(self.name, out, outputs, made[0]._view.device)
        if len(made) > 1:  # one that lies where another is to go is copied before it is gone
            taken = {t._view.storage for t in targets}
            made = [table["identity"](r) if r._view.storage in taken else r for r in made]
        written = [table["identity"](r, out=o) for r, o in zip(made, targets, strict=True)]
        return written[0] if isinstance(results, NDArray) else written

    def _check_variadic(self, arguments: dict[str, Any]) -> None:
        """Check the arrays of the parameter that takes any number of them, or one list."""
        if self.variadic is None:
            return
        values = arguments.get(self.variadic, ())
        if len(values) == 1 and isinstance(values[0], list | tuple):
            values = values[0]
        for i, value in enumerate(values):
            if type(value) is not NDArray:
                raise no_array(self.name, f"{self.variadic}{i}", value, "NDArray")

    def _read_arrays(self, arguments: dict[str, Any]) -> dict[str, NDArray]:
        """Arrays for what stands in their place."""
        read: dict[str, NDArray] = {}
        for argument in self.arrays:
            value = arguments.get(argument)
            if type(value) is NDArray or (value is None and argument in self._optional):
                continue
            if self.sparse and getattr(value, "stype", "default") not in ("default", NDArray.stype):
                continue
            like = next((v for n in self.arrays if isinstance(v := arguments.get(n), NDArray)), None)
            if like is None or not isinstance(value, np.ndarray):
                raise no_array(self.name, argument, value, "NDArray")
            read[argument] = of_numpy(self.name, argument, value, like)
        return read


def composite(name: str | None = None, aliases: Sequence[str] = (), **testing) -> Callable[[Callable], Any]:
    """Declare an op that is a program of other ops (see :class:`Composite`)."""

    def declare(function: Callable) -> Any:
        return Composite(function, name, aliases, **testing)

    return declare
