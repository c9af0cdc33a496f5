"""Results that only gradient rules will read: kept in memory, or as formulas of what they were made of.

Where a chain of elementwise ops is differentiated, the rules read what lies between the ops. To compute it
again from the arrays that the chain began with, in the gradient's own kernel, takes less time than to store
and load it, and no memory. But these arrays may be written to before backward comes, and some rules need
the result in memory; then it is computed into memory after all.
"""

import weakref
from collections.abc import Sequence

from clgrad import tape
from clgrad.array import NDArray
from clgrad.memory import Stream, View
from clgrad.registry.sequence import Product, Sequel


class Kept:
    """What the tape has of a result: its memory, or how it is made."""

    __slots__ = ("__weakref__", "_origin", "_stream", "_view", "number")

    def __init__(self, stream: Stream, number: int):
        self._stream = stream
        #: Which of the calls it is the result of.
        self.number = number
        # Neither as long as nothing has been launched, then one of them.
        self._view: View | None = None
        self._origin: Origin | None = None

    def is_at(self, view: View) -> None:
        """Tell where the result was stored."""
        self._view = view

    def is_made_by(self, origin: "Origin") -> None:
        """Tell how to make the result, which was not stored."""
        self._origin = origin

    @property
    def origin(self) -> "Origin | None":
        """What makes the result, if it is not in memory."""
        if self._view is None and self._origin is None:
            self._stream.flush()
        return self._origin

    def load(self) -> View:
        """The result in memory."""
        origin = self.origin
        if origin is not None:
            self._view, self._origin = origin.compute(self.number), None
        assert self._view is not None, "what was launched has been settled"
        return self._view


class Origin:
    """Calls whose results were not all stored, and the arrays that they have read."""

    __slots__ = ("__weakref__", "_kept", "leaves", "numbers", "sequence")

    def __init__(self, sequence: Sequel, leaves: Sequence[View], numbers: Sequence[float]):
        self.sequence = sequence
        self.leaves = list(leaves)
        self.numbers = list(numbers)
        self._kept: weakref.WeakSet[Kept] = weakref.WeakSet()
        for view in leaves:
            view.storage.add_reader(self)

    def adopt(self, kept: Kept) -> None:
        """Let a result be made from here."""
        kept.is_made_by(self)
        self._kept.add(kept)

    def settle(self) -> None:
        """Compute what depends on the leaves: one of them is about to be written to."""
        for kept in list(self._kept):
            kept.load()

    def compute(self, number: int) -> View:
        """The result of a call, by the calls that it depends on; the next time it is stored at once."""
        self.sequence.stores = True
        calls = self.sequence.calls
        needed = {number}
        for step in range(number, -1, -1):
            if step in needed:
                needed.update(~r for r in calls[step].references if r < 0)
        results: dict[int, NDArray] = {}
        recording = tape.set_recording(False)
        try:
            at = 0
            for step, (op, names, numbers, _, references) in enumerate(calls[: number + 1]):
                given = dict(zip(numbers, self.numbers[at:], strict=False))
                at += len(numbers)
                if step in needed:
                    assert not isinstance(op, Product), "products are stored"
                    arrays = [NDArray(self.leaves[r]) if r >= 0 else results[~r] for r in references]
                    results[step] = op.apply(names, arrays, given)
        finally:
            tape.set_recording(recording)
        view = results[number]._view
        view.storage.stream.flush()
        return view
