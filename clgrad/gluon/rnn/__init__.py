"""``mx.gluon.rnn``: recurrent layers over whole sequences, and the cells of single steps."""

from clgrad.gluon.rnn.containers import BidirectionalCell, HybridSequentialRNNCell, SequentialRNNCell
from clgrad.gluon.rnn.modifiers import DropoutCell, ModifierCell, ResidualCell, ZoneoutCell
from clgrad.gluon.rnn.recurrent_cell import HybridRecurrentCell, RecurrentCell
from clgrad.gluon.rnn.rnn_cell import GRUCell, LSTMCell, RNNCell
from clgrad.gluon.rnn.rnn_layer import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BidirectionalCell",
    "DropoutCell",
    "GRUCell",
    "HybridRecurrentCell",
    "HybridSequentialRNNCell",
    "LSTMCell",
    "ModifierCell",
    "RNNCell",
    "RecurrentCell",
    "ResidualCell",
    "SequentialRNNCell",
    "ZoneoutCell",
]
