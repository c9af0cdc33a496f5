"""Random arrays: Philox numbers keyed by element index, so every device draws the same ones."""

import secrets
import threading

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.errors import OperatorTypeError
from clgrad.kernels import random
from clgrad.ops.creation import dtype_of, shape_of
from clgrad.registry import Call, operator


class _Generator:
    """The seed, and a count of the draws since it was set."""

    def __init__(self):
        self._lock = threading.Lock()
        self.reset(secrets.randbits(64))

    def reset(self, seed: int) -> None:
        """Start over from a seed."""
        with self._lock:
            self._seed, self._draw = random.as_scalar(int(seed)), 0

    def next(self) -> dict[str, int]:
        """Seed and number of the next draw, as ops take them."""
        with self._lock:
            self._draw += 1
            return {"seed": self._seed, "draw": random.as_scalar(self._draw)}


generator = _Generator()


@operator(name="_uniform", numbers=("seed", "draw", "low", "high"))
def _uniform(call: Call, *, shape, dtype=None, seed, draw, low, high):
    """Numbers uniform over [low, high)."""
    dtype = dtype_of(call, dtype)
    return random.plan_uniform(call.device, call.kernel(dtype), shape_of(call.op, shape), dtype)


@operator(name="_normal", numbers=("seed", "draw", "loc", "scale"))
def _normal(call: Call, *, shape, dtype=None, seed, draw, loc, scale):
    """Normally distributed numbers of mean loc and standard deviation scale."""
    dtype = dtype_of(call, dtype)
    return random.plan_normal(call.device, call.kernel(dtype), shape_of(call.op, shape), dtype)


def uniform_like(data: NDArray, low: float, high: float) -> NDArray:
    """Uniform numbers of the shape, dtype and device of data."""
    return _uniform.create(
        data.context,
        shape=data.shape,
        dtype=data._view.dtype.name,
        low=low,
        high=high,
        **generator.next(),
    )


def uniform(low=0.0, high=1.0, shape=(1,), dtype=None, ctx=None, out=None) -> NDArray:
    """Random numbers uniform over [low, high).

    Parameters
    ----------
    low, high : float
        Bounds; ``high`` itself never comes.
    shape : int or tuple of int
    dtype : str or type, optional
        float16, float32 (default) or float64.
    ctx : Context, optional
        The device; the same seed gives the same numbers on each.
    out : NDArray, optional
        Receives the numbers, and gives shape, dtype and device.
    """
    return _draw(_uniform, shape, dtype, ctx, out, low=low, high=high)


def normal(loc=0.0, scale=1.0, shape=(1,), dtype=None, ctx=None, out=None) -> NDArray:
    """Random numbers of the normal distribution of mean ``loc`` and standard deviation ``scale``.

    The other parameters are those of :func:`uniform`.
    """
    return _draw(_normal, shape, dtype, ctx, out, loc=loc, scale=scale)


def randn(*shape, loc=0.0, scale=1.0, dtype=None, ctx=None, out=None) -> NDArray:
    """:func:`normal` with the shape given as numbers."""
    return normal(loc, scale, shape or (1,), dtype, ctx, out)


def _draw(op, shape, dtype, ctx, out, **parameters) -> NDArray:
    if out is not None:
        shape, dtype, ctx = out.shape, out._view.dtype, out.context
    resolved = dtypes.resolve("float32" if dtype in (None, "None") else dtype, op.label)
    if not dtypes.is_floating(resolved):
        raise OperatorTypeError(
            f"random.{op.label}: dtype is {resolved}; accepted: float16, float32, float64"
        )
    for name, value in parameters.items():
        if isinstance(value, NDArray):
            raise OperatorTypeError(f"random.{op.label}: {name} is an NDArray; accepted: a number")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return op.create(ctx, out=out, shape=sizes, dtype=resolved.name, **generator.next(), **parameters)
