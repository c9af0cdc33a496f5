"""What every op has: name, parameters, gradient rules; how a call is bound, run and recorded."""

import inspect
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any, NamedTuple

import numpy as np

from clgrad import array, dtypes, memory, tape
from clgrad.array import NDArray
from clgrad.device import Context, Device
from clgrad.errors import DeviceMemoryError, OperatorError, OperatorTypeError
from clgrad.kernels.launch import Plan
from clgrad.memory import Stream, View
from clgrad.registry import documentation
from clgrad.registry.arrays import all_arrays, checked_out, no_array, of_numpy
from clgrad.registry.kinds import Kind, kinds_of, read_all
from clgrad.registry.rule import Rule

#: Every op (an Operator or a Composite) by its names: the one list that namespaces, methods, docs and
#: tests are made from.
table: dict[str, Any] = {}


def namespace(prefix: str) -> dict[str, Any]:
    """The ops whose names begin with ``prefix.``, under the rest of their names."""
    return {key[len(prefix) + 1 :]: op for key, op in table.items() if key.startswith(f"{prefix}.")}


def kernel_name(label: str, what: str, dtype) -> str:
    """What the kernel of an op is called: an identifier of C."""
    return f"{label.replace('.', '_')}_{what}_{dtype}"


def joint_name(labels: Sequence[str], what: str, dtype) -> str:
    """What a kernel that does the work of several ops is called."""
    rest = f"_and_{len(labels) - 4}_more" if len(labels) > 4 else ""
    return kernel_name("_".join(labels[:4]), f"{what}{rest}", dtype)


