"""Recurrent layers: the op ``nd.RNN`` over whole sequences, with a parameter for each weight and bias."""

import re
from collections.abc import Callable
from typing import Any

from clgrad import nd, symbol
from clgrad.array import NDArray
from clgrad.errors import OperatorError, argument_error
from clgrad.gluon.block import HybridBlock
from clgrad.gluon.parameter import Parameter
from clgrad.gluon.rnn.containers import BidirectionalCell, HybridSequentialRNNCell
from clgrad.gluon.rnn.modifiers import DropoutCell
from clgrad.gluon.rnn.recurrent_cell import states_from
from clgrad.gluon.rnn.rnn_cell import GRUCell, LSTMCell, RNNCell
from clgrad.symbol import Symbol

_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}
_PARAMETER = re.compile(r"([lr])(\d+)_((?:i2h|h2h|h2r)_(?:weight|bias))")


class _RNNLayer(HybridBlock):
    """Layers of one mode; the public ones say which, and take its arguments."""

    l0_i2h_weight: Parameter

    def __init__(
        self,
        mode: str,
        hidden_size: int,
        num_layers: int,
        layout: str,
        dropout: float,
        bidirectional: bool,
        input_size: int,
        initializers: dict[str, Any],
        dtype: Any,
        use_sequence_length: bool = False,
        projection_size: int | None = None,
        clip: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if mode not in _GATES:
            raise argument_error("RNN", "activation", repr(mode.removeprefix("rnn_")), "relu, tanh")
        if layout not in ("TNC", "NTC"):
            raise argument_error(self.name, "layout", repr(layout), "TNC, NTC")
        self._mode, self._layout, self._dropout = mode, layout, dropout
        self._hidden_size, self._num_layers, self._input_size = hidden_size, num_layers, input_size
        self._projection_size = projection_size or None
        self._directions = "lr"[: 1 + bool(bidirectional)]
        self._initializers = initializers
        self._dtype = dtype
        self._use_sequence_length = use_sequence_length
        self._clip = clip or {}
        for name, shape in self._shapes(input_size).items():
            init = initializers[name.split("_", 1)[1]]
            parameter = self.params.get(name, shape=shape, init=init, dtype=dtype, allow_deferred_init=True)
            setattr(self, name, parameter)

    def _shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, by name."""
        width, state = _GATES[self._mode] * self._hidden_size, self._projection_size or self._hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self._num_layers):
            for direction in self._directions:
                own = {
                    "i2h_weight": (width, inputs),
                    "h2h_weight": (width, state),
                    "i2h_bias": (width,),
                    "h2h_bias": (width,),
                }
                if self._projection_size:
                    own["h2r_weight"] = (state, self._hidden_size)
                shapes |= {f"{direction}{layer}_{name}": shape for name, shape in own.items()}
            inputs = state * len(self._directions)
        return shapes

    def __repr__(self) -> str:
        shape: Any = self.l0_i2h_weight.shape
        text = f"{shape[1] or None} -> {self._hidden_size}, {self._layout}"
        if self._num_layers != 1:
            text += f", num_layers={self._num_layers}"
        if self._dropout:
            text += f", dropout={self._dropout}"
        if len(self._directions) == 2:
            text += ", bidirectional"
        return f"{type(self).__name__}({text})"

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        """Parameters by the names that they have in files: those of the layers' cells."""
        dotted = f"{prefix}." if prefix else ""
        found = {}
        for name, parameter in self._reg_params.items():
            match = _PARAMETER.fullmatch(name)
            assert match is not None
            direction, layer, rest = match.groups()
            cell = f"{direction}_cell." if len(self._directions) == 2 else ""
            found[f"{dotted}_unfused.{layer}.{cell}{rest}"] = parameter
        return found

    def cast(self, dtype) -> None:
        """Convert all parameters, and the states to begin with, to another dtype."""
        super().cast(dtype)
        self._dtype = dtype

    def infer_shape(self, inputs, *args) -> None:
        """Set the size of the input."""
        for name, shape in self._shapes(inputs.shape[2]).items():
            self._reg_params[name].shape = shape

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """Shape, layout and dtype of each state."""
        shape = (self._num_layers * len(self._directions), batch_size)
        sizes = [self._projection_size or self._hidden_size]
        if self._mode == "lstm":
            sizes.append(self._hidden_size)
        return [{"shape": (*shape, n), "__layout__": "LNC", "dtype": self._dtype} for n in sizes]

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list[NDArray]:
        """States to begin with.

        Parameters
        ----------
        batch_size : int
        func : callable, default nd.zeros
            Makes a state, called with ``shape``, ``dtype`` and the other arguments.
        **kwargs
            For ``func``, such as ``ctx``.
        """
        return states_from(self, self.state_info(batch_size), func, kwargs)

    def __call__(self, inputs, states=None, sequence_length=None):
        """Run the layers.

        Parameters
        ----------
        inputs : NDArray
            (steps, batch, features), or with the layout 'NTC' (batch, steps, features).
        states : NDArray or list of NDArray, optional
            Of shape (layers * directions, batch, hidden_size); zeros by default.
        sequence_length : NDArray, optional
            With ``use_sequence_length``: how many steps of each sample count.

        Returns
        -------
        NDArray, or (NDArray, list of NDArray)
            The output, and with ``states`` given those behind the last step.
        """
        if isinstance(states, NDArray | Symbol):
            states = [states]
        if (sequence_length is not None) != self._use_sequence_length:
            accepted = "an NDArray" if self._use_sequence_length else "None without use_sequence_length"
            raise argument_error(self.name, "sequence_length", type(sequence_length).__name__, accepted)
        if not isinstance(inputs, Symbol) and (not isinstance(inputs, NDArray) or inputs.ndim != 3):
            given = f"of shape {inputs.shape}" if isinstance(inputs, NDArray) else type(inputs).__name__
            raise argument_error(self.name, "inputs", given, "an NDArray of three axes")
        return super().__call__(inputs, states, sequence_length)

    def hybrid_forward(self, F, x, states=None, sequence_length=None, **parameters):
        """One call of the op."""
        given, states = states, self._states(F, x, states)
        if self._layout == "NTC":
            x = F.swapaxes(x, 0, 1)
        packed = F.concat(*(parameters[name].reshape((-1,)) for name in self._packed()), dim=0)
        more = [] if sequence_length is None else [sequence_length]
        output, *after = F.RNN(
            x,
            packed,
            *states,
            *more,
            use_sequence_length=self._use_sequence_length,
            state_size=self._hidden_size,
            projection_size=self._projection_size,
            num_layers=self._num_layers,
            bidirectional=len(self._directions) == 2,
            p=self._dropout,
            state_outputs=True,
            mode=self._mode,
            **self._clip,
        )
        if self._layout == "NTC":
            output = F.swapaxes(output, 0, 1)
        return output if given is None else (output, after)

    def _states(self, F, x, states):
        """The states to begin with; of symbols, MXNet's zeros of a batch that is not known."""
        if F is symbol:
            return self.begin_state(func=F.zeros) if states is None else states
        batch_size = x.shape[self._layout.index("N")]
        if states is None:
            return self.begin_state(batch_size, ctx=x.context, dtype=x.dtype)
        shapes = [info["shape"] for info in self.state_info(batch_size)]
        if [s.shape for s in states] != shapes:
            raise argument_error(self.name, "states", f"of shapes {[s.shape for s in states]}", str(shapes))
        return states

    def _packed(self) -> list[str]:
        """Names of the parameters in the order in which the op takes them: weights, then biases."""
        weights = ["i2h_weight", "h2h_weight", *(["h2r_weight"] if self._projection_size else [])]
        return [
            f"{direction}{layer}_{name}"
            for names in (weights, ["i2h_bias", "h2h_bias"])
            for layer in range(self._num_layers)
            for direction in self._directions
            for name in names
        ]

    def unfuse(self) -> HybridSequentialRNNCell:
        """The same as a stack of cells, which share the parameters: for work step by step.

        Raises
        ------
        OperatorError
            Projections and limits of the cell state have no cells.
        """
        if self._projection_size or any(v for v in self._clip.values()):
            raise OperatorError(f"{self.name}.unfuse: cells have no projection, and no limits of the state")
        stack = HybridSequentialRNNCell(prefix=self.prefix, params=self.params)
        inputs = self._input_size
        with stack.name_scope():
            for layer in range(self._num_layers):
                cells = [self._cell(f"{direction}{layer}_", inputs) for direction in self._directions]
                stack.add(cells[0] if len(cells) == 1 else BidirectionalCell(*cells))
                if self._dropout > 0 and layer < self._num_layers - 1:
                    stack.add(DropoutCell(self._dropout))
                inputs = self._hidden_size * len(cells)
        return stack

    _unfuse = unfuse

    def _cell(self, prefix: str, inputs: int) -> Any:
        names = ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")
        options = {f"{name}_initializer": self._initializers[name] for name in names}
        options |= {"input_size": inputs, "prefix": prefix}
        if self._mode.startswith("rnn_"):
            return RNNCell(self._hidden_size, self._mode.removeprefix("rnn_"), **options)
        return (LSTMCell if self._mode == "lstm" else GRUCell)(self._hidden_size, **options)


def _initializers(i2h_weight, h2h_weight, i2h_bias, h2h_bias, h2r_weight=None) -> dict[str, Any]:
    return {
        "i2h_weight": i2h_weight,
        "h2h_weight": h2h_weight,
        "i2h_bias": i2h_bias,
        "h2h_bias": h2h_bias,
        "h2r_weight": h2r_weight,
    }


class RNN(_RNNLayer):
    """Layers of :class:`RNNCell` over a sequence.

    Parameters
    ----------
    hidden_size : int
    num_layers : int, default 1
    activation : str, default 'relu'
        Or 'tanh'.
    layout : str, default 'TNC'
        Of input and output: 'TNC' (steps, batch, features) or 'NTC'.
    dropout : float, default 0
        In training, dropout of the outputs of each layer but the last.
    bidirectional : bool, default False
        Each layer runs in both directions, and their outputs are joined along the last axis.
    i2h_weight_initializer, h2h_weight_initializer : Initializer or str, optional
    i2h_bias_initializer, h2h_bias_initializer : Initializer or str, default 'zeros'
    input_size : int, default 0
        0 means that of the first input.
    dtype : str or type, default 'float32'

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.rnn.RNN(4, num_layers=2)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((5, 2, 3))).shape
    (5, 2, 4)
    """

    def __init__(
        self,
        hidden_size,
        num_layers=1,
        activation="relu",
        layout="TNC",
        dropout=0,
        bidirectional=False,
        i2h_weight_initializer=None,
        h2h_weight_initializer=None,
        i2h_bias_initializer="zeros",
        h2h_bias_initializer="zeros",
        input_size=0,
        dtype="float32",
        **kwargs,
    ):
        inits = i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        sizes = hidden_size, num_layers, layout, dropout, bidirectional, input_size
        super().__init__(f"rnn_{activation}", *sizes, _initializers(*inits), dtype, **kwargs)


class LSTM(_RNNLayer):
    """Layers of :class:`LSTMCell` over a sequence.

    Parameters
    ----------
    hidden_size : int
    num_layers : int, default 1
    layout : str, default 'TNC'
        Of input and output: 'TNC' (steps, batch, features) or 'NTC'.
    dropout : float, default 0
        In training, dropout of the outputs of each layer but the last.
    bidirectional : bool, default False
        Each layer runs in both directions, and their outputs are joined along the last axis.
    input_size : int, default 0
        0 means that of the first input.
    i2h_weight_initializer, h2h_weight_initializer : Initializer or str, optional
    i2h_bias_initializer, h2h_bias_initializer : Initializer or str, default 'zeros'
    projection_size : int, optional
        Size that outputs are projected to (Sak et al., 2014).
    h2r_weight_initializer : Initializer or str, optional
        Of the projection.
    state_clip_min, state_clip_max : float, optional
        Limits of the cell state; with ``state_clip_nan``, NaN becomes the lower one.
    dtype : str or type, default 'float32'
    use_sequence_length : bool, default False
        Whether calls give the length of each sample.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.rnn.LSTM(4, layout="NTC", bidirectional=True)
    >>> layer.initialize()
    >>> output, (h, c) = layer(mx.nd.ones((2, 5, 3)), layer.begin_state(batch_size=2))
    >>> output.shape, h.shape
    ((2, 5, 8), (2, 2, 4))
    """

    def __init__(
        self,
        hidden_size,
        num_layers=1,
        layout="TNC",
        dropout=0,
        bidirectional=False,
        input_size=0,
        i2h_weight_initializer=None,
        h2h_weight_initializer=None,
        i2h_bias_initializer="zeros",
        h2h_bias_initializer="zeros",
        projection_size=None,
        h2r_weight_initializer=None,
        state_clip_min=None,
        state_clip_max=None,
        state_clip_nan=False,
        dtype="float32",
        **kwargs,
    ):
        inits = i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        sizes = hidden_size, num_layers, layout, dropout, bidirectional, input_size
        clip = {
            "lstm_state_clip_min": state_clip_min,
            "lstm_state_clip_max": state_clip_max,
            "lstm_state_clip_nan": state_clip_nan,
        }
        inits_by_name = _initializers(*inits, h2r_weight_initializer)
        options = {"projection_size": projection_size, "clip": clip, **kwargs}
        super().__init__("lstm", *sizes, inits_by_name, dtype, **options)


class GRU(_RNNLayer):
    """Layers of :class:`GRUCell` over a sequence.

    Parameters
    ----------
    hidden_size : int
    num_layers : int, default 1
    layout : str, default 'TNC'
        Of input and output: 'TNC' (steps, batch, features) or 'NTC'.
    dropout : float, default 0
        In training, dropout of the outputs of each layer but the last.
    bidirectional : bool, default False
        Each layer runs in both directions, and their outputs are joined along the last axis.
    input_size : int, default 0
        0 means that of the first input.
    i2h_weight_initializer, h2h_weight_initializer : Initializer or str, optional
    i2h_bias_initializer, h2h_bias_initializer : Initializer or str, default 'zeros'
    dtype : str or type, default 'float32'
    use_sequence_length : bool, default False
        Whether calls give the length of each sample.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.rnn.GRU(4, num_layers=2, input_size=3)
    GRU(3 -> 4, TNC, num_layers=2)
    """

    def __init__(
        self,
        hidden_size,
        num_layers=1,
        layout="TNC",
        dropout=0,
        bidirectional=False,
        input_size=0,
        i2h_weight_initializer=None,
        h2h_weight_initializer=None,
        i2h_bias_initializer="zeros",
        h2h_bias_initializer="zeros",
        dtype="float32",
        **kwargs,
    ):
        inits = i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        sizes = hidden_size, num_layers, layout, dropout, bidirectional, input_size
        super().__init__("gru", *sizes, _initializers(*inits), dtype, **kwargs)
