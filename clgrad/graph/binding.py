"""Launches and copies of a graph with their arguments in place.

Each launch has kernel objects of its own, so what never changes is set once. What is elsewhere at each time
(arguments of the captured function, its results) is set by a function that is generated for the graph:
:func:`binder`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import pyopencl as cl

from clgrad.deferred import Number
from clgrad.graph.ir import Block, Copy, Graph, Launch, Value
from clgrad.memory import Layout, Storage, Stream, View


class Home:
    """Where a block lies. In a view it stands for a storage, and yet lets the array be forgotten."""

    __slots__ = ("buffer", "start")

    def __init__(self, buffer: cl.MemoryObject | None = None, start: int = 0):
        self.buffer = buffer
        #: The byte from which on the block lies in the buffer.
        self.start = start


class Bound:
    """A launch with kernel objects of its own.

    Attributes
    ----------
    values : tuple of Value
        The arrays that it reads, then those that it writes.
    views : list of View
        Where they lie; then tables and scratch memory.
    prepared : list of Prepared
    is_fixed : bool
        Whether no argument ever changes, unless arrays from outside exchange their memory.
    """

    __slots__ = (
        "_homes",
        "_known",
        "_numbers",
        "_places",
        "changing",
        "is_fixed",
        "plan",
        "prepared",
        "values",
        "views",
    )

    def __init__(
        self,
        stream: Stream,
        launch: Launch,
        homes: Mapping[Block, Home],
        scratch: Sequence[Storage],
        changing: set[Block],
    ):
        self.plan = launch.plan
        self.prepared = launch.plan.prepared()
        self.values = (*launch.reads, *launch.writes)
        own = [View(s, 0, x) for s, x in zip(scratch, launch.plan.scratch_layouts, strict=False)]
        self.views: list = [*[None] * len(self.values), *launch.plan.table_views(stream), *own]
        self._homes = homes
        self._numbers = launch.numbers
        self._places = [n.place for n in launch.numbers if isinstance(n, Number)]
        self._known: list | None = None
        #: Places among the values of those that are elsewhere at each replay.
        self.changing = [i for i, value in enumerate(self.values) if value.block in changing]
        self.is_fixed = not self.changing and not self._places
        if launch.numbers and not self._places:
            self._set(launch.numbers)

    @property
    def launches(self) -> int:
        """How many launches it takes."""
        return len(self.prepared)

    @property
    def is_numbered(self) -> bool:
        """Whether some number may be another one at each replay."""
        return bool(self._places)

    def bind(self, places: Iterable[int]) -> None:
        """Set the kernels' arguments that are arrays, those at some places having moved."""
        for place in places:
            block, start, layout = self.values[place]
            home = self._homes[block]
            # A kernel's arguments are set from a view's buffer and offset alone.
            offset = (home.start + start) // layout.dtype.itemsize
            self.views[place] = View(home, offset, layout)  # type: ignore[arg-type]
        for prepared in self.prepared:
            prepared.bind(self.views)

    def set_numbers(self, values: Sequence) -> None:
        """Set the kernels' arguments that are numbers; those that are the same as before are set already.

        Raises
        ------
        OperatorError
            One of them does not fit its dtype.
        """
        known = [values[place] for place in self._places]
        if known == self._known and _signs(known) == _signs(self._known):
            return
        self._known = None
        self._set([values[n.place] if isinstance(n, Number) else n for n in self._numbers])
        self._known = known

    def _set(self, numbers: Sequence) -> None:
        for prepared in self.prepared:
            prepared.set_scalars(numbers)


def _signs(numbers: Sequence) -> list[float]:
    """Of the zeros among numbers, which are equal whatever their signs."""
    return [math.copysign(1, n) for n in numbers if n == 0] if 0 in numbers else []


class BoundCopy:
    """A copy between two places that are known when it is enqueued."""

    __slots__ = ("_nbytes", "_source", "_target", "changing", "is_fixed", "values")

    #: How many commands it takes.
    launches = 1

    def __init__(self, copy: Copy, homes: Mapping[Block, Home], changing: set[Block]):
        self.values = (copy.source, copy.target)
        self._source, self._target = [(homes[v.block], v.start) for v in self.values]
        self._nbytes = copy.source.layout.nbytes
        self.changing = [i for i, value in enumerate(self.values) if value.block in changing]
        self.is_fixed = not self.changing

    @property
    def place(self) -> tuple[cl.MemoryObject, cl.MemoryObject, int, int, int]:
        """Source, target, where it begins in each, and the number of bytes."""
        (source, source_start), (target, target_start) = self._source, self._target
        starts = source.start + source_start, target.start + target_start
        return source.buffer, target.buffer, *starts, self._nbytes

    @property
    def source_view(self) -> View:
        """What is copied."""
        value = self.values[0]
        offset = (self._source[0].start + value.start) // value.layout.dtype.itemsize
        return View(self._source[0], offset, value.layout)  # type: ignore[arg-type]

    def __call__(self, stream: Stream, queue: cl.CommandQueue) -> cl.Event:
        """Enqueue it."""
        source, target, source_start, target_start, nbytes = self.place
        event = cl.enqueue_copy(
            queue, target, source, src_offset=source_start, dst_offset=target_start, byte_count=nbytes
        )
        stream.count_launch(event)
        return event


#: A launch, or a copy.
Work = Bound | BoundCopy