class Spec(NamedTuple):
    """Shape and dtype of an array argument: what a plan depends on."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Operator:
    """An op: callable on arrays, and carrying what docs and tests need to know of it.

    Attributes
    ----------
    name : str
        Key in the table; with a leading underscore, not part of the ``nd`` namespace. A dot parts the
        name of a namespace within it: ``linalg.gemm`` is ``nd.linalg.gemm``.
    label : str
        What errors and kernels call the op: of a part of a public op, the public name.
    aliases : tuple of str
        Other names in the table (MXNet has several for many ops).
    arguments : tuple of str
        Names of the array parameters, in order.
    optional : set of str
        Those that may be left out.
    variadic : str or None
        Name of the parameter that takes any number of arrays.
    attributes : dict
        Names and defaults of the other parameters.
    outputs : tuple of str
        Names of the results.
    gradients : dict
        Rule of each argument that has one.
    reference, domain, cases : object
        What tests compare with and feed: see :mod:`tests`.
    """

    #: Whether numbers may stand in the place of arrays.
    takes_numbers = False
    #: Whether gradients may be left to generated kernels (see Elementwise).
    fuses = False
    #: Whether results may be held by code that clgrad does not know (see autograd.Function).
    is_user_code = False

    def __init__(
        self,
        function: Callable,
        name: str | None,
        aliases: Sequence[str] = (),
        skip: int = 0,
        outputs: Sequence[str] = ("y",),
        label: str | None = None,
        **testing,
    ):
        self.function = function
        self.name = name or function.__name__.lstrip("_")
        self.label = label or self.name.lstrip("_")
        self.aliases = tuple(aliases)
        self.outputs = tuple(outputs)
        self.__name__ = self.__qualname__ = self.name
        self.__module__ = function.__module__
        self.gradients: dict[str, Rule] = {}
        self.testing = testing
        self._read_signature(list(inspect.signature(function).parameters.values())[skip:])
        self.__doc__ = documentation.complete(self)
        self._kept: dict[tuple, tuple[int, ...]] = {}
        self._found: dict[tuple, list[tuple[int, Rule, list[Callable]]]] = {}
        for key in (self.name, *self.aliases):
            if key in table:
                raise ValueError(f"two ops are named {key}")
            table[key] = self

    def _read_signature(self, parameters: Sequence[inspect.Parameter]) -> None:
        arguments, self.optional, self.variadic = [], set(), None
        self.attributes: dict[str, object] = {}
        for parameter in parameters:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                self.variadic = parameter.name
            elif self._is_array(parameter):
                arguments.append(parameter.name)
                if parameter.default is None:
                    self.optional.add(parameter.name)
            else:
                self.attributes[parameter.name] = parameter.default
        self.arguments = tuple(arguments)
        counts = [i for i in range(len(arguments) + 1) if self.optional.issuperset(arguments[i:])]
        #: Their names by how many of them are given by position, the last ones being optional.
        self._by_position = {i: self.arguments[:i] for i in counts}
        self._call_order = (*self.arguments, *self.attributes)
        self._required = {k for k, v in self.attributes.items() if v is inspect.Parameter.empty}
        public = not self.name.startswith("_")  # what clgrad itself calls needs no checks
        self._kinds: dict[str, Kind] = (
            kinds_of(p for p in parameters if p.name in self.attributes) if public else {}
        )
        self.__signature__ = inspect.Signature(
            [p.replace(annotation=p.empty) for p in parameters if p.kind is p.VAR_POSITIONAL]
            or [
                p.replace(annotation=p.empty, kind=p.POSITIONAL_OR_KEYWORD)
                for p in sorted(parameters, key=lambda p: p.default is not p.empty)
            ]
        )

    @staticmethod
    def _is_array(parameter: inspect.Parameter) -> bool:
        return parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    # Gradient rules

    def gradient(self, **rules: Callable) -> "Operator":
        """Declare the rule of each named argument: ``multiply.gradient(lhs=lambda dy, rhs: ...)``."""
        for argument, function in rules.items():
            self.gradients[argument] = Rule.of(function, (argument,))
        self.__doc__ = documentation.complete(self)
        return self

    def joint_gradient(self, *arguments: str) -> Callable[[Callable], Callable]:
        """Declare one rule that returns the gradients of several arguments, as a tuple."""

        def declare(function: Callable) -> Callable:
            rule = Rule.of(function, arguments)
            for argument in arguments:
                self.gradients[argument] = rule
            self.__doc__ = documentation.complete(self)
            return function

        return declare

    def rule_for(self, argument: str) -> Rule | None:
        """The rule of an argument; ``data3`` of a variadic argument ``data`` shares one rule."""
        rule = self.gradients.get(argument)
        if rule is None and self.variadic is not None:
            rule = self.gradients.get(self.variadic)
        return rule

    # Calling

    def __call__(self, *args, out=None, name=None, **kwargs):
        """Apply the op; ``name`` is accepted for MXNet's sake and has no effect."""
        names, arrays, attributes = self.bind(args, kwargs)
        return self.apply(names, arrays, attributes, out)

    def bind(self, args: Sequence, kwargs: dict) -> tuple[tuple[str, ...], Sequence[NDArray], dict]:
        """Sort a call's arguments into arrays, with their names, and attributes.

        Raises
        ------
        OperatorTypeError
            An argument is missing, unknown, given twice, or not an array.
        """
        if self.variadic is not None:
            return self._bind_variadic(args, kwargs)
        names = self._by_position.get(len(args))
        if names is not None and all_arrays(args):
            # The usual call: every array by position, the rest by name.
            if not kwargs and not self._required:
                return names, args, self.attributes
            if self._required <= kwargs.keys() <= self.attributes.keys() and list not in map(
                type, kwargs.values()
            ):
                attributes = {**self.attributes, **kwargs}
                if self._kinds:
                    attributes.update(read_all(self.label, self._kinds, kwargs))
                return names, args, attributes
        given = dict(zip(self._call_order, args, strict=False))
        if len(args) > len(self._call_order):
            raise OperatorTypeError(
                f"{self.label}: {len(args)} positional arguments given; accepted: "
                f"{', '.join(self._call_order)}"
            )
        for key, value in kwargs.items():
            if key in given:
                raise OperatorTypeError(f"{self.label}: argument {key!r} is given twice")
            given[key] = value
        found, arrays = [], []
        for argument in self.arguments:
            value = given.pop(argument, None)
            if value is None:
                if argument in self.optional:
                    continue
                raise OperatorTypeError(f"{self.label}: array argument {argument!r} is missing")
            found.append(argument)
            arrays.append(value)
        return tuple(found), self._as_arrays(found, arrays), self._attributes(given)

    def _bind_variadic(self, args: Sequence, kwargs: dict):
        if len(args) == 1 and isinstance(args[0], list | tuple):
            args = args[0]
        kwargs.pop("num_args", None)
        if not args:
            raise OperatorTypeError(f"{self.label}: no arrays given; accepted: one or more")
        names = tuple(f"{self.variadic}{i}" for i in range(len(args)))
        return names, self._as_arrays(names, args), self._attributes(kwargs)

    def _attributes(self, given: dict) -> dict:
        attributes = dict(self.attributes)
        for key, value in given.items():
            if key not in attributes:
                raise OperatorTypeError(
                    f"{self.label}: unknown argument {key!r}; accepted: {', '.join(self._call_order)}"
                )
            attributes[key] = tuple(value) if isinstance(value, list) else value
        attributes |= read_all(self.label, self._kinds, given)
        for key, value in attributes.items():
            if value is inspect.Parameter.empty:
                raise OperatorTypeError(f"{self.label}: argument {key!r} is missing")
        return attributes

    def _as_arrays(self, names: Sequence[str], values: Sequence) -> Sequence[NDArray]:
        if all_arrays(values):
            return values
        like = next((v for v in values if isinstance(v, NDArray)), None)
        arrays = []
        for argument, value in zip(names, values, strict=True):
            if not isinstance(value, NDArray):
                if like is None or not isinstance(value, np.ndarray):
                    raise no_array(self.label, argument, value, "NDArray")
                value = of_numpy(self.label, argument, value, like)
            arrays.append(value)
        return arrays

    def apply(self, names, arrays, attributes, out=None):
        """Run the op on bound arguments and record it where recording is on."""
        raise NotImplementedError

    def make_plan(self, device: Device, names, specs: Sequence[Spec], attributes: dict) -> Plan:
        """Plan the launches for arrays of these shapes and dtypes."""
        raise NotImplementedError

    # Running and recording

    def run(
        self,
        stream: Stream,
        names: tuple[str, ...],
        arrays: Sequence[NDArray],
        attributes: dict,
        key: tuple,
        scalars: Sequence[float],
        out=None,
    ):
        """Look up or make the plan, run it, and record the call.

        ``key`` holds what the plan depends on besides the op and the arrays' names, shapes and dtypes.
        """
        views: list[View] = []
        full_key = [self, names, key]
        for a in arrays:
            view = a._view
            views.append(view)
            full_key.append(view.layout)
        plan = stream.plans.get(tuple(full_key))
        if plan is None:
            plan = stream.plans[tuple(full_key)] = self._planned(stream, names, views, attributes)
        if out is not None:
            results = self._run_into(out, plan, stream, views, scalars)
        elif plan.at_once:
            made = plan.quick(stream, views, scalars) or plan.run(stream, views, scalars)
            results = [NDArray(made[0])] if len(made) == 1 else [NDArray(v) for v in made]
        else:
            results = [NDArray(v) for v in self._launch(plan, stream, names, views, attributes, scalars)]
        if tape.state.recording:
            node = self.record(names, arrays, attributes, results, plan)
            if node is not None:
                node.bulk = stream.waiting
        elif tape.state.launches is not None:
            handles = [a._view.storage.handle for a in (*arrays, *results)]
            tape.state.launches.append((plan, handles))
        return results[0] if len(results) == 1 else results

    def _planned(self, stream: Stream, names, views: Sequence[View], attributes: dict) -> Plan:
        specs = [Spec(*view.layout) for view in views]
        try:
            plan = self.make_plan(stream.device, names, specs, attributes)
        except OverflowError as error:
            raise OperatorError(
                f"{self.label}: sizes or steps are beyond 64 bits ({error}); accepted: smaller"
            ) from error
        plan.label = plan.label or self.label
        return plan

    def _run_into(self, out, plan: Plan, stream: Stream, views: Sequence[View], scalars) -> list[NDArray]:
        """Run a plan with the results in given arrays."""
        results = self._check_out(out, plan.outputs, stream.device)
        targets = [r._view for r in results]
        try:
            if any(self._collide(view, target) for view in views for target in targets):
                for made, target in zip(plan.run(stream, views, scalars), targets, strict=True):
                    memory.copy(stream, made, target)
            else:
                plan.run(stream, views, scalars, targets)
        except DeviceMemoryError:
            memory.not_written(targets)
            raise
        return results

    def _launch(self, plan: Plan, stream: Stream, names, views, attributes, scalars) -> list[View]:
        """Enqueue the launches, or see that they will be; the results."""
        plan.at_once = True
        return plan.run(stream, views, scalars)

    #: Whether the kernels write a position only after they have read it from every input.
    writes_in_place = False

    def _collide(self, view: View, target: View) -> bool:
        """Whether writing the target while reading the view could read what was written."""
        if view.storage is not target.storage or not view.overlaps(target):
            return False
        same = view.offset == target.offset and view.layout is target.layout
        return not (same and self.writes_in_place)

    def _check_out(self, out, outputs, device: Device) -> list[NDArray]:
        results = checked_out(self.label, out, outputs, device)
        for result in results:
            array.begin_write(result, self.label)
        return results

    def record(self, names, arrays, attributes, results, plan: Plan | None) -> tape.Node | None:
        """Put the call on the tape; keep what the rules of the needed gradients name.

        A call that reads nothing of the graph leaves no record, as in MXNet.
        """
        if tape.state.watcher is not None:
            tape.state.watcher.reads(arrays)
        for a in arrays:
            if a._entry is not None and a._entry[0].in_graph:
                break
        else:
            return None
        inputs, wanted, handles = [], [], []
        for a in arrays:
            entry = a._entry or tape.constant(a)
            inputs.append(entry)
            wanted.append(entry[0].needs_grad)
            handles.append(a._view.storage.handle)
        for r in results:
            handles.append(r._view.storage.handle)
        layouts = [r._view.layout for r in results] if plan is None else plan.layouts
        stream, mask = arrays[0]._view.storage.stream, tuple(wanted)
        node = tape.Node(
            self, names, attributes, tuple(inputs), layouts, plan, handles, stream.device, mask
        )
        if node.needs_grad:
            keys = self._kept.get((names, mask))
            if keys is None:
                keys = self._keeps(names, mask)
            saved = {}
            for key in keys:
                view = (arrays[key] if key >= 0 else results[~key])._view
                saved[key] = tape.Saved(view) if stream.waiting is None else _saved(view, stream)
            node.saved = saved
        for index, result in enumerate(results):
            result._entry = (node, index)
        return node

    def _keeps(self, names: tuple[str, ...], mask: tuple[bool, ...]) -> tuple[int, ...]:
        """Keys of the arrays that the rules of the inputs in ``mask`` will read."""
        kept = self._kept.get((names, mask))
        if kept is None:
            needed: set[str] = set()
            for argument, wanted in zip(names, mask, strict=True):
                rule = self.rule_for(argument) if wanted else None
                needed.update(rule.needs if rule else ())
            keys = [i for i, argument in enumerate(names) if argument in needed]
            keys += [~i for i, output in enumerate(self.outputs) if output in needed]
            kept = self._kept[names, mask] = tuple(keys)
        return kept

    # Gradients of recorded calls

    def vjp(
        self,
        node: tape.Node,
        dys: Sequence[NDArray | None],
        wanted: Sequence[bool],
        create_graph: bool,
    ) -> dict[int, NDArray]:
        """Vector-Jacobian product: the gradients of the wanted inputs, from those of the outputs.

        This general form calls the rules with arrays; what they do is recorded under ``create_graph``.
        """
        gradients: dict[int, NDArray] = {}
        for i, rule, finders in self._rules(node.names):
            if not wanted[i] or i in gradients:
                continue
            result = rule.function(*[find(node, dys, i) for find in finders])
            if len(rule.targets) == 1 and not isinstance(result, tuple):
                gradients[i] = self._as_gradient(result, node, i)
                continue
            for target, value in zip(rule.targets, result, strict=True):
                # a variadic argument's rule is called once for each of its arrays
                j = i if target == self.variadic else _position(node.names, target)
                if j is not None and wanted[j] and value is not None:
                    gradients[j] = self._as_gradient(value, node, j)
        return gradients

    def _as_gradient(self, value, node: tape.Node, i: int) -> NDArray:
        if isinstance(value, NDArray):
            return value
        shape, dtype = node.input_meta(i)
        return filled(node.context, shape, dtype, value)

    def _rules(self, names: tuple[str, ...]) -> list[tuple[int, Rule, list[Callable]]]:
        """For each input that has a rule: its number, the rule, and how to find what that needs."""
        found = self._found.get(names)
        if found is None:
            rules = [(i, self.rule_for(argument)) for i, argument in enumerate(names)]
            found = [(i, r, [self._finder(n, names) for n in r.needs]) for i, r in rules if r is not None]
            self._found[names] = found
        return found

    def _finder(self, need: str, names: tuple[str, ...]) -> Callable:
        """How to find what a parameter of a rule stands for (see :class:`Rule`)."""
        if need == "dy":
            return lambda node, dys, i: _or_zeros(dys[0], node, 0)
        if need == "dys":
            return lambda node, dys, i: dys
        if need in names:
            j = names.index(need)
            return lambda node, dys, i: NDArray(node.load(j, need), node.inputs[j])
        if need in self.outputs:
            j = self.outputs.index(need)
            return lambda node, dys, i: NDArray(node.load(~j, need), (node, j))
        if need == "position":
            return lambda node, dys, i: i
        if need.startswith("d_"):
            j = self.outputs.index(need[2:])
            return lambda node, dys, i: _or_zeros(dys[j], node, j)
        if need in self.attributes or need in self.arguments:
            return lambda node, dys, i: node.attributes.get(need)
        return self._layout_finder(need, names)

    def _layout_finder(self, need: str, names: tuple[str, ...]) -> Callable:
        argument, _, what = need.rpartition("_")
        if what == "shapes":
            return lambda node, dys, i: [node.input_meta(j).shape for j in range(len(names))]
        if argument == "y":
            return lambda node, dys, i: getattr(node.outputs[0], what)
        if argument in names:
            j = names.index(argument)
            return lambda node, dys, i: getattr(node.input_meta(j), what)
        return lambda node, dys, i: None  # an optional argument that was left out


