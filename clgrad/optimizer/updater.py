"""The states of many parameters: steps of all of them, and states as bytes."""

from typing import Any

from clgrad import deferred, nested
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.optimizer.base import Optimizer
from clgrad.optimizer.states import dump, load, restoration


class Updater:
    """An optimizer with the states of the parameters that it steps.

    Parameters
    ----------
    optimizer : Optimizer

    Examples
    --------
    >>> import clgrad as mx
    >>> update = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=0.5, momentum=0.9))
    >>> weight = mx.nd.ones((2,))
    >>> for _ in range(2):
    ...     update(0, mx.nd.ones((2,)), weight)
    >>> weight.asnumpy()
    array([-0.45, -0.45], dtype=float32)
    """

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.states: dict[Any, Any] = {}
        #: Whether the state of a parameter is on the parameter's device.
        self.states_synced: dict[Any, bool] = {}

    @property
    def aggregate_updates(self) -> bool:
        """Whether the optimizer takes lists of parameters."""
        return self.optimizer.aggregate_num > 0

    def __call__(self, index, grad, weight) -> None:
        """Step a parameter in place, or several given as lists.

        Parameters
        ----------
        index : int or list of int
        grad, weight : NDArray or list of NDArray
        """
        if not isinstance(index, list | tuple):
            index, grad, weight = [index], [grad], [weight]
        if not len(index) == len(grad) == len(weight):
            given = f"{len(index)}, {len(grad)} and {len(weight)}"
            raise argument_error("Updater", "index, grad, weight", given, "as many of each")
        if not index:
            return
        deferred.host(self.optimizer._set_current_context, str(weight[0].context))
        for i, w in zip(index, weight, strict=True):
            if i not in self.states:
                self.states[i] = self.optimizer.create_state_multi_precision(i, w)
            elif not self.states_synced[i]:
                self.states[i] = self.sync_state_context(self.states[i], w.context)
            self.states_synced[i] = True
        members = list(zip(index, weight, grad, strict=True))
        if not self.aggregate_updates:
            for i, w, g in members:
                self.optimizer.update_multi_precision(i, w, g, self.states[i])
            return
        size = self.optimizer.aggregate_num
        for dtype in dict.fromkeys(w._view.dtype for w in weight):
            same = [m for m in members if m[1]._view.dtype == dtype]
            for start in range(0, len(same), size):
                indices, weights, grads = (list(c) for c in zip(*same[start : start + size], strict=True))
                own = [self.states[i] for i in indices]
                self.optimizer.update_multi_precision(indices, weights, grads, own)

    def sync_state_context(self, state, context):
        """The state with its arrays on a device."""
        return nested.replaced(state, lambda s: s.as_in_context(context) if isinstance(s, NDArray) else s)

    def get_states(self, dump_optimizer: bool = False) -> bytes:
        """The states as bytes, in MXNet's format of arrays, with a description in JSON beside them.

        Parameters
        ----------
        dump_optimizer : bool
            Keep the optimizer's numbers as well: learning rates, counts of updates, the scheduler's.
        """
        return dump(self.states, self.optimizer if dump_optimizer else None)

    def set_states(self, states: bytes) -> None:
        """Take states, and the optimizer's numbers where they are there, from :meth:`get_states`.

        Raises
        ------
        MXNetError
            The bytes are something else, damaged, or of another class of optimizer; nothing has changed.
        """
        found, numbers = load(states)
        restored = None if numbers is None else restoration(self.optimizer, numbers)
        self.states, self.states_synced = found, dict.fromkeys(found, False)
        if restored is not None:
            restored()


def get_updater(optimizer: Optimizer) -> Updater:
    """An :class:`Updater` of the optimizer: called with index, gradient and weight, it steps."""
    return Updater(optimizer)
