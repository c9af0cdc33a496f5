"""Planner of separable linear maps: a sparse matrix along each of an array's last axes.

Resizing, adaptive pooling, padding, im2col and their transposes are all of this kind. A matrix is named by
an :class:`AxisMap`; its rows reach the device as a table.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Step, Table
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Rows, columns and (or None: all 1) values of a sparse matrix's entries.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class AxisMap:
    """A sparse matrix that maps an axis of ``size`` elements to one of ``result`` elements.

    Attributes
    ----------
    kind : str
        ``identity``, ``bilinear``, ``average``, ``edge``, ``reflect`` or ``windows``.
    size, result : int
        Elements of the axis before and after; of ``windows``, the result is all taps of all windows.
    details : tuple
        What else the matrix depends on.
    transposed : bool
        Whether it is the transpose of that matrix.

    Example
    -------
    >>> AxisMap.edge(3, 1, 2).dense().astype(int).tolist()
    [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    """

    kind: str
    size: int
    result: int
    details: tuple = ()
    transposed: bool = False

    @classmethod
    def identity(cls, size: int) -> "AxisMap":
        """The axis as it is."""
        return cls("identity", size, size)

    @classmethod
    def bilinear(cls, size: int, result: int, align_corners: bool) -> "AxisMap":
        """Linear interpolation at evenly spaced places.

        With ``align_corners`` the first and last places are those of the first and last elements; without,
        elements are cells, and places their centres. One place alone is that of the first element.
        """
        return cls("bilinear", size, result, (align_corners,))

    @classmethod
    def average(cls, size: int, result: int) -> "AxisMap":
        """Averages of elements floor(i * size / result) to ceil((i + 1) * size / result), excluded."""
        return cls("average", size, result)

    @classmethod
    def edge(cls, size: int, before: int, after: int) -> "AxisMap":
        """The first and the last element repeated before and after."""
        return cls("edge", size, size + before + after, (before,))

    @classmethod
    def reflect(cls, size: int, before: int, after: int) -> "AxisMap":
        """The elements mirrored at the first and the last one, which are not repeated."""
        return cls("reflect", size, size + before + after, (before,))

    @classmethod
    def windows(cls, size: int, kernel: int, stride: int, dilate: int, pad: int) -> "AxisMap":
        """For each tap, the element that each window has there; 0 in the padding."""
        positions = (size + 2 * pad - dilate * (kernel - 1) - 1) // stride + 1
        return cls("windows", size, kernel * positions, (kernel, stride, dilate, pad))

    @property
    def T(self) -> "AxisMap":  # noqa: N802
        """The transposed matrix."""
        return replace(self, size=self.result, result=self.size, transposed=not self.transposed)

    def entries(self) -> Entries:
        """The entries that are not 0, row after row."""
        forward = self.T if self.transposed else self
        rows, columns, values = _KINDS[self.kind](forward)
        if self.transposed:
            rows, columns = columns, rows
        order = np.lexsort((columns, rows))
        return rows[order], columns[order], None if values is None else values[order]

    def dense(self) -> np.ndarray:
        """The matrix, as tests want it."""
        rows, columns, values = self.entries()
        matrix = np.zeros((self.result, self.size))
        np.add.at(matrix, (rows, columns), 1 if values is None else values)
        return matrix


def _identity(m: AxisMap) -> Entries:
    places = np.arange(m.size)
    return places, places, None


def _bilinear(m: AxisMap) -> Entries:
    (align_corners,) = m.details
    places = np.arange(m.result)
    source: np.ndarray
    if m.result == 1:
        source = np.zeros(1)
    elif align_corners:
        source = places * ((m.size - 1) / (m.result - 1))
    else:
        source = np.maximum((places + 0.5) * (m.size / m.result) - 0.5, 0)
    low = np.minimum(np.floor(source).astype(np.int64), m.size - 1)
    share = np.where(low < m.size - 1, source - low, 0)
    rows = np.concatenate([places, places])
    columns = np.concatenate([low, low + 1])
    values = np.concatenate([1 - share, share])
    there = values != 0
    return rows[there], columns[there], values[there]


def _average(m: AxisMap) -> Entries:
    places = np.arange(m.result)
    first = places * m.size // m.result
    count = -(-(places + 1) * m.size // m.result) - first
    rows = np.repeat(places, count)
    columns = np.arange(rows.size) - np.repeat(np.cumsum(count) - count - first, count)
    return rows, columns, 1 / np.repeat(count, count)


def _edge(m: AxisMap) -> Entries:
    places = np.arange(m.result)
    return places, np.clip(places - m.details[0], 0, m.size - 1), None


def _reflect(m: AxisMap) -> Entries:
    places = np.arange(m.result)
    distance = np.abs(places - m.details[0])
    return places, m.size - 1 - np.abs(m.size - 1 - distance), None


def _windows(m: AxisMap) -> Entries:
    kernel, stride, dilate, pad = m.details
    taps, positions = np.divmod(np.arange(m.result), m.result // kernel)
    columns = positions * stride + taps * dilate - pad
    there = (columns >= 0) & (columns < m.size)
    return np.flatnonzero(there), columns[there], None


_KINDS: dict[str, Callable[[AxisMap], Entries]] = {
    "identity": _identity,
    "bilinear": _bilinear,
    "average": _average,
    "edge": _edge,
    "reflect": _reflect,
    "windows": _windows,
}


def plan(device: Device, name: str, shape: Sequence[int], maps: Sequence[AxisMap], dtype: np.dtype) -> Plan:
    """Plan the maps along the last axes of an array of ``shape``, all in one launch.

    Inputs: data. Outputs: the result, each of whose elements adds up its terms in the order of the data.
    Terms of weight 0 are left out: what is infinite or NaN there does no harm.

    Raises
    ------
    OperatorError
        An axis of more elements than an int32 counts.
    """
    kernel = _Kernel(device, name, shape, maps, dtype)
    outputs = [(kernel.out_shape, dtype)]
    if math.prod(kernel.out_shape) == 0:
        return Plan(device, [], outputs, inputs=1)
    return Plan(device, [kernel.step()], outputs, inputs=1)


class _Kernel:
    """The kernel in the making; the template reads its fields."""

    def __init__(self, device, name, shape, maps, dtype):
        self.device, self.name, self.maps, self.dtype = device, name, maps, dtype
        lead = tuple(shape[: len(shape) - len(maps)])
        self.out_shape = (*lead, *(m.result for m in maps))
        self.outer = math.prod(lead)
        largest = (self.outer, *(max(m.size, m.result) for m in maps))
        if max(largest[1:]) >= 2**31:
            raise OperatorError(
                f"{name}: shape {tuple(shape)}; accepted: axes of less than {2**31} elements"
            )
        self.signature = Signature(layout.needs_long(largest, []))
        self.weighted: list[bool] = []

    def step(self) -> Step:
        """The launch."""
        signature = self.signature
        signature.array("x", self.dtype, In(0))
        signature.array("y", self.dtype, Out(0))
        for axis, axis_map in enumerate(self.maps):
            self._tables(axis, axis_map)
        for axis, axis_map in enumerate(self.maps):
            signature.fixed(f"from{axis}", axis_map.size)
            signature.fixed(f"to{axis}", axis_map.result)
        elements = self.outer * math.prod(m.result for m in self.maps)
        signature.fixed("elements", elements)
        source = template.render("separable", k=self)
        terms = math.prod(-(-len(m.entries()[0]) // m.result) or 1 for m in self.maps)
        global_size, local_size = ranges(self.device, elements, elements * terms)
        return Step(self.name, source, global_size, local_size, signature.args)

    def _tables(self, axis: int, axis_map: AxisMap) -> None:
        rows, columns, values = axis_map.entries()
        first = np.searchsorted(rows, np.arange(axis_map.result + 1)).astype(np.int32)
        self.signature.array(f"first{axis}", dtypes.int32, Table(first))
        # at least one entry: there are no empty buffers
        columns = columns.astype(np.int32) if columns.size else np.zeros(1, np.int32)
        self.signature.array(f"at{axis}", dtypes.int32, Table(columns))
        self.weighted.append(values is not None)
        if values is not None:
            compute = dtypes.compute_type(self.dtype)
            self.signature.array(f"w{axis}", compute, Table(values.astype(compute)))