#: Sets what changes at a replay, given the stream, the arguments' views and the outer arrays; returns the
#: outputs. None, and nothing done, if an argument is memory of another stream.
Binder = Callable[[Stream, Sequence[View], Sequence[Storage]], list[View] | None]


def binder(
    graph: Graph,
    work: Sequence[Work],
    homes: Mapping[Block, Home],
    results: Sequence[Block],
    outer: Sequence[Block],
    arguments: Sequence[Layout],
    offsets: list,
) -> Binder:
    """Generate what sets the changing arguments of a graph's kernels, and takes memory for its results.

    Parameters
    ----------
    graph : Graph
    work : sequence of Bound or BoundCopy
    homes : mapping of Block to Home
        Those of arguments and results are kept for copies only.
    results, outer : sequence of Block
        The local blocks that are handed out, and the blocks from outside, as the function gets them.
    arguments : sequence of Layout
        Of the views that the function will get.
    offsets : list
        Those of the arguments that the kernels have at present; to be cleared by who sets others.
    """
    names = {block: f"s{i}" for i, block in enumerate(graph.arguments)}
    names.update({block: f"r{i}" for i, block in enumerate(results)})
    scope: dict = {"Storage": Storage, "View": View, "offsets": offsets}
    given = range(len(arguments))
    lines = ["def bind(stream, arguments, outer):"]
    if arguments:
        lines.append(f"    {''.join(f'a{i}, ' for i in given)} = arguments")
    lines += [f"    s{i} = a{i}.storage" for i in given]
    if arguments:
        lines.append(f"    if {' or '.join(f's{i}.stream is not stream' for i in given)}: return None")
    lines += [f"    r{i} = Storage(stream, {b.nbytes}, 'captured')" for i, b in enumerate(results)]
    starts = {b: (f"a{i}.offset", x.dtype.itemsize) for i, (b, x) in enumerate(_pairs(graph, arguments))}
    buffers, shifts = _argument_lines(work, names, starts, scope)
    lines += buffers
    if shifts:
        current = f"[{', '.join(f'a{i}.offset' for i in given)}]"
        # In between they are not known, should the thread be interrupted.
        clear = "        offsets.clear()"
        lines += [f"    if offsets != {current}:", clear, *shifts, f"        offsets[:] = {current}"]
    lines += _home_lines(work, homes, names, starts, scope)
    names.update({block: f"outer[{i}]" for i, block in enumerate(outer)})
    outputs = ""
    for number, value in enumerate(graph.outputs):
        scope[f"layout{number}"] = value.layout
        outputs += f"View({names[value.block]}, {_offset(value, starts)}, layout{number}), "
    lines.append(f"    return [{outputs}]")
    exec("\n".join(lines), scope)
    return scope["bind"]


#: Where blocks of arguments begin, and the size of the elements that this is counted in.
Starts = Mapping[Block, tuple[str, int]]


def _argument_lines(
    work: Sequence[Work], names: Mapping[Block, str], starts: Starts, scope: dict
) -> tuple[list[str], list[str]]:
    """What sets the buffers of kernels' arguments, and what sets offsets; ``scope`` gets what they name."""
    lines: list[str] = []
    moved: list[str] = []
    for number, bound in enumerate(w for w in work if isinstance(w, Bound) and w.changing):
        for step, prepared in enumerate(bound.prepared):
            # Position of an argument, and the value that it is.
            places = [(p, bound.values[i]) for p, i in prepared.array_arguments if i in bound.changing]
            if not places:
                continue
            kernel = f"{number}_{step}"
            scope[f"set_{kernel}"] = prepared.kernel._set_arg_multi
            buffers = "".join(f"{p}, {names[v.block]}.buffer, " for p, v in places)
            lines.append(f"    set_{kernel}(({buffers}))")
            shifted = [(p, v) for p, v in places if v.block in starts]
            packed = "".join(f"{p + 1}, b'L', {_offset(v, starts)}, " for p, v in shifted)
            if packed:
                scope[f"shift_{kernel}"] = prepared.kernel._set_arg_buf_pack_multi
                scope[f"prepared_{kernel}"] = prepared
                moved.append(f"        shift_{kernel}(({packed}))")
                moved.append(f"        prepared_{kernel}.shifted = True")
    return lines, moved


def _home_lines(
    work: Sequence[Work],
    homes: Mapping[Block, Home],
    names: Mapping[Block, str],
    starts: Starts,
    scope: dict,
) -> list[str]:
    """What tells copies where their arrays are."""
    lines: list[str] = []
    copied = {v.block: None for w in work if isinstance(w, BoundCopy) for v in w.values}
    for number, block in enumerate(b for b in copied if b in names):
        scope[f"home{number}"] = homes[block]
        lines.append(f"    home{number}.buffer = {names[block]}.buffer")
        if block in starts:
            offset, itemsize = starts[block]
            lines.append(f"    home{number}.start = {offset} * {itemsize}")
    return lines


def _pairs(graph: Graph, arguments: Sequence[Layout]) -> Iterable[tuple[Block, Layout]]:
    return zip(graph.arguments, arguments, strict=True)


def _offset(value: Value, starts: Starts) -> str:
    """The offset of a value's first element: an expression of where the arguments begin."""
    itemsize = value.layout.dtype.itemsize
    if value.block not in starts:
        return str(value.start // itemsize)
    offset, step = starts[value.block]
    if step == itemsize:
        return f"{offset} + {value.start // itemsize}"
    return f"({offset} * {step} + {value.start}) // {itemsize}"
