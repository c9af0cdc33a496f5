"""Random arrays of known distributions: Philox numbers keyed by element, so every device draws the same.

Each distribution has two ops, as in MXNet: ``random_X``, whose parameters are numbers, and ``sample_X``,
whose parameters are arrays, with ``shape`` numbers drawn for each of their elements.
"""

import math
import numbers

import numpy as np

from clgrad import dtypes
from clgrad.array import NDArray
from clgrad.device import as_context
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.kernels import distributions, random
from clgrad.ops.arguments import ones_behind
from clgrad.ops.conversion import cast
from clgrad.ops.creation import dtype_of, full_like, shape_of
from clgrad.ops.generator import generator
from clgrad.ops.shape import reshape, sum_to
from clgrad.registry import Call, Spec, operator

_REAL = "float16, bfloat16, float32, float64"


# Parameters that are numbers


@operator(name="_random_uniform", label="random.uniform", numbers=("seed", "draw", "low", "high"))
def _random_uniform(call: Call, *, shape, dtype=None, seed, draw, low, high):
    """Numbers uniform over [low, high)."""
    dtype = dtype_of(call, dtype)
    return random.plan_uniform(call.device, call.kernel(dtype), shape, dtype)


@operator(name="_random_normal", label="random.normal", numbers=("seed", "draw", "loc", "scale"))
def _random_normal(call: Call, *, shape, dtype=None, seed, draw, loc, scale):
    """Normally distributed numbers of mean loc and standard deviation scale."""
    dtype = dtype_of(call, dtype)
    return random.plan_normal(call.device, call.kernel(dtype), shape, dtype)


def _numbers(call: Call, distribution: str, shape, dtype):
    dtype = dtype_of(call, dtype)
    return distributions.plan(call.device, call.kernel(dtype), distribution, shape, dtype)


@operator(name="_random_exponential", label="random.exponential", numbers=("seed", "draw", "lam"))
def _random_exponential(call: Call, *, shape, dtype=None, seed, draw, lam):
    """Exponentially distributed numbers of rate lam."""
    return _numbers(call, "exponential", shape, dtype)


@operator(name="_random_gamma", label="random.gamma", numbers=("seed", "draw", "alpha", "beta"))
def _random_gamma(call: Call, *, shape, dtype=None, seed, draw, alpha, beta):
    """Gamma distributed numbers of shape alpha and scale beta."""
    return _numbers(call, "gamma", shape, dtype)


@operator(name="_random_poisson", label="random.poisson", numbers=("seed", "draw", "lam"))
def _random_poisson(call: Call, *, shape, dtype=None, seed, draw, lam):
    """Poisson distributed numbers of mean lam."""
    return _numbers(call, "poisson", shape, dtype)


@operator(
    name="_random_negative_binomial", label="random.negative_binomial", numbers=("seed", "draw", "k", "p")
)
def _random_negative_binomial(call: Call, *, shape, dtype=None, seed, draw, k, p):
    """How many trials succeed before k have failed, if each fails with probability p."""
    return _numbers(call, "negative_binomial", shape, dtype)


@operator(
    name="_random_generalized_negative_binomial",
    label="random.generalized_negative_binomial",
    numbers=("seed", "draw", "mu", "alpha"),
)
def _random_generalized_negative_binomial(call: Call, *, shape, dtype=None, seed, draw, mu, alpha):
    """Poisson distributed numbers of a gamma distributed mean: of mean mu and variance mu + alpha mu^2."""
    return _numbers(call, "generalized_negative_binomial", shape, dtype)


@operator(name="_random_randint", label="random.randint", numbers=("seed", "draw", "low", "high"))
def _random_randint(call: Call, *, shape, dtype, seed, draw, low, high):
    """Whole numbers from low to high - 1, each as likely as any other."""
    return _numbers(call, "randint", shape, dtype)


# Parameters that are arrays


def _arrays(call: Call, distribution: str, shape, dtype, *parameters: Spec):
    first, dtype = parameters[0], dtype_of(call, dtype)
    for name, other in zip(distributions.PARAMETERS[distribution], parameters, strict=True):
        if other.shape != first.shape:
            raise call.error(name, f"of shape {other.shape}", f"the shape of the first, {first.shape}")
    return distributions.plan(
        call.device,
        call.kernel(dtype),
        distribution,
        (*first.shape, *shape),
        dtype,
        [p.dtype for p in parameters],
        math.prod(shape),
    )


@operator(name="_sample_uniform", label="random.uniform", numbers=("seed", "draw"))
def _sample_uniform(call: Call, low: Spec, high: Spec, *, shape, dtype=None, seed, draw):
    """Numbers uniform over [low, high)."""
    return _arrays(call, "uniform", shape, dtype, low, high)


