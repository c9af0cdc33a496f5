"""Marking arrays as variables."""

import weakref
from typing import Protocol

from clgrad.array import NDArray
from clgrad.autograd.gradients import as_list, described, zeros
from clgrad.autograd.scopes import pause
from clgrad.errors import AbsentError, AutogradError
from clgrad.memory import Storage
from clgrad.tape import Variable, state

GRAD_REQS = ("write", "add", "null")


def mark_variables(variables, gradients, grad_reqs="write") -> None:
    """Mark arrays as variables whose gradients backward computes.

    Parameters
    ----------
    variables : NDArray or list of NDArray
    gradients : NDArray or list of NDArray
        Receive the gradients; of the variables' shapes and dtypes.
    grad_reqs : str or list of str
        ``'write'`` overwrites the gradient, ``'add'`` adds to it, ``'null'`` leaves it alone.

    Raises
    ------
    AutogradError
        Lists of different lengths, an unknown request, or a gradient of another shape or dtype.
    """
    variables, gradients = as_list(variables), as_list(gradients)
    requests = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else list(grad_reqs)
    if not len(variables) == len(gradients) == len(requests):
        raise AutogradError(
            f"mark_variables: {len(variables)} variables, {len(gradients)} gradients and "
            f"{len(requests)} grad_reqs given; accepted: equally many"
        )
    for request in requests:
        if request not in GRAD_REQS:
            raise AutogradError(f"grad_req is {request!r}; accepted: {', '.join(GRAD_REQS)}")
    marks: list[tuple[NDArray, Variable]] = []
    for variable, gradient, request in zip(variables, gradients, requests, strict=True):
        if not isinstance(variable, NDArray) or not (request == "null" or isinstance(gradient, NDArray)):
            raise AutogradError(
                f"mark_variables: {described(variable)} with gradient {described(gradient)} given; "
                "accepted: NDArrays"
            )
        view = variable._view
        if request == "null":
            gradient = None
        elif gradient.shape != view.shape or gradient._view.dtype != view.dtype:
            raise AutogradError(
                f"mark_variables: the gradient is {gradient._view.dtype} {gradient.shape}; "
                f"accepted: {view.dtype} {view.shape}, as the variable"
            )
        marks.append((variable, Variable(view.shape, view.dtype, gradient, request)))
    for variable, mark in marks:  # all of them, once it is known that nothing is wrong
        unmark(variable)
        variable._entry = (mark, 0)


def unmark(array: NDArray) -> None:
    """Take an array out of the graph."""
    array._entry = None
    for dependent in _dependents.get(array._view.storage, ()):
        dependent.lose()


class Dependent(Protocol):
    """What depends on which arrays are variables: a recording of a captured function."""

    def lose(self) -> None:
        """An array of a storage that is watched has become a variable, or another one, or none."""


_dependents: weakref.WeakKeyDictionary[Storage, weakref.WeakSet[Dependent]] = weakref.WeakKeyDictionary()


def add_dependent(storage: Storage, dependent: Dependent) -> None:
    """Let something know, as long as it is there, when arrays of a storage are marked."""
    _dependents.setdefault(storage, weakref.WeakSet()).add(dependent)


def attach_grad(variable: NDArray, grad_req: str = "write", stype=None) -> None:
    """Give the array a gradient of zeros for ``backward`` to fill; detaches it from the graph.

    Parameters
    ----------
    variable : NDArray
    grad_req : str
        ``'write'``, ``'add'`` or ``'null'``: see :func:`mark_variables`.
    stype : str, optional
        Only ``'default'`` (dense).
    """
    if stype not in (None, "default"):
        raise AbsentError(f"attach_grad: stype is {stype!r}; accepted: 'default', a dense gradient")
    gradient = None
    if grad_req != "null":
        with pause(train_mode=state.training):
            gradient = zeros(variable.context, variable.shape, variable._view.dtype)
    mark_variables([variable], [gradient], [grad_req])
