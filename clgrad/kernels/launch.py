"""Plans: prepared kernel launches for one operation on given shapes and dtypes.

Planning happens once; running a plan only allocates, sets the arguments that change, and enqueues.
Every array is two kernel arguments, ``__global T *x, const ulong x_offset``: the offset counts elements
(sub-buffers would have to be aligned, and drivers disagree by how much).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl
from pyopencl import _cl

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import KernelError, OperatorError
from clgrad.kernels import program
from clgrad.memory import Layout, Storage, Stream, View, empty, upload

# The public wrapper re-checks its arguments on each call; what it calls is this.
enqueue = _cl.enqueue_nd_range_kernel


#: Enqueues a plan's launch, given what :meth:`Plan.run` is given; returns the output views.
Quick = Callable[..., list[View] | None]


@functools.cache
def _buffer_setter(
    arrays: tuple[tuple[int, int], ...],
) -> Callable[[cl.Kernel, Sequence[View]], int]:
    """A function that sets a kernel's buffer arguments and tells whether some view has an offset.

    Generated, since a loop over a few arguments takes longer than the driver takes to set them.
    """
    used = dict.fromkeys(index for _, index in arrays)
    buffers = "".join(f"{position}, v{index}.storage.buffer, " for position, index in arrays)
    lines = [
        "def set_buffers(kernel, views):",
        *(f"    v{index} = views[{index}]" for index in used),
        f"    kernel._set_arg_multi(({buffers}))",
        f"    return {' or '.join(f'v{index}.offset' for index in used)}",
    ]
    return _defined(lines, "set_buffers")


@functools.cache
def _quick_maker(
    arrays: tuple[tuple[int, int], ...], inputs: int, outputs: int, has_scalars: bool
) -> Callable[["Prepared", Sequence[Layout], str], Quick]:
    """What makes :attr:`Plan.quick` of a plan of one launch, with so many arrays.

    Generated as well: what is left between a call and its launch is to take memory for the results, to set
    the arguments and to enqueue.
    """
    given, made = range(inputs), range(inputs, inputs + outputs)
    buffers = "".join(f"{position}, s{index}.buffer, " for position, index in arrays)
    arguments, results = ("".join(f"v{i}, " for i in numbers) for numbers in (given, made))
    lines = [
        "def make(prepared, layouts, label):",
        "    kernel, step, refused = prepared.kernel, prepared.step, prepared.refused",
        "    global_size, local_size = step.global_size, step.local_size",
        "    set_buffers, set_offsets = kernel._set_arg_multi, prepared.set_offsets",
        "    set_scalars = prepared.set_scalars",
        f"    {''.join(f'layout{i}, ' for i in made)} = layouts",
        "    def quick(stream, inputs, scalars, outputs=None, queue=None):",
        *([f"        {arguments} = inputs"] if inputs else []),
        *(f"        s{i} = v{i}.storage" for i in given),
        *(f"        if s{i}.stream is not stream: return None" for i in given),
        "        if stream.observer is not None or stream.recorder is not None: return None",
        "        if queue is None:",
        "            if stream.waiting is not None: return None",
        "            queue = stream._queue",
        "        if outputs is None:",
        *(f"            s{i} = Storage(stream, layout{i}.nbytes, label)" for i in made),
        *(f"            v{i} = View(s{i}, 0, layout{i})" for i in made),
        "        else:",
        f"            {results} = outputs",
        *(f"            s{i} = v{i}.storage" for i in made),
        *(f"            if s{i}.stream is not stream: return None" for i in made),
        "        try:",
        f"            set_buffers(({buffers}))",
        f"            if {''.join(f'v{i}.offset or ' for i in (*given, *made))}prepared.shifted:",
        f"                set_offsets(({arguments}{results}))",
        *(["            set_scalars(scalars)"] if has_scalars else []),
        "            event = enqueue(queue, kernel, global_size, local_size)",
        "        except Error as error:",
        "            raise refused(error) from error",
        "        stream.count_launch(event)",
        f"        return [{results}]",
        "    return quick",
    ]
    return _defined(lines, "make", Storage=Storage, View=View, Error=cl.Error, enqueue=enqueue)


def _no_quick(*_) -> None:
    """The quick way of a plan that has none."""


def _defined(lines: Sequence[str], name: str, **scope) -> Callable:
    """The function of that name that the lines define."""
    exec("\n".join(lines), scope)
    return scope[name]


@dataclass(frozen=True)
class In:
    """Kernel argument: the plan's input array ``index`` (buffer and offset)."""

    index: int