@operator(name="_sample_normal", label="random.normal", numbers=("seed", "draw"))
def _sample_normal(call: Call, loc: Spec, scale: Spec, *, shape, dtype=None, seed, draw):
    """Normally distributed numbers of mean loc and standard deviation scale."""
    return _arrays(call, "normal", shape, dtype, loc, scale)


@operator(name="_sample_exponential", label="random.exponential", numbers=("seed", "draw"))
def _sample_exponential(call: Call, lam: Spec, *, shape, dtype=None, seed, draw):
    """Exponentially distributed numbers of rate lam."""
    return _arrays(call, "exponential", shape, dtype, lam)


@operator(name="_sample_gamma", label="random.gamma", numbers=("seed", "draw"))
def _sample_gamma(call: Call, alpha: Spec, beta: Spec, *, shape, dtype=None, seed, draw):
    """Gamma distributed numbers of shape alpha and scale beta."""
    return _arrays(call, "gamma", shape, dtype, alpha, beta)


@operator(name="_sample_poisson", label="random.poisson", numbers=("seed", "draw"))
def _sample_poisson(call: Call, lam: Spec, *, shape, dtype=None, seed, draw):
    """Poisson distributed numbers of mean lam."""
    return _arrays(call, "poisson", shape, dtype, lam)


@operator(name="_sample_negative_binomial", label="random.negative_binomial", numbers=("seed", "draw"))
def _sample_negative_binomial(call: Call, k: Spec, p: Spec, *, shape, dtype=None, seed, draw):
    """How many trials succeed before k have failed, if each fails with probability p."""
    return _arrays(call, "negative_binomial", shape, dtype, k, p)


@operator(
    name="_sample_generalized_negative_binomial",
    label="random.generalized_negative_binomial",
    numbers=("seed", "draw"),
)
def _sample_generalized_negative_binomial(
    call: Call, mu: Spec, alpha: Spec, *, shape, dtype=None, seed, draw
):
    """Poisson distributed numbers of a gamma distributed mean: of mean mu and variance mu + alpha mu^2."""
    return _arrays(call, "generalized_negative_binomial", shape, dtype, mu, alpha)


# Gradients by reparameterisation: the numbers as functions of their parameters, the chance being fixed
# (D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", 2014). Counts have none.


def _per_sample(parameter: NDArray, y: NDArray) -> NDArray:
    """A parameter in the dtype of the numbers, with an axis of size 1 for each axis of a sample."""
    return reshape(cast(parameter, dtype=y._view.dtype.name), shape=ones_behind(parameter.shape, y.ndim))


def _to_parameter(gradient: NDArray, parameter: NDArray) -> NDArray:
    """The sum over the numbers of each parameter."""
    total = sum_to(gradient, shape=ones_behind(parameter.shape, gradient.ndim))
    total = reshape(total, shape=parameter.shape)
    return cast(total, dtype=parameter._view.dtype.name)


@_sample_uniform.joint_gradient("low", "high")
def _(dy, y, low, high):
    share = (y - _per_sample(low, y)) / (_per_sample(high, y) - _per_sample(low, y))
    return _to_parameter(dy * (1 - share), low), _to_parameter(dy * share, high)


@_sample_normal.joint_gradient("loc", "scale")
def _(dy, y, loc, scale):
    z = (y - _per_sample(loc, y)) / _per_sample(scale, y)
    return _to_parameter(dy, loc), _to_parameter(dy * z, scale)


_sample_exponential.gradient(lam=lambda dy, y, lam: _to_parameter(-dy * y / _per_sample(lam, y), lam))


# Calls

#: The two ops of each distribution, and what numbers must be as its parameters.
_RANDOM = {
    "uniform": (_random_uniform, _sample_uniform, {"low": "any", "high": "any"}),
    "normal": (_random_normal, _sample_normal, {"loc": "any", "scale": "not below 0"}),
    "exponential": (_random_exponential, _sample_exponential, {"lam": "above 0"}),
    "gamma": (_random_gamma, _sample_gamma, {"alpha": "not below 0", "beta": "not below 0"}),
    "poisson": (_random_poisson, _sample_poisson, {"lam": "not below 0"}),
    "negative_binomial": (
        _random_negative_binomial,
        _sample_negative_binomial,
        {"k": "not below 0", "p": "above 0 and up to 1"},
    ),
    "generalized_negative_binomial": (
        _random_generalized_negative_binomial,
        _sample_generalized_negative_binomial,
        {"mu": "not below 0", "alpha": "not below 0"},
    ),
}
_TESTS = {
    "any": lambda value: True,
    "not below 0": lambda value: value >= 0,
    "above 0": lambda value: value > 0,
    "above 0 and up to 1": lambda value: 0 < value <= 1,
}


