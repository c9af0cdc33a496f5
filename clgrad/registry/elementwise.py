"""Elementwise ops: one formula, run as one generated kernel; one rule for each argument's gradient.

Formula and rules are Python functions of their operands. Called with symbolic operands they become C
(forward and gradient kernels); a rule called with arrays becomes recorded ops (``create_graph=True``).
"""

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.kernels import expr, layout, map
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.memory import Stream, View
from clgrad.registry import bulk
from clgrad.registry.arrays import all_arrays, no_array
from clgrad.registry.gradient_chain import GradientChain
from clgrad.registry.gradient_kernels import Pattern, ReducedGradients, as_expr
from clgrad.registry.operator import Operator, Spec, kernel_name, stream_for, table
from clgrad.tape import Node

_NUMBER = (int, float, np.integer, np.floating, np.bool_, numbers.Real)


class Elementwise(Operator):
    """An op that computes each element of its result from the elements at that place.

    Parameters
    ----------
    formula : callable
        Symbolic operands in, symbolic result out. Parameters annotated ``float`` take numbers only;
        each other parameter takes an array or a number, broadcast against the others.
    free : sequence of str
        Parameters whose dtype need not be that of the others (a condition).
    broadcasts : bool
        False for MXNet's ``elemwise_*`` family, which wants equal shapes.
    synonyms : dict
        MXNet's names of parameters, where they differ between the op's aliases, to the formula's.
    saturates : sequence of str
        Numbers that, beyond the range of a whole dtype, mean its bound (those of ``clip``).
    """

    takes_numbers = True
    writes_in_place = True

    def __init__(
        self,
        formula,
        name=None,
        aliases=(),
        free=(),
        broadcasts=True,
        saturates=(),
        synonyms: Mapping[str, str] = MappingProxyType({}),
        **testing,
    ):
        super().__init__(formula, name, aliases, skip=0, **testing)
        self.synonyms = synonyms
        self.free = frozenset(free)
        self._call_set = set(self._call_order)
        self.broadcasts = broadcasts
        self.saturates = frozenset(saturates)
        self._special: dict[tuple[str, float], Elementwise] = {}

    def becomes(self, other: "Elementwise", **numbers_: float) -> None:
        """Declare the op of the remaining array that this op is where a parameter is a certain number."""
        self._special.update(dict.fromkeys(numbers_.items(), other))

    @staticmethod
    def _is_array(parameter: inspect.Parameter) -> bool:
        return parameter.annotation is not float

    def __call__(self, *args, out=None, name=None, **kwargs):
        """Apply to arrays; to symbolic operands inside formulas and rules."""
        if not kwargs and len(args) == len(self._call_order) and all_arrays(args):
            return self.apply(self.arguments, args, {}, out)
        if self.synonyms and kwargs:
            kwargs = self._by_own_names(kwargs)
        given = {**self.attributes, **dict(zip(self._call_order, args)), **kwargs}  # noqa: B905
        missing = is_symbolic = False
        for value in given.values():
            if value is inspect.Parameter.empty:
                missing = True
            elif isinstance(value, Expr):
                is_symbolic = True
        twice = bool(kwargs) and not kwargs.keys().isdisjoint(self._call_order[: len(args)])
        if missing or twice or len(args) > len(self._call_order) or given.keys() != self._call_set:
            self.bind(args, kwargs)  # raises, naming the argument
        return self.function(**given) if is_symbolic else self.apply_mixed(given, out)

    def _by_own_names(self, kwargs: dict) -> dict:
        own: dict = {}
        for key, value in kwargs.items():
            name = self.synonyms.get(key, key)
            if name in own:
                raise OperatorTypeError(f"{self.label}: argument {name!r} is given twice")
            own[name] = value
        return own

    def apply_mixed(self, given: dict, out=None):
        """Apply to arguments by name, each an array or a number."""
        names: list[str] = []
        arrays: list = []
        scalars: dict = {}
        for key, value in given.items():
            if isinstance(value, NDArray) and key not in self.attributes:
                names.append(key)
                arrays.append(value)
            elif isinstance(value, _NUMBER):
                scalars[key] = value
            elif isinstance(value, np.ndarray) and value.ndim and key not in self.attributes:
                names.append(key)
                arrays.append(value)
            elif isinstance(value, str) and key in self._kinds:
                scalars[key] = self._kinds[key].read(self.label, key, value)
            else:
                accepted = "a number" if key in self.attributes else "NDArray or a number"
                raise no_array(self.label, key, value, accepted)
        if not arrays:
            return self._of_numbers(scalars)
        return self.apply(tuple(names), self._as_arrays(names, arrays), scalars, out)

    def _as_arrays(self, names: Sequence[str], values: Sequence) -> Sequence[NDArray]:
        """NDArrays; numpy's arrays take their dtype, unless that would cost a fraction."""
        whole = next((v._view.dtype for v in values if isinstance(v, NDArray)), None)
        for name, value in zip(names, values, strict=True):
            if (
                isinstance(value, np.ndarray)
                and value.dtype.kind == "f"
                and whole is not None
                and not dtypes.is_floating(whole)
            ):
                raise OperatorTypeError(
                    f"{self.label}: {name!r} is a numpy array of {value.dtype} beside an array of {whole}; "
                    f"accepted: whole numbers, or convert one of them with astype"
                )
        return super()._as_arrays(names, values)

    def _of_numbers(self, scalars: dict[str, float]) -> float:
        """The op on Python numbers is a Python number, as in MXNet: no array, no device."""
        reference = self.testing.get("reference")
        if reference is None:
            name, value = next(iter(scalars.items()))
            raise no_array(self.label, name, value, "NDArray")
        with np.errstate(all="ignore"):
            return float(reference(*(scalars[n] for n in self._call_order)))

    def apply(self, names, arrays, attributes, out=None):
        """Run on arrays by name, with numbers for the remaining parameters."""
        if self._special and attributes:
            for number in attributes.items():
                if number in self._special:
                    special = self._special[number]
                    return special.apply(special.arguments, arrays, {}, out)
        stream = stream_for(self.label, names, arrays)
        if self.saturates:
            attributes = self._saturated(attributes, arrays[0]._view.dtype)
        scalars = tuple(attributes.values())
        return self.run(stream, names, arrays, attributes, (), scalars, out)

    def _saturated(self, attributes: dict, dtype: np.dtype) -> dict:
        if dtype.kind not in "iu":
            return attributes
        bounds = np.iinfo(dtype)
        return {
            key: min(max(value, bounds.min), bounds.max) if key in self.saturates else value
            for key, value in attributes.items()
        }

    def make_plan(self, device, names, specs, attributes) -> Plan:
        """Plan the one launch of the formula."""
        return self._plan(device, names, specs, tuple(attributes))

    def _plan(self, device, names, specs: Sequence[Spec], numbers_: tuple[str, ...]) -> Plan:
        dtype = self._dtype(names, specs)
        shape = self._shape(names, specs)
        operands = [layout.broadcast(s.shape, shape, s.dtype) for s in specs]
        symbols = [expr.operand(i, s.dtype) for i, s in enumerate(specs)]
        value = self.expression(names, symbols, numbers_, 0, dtype)
        output = map.Output(value, layout.broadcast(shape, shape, dtype))
        name = kernel_name(self.label, "forward", dtype)
        return map.plan(device, name, shape, [output], operands, [dtype] * len(numbers_))

    def expression(
        self,
        names: Sequence[str],
        operands: Sequence[Expr],
        numbers_: Sequence[str],
        slot: int,
        dtype: np.dtype,
    ) -> Expr:
        """The formula on symbolic operands by name; numbers have the slots from ``slot`` on."""
        symbols = dict(zip(names, operands, strict=True))
        symbols |= {n: expr.scalar(i, dtype) for i, n in enumerate(numbers_, slot)}
        return as_expr(self.function(**symbols), dtype)

    def _launch(self, plan: Plan, stream: Stream, names, views, attributes, scalars) -> list[View]:
        return [bulk.launch(stream, self, names, attributes, plan, views)]

    def _dtype(self, names, specs) -> np.dtype:
        bound = [(n, s.dtype) for n, s in zip(names, specs, strict=True) if n not in self.free]
        if not bound:
            bound = [(names[0], specs[0].dtype)]
        (first, dtype), *rest = bound
        for other, other_dtype in rest:
            if other_dtype != dtype:
                raise OperatorTypeError(
                    f"{self.label}: {first!r} has dtype {dtype} and {other!r} has dtype {other_dtype}; "
                    "accepted: one dtype (convert with astype)"
                )
        return dtype

    def _shape(self, names, specs) -> tuple[int, ...]:
        shapes = [s.shape for s in specs]
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            shape = None
        if shape is None or (not self.broadcasts and any(s != shape for s in shapes)):
            given = ", ".join(f"{n} {s}" for n, s in zip(names, shapes, strict=True))
            accepted = "shapes that broadcast" if self.broadcasts else "equal shapes"
            raise OperatorError(f"{self.label}: shapes are {given}; accepted: {accepted}")
        return shape

    # Gradients

    #: Backward may ask for :meth:`reduced_vjp` and a :meth:`chain` instead of :meth:`vjp`.
    fuses = True

    def vjp(self, node: Node, dys, wanted, create_graph: bool) -> dict[int, NDArray]:
        """Gradients by recorded ops; summed over the axes that broadcasting repeated."""
        gradients = super().vjp(node, dys, wanted, create_graph)
        return {i: _sum_to(gradient, node.input_meta(i).shape) for i, gradient in gradients.items()}

    def pattern(self, node: Node, wanted: Sequence[bool]) -> Pattern:
        """Which gradients are wanted, and what their rules read."""
        entries = node.inputs
        if len(entries) == 1:
            first: tuple = (0,)
        else:
            first = tuple([entries.index(e) if w else None for e, w in zip(entries, wanted)])  # noqa: B905
        found = node.plan.cache.get(first)
        if found is None:
            found = node.plan.cache[first] = Pattern(node, first)
        return found

    def reduced_vjp(self, node: Node, pattern: Pattern, dy: NDArray) -> dict[int, NDArray]:
        """Gradients of the inputs that were broadcast, by generated kernels, not recorded.

        Inputs that are the same array share one entry, under the first of them.
        """
        stream = stream_for(self.label, ("dy",), (dy,))
        key = (stream, dy._view.layout, pattern)  # the thread may be another than forward's
        kernels = node.plan.cache.get(key)
        if kernels is None:
            kernels = ReducedGradients(stream.device, node, dy._view.layout, pattern)
            node.plan.cache[key] = kernels
        return kernels.run(stream, node, dy._view)

    def chain(self, dy: NDArray, owned: bool) -> GradientChain:
        """An empty chain for gradients of the inputs that have the output's shape."""
        return GradientChain(stream_for(self.label, ("dy",), (dy,)), dy._view, owned)


def _sum_to(gradient: NDArray, shape: tuple[int, ...]) -> NDArray:
    return gradient if gradient.shape == shape else table["_sum_to"](gradient, shape=shape)


def elementwise(
    name: str | None = None, aliases: Sequence[str] = (), **options
) -> Callable[[Callable], Any]:
    """Declare an elementwise op from its formula (see :class:`Elementwise`).

    Options: ``free``, ``broadcasts``, and for tests ``reference`` (a numpy function of the same
    arguments), ``domain`` (an interval to draw from) and ``integers`` (whether integer dtypes count).
    """

    def declare(formula: Callable) -> Any:
        return Elementwise(formula, name, aliases, **options)

    return declare
