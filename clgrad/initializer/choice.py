"""Initializers that take from several others, or from a file."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.initializer.base import Initializer, create

_log = logging.getLogger(__name__)


class Mixed(Initializer):
    """The initializer of the first pattern that the start of a parameter's name matches.

    Parameters
    ----------
    patterns : list of str
        Regular expressions.
    initializers : list of Initializer, or of their names

    Examples
    --------
    >>> import clgrad as mx
    >>> init = mx.init.Mixed(["bias", ".*"], [mx.init.Zero(), mx.init.Uniform(0.1)])
    """

    def __init__(self, patterns: Sequence[str], initializers: Sequence):
        if len(patterns) != len(initializers):
            given = f"{len(patterns)} patterns for {len(initializers)} initializers"
            raise argument_error("Mixed", "patterns", given, "as many as initializers")
        super().__init__(patterns=list(patterns))
        made = [create(i) for i in initializers]
        self.map = [(re.compile(p), i) for p, i in zip(patterns, made, strict=True)]

    def dumps(self) -> str:
        """A description in JSON."""
        return json.dumps(["mixed", [[p.pattern, i.dumps()] for p, i in self.map]])

    def __call__(self, desc: str, arr: NDArray) -> None:
        """Fill an array in place (see :class:`Initializer`)."""
        self._chosen(desc)(desc, arr)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        self._chosen(name)._init_weight(name, arr)

    def _chosen(self, desc: str) -> Initializer:
        for pattern, init in self.map:
            if pattern.match(desc):
                return init
        accepted = f"{[p.pattern for p, _ in self.map]}; '.*' as the last pattern matches any"
        raise argument_error("Mixed", "the parameter's name", repr(str(desc)), accepted)


class Load(Initializer):
    """The arrays of a file, or of a dictionary, by name.

    Parameters
    ----------
    param : str, path, or dict of str to NDArray
        Names may begin with ``arg:`` or ``aux:``, which is dropped.
    default_init : Initializer, optional
        For names that are not there.
    verbose : bool
        Log where each parameter came from.
    """

    def __init__(self, param, default_init=None, verbose: bool = False):
        arrays: Any = nd.load(param) if isinstance(param, str | os.PathLike) else param
        if not isinstance(arrays, Mapping):
            given = type(arrays).__name__
            raise argument_error("Load", "param", given, "a file with names, or a dict of str to NDArray")
        super().__init__(names=sorted(arrays))
        self.param = {re.sub("^(arg|aux):", "", name): value for name, value in arrays.items()}
        self.default_init = None if default_init is None else create(default_init)
        self.verbose = verbose

    def __call__(self, desc: str, arr: NDArray) -> None:
        """Fill an array in place (see :class:`Initializer`)."""
        self._fill(desc, arr, self.default_init)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        self._fill(name, arr, None if self.default_init is None else self.default_init._init_weight)

    def _fill(self, desc: str, arr: NDArray, default: Callable[[str, NDArray], None] | None) -> None:
        found = self.param.get(str(desc))
        if found is None:
            if default is None:
                accepted = f"{sorted(self.param)}; or a default_init"
                raise argument_error("Load", "the parameter's name", repr(str(desc)), accepted)
            default(desc, arr)
        elif found.shape != arr.shape:
            given = f"of shape {found.shape}"
            raise argument_error(
                "Load", f"the loaded {str(desc)!r}", given, f"{arr.shape}, the parameter's"
            )
        else:
            arr[:] = found.astype(arr.dtype).as_in_context(arr.context)
        if self.verbose:
            _log.info("Initialized %s by %s", desc, "default" if found is None else "loading")
