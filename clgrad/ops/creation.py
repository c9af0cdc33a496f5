"""Arrays from nothing: constants, ranges, the identity, one-hot rows."""

import math

import numpy as np

from clgrad import array, dtypes
from clgrad.array import NDArray
from clgrad.device import Context, as_context
from clgrad.errors import AbsentError, OperatorTypeError, argument_error
from clgrad.kernels import expr, layout, map
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import Plan
from clgrad.ops.arguments import one_axis
from clgrad.ops.conversion import as_in_context, cast
from clgrad.registry import Call, Spec, composite, operator, reads, table
from clgrad.registry.arrays import checked_out


def shape_of(op: str, shape) -> tuple[int, ...]:
    """A shape from a number or a sequence of numbers."""
    if not isinstance(shape, int | np.integer | list | tuple | np.ndarray):
        raise argument_error(op, "shape", repr(shape), "whole numbers not below 0")
    sizes = (shape,) if isinstance(shape, int | np.integer) or np.ndim(shape) == 0 else tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in sizes):
        raise argument_error(op, "shape", shape, "whole numbers not below 0")
    return tuple(int(n) for n in sizes)


def dtype_of(call: Call, dtype) -> np.dtype:
    """A dtype that the device can hold; float32 for None."""
    resolved = dtypes.resolve("float32" if dtype is None else dtype, call.op)
    array.check_dtype(resolved, call.device)
    return resolved


def _generate(call: Call, shape, dtype, value: Expr, operands=(), scalars=()) -> Plan:
    dense = layout.broadcast(shape, shape, dtype)
    outputs = [map.Output(value, dense)]
    return map.plan(call.device, call.kernel(dtype), shape, outputs, operands, scalars)


@operator(name="_full", numbers=("value",))
def _full(call: Call, *, shape, dtype=None, value):
    """Every element is ``value``."""
    shape, dtype = shape_of(call.op, shape), dtype_of(call, dtype)
    return _generate(call, shape, dtype, expr.scalar(0, dtype), scalars=[dtype])


@operator(name="_arange", numbers=("start", "step"))
def _arange(call: Call, *, size, repeat, dtype=None, start, step):
    """start + step * (i // repeat)."""
    dtype = dtype_of(call, dtype)
    compute = dtypes.compute_type(dtype)
    place = expr.index(0)
    if repeat != 1:
        place = place / repeat
    value = expr.scalar(0, dtype) + expr.scalar(1, dtype) * expr.cast(place, compute)
    return _generate(call, (size,), dtype, value, [layout.index(0, 1)], [dtype, dtype])


@operator(name="_linspace", numbers=("start", "stop", "step"))
def _linspace(call: Call, *, size, endpoint, dtype=None, start, stop, step):
    """start + step * i, the last one stop itself; whole numbers by dropping the fraction."""
    dtype = dtype_of(call, dtype)
    real = dtypes.compute_type(dtype) if dtypes.is_floating(dtype) else _widest_real(call)
    value = expr.scalar(0, real) + expr.scalar(2, real) * expr.cast(expr.index(0), real)
    if endpoint:
        value = expr.where(expr.index(0) == size - 1, expr.scalar(1, real), value)
    return _generate(call, (size,), dtype, value, [layout.index(0, 1)], [real] * 3)


def _widest_real(call: Call) -> np.dtype:
    return dtypes.float64 if call.device.capabilities.fp64 else dtypes.float32


@operator(name="_eye")
def _eye(call: Call, *, rows, columns, k, dtype=None):
    """1 on the k-th diagonal, else 0."""
    shape, dtype = (rows, columns), dtype_of(call, dtype)
    value = expr.cast(expr.index(1) - expr.index(0) == k, dtypes.compute_type(dtype))
    return _generate(call, shape, dtype, value, [layout.index(0, 2), layout.index(1, 2)])


@operator(numbers=("on_value", "off_value"))
def one_hot(call: Call, indices: Spec, *, depth, on_value=1.0, off_value=0.0, dtype="float32"):
    """Rows of ``depth`` elements: on_value at the index, off_value elsewhere (and for no such index)."""
    if depth < 0:
        raise call.error("depth", depth, "a whole number not below 0")
    shape, dtype = (*indices.shape, int(depth)), dtype_of(call, dtype)
    ndim = len(shape)
    # What 32 bits cannot hold becomes their bound, which is no class.
    narrow = depth < 2**31 and indices.dtype != dtypes.int64
    wanted = expr.cast(expr.operand(0, indices.dtype), dtypes.int32 if narrow else dtypes.int64)
    chosen = wanted == expr.index(1, narrow)
    value = expr.where(chosen, expr.scalar(0, dtype), expr.scalar(1, dtype))
    operands = [
        layout.broadcast((*indices.shape, 1), shape, indices.dtype),
        layout.index(ndim - 1, ndim, narrow),
    ]
    return _generate(call, shape, dtype, value, operands, [dtype, dtype])


