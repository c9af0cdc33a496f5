"""What an initializer is, and how one is made by name."""

import json
import logging
import math
from collections.abc import Callable

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import AbsentError, OperatorTypeError, argument_error
from clgrad.factory import Factory

_log = logging.getLogger(__name__)


class InitDesc(str):
    """The name of a parameter, with what its initialisation depends on.

    Parameters
    ----------
    name : str
    attrs : dict, optional
        ``attrs["__init__"]``, where there and not empty, is the parameter's own initializer (an object, a
        name, or JSON), which fills it whatever its name.
    global_init : Initializer, optional
        The initializer of the whole net.
    """

    attrs: dict
    global_init: "Initializer | None"

    def __new__(cls, name: str, attrs: dict | None = None, global_init: "Initializer | None" = None):
        """A string with two attributes."""
        made = super().__new__(cls, name)
        made.attrs, made.global_init = attrs or {}, global_init
        return made


#: What the end of a name means, the first that fits: the method that fills the array.
_SUFFIXES = {
    "weight": "_init_weight",
    "bias": "_init_bias",
    "gamma": "_init_gamma",
    "beta": "_init_beta",
    "min": "_init_zero",
    "max": "_init_one",
    "mean": "_init_zero",
    "moving_inv_var": "_init_zero",
    "var": "_init_one",
    "moving_avg": "_init_zero",
}


class Initializer:
    """Base class of initializers.

    Parameters
    ----------
    **kwargs
        The arguments that the initializer was made with, for :meth:`dumps` and comparison.

    Examples
    --------
    >>> import clgrad as mx
    >>> class Threes(mx.init.Initializer):
    ...     def _init_weight(self, name, arr):
    ...         arr[:] = 3
    >>> weight = mx.nd.zeros((2,))
    >>> Threes()(mx.init.InitDesc("dense0_weight"), weight)
    >>> weight.asnumpy()
    array([3., 3.], dtype=float32)
    """

    def __init__(self, **kwargs):
        self._kwargs = kwargs
        self._verbose = False
        self._print_func: Callable[[NDArray], object] = _root_mean_square

    def set_verbosity(
        self, verbose: bool = False, print_func: Callable[[NDArray], object] | None = None
    ) -> "Initializer":
        """Log what is initialised, with a statistic of the array; returns the initializer.

        Parameters
        ----------
        verbose : bool
        print_func : callable, optional
            Array in, what is logged out; by default the root of the mean square. It waits for the device.
        """
        self._verbose = verbose
        self._print_func = print_func or _root_mean_square
        return self

    def dumps(self) -> str:
        """The initializer as JSON, from which :func:`create` makes it again.

        Examples
        --------
        >>> import clgrad as mx
        >>> mx.init.Normal(0.5).dumps()
        '["normal", {"sigma": 0.5}]'
        """
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, desc: str, arr: NDArray) -> None:
        """Fill an array in place.

        Parameters
        ----------
        desc : InitDesc or str
            Name of the parameter; its end says what it is.
        arr : NDArray
            Of any shape that the initializer knows, and a floating-point dtype.

        Raises
        ------
        OperatorError
            The name says nothing, or the shape does not fit.
        """
        for given, kind in ((desc, str), (arr, NDArray)):
            if not isinstance(given, kind):
                what = type(given).__name__
                raise OperatorTypeError(
                    f"{type(self).__name__}: called with {what}; accepted: (str, NDArray)"
                )
        own = None
        if isinstance(desc, InitDesc):
            if desc.global_init is None:
                desc.global_init = self
            own = desc.attrs.get("__init__")
        if own:
            create(own)._init_weight(desc, arr)
        else:
            self._by_name(desc)(desc, arr)
        if self._verbose:
            _log.info("Initialized %s as %s: %s", desc, own or type(self).__name__, self._print_func(arr))

    def _by_name(self, name: str) -> Callable[[str, NDArray], None]:
        if not isinstance(name, InitDesc):  # as names were before InitDesc
            if name.startswith("upsampling"):
                return create("bilinear")._init_weight
            if name.startswith("stn_loc") and name.endswith(("weight", "bias")):
                return self._init_zero if name.endswith("weight") else self._init_loc_bias
        for suffix, method in _SUFFIXES.items():
            if name.endswith(suffix):
                return getattr(self, method)
        return self._init_default

    def _init_weight(self, name: str, arr: NDArray) -> None:
        raise AbsentError(
            f"{type(self).__name__} has no method _init_weight(name, arr), which fills weights"
        )

    def _init_zero(self, name: str, arr: NDArray) -> None:
        arr[:] = 0

    def _init_one(self, name: str, arr: NDArray) -> None:
        arr[:] = 1

    _init_bias = _init_beta = _init_zero
    _init_gamma = _init_one

    def _init_loc_bias(self, name: str, arr: NDArray) -> None:
        if arr.shape != (6,):
            raise argument_error(name, "arr", f"of shape {arr.shape}", "(6,), an affine map of the plane")
        arr[:] = nd.array([1, 0, 0, 0, 1, 0], ctx=arr.context, dtype=arr.dtype)

    def _init_default(self, name: str, arr: NDArray) -> None:
        ends = ", ".join(repr(s) for s in _SUFFIXES)
        raise argument_error(
            "initializer",
            "the parameter's name",
            repr(str(name)),
            f"names that end with {ends}; or give the parameter an initializer of its own",
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Initializer):
            return NotImplemented
        return type(self) is type(other) and self.dumps() == other.dumps()

    def __hash__(self) -> int:
        return hash(self.dumps())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._kwargs.items())})"


def _root_mean_square(arr: NDArray) -> float:
    return float((arr.norm() / math.sqrt(max(1, arr.size))).asscalar())


_factory = Factory(Initializer, "initializer")


def register(klass):
    """A decorator that makes a user's initializer known by its name (in lower case); returns the class.

    Examples
    --------
    >>> import clgrad as mx
    >>> @mx.init.register
    ... class Sevens(mx.init.Initializer):
    ...     def _init_weight(self, name, arr):
    ...         arr[:] = 7
    >>> mx.init.create("sevens")
    Sevens()
    """
    return _factory.register(klass)


def alias(*names: str):
    """A decorator that makes an initializer known under other names as well."""
    return _factory.alias(*names)


def create(initializer, *args, **kwargs) -> Initializer:
    """An initializer from its name and arguments.

    Parameters
    ----------
    initializer : str, dict or Initializer
        A name and, behind it, the arguments; or what :meth:`Initializer.dumps` gives; or an initializer,
        which is returned.

    Raises
    ------
    OperatorError
        There is none of that name; the message lists those that there are.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.init.create("uniform", scale=0.5)
    Uniform(scale=0.5)
    >>> mx.init.create('["uniform", {"scale": 0.5}]')
    Uniform(scale=0.5)
    """
    return _factory.create(initializer, *args, **kwargs)
