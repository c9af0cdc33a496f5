"""Automatic differentiation, with the interface and the meaning of MXNet's ``mxnet.autograd``.

==============  =====================================================================
module          holds
==============  =====================================================================
``scopes``      record, pause, train_mode, predict_mode
``variables``   mark_variables, attach_grad
``sweep``       backward, grad
``function``    Function
``checkpoint``  checkpoint
``restoring``   what stood in arrays that a function has written to, put back
``gradients``   what gradients are made of and checked by
``bindings``    what the names in a function's code mean, for another call
==============  =====================================================================
"""

from clgrad import symbol
from clgrad.array import NDArray
from clgrad.autograd.checkpoint import checkpoint
from clgrad.autograd.function import Function
from clgrad.autograd.scopes import (
    is_recording,
    is_training,
    pause,
    predict_mode,
    record,
    train_mode,
)
from clgrad.autograd.sweep import backward, grad
from clgrad.autograd.variables import mark_variables
from clgrad.errors import AutogradError
from clgrad.tape import set_recording, set_training

__all__ = [
    "Function",
    "backward",
    "checkpoint",
    "get_symbol",
    "grad",
    "is_recording",
    "is_training",
    "mark_variables",
    "pause",
    "predict_mode",
    "record",
    "set_recording",
    "set_training",
    "train_mode",
]


def get_symbol(x: NDArray):
    """The recorded history of an array as a :class:`clgrad.symbol.Symbol`.

    Raises
    ------
    AutogradError
        The array is not part of a recorded graph.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((2,))
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = mx.nd.exp(x) * 2
    >>> mx.autograd.get_symbol(y).list_arguments()
    ['var0']
    """
    if not isinstance(x, NDArray):
        raise AutogradError(f"get_symbol: {type(x).__name__} given; accepted: NDArray")
    return symbol.from_entry(x._entry)
