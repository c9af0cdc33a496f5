"""Cells made of cells: one after the other, and in both directions."""

from collections.abc import Callable
from typing import Any

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.block import indent
from clgrad.gluon.rnn.recurrent_cell import HybridRecurrentCell, RecurrentCell
from clgrad.gluon.rnn.sequences import (
    ARRAYS,
    Steps,
    arranged,
    backwards,
    joined,
    masked,
    namespace,
    steps_of,
    time_axis,
)


def _cells(owner: RecurrentCell) -> list[Any]:
    """The children, in their order."""
    return list(owner._children.values())


def _shared_out(owner: RecurrentCell, states: list) -> list[list]:
    """The states of each child."""
    parts, start = [], 0
    for cell in _cells(owner):
        count = len(cell.state_info())
        parts.append(list(states[start : start + count]))
        start += count
    if start != len(states):
        raise argument_error(owner.name, "states", f"{len(states)} arrays", f"{start}, as state_info tells")
    return parts


class SequentialRNNCell(RecurrentCell):
    """Cells one after the other, each fed with the output of the one before.

    Examples
    --------
    >>> import clgrad as mx
    >>> stack = mx.gluon.rnn.SequentialRNNCell()
    >>> with stack.name_scope():
    ...     stack.add(mx.gluon.rnn.LSTMCell(4))
    ...     stack.add(mx.gluon.rnn.DropoutCell(0.2))
    ...     stack.add(mx.gluon.rnn.GRUCell(3))
    >>> stack.initialize()
    >>> outputs, states = stack.unroll(5, mx.nd.ones((2, 5, 6)), merge_outputs=True)
    >>> outputs.shape, len(states)
    ((2, 5, 3), 3)
    """

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)

    def __repr__(self) -> str:
        lines = "\n".join(f"({name}): {indent(repr(cell))}" for name, cell in self._children.items())
        return f"{type(self).__name__}(\n{lines}\n)"

    def __getitem__(self, index: int) -> RecurrentCell:
        return _cells(self)[index]

    def __len__(self) -> int:
        return len(self._children)

    def add(self, cell: Any) -> None:
        """Put a cell behind the last one."""
        if not isinstance(cell, RecurrentCell):
            given = type(cell).__name__
            raise OperatorTypeError(f"{self.name}.add: cell is {given}; accepted: a RecurrentCell")
        self.register_child(cell)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """The states of all cells, in their order."""
        return [info for cell in _cells(self) for info in cell.state_info(batch_size)]

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list[NDArray]:
        """States of all cells to begin with: see :meth:`RecurrentCell.begin_state`."""
        self._refuse_modified()
        return [s for cell in _cells(self) for s in cell.begin_state(batch_size, func=func, **kwargs)]

    def forward(self, inputs, states):
        """One step of each cell."""
        after: list = []
        for cell, own in zip(_cells(self), _shared_out(self, states), strict=True):
            inputs, own = cell(inputs, own)
            after += own
        return inputs, after

    def unroll(
        self,
        length: int | None,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: NDArray | None = None,
    ) -> tuple[Steps, list]:
        """Run each cell over what the one before gives: see :meth:`RecurrentCell.unroll`."""
        self.reset()
        axis = time_axis(layout)
        first = steps_of(length, inputs, axis)[0]
        parts = _shared_out(self, self._begin(begin_state, first))
        after: list = []
        for number, (cell, own) in enumerate(zip(_cells(self), parts, strict=True)):
            merge = merge_outputs if number == len(self) - 1 else None
            inputs, own = cell.unroll(length, inputs, own, layout, merge, valid_length)
            after += own
        return inputs, after


class HybridSequentialRNNCell(SequentialRNNCell, HybridRecurrentCell):
    """:class:`SequentialRNNCell` that can be hybridized: of hybrid cells only."""


class BidirectionalCell(HybridRecurrentCell):
    """Two cells, one of which runs from the last step to the first; it cannot be stepped, only unrolled.

    Parameters
    ----------
    l_cell, r_cell : RecurrentCell
        The one that runs forwards, and the one that runs backwards.
    output_prefix : str, default 'bi_'
        Accepted for MXNet's sake.

    Examples
    --------
    >>> import clgrad as mx
    >>> cell = mx.gluon.rnn.BidirectionalCell(mx.gluon.rnn.GRUCell(4), mx.gluon.rnn.GRUCell(4))
    >>> cell.initialize()
    >>> cell.unroll(5, mx.nd.ones((2, 5, 3)), merge_outputs=True)[0].shape
    (2, 5, 8)
    """

    def __init__(self, l_cell, r_cell, output_prefix="bi_"):
        super().__init__(prefix="", params=None)
        self.register_child(l_cell, "l_cell")
        self.register_child(r_cell, "r_cell")

    def __repr__(self) -> str:
        left, right = _cells(self)
        return f"{type(self).__name__}(forward={left}, backward={right})"

    def __call__(self, *args):
        """Refused: the backward cell begins with the last step."""
        raise NotImplementedError(f"{type(self).__name__} cannot be called step by step; call unroll")

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """The states of both cells."""
        return [info for cell in _cells(self) for info in cell.state_info(batch_size)]

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list[NDArray]:
        """States of both cells to begin with: see :meth:`RecurrentCell.begin_state`."""
        self._refuse_modified()
        return [s for cell in _cells(self) for s in cell.begin_state(batch_size, func=func, **kwargs)]

    def unroll(
        self,
        length: int | None,
        inputs: Any,
        begin_state: Any = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
        valid_length: NDArray | None = None,
    ) -> tuple[Steps, list]:
        """Run both cells, and join their outputs along the last axis: see :meth:`RecurrentCell.unroll`."""
        self.reset()
        axis = time_axis(layout)
        steps = steps_of(length, inputs, axis)
        own = _shared_out(self, self._begin(begin_state, steps[0]))
        left, right = _cells(self)
        reverse = backwards(steps, valid_length)
        forward, l_states = left.unroll(len(steps), steps, own[0], layout, merge_outputs, valid_length)
        back, r_states = right.unroll(len(steps), reverse, own[1], layout, False, valid_length)
        back = backwards(back, valid_length)
        ops = namespace(forward)
        if isinstance(forward, ARRAYS):
            outputs: Steps = ops.concat(forward, joined(back, axis), dim=2)
        else:
            outputs = [ops.concat(a, b, dim=1) for a, b in zip(forward, back, strict=True)]
        if valid_length is not None:
            cut = masked(outputs, valid_length, axis)
            outputs = arranged(cut, axis, merge_outputs, len(steps))
        return outputs, [*l_states, *r_states]
