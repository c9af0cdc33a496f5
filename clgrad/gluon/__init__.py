"""Neural networks (``mx.gluon``), with MXNet's interface: blocks, parameters and layers."""

from clgrad import absent as _absent
from clgrad.array import NDArray
from clgrad.gluon import contrib, data, loss, nn, rnn, utils
from clgrad.gluon.block import Block, HybridBlock, SymbolBlock
from clgrad.gluon.parameter import Constant, DeferredInitializationError, Parameter, ParameterDict
from clgrad.gluon.trainer import Trainer
from clgrad.symbol import Symbol

#: What blocks take and give.
tensor_types = (Symbol, NDArray)


__getattr__ = _absent.getter("gluon", __name__)


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
    "tensor_types",
    "utils",
]
