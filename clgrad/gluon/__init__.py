"""Neural networks (``mx.gluon``), with MXNet's interface: blocks, parameters and layers."""

from clgrad.array import NDArray
from clgrad.errors import AbsentError
from clgrad.gluon import contrib, data, loss, nn, rnn, utils
from clgrad.gluon.block import Block, HybridBlock, SymbolBlock
from clgrad.gluon.parameter import Constant, DeferredInitializationError, Parameter, ParameterDict
from clgrad.gluon.trainer import Trainer
from clgrad.symbol import Symbol

#: What blocks take and give.
tensor_types = (Symbol, NDArray)


def __getattr__(name: str) -> object:
    if name == "model_zoo":
        raise AbsentError(
            "gluon.model_zoo: clgrad brings no trained nets; SymbolBlock.imports reads MXNet's"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
