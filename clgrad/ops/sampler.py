"""Sampling of images at the places of a grid: spatial transformers.

Sampling is linear in the image: the op and its transpose are closed under differentiation with respect to
it. The derivative with respect to the grid is again a sampling, of another order: see
:mod:`clgrad.kernels.sampler`.
"""

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, map, sampler
from clgrad.kernels.sampler import SampleGeometry
from clgrad.ops.arguments import check_floating, sizes
from clgrad.ops.product import dot
from clgrad.ops.reduction import sum
from clgrad.ops.shape import concat, with_shape
from clgrad.registry import Call, Spec, composite, operator
from clgrad.tape import state


def _geometry(data_shape, grid_shape, order) -> SampleGeometry:
    batch, channels, *size = data_shape
    return SampleGeometry(batch, channels, tuple(size), tuple(grid_shape[2:]), order)


@operator(name="_sample", label="BilinearSampler")
def _sample(call: Call, data: Spec, grid: Spec, *, order):
    """Samples of data at the places of the grid; ``order``: how often to differentiate by x and by y."""
    geometry = _geometry(data.shape, grid.shape, order)
    return sampler.plan_sample(call.device, call.kernel(data.dtype), geometry, data.dtype)


@operator(name="_sample_grad_data", label="BilinearSampler")
def _sample_grad_data(call: Call, grad: Spec, grid: Spec, *, size, order):
    """The transpose with respect to data: each element's share of the samples that it is part of."""
    geometry = _geometry((*grad.shape[:2], *size), grid.shape, order)
    return sampler.plan_spread(call.device, call.kernel(grad.dtype, "grad_data"), geometry, grad.dtype)


@operator(name="_sample_grad_grid", label="BilinearSampler")
def _sample_grad_grid(call: Call, grad: Spec, data: Spec, grid: Spec):
    """The gradient of the grid, in one launch; recorded, it is that of :func:`_grid_rule`."""
    geometry = _geometry(data.shape, grid.shape, (0, 0))
    return sampler.plan_grid(call.device, call.kernel(data.dtype, "grad_grid"), geometry, data.dtype)


def _grid_rule(dy, data, grid, order):
    """Of each place the sum over the channels of dy times the derivative of the sample."""
    if order == (0, 0) and not state.recording:
        return _sample_grad_grid(dy, data, grid)
    slopes = []
    for axis in range(2):
        if order[axis]:  # the second derivative of a triangle
            slopes.append(sum(dy, axis=1, keepdims=True) * 0)
        else:
            higher = tuple(o + (a == axis) for a, o in enumerate(order))
            slopes.append(sum(dy * _sample(data, grid, order=higher), axis=1, keepdims=True))
    return concat(*slopes, dim=1)


_sample.gradient(
    data=lambda dy, grid, data_shape, order: _sample_grad_data(dy, grid, size=data_shape[2:], order=order),
    grid=_grid_rule,
)
_sample_grad_data.gradient(
    grad=lambda dy, grid, order: _sample(dy, grid, order=order),
    grid=lambda dy, grad, grid, order: _grid_rule(grad, dy, grid, order),
)


@composite()
def BilinearSampler(data, grid, cudnn_off=None):
    """Samples of images (batch, channel, height, width) at places (batch, 2, ...), interpolated bilinearly.

    The grid's first channel is x and its second y, of any two axes: -1 is the centre of the first element
    along the axis, 1 that of the last. Elements outside the image count as 0; where a place falls on an
    element, its derivative is that from above. A place that is NaN or infinite gives NaN. ``cudnn_off`` has
    no effect.

    Source: M. Jaderberg et al.: Spatial transformer networks, 2015, section 3.3.
    """
    return _sampled("BilinearSampler", data, grid)


def _sampled(op: str, data, grid):
    check_floating(op, data=data)
    if data.ndim != 4 or 0 in data.shape[2:]:
        raise argument_error(
            op, "data", f"of shape {data.shape}", "(batch, channel, height, width), not empty"
        )
    if grid.ndim != 4 or grid.shape[:2] != (data.shape[0], 2) or grid.dtype != data.dtype:
        given = f"{grid._view.dtype} {grid.shape}"
        accepted = f"{data._view.dtype} ({data.shape[0]}, 2, height, width) for data {data.shape}"
        raise argument_error(op, "grid", given, accepted)
    return _sample(data, grid, order=(0, 0))


def _spacing(n: int) -> float:
    """Distance of neighbours on an axis from -1 to 1; an axis of one place has it at 0."""
    return 2 / (n - 1) if n > 1 else 0


