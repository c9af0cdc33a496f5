"""Standardising by mean and variance: of a batch, a layer, an instance, or a group of channels.

All of them are one op, ``_normalize``, over different axes: two launches forward, one where what has a mean
in common lies in one piece (layers, instances, groups); backward one for the sums, one for the gradient of
the data, and one or two small ones for those of gamma and beta, of layers on CPUs one and a small one.
Statistics are kept in the dtype that is computed in, float32 for the 16-bit ones.
"""

import math

from clgrad import dtypes, tape
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.kernels import expr, layout, reduce, rowwise
from clgrad.kernels.launch import In
from clgrad.ops import reduction
from clgrad.ops.activation import relu
from clgrad.ops.arguments import check_floating, kept_shape, reduced_axes
from clgrad.ops.conversion import cast
from clgrad.ops.shape import along, with_shape
from clgrad.ops.unary import rsqrt, sqrt
from clgrad.registry import Call, Spec, composite, elementwise, grouped, operator, table

# Mean and variance


@operator(name="_moments", label="moments", outputs=("mean", "var"))
def _moments(call: Call, data: Spec, *, kept, shape, wide):
    """Mean and variance over the axes that are not kept, in one pass and without cancellation.

    The variance is that of x - p, p the first element: differences that are exact where the elements are
    near each other and far from 0. ``shape`` is that of the results; ``wide`` keeps them in the dtype
    that is computed in.
    """
    own, axes = data.shape, tuple(a for a in range(len(data.shape)) if a not in kept)
    count = math.prod(own[a] for a in axes)
    dtype = dtypes.compute_type(data.dtype) if wide else data.dtype
    x = expr.operand(0, data.dtype)

    def mean(total):
        return total / count if count else total * math.nan

    values = {"sum": x, "deviation": x - expr.operand(1, data.dtype)}
    results = [reduce.Reduction(value, how, dtype, mean) for how, value in values.items()]
    dense = layout.broadcast(own, own, data.dtype)
    first = layout.Operand(data.dtype, tuple(0 if a in axes else s for a, s in enumerate(dense.strides)))
    name, sources = call.kernel(data.dtype), [In(0), In(0)]
    return reduce.plan(
        call.device, name, own, axes, results, [dense, first], out_shape=shape, sources=sources
    )


@_moments.joint_gradient("data")
def _(d_mean, d_var, data, mean, kept):
    """(d_mean + 2 (x - mean) d_var) / n: what var owes to the mean sums to 0."""
    axes = tuple(a for a in range(data.ndim) if a not in kept)
    small = kept_shape(data.shape, axes)
    share = 1 / max(1, math.prod(data.shape[a] for a in axes))
    d_mean, d_var, mean = (with_shape(v, shape=small) for v in (d_mean, d_var, mean))
    return ((d_mean + 2 * (data - mean) * d_var) * share,)


@composite()
def moments(data, axes=None, keepdims=False):
    """Mean and variance (of the population: the sum of squares is divided by n) along axes."""
    check_floating("moments", data=data)
    reduced = reduced_axes("moments", data.ndim, axes)
    kept = tuple(a for a in range(data.ndim) if a not in reduced)
    shape = kept_shape(data.shape, reduced) if keepdims else tuple(data.shape[a] for a in kept) or (1,)
    return _moments(data, kept=kept, shape=shape, wide=False)


# Standardising


@elementwise(name="_standardize", free=("mean", "var", "gamma", "beta"), domain=(0.5, 2))
def _standardize(data, mean, var, gamma, beta, eps: float):
    """gamma (x - mean) / sqrt(var + eps) + beta."""
    return (data - mean) * rsqrt(var + eps) * gamma + beta


_standardize.gradient(
    data=lambda dy, var, gamma, eps: dy * gamma * rsqrt(var + eps),
    mean=lambda dy, var, gamma, eps: -(dy * gamma * rsqrt(var + eps)),
    var=lambda dy, data, mean, var, gamma, eps: (
        -0.5 * dy * gamma * (data - mean) * rsqrt(var + eps) / (var + eps)
    ),
    gamma=lambda dy, data, mean, var, eps: dy * (data - mean) * rsqrt(var + eps),
    beta=lambda dy: dy,
)


