"""Planners of bilinear sampling of images at given places, and of its derivatives.

The sample at a place is the sum of the four elements around it, weighted by products of two triangles:
1 minus the distance along each axis. It is linear in the image; its derivative with respect to a coordinate
is the same sum with the triangle's slope in its place, -1 or 1. So kernels take an ``order``: how often to
differentiate the weights with respect to x and to y (0 or 1; a second time gives 0).
(M. Jaderberg et al.: Spatial transformer networks, 2015, section 3.3.)
"""

import math
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

#: Work-items for each compute unit from which on more of them bring nothing.
CPU_ITEMS = 4
GPU_ITEMS = 1024
#: Owners of rows of an image's gradient for each compute unit of a GPU; each reads the image's grid.
GPU_OWNERS = 256


@dataclass(frozen=True)
class SampleGeometry:
    """Shapes of a sampling: data is (batch, channels, *size), the grid (batch, 2, *out).

    The grid's first channel is x, its second y; -1 is the centre of the first element along an axis, 1 that
    of the last. ``order`` counts derivatives of the weights with respect to x and y.
    """

    batch: int
    channels: int
    size: tuple[int, int]
    out: tuple[int, int]
    order: tuple[int, int] = (0, 0)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of the images."""
        return (self.batch, self.channels, *self.size)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the samples."""
        return (self.batch, self.channels, *self.out)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of the grid."""
        return (self.batch, 2, *self.out)


def plan_sample(device: Device, name: str, geometry: SampleGeometry, dtype: np.dtype) -> Plan:
    """Plan the samples. Inputs: data, grid. Outputs: samples; elements outside the image count as 0."""
    kernel = _Kernel(device, name, "sample", geometry, dtype)
    kernel.array("x", dtype, In(0))
    kernel.array("grid", dtype, In(1))
    kernel.array("y", dtype, Out(0))
    return kernel.plan(geometry.out_shape, inputs=2)


def plan_spread(device: Device, name: str, geometry: SampleGeometry, dtype: np.dtype) -> Plan:
    """Plan the transpose with respect to data.

    Inputs: dy (shape of the samples), grid. Outputs: for each element of the images the sum of what the
    samples that it is part of give back, in the order of the samples.
    """
    kernel = _Kernel(device, name, "spread", geometry, dtype)
    kernel.array("x", dtype, In(0))
    kernel.array("grid", dtype, In(1))
    kernel.array("y", dtype, Out(0))
    return kernel.plan(geometry.data_shape, inputs=2)


def plan_grid(device: Device, name: str, geometry: SampleGeometry, dtype: np.dtype) -> Plan:
    """Plan the gradient of the grid, of samples of order (0, 0). Inputs: dy, data, grid."""
    kernel = _Kernel(device, name, "grid", geometry, dtype)
    kernel.array("dy", dtype, In(0))
    kernel.array("x", dtype, In(1))
    kernel.array("grid", dtype, In(2))
    kernel.array("y", dtype, Out(0))
    return kernel.plan(geometry.grid_shape, inputs=3)


class _Kernel:
    """A kernel in the making; the template reads its fields."""

    def __init__(self, device: Device, name: str, mode: str, geometry: SampleGeometry, dtype: np.dtype):
        self.device, self.name, self.mode, self.geometry, self.dtype = device, name, mode, geometry, dtype
        self.arrays: list[str] = []
        planes = max(math.prod(geometry.size), math.prod(geometry.out))
        largest = (geometry.batch, max(geometry.channels, 2), planes)
        self.signature = Signature(layout.needs_long(largest, []))
        self.compute = dtypes.compute_type(dtype)
        #: Whether sums are kept in scratch memory of the compute type.
        self.totals = mode == "spread" and dtype != self.compute

    def array(self, name: str, dtype: np.dtype, argument: In | Out | Scratch) -> None:
        """Add an array to the kernel's parameters."""
        self.arrays.append(name)
        self.signature.array(name, dtype, argument)

    def plan(self, shape: tuple[int, ...], inputs: int) -> Plan:
        """The plan of this one launch."""
        outputs = [(shape, self.dtype)]
        if math.prod(shape) == 0:
            return Plan(self.device, [], outputs, inputs)
        scratch = []
        if self.totals:
            scratch = [math.prod(shape) * self.compute.itemsize]
            self.array("total", self.compute, Scratch(0))
        g = self.geometry
        blocks = self._blocks()
        planes = g.batch * (g.channels if self.mode == "spread" else math.prod(g.out))
        self.signature.sizes(channels=g.channels, height=g.size[0], width=g.size[1])
        self.signature.sizes(places=math.prod(g.out), blocks=blocks, items=planes * blocks)
        source = template.render("sampler", k=self)
        work = g.batch * g.channels * math.prod(g.out)
        sizes = ranges(self.device, planes * blocks, work)
        return Plan(
            self.device, [Step(self.name, source, *sizes, self.signature.args)], outputs, inputs, scratch
        )

    def _blocks(self) -> int:
        """Blocks of channels (of rows, for a spread) that the work on a place (an image) is cut into."""
        g, units = self.geometry, self.device.capabilities.compute_units
        cpu = self.device.kind == "cpu"
        if self.mode == "grid":
            return 1
        if self.mode == "spread":
            wanted = (CPU_ITEMS if cpu else GPU_OWNERS) * units
            return max(1, min(g.size[0], wanted // (g.batch * g.channels)))
        wanted = (CPU_ITEMS if cpu else GPU_ITEMS) * units
        return max(1, min(g.channels, wanted // (g.batch * math.prod(g.out))))
