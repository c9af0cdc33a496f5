"""What all recurrent cells have: states to begin with, and unrolling over a sequence."""

from collections.abc import Callable, Iterable
from typing import Any

from clgrad import nd, symbol
from clgrad.array import NDArray
from clgrad.errors import OperatorError
from clgrad.gluon.block import Block, HybridBlock
from clgrad.gluon.rnn.sequences import Steps, arranged, last, masked, steps_of, time_axis
from clgrad.symbol import Symbol


def states_from(owner: Block, infos: Iterable[dict], func: Callable, options: dict) -> list[NDArray]:
    """States of the shapes that a cell or layer tells, each made by a function."""
    made = []
    for info in infos:
        described = {key: value for key, value in info.items() if key != "__layout__"}
        made.append(func(**(described | options)))
    return made


class RecurrentCell(Block):
    """One step of a recurrent net: ``output, states = cell(input, states)``.

    A cell of one's own has ``state_info`` and ``forward(inputs, states)``.
    """

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix, params)
        #: Whether another cell has taken this one in, and calls it.
        self._modified = False
        self.reset()

    def reset(self) -> None:
        """Forget what a cell keeps from one step to the next: before another sequence begins."""
        for cell in self._children.values():
            if isinstance(cell, RecurrentCell):
                cell.reset()

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """Shape and layout of each state."""
        raise NotImplementedError(f"{type(self).__name__} has no state_info")

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list[NDArray]:
        """States to begin with.

        Parameters
        ----------
        batch_size : int
        func : callable, default nd.zeros
            Makes a state, called with ``shape`` and the other arguments.
        **kwargs
            For ``func``, such as ``ctx`` and ``dtype``.
        """
        self._refuse_modified()
        return states_from(self, self.state_info(batch_size), func, kwargs)

    def _refuse_modified(self) -> None:
        if self._modified:
            raise OperatorError(
                f"{self.name}: another cell, such as a ZoneoutCell, has taken this one in; accepted: calls "
                "of that one"
            )

    def _begin(self, begin_state: Any, first: Any) -> list:
        """The states to begin a sequence with whose first step is given."""
        if begin_state is not None:
            return begin_state
        if isinstance(first, Symbol):
            column = symbol.zeros_like(symbol.slice_axis(first, axis=1, begin=0, end=1))
            # Of as many samples as the step has, whatever their number.
            return self.begin_state(
                func=lambda shape, **kwargs: symbol.broadcast_axis(column, axis=1, size=shape[1])
            )
        with first.context:
            return self.begin_state(batch_size=first.shape[0], dtype=first.dtype)

    def unroll(
        self,
        length: int | None,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: NDArray | None = None,
    ) -> tuple[Steps, list]:
        """Run the cell over a sequence.

        Parameters
        ----------
        length : int
            The number of steps.
        inputs : NDArray, or list of NDArray
            (batch, steps, features) or, with the layout 'TNC', (steps, batch, features); or a list of
            (batch, features).
        begin_state : list of NDArray, optional
            Zeros by default.
        layout : str, default 'NTC'
        merge_outputs : bool, optional
            True for one array, False for a list of steps; by default whatever is there already.
        valid_length : NDArray, optional
            How many steps of each sample count: outputs behind are 0, and states are those of the last one.

        Returns
        -------
        outputs : NDArray, or list of NDArray
        states : list of NDArray

        Raises
        ------
        OperatorError
            Another number of steps, or another layout.
        """
        self.reset()
        axis = time_axis(layout)
        steps = steps_of(length, inputs, axis)
        states = self._begin(begin_state, steps[0])
        outputs, all_states = [], []
        for step in steps:
            output, states = self(step, states)
            outputs.append(output)
            all_states.append(states)
        if valid_length is None:
            return arranged(outputs, axis, merge_outputs), states
        cut = masked(outputs, valid_length, axis)
        return arranged(cut, axis, merge_outputs, len(steps)), last(all_states, valid_length)


class HybridRecurrentCell(RecurrentCell, HybridBlock):
    """A cell that can be hybridized: it has ``hybrid_forward(F, inputs, states, **parameters)``."""

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)

    def hybrid_forward(self, F, x, *args, **kwargs):
        """One step; every cell has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no hybrid_forward")