def _saved(view: View, stream: Stream) -> tape.Saved:
    """What the tape keeps of an array that may wait."""
    with stream.lock:  # another thread may have it enqueued meanwhile
        waiting = stream.waiting
        return tape.Saved(view, None if waiting is None else waiting.keep(view))


def filled(context: Context, shape: tuple[int, ...], dtype: np.dtype, value: float, out=None) -> NDArray:
    """An array of one value on a device."""
    return table["_full"].create(context, out, shape=shape, dtype=dtypes.name_of(dtype), value=value)


def _or_zeros(gradient: NDArray | None, node: tape.Node, j: int) -> NDArray:
    """The gradient of a node's output; zeros where none has arrived."""
    if gradient is not None:
        return gradient
    shape, dtype = node.outputs[j]
    return filled(node.context, shape, dtype, 0)


def _position(names: Sequence[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def stream_for(op: str, names: Sequence[str], arrays: Sequence[NDArray]) -> Stream:
    """The calling thread's stream on the device that all the arrays share.

    Raises
    ------
    OperatorError
        The arrays lie on different devices.
    """
    first = arrays[0]._view.storage.stream
    for a in arrays:
        stream = a._view.storage.stream
        if stream is not first and stream.device is not first.device:
            other = names[next(i for i, b in enumerate(arrays) if b is a)]
            raise OperatorError(
                f"{op}: {names[0]!r} is on {arrays[0].context} and {other!r} on {a.context}; "
                "accepted: one device (copy with as_in_context)"
            )
    return first if first.thread == get_ident() else memory.current_stream(first.device)
