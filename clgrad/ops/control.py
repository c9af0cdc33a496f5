"""Control flow: loops and branches over arrays, run step by step in Python.

What the bodies compute is recorded op by op like any computation, so gradients of every order follow, and
a condition is read by the host each time that it decides. Arrays may stand in nested lists and tuples.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.ops.creation import zeros
from clgrad.ops.shape import concat, expand_dims, stack, take_slice, with_shape
from clgrad.registry import composite


def _flatten(op: str, argument: str, nest) -> list[NDArray]:
    """The arrays of a nest of lists and tuples, in order."""
    if isinstance(nest, NDArray):
        return [nest]
    if not isinstance(nest, list | tuple):
        raise OperatorTypeError(
            f"{op}: {argument} holds {type(nest).__name__}; accepted: NDArrays, in lists or tuples"
        )
    return [array for part in nest for array in _flatten(op, argument, part)]


def _check_callable(op: str, **functions) -> None:
    for argument, function in functions.items():
        if not callable(function):
            raise OperatorTypeError(f"{op}: {argument} is {type(function).__name__}; accepted: a function")


def _pair(op: str, function: str, second: str, result) -> tuple[Any, Any]:
    """What a step gives: its outputs, and what the next one starts from."""
    if not isinstance(result, list | tuple) or len(result) != 2:
        raise argument_error(op, f"{function}'s result", type(result).__name__, f"(outputs, {second})")
    return result[0], result[1]


def _like(nest, arrays: list[NDArray]) -> Any:
    """The arrays, taken from the front of their list, in the form of a nest; tuples become lists."""
    return arrays.pop(0) if isinstance(nest, NDArray) else [_like(part, arrays) for part in nest]


def _row(nest, i: int) -> Any:
    """Element ``i`` along axis 0 of every array of a nest; of a vector, of shape (1,)."""
    if not isinstance(nest, NDArray):
        return [_row(part, i) for part in nest]
    rest = nest.shape[1:]
    part = take_slice(nest, (i,) + (0,) * len(rest), (1,) * nest.ndim, (1, *rest))
    return with_shape(part, shape=rest or (1,))


def _truth(op: str, argument: str, value) -> bool:
    """A condition as the host sees it."""
    if not isinstance(value, NDArray):
        return bool(value)
    if value.size != 1:
        raise argument_error(op, argument, f"of shape {value.shape}", "one element")
    recorder = value._view.storage.stream.recorder
    with contextlib.nullcontext() if recorder is None else recorder.deciding():
        return bool(value)


def _step_outputs(op: str, nest, steps: list[list[NDArray]]) -> list[NDArray]:
    """The arrays that a body put out, of which each step must have as many."""
    arrays = _flatten(op, "the body's output", nest)
    if steps and len(arrays) != len(steps[0]):
        given = f"{len(arrays)} arrays, after steps of {len(steps[0])}"
        raise argument_error(op, "the body's output", given, "equally many in each step")
    return arrays


@composite(name="contrib.foreach")
def foreach(body: Callable, data: object, init_states):
    """The outputs of ``body`` for each element of data along axis 0, stacked; and the last states.

    Parameters
    ----------
    body : callable
        ``body(element, states) -> (outputs, states)``.
    data : NDArray or nested list of NDArray
        What is looped over, all of one size along axis 0; ``element`` has the same form.
    init_states : NDArray or nested list of NDArray
        The states that the first step gets.

    Returns
    -------
    outputs : NDArray or nested list of NDArray
        In the form that ``body`` puts them out; [] where there is no element.
    states : NDArray or nested list of NDArray
        Those of the last step.

    Raises
    ------
    OperatorError
        Arrays of data of different sizes along axis 0.
    OperatorTypeError
        Something that is not an array in data, states or outputs.

    Examples
    --------
    >>> import clgrad as mx
    >>> running = lambda x, total: (total + x, total + x)
    >>> outputs, total = mx.nd.contrib.foreach(running, mx.nd.array([1, 2, 3]), mx.nd.zeros((1,)))
    >>> outputs.asnumpy().ravel()
    array([1., 3., 6.], dtype=float32)
    """
    _check_callable("foreach", body=body)
    arrays = _flatten("foreach", "data", data)
    _flatten("foreach", "init_states", init_states)
    sizes = {a.shape[0] if a.shape else 0 for a in arrays}
    if len(sizes) != 1:
        raise argument_error(
            "foreach", "data", [a.shape for a in arrays], "arrays of one size along axis 0"
        )
    states: Any = init_states
    form: Any = []
    steps: list[list[NDArray]] = []
    for i in range(sizes.pop()):
        form, states = _pair("foreach", "body", "states", body(_row(data, i), states))
        steps.append(_step_outputs("foreach", form, steps))
    return _like(form, [stack(*parts) for parts in zip(*steps, strict=True)]), states


@composite(name="contrib.while_loop")
def while_loop(cond: Callable, func: Callable, loop_vars, max_iterations=None):
    """The outputs of ``func``, run while ``cond`` holds, stacked; and the last loop variables.

    Parameters
    ----------
    cond : callable
        ``cond(*loop_vars)`` gives one element, which says whether to go on.
    func : callable
        ``func(*loop_vars) -> (outputs, loop_vars)``; None stands for no outputs.
    loop_vars : NDArray or nested list of NDArray
    max_iterations : int
        The largest number of steps, and the size of the outputs along axis 0: behind the last step, they
        are padded with zeros.

    Returns
    -------
    outputs : NDArray or nested list of NDArray
        In the form that ``func`` puts them out; [] where it never ran.
    loop_vars : NDArray or nested list of NDArray

    Raises
    ------
    OperatorError
        No ``max_iterations``, no loop variable, another number of variables or outputs after a step, or
        a condition of several elements.

    Examples
    --------
    >>> import clgrad as mx
    >>> halve = lambda x: (x, x / 2)
    >>> outputs, x = mx.nd.contrib.while_loop(lambda x: x > 1, halve, mx.nd.array([4]), max_iterations=3)
    >>> outputs.asnumpy().ravel(), x.asnumpy()
    (array([4., 2., 0.], dtype=float32), array([1.], dtype=float32))
    """
    _check_callable("while_loop", cond=cond, func=func)
    try:
        limit = int(max_iterations)
    except (TypeError, ValueError):
        raise argument_error("while_loop", "max_iterations", repr(max_iterations), "a number") from None
    single = isinstance(loop_vars, NDArray)
    variables = [loop_vars] if single else list(loop_vars)
    if not variables:
        raise argument_error("while_loop", "loop_vars", loop_vars, "at least one NDArray")
    form: Any = []
    steps: list[list[NDArray]] = []
    while len(steps) < limit and _truth("while_loop", "cond's result", cond(*variables)):
        form, variables = _iterate(func, variables)
        steps.append(_step_outputs("while_loop", form, steps))
    outputs = [_padded(parts, limit) for parts in zip(*steps, strict=True)]
    return _like(form, outputs), variables[0] if single else variables


def _iterate(func: Callable, variables: list) -> tuple[Any, list]:
    """One step: outputs, and the variables as a list of the same length."""
    form, after = _pair("while_loop", "func", "loop_vars", func(*variables))
    after = [] if after is None else list(after) if isinstance(after, list | tuple) else [after]
    if len(after) != len(variables):
        raise argument_error("while_loop", "func's loop_vars", f"{len(after)}", f"{len(variables)} of them")
    return [] if form is None else form, after


def _padded(parts: tuple[NDArray, ...], size: int) -> NDArray:
    """Arrays of one shape stacked along a new axis 0, followed by zeros up to the size."""
    rows = [expand_dims(part, axis=0) for part in parts]
    if len(rows) < size:
        first = parts[0]
        rows.append(zeros((size - len(rows), *first.shape), ctx=first.context, dtype=first._view.dtype))
    return concat(*rows, dim=0)


@composite(name="contrib.cond")
def cond(pred, then_func: Callable, else_func: Callable):
    """``then_func()`` where ``pred``, of one element, is not 0, else ``else_func()``.

    Parameters
    ----------
    pred : NDArray or number
    then_func, else_func : callable
        Without arguments; what the chosen one returns is the result.

    Raises
    ------
    OperatorError
        ``pred`` has several elements, or none.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.array([3])
    >>> mx.nd.contrib.cond(x > 2, lambda: x * 10, lambda: x).asnumpy()
    array([30.], dtype=float32)
    """
    _check_callable("cond", then_func=then_func, else_func=else_func)
    return then_func() if _truth("cond", "pred", pred) else else_func()
