"""Ops that are programs of other ops: what they call is recorded, so they need no gradient rule."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad import array
from clgrad.array import NDArray
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.registry import documentation
from clgrad.registry.operator import table


class Composite:
    """A function of arrays that calls other ops; in the table like any op.

    Of the parameters named in ``arrays``, numpy's arrays become NDArrays beside the others, and anything
    else is refused.
    """

    def __init__(
        self,
        function: Callable,
        name: str | None,
        aliases: Sequence[str],
        arrays: Sequence[str] = (),
        **testing,
    ):
        self.arrays = tuple(arrays)
        functools.update_wrapper(self, function)
        self.__doc__ = documentation.complete_composite(function)
        self.function = function
        self.name = name or function.__name__.lstrip("_")
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
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise OperatorTypeError(f"{self.name}: {error}; accepted: {self.__signature__}") from None
        if self.arrays:
            self._check_arrays(bound.arguments)
            args, kwargs = bound.args, bound.kwargs
        if out is None:
            return self.function(*args, **kwargs)
        if "out" in self.__signature__.parameters:  # writes in place by itself
            return self.function(*args, out=out, **kwargs)
        results = self.function(*args, **kwargs)
        if isinstance(results, NDArray):
            return table["identity"](results, out=out[0] if isinstance(out, list | tuple) else out)
        if not isinstance(out, list | tuple) or len(out) != len(results):
            raise OperatorError(
                f"{self.name}: out is not a list of {len(results)} arrays, the results' number"
            )
        return [table["identity"](result, out=o) for result, o in zip(results, out, strict=True)]

    def _check_arrays(self, arguments: dict[str, Any]) -> None:
        """Replace what stands for the arrays by arrays."""
        like = next((v for n in self.arrays if isinstance(v := arguments.get(n), NDArray)), None)
        for argument in self.arrays:
            value = arguments.get(argument)
            optional = self.__signature__.parameters[argument].default is None
            if isinstance(value, NDArray) or (value is None and optional):
                continue
            if like is None or not isinstance(value, np.ndarray):
                raise OperatorTypeError(
                    f"{self.name}: argument {argument!r} is {type(value).__name__}; accepted: NDArray"
                )
            arguments[argument] = array.from_host(value, like._view.dtype, like.context)


def composite(name: str | None = None, aliases: Sequence[str] = (), **testing) -> Callable[[Callable], Any]:
    """Declare an op that is a program of other ops (see :class:`Composite`)."""

    def declare(function: Callable) -> Any:
        return Composite(function, name, aliases, **testing)

    return declare
