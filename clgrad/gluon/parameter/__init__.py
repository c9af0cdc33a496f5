"""Parameters of blocks, and dictionaries of them."""

from clgrad.gluon.parameter.constant import Constant
from clgrad.gluon.parameter.dictionary import ParameterDict, brief, load_names, take_all
from clgrad.gluon.parameter.parameter import DeferredInitializationError, Parameter

__all__ = [
    "Constant",
    "DeferredInitializationError",
    "Parameter",
    "ParameterDict",
    "brief",
    "load_names",
    "take_all",
]
