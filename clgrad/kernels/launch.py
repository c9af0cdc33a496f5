"""Plans: prepared kernel launches for one operation on given shapes and dtypes.

Planning happens once; running a plan only allocates, sets the arguments that change, and enqueues.
Every array is two kernel arguments, ``__global T *x, const ulong x_offset``: the offset counts elements
(sub-buffers would have to be aligned, and drivers disagree by how much).
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyopencl as cl
from pyopencl import _cl

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import KernelError, OperatorError
from clgrad.kernels import program
from clgrad.memory import Layout, Storage, Stream, View, empty, upload

# The public wrapper re-checks its arguments on each call; what it calls is this.
_enqueue = _cl.enqueue_nd_range_kernel


@functools.cache
def _buffer_setter(
    arrays: tuple[tuple[int, int], ...],
) -> Callable[[cl.Kernel, Sequence[View]], int]:
    """A function that sets a kernel's buffer arguments and tells whether some view has an offset.

    Generated, since a loop over a few arguments takes longer than the driver takes to set them.
    """
    names = [f"v{index}" for _, index in arrays]
    buffers = "".join(
        f"{position}, {name}.storage.buffer, " for (position, _), name in zip(arrays, names, strict=True)
    )
    lines = [
        "def set_buffers(kernel, views):",
        *(f"    {name} = views[{name[1:]}]" for name in dict.fromkeys(names)),
        f"    kernel._set_arg_multi(({buffers}))",
        f"    return {' or '.join(f'{name}.offset' for name in dict.fromkeys(names))}",
    ]
    scope: dict = {}
    exec("\n".join(lines), scope)
    return scope["set_buffers"]


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
    others, which memory bounds), and ``traffic``, the bytes read and written, where these are not those of
    all its arrays.
    """

    kernel: str
    source: str = field(repr=False)
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None
    args: Sequence[object] = field(repr=False)
    flops: int = 0
    traffic: int | None = None


class _Prepared:
    """A step with its own kernel object, whose fixed arguments are already set."""

    __slots__ = ("_arrays", "_kernel", "_scalars", "_set_buffers", "_shifted", "step")

    def __init__(self, device: Device, step: Step, inputs: int, outputs: int, tables: Sequence[Table]):
        self.step = step
        self._kernel = program.kernel(device, step.kernel, step.source)
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
                self._kernel.set_arg(position, np.uint64(0))
            else:
                self._kernel.set_arg(position, arg)
            position += 1
        self._set_buffers = _buffer_setter(tuple(self._arrays))
        #: Whether some offset argument is not 0 at present.
        self._shifted = False

    def enqueue(self, queue: cl.CommandQueue, views: Sequence[View], scalars: Sequence) -> cl.Event:
        shifted = self._set_buffers(self._kernel, views)
        if shifted or self._shifted:
            self._set_offsets(views)
        if self._scalars:
            self._set_scalars(scalars)
        step = self.step
        return _enqueue(queue, self._kernel, step.global_size, step.local_size)

    def _set_offsets(self, views: Sequence[View]) -> None:
        packed: list[object] = []
        self._shifted = False
        for position, index in self._arrays:
            offset = views[index].offset
            self._shifted = self._shifted or offset != 0
            packed += (position + 1, b"L", offset)
        self._kernel._set_arg_buf_pack_multi(tuple(packed))

    def _set_scalars(self, scalars: Sequence) -> None:
        packed: list[object] = []
        try:
            for position, code, index, kind in self._scalars:
                packed += (position, code, kind(scalars[index]))
            self._kernel._set_arg_buf_pack_multi(tuple(packed))
        except (OverflowError, ValueError, RuntimeError) as error:  # pyopencl's, out of range
            raise OperatorError(
                f"{self.step.kernel}: one of the numbers {tuple(scalars)} does not fit the dtype of its "
                "argument; accepted: numbers within the range of the arrays' dtype"
            ) from error


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
        "_prepared",
        "_scratch_layouts",
        "_table_views",
        "_tables",
        "cache",
        "device",
        "finishes",
        "inputs",
        "label",
        "layouts",
        "outputs",
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
        self.layouts = [Layout(shape, dtype) for shape, dtype in self.outputs]
        self._scratch_layouts = [Layout((nbytes,), dtypes.uint8) for nbytes in scratch]
        nothing = self.outputs and all(layout.size == 0 for layout in self.layouts)
        self._tables = [arg for step in self.steps for arg in step.args if isinstance(arg, Table)]
        self._table_views: list[View] = []
        self._prepared = [
            _Prepared(device, s, inputs, len(outputs), self._tables) for s in self.steps if not nothing
        ]
        #: Whether the last kernel can go on with an epilogue (:mod:`clgrad.kernels.epilogue`).
        self.finishes = False
        #: What profiles and statistics of memory call it: the op, or the ops that are merged.
        self.label = ""
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
        if outputs is None:
            results = [View(Storage(stream, x.nbytes, self.label), 0, x) for x in self.layouts]
        else:
            results = list(outputs)
        if len(self._table_views) < len(self._tables):
            self._table_views = [_uploaded(stream, table.values) for table in self._tables]
        views = [*inputs, *results, *self._table_views]
        for layout in self._scratch_layouts:
            views.append(View(Storage(stream, layout.nbytes, self.label), 0, layout))
        foreign = [v.storage.stream for v in views if v.storage.stream is not stream]
        for other in foreign:
            other.finish()
        observer = stream.observer
        if observer is not None and queue is None:
            observer.begin(stream)
        queue = queue or stream.queue
        for prepared in self._prepared:
            try:
                event = prepared.enqueue(queue, views, scalars)
            except cl.Error as error:
                raise KernelError(
                    f"kernel {prepared.step.kernel} cannot be launched with global size "
                    f"{prepared.step.global_size}, local size {prepared.step.local_size}: {error}"
                ) from error
            stream.count_launch(event)
            if observer is not None:
                observer.launched(stream, self, prepared.step, views, event)
        if foreign:  # their pools may hand the memory out again, in another queue
            stream.finish()
        return results


def _uploaded(stream: Stream, values: np.ndarray) -> View:
    view = empty(stream, values.shape, values.dtype, "table")
    upload(stream, values, view)
    return view