@operator(name="_standardize_rows", label="normalize", outputs=("y", "mean", "var"), numbers=("eps",))
def _standardize_rows(call: Call, data: Spec, gamma: Spec, beta: Spec, *, leading, eps):
    """What ``_normalize`` gives over all but so many leading axes, in one launch."""
    own = data.shape
    shape = (math.prod(own[:leading]), math.prod(own[leading:]))
    kinds = {"x": data.dtype, "gamma": gamma.dtype, "beta": beta.dtype}
    small = kept_shape(own, tuple(range(leading, len(own))))
    period = 0 if _runs_along(gamma) else own[leading - 1]
    name = call.kernel(data.dtype)
    return rowwise.plan_standardize(call.device, name, shape, kinds, [own, small, small], period)


@operator(name="_standardize_rows_grad", outputs=("d_gamma", "d_beta", "dx"), numbers=("eps",))
def _standardize_rows_grad(call: Call, grad: Spec, data: Spec, mean: Spec, var: Spec, gamma: Spec, *, eps):
    """The gradients of ``_normalize`` over the last axis, of some rows."""
    shape = (math.prod(data.shape[:-1]), data.shape[-1])
    kinds = {"x": data.dtype, "gamma": gamma.dtype}
    shapes = [gamma.shape, gamma.shape, data.shape]
    return rowwise.plan_standardize_grad(call.device, call.kernel(data.dtype), shape, kinds, shapes)


def _runs_along(gamma) -> bool:
    """Whether gamma changes along rows that are standardised, and not from one to the next."""
    return gamma.shape[-1] > 1


def _is_one_launch(data, gamma, beta, kept) -> bool:
    """Whether rows lie in one piece, with a gamma and beta for each column, or for each last kept axis."""
    shape, leading = data.shape, len(kept)
    if kept != tuple(range(leading)) or not data.size:
        return False
    rows, n = math.prod(shape[:leading]), math.prod(shape[leading:])
    if _runs_along(gamma):
        fits = leading == data.ndim - 1 and gamma.size == beta.size == n
    else:
        fits = leading > 0 and gamma.size == beta.size == shape[leading - 1] == gamma.shape[leading - 1]
    return fits and rowwise.can_standardize(data._view.device, rows, n, data._view.dtype)


@grouped(name="_normalize", outputs=("y", "mean", "var"))
def _normalize(data, gamma, beta, *, kept, eps):
    """Data standardised over the axes that are not kept; and mean and variance, those axes as size 1.

    gamma and beta have data's axes, some of size 1; or those of the last axis have no others.
    """
    if _is_one_launch(data, gamma, beta, kept):
        return _standardize_rows(data, gamma, beta, leading=len(kept), eps=eps)
    axes = tuple(a for a in range(data.ndim) if a not in kept)
    mean, var = _moments(data, kept=kept, shape=kept_shape(data.shape, axes), wide=True)
    return [_standardize(data, mean, var, gamma, beta, eps), mean, var]


@operator(name="_standard_sums", outputs=("total", "moment"), numbers=("eps",))
def _standard_sums(
    call: Call, grad: Spec, data: Spec, mean: Spec, var: Spec, gamma: Spec | None = None, *, axes, eps
):
    """The sums of g and of g (x - mean) / sqrt(var + eps) along axes, g = dy or dy gamma, in one pass."""
    shape, dtype = data.shape, data.dtype
    specs = [grad, data, mean, var] + ([gamma] if gamma else [])
    g, x, mu, v, *scale = (expr.operand(i, s.dtype) for i, s in enumerate(specs))
    for factor in scale:
        g = g * factor
    wide = dtypes.compute_type(dtype)
    standard = (x - mu) * expr.call("rsqrt", v + expr.scalar(0, dtype))
    sums = [reduce.Reduction(g, "sum", wide), reduce.Reduction(g * standard, "sum", wide)]
    operands = [layout.broadcast(s.shape, shape, s.dtype) for s in specs]
    name, small = call.kernel(dtype), kept_shape(shape, axes)
    return reduce.plan(call.device, name, shape, axes, sums, operands, [dtype], out_shape=small)


