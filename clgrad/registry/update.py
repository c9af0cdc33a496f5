"""Ops that step parameters: one formula gives the new weight and the new states, written in place.

The weight is a new array, or ``out``; what the op calls its states changes even without ``out``, as in
MXNet. Nothing is recorded: a step of an optimiser is no part of the graph.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad import array, dtypes, memory
from clgrad.array import NDArray
from clgrad.errors import DeviceMemoryError, OperatorError, OperatorTypeError
from clgrad.kernels import expr, groups, layout, map
from clgrad.kernels.launch import Plan
from clgrad.memory import Stream, View
from clgrad.registry.gradient_kernels import as_expr
from clgrad.registry.operator import Operator, Spec, kernel_name, stream_for

#: Arguments that are arrays of one number: norms, and the scale of a loss.
SINGLE = ("r1", "r2", "rescale_grad")


class _Step(Operator):
    """What steps of one and of many parameters share.

    Parameters
    ----------
    formula : callable
        Symbolic operands in; the new weight and the new states out, as a tuple. Parameters annotated
        ``float`` are numbers, the others arrays.
    states : sequence of str
        Arrays that are written in place, in the order of the formula's results.
    """

    writes_in_place = True

    @staticmethod
    def _is_array(parameter: inspect.Parameter) -> bool:
        return parameter.annotation is not float

    def _write(self, stream: Stream, plan: Plan, views, scalars, targets: list[View | None]) -> list[View]:
        """Run a plan into the targets; None stands for a new array."""
        try:
            return self._run_plan(stream, plan, views, scalars, targets)
        except DeviceMemoryError:
            memory.not_written([t for t in targets if t is not None])
            raise

    def _run_plan(
        self, stream: Stream, plan: Plan, views, scalars, targets: list[View | None]
    ) -> list[View]:
        made = [t or memory.empty(stream, *plan.outputs[i]) for i, t in enumerate(targets)]
        beside: dict[Any, list[View]] = {}  # by storage: a step of many would compare each with each
        for view in views:
            beside.setdefault(view.storage, []).append(view)
        apart = [
            i
            for i, t in enumerate(targets)
            if t is not None and any(v is not t and self._collide(v, t) for v in beside.get(t.storage, ()))
        ]
        written = [memory.empty(stream, *v.layout) if i in apart else v for i, v in enumerate(made)]
        plan.run(stream, views, scalars, written)
        for i in apart:
            memory.copy(stream, written[i], made[i])
        return made

    def _check_state(self, state: NDArray) -> None:
        array.begin_write(state, self.label)

    #: Whether the arrays have to be real.
    real = True

    def _check(self, argument: str, spec: Spec, shape: tuple[int, ...]) -> None:
        if self.real and not dtypes.is_floating(spec.dtype):
            raise OperatorTypeError(
                f"{self.label}: {argument} has dtype {spec.dtype}; accepted: a floating-point dtype"
            )
        wanted = (1,) if argument in SINGLE else shape
        if spec.shape != wanted:
            accepted = f"{wanted}" if argument in SINGLE else f"{wanted}, as the weight"
            raise OperatorError(f"{self.label}: {argument} has shape {spec.shape}; accepted: {accepted}")


class Update(_Step):
    """A step of one parameter, in one launch."""

    def __init__(self, formula, name=None, aliases=(), states=(), **options):
        super().__init__(formula, name, aliases, **options)
        self.states = tuple(states)

    def apply(self, names, arrays, attributes, out=None):
        """Step, in place where the states are concerned."""
        stream = stream_for(self.label, names, arrays)
        views = [a._view for a in arrays]
        key = (self, names, tuple(attributes), *[v.layout for v in views])
        plan = stream.plans.get(key)
        if plan is None:
            specs = [Spec(*v.layout) for v in views]
            plan = stream.plans[key] = self.make_plan(stream.device, names, specs, attributes)
            plan.label = self.label
        given = dict(zip(names, arrays, strict=True))
        if out is not None:
            (out,) = self._check_out(out, plan.outputs[:1], stream.device)
        for state in self.states:
            self._check_state(given[state])
        targets = [None if out is None else out._view, *(given[s]._view for s in self.states)]
        weight = self._write(stream, plan, views, tuple(attributes.values()), targets)[0]
        return NDArray(weight) if out is None else out

    def make_plan(self, device, names, specs, attributes) -> Plan:
        """Plan the one launch of the formula."""
        shape, dtype = specs[0]
        by_name = dict(zip(names, specs, strict=True))
        for argument, spec in by_name.items():
            self._check(argument, spec, shape)
        symbols = {n: expr.operand(i, s.dtype) for i, (n, s) in enumerate(by_name.items())}
        symbols |= {n: expr.scalar(i, dtype) for i, n in enumerate(attributes)}
        stored = [dtype, *(by_name[s].dtype for s in self.states)]
        results = self.function(**symbols)
        outputs = [
            map.Output(as_expr(value, d), layout.broadcast(shape, shape, d))
            for value, d in zip(results, stored, strict=True)
        ]
        operands = [layout.broadcast(s.shape, shape, s.dtype) for s in specs]
        name = kernel_name(self.label, "forward", dtype)
        return map.plan(device, name, shape, outputs, operands, [dtype] * len(attributes))


class MultiUpdate(_Step):
    """A step of many parameters, in as few launches as kernel arguments allow.

    Called with arrays, those of one parameter after those of the other, in the order of the formula's
    arguments; then those that hold numbers.

    Parameters
    ----------
    each : dict
        Parameter of the formula that has a number of its own for each parameter: the attribute (a tuple of
        numbers) that gives it.
    preloaded : sequence of str
        Parameters whose numbers an array gives, one for each parameter.
    single : sequence of str
        Parameters whose number an array of one element gives.
    """

    def __init__(self, formula, name, states, each=None, preloaded=(), single=(), **options):
        parameters = list(inspect.signature(formula).parameters.values())
        self.each, self.states = dict(each or {}), tuple(states)
        #: Whether an array of numbers has one for each parameter.
        self.loaded = dict.fromkeys(preloaded, True) | dict.fromkeys(single, False)
        self.parts = tuple(p.name for p in parameters if self._is_array(p))
        apart = {*self.parts, *self.each, *self.loaded}
        self.shared = {p.name: p.default for p in parameters if p.name not in apart}
        super().__init__(formula, name, **options)

    def _read_signature(self, parameters) -> None:
        keyword = inspect.Parameter.KEYWORD_ONLY
        data = inspect.Parameter("data", inspect.Parameter.VAR_POSITIONAL)
        made = [inspect.Parameter(n, keyword, annotation=float) for n in self.each.values()]
        defaults = self.shared | {"num_weights": None}
        made += [inspect.Parameter(n, keyword, default=d, annotation=float) for n, d in defaults.items()]
        super()._read_signature([data, *made])

    def apply(self, names, arrays, attributes, out=None):
        """Step all parameters."""
        count, rest = divmod(len(arrays) - len(self.loaded), len(self.parts))
        if rest or count < 1 or attributes["num_weights"] not in (None, count):
            given = f"{len(arrays)} arrays for num_weights={attributes['num_weights']}"
            raise OperatorTypeError(f"{self.label}: {given}; accepted: {', '.join(self.parts)} of each")
        stream = stream_for(self.label, names, arrays)
        views = [a._view for a in arrays]
        key = (self, *[v.layout for v in views])
        plan = stream.plans.get(key)
        if plan is None:
            plan = stream.plans[key] = self._plan(stream.device, [Spec(*v.layout) for v in views], count)
            plan.label = self.label
        if out is not None:
            out = list(out) if isinstance(out, list | tuple) else [out]
            self._check_out(out, plan.outputs[:count], stream.device)
        targets: list[View | None] = [None] * count if out is None else [o._view for o in out]
        for state in self.states:
            for member in arrays[self.parts.index(state) : count * len(self.parts) : len(self.parts)]:
                self._check_state(member)
                targets.append(member._view)
        made = self._write(stream, plan, views, self._numbers(attributes, count), targets)
        results = [NDArray(v) for v in made[:count]] if out is None else out
        return results[0] if len(results) == 1 else results

    def _numbers(self, attributes: dict, count: int) -> list[float]:
        numbers = [attributes[n] for n in self.shared]
        if not self.each:
            return numbers
        columns = []
        for attribute in self.each.values():
            values = attributes[attribute]
            values = tuple(values) if isinstance(values, list | tuple | np.ndarray) else (values,)
            if len(values) != count:
                raise OperatorError(
                    f"{self.label}: {attribute} has {len(values)} numbers; accepted: {count}"
                )
            columns.append(values)
        return numbers + [v for row in zip(*columns, strict=True) for v in row]

    def _plan(self, device, specs: Sequence[Spec], count: int) -> Plan:
        width = len(self.parts)
        members = [specs[i * width : (i + 1) * width] for i in range(count)]
        dtypes_ = [s.dtype for s in members[0]]
        for i, member in enumerate(members):
            for part, spec, dtype in zip(self.parts, member, dtypes_, strict=True):
                self._check(f"{part} {i}", spec, member[0].shape)
                if spec.dtype != dtype:
                    raise OperatorTypeError(
                        f"{self.label}: {part} {i} has dtype {spec.dtype}; accepted: {dtype}, as the first"
                    )
        symbols = {n: expr.operand(i, d) for i, (n, d) in enumerate(zip(self.parts, dtypes_, strict=True))}
        symbols |= {
            n: expr.scalar(i, dtypes_[0]) for i, n in enumerate((*self.shared, *self.each, *self.loaded))
        }
        stored = [dtypes_[0], *(dtypes_[self.parts.index(s)] for s in self.states)]
        values = [as_expr(v, d) for v, d in zip(self.function(**symbols), stored, strict=True)]
        return groups.plan(
            device,
            kernel_name(self.label, "forward", dtypes_[0]),
            [member[0].shape for member in members],
            dtypes_,
            list(zip(values, stored, strict=True)),
            shared=len(self.shared),
            each=len(self.each),
            tables=self._tables(specs[count * width :], count),
        )

    def _tables(self, specs: Sequence[Spec], count: int) -> list[tuple[np.dtype, bool]]:
        for (argument, every), spec in zip(self.loaded.items(), specs, strict=True):
            if spec.shape != ((count,) if every else (1,)):
                raise OperatorError(
                    f"{self.label}: {argument} has shape {spec.shape}; accepted: {(count if every else 1,)}"
                )
        return [(spec.dtype, every) for spec, every in zip(specs, self.loaded.values(), strict=True)]


def update(name: str | None = None, states: Sequence[str] = (), **options) -> Callable[[Callable], Any]:
    """Declare a step of one parameter from its formula (see :class:`Update`)."""

    def declare(formula: Callable) -> Any:
        return Update(formula, name, states=states, **options)

    return declare