@composite()
def zeros_like(data):
    """Zeros of the shape, dtype and device of data."""
    return full_like(data, 0)


@composite()
def ones_like(data):
    """Ones of the shape, dtype and device of data."""
    return full_like(data, 1)


@composite()
def full_like(data, fill_value, dtype=None):
    """An array of one value, of the shape and device of data, and of its dtype unless one is given."""
    name = dtypes.name_of(data._view.dtype if dtype is None else dtypes.resolve(dtype, "full_like"))
    return _full.create(data.context, shape=data.shape, dtype=name, value=fill_value)


@composite()
def onehot_encode(indices, out):
    """:func:`one_hot` into ``out``, of shape (len(indices), classes): its older name."""
    if not out.shape:
        raise argument_error("onehot_encode", "out", "of shape ()", "(len(indices), classes)")
    return one_hot(indices, depth=out.shape[-1], dtype=out._view.dtype.name, out=out)


@composite(name="contrib.arange_like")
def arange_like(data, start=0.0, step=1.0, repeat=1, ctx=None, axis: int | None = None):
    """start, start + step, ..., each ``repeat`` times: as many as data has elements, shaped like it.

    With ``axis``, a vector of the size of that axis. ``ctx`` is accepted for MXNet's sake: data's device.
    """
    if repeat < 1:
        raise argument_error("contrib.arange_like", "repeat", repeat, "a whole number above 0")
    if axis is None:
        shape = data.shape
    else:
        shape = (data.shape[one_axis("contrib.arange_like", axis, data.ndim, also=", or None")],)
    name, size = data._view.dtype.name, math.prod(shape)
    flat = _arange.create(data.context, size=size, repeat=int(repeat), dtype=name, start=start, step=step)
    return flat if axis is not None else table["reshape_like"](flat, data)


@composite()
def size_array(data):
    """The number of elements as an int64 array of shape (1,)."""
    return array.from_host(np.array([data.size]), dtypes.int64, data.context)


@composite()
def shape_array(data):
    """The sizes of the axes as an int64 array."""
    return array.from_host(np.array(data.shape), dtypes.int64, data.context)