@elementwise(name="_standardize_grad", free=("mean", "var", "before", "behind", "total", "moment"))
def _standardize_grad(grad, data, mean, var, before, behind, total, moment, eps: float, share: float):
    """behind / s * (before dy - share * (total + (x - mean) / s * moment)), s = sqrt(var + eps)."""
    scale = rsqrt(var + eps)
    return behind * scale * (before * grad - share * (total + (data - mean) * scale * moment))


@_normalize.joint_gradient("data", "gamma", "beta")
def _(d_y, data, gamma, beta_dtype, mean, var, kept, eps):
    """Ioffe & Szegedy (2015), section 3; in few launches, or in recorded ops under create_graph."""
    if tape.state.recording:
        return _normalize_rule_recorded(d_y, data, gamma, beta_dtype, kept, eps)
    axes = tuple(a for a in range(data.ndim) if a not in kept)
    share = 1 / max(1, math.prod(data.shape[a] for a in axes))
    if _runs_along(gamma) and _is_one_launch(data, gamma, gamma, kept):
        d_gamma, d_beta, d_data = _standardize_rows_grad(d_y, data, mean, var, gamma, eps=eps)
    elif any(gamma.shape[a] != 1 for a in axes):  # gamma changes along the axes: it is part of the sums
        sums = _standard_sums(d_y, data, mean, var, gamma, axes=axes, eps=eps)
        single = tuple(a for a in range(data.ndim) if gamma.shape[a] == 1)
        d_beta, d_gamma = _standard_sums(d_y, data, mean, var, axes=single, eps=eps)
        d_data = _standardize_grad(d_y, data, mean, var, gamma, 1, *sums, eps, share)
    else:
        sums = _standard_sums(d_y, data, mean, var, axes=axes, eps=eps)
        d_beta, d_gamma = (_sum_to(s, gamma.shape) for s in sums)
        d_data = _standardize_grad(d_y, data, mean, var, 1, gamma, *sums, eps, share)
    return d_data, _as(d_gamma, gamma._view.dtype), _as(d_beta, beta_dtype)


def _normalize_rule_recorded(dy, data, gamma, beta_dtype, kept, eps: float):
    def mean(x):
        return reduction.mean(x, axis=kept, exclude=True, keepdims=True)

    wide = dtypes.compute_type(data._view.dtype)
    grad, x, scale = (_as(v, wide) for v in (dy, data, gamma))
    centred = x - mean(x)
    factor = rsqrt(mean(centred * centred) + eps)
    standard = centred * factor
    g = grad * scale
    d_data = factor * (g - mean(g) - standard * mean(g * standard))
    d_gamma, d_beta = (_sum_to(v, gamma.shape) for v in (grad * standard, grad))
    return _as(d_data, data._view.dtype), _as(d_gamma, gamma._view.dtype), _as(d_beta, beta_dtype)


def _sum_to(array: NDArray, shape: tuple[int, ...]) -> NDArray:
    return array if array.shape == shape else table["_sum_to"](array, shape=shape)


def _as(array: NDArray, dtype) -> NDArray:
    """The array in a dtype: itself where it has that."""
    return array if array._view.dtype == dtype else cast(array, dtype=dtype.name)


def _check_vectors(op: str, data: NDArray, size: int, of: str, **vectors) -> None:
    """Vectors of one length, and of data's dtype or the one that is computed in."""
    own = data._view.dtype
    accepted = list(dict.fromkeys((dtypes.compute_type(own), own)))
    for argument, vector in vectors.items():
        if vector.shape != (size,) or vector._view.dtype not in accepted:
            names = " or ".join(d.name for d in accepted)
            raise argument_error(
                op,
                argument,
                f"{vector._view.dtype} {vector.shape}",
                f"{names} {(size,)} for data {data.shape} and {of}",
            )


def _with_moments(data: NDArray, y: NDArray, mean: NDArray, var: NDArray, eps: float, shape=None):
    """y, mean and standard deviation sqrt(var + eps), through which no gradient flows."""
    mean, deviation = mean.detach(), sqrt(var.detach() + eps)
    return [y, *(_as(with_shape(v, shape=shape or v.shape), data._view.dtype) for v in (mean, deviation))]