@dataclass(frozen=True)
class Out:
    """Kernel argument: the plan's output array ``index`` (buffer and offset)."""

    index: int


@dataclass(frozen=True)
class Scratch:
    """Kernel argument: the plan's temporary memory ``index`` (buffer and offset)."""

    index: int


@dataclass(frozen=True, eq=False)
class Table:
    """Kernel argument: numbers that the plan brings along; they are uploaded when it first runs."""

    values: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Scalar:
    """Kernel argument: the number ``index`` of those passed to each run, as ``dtype``."""

    index: int
    dtype: np.dtype


@dataclass(frozen=True)
class Step:
    """One launch: kernel, ranges, and arguments (In, Out, Scratch, Table, Scalar, or a numpy scalar).

    What it costs is for profiles to know: ``flops``, the additions and multiplications of a product (0 for
    others, which memory bounds), and ``touches``, by argument, how many bytes of an array are read or
    written where that may be fewer than it has.
    """

    kernel: str
    source: str = field(repr=False)
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None
    args: Sequence[object] = field(repr=False)
    flops: int = 0
    touches: Mapping[object, int] = field(default_factory=dict, repr=False)


class Prepared:
    """A step with its own kernel object, whose fixed arguments are already set."""

    __slots__ = ("_arrays", "_scalars", "_set_buffers", "kernel", "shifted", "step")

    def __init__(self, device: Device, step: Step, inputs: int, outputs: int, tables: Sequence[Table]):
        self.step = step
        alone = device.kind == "cpu" and step.local_size and math.prod(step.local_size) == 1
        source = program.one_by_one(step.source) if alone else step.source
        self.kernel = program.kernel(device, step.kernel, source)
        #: Position of each buffer argument, and index of the view behind it.
        self._arrays: list[tuple[int, int]] = []
        self._scalars: list[tuple[int, bytes, int, type]] = []
        first_view = {In: 0, Out: inputs, Table: inputs + outputs}
        first_view[Scratch] = inputs + outputs + len(tables)
        position = 0
        for arg in step.args:
            if isinstance(arg, Scalar):
                kind = dtypes.compute_type(arg.dtype)
                python_type = float if kind.kind == "f" else int
                self._scalars.append((position, kind.char.encode(), arg.index, python_type))
            elif isinstance(arg, In | Out | Scratch | Table):
                index = tables.index(arg) if isinstance(arg, Table) else arg.index
                self._arrays.append((position, first_view[type(arg)] + index))
                position += 1
                self.kernel.set_arg(position, np.uint64(0))
            else:
                self.kernel.set_arg(position, arg)
            position += 1
        self._set_buffers = _buffer_setter(tuple(self._arrays))
        #: Whether some offset argument is not 0 at present.
        self.shifted = False

    @property
    def array_arguments(self) -> Sequence[tuple[int, int]]:
        """Position of each buffer argument, which its offset follows, and index of the view behind it."""
        return self._arrays

    def quick(self, plan: "Plan") -> Quick:
        """The quick way through a plan that has this step alone."""
        make = _quick_maker(tuple(self._arrays), plan.inputs, len(plan.outputs), bool(self._scalars))
        return make(self, plan.layouts, plan.label)

    def refused(self, error: cl.Error) -> KernelError:
        """The error for a launch that the device refuses."""
        step = self.step
        return KernelError(
            f"kernel {step.kernel} cannot be launched with global size {step.global_size}, "
            f"local size {step.local_size}: {error}"
        )

    def enqueue(self, queue: cl.CommandQueue, views: Sequence[View], scalars: Sequence) -> cl.Event:
        """Set the arguments that change, and launch."""
        self.bind(views)
        if self._scalars:
            self.set_scalars(scalars)
        step = self.step
        return enqueue(queue, self.kernel, step.global_size, step.local_size)

    def bind(self, views: Sequence[View]) -> None:
        """Set the arguments that are arrays: inputs, outputs, tables, then scratch memory."""
        shifted = self._set_buffers(self.kernel, views)
        if shifted or self.shifted:
            self.set_offsets(views)

    def set_offsets(self, views: Sequence[View]) -> None:
        """Set the offset arguments, of the inputs and then the results."""
        packed: list[object] = []
        self.shifted = False
        for position, index in self._arrays:
            offset = views[index].offset
            self.shifted = self.shifted or offset != 0
            packed += (position + 1, b"L", offset)
        self.kernel._set_arg_buf_pack_multi(tuple(packed))

    def set_scalars(self, scalars: Sequence) -> None:
        """Set the arguments that are numbers.

        Raises
        ------
        OperatorError
            One of them does not fit its dtype.
        """
        packed: list[object] = []
        try:
            for position, code, index, kind in self._scalars:
                packed += (position, code, kind(scalars[index]))
            self.kernel._set_arg_buf_pack_multi(tuple(packed))
        except (OverflowError, ValueError, RuntimeError) as error:  # pyopencl's, out of range
            raise OperatorError(
                f"{self.step.kernel}: one of the numbers {tuple(scalars)} does not fit the dtype of its "
                "argument; accepted: numbers within the range of the arrays' dtype"
            ) from error


