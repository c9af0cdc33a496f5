"""Name scopes of blocks: how nested blocks and their parameters get MXNet's names."""

import threading
from collections import Counter
from typing import Any

from clgrad import name
from clgrad.errors import argument_error
from clgrad.gluon.parameter import ParameterDict


class _Scopes(threading.local):
    """The blocks whose scopes this thread has entered, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[BlockScope] = []


_scopes = _Scopes()


class BlockScope:
    """What ``block.name_scope()`` gives: blocks made inside are named below the block.

    Parameters
    ----------
    block : Block
        A block whose prefix is ``''`` opens no scope: what is made inside is named as outside.
    """

    def __init__(self, block: Any):
        self._block = block

    def __enter__(self) -> "BlockScope":
        if not self._block._empty_prefix:
            _scopes.stack.append(self)
            name.Prefix(self._block.prefix).__enter__()
        return self

    def __exit__(self, *exception) -> None:
        if not self._block._empty_prefix:
            name.current().__exit__(*exception)
            _scopes.stack.pop()

    def _number(self, hint: str) -> str:
        counts: Counter[str] = self._block._child_counts
        counts[hint] += 1
        return f"{hint}{counts[hint] - 1}_"


def name_block(prefix: str | None, params: ParameterDict | None, hint: str) -> tuple[str, ParameterDict]:
    """Prefix and parameters of a new block: ``dense0_``, or ``net0_dense0_`` inside the scope of ``net0_``.

    Parameters
    ----------
    prefix : str or None
        The block's own prefix; None to make one from the hint.
    params : ParameterDict or None
        Where another block's parameters are to be shared: their dictionary.
    hint : str
        The block's class, in small letters.
    """
    for argument, given, kind in (("prefix", prefix, str), ("params", params, ParameterDict)):
        if given is not None and not isinstance(given, kind):
            accepted = f"{kind.__name__}, or None"
            raise argument_error(hint, argument, repr(given), accepted)
    scope = _scopes.stack[-1] if _scopes.stack else None
    if prefix is None:
        prefix = f"{name.current().get(None, hint)}_" if scope is None else scope._number(hint)
    if params is not None:
        own = ParameterDict(params.prefix, params)
    elif scope is None:
        own = ParameterDict(prefix)
    else:  # where the block around has another's parameters, those inside are found under their names there
        around = scope._block.params
        own = ParameterDict(around.prefix + prefix, around._shared)
    return prefix if scope is None else scope._block.prefix + prefix, own