def draw(distribution: str, parameters: dict, shape=None, dtype=None, ctx=None, out=None) -> NDArray:
    """Random numbers of a distribution, whose parameters are all numbers, or some of them arrays."""
    op = f"random.{distribution}"
    given = next((value for value in parameters.values() if isinstance(value, NDArray)), None)
    if given is not None:
        return _draw_for_arrays(op, distribution, parameters, given, shape, dtype, out)
    _, _, rules = _RANDOM[distribution]
    for name, value in parameters.items():
        _check_number(op, name, value, rules[name])
    if distribution == "uniform" and parameters["low"] > parameters["high"]:
        raise argument_error(op, "high", parameters["high"], f"low, {parameters['low']}, or more")
    if out is not None:
        shape, dtype, ctx = out.shape if shape is None else shape, out._view.dtype, out.context
    dtype = real_dtype(op, dtype)
    ctx = as_context(ctx)
    sizes = shape_of(op, (1,) if shape is None else shape)
    drawn = generator.next(ctx)
    return _RANDOM[distribution][0].create(
        ctx, out=out, shape=sizes, dtype=dtype.name, **drawn, **parameters
    )


def _draw_for_arrays(op: str, distribution: str, parameters, given: NDArray, shape, dtype, out) -> NDArray:
    arrays = []
    for name, value in parameters.items():
        if not isinstance(value, NDArray):
            _check_number(op, name, value, "any")
            value = full_like(given, value)
        arrays.append(value)
    dtype = real_dtype(op, dtype if out is None else out._view.dtype)
    sizes = () if shape is None else shape_of(op, shape)
    return _RANDOM[distribution][1](
        *arrays, out=out, shape=sizes, dtype=dtype.name, **generator.next(given.context)
    )


def draw_like(distribution: str, data: NDArray, parameters: dict, out=None) -> NDArray:
    """Random numbers of the shape, dtype and device of data."""
    if not isinstance(data, NDArray):
        raise OperatorTypeError(
            f"random.{distribution}_like: data is {type(data).__name__}; accepted: NDArray"
        )
    dtype = real_dtype(f"random.{distribution}_like", data._view.dtype)
    return draw(distribution, parameters, data.shape, dtype, data.context, out)


def uniform_like(data: NDArray, low: float, high: float) -> NDArray:
    """Uniform numbers of the shape, dtype and device of data."""
    return draw_like("uniform", data, {"low": low, "high": high})


def draw_integers(low, high, shape=None, dtype=None, ctx=None, out=None) -> NDArray:
    """Whole numbers from low to high - 1, as int32 or int64."""
    op = "random.randint"
    if out is not None:
        shape, dtype, ctx = out.shape if shape is None else shape, out._view.dtype, out.context
    dtype = dtypes.resolve(
        "int32" if (dtype is None or (isinstance(dtype, str) and dtype == "None")) else dtype, op
    )
    if dtype not in (dtypes.int32, dtypes.int64):
        raise OperatorTypeError(f"{op}: dtype is {dtype}; accepted: int32, int64")
    for name, value in (("low", low), ("high", high)):
        if not isinstance(value, numbers.Real) or not math.isfinite(value) or value != math.floor(value):
            raise argument_error(op, name, value, "a whole number")
    low, high, limits = int(low), int(high), np.iinfo(dtype)
    if not limits.min <= low <= limits.max:
        raise argument_error(op, "low", low, f"{limits.min} to {limits.max}, the range of {dtype}")
    if not low < high <= limits.max + 1:
        raise argument_error(op, "high", high, f"{low + 1} to {limits.max + 1}")
    ctx = as_context(ctx)
    return _random_randint.create(
        ctx,
        out=out,
        shape=shape_of(op, (1,) if shape is None else shape),
        dtype=dtype.name,
        low=low,
        high=random.as_scalar(high),
        **generator.next(ctx),
    )


def _check_number(op: str, name: str, value, accepted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise OperatorTypeError(f"{op}: {name} is {type(value).__name__}; accepted: NDArray or a number")
    if not (math.isfinite(value) and _TESTS[accepted](value)):
        which = "a finite number" if accepted == "any" else f"a finite number {accepted}"
        raise argument_error(op, name, value, which)


def real_dtype(op: str, dtype) -> np.dtype:
    """The dtype of random numbers: float32 where none is asked for, or ``"None"``, as MXNet has it."""
    is_missing = dtype is None or (isinstance(dtype, str) and dtype == "None")
    resolved = dtypes.resolve("float32" if is_missing else dtype, op)
    if not dtypes.is_floating(resolved):
        raise OperatorTypeError(f"{op}: dtype is {resolved}; accepted: {_REAL}")
    return resolved