@operator(name="_affine_basis", label="GridGenerator")
def _affine_basis(call: Call, *, size, dtype):
    """x, y and 1 of each place of an image, from -1 to 1: (3, height * width)."""
    dtype = dtypes.resolve(dtype)
    row, coordinates = expr.index(0), []
    for axis, slot in ((1, 2), (0, 1)):
        index = expr.cast(expr.index(slot), dtypes.compute_type(dtype))
        coordinates.append(index * _spacing(size[axis]) - float(size[axis] > 1))
    value = expr.where(row == 0, coordinates[0], expr.where(row == 1, coordinates[1], 1.0))
    space = (3, *size)
    output = map.Output(value, layout.broadcast(space, space, dtype))
    indices = [layout.index(axis, 3) for axis in range(3)]
    shape = (3, size[0] * size[1])
    return map.plan(call.device, call.kernel(dtype), space, [output], indices, out_shapes=[shape])


@operator(name="_flow", label="GridGenerator")
def _flow(call: Call, data: Spec, *, shifted):
    """Steps in elements (batch, 2, height, width) in units of a grid; ``shifted``: from each place on."""
    height, width = data.shape[2:]
    compute = dtypes.compute_type(data.dtype)
    value, is_x = expr.operand(0, data.dtype), expr.index(1) == 0
    values = []
    for n, slot in ((width, 3), (height, 2)):
        step = _spacing(n) or 1.0
        place = value + expr.cast(expr.index(slot), compute) if shifted else value
        values.append(place * step - float(shifted and n > 1))
    own = layout.broadcast(data.shape, data.shape, data.dtype)
    operands = [own, *(layout.index(axis, 4) for axis in range(1, 4))]
    output = map.Output(expr.where(is_x, *values), own)
    return map.plan(call.device, call.kernel(data.dtype), data.shape, [output], operands)


_flow.gradient(data=lambda dy: _flow(dy, shifted=False))


@composite()
def GridGenerator(data, transform_type, target_shape=(0, 0)):
    """Places for ``BilinearSampler``: (batch, 2, height, width), x and y.

    ``affine``: data (batch, 6) holds a matrix of 2 rows and 3 columns for each image, that maps (x, y, 1)
    of each place of a regular grid of ``target_shape``, from -1 to 1, to the place to sample. ``warp``:
    data (batch, 2, height, width) holds steps along x and y, in elements, from each place on.
    """
    return _generated("GridGenerator", data, transform_type, target_shape)


def _generated(op: str, data, transform_type, target_shape):
    argument = "data" if op == "GridGenerator" else "loc"
    check_floating(op, **{argument: data})
    if transform_type == "warp":
        if data.ndim != 4 or data.shape[1] != 2:
            raise argument_error(op, argument, f"of shape {data.shape}", "(batch, 2, height, width)")
        return _flow(data, shifted=True)
    if transform_type != "affine":
        raise argument_error(op, "transform_type", repr(transform_type), "'affine' or 'warp'")
    if data.ndim != 2 or data.shape[1] != 6:
        raise argument_error(op, argument, f"of shape {data.shape}", "(batch, 6)")
    size = sizes(op, "target_shape", target_shape, 2)
    if len(size) != 2 or min(size) < 1:
        raise argument_error(op, "target_shape", target_shape, "two numbers of 1 or more")
    batch = data.shape[0]
    basis = _affine_basis.create(data.context, size=size, dtype=data._view.dtype.name)
    places = dot(with_shape(data, shape=(2 * batch, 3)), basis)
    return with_shape(places, shape=(batch, 2, *size))


@composite()
def SpatialTransformer(
    data, loc: NDArray, target_shape=(0, 0), transform_type=None, sampler_type=None, cudnn_off=None
):
    """Images (batch, channel, height, width) moved by affine maps.

    It is ``BilinearSampler`` at the places of ``GridGenerator``. ``loc`` (batch, 6) holds a matrix of 2
    rows and 3 columns for each image, and ``target_shape`` is the size of the result. ``transform_type`` is
    ``affine`` and ``sampler_type`` ``bilinear``; ``cudnn_off`` has no effect.

    Source: M. Jaderberg et al.: Spatial transformer networks, 2015.
    """
    op = "SpatialTransformer"
    if transform_type != "affine":
        raise argument_error(op, "transform_type", repr(transform_type), "'affine'")
    if sampler_type != "bilinear":
        raise argument_error(op, "sampler_type", repr(sampler_type), "'bilinear'")
    return _sampled(op, data, _generated(op, loc, transform_type, target_shape))
