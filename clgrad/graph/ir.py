"""What a captured function has enqueued: launches and copies that read and write blocks of memory."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from clgrad.deferred import Numbers
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Storage


class Block:
    """Memory that a graph works on.

    Attributes
    ----------
    kind : str
        ``argument``: given at each replay. ``outer``: an array that was there before and is not an
        argument, such as a parameter. ``local``: the graph's own.
    number : int
        Of an argument, which one.
        Of an outer or local one, to tell it from others.
    reference : weakref.ref of Storage, or None
        Of an outer block: where it is. Weak, since the program may put another array in its place, as
        when parameters are initialised again; then the graph has lost its meaning.
    nbytes : int
    is_constant : bool
        Of an outer block: whether it holds what came from the host while the graph was recorded.
    """

    __slots__ = ("is_constant", "kind", "nbytes", "number", "reference")

    def __init__(self, kind: str, nbytes: int, number: int = 0, storage: Storage | None = None):
        self.kind = kind
        self.nbytes = nbytes
        self.number = number
        self.is_constant = False
        self.reference = None if storage is None else weakref.ref(storage)

    @property
    def storage(self) -> Storage | None:
        """Where an outer block is; None if the array is gone."""
        return None if self.reference is None else self.reference()

    @property
    def is_local(self) -> bool:
        """Whether the memory belongs to the graph alone."""
        return self.kind == "local"

    def __repr__(self) -> str:
        return f"<{self.kind} block {self.number} of {self.nbytes} bytes>"


class Value(NamedTuple):
    """A C-contiguous array in a block, from a byte on."""

    block: Block
    start: int
    layout: Layout

    @property
    def stop(self) -> int:
        """The byte after the last one."""
        return self.start + self.layout.nbytes

    @property
    def is_whole(self) -> bool:
        """Whether the array fills its block."""
        return self.start == 0 and self.layout.nbytes == self.block.nbytes

    def is_same_memory(self, other: "Value") -> bool:
        """Whether both are the same elements, in shapes that may differ."""
        mine, theirs = self.layout, other.layout
        same = self.block is other.block and self.start == other.start
        return same and mine.dtype == theirs.dtype and mine.size == theirs.size

    def overlaps(self, other: "Value") -> bool:
        """Whether some byte belongs to both."""
        return self.block is other.block and max(self.start, other.start) < min(self.stop, other.stop)

    def moved(self, block: Block, start: int = 0) -> "Value":
        """The same array in another block, ``start`` bytes further on."""
        return Value(block, self.start + start, self.layout)


@dataclass(eq=False)
class Launch:
    """A plan's launches, with the arrays that they read and write.

    ``numbers`` are the plan's scalars: numbers, or :class:`clgrad.deferred.Number` where they may change.
    """

    plan: Plan
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    numbers: tuple = ()
    #: Where in the user's program it was enqueued.
    line: str = ""

    @property
    def name(self) -> str:
        """The kernels that run."""
        return " + ".join(step.kernel for step in self.plan.steps)

    @property
    def label(self) -> str:
        """The ops that it does the work of."""
        return self.plan.label or self.name

    @property
    def launches(self) -> int:
        """How many launches it takes."""
        return self.plan.launches


@dataclass(eq=False)
class Copy:
    """One array copied to another of the same size."""

    source: Value
    target: Value
    line: str = ""
    name = label = "copy"
    launches = 1
    numbers = ()

    @property
    def reads(self) -> tuple[Value, ...]:
        """The source."""
        return (self.source,)

    @property
    def writes(self) -> tuple[Value, ...]:
        """The target."""
        return (self.target,)


Instruction = Launch | Copy


@dataclass
class Graph:
    """Instructions in the order in which they run, and what goes in and comes out.

    Attributes
    ----------
    arguments : list of Block
    outputs : list of Value
        What is handed to the caller. Local ones get memory of their own at each replay.
    constants : list of Storage
        Outer memory that nobody else holds.
    prelude : Graph or None
        What runs before, if the arrays that it reads have changed since it last did.
    """

    arguments: list[Block]
    numbers: Numbers
    instructions: list[Instruction] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    constants: list[Storage] = field(default_factory=list)
    prelude: "Graph | None" = None

    def blocks(self) -> list[Block]:
        """All blocks, in the order of their first mention."""
        found: dict[int, Block] = {}
        for instruction in self.instructions:
            for value in (*instruction.reads, *instruction.writes):
                found.setdefault(id(value.block), value.block)
        for value in self.outputs:
            found.setdefault(id(value.block), value.block)
        return list(found.values())

    def written(self) -> list[Block]:
        """The blocks that are not the graph's own and that it writes to."""
        found = {id(v.block): v.block for i in self.instructions for v in i.writes if not v.block.is_local}
        return list(found.values())

    def times_written(self) -> dict[Block, int]:
        """How often the instructions write to each block that they write to."""
        times: dict[Block, int] = {}
        for instruction in self.instructions:
            for value in instruction.writes:
                times[value.block] = times.get(value.block, 0) + 1
        return times

    def with_instructions(self, instructions: Sequence[Instruction]) -> "Graph":
        """The graph with other instructions."""
        return replace(self, instructions=list(instructions))


