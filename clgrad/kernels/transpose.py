"""Planner of transposes: elements moved to another order of the axes, tile by tile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad.device import Device
from clgrad.kernels import copy, layout, map, template, tuning
from clgrad.kernels.access import MAX_WIDTH, fitting
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.layout import Operand
from clgrad.kernels.parameters import MapGpu
from clgrad.kernels.signature import Signature

#: Rows and columns of a tile. On CPUs so many rows that lines are read on and on, as a processor foresees,
#: and one vector across where that is a line of the cache, which is written whole; or four of shorter ones.
#: On GPUs what a work-group reads and writes in whole transactions.
LINE_TILE, CPU_TILE, GPU_TILE = (1024, 16), (256, 64), (32, 32)
#: Rows that a CPU's work-item transposes at a time: with so few, no register is spilled to memory.
LANES = 4
#: Work-items of a GPU's work-group, at most.
GPU_GROUP = 256


@dataclass(frozen=True)
class _Order:
    """Merged axes of the result, by what happens along them.

    Attributes
    ----------
    rows, columns : int
        Axis along which the source is contiguous, and the last one, along which the result is.
    others : sequence of int
        The remaining axes.
    """

    sizes: tuple[int, ...]
    targets: tuple[int, ...]
    sources: tuple[int, ...]

    @property
    def rows(self) -> int:
        return self.sources.index(1)

    @property
    def columns(self) -> int:
        return len(self.sizes) - 1

    @property
    def others(self) -> list[int]:
        return [a for a in range(self.columns) if a != self.rows]


@dataclass(frozen=True, eq=False)
class Formula:
    """What a plan computes: an array of ``shape``, read with strides that are those of a permutation."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


def plan(device: Device, name: str, shape: Sequence[int], strides: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan y[i, j, ...] = x[i strides[0] + j strides[1] + ...], strides being those of a permutation.

    Parameters
    ----------
    device : Device
    name : str
        Kernel name.
    shape : sequence of int
        Shape of the result.
    strides : sequence of int
        Elements to step in the source, for each axis of the result.
    dtype : numpy.dtype
        Of both; the bits are moved as they are.
    """
    made = _plan(device, name, tuple(shape), strides, dtype)
    made.formula = Formula(tuple(shape), tuple(strides))
    return made


def _plan(
    device: Device, name: str, shape: tuple[int, ...], strides: Sequence[int], dtype: np.dtype
) -> Plan:
    sizes, (targets, sources) = layout.merge_axes(shape, [layout.contiguous_strides(shape), strides])
    order = _Order(sizes, targets, sources)
    width = min(MAX_WIDTH, device.capabilities.vector_bytes // dtype.itemsize)
    if sources[-1] in (0, 1) or 1 not in sources or sizes[order.rows] < LANES:
        # Rows that move whole; or few of them, so that neighbours in the result come from one cache line.
        return copy.plan(device, name, shape, Operand(dtype, tuple(strides)))
    if math.prod(shape) == 0:
        return Plan(device, [], [(shape, dtype)], 1)
    operand = Operand(np.dtype(f"int{8 * dtype.itemsize}"), tuple(strides))
    wide = layout.needs_long(shape, [operand])
    step = _step(device, name, order, operand, wide, fitting(width, sizes[-1]))
    return Plan(device, [step], [(shape, dtype)], 1)


def _step(device: Device, name: str, order: _Order, operand: Operand, wide: bool, width: int) -> Step:
    """The launch of a transpose whose source is contiguous along rows, and whose result along columns."""
    assert operand.dtype is not None
    signature = Signature(wide)
    signature.array("y", operand.dtype, Out(0))
    signature.array("x", operand.dtype, In(0))
    sizes = order.sizes
    signature.sizes(rows=sizes[order.rows], columns=sizes[order.columns])
    signature.sizes(y_row=order.targets[order.rows], x_column=order.sources[order.columns])
    outer = signature.axes("n", [sizes[a] for a in order.others])
    signature.axes("y_s", [order.targets[a] for a in order.others])
    signature.axes("x_s", [order.sources[a] for a in order.others])
    vector_bytes = width * operand.dtype.itemsize
    cpu_tile = LINE_TILE if vector_bytes == copy.LINE_BYTES else CPU_TILE
    depth, tile = cpu_tile if device.kind == "cpu" else GPU_TILE
    matrices = math.prod(sizes[a] for a in order.others)
    signature.sizes(matrices=matrices)
    tiles = matrices * -(-sizes[order.rows] // depth) * -(-sizes[order.columns] // tile)
    if device.kind == "cpu":
        global_size, local_size = map.ranges(device, tiles, math.prod(sizes))
    else:
        group = min(GPU_GROUP, device.capabilities.max_work_group_size) // tile * tile
        groups = min(tiles, tuning.of(device, MapGpu).groups_per_unit * device.capabilities.compute_units)
        global_size, local_size = (groups * group,), (group,)
    streams = copy.streams_lines(device, vector_bytes, math.prod(sizes) * operand.dtype.itemsize)
    source = template.render(
        "transpose",
        name=name,
        shape=device.kind,
        signature=signature,
        dtype=operand.dtype,
        depth=depth,
        tile=tile,
        width=width,
        lanes=min(LANES, width),
        streams=streams,
        team=local_size[0] // tile,
        outer=outer,
    )
    return Step(name, source, global_size, local_size, signature.args)
