"""Parameters of special layers."""

import math

import numpy as np

from clgrad import nd
from clgrad.array import NDArray
from clgrad.errors import argument_error
from clgrad.initializer.base import InitDesc, Initializer, create, register


@register
class Bilinear(Initializer):
    """Weights with which a transposed convolution interpolates: (1 - |x / f - c|) (1 - |y / f - c|).

    x and y count the columns and rows of a window; f = ceil(width / 2), c = (2 f - 1 - f % 2) / (2 f). The
    weight has 4 axes; for an even factor s, a window of 2 s and stride s make images s times as large.
    """

    def __init__(self):
        super().__init__()

    def _init_weight(self, name: str, arr: NDArray) -> None:
        if arr.ndim != 4:
            shape = f"{str(name)!r} of shape {arr.shape}"
            raise argument_error("Bilinear", "the weight", shape, "4 axes")
        factor = math.ceil(arr.shape[3] / 2)
        centre = (2 * factor - 1 - factor % 2) / (2 * max(factor, 1))
        y, x = (1 - np.abs(np.arange(n) / max(factor, 1) - centre) for n in arr.shape[2:])
        arr[:] = nd.array(np.outer(y, x), ctx=arr.context, dtype=arr.dtype)


@register
class LSTMBias(Initializer):
    """Biases of an LSTM: 0, but for those of the forget gate, the second quarter.

    Parameters
    ----------
    forget_bias : float
        Above 0, cells remember from the start (Jozefowicz, Zaremba & Sutskever, 2015).
    """

    def __init__(self, forget_bias: float = 1.0):
        super().__init__(forget_bias=forget_bias)
        self.forget_bias = forget_bias

    def _init_weight(self, name: str, arr: NDArray) -> None:
        if arr.ndim < 1 or arr.shape[0] % 4:
            shape = f"{str(name)!r} of shape {arr.shape}"
            raise argument_error("LSTMBias", "the bias", shape, "a length that is a multiple of 4")
        hidden = arr.shape[0] // 4
        arr[:] = 0
        if hidden:
            arr[hidden : 2 * hidden] = self.forget_bias


#: What the names of an RNN's parameters call its gates, in order.
_GATES = {
    "rnn_relu": ("",),
    "rnn_tanh": ("",),
    "lstm": ("_i", "_f", "_c", "_o"),
    "gru": ("_r", "_z", "_o"),
}


@register
class FusedRNN(Initializer):
    """The vector of all parameters that ``nd.RNN`` takes: each gate's matrix and bias by itself.

    Parameters
    ----------
    init : Initializer, str or None
        For matrices and biases, named as ``l0_i2h_f_weight``; None for the net's initializer.
    num_hidden, num_layers : int
    mode : {'rnn_relu', 'rnn_tanh', 'lstm', 'gru'}
    bidirectional : bool
    forget_bias : float
        Of both biases of an LSTM's forget gates.
    """

    def __init__(
        self,
        init,
        num_hidden: int,
        num_layers: int,
        mode: str,
        bidirectional: bool = False,
        forget_bias: float = 1.0,
    ):
        if mode not in _GATES:
            raise argument_error("FusedRNN", "mode", repr(mode), ", ".join(map(repr, _GATES)))
        self._init = None if init is None else create(init)
        super().__init__(
            init=None if self._init is None else self._init.dumps(),
            num_hidden=num_hidden,
            num_layers=num_layers,
            mode=mode,
            bidirectional=bidirectional,
            forget_bias=forget_bias,
        )
        self._gates, self._hidden, self._layers = _GATES[mode], num_hidden, num_layers
        self._directions, self._forget = ("l", "r") if bidirectional else ("l",), forget_bias
        self._lstm = mode == "lstm"

    def _init_weight(self, name: str, arr: NDArray) -> None:
        net = getattr(name, "global_init", None)
        init = self._init or net
        if init is None or init is self:
            raise argument_error("FusedRNN", "init", "None", "an initializer, where the net has none")
        begin = 0
        for part, shape in self._parts(arr):
            end = begin + math.prod(shape)
            view = arr[begin:end].reshape(shape)  # the same memory
            if self._lstm and part.endswith("_f_bias"):
                view[:] = self._forget
            else:
                init(InitDesc(part, global_init=net), view)
            begin = end

    def _parts(self, arr: NDArray) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes in the order of the vector: all matrices, then all biases."""
        hidden, ways, gates = self._hidden, len(self._directions), len(self._gates)
        later = (self._layers - 1) * gates * hidden * (ways * hidden + hidden + 2)
        inputs, rest = divmod(arr.size // max(ways, 1) - later, gates * hidden)
        inputs -= hidden + 2
        if arr.ndim != 1 or rest or inputs < 1 or arr.size % ways:
            accepted = f"a vector of the parameters of {self!r}"
            raise argument_error("FusedRNN", "the parameters", f"of shape {arr.shape}", accepted)
        matrices: list[tuple[str, tuple[int, ...]]] = []
        biases: list[tuple[str, tuple[int, ...]]] = []
        for layer in range(self._layers):
            for way in self._directions:
                for group, size in (("i2h", ways * hidden if layer else inputs), ("h2h", hidden)):
                    for gate in self._gates:
                        stem = f"{way}{layer}_{group}{gate}"
                        matrices.append((f"{stem}_weight", (hidden, size)))
                        biases.append((f"{stem}_bias", (hidden,)))
        return matrices + biases
