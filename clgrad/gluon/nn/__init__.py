"""Layers (``mx.gluon.nn``)."""

from clgrad.gluon.block import Block, HybridBlock
from clgrad.gluon.nn.activations import ELU, GELU, SELU, Activation, LeakyReLU, PReLU, Swish
from clgrad.gluon.nn.basic_layers import Dense, Dropout, Embedding, Flatten
from clgrad.gluon.nn.containers import HybridLambda, HybridSequential, Lambda, Sequential

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Block",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "HybridBlock",
    "HybridLambda",
    "HybridSequential",
    "Lambda",
    "LeakyReLU",
    "PReLU",
    "Sequential",
    "Swish",
]