@dataclass(frozen=True, eq=False)
class Affine:
    """Of the plan of a product with weights: what it takes to scale and shift its results by channel.

    Attributes
    ----------
    weights : int
        Which input the weights are; their first axis counts the channels.
    axis : int
        Of the result, the axis that counts the channels.
    has_bias : bool
        Whether the third input is a bias for each channel.
    with_bias : callable
        Plans the same with such a bias.
    """

    weights: int
    axis: int
    has_bias: bool
    with_bias: "Callable[[], Plan]"


class Plan:
    """Prepared launches with the outputs and scratch memory that they need.

    Parameters
    ----------
    device : Device
    steps : sequence of Step
    outputs : sequence of (shape, numpy.dtype)
        Allocated by :meth:`run` unless given.
    inputs : int
        How many input views :meth:`run` takes.
    scratch : sequence of int
        Bytes of each temporary buffer.
    """

    __slots__ = (
        "_is_single",
        "_prepared",
        "_scratch_layouts",
        "_table_views",
        "_tables",
        "affine",
        "at_once",
        "cache",
        "device",
        "finishes",
        "formula",
        "inputs",
        "label",
        "layouts",
        "outputs",
        "quick",
        "scratch",
        "steps",
    )

    def __init__(
        self,
        device: Device,
        steps: Sequence[Step],
        outputs: Sequence[tuple[tuple[int, ...], np.dtype]],
        inputs: int,
        scratch: Sequence[int] = (),
    ):
        self.device = device
        self.steps = tuple(steps)
        self.outputs = tuple((tuple(shape), dtype) for shape, dtype in outputs)
        self.inputs = inputs
        self.scratch = tuple(scratch)
        self.layouts = tuple([Layout(shape, dtype) for shape, dtype in self.outputs])
        self._scratch_layouts = [Layout((nbytes,), dtypes.uint8) for nbytes in scratch]
        nothing = self.outputs and all(layout.size == 0 for layout in self.layouts)
        self._tables = [arg for step in self.steps for arg in step.args if isinstance(arg, Table)]
        self._table_views: list[View] = []
        self._prepared = [
            Prepared(device, s, inputs, len(outputs), self._tables) for s in self.steps if not nothing
        ]
        #: What it computes, for those who make one plan of several (clgrad.graph): the ``Formula`` of
        #: ``map``, ``reduce``, ``matmul`` or ``transpose`` in :mod:`clgrad.kernels`; None of other plans.
        self.formula: Any = None
        #: Whose results can be scaled and shifted by channel: how.
        self.affine: Affine | None = None
        #: Whether the last kernel can go on with an epilogue (:mod:`clgrad.kernels.epilogue`).
        self.finishes = False
        #: What profiles and statistics of memory call it: the op, or the ops that are merged.
        self.label = ""
        #: The usual way through :meth:`run`, which any caller may try first, with the same arguments by
        #: position. It returns None, and has done nothing, where it is not open: an array lies elsewhere,
        #: launches wait, somebody observes or records the stream. The first run makes it.
        self.quick: Quick = _no_quick
        self._is_single = len(self._prepared) == 1 and not (self._tables or self.scratch)
        #: Whether calls never wait for others (:mod:`clgrad.registry.bulk`): found out by the first one.
        self.at_once = False
        #: Plans derived from this one (gradients), kept where they can be found without a key.
        self.cache: dict = {}

    def run(
        self,
        stream: Stream,
        inputs: Sequence[View],
        scalars: Sequence[float] = (),
        outputs: Sequence[View] | None = None,
        queue: cl.CommandQueue | None = None,
    ) -> list[View]:
        """Enqueue the launches and return the output views; waits for nothing.

        The queue is the stream's, and given only by what the stream asks to enqueue what waits.

        Raises
        ------
        DeviceMemoryError
            No memory for an output or for scratch.
        KernelError
            The device refused a launch; the message names the kernel.
        """
        if self._is_single:
            if self.quick is _no_quick:
                self.quick = self._prepared[0].quick(self)
            made = self.quick(stream, inputs, scalars, outputs, queue)
            if made is not None:
                return made
        if outputs is None:
            results = [View(Storage(stream, x.nbytes, self.label), 0, x) for x in self.layouts]
        else:
            results = list(outputs)
        if stream.recorder is not None:
            scalars = stream.recorder.launched(self, inputs, results, scalars)
        views = [*inputs, *results]
        if self._tables:
            views += self.table_views(stream)
        for layout in self._scratch_layouts:
            views.append(View(Storage(stream, layout.nbytes, self.label), 0, layout))
        foreign = set()
        for view in views:
            if view.storage.stream is not stream:
                foreign.add(view.storage.stream)
        for other in foreign:
            other.finish()
        observer = stream.observer
        if observer is not None:
            observer.begin(stream, queue is None)
        queue = queue or stream.queue
        for prepared in self._prepared:
            try:
                event = prepared.enqueue(queue, views, scalars)
            except cl.Error as error:
                raise prepared.refused(error) from error
            stream.count_launch(event)
            if observer is not None:
                observer.launched(stream, self, prepared.step, views, event)
        if foreign:  # their pools may hand the memory out again, in another queue
            stream.finish()
        return results

    # For those who launch it in their own way (clgrad.graph)

    def table_views(self, stream: Stream) -> list[View]:
        """The plan's tables in memory."""
        if not self._table_views:
            self._table_views = [_uploaded(stream, table.values) for table in self._tables]
        return self._table_views

    def prepared(self) -> list[Prepared]:
        """The launches again, each with a kernel object of its own."""
        return [
            Prepared(self.device, x.step, self.inputs, len(self.outputs), self._tables)
            for x in self._prepared
        ]

    @property
    def scratch_layouts(self) -> list[Layout]:
        """The temporary buffers."""
        return self._scratch_layouts

    @property
    def launches(self) -> int:
        """How many launches there are; none where the results have no elements."""
        return len(self._prepared)


