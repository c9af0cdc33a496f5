"""Cells that learn: a plain recurrent one, an LSTM and a GRU. Weights are as the layers have them."""

from typing import Any

from clgrad.gluon.nn import LeakyReLU
from clgrad.gluon.parameter import Parameter
from clgrad.gluon.rnn.recurrent_cell import HybridRecurrentCell


def activated(F, x, activation: Any):
    """An activation by name, as a layer, or as any function, of x."""
    if isinstance(activation, LeakyReLU):
        return F.LeakyReLU(x, act_type="leaky", slope=activation._alpha)
    return F.Activation(x, act_type=activation) if isinstance(activation, str) else activation(x)


class _Gated(HybridRecurrentCell):
    """A cell whose gates are linear in the input and in the state.

    Parameters
    ----------
    gates : int
        How many of them there are.
    hidden_size : int
        Size of a gate, and of a state.
    """

    _states = 1
    i2h_weight: Parameter

    def __init__(self, gates: int, hidden_size: int, input_size: int, initializers, prefix, params):
        super().__init__(prefix=prefix, params=params)
        self._hidden_size, self._input_size, self._width = hidden_size, input_size, gates * hidden_size
        shapes = {
            "i2h_weight": (self._width, input_size),
            "h2h_weight": (self._width, hidden_size),
            "i2h_bias": (self._width,),
            "h2h_bias": (self._width,),
        }
        for (name, shape), init in zip(shapes.items(), initializers, strict=True):
            parameter = self.params.get(name, shape=shape, init=init, allow_deferred_init=True)
            setattr(self, name, parameter)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """Each state is (batch, hidden_size)."""
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"} for _ in range(self._states)]

    def infer_shape(self, x, *args) -> None:
        """Set the size of the input."""
        self.i2h_weight.shape = (self._width, x.shape[-1])

    def _linear(self, F, x, weight, bias):
        return F.FullyConnected(x, weight, bias, num_hidden=self._width)

    def _sizes(self) -> str:
        shape: Any = self.i2h_weight.shape
        return f"{shape[1] or None} -> {shape[0]}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes()})"


class RNNCell(_Gated):
    """h' = activation(W_i x + b_i + W_h h + b_h) (Elman, 1990).

    Parameters
    ----------
    hidden_size : int
    activation : str or callable, default 'tanh'
    i2h_weight_initializer, h2h_weight_initializer : Initializer or str, optional
    i2h_bias_initializer, h2h_bias_initializer : Initializer or str, default 'zeros'
    input_size : int, default 0
        0 means that of the first input.

    Examples
    --------
    >>> import clgrad as mx
    >>> cell = mx.gluon.rnn.RNNCell(4)
    >>> cell.initialize()
    >>> output, states = cell(mx.nd.ones((2, 3)), cell.begin_state(batch_size=2))
    >>> output.shape, [s.shape for s in states]
    ((2, 4), [(2, 4)])
    """

    def __init__(
        self,
        hidden_size,
        activation="tanh",
        i2h_weight_initializer=None,
        h2h_weight_initializer=None,
        i2h_bias_initializer="zeros",
        h2h_bias_initializer="zeros",
        input_size=0,
        prefix=None,
        params=None,
    ):
        inits = i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        super().__init__(1, hidden_size, input_size, inits, prefix, params)
        self._activation = activation

    def _alias(self) -> str:
        return "rnn"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes()}, {self._activation})"

    def hybrid_forward(self, F, inputs, states, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        """One step."""
        i2h = self._linear(F, inputs, i2h_weight, i2h_bias)
        h2h = self._linear(F, states[0], h2h_weight, h2h_bias)
        output = activated(F, i2h + h2h, self._activation)
        return output, [output]


class LSTMCell(_Gated):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997; Gers et al., 2000).

    i, f, g, o = parts of W_i x + b_i + W_h h + b_h;
    c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'), with s = 1 / (1 + exp(-x)).

    Parameters
    ----------
    hidden_size : int
    i2h_weight_initializer, h2h_weight_initializer : Initializer or str, optional
    i2h_bias_initializer, h2h_bias_initializer : Initializer or str, default 'zeros'
    input_size : int, default 0
        0 means that of the first input.
    activation : str or callable, default 'tanh'
    recurrent_activation : str or callable, default 'sigmoid'
        That of the gates.

    Examples
    --------
    >>> import clgrad as mx
    >>> cell = mx.gluon.rnn.LSTMCell(4)
    >>> cell.initialize()
    >>> outputs, (h, c) = cell.unroll(5, mx.nd.ones((2, 5, 3)), merge_outputs=True)
    >>> outputs.shape, c.shape
    ((2, 5, 4), (2, 4))
    """

    _states = 2

    def __init__(
        self,
        hidden_size,
        i2h_weight_initializer=None,
        h2h_weight_initializer=None,
        i2h_bias_initializer="zeros",
        h2h_bias_initializer="zeros",
        input_size=0,
        prefix=None,
        params=None,
        activation="tanh",
        recurrent_activation="sigmoid",
    ):
        inits = i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        super().__init__(4, hidden_size, input_size, inits, prefix, params)
        self._activation, self._recurrent_activation = activation, recurrent_activation

    def _alias(self) -> str:
        return "lstm"

    def hybrid_forward(self, F, inputs, states, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        """One step."""
        h, c = states
        i2h = self._linear(F, inputs, i2h_weight, i2h_bias)
        gates = i2h + self._linear(F, h, h2h_weight, h2h_bias)
        enter, keep, new, leave = F.split(gates, num_outputs=4, axis=1)
        enter, keep, leave = (activated(F, g, self._recurrent_activation) for g in (enter, keep, leave))
        c = keep * c + enter * activated(F, new, self._activation)
        h = leave * activated(F, c, self._activation)
        return h, [h, c]


class GRUCell(_Gated):
    """Gated recurrent unit (Cho et al., 2014), with the reset gate behind the product, as cuDNN has it.

    r, z, n = parts of W_i x + b_i; r', z', n' = parts of W_h h + b_h;
    h' = (1 - s(z + z')) tanh(n + s(r + r') n') + s(z + z') h, with s = 1 / (1 + exp(-x)).

    Parameters
    ----------
    hidden_size : int
    i2h_weight_initializer, h2h_weight_initializer : Initializer or str, optional
    i2h_bias_initializer, h2h_bias_initializer : Initializer or str, default 'zeros'
    input_size : int, default 0
        0 means that of the first input.

    Examples
    --------
    >>> import clgrad as mx
    >>> cell = mx.gluon.rnn.GRUCell(4, input_size=3)
    >>> cell
    GRUCell(3 -> 12)
    """

    def __init__(
        self,
        hidden_size,
        i2h_weight_initializer=None,
        h2h_weight_initializer=None,
        i2h_bias_initializer="zeros",
        h2h_bias_initializer="zeros",
        input_size=0,
        prefix=None,
        params=None,
    ):
        inits = i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        super().__init__(3, hidden_size, input_size, inits, prefix, params)

    def _alias(self) -> str:
        return "gru"

    def hybrid_forward(self, F, inputs, states, i2h_weight, h2h_weight, i2h_bias, h2h_bias):
        """One step."""
        (h,) = states
        r, z, new = F.split(self._linear(F, inputs, i2h_weight, i2h_bias), num_outputs=3, axis=1)
        h_r, h_z, h_new = F.split(self._linear(F, h, h2h_weight, h2h_bias), num_outputs=3, axis=1)
        reset = F.sigmoid(r + h_r)
        update = F.sigmoid(z + h_z)
        new = F.tanh(new + reset * h_new)
        h = (1 - update) * new + update * h
        return h, [h]
