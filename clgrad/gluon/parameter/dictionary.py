"""Dictionaries of parameters, as ``block.params`` and ``block.collect_params()`` give them."""

import os
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

import numpy as np

from clgrad import dtypes, initializer, nd, serialization
from clgrad.array import NDArray
from clgrad.autograd import pause
from clgrad.device import Context
from clgrad.errors import MXNetError, OperatorError, argument_error
from clgrad.gluon.parameter.constant import Constant
from clgrad.gluon.parameter.parameter import Parameter

#: Names that an error lists before it only counts them.
_MOST_NAMES = 8
#: Arguments of a parameter that only its first request decides.
_OF_THE_FIRST = ("allow_deferred_init", "differentiable", "stype", "grad_stype")


def brief(names) -> str:
    """Some names for an error message."""
    shown = list(names)
    rest = len(shown) - _MOST_NAMES
    text = ", ".join(shown[:_MOST_NAMES]) or "none"
    return f"{text} and {rest} more" if rest > 0 else text


class ParameterDict:
    """Parameters by name, in the order in which they were made.

    Parameters
    ----------
    prefix : str, default ''
        Put before the names of parameters that :meth:`get` makes.
    shared : ParameterDict, optional
        Where :meth:`get` looks first, so that blocks share parameters.

    Examples
    --------
    >>> import clgrad as mx
    >>> params = mx.gluon.ParameterDict("net_")
    >>> params.get("weight", shape=(2, 3))
    Parameter net_weight (shape=(2, 3), dtype=float32)
    >>> list(params.keys())
    ['net_weight']
    """

    def __init__(self, prefix: str = "", shared: "ParameterDict | None" = None):
        if not isinstance(prefix, str):
            raise argument_error("ParameterDict", "prefix", repr(prefix), "str")
        self._prefix = prefix
        self._params: dict[str, Parameter] = {}
        self._shared = shared

    def __repr__(self) -> str:
        name = f"{self._prefix} " if self._prefix else ""
        lines = "\n".join(f"  {p!r}" for p in self.values())
        return f"{name}(\n{lines}\n)"

    def __getitem__(self, key: str) -> Parameter:
        return self._params[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __contains__(self, key: object) -> bool:
        return key in self._params

    def __len__(self) -> int:
        return len(self._params)

    def items(self) -> ItemsView[str, Parameter]:
        """Pairs of name and parameter."""
        return self._params.items()

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._params.keys()

    def values(self) -> ValuesView[Parameter]:
        """The parameters."""
        return self._params.values()

    @property
    def prefix(self) -> str:
        """What names of parameters made by :meth:`get` begin with."""
        return self._prefix

    def _find(self, name: str) -> Parameter | None:
        if name not in self._params and self._shared is not None and name in self._shared:
            self._params[name] = self._shared[name]
        return self._params.get(name)

    def get(self, name: str, **kwargs: Any) -> Parameter:
        """The parameter of that name (behind the prefix), made if there is none.

        Parameters
        ----------
        name : str
        **kwargs
            Those of :class:`Parameter`. Those of a parameter that is there already must not
            contradict; a shape or dtype that it lacks is filled in.

        Raises
        ------
        OperatorError
            The parameter is there, and an argument contradicts it.
        """
        if not isinstance(name, str):
            raise argument_error("ParameterDict.get", "name", repr(name), "str")
        name = self._prefix + name
        parameter = self._find(name)
        if parameter is None:
            parameter = self._params[name] = Parameter(name, **kwargs)
            return parameter
        for key, wanted in kwargs.items():
            _agree(parameter, key, wanted)
        return parameter

    def get_constant(self, name: str, value=None) -> Constant:
        """The constant of that name (behind the prefix), made from the value if there is none.

        Raises
        ------
        OperatorError
            There is none and no value is given, or it has another value, or it is no constant.
        """
        name = self._prefix + name
        found = self._find(name)
        if found is None:
            if value is None:
                raise argument_error("get_constant", "name", repr(name), "a known name, or a value as well")
            constant = self._params[name] = Constant(name, value)
            return constant
        if not isinstance(found, Constant):
            raise OperatorError(f"get_constant: {name} is a parameter that learns, and no constant")
        if value is not None:
            host = value.asnumpy() if isinstance(value, NDArray) else np.asarray(value)
            if not np.array_equal(host.astype(found.dtype), found.value.asnumpy()):
                raise OperatorError(f"get_constant: {name} is there already, with another value")
        return found

    def update(self, other: "ParameterDict | Mapping[str, Parameter]") -> None:
        """Add the parameters of another dictionary.

        Raises
        ------
        OperatorError
            Another parameter of the same name is there; nothing was added.
        """
        if not hasattr(other, "items"):
            accepted = "a ParameterDict, or a dict of Parameter"
            raise argument_error("ParameterDict.update", "other", type(other).__name__, accepted)
        for name, parameter in other.items():
            if self._params.get(name, parameter) is not parameter:
                raise OperatorError(
                    f"ParameterDict.update: two different parameters are named {name}; give the blocks "
                    "different prefixes, or make them inside name_scope()"
                )
        self._params.update(other.items())

    def initialize(self, init=None, ctx=None, verbose: bool = False, force_reinit: bool = False) -> None:
        """Initialise all parameters: see :meth:`Parameter.initialize`.

        Parameters
        ----------
        init : Initializer or str, optional
            For parameters that have no ``init`` of their own; ``Uniform(0.07)`` by default.
        ctx : Context or list of Context, optional
        verbose : bool, default False
            Have the initialiser say what it does.
        force_reinit : bool, default False
        """
        init = initializer.create(init) if init is not None else initializer.Uniform()
        if verbose:
            init.set_verbosity(verbose=verbose)
        for parameter in self.values():
            parameter.initialize(None, ctx, init, force_reinit=force_reinit)

    def zero_grad(self) -> None:
        """Fill all gradients with 0, in as few launches as may be."""
        gradients: dict[Context, list[NDArray]] = {}
        for parameter in self.values():
            for context, gradient in (parameter._grad or {}).items():
                gradients.setdefault(context, []).append(gradient)
        with pause():
            for arrays in gradients.values():
                nd.reset_arrays(*arrays)

    def reset_ctx(self, ctx=None) -> None:
        """Move all parameters to other contexts: see :meth:`Parameter.reset_ctx`."""
        for parameter in self.values():
            parameter.reset_ctx(ctx)

    def list_ctx(self) -> list[Context]:
        """All contexts that some parameter is on."""
        return list(dict.fromkeys(c for p in self.values() for c in p.list_ctx()))

    def setattr(self, name: str, value: Any) -> None:
        """Set an attribute of all parameters, such as ``grad_req`` or ``lr_mult``."""
        for parameter in self.values():
            setattr(parameter, name, value)

    def save(self, filename: str | os.PathLike, strip_prefix: str = "") -> None:
        """Write the values to a file in MXNet's format, whole or not at all.

        Parameters
        ----------
        filename : str or path
        strip_prefix : str, default ''
            Left out at the beginning of names, all of which must have it.
        """
        for name in self.keys():
            if not name.startswith(strip_prefix):
                raise argument_error(
                    "ParameterDict.save", "strip_prefix", repr(strip_prefix), f"what {name!r} begins with"
                )
        serialization.save(filename, {n[len(strip_prefix) :]: p._reduce() for n, p in self.items()})

    def load(
        self,
        filename: str | os.PathLike,
        ctx=None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        restore_prefix: str = "",
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Take the values from a file; where one does not fit, none is taken.

        Parameters
        ----------
        filename : str or path
        ctx : Context or list of Context, optional
            Where parameters that are not initialised yet go.
        allow_missing : bool, default False
            Leave parameters alone that the file lacks.
        ignore_extra : bool, default False
            Leave out what is in the file and not here.
        restore_prefix : str, default ''
            Put before the names in the file.
        cast_dtype : bool, default False
            Accept other dtypes, and convert.
        dtype_source : str, default 'current'
            Which dtype counts then: the parameter's, or the one ``'saved'``.

        Raises
        ------
        MXNetError
            The file is none of arrays with names, or is damaged, or does not fit.
        """
        loaded = load_names(filename)
        self.load_dict(
            loaded, ctx, allow_missing, ignore_extra, restore_prefix, filename, cast_dtype, dtype_source
        )

    def load_dict(
        self,
        param_dict: Mapping[str, NDArray],
        ctx=None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        restore_prefix: str = "",
        filename: str | os.PathLike | None = None,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Take the values from a dictionary of arrays: see :meth:`load`."""
        is_dict = isinstance(param_dict, Mapping)
        if not is_dict or not all(isinstance(a, NDArray) for a in param_dict.values()):
            accepted = "a dict of str to NDArray"
            raise argument_error("load_dict", "param_dict", type(param_dict).__name__, accepted)
        arrays = {restore_prefix + _without_kind(n): a for n, a in param_dict.items()}
        take_all(
            self._params,
            arrays,
            "param_dict" if filename is None else os.fspath(filename),
            ctx,
            allow_missing,
            ignore_extra,
            cast_dtype,
            dtype_source,
        )


def _without_kind(name: str) -> str:
    """A name without what tells arguments from auxiliary states in files of whole models."""
    return name[4:] if name.startswith(("arg:", "aux:")) else name


def _agree(parameter: Parameter, key: str, wanted: Any) -> None:
    """Complete a parameter by what :meth:`ParameterDict.get` wants of it, or raise where it contradicts."""
    if key in _OF_THE_FIRST:
        return
    if not hasattr(parameter, key):
        raise argument_error(f"Parameter {parameter.name}", "argument", repr(key), "those of Parameter")
    existing = getattr(parameter, key)
    if key == "shape" and wanted is not None and existing is not None:
        wanted = (wanted,) if isinstance(wanted, int) else tuple(wanted)
        if len(wanted) == len(existing):
            merged = tuple(b if a in (0, -1) else a for a, b in zip(wanted, existing, strict=True))
            parameter.shape = merged
            return
    if existing is None:
        setattr(parameter, key, wanted)
        return
    same = dtypes.resolve(wanted) == dtypes.resolve(existing) if key == "dtype" else wanted == existing
    if wanted is not None and not same:
        raise argument_error(
            f"Parameter {parameter.name}", key, repr(wanted), f"{existing!r}, as it has it"
        )


def load_names(filename: str | os.PathLike) -> dict[str, NDArray]:
    """The arrays of a file, by name.

    Raises
    ------
    MXNetError
        The file is damaged, or its arrays have no names.
    """
    loaded = serialization.load(filename)
    if isinstance(loaded, dict):
        return loaded
    if loaded:
        raise MXNetError(f"load: {os.fspath(filename)}: its {len(loaded)} arrays have no names")
    return {}


def take_all(
    parameters: Mapping[str, Parameter],
    arrays: Mapping[str, NDArray],
    source: str,
    ctx,
    allow_missing: bool,
    ignore_extra: bool,
    cast_dtype: bool,
    dtype_source: str,
) -> None:
    """Give parameters the values of arrays, after all have been found to fit.

    Parameters
    ----------
    parameters : dict of str to Parameter
        By the name that each has in the file; one that is shared may have several, and needs one of them.
    """
    if dtype_source not in ("current", "saved"):
        raise argument_error("load", "dtype_source", repr(dtype_source), "current, saved")
    pairs = [(parameters[name], data) for name, data in arrays.items() if name in parameters]
    given = {id(parameter) for parameter, _ in pairs}
    missing = [name for name, parameter in parameters.items() if id(parameter) not in given]
    if missing and not allow_missing:
        raise MXNetError(
            f"load: {source} lacks {brief(missing)}; it holds {brief(arrays)}. Pass allow_missing=True to "
            "leave these parameters as they are"
        )
    extra = [name for name in arrays if name not in parameters]
    if extra and not ignore_extra:
        raise MXNetError(
            f"load: {source} holds {brief(extra)}, which is not here; parameters are {brief(parameters)}. "
            "Pass ignore_extra=True to leave it out"
        )
    for parameter, data in pairs:
        parameter._check_load(data, ctx, cast_dtype, source)
    for parameter, data in pairs:
        parameter._load(data, ctx, dtype_source)