class Touched(NamedTuple):
    """Arrays that a launch reads and writes, and bytes: touched in all, and of scratch memory."""

    read: list[Layout]
    written: list[Layout]
    nbytes: int
    scratch: int


def touched(plan: Plan, step: Step, views: Sequence[View]) -> Touched:
    """What a step touches of the views that its plan was run with.

    An array that is an argument twice counts once; so does scratch memory, which is read or written.
    """
    first = {In: 0, Out: plan.inputs, Scratch: plan.inputs + len(plan.outputs) + len(plan._tables)}
    found: dict[type, dict[int, tuple[Layout, int]]] = {In: {}, Out: {}, Scratch: {}}
    for arg in step.args:
        if isinstance(arg, Table):
            found[In][id(arg)] = Layout(arg.values.shape, arg.values.dtype), arg.values.nbytes
        elif isinstance(arg, In | Out | Scratch):
            view = views[first[type(arg)] + arg.index]
            _, before = found[type(arg)].get(id(view), (view.layout, 0))
            part = min(step.touches.get(arg, view.nbytes), view.nbytes)
            found[type(arg)][id(view)] = view.layout, max(part, before)
    read, written, scratch = (list(found[kind].values()) for kind in (In, Out, Scratch))
    nbytes = sum(n for _, n in (*read, *written, *scratch))
    return Touched([x for x, _ in read], [x for x, _ in written], nbytes, sum(n for _, n in scratch))


def _uploaded(stream: Stream, values: np.ndarray) -> View:
    view = empty(stream, values.shape, values.dtype, "table")
    recorder, stream.recorder = stream.recorder, None  # it belongs to the plan, not to what is captured
    try:
        upload(stream, values, view)
    finally:
        stream.recorder = recorder
    return view
