"""Planner of N-d convolutions and their gradients, as implicit matrix products.

Data is [image][channel][spatial...], weights are [out channel][in channel / groups][kernel...].
Each of the three is one product, with groups as its batch and im2col done by the loads:

=================  ==================  =====================  ==========================
product            rows of C           columns of C           summed over
=================  ==================  =====================  ==========================
forward            out channel         image, output position in channel, kernel tap
data gradient      in channel          image, input position  out channel, kernel tap
weight gradient    out channel         in channel, tap        image, output position
=================  ==================  =====================  ==========================

With a stride, the taps that reach an input position depend on its coordinates modulo the stride.
The data gradient is therefore one product for each such phase, a convolution of stride 1 with its
share of the taps: no zeros are multiplied. (V. Dumoulin, F. Visin: A guide to convolution
arithmetic for deep learning, 2016, section 4, gives the geometry.)

On CPUs, kernels without im2col make the products where it costs too much (see
:mod:`clgrad.kernels.matmul`), and 3 x 3 taps with stride 1 leave it to :mod:`clgrad.kernels.winograd`.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.errors import OperatorError
from clgrad.kernels import winograd
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.launch import Affine, In, Out, Plan
from clgrad.kernels.matmul import plan, plan_batch_sum, plan_product
from clgrad.kernels.product import Axis, Product, Roles, Strided, Window, matrix

#: Positions of an image, and channels on either side, from which on it pays to make the gradient of 1 x 1
#: weights image by image; and how large all these gradients together may be.
_POINTWISE_POSITIONS, _POINTWISE_CHANNELS, _POINTWISE_PARTS = 512, 16, 1 << 22


@dataclass(frozen=True)
class ConvGeometry:
    """Shapes of a convolution; the tuples have one entry for each spatial axis.

    Raises
    ------
    OperatorError
        The shapes do not fit each other.

    Example
    -------
    >>> ConvGeometry(64, 1, 20, (28, 28), (5, 5)).output
    (24, 24)
    """

    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    dilate: tuple[int, ...] = ()
    pad: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self):
        rank = len(self.size)
        for field, default in (("stride", 1), ("dilate", 1), ("pad", 0)):
            if not getattr(self, field):
                object.__setattr__(self, field, (default,) * rank)
        self._check_rank(rank)
        for field, least in (("kernel", 1), ("stride", 1), ("dilate", 1), ("pad", 0)):
            value = getattr(self, field)
            if min(value) < least:
                raise OperatorError(f"convolution: {field}={value}; accepted: {least} or more")
        self._check_groups()
        for d in range(rank):
            if self.size[d] + 2 * self.pad[d] < self.extent(d):
                raise OperatorError(
                    f"convolution: kernel={self.kernel} with dilate={self.dilate} spans "
                    f"{self.extent(d)} along spatial axis {d}; accepted: at most the padded size "
                    f"{self.size[d] + 2 * self.pad[d]} (size={self.size}, pad={self.pad})"
                )

    def _check_rank(self, rank: int) -> None:
        if not 1 <= rank <= 3:
            raise OperatorError(
                f"convolution: data has {rank} spatial axes (size={self.size}); accepted: 1 to 3"
            )
        for field in ("kernel", "stride", "dilate", "pad"):
            value = getattr(self, field)
            if len(value) != rank:
                raise OperatorError(
                    f"convolution: {field}={value} has {len(value)} entries; accepted: {rank}, one "
                    f"for each spatial axis of the data"
                )

    def _check_groups(self) -> None:
        if self.groups < 1:
            raise OperatorError(f"convolution: groups={self.groups}; accepted: 1 or more")
        for field in ("in_channels", "out_channels"):
            if getattr(self, field) % self.groups:
                raise OperatorError(
                    f"convolution: {field}={getattr(self, field)} with groups={self.groups}; "
                    f"accepted: a multiple of groups"
                )

    def extent(self, d: int) -> int:
        """How far the dilated kernel reaches along spatial axis ``d``."""
        return (self.kernel[d] - 1) * self.dilate[d] + 1

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        return tuple(
            (self.size[d] + 2 * self.pad[d] - self.extent(d)) // self.stride[d] + 1
            for d in range(len(self.size))
        )

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return (self.batch, self.in_channels, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (self.batch, self.out_channels, *self.output)

    @property
    def group_in(self) -> int:
        """Input channels of a group."""
        return self.in_channels // self.groups

    @property
    def group_out(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups


def plan_forward(
    device: Device,
    name: str,
    dtype: np.dtype,
    geometry: ConvGeometry,
    bias: bool = False,
    epilogue: Epilogue | None = None,
) -> Plan:
    """Plan the convolution; inputs are data, weights, if any bias [out channel], and the epilogue's arrays.

    There may be an epilogue if the plan without one ``finishes``.
    """
    made = _plan_forward(device, name, dtype, geometry, bias, epilogue)
    with_bias = functools.partial(plan_forward, device, name, dtype, geometry, True)
    made.affine = Affine(1, 1, bias, with_bias)
    return made


def _plan_forward(
    device: Device,
    name: str,
    dtype: np.dtype,
    geometry: ConvGeometry,
    bias: bool,
    epilogue: Epilogue | None,
) -> Plan:
    g = geometry
    taps, positions = math.prod(g.kernel), math.prod(g.output)
    shape = winograd_shape(g)
    if shape is not None and winograd.takes(device, dtype, shape):
        return winograd.plan(device, name, shape, bias)
    product = Product(
        dtype,
        m=g.group_out,
        n=g.batch * positions,
        k=g.group_in * taps,
        batch=g.groups,
        a=Strided(
            batch=_groups(g, g.group_out * g.group_in * taps),
            row=Axis.of((g.group_out, g.group_in * taps)),
            column=Axis.of((g.group_in * taps, 1)),
        ),
        b=_image_windows(g),
        c=Strided(
            batch=_groups(g, g.group_out * positions),
            row=Axis.of((g.group_out, positions)),
            column=Axis.of((g.batch, g.out_channels * positions), (positions, 1)),
        ),
        bias="row" if bias else None,
        bias_batch=g.group_out,
        epilogue=epilogue,
    )
    return plan_product(device, name, product, g.output_shape, a=1, b=0)


def plan_grad_weight(device: Device, name: str, dtype: np.dtype, geometry: ConvGeometry) -> Plan:
    """Plan the gradient of the weights; inputs are data and the output's gradient."""
    g = geometry
    shape = winograd_shape(g)
    if shape is not None and winograd.takes_grad_weight(device, dtype, shape):
        return winograd.plan_grad_weight(device, name, shape)
    if _pointwise(device, dtype, g):
        return _plan_pointwise_grad_weight(device, name, dtype, g)
    taps, positions = math.prod(g.kernel), math.prod(g.output)
    product = Product(
        dtype,
        m=g.group_out,
        n=g.group_in * taps,
        k=g.batch * positions,
        batch=g.groups,
        a=Strided(
            batch=_groups(g, g.group_out * positions),
            row=Axis.of((g.group_out, positions)),
            column=Axis.of((g.batch, g.out_channels * positions), (positions, 1)),
        ),
        b=_image_windows(g, transposed=True),
        c=Strided(
            batch=_groups(g, g.group_out * g.group_in * taps),
            row=Axis.of((g.group_out, g.group_in * taps)),
            column=Axis.of((g.group_in * taps, 1)),
        ),
    )
    roles: Roles = {"a": In(1), "b": In(0), "c": Out(0)}
    return plan(device, name, [product], roles, [(g.weight_shape, dtype)], inputs=2)


