"""Cells that learn nothing themselves: dropout, and changes to another cell."""

from collections.abc import Callable
from typing import Any

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.rnn.containers import BidirectionalCell, SequentialRNNCell
from clgrad.gluon.rnn.recurrent_cell import HybridRecurrentCell, RecurrentCell
from clgrad.gluon.rnn.sequences import ARRAYS, Steps, arranged, masked, steps_of, time_axis


class DropoutCell(HybridRecurrentCell):
    """In training, sets elements of the input to 0 at random and divides the rest by 1 - rate.

    Parameters
    ----------
    rate : float
        The share of elements that are set to 0.
    axes : tuple of int, default ()
        Axes along which all elements share one fate.
    """

    def __init__(self, rate, axes=(), prefix=None, params=None):
        super().__init__(prefix, params)
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise argument_error("DropoutCell", "rate", repr(rate), "0 <= rate < 1")
        self._rate, self._axes = rate, axes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rate={self._rate}, axes={self._axes})"

    def _alias(self) -> str:
        return "dropout"

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """It has none."""
        return []

    def hybrid_forward(self, F, inputs, states):
        """Drop elements where training."""
        if self._rate > 0:
            inputs = F.Dropout(inputs, p=self._rate, axes=self._axes)
        return inputs, states

    def unroll(
        self,
        length: int | None,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: NDArray | None = None,
    ) -> tuple[Steps, list]:
        """Drop elements of the whole sequence: see :meth:`RecurrentCell.unroll`."""
        axis = time_axis(layout)
        count = len(steps_of(length, inputs, axis))
        sequence = arranged(inputs, axis, merge_outputs, count)
        if isinstance(sequence, ARRAYS):
            return self(sequence, begin_state or [])
        return super().unroll(length, sequence, begin_state, layout, merge_outputs)


class ModifierCell(HybridRecurrentCell):
    """A cell that changes what another one does, which is then not to be called by itself any more.

    Parameters
    ----------
    base_cell : RecurrentCell
    """

    def __init__(self, base_cell):
        if not isinstance(base_cell, RecurrentCell):
            given = type(base_cell).__name__
            raise OperatorTypeError(
                f"{type(self).__name__}: base_cell is {given}; accepted: a RecurrentCell"
            )
        base_cell._refuse_modified()
        base_cell._modified = True
        super().__init__(prefix=base_cell.prefix + self._alias(), params=None)
        self.base_cell = base_cell

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_cell})"

    @property
    def params(self):
        """The parameters of the cell that is changed."""
        return self.base_cell.params

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """The states of the cell that is changed."""
        return self.base_cell.state_info(batch_size)

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list[NDArray]:
        """States to begin with: see :meth:`RecurrentCell.begin_state`."""
        self._refuse_modified()
        self.base_cell._modified = False
        try:
            return self.base_cell.begin_state(batch_size, func=func, **kwargs)
        finally:
            self.base_cell._modified = True


class ZoneoutCell(ModifierCell):
    """In training, lets elements of output and states keep their values of the step before, at random.

    Krueger et al., Zoneout: Regularizing RNNs by randomly preserving hidden activations, 2016.

    Parameters
    ----------
    base_cell : RecurrentCell
        None that runs in both directions.
    zoneout_outputs, zoneout_states : float, default 0
        The share of elements that keep their values.
    """

    def __init__(self, base_cell, zoneout_outputs=0.0, zoneout_states=0.0):
        if _is_bidirectional(base_cell):
            accepted = "cells that can be stepped: put a ZoneoutCell around those inside"
            raise argument_error("ZoneoutCell", "base_cell", "a BidirectionalCell", accepted)
        super().__init__(base_cell)
        self.zoneout_outputs, self.zoneout_states = zoneout_outputs, zoneout_states

    def __repr__(self) -> str:
        shares = f"p_out={self.zoneout_outputs}, p_state={self.zoneout_states}"
        return f"{type(self).__name__}({shares}, {self.base_cell})"

    def _alias(self) -> str:
        return "zoneout"

    def reset(self) -> None:
        """Forget the output of the step before."""
        super().reset()
        self._previous: NDArray | None = None

    def hybrid_forward(self, F, inputs, states):
        """One step."""
        output, after = self.base_cell(inputs, states)

        def mixed(new, old, share):
            if share == 0:
                return new
            return F.where(F.Dropout(F.ones_like(new), p=share), new, old)

        previous = F.zeros_like(output) if self._previous is None else self._previous
        output = mixed(output, previous, self.zoneout_outputs)
        self._previous = output
        after = [mixed(new, old, self.zoneout_states) for new, old in zip(after, states, strict=True)]
        return output, after

    def _call_cached(self, *args):
        # A cell with a memory of its own cannot be compiled as a function of its inputs.
        return self.forward(*args)


def _is_bidirectional(cell: Any) -> bool:
    if isinstance(cell, SequentialRNNCell):
        return any(map(_is_bidirectional, cell._children.values()))
    return isinstance(cell, BidirectionalCell)


class ResidualCell(ModifierCell):
    """Adds the input to the output (Wu et al., Google's neural machine translation system, 2016).

    Parameters
    ----------
    base_cell : RecurrentCell
        One whose output has the size of its input.
    """

    def hybrid_forward(self, F, inputs, states):
        """One step."""
        output, states = self.base_cell(inputs, states)
        return output + inputs, states

    def unroll(
        self,
        length: int | None,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: NDArray | None = None,
    ) -> tuple[Steps, list]:
        """Run the cell, and add the sequence: see :meth:`RecurrentCell.unroll`."""
        self.reset()
        axis = time_axis(layout)
        steps = steps_of(length, inputs, axis)
        self.base_cell._modified = False
        try:
            outputs, states = self.base_cell.unroll(
                length, inputs, begin_state, layout, merge_outputs, valid_length
            )
        finally:
            self.base_cell._modified = True
        added: Steps = steps if valid_length is None else masked(steps, valid_length, axis)
        added = arranged(added, axis, isinstance(outputs, ARRAYS), len(steps))
        if isinstance(outputs, ARRAYS):
            return outputs + added, states
        return [a + b for a, b in zip(outputs, added, strict=True)], states
