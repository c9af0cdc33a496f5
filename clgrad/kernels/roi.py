"""Planners of pooling over regions of images: averages of samples (align), or maxima (pool).

A region is a row of ``rois``: number of the image, then x1, y1, x2, y2 in the units of another image, times
``scale``. Rows whose image does not exist give 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature


@dataclass(frozen=True)
class RoiGeometry:
    """Shapes of a pooling over regions: data is (batch, channels, *size).

    Attributes
    ----------
    regions : int
        Rows of ``rois``.
    pooled : (int, int)
        Bins of a region along height and width.
    scale : float
        From the regions' units to elements.
    ratio : int
        Align: samples of a bin along each axis; 0 or less: as many as the bin has elements, rounded up.
    by_position : bool
        Align: each bin reads channels of its own, of which data has bins times as many.
    aligned : bool
        Align: whether elements are cells whose centre is at a half; then a region may be thinner than 1.
    """

    batch: int
    channels: int
    size: tuple[int, int]
    regions: int
    pooled: tuple[int, int]
    scale: float
    ratio: int = 0
    by_position: bool = False
    aligned: bool = False

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of the images."""
        return (self.batch, self.channels, *self.size)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (self.regions, self.out_channels, *self.pooled)

    @property
    def out_channels(self) -> int:
        """Channels of the result."""
        return self.channels // math.prod(self.pooled) if self.by_position else self.channels


def plan_align(device: Device, name: str, geometry: RoiGeometry, dtype: np.dtype) -> Plan:
    """Plan the averages of bilinear samples. Inputs: data, rois. Outputs: averages, of each bin."""
    arrays = [*_reads(dtype), ("y", dtype, Out(0))]
    return _plan(device, name, "align", geometry, dtype, arrays, [(geometry.out_shape, dtype)])


def plan_align_grad(device: Device, name: str, geometry: RoiGeometry, dtype: np.dtype) -> Plan:
    """Plan the transpose of :func:`plan_align`. Inputs: dy, rois. Outputs: dx."""
    arrays = [*_reads(dtype), ("y", dtype, Out(0))]
    return _plan(device, name, "align_grad", geometry, dtype, arrays, [(geometry.data_shape, dtype)])


def plan_max(device: Device, name: str, geometry: RoiGeometry, dtype: np.dtype) -> Plan:
    """Plan the largest element of each bin.

    Inputs: data, rois. Outputs: values, and int32 places of the elements taken, counted in their channel:
    the first of several maxima; NaN counts as the largest. An empty bin gives 0 and place -1.
    """
    arrays = [*_reads(dtype), ("y", dtype, Out(0)), ("index", dtypes.int32, Out(1))]
    outputs = [(geometry.out_shape, dtype), (geometry.out_shape, dtypes.int32)]
    return _plan(device, name, "max", geometry, dtype, arrays, outputs)


def plan_max_gather(device: Device, name: str, geometry: RoiGeometry, dtype: np.dtype) -> Plan:
    """Plan what ``g`` (shape of the data) holds at the places of the maxima. Inputs: g, rois, places."""
    arrays = [*_reads(dtype), ("index", dtypes.int32, In(2)), ("y", dtype, Out(0))]
    return _plan(device, name, "gather", geometry, dtype, arrays, [(geometry.out_shape, dtype)], inputs=3)


def plan_max_scatter(device: Device, name: str, geometry: RoiGeometry, dtype: np.dtype) -> Plan:
    """Plan the transpose of :func:`plan_max_gather`. Inputs: dy, rois, places. Outputs: dx."""
    arrays = [*_reads(dtype), ("index", dtypes.int32, In(2)), ("y", dtype, Out(0))]
    return _plan(device, name, "scatter", geometry, dtype, arrays, [(geometry.data_shape, dtype)], inputs=3)


#: A kernel's parameter: name, dtype and argument.
_Array = tuple[str, np.dtype, In | Out]


def _reads(dtype: np.dtype) -> list[_Array]:
    return [("x", dtype, In(0)), ("rois", dtype, In(1))]


def _plan(
    device: Device,
    name: str,
    mode: str,
    geometry: RoiGeometry,
    dtype: np.dtype,
    arrays: Sequence[_Array],
    outputs: Sequence[tuple[tuple[int, ...], np.dtype]],
    inputs: int = 2,
) -> Plan:
    g = geometry
    elements = math.prod(outputs[0][0])
    if elements == 0:
        return Plan(device, [], outputs, inputs)
    largest = (max(g.batch, g.regions), g.channels, max(math.prod(g.size), math.prod(g.pooled)))
    signature = Signature(layout.needs_long(largest, []))
    backward = mode in ("align_grad", "scatter")
    compute = dtypes.compute_type(dtype)
    # On a CPU an owner adds to a whole channel, in the compute type.
    owned = backward and device.kind == "cpu"
    totals = owned and dtype != compute
    for array in arrays:
        signature.array(*array)
    if totals:
        signature.array("total", compute, Scratch(0))
    signature.sizes(batch=g.batch, channels=g.channels, height=g.size[0], width=g.size[1])
    signature.sizes(regions=g.regions, out_channels=g.out_channels, elements=elements)
    source = template.render(
        "roi",
        name=name,
        mode=mode,
        g=g,
        device=device,
        dtype=dtype,
        signature=signature,
        arrays=[array for array, _, _ in arrays] + ["total"] * totals,
        owned=owned,
        totals=totals,
    )
    each = math.prod(g.out_shape if owned else (g.regions,)) if backward else math.prod(g.size)
    blocks = g.batch * g.channels if owned else elements
    sizes = ranges(device, blocks, blocks * max(1, each))
    scratch = [elements * compute.itemsize] * totals
    return Plan(device, [Step(name, source, *sizes, signature.args)], outputs, inputs, scratch)
