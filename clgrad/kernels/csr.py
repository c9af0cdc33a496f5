"""Planners for matrices in compressed rows (CSR): conversion, transposition, product with a dense matrix.

Such a matrix is data, indices (both of the stored elements, row after row) and indptr (rows + 1): where
each row begins. Indices are int64, and within the matrix: callers have checked that.
"""

import math

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Dtype of indices and of indptr.
INDEX = dtypes.int64
#: Work-items that add up row sizes on a GPU, at most.
GPU_TEAM = 256
#: Owners of columns for each compute unit of a GPU; each of them reads every index.
GPU_OWNERS = 64

Shape = tuple[int, int]


def plan_pointers(device: Device, name: str, shape: Shape, dtype: np.dtype) -> Plan:
    """Plan indptr of a dense matrix, whose zeros are left out. Inputs: matrix."""
    rows, _ = shape
    count, scan = (_Kernel(device, shape, dtype) for _ in range(2))
    count.array("matrix", dtype, In(0))
    count.array("indptr", INDEX, Out(0))
    scan.array("indptr", INDEX, Out(0))
    steps = [count.step(f"{name}_count", "count", rows, math.prod(shape))] if rows else []
    return Plan(device, [*steps, scan.scan(name, rows)], [((rows + 1,), INDEX)], inputs=1)


def plan_compress(device: Device, name: str, shape: Shape, dtype: np.dtype, terms: int) -> Plan:
    """Plan data and indices of a dense matrix. Inputs: matrix, indptr, which counts ``terms`` elements."""
    kernel = _Kernel(device, shape, dtype)
    kernel.array("matrix", dtype, In(0))
    kernel.array("indptr", INDEX, In(1))
    kernel.array("data", dtype, Out(0))
    kernel.array("indices", INDEX, Out(1))
    steps = [kernel.step(name, "compress", shape[0], math.prod(shape))] if terms else []
    return Plan(device, steps, [((terms,), dtype), ((terms,), INDEX)], inputs=2)


def plan_dense(device: Device, name: str, shape: Shape, dtype: np.dtype) -> Plan:
    """Plan the dense matrix. Inputs: data, indices, indptr."""
    kernel = _Kernel(device, shape, dtype)
    kernel.parts(first=0)
    kernel.array("matrix", dtype, Out(0))
    steps = [kernel.step(name, "dense", shape[0], math.prod(shape))] if math.prod(shape) else []
    return Plan(device, steps, [(shape, dtype)], inputs=3)


def plan_transpose(device: Device, name: str, shape: Shape, dtype: np.dtype, terms: int) -> Plan:
    """Plan data, indices and indptr of the transposed matrix. Inputs: data, indices, indptr."""
    columns = shape[1]
    count, scan, place = (_Kernel(device, shape, dtype) for _ in range(3))
    count.parts(first=0)
    count.array("t_indptr", INDEX, Out(2))
    scan.array("indptr", INDEX, Out(2))
    place.parts(first=0)
    place.array("t_data", dtype, Out(0))
    place.array("t_indices", INDEX, Out(1))
    place.array("t_indptr", INDEX, Out(2))
    place.array("next", INDEX, Scratch(0))
    steps = [count.owned(f"{name}_count", "columns", terms)] if columns else []
    steps.append(scan.scan(f"{name}_scan", columns))
    if terms:
        steps.append(place.owned(name, "transpose", terms))
    outputs = [((terms,), dtype), ((terms,), INDEX), ((columns + 1,), INDEX)]
    scratch = [columns * INDEX.itemsize] if terms else []
    return Plan(device, steps, outputs, inputs=3, scratch=scratch)


def plan_dot(device: Device, name: str, shape: Shape, width: int, dtype: np.dtype, inputs: int) -> Plan:
    """Plan the product with a dense matrix of ``width`` columns.

    Inputs: rhs, data, indices, indptr, and others that are not read, ``inputs`` in all.
    """
    kernel = _Kernel(device, shape, dtype)
    kernel.array("rhs", dtype, In(0))
    kernel.parts(first=1)
    kernel.array("y", dtype, Out(0))
    outputs = [((shape[0], width), dtype)]
    elements = shape[0] * width
    steps = [kernel.step(name, "dot", elements, 16 * elements, width=width)] if elements else []
    return Plan(device, steps, outputs, inputs=inputs)


class _Kernel:
    """One kernel of the template, with its parameters."""

    def __init__(self, device: Device, shape: Shape, dtype: np.dtype):
        self.device, self.shape, self.dtype = device, shape, dtype
        self.signature = Signature(layout.needs_long(shape, []))
        self.arrays: list[str] = []
        self.team = 1

    def array(self, name: str, dtype: np.dtype, source: In | Out | Scratch) -> None:
        """A parameter that is an array."""
        self.signature.array(name, dtype, source)
        self.arrays.append(name)

    def parts(self, first: int) -> None:
        """The three arrays of the matrix; ``first`` is the input that holds data."""
        for i, (name, dtype) in enumerate((("data", self.dtype), ("indices", INDEX), ("indptr", INDEX))):
            self.array(name, dtype, In(first + i))

    def step(self, name: str, kernel: str, blocks: int, elements: int, **sizes: int) -> Step:
        """A launch of independent blocks."""
        return self._launch(name, kernel, ranges(self.device, blocks, elements), **sizes)

    def scan(self, name: str, rows: int) -> Step:
        """The launch of one work-group that sums row sizes up."""
        if self.device.kind != "cpu":
            limit = min(GPU_TEAM, self.device.capabilities.max_work_group_size)
            self.team = 1 << (limit.bit_length() - 1)
        self.shape = rows, self.shape[1]
        return self._launch(name, "scan", ((self.team,), (self.team,)))

    def owned(self, name: str, kernel: str, terms: int) -> Step:
        """A launch whose work-items own a block of columns each, and read all ``terms`` elements."""
        units, columns = self.device.capabilities.compute_units, self.shape[1]
        cpu = self.device.kind == "cpu"
        owners = min(columns, units if cpu else GPU_OWNERS * units)
        sizes = ((owners,), (1,)) if cpu else ranges(self.device, owners, owners)
        return self._launch(name, kernel, sizes, owners=owners)

    def _launch(self, name: str, kernel: str, ranges_, **sizes: int) -> Step:
        for size, value in {"rows": self.shape[0], "columns": self.shape[1], **sizes}.items():
            self.signature.fixed(size, value)
        source = template.render("csr", name=name, kernel=kernel, k=self)
        global_size, local_size = ranges_
        return Step(name, source, global_size, local_size, self.signature.args)
