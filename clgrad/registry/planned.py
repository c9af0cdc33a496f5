"""Ops with a planner of their own, and ops that only relabel memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clgrad import tape
from clgrad.array import NDArray
from clgrad.device import Context, Device, as_context
from clgrad.errors import OperatorError, argument_error
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.launch import Plan
from clgrad.memory import Stream, View, current_stream
from clgrad.registry import bulk
from clgrad.registry.arrays import checked_out
from clgrad.registry.operator import Operator, kernel_name, stream_for, table


@dataclass(frozen=True)
class RelabelCall:
    """What the function of an op that only relabels memory is told besides its arguments."""

    op: str

    def error(self, argument: str, given: object, accepted: str) -> OperatorError:
        """An error that names op, argument, what was given and what is accepted."""
        return argument_error(self.op, argument, given, accepted)


@dataclass(frozen=True)
class Call(RelabelCall):
    """What a planner is told besides its arguments."""

    device: Device
    #: What the last kernel is to go on with, of ops that are declared with ``finishes``.
    epilogue: Epilogue | None = None

    def kernel(self, dtype, what: str = "forward") -> str:
        """Kernel name in the house's form."""
        return kernel_name(self.op, what, dtype)


class Planned(Operator):
    """An op whose function plans launches: ``f(call, *specs, **attributes) -> Plan``.

    Attributes named in ``numbers`` are passed to the kernels at each run and are not part of the plan.
    An op that ``finishes`` hands ``call.epilogue`` on to its kernel, if there is one.
    """

    def __init__(self, planner, name=None, aliases=(), numbers=(), finishes=False, **options):
        super().__init__(planner, name, aliases, skip=1, **options)
        self.numbers = tuple(numbers)
        self.finishes = finishes

    def apply(self, names, arrays, attributes, out=None):
        """Run on bound arrays."""
        return self._run(stream_for(self.label, names, arrays), names, arrays, attributes, out)

    def create(self, ctx: Context | None, out=None, **attributes):
        """Run an op without array arguments on a device."""
        stream = current_stream(as_context(ctx).device)
        return self._run(stream, (), [], self._attributes(attributes), out)

    def _run(self, stream, names, arrays, attributes, out):
        if not self.numbers:
            return self.run(stream, names, arrays, attributes, tuple(attributes.values()), (), out)
        scalars = [attributes[n] for n in self.numbers]
        key = tuple([v for n, v in attributes.items() if n not in self.numbers])
        return self.run(stream, names, arrays, attributes, key, scalars, out)

    def _launch(self, plan: Plan, stream: Stream, names, views, attributes, scalars) -> list[View]:
        if self.finishes and plan.finishes:
            return [bulk.launch_product(stream, bulk.Product(self, names, attributes), plan, views)]
        return super()._launch(plan, stream, names, views, attributes, scalars)

    def make_plan(self, device: Device, names, specs, attributes, epilogue: Epilogue | None = None) -> Plan:
        """Call the planner; it is not told the numbers, which change from run to run."""
        call = Call(self.label, device, epilogue)
        fixed = {n: None if n in self.numbers else v for n, v in attributes.items()}
        if self.variadic is not None:
            return self.function(call, *specs, **fixed)
        arrays = {**dict.fromkeys(self.optional), **dict(zip(names, specs, strict=True))}
        return self.function(call, **arrays, **fixed)


class Relabel(Operator):
    """An op whose result is the input's memory under another shape: no launch.

    ``f(call, spec, **attributes) -> (shape, element offset)``.
    """

    def __init__(self, function, name=None, aliases=(), **options):
        super().__init__(function, name, aliases, skip=1, **options)
        self._call = RelabelCall(self.label)

    def apply(self, names, arrays, attributes, out=None):
        """Relabel the array; ``out`` receives a copy."""
        (data,) = arrays
        view = data._view
        shape, offset = self.function(self._call, view.layout, **attributes)
        result = NDArray(view.reshaped(shape, offset))
        if tape.state.recording:
            self.record(names, arrays, attributes, [result], None)
        if out is None:
            return result
        (target,) = checked_out(self.label, out, [result._view.layout], view.device)
        return table["identity"](result, out=target)


def operator(name: str | None = None, aliases: Sequence[str] = (), **options) -> Callable[[Callable], Any]:
    """Declare an op from its planner (see :class:`Planned`)."""

    def declare(planner: Callable) -> Any:
        return Planned(planner, name, aliases, **options)

    return declare


def relabel(name: str | None = None, aliases: Sequence[str] = (), **options) -> Callable[[Callable], Any]:
    """Declare an op that relabels memory (see :class:`Relabel`)."""

    def declare(function: Callable) -> Any:
        return Relabel(function, name, aliases, **options)

    return declare
