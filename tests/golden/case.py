"""What MXNet and clgrad are asked alike: an op's name, recipes for its arrays, its attributes.

A case is data that both programs can run: `record.py` runs it on MXNet 1.9.1 and keeps what comes out,
`test_golden.py` runs it on clgrad and compares. Nothing here imports either of them. Arrays are drawn
from numpy's legacy generator, which gives the same numbers in every version, seeded by the case's name:
so inputs need not be stored.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

#: Dtypes of a case with ``sweep=True``: all that MXNet 1.9.1 has for its ops.
SWEEP = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")
REAL = ("float16", "float32", "float64")
WHOLE = ("int8", "uint8", "int32", "int64")


@dataclass(frozen=True)
class Array:
    """A recipe for an array argument.

    Attributes
    ----------
    draw : callable
        Takes a ``RandomState``; returns the values as a float64 or integer array.
    dtype : str or None
        The array's own dtype (of an index, say); None for the dtype that the case is run in.
    differentiable : bool
        Whether the gradient with respect to it is asked for, where its dtype is real.
    """

    draw: Callable[[np.random.RandomState], np.ndarray]
    dtype: str | None = None
    differentiable: bool = True

    def as_dtype(self, dtype: str) -> "Array":
        """The same values in a dtype of their own, without a gradient: indices, lengths, labels."""
        return replace(self, dtype=dtype, differentiable=False)

    def constant(self) -> "Array":
        """The same array, whose gradient is not asked for."""
        return replace(self, differentiable=False)


def uniform(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """Numbers from [low, high), rounded to multiples of 1/64: exact in every real dtype."""
    return Array(lambda rng: np.round(rng.uniform(low, high, shape) * 64) / 64)


def distinct(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """Numbers from [low, high] in random order, no two of them near each other: no ties, no kinks."""
    count = int(np.prod(shape))
    return Array(lambda rng: rng.permutation(np.linspace(low, high, count) + 0.013).reshape(shape))


def integers(*shape: int, low: int, high: int) -> Array:
    """Whole numbers from low to high - 1."""
    return Array(lambda rng: rng.randint(low, high, shape))


def values(numbers, shape: Sequence[int] | None = None) -> Array:
    """These numbers."""
    array = np.asarray(numbers, dtype=np.float64)
    return Array(lambda rng: array.reshape(shape) if shape is not None else array)


def positive_definite(*shape: int) -> Array:
    """Symmetric positive definite matrices, of shape (..., n, n), with condition numbers of a few."""

    def draw(rng):
        a = rng.uniform(-1, 1, shape)
        return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])

    return Array(draw)


def symmetrised(matrix):
    """The symmetric part of an array of clgrad: a gradient in symmetric matrices is a gradient of this."""
    return (matrix + matrix.swapaxes(-1, -2)) * 0.5


#: Values where elementwise functions can go wrong: zeros of both signs, infinities, NaN, the largest and
#: the smallest normal and denormal numbers of float32, and numbers beside whole ones.
SPECIAL = values(
    np.r_[
        [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1.2e-38, -1.2e-38, 1e-40],
        [1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 100.0, -100.0, 1e-6, -1e-6],
        [88.9, -88.9, 0.99999994, 16777216.0],
    ]
).constant()


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes
    ----------
    op : str
        Path of the function below ``nd``, such as ``dot`` or ``linalg.gemm``.
    args : tuple
        Positional arguments: an :class:`Array`, a list of them, or a value to pass on.
    attributes : dict
        Keyword arguments; those may be Arrays as well.
    tag : str
        Tells the cases of one op apart; with the op's name, the seed of its arrays.
    sweep : bool
        Run in every dtype of ``dtypes``, and have derivatives of third order checked: the op's
        main case. Other cases run in float32.
    dtypes : tuple of str
        Dtypes of a sweep.
    error : bool
        MXNet refuses it, and so must clgrad. (Where MXNet alone refuses, as in some dtypes, the
        recording says so, and ``reference`` gives what is right.)
    train : bool
        Whether it is recorded in training mode.
    reference : callable, optional
        A numpy function of the same arguments that stands above MXNet's answer.
    why : str
        Why the reference is right and MXNet is not; docs/differences.md says so too.
    rtol, atol : float, optional
        Tolerances of float32, instead of the usual ones; those of other dtypes scale with them.
    orders : int
        Highest order of derivative that finite differences check; 0 where the function jumps.
    loss : bool
        Backward gives the gradient of a loss and not that of the result: finite differences begin with
        the second order.
    prepared : callable, optional
        What finite differences apply to each array first, and which leaves the case's own arrays as they
        are: where a gradient is that within a set of arrays (:func:`symmetrised`).
    """

    op: str
    args: tuple = ()
    attributes: dict = field(default_factory=dict)
    tag: str = ""
    sweep: bool = False
    dtypes: tuple[str, ...] = SWEEP
    error: bool = False
    train: bool = True
    reference: Callable | None = None
    why: str = ""
    rtol: float | None = None
    atol: float | None = None
    orders: int = 2
    loss: bool = False
    prepared: Callable | None = None

    @property
    def name(self) -> str:
        """The op, and the tag."""
        return f"{self.op}[{self.tag}]"

    def run_dtypes(self) -> tuple[str, ...]:
        """Dtypes that the case is run in."""
        return self.dtypes if self.sweep else ("float32",)

    def draw(self, dtype: str) -> tuple[list, dict]:
        """Arguments with a numpy array in the place of each recipe, float64 where its dtype is not set.

        Lists of recipes become lists of arrays. The values do not depend on ``dtype``, but for whole
        numbers, where real ones lose their fraction, and unsigned ones their sign.
        """
        rng = np.random.RandomState(zlib.crc32(self.name.encode()))

        def drawn(value):
            if isinstance(value, Array):
                own = value.dtype or dtype
                with np.errstate(all="ignore"):
                    host = np.asarray(value.draw(rng))
                    host = np.abs(host) if own.startswith("u") else host
                    return host.astype(own if own != "bfloat16" else "float32")
            if isinstance(value, list | tuple) and any(isinstance(v, Array) for v in value):
                return [drawn(v) for v in value]
            return value

        return [drawn(v) for v in self.args], {key: drawn(v) for key, v in self.attributes.items()}

    def recipes(self) -> Iterator[Array]:
        """The arrays' recipes, in the order of :func:`arrays_of` of the drawn arguments."""
        yield from arrays_of(self.args, self.attributes, Array)


def arrays_of(args: Sequence, attributes: dict, kind: type) -> Iterator:
    """The arguments of a kind, those in lists included, in order."""
    for value in (*args, *attributes.values()):
        if isinstance(value, kind):
            yield value
        elif isinstance(value, list | tuple):
            yield from (v for v in value if isinstance(v, kind))


def mapped(value, kind: type, function: Callable):
    """The value with ``function`` applied to what is of the kind in it, or in the list that it is."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, list | tuple) and any(isinstance(v, kind) for v in value):
        return [mapped(v, kind, function) for v in value]
    return value


def head(shape: Sequence[int], position: int = 0) -> np.ndarray:
    """The head gradient that goes with an output: of changing sign and size, exact in any dtype."""
    count = int(np.prod(shape))
    steps = (np.arange(count) * 7 + 3 * position) % 13
    return np.where(steps % 2, 1, -1).reshape(shape) * (0.5 + steps.reshape(shape) / 16)
