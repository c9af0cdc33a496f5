"""``mx.init``: the first values of parameters.

An initializer is called with the name of a parameter and its array, which it fills in place. The name's
suffix chooses how: a bias is 0, gamma 1, beta 0, and so on; what differs between initializers is how they
fill weights. Random numbers are those of :mod:`clgrad.random`: one seed gives the same parameters on every
device.

A user's own initializer is a subclass of :class:`Initializer` with a method ``_init_weight(name, arr)``.
"""

from clgrad.initializer.base import InitDesc, Initializer, alias, create, register
from clgrad.initializer.choice import Load, Mixed
from clgrad.initializer.special import Bilinear, FusedRNN, LSTMBias
from clgrad.initializer.weights import Constant, MSRAPrelu, Normal, One, Orthogonal, Uniform, Xavier, Zero

__all__ = [
    "Bilinear",
    "Constant",
    "FusedRNN",
    "InitDesc",
    "Initializer",
    "LSTMBias",
    "Load",
    "MSRAPrelu",
    "Mixed",
    "Normal",
    "One",
    "Orthogonal",
    "Uniform",
    "Xavier",
    "Zero",
    "alias",
    "create",
    "register",
]
