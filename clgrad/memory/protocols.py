"""What a stream and a storage talk to: launches that wait, profiles, captures, readers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyopencl as cl

if TYPE_CHECKING:
    from clgrad.memory.storage import Storage
    from clgrad.memory.stream import Stream
    from clgrad.memory.view import View


class Waiting(Protocol):
    """Launches that a stream has not enqueued yet."""

    #: The plan of the one launch that has done the work of all of them, once that has happened.
    merged: Any

    def enqueue(self, queue: cl.CommandQueue) -> None:
        """Enqueue them to the stream's queue: given, since whoever asks the stream for it comes here."""

    def keep(self, view: "View") -> Any:
        """What stands for a result on the tape, without holding its memory; None for other arrays."""


class Observer(Protocol):
    """What is told of everything that a stream enqueues: a profile."""

    def begin(self, stream: "Stream", may_exchange: bool = True) -> None:
        """The thread is about to enqueue. The stream's queue may be exchanged now, or if not, not yet."""

    def launched(
        self, stream: "Stream", plan: Any, step: Any, views: "Sequence[View]", event: cl.Event
    ) -> None:
        """A step of a plan was enqueued, with these views as the plan's arrays."""

    def copied(self, stream: "Stream", what: str, view: "View", event: cl.Event) -> None:
        """An array was copied: ``what`` is ``"upload"``, ``"download"`` or ``"copy"``."""

    def beside(self) -> "LaneObserver | None":
        """Who is told of what the calling thread copies to the device beside the stream, if anybody is."""


class LaneObserver(Protocol):
    """What is told of copies beside a stream (:class:`clgrad.transfer.Lane`)."""

    def begin(self) -> cl.CommandQueue | None:
        """The thread is about to copy; the queue to take instead of its own, if any."""

    def copied(self, view: "View", event: cl.Event) -> None:
        """An array was copied to the device."""


class Recorder(Protocol):
    """What keeps the work of a stream while a function is captured (:mod:`clgrad.graph`)."""

    def launched(self, plan: Any, inputs: Sequence["View"], outputs: Sequence["View"], numbers) -> Sequence:
        """Keep a plan's launches; the numbers as kernels take them."""

    def copied(self, source: "View", target: "View") -> None:
        """Keep a copy."""

    def uploaded(self, host: np.ndarray, target: "View") -> None:
        """Numbers from the host were written to an array."""

    def swapped(self, one: "Storage", other: "Storage") -> None:
        """Two storages have exchanged their memory."""

    def refuse_read(self) -> None:
        """Raise: a value is about to be read on the host."""

    def deciding(self) -> AbstractContextManager[None]:
        """A scope in which a condition is read that a branch depends on; raises where none may."""


class Reader(Protocol):
    """Something that will read a storage, and wants to know before it is written to."""

    def settle(self) -> None:
        """Read it now."""