@composite()
def LayerNorm(data, gamma, beta, axis=-1, eps=1e-5, output_mean_var=False):
    """gamma (x - mean) / sqrt(var + eps) + beta along an axis (Ba, Kiros & Hinton, 2016).

    gamma and beta have one number for each place along the axis. With ``output_mean_var``, mean and
    sqrt(var + eps) are returned as well; no gradient flows through these.
    """
    check_floating("LayerNorm", data=data)
    (axis,) = reduced_axes("LayerNorm", data.ndim, axis)
    _check_vectors("LayerNorm", data, data.shape[axis], f"axis {axis}", gamma=gamma, beta=beta)
    kept = tuple(a for a in range(data.ndim) if a != axis)
    if _is_one_launch(data, gamma, beta, kept):
        if tape.state.recording:
            y, mean, var = _normalize(data, gamma, beta, kept=kept, eps=float(eps))
        else:
            y, mean, var = _standardize_rows(data, gamma, beta, leading=len(kept), eps=float(eps))
    else:
        vectors = (along(v, data.ndim, axis) for v in (gamma, beta))
        y, mean, var = _normalize(data, *vectors, kept=kept, eps=float(eps))
    return _with_moments(data, y, mean, var, eps) if output_mean_var else y


@composite()
def InstanceNorm(data, gamma, beta, eps=1e-3):
    """gamma (x - mean) / sqrt(var + eps) + beta of each channel of each instance.

    Data is (batch, channel, space...), of three axes or more (Ulyanov, Vedaldi & Lempitsky, 2016).
    """
    check_floating("InstanceNorm", data=data)
    if data.ndim < 3:
        raise argument_error("InstanceNorm", "data", f"of shape {data.shape}", "at least 3 axes")
    _check_vectors("InstanceNorm", data, data.shape[1], "axis 1", gamma=gamma, beta=beta)
    vectors = (along(v, data.ndim, 1) for v in (gamma, beta))
    return _normalize(data, *vectors, kept=(0, 1), eps=float(eps))[0]


