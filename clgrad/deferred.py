"""Numbers that are computed anew each time a captured function is replayed.

A replay repeats kernel launches without running the function that made them. What kernels are given as
numbers may still change: while a function is captured, its float arguments are :class:`Number` objects, and
what :func:`host` returns as well. Arithmetic on them gives others, each with the steps that compute it.
Whatever needs to know the value itself (a comparison, ``float()``, a key of a dictionary) is answered, and
leaves a condition: a replay is right only where the answer would be the same again.
"""

import contextlib
import functools
import math
import numbers
import operator
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from clgrad import nested
from clgrad.errors import CaptureError


class _State(threading.local):
    #: The numbers of the function that this thread is capturing.
    numbers: "Numbers | None" = None
    #: What functions on the host have returned before, where a function runs again.
    repeated: list | None = None


_state = _State()


def current() -> "Numbers | None":
    """The numbers of the function that the calling thread is capturing; None if it captures none."""
    return _state.numbers


def host(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that a captured function needs called each time, also when it is replayed.

    For what happens on the host beside the kernels: a step counter, a schedule of learning rates. Outside
    of :func:`clgrad.capture` it is just a call.

    Parameters
    ----------
    function : callable
        Returns a number, or None; or tuples, lists and dicts of these. Called with ``args`` each time, at a
        replay before the device is given anything to do; so it must not work on arrays. If it returns
        None, it is perhaps called twice, where a replay finds that the captured function must run after
        all.
    *args
        What the function is given: the same at each call, but for real numbers that follow from arguments.
        Lists and dictionaries without such numbers are the program's own, to be read and written.

    Returns
    -------
    The same; while capturing, with a :class:`Number` in the place of each number.

    Raises
    ------
    CaptureError
        While capturing, the function returned something else, or worked on arrays.

    Examples
    --------
    >>> import clgrad as mx
    >>> calls = []
    >>> def learning_rate():
    ...     calls.append(1)
    ...     return 1 / len(calls)
    >>> step = mx.capture(lambda x: x * mx.host(learning_rate))
    >>> [round(float(step(mx.nd.ones(1))), 4) for _ in range(4)]
    [1.0, 0.5, 0.3333, 0.25]
    """
    recorded = _state.numbers
    if recorded is not None:
        return recorded.host(function, args)
    if _state.repeated and is_users(function):
        return _state.repeated.pop(0)
    return function(*args)


def is_users(function: Callable) -> bool:
    """Whether a function is the program's own, and not one of clgrad's, such as draws of random numbers."""
    return (getattr(function, "__module__", None) or "").partition(".")[0] != "clgrad"


@contextlib.contextmanager
def repeated(returned: Sequence) -> Iterator[None]:
    """A scope in which :func:`host` has what functions of the program returned before, in their order."""
    outer, _state.repeated = _state.repeated, list(returned)
    try:
        yield
    finally:
        _state.repeated = outer


class Number:
    """A real number with the steps that compute it."""

    __slots__ = ("_numbers", "place", "value")
    __array_priority__ = 2000.0

    def __init__(self, numbers_: "Numbers", place: int, value: float):
        self._numbers = numbers_
        #: Which of the numbers it is.
        self.place = place
        #: What it is at present.
        self.value = value

    def known(self) -> float:
        """The value, for a purpose that needs it to stay the same at each replay."""
        return self._numbers.answer(_itself, self)

    def __float__(self) -> float:
        return float(self.known())

    def __int__(self) -> int:
        return int(self.known())

    def __index__(self) -> int:
        return operator.index(self.known())  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return self._numbers.answer(bool, self)

    def __hash__(self) -> int:
        return hash(self.known())

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.known(), dtype)

    def __format__(self, spec: str) -> str:
        return format(self.known(), spec)

    def __repr__(self) -> str:
        return repr(self.value)

    def __reduce__(self) -> tuple:
        return type(self.value), (self.known(),)

    def __divmod__(self, other: Any) -> tuple:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple:
        return other // self, other % self

    def is_integer(self) -> bool:
        """Whether the value is whole."""
        return self._numbers.answer(_is_integer, self)


def _itself(value: float) -> float:
    return value


def _is_integer(value: float) -> bool:
    return float(value).is_integer()


def _arithmetic(function: Callable, reflected: bool = False) -> Callable:
    def apply(self, other):
        if not isinstance(other, Number | int | float | np.integer | np.floating):
            return NotImplemented
        pair = (other, self) if reflected else (self, other)
        return self._numbers.apply(function, *pair)

    return apply


def _comparison(function: Callable) -> Callable:
    def compare(self, other):
        if not isinstance(other, Number | int | float | np.integer | np.floating):
            return NotImplemented
        return self._numbers.answer(function, self, other)

    return compare


def _unary(function: Any) -> Any:
    return lambda self, *args: self._numbers.apply(function, self, *args)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _function = getattr(operator, _name)
    setattr(Number, f"__{_name}__", _arithmetic(_function))
    setattr(Number, f"__r{_name}__", _arithmetic(_function, reflected=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Number, f"__{_name}__", _comparison(getattr(operator, _name)))
for _name, _converts in {
    "neg": operator.neg,
    "pos": operator.pos,
    "abs": operator.abs,
    "round": round,
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
}.items():
    setattr(Number, f"__{_name}__", _unary(_converts))
numbers.Real.register(Number)


class Condition(tuple):
    """A question about numbers, and the answer: (function, operands, answer)."""


class Numbers:
    """The numbers of one captured call: the steps that compute them, and what must hold of them.

    Parameters
    ----------
    returned : sequence, optional
        What the functions of :func:`host` have returned already, in order: they are not called again,
        unless they return None and so do something that may be done twice.
    """

    def __init__(self, returned: Sequence = ()):
        #: (function, operands) of each number; an operand is a _Place, or a number that does not change.
        self._steps: list[tuple[Callable, tuple]] = []
        self._arguments = 0
        #: Each call on the host, in order.
        self._calls: list[_Call] = []
        self._returned = list(returned)
        #: Conditions that arguments alone decide, and those that need what was computed on the host.
        self._conditions: tuple[list, list] = ([], [])
        self._depends: list[bool] = []
        self._open = True

    def __enter__(self) -> "Numbers":
        _state.numbers = self
        return self

    def __exit__(self, *exception) -> None:
        _state.numbers = None
        self._open = False

    def argument(self, value: float) -> Number:
        """A number that the captured function is given. Arguments come before all others."""
        self._arguments += 1
        return self._add(_itself, (), value, depends=False)

    def _add(self, function: Callable, operands: tuple, value: float, depends: bool) -> Number:
        self._steps.append((function, operands))
        self._depends.append(depends)
        return Number(self, len(self._steps) - 1, value)

    def apply(self, function: Callable, *operands) -> Any:
        """A number made of others."""
        value = function(*[_value(o) for o in operands])
        if not self._open:
            return value
        depends = any(self._depends[o.place] for o in operands if isinstance(o, Number))
        return self._add(function, tuple([_placed(o) for o in operands]), value, depends)

    def answer(self, function: Callable, *operands) -> Any:
        """What a function says of numbers; it must say so at each replay."""
        found = function(*[_value(o) for o in operands])
        if self._open:
            depends = any(self._depends[o.place] for o in operands if isinstance(o, Number))
            condition = Condition((function, tuple([_placed(o) for o in operands]), found))
            if condition not in self._conditions[depends]:
                self._conditions[depends].append(condition)
        return found

    def host(self, function: Callable, args: tuple) -> Any:
        """See :func:`host`."""
        call = len(self._calls)
        if call < len(self._returned) and self._returned[call] is not None:
            result = self._returned[call]
        else:
            _state.numbers = None  # what the function does is no part of what is captured
            try:
                result = function(*_filled(args, _value))
            finally:
                _state.numbers = self
            self._returned[call:] = [result, *self._returned[call + 1 :]]
        self._calls.append(_Call(function, _filled(args, _placed), bool(nested.leaves(args, Number))))

        def taken_apart(value: Any, keys: tuple) -> Any:
            if value is None:
                return None
            if isinstance(value, dict):
                return {key: taken_apart(v, (*keys, key)) for key, v in value.items()}
            if isinstance(value, list | tuple):
                return tuple([taken_apart(v, (*keys, key)) for key, v in enumerate(value)])
            if not isinstance(value, int | float | np.integer | np.floating):
                raise CaptureError(
                    f"host: {function!r} returned {type(value).__name__}; accepted: a number or None, or "
                    "tuples, lists and dicts of these"
                )
            return self._add(_Returned((call, *keys)), (), value, depends=True)  # type: ignore[arg-type]

        return taken_apart(result, ())

    # Replaying

    def holds(self, arguments: Sequence[float]) -> bool:
        """Whether the conditions hold that arguments alone decide."""
        if not self._conditions[False]:
            return True
        values = self._evaluated(arguments, None)
        return values is not None and _hold(self._conditions[False], values)

    def call_host(self, arguments: Sequence[float]) -> list:
        """Call the functions on the host, in order; what they return."""
        returned: list = []

        def found(operand: Any) -> Any:
            if type(operand) is not _Place:
                return operand
            if operand < self._arguments:
                return arguments[operand]
            function, operands = self._steps[operand]
            if type(function) is _Returned:
                return function.of(returned)
            return function(*[found(o) for o in operands])

        for function, args, varies in self._calls:
            returned.append(function(*(_filled(args, found) if varies else args)))
        return returned

    def values(self, arguments: Sequence[float], returned: Sequence) -> list | None:
        """All numbers, by place; None if a condition fails, or a step (a division by zero)."""
        if not self._steps:
            return []
        values = self._evaluated(arguments, returned)
        return values if values is not None and _hold(self._conditions[True], values) else None

    def _evaluated(self, arguments: Sequence[float], returned: Sequence | None) -> list | None:
        """The numbers, unless a step fails: run again, the function may not come there.

        Without what was returned, those that depend on it stay None.
        """
        try:
            return self._computed(arguments, returned)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None

    def _computed(self, arguments: Sequence[float], returned: Sequence | None) -> list:
        values: list = list(arguments)
        for place in range(self._arguments, len(self._steps)):
            function, operands = self._steps[place]
            if returned is None and self._depends[place]:
                values.append(None)
            elif type(function) is _Returned:
                assert returned is not None, "it depends on what was returned"
                values.append(function.of(returned))
            else:
                values.append(function(*[values[o] if type(o) is _Place else o for o in operands]))
        return values

    def calls_as(self, other: "Numbers") -> bool:
        """Whether another recording calls the same functions on the host, with the same arguments."""
        return _alike(self._calls, other._calls)

    def same_as(self, other: "Numbers") -> bool:
        """Whether the numbers of another call are computed by the same steps."""
        return self._steps == other._steps and self._conditions == other._conditions

    @property
    def host_functions(self) -> list[Callable]:
        """What is called at each replay."""
        return [call.function for call in self._calls]

    @property
    def open(self) -> bool:
        """Whether the function is still being captured."""
        return self._open


class _Call(NamedTuple):
    """A call of a function on the host: what it is given, and whether numbers are among that."""

    function: Callable
    args: tuple
    varies: bool


class _Place(int):
    """Place of a number among all."""

    __slots__ = ()


class _Returned(tuple):
    """Takes a number out of what functions on the host have returned: which call, and keys in there."""

    __slots__ = ()

    def of(self, returned: Sequence) -> float:
        """The number."""
        found: Any = returned
        for key in self:
            found = found[key]
        return found

    def __call__(self) -> float:
        raise AssertionError("taken out of what was returned")


def _value(operand: Any) -> Any:
    return operand.value if isinstance(operand, Number) else operand


def _placed(operand: Any) -> Any:
    return _Place(operand.place) if isinstance(operand, Number) else operand


def _filled(args: tuple, replace: Callable[[Any], Any]) -> tuple:
    """Arguments with others in the place of numbers; containers without any are handed on as they are."""
    return tuple([nested.replaced(a, replace) if nested.leaves(a, Number | _Place) else a for a in args])


def _hold(conditions: Sequence, values: Sequence) -> bool:
    for function, operands, answer in conditions:
        found = function(*[values[o] if type(o) is _Place else o for o in operands])
        if not is_same(found, answer):
            return False
    return True


def _alike(one: Any, other: Any, seen: frozenset = frozenset()) -> bool:
    """Whether it makes no difference which of the two a function on the host is, or is given.

    ``seen`` are the pairs that these are parts of.
    """
    pair = (id(one), id(other))
    if one is other or pair in seen:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, types.FunctionType | functools.partial):  # made anew at each call: a lambda
        one, other = _parts(one), _parts(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(
            _alike(part, its, seen | {pair}) for part, its in zip(one, other, strict=True)
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _alike(part, other[key], seen | {pair}) for key, part in one.items()
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, float | np.floating):
        return is_same(one, other)
    if isinstance(one, weakref.ref):  # to what the call before had made for itself, if it is gone
        return one() is None or one() is other()
    if hasattr(one, "__array__") and not isinstance(one, np.generic):
        return False  # the device would have to compare them
    return bool(one == other)


def _parts(function: types.FunctionType | functools.partial) -> list:
    """What tells functions apart: code, defaults and what they have of enclosing functions."""
    if isinstance(function, functools.partial):
        return [function.func, function.args, function.keywords]
    held = []
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # nothing yet
            held.append(cell)
    return [function.__code__, function.__defaults__, function.__kwdefaults__, held]


def is_same(one: Any, other: Any) -> bool:
    """Whether two numbers cannot be told apart: zeros have signs, and nan is like nan."""
    if one == other:
        return one != 0 or math.copysign(1, one) == math.copysign(1, other)
    return one != one and other != other
