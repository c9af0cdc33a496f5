"""What is kept of launches: of each kind how often and how long, and of the first ones when.

A *kind* is a kernel on arrays of certain shapes, in the place where the program ran it. Sums are kept for
each kind, so that a table is right however long the program runs; the times of single launches only as far
as the timeline goes.
"""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clgrad.device import Device
from clgrad.kernels.launch import Plan, Step, touched
from clgrad.memory import Layout, View


def called(device: Device) -> str:
    """What reports call a device: by its name, and by its number if there are others of its kind before."""
    return f"{device.name}, {device.kind}({device.index})" if device.index else device.name


@dataclass(frozen=True)
class Work:
    """What a launch does.

    Attributes
    ----------
    op : str
        The op, or the ops that are merged in the launch; ``"upload"``, ``"download"`` or ``"copy"``;
        ``"prefetch"`` for what data loaders copy beside the program's own queue.
    kernel : str
        Name of the kernel; that of the op where the driver copies.
    shapes : str
        The arrays read and written, as ``float32 (2, 3), float32 (3,) -> float32 (2, 3)``, and the size of
        memory between the launches of one op.
    nbytes : int
        Bytes read and written, each array once.
    flops : int
        Additions and multiplications of a product; 0 for other kernels.
    ranges : str
        Global and local size.
    """

    op: str
    kernel: str
    shapes: str
    nbytes: int
    flops: int = 0
    ranges: str = ""

    @classmethod
    def of_step(cls, plan: Plan, step: Step, views: Sequence[View]) -> "Work":
        """What a step of a plan does with these arrays."""
        read, written, nbytes, scratch = touched(plan, step, views)
        results = [_listed(written)] if written else []
        results += [f"{scratch:,} bytes of scratch"] if scratch else []
        local = "" if step.local_size is None else f" in groups of {_times(step.local_size)}"
        return cls(
            op=plan.label or step.kernel,
            kernel=step.kernel,
            shapes=f"{_listed(read)} -> {', '.join(results)}".strip(),
            nbytes=nbytes,
            flops=step.flops,
            ranges=f"{_times(step.global_size)} work-items{local}",
        )

    @classmethod
    def of_copy(cls, what: str, view: View) -> "Work":
        """What the driver does with an array; to or from the host, the device's memory is crossed once."""
        times = 2 if what == "copy" else 1
        return cls(op=what, kernel=what, shapes=_named(view.layout), nbytes=times * view.nbytes)


def _listed(layouts: Sequence[Layout]) -> str:
    """Layouts in a row, of those that repeat how often."""
    parts: list[list[Any]] = []
    for x in layouts:
        if parts and parts[-1][0] is x:
            parts[-1][1] += 1
        else:
            parts.append([x, 1])
    return ", ".join([_named(x) if n == 1 else f"{n} x {_named(x)}" for x, n in parts])


def _named(x: Layout) -> str:
    return f"{x.dtype} {x.shape}"


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


@dataclass
class Kind:
    """Launches of the same work in the same place of the program, counted.

    Attributes
    ----------
    work : Work
    device : Device
    scope : str
        Names of the scopes around, from the outermost, with ``/`` between them.
    count : int
    total, least, most : int
        Nanoseconds on the device.
    """

    work: Work
    device: Device
    scope: str
    count: int = 0
    total: int = 0
    least: int = field(default=1 << 62)
    most: int = 0

    def add(self, nanoseconds: int) -> None:
        """Count a launch."""
        self.count += 1
        self.total += nanoseconds
        self.least = min(self.least, nanoseconds)
        self.most = max(self.most, nanoseconds)


class Launch(NamedTuple):
    """A launch on the timeline. Times are nanoseconds since the profile began.

    Attributes
    ----------
    op, kernel, shapes, nbytes, flops, ranges
        See :class:`Work`.
    scope : str
        See :class:`Kind`.
    device : str
        Name of the device.
    thread : int
        Identifier of the thread that enqueued it.
    begun, enqueued : int
        When the host began to set its arguments, and when the call that enqueues it returned.
    queued, submitted, started, ended : int
        As the device says, on the host's clock.
    memory : int
        Bytes in use in the stream's pool when it was enqueued.
    is_beside : bool
        Whether it went through a queue beside that of its thread, as copies of data loaders do.
    """

    op: str
    kernel: str
    shapes: str
    nbytes: int
    flops: int
    ranges: str
    scope: str
    device: str
    thread: int
    begun: int
    enqueued: int
    queued: int
    submitted: int
    started: int
    ended: int
    memory: int
    is_beside: bool = False

    @property
    def duration(self) -> int:
        """Nanoseconds on the device."""
        return self.ended - self.started


class Gap(NamedTuple):
    """Time in which a queue had nothing to run.

    Attributes
    ----------
    started, ended : int
        Nanoseconds since the profile began.
    host : int
        Nanoseconds of it in which nothing had been enqueued: the device waited for the program.
    before, after : Kind
        What ran before it and after it.
    """

    started: int
    ended: int
    host: int
    before: Kind
    after: Kind

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.ended - self.started


class Row(NamedTuple):
    """The numbers of a launch (see :class:`Launch`); ``kind`` says which of all kinds it is."""

    kind: int
    begun: int
    enqueued: int
    queued: int
    submitted: int
    started: int
    ended: int
    memory: int


class Queue(NamedTuple):
    """The launches of one queue in their order: of a thread's stream, or of what it copies beside."""

    device: Device
    thread: int
    is_beside: bool
    rows: list[Row]

    def title(self, threads: Mapping[int, str]) -> str:
        """What reports call it, by the names of threads."""
        whose = threads.get(self.thread, str(self.thread))
        return f"copies of {whose}" if self.is_beside else f"queue of {whose}"


class Columns:
    """Rows of numbers, at a few bytes a number."""

    def __init__(self, limit: int) -> None:
        self._numbers = array("q")
        self._limit = limit * len(Row._fields)
        #: Rows that came when there was no room any more.
        self.left_out = 0

    def append(self, row: Row) -> None:
        """Add a row, if there is room."""
        if len(self._numbers) < self._limit:
            self._numbers.extend(row)
        else:
            self.left_out += 1

    def __len__(self) -> int:
        return len(self._numbers) // len(Row._fields)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        width = len(Row._fields)
        return zip(*[self._numbers[i::width] for i in range(width)], strict=True)


@dataclass
class Idleness:
    """How a queue spent its time, in nanoseconds.

    Attributes
    ----------
    busy : int
        A launch was running.
    host : int
        Nothing was enqueued: the device waited for the program.
    latency : int
        Something was enqueued, and had not begun to run.
    """

    busy: int = 0
    host: int = 0
    latency: int = 0

    @property
    def total(self) -> int:
        """From the beginning of the first launch to the end of the last."""
        return self.busy + self.host + self.latency

    def share(self, part: int) -> float:
        """A part of the time, as a fraction."""
        return part / self.total if self.total else math.nan