@composite()
def GroupNorm(data, gamma, beta, num_groups=1, eps=1e-5, output_mean_var=False):
    """gamma (x - mean) / sqrt(var + eps) + beta of each group of channels of each instance.

    Data is (batch, channel, space...); gamma and beta have one number for each group, as in MXNet
    (Wu & He, 2018, have one for each channel). With ``output_mean_var``, mean and sqrt(var + eps), of
    shape (batch, num_groups), are returned as well; no gradient flows through these.
    """
    check_floating("GroupNorm", data=data)
    shape, groups = data.shape, int(num_groups)
    if len(shape) < 3:
        raise argument_error("GroupNorm", "data", f"of shape {shape}", "at least 3 axes")
    if groups < 1 or shape[1] % groups:
        raise argument_error("GroupNorm", "num_groups", num_groups, f"a divisor of {shape[1]} channels")
    _check_vectors("GroupNorm", data, groups, "num_groups", gamma=gamma, beta=beta)
    rows = with_shape(data, shape=(shape[0], groups, math.prod(shape[1:]) // groups))
    vectors = (along(v, 3, 1) for v in (gamma, beta))
    y, mean, var = _normalize(rows, *vectors, kept=(0, 1), eps=float(eps))
    y = with_shape(y, shape=shape)
    return _with_moments(data, y, mean, var, eps, (shape[0], groups)) if output_mean_var else y


# Batch normalisation


@elementwise(name="_moving_average", free=("batch",))
def _moving_average(moving, batch, momentum: float):
    """momentum * moving + (1 - momentum) * batch."""
    return moving * momentum + batch * (1 - momentum)


@elementwise(name="_ones_of")
def _ones_of(data):
    """Ones; in the graph, with a gradient of 0."""
    return expr.constant(1, data.dtype)


def _batch_norm(op: str, data, gamma, beta, moving, eps, momentum, fix_gamma, use_global_stats, axis):
    """The standardised data, and the mean and variance that were used."""
    check_floating(op, data=data)
    (axis,) = reduced_axes(op, data.ndim, axis)
    vectors = {"gamma": gamma, "beta": beta, "moving_mean": moving[0], "moving_var": moving[1]}
    _check_vectors(op, data, data.shape[axis], f"axis {axis}", **vectors)
    gamma, beta = (along(v, data.ndim, axis) for v in (_ones_of(gamma) if fix_gamma else gamma, beta))
    if not tape.state.training or use_global_stats:
        mean, var = (v.detach() for v in moving)
        parts = [*(along(v, data.ndim, axis) for v in (mean, var)), gamma, beta]
        return _standardized(data, parts, eps), mean, var
    y, mean, var = _normalize(data, gamma, beta, kept=(axis,), eps=eps)
    mean, var = (with_shape(v.detach(), shape=moving[0].shape) for v in (mean, var))
    recording = tape.set_recording(False)
    try:
        for average, batch in zip(moving, (mean, var), strict=True):
            _moving_average(average, batch, momentum, out=average)
    finally:
        tape.set_recording(recording)
    return y, mean, var


def _standardized(data: NDArray, parts, eps: float) -> NDArray:
    if not tape.state.recording or all(v._view.dtype == data._view.dtype for v in parts):
        return _standardize(data, *parts, eps)
    # What is recorded may be differentiated again, by ops that want one dtype.
    wide = dtypes.compute_type(data._view.dtype)
    return _as(_standardize(_as(data, wide), *(_as(v, wide) for v in parts), eps), data._view.dtype)


@composite()
def BatchNorm(
    data,
    gamma,
    beta,
    moving_mean,
    moving_var,
    eps=1e-3,
    momentum=0.9,
    fix_gamma=True,
    use_global_stats=False,
    output_mean_var=False,
    axis=1,
    cudnn_off=False,
    min_calib_range=None,
    max_calib_range=None,
):
    """gamma (x - mean) / sqrt(var + eps) + beta of each channel (Ioffe & Szegedy, 2015).

    In training, mean and variance are the batch's, and the moving averages take a step towards them, in
    place: moving = momentum * moving + (1 - momentum) * batch. In prediction (or with
    ``use_global_stats``) the moving averages are used. ``fix_gamma`` takes gamma as 1, with gradient 0.
    With ``output_mean_var``, mean and 1 / sqrt(var + eps) are returned as well; no gradient flows
    through these. The vectors have data's dtype, or float32 beside 16-bit data.
    """
    moving = (moving_mean, moving_var)
    y, mean, var = _batch_norm(
        "BatchNorm", data, gamma, beta, moving, float(eps), momentum, fix_gamma, use_global_stats, axis
    )
    return [y, mean, rsqrt(var + float(eps))] if output_mean_var else y


@composite(name="contrib.BatchNormWithReLU")
def BatchNormWithReLU(
    data,
    gamma,
    beta,
    moving_mean,
    moving_var,
    eps=1e-3,
    momentum=0.9,
    fix_gamma=True,
    use_global_stats=False,
    output_mean_var=False,
    axis=1,
    cudnn_off=False,
    min_calib_range=None,
    max_calib_range=None,
):
    """max(BatchNorm(x), 0)."""
    moving = (moving_mean, moving_var)
    op = "contrib.BatchNormWithReLU"
    y, mean, var = _batch_norm(
        op, data, gamma, beta, moving, float(eps), momentum, fix_gamma, use_global_stats, axis
    )
    y = relu(y)
    return [y, mean, rsqrt(var + float(eps))] if output_mean_var else y


@composite(name="contrib.SyncBatchNorm")
def SyncBatchNorm(
    data,
    gamma,
    beta,
    moving_mean,
    moving_var,
    eps=1e-3,
    momentum=0.9,
    fix_gamma=True,
    use_global_stats=False,
    output_mean_var=False,
    ndev=1,
    key="",
):
    """Batch normalisation over the whole batch, along axis 1.

    An array lies on one device here, so the batch is what is given, and ``ndev`` and ``key`` have no
    effect. With ``output_mean_var``, mean and variance are returned as well.
    """
    moving = (moving_mean, moving_var)
    op = "contrib.SyncBatchNorm"
    y, mean, var = _batch_norm(
        op, data, gamma, beta, moving, float(eps), momentum, fix_gamma, use_global_stats, 1
    )
    return [y, mean, var] if output_mean_var else y
