"""Planner of copies: elements moved from a strided array to another, row by row."""

import math
from collections.abc import Sequence

import numpy as np

from clgrad.device import Device
from clgrad.kernels import expr, layout, map, template
from clgrad.kernels.access import MAX_WIDTH
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.layout import Operand
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Columns of a row that are moved without a look at where the next ones lie.
PIECE = 8192
#: Bytes of a CPU's cache line. What is stored past the caches must be whole lines.
LINE_BYTES = 64
#: Bytes of rows from which on it pays to move up to the first boundary of a line element by element.
LONG_ROW = 1024


def plan(device: Device, name: str, shape: Sequence[int], source: Operand) -> Plan:
    """Plan a new array of ``shape`` that is read from the input by the strides of ``source``."""
    assert source.dtype is not None
    outputs = [(tuple(shape), source.dtype)]
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, 1)
    dense = layout.broadcast(shape, shape, source.dtype)
    return Plan(device, [step(device, name, shape, source, dense)], outputs, 1)


def step(
    device: Device,
    name: str,
    shape: Sequence[int],
    source: Operand,
    target: Operand,
    argument: int = 0,
    nbytes: int | None = None,
) -> Step:
    """One launch that copies a strided source into a strided target; the bits are moved as they are.

    Parameters
    ----------
    device : Device
    name : str
        Kernel name.
    shape : sequence of int
        The iteration space, not empty.
    source, target : Operand
        Where each position is read and written, of one dtype.
    argument : int
        Which of the plan's inputs the source is.
    nbytes : int, optional
        Size of all that the plan writes, where this is a part of it: it decides whether results are too
        large to be found in a cache.
    """
    assert source.dtype is not None
    sizes, (targets, sources) = layout.merge_axes(shape, [target.strides, source.strides])
    if device.kind != "cpu" or targets[-1] != 1 or sources[-1] not in (-1, 0, 1):
        value = map.Output(expr.operand(0, source.dtype), target)
        return map.step(device, name, shape, [value], [source], sources=[In(argument)])
    itemsize = source.dtype.itemsize
    nbytes = math.prod(sizes) * itemsize if nbytes is None else nbytes
    width = min(MAX_WIDTH, device.capabilities.vector_bytes // itemsize)
    streams = streams_lines(device, width * itemsize, nbytes)
    short = sizes[-1] * itemsize < LONG_ROW
    if streams and short:
        streams = all(n * itemsize % LINE_BYTES == 0 for n in (sizes[-1], target.base, *targets[:-1]))
        if streams:
            sizes, targets, sources = _as_read(sizes, targets, sources)
    signature = Signature(layout.needs_long(shape, [source, target]))
    dtype = np.dtype(f"int{8 * itemsize}")
    signature.array("y", dtype, Out(0))
    signature.array("x", dtype, In(argument))
    signature.sizes(y_base=target.base, x_base=source.base)
    outer = signature.rows(sizes)
    signature.axes("y_s", targets[:-1])
    signature.axes("x_s", sources[:-1])
    text = template.render(
        "copy",
        name=name,
        signature=signature,
        dtype=dtype,
        width=width,
        piece=PIECE,
        inner=sources[-1],
        outer=outer,
        streams=streams,
    )
    pieces = math.prod(sizes[:-1]) * -(-sizes[-1] // PIECE)
    touches = {Out(0): layout.footprint(target, shape), In(argument): layout.footprint(source, shape)}
    return Step(name, text, *ranges(device, pieces, math.prod(sizes)), signature.args, touches=touches)


def streams_lines(device: Device, vector_bytes: int, nbytes: int) -> bool:
    """Whether a result of so many bytes is stored past the caches: by vectors that are whole lines only."""
    return vector_bytes == LINE_BYTES and map.streams(device, nbytes)


def _as_read(sizes, targets, sources) -> tuple:
    """The outer axes in the order in which the source lies in memory.

    What is written past the caches is as well written here and there, as long as it is whole lines; what is
    read is foreseen only if it is read in order.
    """
    order = sorted(range(len(sizes) - 1), key=lambda a: -abs(sources[a]))
    order.append(len(sizes) - 1)
    return tuple(tuple(of[a] for a in order) for of in (sizes, targets, sources))
