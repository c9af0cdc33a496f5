"""Constants, and random weights."""

import json
import math

import numpy as np

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.initializer.base import Initializer, alias, register

# Constants


@register
@alias("zeros")
class Zero(Initializer):
    """Weights of 0."""

    def __init__(self):
        super().__init__()

    def _init_weight(self, name: str, arr: NDArray) -> None:
        arr[:] = 0


@register
@alias("ones")
class One(Initializer):
    """Weights of 1."""

    def __init__(self):
        super().__init__()

    def _init_weight(self, name: str, arr: NDArray) -> None:
        arr[:] = 1


@register
class Constant(Initializer):
    """Weights of a given value.

    Parameters
    ----------
    value : float, NDArray, numpy.ndarray or list
        One number, or an array that broadcasts to the parameter.
    """

    def __init__(self, value):
        super().__init__(value=value)
        self.value = value

    def _init_weight(self, name: str, arr: NDArray) -> None:
        value = self.value
        if isinstance(value, np.ndarray | list | tuple):
            value = nd.array(value, ctx=arr.context, dtype=arr.dtype)
        elif isinstance(value, NDArray):
            value = value.astype(arr.dtype).as_in_context(arr.context)
        arr[:] = value

    def dumps(self) -> str:
        """The initializer as JSON; arrays as lists."""
        value = self.value.asnumpy() if isinstance(self.value, NDArray) else self.value
        return json.dumps([type(self).__name__.lower(), {"value": np.asarray(value).tolist()}])


# Random numbers


@register
class Uniform(Initializer):
    """Weights uniform over [-scale, scale).

    Parameters
    ----------
    scale : float
    """

    def __init__(self, scale: float = 0.07):
        super().__init__(scale=scale)
        self.scale = scale

    def _init_weight(self, name: str, arr: NDArray) -> None:
        nd.random.uniform(-self.scale, self.scale, arr.shape, out=arr)


@register
class Normal(Initializer):
    """Normally distributed weights of mean 0.

    Parameters
    ----------
    sigma : float
        Standard deviation.
    """

    def __init__(self, sigma: float = 0.01):
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, name: str, arr: NDArray) -> None:
        nd.random.normal(0, self.sigma, arr.shape, out=arr)


@register
class Orthogonal(Initializer):
    """Weights whose rows, or columns if these are fewer, are orthogonal and of length ``scale``.

    All axes but the first count as one. The factor Q of a random matrix A = LQ, its rows signed so that
    L's diagonal is positive: of normally distributed A, any such Q is as likely as any other (Saxe,
    McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning, arXiv:1312.6120, 2013;
    Mezzadri, How to generate random matrices from the classical compact groups, 2007). MXNet takes the
    singular vectors of A, which are so distributed for uniform A, too, as near as can be seen.

    Parameters
    ----------
    scale : float
    rand_type : {'uniform', 'normal'}
        Accepted for MXNet's sake; what A is made of there.
    """

    def __init__(self, scale: float = 1.414, rand_type: str = "uniform"):
        if rand_type not in ("uniform", "normal"):
            raise argument_error("Orthogonal", "rand_type", repr(rand_type), "'uniform', 'normal'")
        super().__init__(scale=scale, rand_type=rand_type)
        self.scale, self.rand_type = scale, rand_type

    def _init_weight(self, name: str, arr: NDArray) -> None:
        if not arr.size:
            return
        rows, columns = arr.shape[0], math.prod(arr.shape[1:])
        short, long = min(rows, columns), max(rows, columns)
        rotation, factor = nd.linalg.gelqf(nd.random.normal(shape=(short, long), ctx=arr.context))
        signs = nd.linalg.extractdiag(factor).sign().reshape((short, 1))
        result = rotation * signs * self.scale
        result = result if rows == short else result.T
        arr[:] = result.reshape(arr.shape).astype(arr.dtype)


@register
class Xavier(Initializer):
    """Random weights scaled by the number of inputs and outputs of a unit.

    With ``n`` as ``factor_type`` says, they are uniform over [-c, c), c = sqrt(magnitude / n), or normally
    distributed with standard deviation c (Glorot & Bengio, Understanding the difficulty of training deep
    feedforward neural networks, 2010). The weight's shape is (outputs, inputs, ...); what follows is the
    window of a convolution, whose size multiplies both.

    Parameters
    ----------
    rnd_type : {'uniform', 'gaussian'}
    factor_type : {'avg', 'in', 'out'}
        n is the number of inputs, that of outputs, or the mean of both.
    magnitude : float

    Examples
    --------
    >>> import clgrad as mx
    >>> weight = mx.nd.empty((64, 32))
    >>> mx.init.Xavier()("dense0_weight", weight)
    >>> bool(abs(weight).max() <= (3 / 48) ** 0.5)
    True
    """

    def __init__(self, rnd_type: str = "uniform", factor_type: str = "avg", magnitude: float = 3):
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        if rnd_type not in ("uniform", "gaussian"):
            raise argument_error(type(self).__name__, "rnd_type", repr(rnd_type), "'uniform', 'gaussian'")
        if factor_type not in ("avg", "in", "out"):
            raise argument_error(
                type(self).__name__, "factor_type", repr(factor_type), "'avg', 'in', 'out'"
            )
        self.rnd_type, self.factor_type, self.magnitude = rnd_type, factor_type, float(magnitude)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        if arr.ndim < 2:
            shape = f"{str(name)!r} of shape {arr.shape}"
            raise argument_error(type(self).__name__, "the weight", shape, "at least 2 axes")
        window = math.prod(arr.shape[2:])
        inputs, outputs = arr.shape[1] * window, arr.shape[0] * window
        count = {"avg": (inputs + outputs) / 2, "in": inputs, "out": outputs}[self.factor_type]
        bound = math.sqrt(self.magnitude / max(count, 1))
        if self.rnd_type == "uniform":
            nd.random.uniform(-bound, bound, arr.shape, out=arr)
        else:
            nd.random.normal(0, bound, arr.shape, out=arr)


@register
class MSRAPrelu(Xavier):
    """Normally distributed weights for layers before a (leaky) ReLU: Xavier of magnitude 2 / (1 + slope^2).

    He, Zhang, Ren & Sun, Delving deep into rectifiers, arXiv:1502.01852, 2015.

    Parameters
    ----------
    factor_type : {'avg', 'in', 'out'}
        As for :class:`Xavier`.
    slope : float
        The ReLU's slope below 0.
    """

    def __init__(self, factor_type: str = "avg", slope: float = 0.25):
        super().__init__("gaussian", factor_type, 2 / (1 + slope**2))
        self._kwargs = {"factor_type": factor_type, "slope": slope}