def _pointwise(device: Device, dtype: np.dtype, g: ConvGeometry) -> bool:
    """Whether the gradient of the weights is a sum over images, of products of matrices as they lie."""
    plain = math.prod(g.kernel) == math.prod(g.stride) == g.groups == 1 and not any(g.pad)
    return (
        device.kind == "cpu"
        and plain
        and g.batch > 0
        and dtypes.compute_type(dtype) == dtype
        and math.prod(g.size) >= _POINTWISE_POSITIONS
        and min(g.in_channels, g.out_channels) >= _POINTWISE_CHANNELS
        and g.batch * g.in_channels * g.out_channels <= _POINTWISE_PARTS
    )


def _plan_pointwise_grad_weight(device: Device, name: str, dtype: np.dtype, g: ConvGeometry) -> Plan:
    positions = math.prod(g.size)
    product = Product(
        dtype, g.out_channels, g.in_channels, positions, g.batch,
        a=matrix(g.out_channels, positions, False, g.batch),
        b=matrix(positions, g.in_channels, True, g.batch),
        c=matrix(g.out_channels, g.in_channels, False, 1),
    )  # fmt: skip
    roles: Roles = {"a": In(1), "b": In(0), "c": Out(0)}
    return plan_batch_sum(device, name, product, roles, [(g.weight_shape, dtype)], inputs=2)


def plan_grad_data(
    device: Device, name: str, dtype: np.dtype, geometry: ConvGeometry, bias: bool = False
) -> Plan:
    """Plan the gradient of the data, which is also the transposed convolution (Deconvolution).

    Inputs are the output's gradient, weights and, if any, bias [in channel].
    """
    shape = winograd_shape(geometry, gradient=True)
    if shape is not None and winograd.takes(device, dtype, shape):
        return winograd.plan(device, name, shape, bias)
    products = [_phase_product(dtype, geometry, p, bias) for p in _phases(geometry)]
    roles: Roles = {"a": In(1), "b": In(0), "bias": In(2), "c": Out(0)}
    outputs = [(geometry.data_shape, dtype)]
    return plan(device, name, products, roles, outputs, inputs=3 if bias else 2)


