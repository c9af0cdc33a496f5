"""Keeps what a stream enqueues, as a graph."""

import contextlib
import gc
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clgrad import deferred, dtypes, memory
from clgrad.deferred import Number, Numbers
from clgrad.errors import CaptureError
from clgrad.graph.ir import Block, Copy, Graph, Launch, Value
from clgrad.kernels.launch import Plan
from clgrad.memory import Storage, Stream, View

#: Lines in here are not the user's.
_PACKAGE = str(Path(memory.__file__).parents[1])


class Recorder:
    """Records a stream's work while a function runs.

    Parameters
    ----------
    stream : Stream
    numbers : Numbers
    may_branch : bool, default False
        Whether branches may depend on values, by ops of control flow; then there is nothing to replay.
    """

    def __init__(self, stream: Stream, numbers: Numbers, may_branch: bool = False):
        self._stream = stream
        self._may_branch = may_branch
        #: Whether a branch has depended on a value.
        self.branches = False
        #: Memory with a later serial was made by the function.
        self._start = memory.last_serial()
        self.graph = Graph([], numbers)
        #: By serial of a storage: the block that it had at first, and the one that it has at present, since
        #: storages may exchange their memory.
        self._homes: dict[int, Block] = {}
        self._blocks: dict[int, Block] = {}
        #: Where in the storage an argument's block begins.
        self._starts: dict[Block, int] = {}
        #: Of the arrays that the function made: the storage, and the line where it was first written.
        self._made: list[tuple[weakref.ref[Storage], str]] = []
        #: The bytes that came from the host, and where.
        self.uploads: list[tuple[bytes, str]] = []

    def argument(self, view: View, storages: Iterable[Storage]) -> None:
        """Let a block stand for the memory of an argument, from where a view begins, in some storages."""
        block = Block("argument", view.storage.nbytes, len(self.graph.arguments))
        self.graph.arguments.append(block)
        self._starts[block] = view.offset * view.layout.dtype.itemsize
        for storage in storages:
            self._homes[storage.serial] = self._blocks[storage.serial] = block

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A scope whose work is not recorded."""
        self._stream.recorder = None
        try:
            yield
        finally:
            self._stream.recorder = self

    def reaches(self, storage: Storage) -> bool:
        """Whether what ran has read or written a storage."""
        return storage.serial in self._blocks

    # What the stream tells (see memory.Recorder)

    def launched(self, plan: Plan, inputs: Sequence[View], outputs: Sequence[View], numbers) -> list:
        """Keep a plan's launches; the numbers as kernels take them."""
        self._refuse_host()
        if plan.launches:
            reads = tuple([self.value(v) for v in inputs])
            writes = tuple([self.value(v) for v in outputs])
            launch = Launch(plan, reads, writes, tuple(numbers), users_line())
            self.graph.instructions.append(launch)
        return [n.value if isinstance(n, Number) else n for n in numbers]

    def copied(self, source: View, target: View) -> None:
        """Keep a copy."""
        self._refuse_host()
        copy = Copy(self.value(source), self.value(target), users_line())
        self.graph.instructions.append(copy)

    def uploaded(self, host: np.ndarray, target: View) -> None:
        """Keep numbers from the host as an array of the graph's."""
        self._refuse_host()
        constant = memory.empty(self._stream, *target.layout)
        with self.paused():
            memory.upload(self._stream, host, constant)
        self.uploads.append((np.ascontiguousarray(host).tobytes(), users_line()))
        block = Block("outer", constant.nbytes, len(self._blocks), constant.storage)
        block.is_constant = True
        self.graph.constants.append(constant.storage)
        source = Value(block, 0, constant.layout)
        self.graph.instructions.append(Copy(source, self.value(target), users_line()))

    def swapped(self, one: Storage, other: Storage) -> None:
        """Two storages have exchanged their memory."""
        first, second = self._block(one), self._block(other)
        self._blocks[one.serial], self._blocks[other.serial] = second, first

    def refuse_read(self) -> None:
        """Raise: a replay does not wait for values."""
        self._refuse_host()
        raise CaptureError(
            f"{users_line()}: a captured function reads a value on the host (asnumpy, asscalar, float, "
            "print, a condition, ...), which a replay cannot do; return the array, and read it outside"
        )

    def deciding(self) -> contextlib.AbstractContextManager[None]:
        """A scope in which a condition is read that a branch depends on; raises where none may."""
        if not self._may_branch:
            self.refuse_read()
        self._refuse_host()
        self.branches = True
        return self.paused()

    def _refuse_host(self) -> None:
        if deferred.current() is not self.graph.numbers:
            raise CaptureError(
                f"{users_line()}: a function handed to clgrad.host works on arrays, while a replay "
                "calls it before anything else; accepted: functions that work on the host alone"
            )

    # Blocks

    def value(self, view: View) -> Value:
        """What stands for an array."""
        block = self._block(view.storage)
        start = view.offset * view.layout.dtype.itemsize - self._starts.get(block, 0)
        return Value(block, start, view.layout)

    def _block(self, storage: Storage) -> Block:
        block = self._blocks.get(storage.serial)
        if block is None:
            if storage.serial <= self._start:
                block = Block("outer", storage.nbytes, len(self._blocks), storage)
            else:
                block = Block("local", storage.nbytes, number=len(self._made))
                self._made.append((weakref.ref(storage), users_line()))
            self._blocks[storage.serial] = self._homes[storage.serial] = block
        return block

    # The end

    def settle(self, outputs: Sequence[View]) -> None:
        """Note what is handed out; copy memory that was exchanged for an outer array's to where that is."""
        graph = self.graph
        graph.outputs = [self.value(v) for v in outputs]
        for serial, home in self._homes.items():
            block = self._blocks[serial]
            if block is not home and not home.is_local:
                layout = memory.Layout((home.nbytes,), dtypes.uint8)
                start = -self._starts.get(home, 0)
                graph.instructions.append(Copy(Value(block, 0, layout), Value(home, start, layout)))
                graph.outputs = [v.moved(home, start) if v.block is block else v for v in graph.outputs]
                self._blocks[serial] = home

    def kept_outside(self, outputs: Sequence[View]) -> list[str]:
        """Where arrays were made that somebody else than the caller still holds."""
        kept = self._held_beside(outputs)
        return self._held_beside(outputs) if kept and gc.collect() else kept

    def _held_beside(self, outputs: Sequence[View]) -> list[str]:
        handed = {id(v.storage) for v in outputs}
        return [
            line
            for reference, line in self._made
            if (storage := reference()) is not None and id(storage) not in handed
        ]


class Elsewhere:
    """Told of what a function that is being captured does on other devices: refuses it."""

    def _refuse(self, *_) -> Any:
        raise CaptureError(
            f"{users_line()}: a captured function works on another device than that of its arguments (or, "
            "without arguments, of the current context), while a replay is of one device; accepted: a call "
            "for each device, within its context"
        )

    launched = copied = uploaded = swapped = refuse_read = deciding = _refuse


def users_line() -> str:
    """Where in the user's program this thread is: ``file:line``."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