def array_of(source_array, ctx: Context | None = None, dtype=None) -> NDArray:
    """An array from anything that numpy understands.

    Parameters
    ----------
    source_array : NDArray, numpy.ndarray, number or nested sequence
    ctx : Context, optional
        The device; the current context by default.
    dtype : str or type, optional
        By default that of an NDArray source, else float32 (as MXNet, also for numpy arrays).

    Raises
    ------
    OperatorTypeError
        Not a regular array of numbers, or an unknown dtype.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.array([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    if isinstance(source_array, NDArray):
        dtype = source_array._view.dtype if dtype is None else dtypes.resolve(dtype, "array")
        if ctx is not None:
            source_array = as_in_context(source_array, ctx)
        return cast(source_array, dtype=dtype.name)
    resolved = dtypes.resolve("float32" if dtype is None else dtype, "array")
    try:
        host = np.asarray(source_array)
        if host.dtype.kind in "OcmM":
            raise ValueError("ragged" if host.dtype == object else f"{host.dtype}")
        host = host.astype(resolved)
    except (ValueError, TypeError) as error:
        raise OperatorTypeError(
            f"array: source_array is not a regular array of numbers ({error}); accepted: NDArray, "
            "numpy.ndarray, or nested sequences of numbers"
        ) from error
    return array.from_host(host, resolved, ctx)


@reads
def empty(shape, ctx: Context | None = None, dtype=None, stype=None) -> NDArray:
    """An array whose elements have no particular value yet.

    Parameters
    ----------
    shape : int or tuple of int
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32
    stype : str, optional
        ``'default'``: arrays are dense.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.empty((2, 3)).shape
    (2, 3)
    """
    _check_dense("empty", stype)
    call = Call(as_context(ctx).device, "empty")
    return array.empty(shape_of(call.op, shape), dtype_of(call, dtype), ctx)


def _check_dense(op: str, stype) -> None:
    if stype not in (None, "default"):
        raise AbsentError(
            f"{op}: stype is {stype!r}; accepted: 'default', since clgrad stores arrays densely"
        )


@reads
def full(shape, val: float, ctx: Context | None = None, dtype=None, out=None) -> NDArray:
    """An array whose elements are all ``val``.

    Parameters
    ----------
    shape : int or tuple of int
    val : float
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32
    out : NDArray, optional
        Receives the values, and gives the device, and the dtype unless one is given.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.full((3,), 7, dtype="int32").asnumpy()
    array([7, 7, 7], dtype=int32)
    """
    return _filled("full", shape, val, ctx, dtype, out)


def _filled(op: str, shape, value: float, ctx, dtype, out) -> NDArray:
    if out is not None:
        ctx, dtype = out.context, out._view.dtype if dtype is None else dtypes.resolve(dtype, op)
        checked_out(op, out, [(shape_of(op, shape), dtype)], ctx.device)
    name = dtypes.name_of(dtypes.float32 if dtype is None else dtypes.resolve(dtype, op))
    return _full.create(ctx, out=out, shape=shape_of(op, shape), dtype=name, value=value)


@reads
def zeros(shape, ctx: Context | None = None, dtype=None, stype=None, out=None, **kwargs) -> NDArray:
    """An array of zeros; float32 by default.

    Parameters
    ----------
    shape : int or tuple of int
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32
    stype : str, optional
        ``'default'``: arrays are dense.
    out : NDArray, optional
        Receives the values, and gives the device, and the dtype unless one is given.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.zeros((2, 2)).asnumpy()
    array([[0., 0.],
           [0., 0.]], dtype=float32)
    """
    _check_dense("zeros", stype)
    return _filled("zeros", shape, 0, ctx, dtype, out)


@reads
def ones(shape, ctx: Context | None = None, dtype=None, out=None, **kwargs) -> NDArray:
    """An array of ones; float32 by default.

    Parameters
    ----------
    shape : int or tuple of int
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32
    out : NDArray, optional
        Receives the values, and gives the device, and the dtype unless one is given.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.ones(3).asnumpy()
    array([1., 1., 1.], dtype=float32)
    """
    return _filled("ones", shape, 1, ctx, dtype, out)


@reads
def arange(
    start, stop=None, step=1.0, repeat=1, infer_range=None, ctx: Context | None = None, dtype="float32"
) -> NDArray:
    """start, start + step, ... below stop, each ``repeat`` times.

    With one argument, from 0 up to it. ``infer_range`` is accepted for MXNet's sake.

    Parameters
    ----------
    start, stop : float
        The first number, and where to end; ``stop`` itself does not come.
    step : float, default 1
        Not 0.
    repeat : int, default 1
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32

    Raises
    ------
    OperatorError
        An argument beyond what is said here; the message names it.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.arange(1, 3, step=0.5, repeat=2).asnumpy()
    array([1. , 1. , 1.5, 1.5, 2. , 2. , 2.5, 2.5], dtype=float32)
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise argument_error("arange", "step", 0, "another number")
    if not all(math.isfinite(v) for v in (start, stop, step)):
        given, accepted = (start, stop, step), "finite numbers"
        raise argument_error("arange", "start, stop, step", given, accepted)
    if repeat < 1:
        raise argument_error("arange", "repeat", repeat, "1 or more")
    size = max(0, math.ceil((stop - start) / step)) * int(repeat)
    name = dtypes.resolve("float32" if dtype is None else dtype, "arange").name
    return _arange.create(ctx, size=size, repeat=int(repeat), dtype=name, start=start, step=step)


@reads
def linspace(start, stop, num, endpoint=True, ctx: Context | None = None, dtype="float32") -> NDArray:
    """``num`` numbers evenly spaced from start to stop (included unless ``endpoint`` is False).

    In whole dtypes, the fractions are dropped.

    Parameters
    ----------
    start, stop : float
    num : int
    endpoint : bool, default True
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32

    Raises
    ------
    OperatorError
        An argument beyond what is said here; the message names it.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.linspace(0, 1, 5).asnumpy()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    if num < 0:
        raise argument_error("linspace", "num", num, "a whole number not below 0")
    name = dtypes.resolve("float32" if dtype is None else dtype, "linspace").name
    step = (stop - start) / max(1, num - 1 if endpoint else num)
    last = bool(endpoint) and num > 1
    return _linspace.create(
        ctx, size=int(num), endpoint=last, dtype=name, start=start, stop=stop, step=step
    )


@reads
def eye(N, M=0, k=0, ctx: Context | None = None, dtype=None) -> NDArray:
    """Ones on the k-th diagonal of an N x M matrix (N x N where M is not above 0), zeros elsewhere.

    Parameters
    ----------
    N, M : int
        Rows and columns.
    k : int, default 0
        Which diagonal: above the main one, or below it where negative.
    ctx : Context, optional
        The device; the current one by default.
    dtype : str or type, default float32

    Raises
    ------
    OperatorError
        An argument beyond what is said here; the message names it.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.eye(2, 3, k=1).asnumpy()
    array([[0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    if N < 0:
        raise argument_error("eye", "N", N, "a whole number not below 0")
    name = dtypes.resolve(dtype or "float32", "eye").name
    return _eye.create(ctx, rows=int(N), columns=int(M if M > 0 else N), k=int(k), dtype=name)