def winograd_shape(g: ConvGeometry, gradient: bool = False) -> winograd.Shape | None:
    """The convolution, or the gradient of its data, if its kernel is one for Winograd's method."""
    if g.kernel != (3, 3) or g.stride != (1, 1) or g.dilate != (1, 1) or g.groups > 1:
        return None
    (size0, size1), (pad0, pad1) = g.size, g.pad
    (out0, out1) = g.output
    if gradient:
        return winograd.Shape(
            g.batch, g.out_channels, g.in_channels, (out0, out1), (size0, size1), (2 - pad0, 2 - pad1),
            filter_stride=9, channel_stride=9 * g.in_channels, flipped=True,
        )  # fmt: skip
    return winograd.Shape(
        g.batch, g.in_channels, g.out_channels, (size0, size1), (out0, out1), (pad0, pad1),
        filter_stride=9 * g.in_channels, channel_stride=9, flipped=False,
    )  # fmt: skip


def _groups(g: ConvGeometry, stride: int) -> Axis:
    return Axis(((g.groups, stride if g.groups > 1 else 0),))


def _image_windows(g: ConvGeometry, transposed: bool = False) -> Window:
    area = math.prod(g.size)
    return Window(
        batch_stride=g.group_in * area,
        image_stride=g.in_channels * area,
        channel_stride=area,
        total=g.batch * g.in_channels * area,
        size=g.size,
        positions=g.output,
        kernel=g.kernel,
        scale=g.stride,
        origin=tuple(-p for p in g.pad),
        step=g.dilate,
        transposed=transposed,
    )


@dataclass(frozen=True)
class _Phase:
    """Along one axis, the inputs i = first + stride * q, and the taps that reach them.

    Tap t = last_tap - period * s of position q meets output ``origin + q + s * step``: the taps are
    counted from the last one, so that memory is read forwards.
    """

    first: int
    positions: int
    last_tap: int
    period: int
    taps: int
    origin: int
    step: int


def _axis_phases(g: ConvGeometry, d: int) -> list[_Phase]:
    stride, dilate = g.stride[d], g.dilate[d]
    period = stride // math.gcd(stride, dilate)
    phases = []
    for first in range(min(stride, g.size[d])):
        reach = first + g.pad[d]
        taps = [t for t in range(g.kernel[d]) if (reach - t * dilate) % stride == 0]
        last_tap = taps[-1] if taps else 0
        phases.append(
            _Phase(
                first=first,
                positions=-(-(g.size[d] - first) // stride),
                last_tap=last_tap,
                period=period,
                taps=len(taps),
                origin=(reach - last_tap * dilate) // stride,
                step=period * dilate // stride,
            )
        )
    return phases


def _phases(g: ConvGeometry) -> Iterator[tuple[_Phase, ...]]:
    return itertools.product(*(_axis_phases(g, d) for d in range(len(g.size))))


def _pitches(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[d + 1 :]) for d in range(len(shape))]


def _phase_product(dtype: np.dtype, g: ConvGeometry, phases: tuple[_Phase, ...], bias: bool) -> Product:
    area, positions, taps = math.prod(g.size), math.prod(g.output), math.prod(g.kernel)
    axes = range(len(g.size))
    pixel, tap = _pitches(g.size), _pitches(g.kernel)
    return Product(
        dtype,
        m=g.group_in,
        n=g.batch * math.prod(p.positions for p in phases),
        k=g.group_out * math.prod(p.taps for p in phases),
        batch=g.groups,
        a=Strided(
            batch=_groups(g, g.group_out * g.group_in * taps),
            row=Axis.of((g.group_in, taps)),
            column=Axis.of(
                (g.group_out, g.group_in * taps),
                *((phases[d].taps, -phases[d].period * tap[d]) for d in axes),
            ),
            base=sum(phases[d].last_tap * tap[d] for d in axes),
        ),
        b=Window(
            batch_stride=g.group_out * positions,
            image_stride=g.out_channels * positions,
            channel_stride=positions,
            total=g.batch * g.out_channels * positions,
            size=g.output,
            positions=tuple(p.positions for p in phases),
            kernel=tuple(p.taps for p in phases),
            scale=(1,) * len(g.size),
            origin=tuple(p.origin for p in phases),
            step=tuple(p.step for p in phases),
        ),
        c=Strided(
            batch=_groups(g, g.group_in * area),
            row=Axis.of((g.group_in, area)),
            column=Axis.of(
                (g.batch, g.in_channels * area),
                *((phases[d].positions, g.stride[d] * pixel[d]) for d in axes),
            ),
            base=sum(phases[d].first * pixel[d] for d in axes),
        ),
        bias="row" if bias else None,
        bias_batch=g.group_in,
    )