class Work(Protocol):
    """Something that reads and writes arrays."""

    @property
    def reads(self) -> tuple[Value, ...]:
        """The arrays that are read."""

    @property
    def writes(self) -> tuple[Value, ...]:
        """The arrays that are written."""


def depends(later: Work, earlier: Work) -> bool:
    """Whether two instructions must stay in order: one writes what the other reads or writes."""
    return _meet(earlier.writes, (*later.reads, *later.writes)) or _meet(earlier.reads, later.writes)


def _meet(some: Iterable[Value], others: Iterable[Value]) -> bool:
    others = tuple(others)
    return any(a.overlaps(b) for a in some for b in others)


def places(work: Iterable[Work]) -> dict[Block, list[int]]:
    """Where in a sequence each block is read or written, in ascending order."""
    found: dict[Block, list[int]] = {}
    for number, one in enumerate(work):
        for block in {v.block for v in (*one.reads, *one.writes)}:
            found.setdefault(block, []).append(number)
    return found


def writer(
    work: Sequence[Work], at: int, read: Value, reach: int | None = None
) -> tuple[int, Value] | None:
    """Where an array was last written before a place, and as what.

    None where it was not, or not as just this array; or further away than ``reach``.
    """
    for number in range(at - 1, -1 if reach is None else max(-1, at - 1 - reach), -1):
        for written in work[number].writes:
            if written.overlaps(read):
                return (number, written) if written.is_same_memory(read) else None
    return None


def launches(graph: Graph) -> int:
    """How many launches and copies a replay enqueues."""
    return sum(i.launches for i in graph.instructions)


def traffic(graph: Graph) -> int:
    """Bytes that the instructions read and write, each array counted once for each instruction."""
    return sum(v.layout.nbytes for i in graph.instructions for v in {*i.reads, *i.writes})


def relocated(instruction: Instruction, places: Mapping[Block, tuple[Block, int]]) -> Instruction:
    """The instruction with blocks in the place of others, from a byte on."""
    if not any(v.block in places for v in (*instruction.reads, *instruction.writes)):
        return instruction
    reads, writes = (_elsewhere(values, places) for values in (instruction.reads, instruction.writes))
    if isinstance(instruction, Launch):
        return replace(instruction, reads=reads, writes=writes)
    return replace(instruction, source=reads[0], target=writes[0])


def _elsewhere(values: Sequence[Value], places: Mapping[Block, tuple[Block, int]]) -> tuple[Value, ...]:
    return tuple([v.moved(*places[v.block]) if v.block in places else v for v in values])


def moved(graph: Graph, source: Block, target: Block, start: int) -> Graph:
    """The graph with everything in one block moved to another."""
    places = {source: (target, start)}
    instructions = [relocated(i, places) for i in graph.instructions]
    return replace(graph, instructions=instructions, outputs=list(_elsewhere(graph.outputs, places)))
