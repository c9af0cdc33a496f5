"""Planners of pooling over windows of the spatial axes, and of its derivatives; layout NC[D][H]W.

Every kernel gathers: each element of the result is computed by one work-item, which visits what
contributes to it in a fixed order, so that results are the same in every run and on every device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import expr, layout, reduce, template
from clgrad.kernels.access import fitting, vector_width
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.signature import Signature

CONVENTIONS = ("valid", "full", "same")
#: Columns of a row that one CPU work-item takes at a time, at most.
CPU_SPAN = 4096
#: Largest stride along the last axis for which gradients use vectors: one accumulator per phase.
MAX_PHASES = 4
#: Registers' worth of terms from which on a window's row is added up by a team or by a vector.
WIDE_WINDOW = 2
#: Work-items that share one window on a GPU, where the device allows.
GPU_TEAM = 128


@dataclass(frozen=True)
class PoolGeometry:
    """Windows over the spatial axes of an array of layout NCW, NCHW or NCDHW.

    Attributes
    ----------
    lead : tuple of int
        Batch and channels.
    size, out : tuple of int
        Spatial size of the data and of the result.
    kernel, stride, pad : tuple of int
        Size of a window, distance between windows, and padding before and behind each spatial axis.
    include_pad : bool
        Whether an average counts the padding (never what lies beyond it).
    """

    lead: tuple[int, int]
    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    include_pad: bool

    @classmethod
    def of(
        cls,
        op: str,
        shape: Sequence[int],
        *,
        kernel: Sequence[int] = (),
        stride: Sequence[int] | None = None,
        pad: Sequence[int] | None = None,
        convention: str = "valid",
        global_pool: bool = False,
        count_include_pad: bool = True,
    ) -> "PoolGeometry":
        """Check an operator's arguments and work out the size of its result, as MXNet 1.9.1 does.

        Parameters
        ----------
        op : str
            Named in errors.
        shape : sequence of int
            Shape of the data.
        kernel, stride, pad : sequence of int
            One number for each spatial axis; stride is 1 and pad 0 where not given. All three are
            ignored if ``global_pool``.
        convention : str
            ``valid``: only windows that the padded data holds. ``full``: the last window may reach
            beyond the padding. ``same``: a window starts at each ``stride``-th element; no padding.
        global_pool : bool
            One window, the whole of each channel.
        count_include_pad : bool
            See :class:`PoolGeometry`.

        Raises
        ------
        OperatorError
            An argument that has no meaning for data of this shape.
        """
        size = _spatial(op, shape)
        rank = len(size)
        if global_pool:
            kernel, stride, pad, convention = size, None, None, "valid"
        kernel = _per_axis(op, "kernel", kernel, rank, least=1)
        stride = _per_axis(op, "stride", (1,) * rank if stride is None else stride, rank, least=1)
        pad = _per_axis(op, "pad", (0,) * rank if pad is None else pad, rank, least=0)
        if convention not in CONVENTIONS:
            accepted = ", ".join(CONVENTIONS)
            raise OperatorError(f"{op}: pooling_convention={convention!r}; accepted: {accepted}")
        if convention == "same" and any(pad):
            raise OperatorError(f"{op}: pad={pad} with pooling_convention='same'; accepted: zeros")
        _check_fit(op, size, kernel, pad)
        axes = zip(size, kernel, stride, pad, strict=True)
        out = tuple(_out_size(convention, *axis) for axis in axes)
        lead = int(shape[0]), int(shape[1])
        return cls(lead, size, out, kernel, stride, pad, bool(count_include_pad))

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.lead + self.size

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.lead + self.out

    @property
    def is_whole(self) -> bool:
        """Whether the one window is the whole of each channel."""
        return self.kernel == self.size and not any(self.pad) and math.prod(self.out) == 1

    def flattened(self) -> "PoolGeometry":
        """The same windows over fewer axes: a window that is a whole channel is one long row."""
        if not self.is_whole:
            return self
        whole = (math.prod(self.size),)
        return replace(self, size=whole, out=(1,), kernel=whole, stride=(1,), pad=(0,))


def _spatial(op: str, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) not in (3, 4, 5):
        raise OperatorError(
            f"{op}: data has shape {tuple(shape)}; accepted: (batch, channel, *spatial) with 1 to "
            "3 spatial axes"
        )
    size = tuple(int(n) for n in shape[2:])
    if not 0 < math.prod(size) < 2**31:
        raise OperatorError(
            f"{op}: data has shape {tuple(shape)}, {math.prod(size)} elements in a channel; "
            f"accepted: 1 to {2**31 - 1}, what an int32 index reaches"
        )
    return size


def _per_axis(op: str, argument: str, values: Sequence[int], rank: int, least: int) -> tuple[int, ...]:
    checked = tuple(int(v) for v in values)
    if len(checked) != rank or any(v < least for v in checked):
        raise OperatorError(
            f"{op}: {argument}={checked}; accepted: {rank} integers of {least} or more, one for "
            "each spatial axis"
        )
    return checked


def _check_fit(op: str, size, kernel, pad) -> None:
    for axis, (n, k, p) in enumerate(zip(size, kernel, pad, strict=True)):
        if k > n + 2 * p:
            raise OperatorError(
                f"{op}: kernel={kernel} does not fit: along spatial axis {axis} the data has "
                f"{n} elements and pad adds {2 * p}; accepted: up to {n + 2 * p}"
            )


def _out_size(convention: str, n: int, kernel: int, stride: int, pad: int) -> int:
    if convention == "same":
        return -(-n // stride)
    steps = n + 2 * pad - kernel
    return 1 + (steps // stride if convention == "valid" else -(-steps // stride))


def plan_max(
    device: Device, name: str, geometry: PoolGeometry, dtype: np.dtype, *, with_index: bool = True
) -> Plan:
    """Plan the largest element of each window.

    Inputs: data. Outputs: values, and (``with_index``) int32 positions of the elements taken,
    counted in C order over the spatial axes of their channel: the first of several maxima; NaN
    counts as the largest. A window that holds nothing but padding gives the lowest finite number
    and position -1.
    """
    g = geometry
    if g.is_whole and not with_index:
        return _whole(device, name, g, dtype, "max")
    outputs = [(g.out_shape, dtype)] + [(g.out_shape, dtypes.int32)] * with_index
    kernel = _Kernel(device, name, "max", g.flattened(), dtype, with_index=with_index)
    kernel.array("x", dtype, In(0))
    kernel.array("y", dtype, Out(0))
    if with_index:
        kernel.array("index", dtypes.int32, Out(1))
    return kernel.plan(outputs, inputs=1)


def plan_max_gather(device: Device, name: str, geometry: PoolGeometry, dtype: np.dtype) -> Plan:
    """Plan the forward derivative of max pooling: what ``g`` holds where the maxima were found.

    Inputs: g (shape of the data), positions (from :func:`plan_max`). Outputs: g at these positions,
    0 at position -1.
    """
    kernel = _Kernel(device, name, "gather", geometry.flattened(), dtype)
    kernel.array("x", dtype, In(0))
    kernel.array("index", dtypes.int32, In(1))
    kernel.array("y", dtype, Out(0))
    return kernel.plan([(geometry.out_shape, dtype)], inputs=2)


def plan_max_scatter(device: Device, name: str, geometry: PoolGeometry, dtype: np.dtype) -> Plan:
    """Plan the gradient of max pooling.

    Inputs: dy, positions (from :func:`plan_max`). Outputs: dx, at each element the sum of dy over
    the windows whose maximum it was.
    """
    kernel = _Kernel(device, name, "scatter", geometry.flattened(), dtype)
    kernel.array("x", dtype, In(0))
    kernel.array("index", dtypes.int32, In(1))
    kernel.array("y", dtype, Out(0))
    return kernel.plan([(geometry.data_shape, dtype)], inputs=2)


def plan_sum(device: Device, name: str, geometry: PoolGeometry, dtype: np.dtype, *, average: bool) -> Plan:
    """Plan the sum, or the average, of each window; padding counts as 0.

    Inputs: data. Outputs: sums; 0 for a window that holds nothing but padding.
    """
    if geometry.is_whole:
        return _whole(device, name, geometry, dtype, "sum", average)
    kernel = _Kernel(device, name, "sum", geometry, dtype, average=average)
    kernel.array("x", dtype, In(0))
    kernel.array("y", dtype, Out(0))
    return kernel.plan([(geometry.out_shape, dtype)], inputs=1)


def plan_sum_grad(
    device: Device, name: str, geometry: PoolGeometry, dtype: np.dtype, *, average: bool
) -> Plan:
    """Plan the gradient of sum or average pooling.

    Inputs: dy. Outputs: dx, at each element the sum of dy (of dy divided by the window's count)
    over the windows that hold it.
    """
    kernel = _Kernel(device, name, "spread", geometry.flattened(), dtype, average=average)
    kernel.array("x", dtype, In(0))
    kernel.array("y", dtype, Out(0))
    return kernel.plan([(geometry.data_shape, dtype)], inputs=1)


def _whole(
    device: Device, name: str, geometry: PoolGeometry, dtype: np.dtype, how: str, average: bool = False
) -> Plan:
    """Plan one window for each channel: a reduction of rows."""
    shape = (math.prod(geometry.lead), math.prod(geometry.size))
    value = expr.operand(0, dtype)
    total = reduce.Reduction(value, how, dtype, (lambda t: t / shape[1]) if average else lambda t: t)
    dense = layout.broadcast(shape, shape, dtype)
    return reduce.plan(device, name, shape, (1,), [total], [dense], out_shape=geometry.out_shape)


class _Kernel:
    """One pooling kernel in the making.

    ``mode`` is ``max``, ``sum`` (a result reads its window), ``scatter``, ``spread`` (an element
    reads the windows that hold it) or ``gather`` (a result reads one element, by its position).
    """

    def __init__(
        self,
        device: Device,
        name: str,
        mode: str,
        geometry: PoolGeometry,
        dtype: np.dtype,
        *,
        average: bool = False,
        with_index: bool = True,
    ):
        g = geometry
        self.device, self.name, self.mode, self.geometry, self.dtype = device, name, mode, g, dtype
        self.average, self.with_index = average, with_index
        self.backward = mode in ("scatter", "spread")
        self.target, self.source = (g.size, g.out) if self.backward else (g.out, g.size)
        self.outer = math.prod(g.lead)
        shape = (self.outer, max(math.prod(g.size), math.prod(g.out)))
        self.signature = Signature(layout.needs_long(shape, []))
        self.span = CPU_SPAN
        #: Vectors of columns that a vector of windows spreads over; 0: one window to a row.
        self.phases = g.stride[-1] if g.out[-1] > 1 else 0
        self.team = self._team()
        self.inner, self.width = self._inner()
        #: Whether a window may hold nothing but padding along the last axis.
        beyond = (g.out[-1] - 1) * g.stride[-1] - g.pad[-1] >= g.size[-1]
        self.padding_only = g.kernel[-1] <= g.pad[-1] or beyond

    def array(self, name: str, dtype: np.dtype, argument: In | Out) -> None:
        """Add an array to the kernel's parameters."""
        self.signature.array(name, dtype, argument)

    def plan(self, outputs: Sequence[tuple[tuple[int, ...], np.dtype]], inputs: int) -> Plan:
        """The plan of this one launch."""
        if math.prod(outputs[0][0]) == 0:
            return Plan(self.device, [], outputs, inputs)
        self._sizes()
        source = template.render("pool", k=self)
        elements = self.outer * math.prod(self.target)
        global_size, local_size = self._ranges(elements)
        step = Step(self.name, source, global_size, local_size, self.signature.args)
        return Plan(self.device, [step], outputs, inputs)

    def _sizes(self) -> None:
        for prefix, sizes in (("from", self.source), ("to", self.target)):
            for axis, size in enumerate(sizes):
                self.signature.fixed(f"{prefix}{axis}", size)
        self.signature.fixed("rows", self.outer * math.prod(self.target[:-1]))
        if self.width > 1 and not self.team:
            self.signature.fixed("outer", self.outer)
            self.signature.fixed("inner_first", self.inner[0])
            self.signature.fixed("inner_last", self.inner[1])

    def _team(self) -> int:
        """Members that share one window: lanes of a vector or work-items; 0 without sharing."""
        g = self.geometry
        if self.mode not in ("max", "sum"):
            return 0
        if self.device.kind == "cpu":
            register = vector_width(self.device.capabilities.vector_bytes, [self.dtype])
            worth = g.kernel[-1] >= WIDE_WINDOW * register and g.out[-1] < register
            return register if worth else 0
        team = min(GPU_TEAM, self.device.capabilities.max_work_group_size)
        return team if len(g.size) == 1 and g.kernel[-1] >= WIDE_WINDOW * team else 0

    def _inner(self) -> tuple[tuple[int, int], int]:
        """Columns [first, last) that vectors may cover without bounds checks, and their width."""
        if self.device.kind != "cpu" or self.mode == "gather" or self.team:
            return (0, 0), 1
        if not self.backward:
            return self._inside(), self._fitting(self.geometry.out[-1])
        g = self.geometry
        stride, pad = g.stride[-1], g.pad[-1]
        if self.phases == 0:
            last = min(g.size[-1], g.kernel[-1] - pad)
            return (0, last), self._fitting(last)
        if self.phases > MAX_PHASES:
            return (0, 0), 1
        first, last = self._inner_windows()
        fill = g.size[-1] if stride == 1 else last - first
        return (first * stride - pad, last * stride - pad), self._fitting(fill)

    def _inside(self) -> tuple[int, int]:
        """Windows that lie within the data along the last axis."""
        g = self.geometry
        n, k, s, p = g.size[-1], g.kernel[-1], g.stride[-1], g.pad[-1]
        return -(-p // s), min(g.out[-1], (n + p - k) // s + 1)

    def _inner_windows(self) -> tuple[int, int]:
        """Windows q whose columns q * stride - pad + phase take the same steps in a gradient.

        These columns exist, the windows before q that also hold them exist, and in an average they
        all count the same.
        """
        g = self.geometry
        n, k, s, p = g.size[-1], g.kernel[-1], g.stride[-1], g.pad[-1]
        whole = (0, g.out[-1])
        if self.average:
            whole = (0, (n + 2 * p - k) // s + 1) if g.include_pad else self._inside()
        first = max(whole[0] + (k - 1) // s, -(-p // s))
        return first, min(g.out[-1], whole[1], (n + p) // s)

    def _fitting(self, columns: int) -> int:
        """The widest vector that the device has and the columns fill."""
        return fitting(vector_width(self.device.capabilities.vector_bytes, [self.dtype]), columns)

    def _ranges(self, elements: int) -> tuple[tuple[int], tuple[int]]:
        if self.device.kind == "cpu":
            tiles = elements // self.target[-1] * -(-self.target[-1] // self.span)
            reads = elements * math.prod(self.geometry.kernel) if self.team else elements
            return ranges(self.device, tiles, reads)
        if self.team:
            groups = min(elements, 32 * self.device.capabilities.compute_units)
            return (groups * self.team,), (self.team,)
        return ranges(self.device, elements, elements)
