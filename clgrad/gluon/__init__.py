"""Neural networks (``mx.gluon``), with MXNet's interface: blocks, parameters and layers."""

from clgrad.gluon import contrib, data, loss, nn, rnn, utils
from clgrad.gluon.block import Block, HybridBlock
from clgrad.gluon.parameter import Constant, DeferredInitializationError, Parameter
from clgrad.gluon.parameter_dict import ParameterDict
from clgrad.gluon.symbol_block import SymbolBlock
from clgrad.gluon.trainer import Trainer

__all__ = [
    "Block",
    "Constant",
    "DeferredInitializationError",
    "HybridBlock",
    "Parameter",
    "ParameterDict",
    "SymbolBlock",
    "Trainer",
    "contrib",
    "data",
    "loss",
    "nn",
    "rnn",
    "utils",
]
