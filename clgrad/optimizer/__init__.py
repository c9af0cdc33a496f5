"""``mx.optimizer``: how parameters follow their gradients.

An :class:`Optimizer` knows learning rates and weight decays, makes the states of a parameter and takes its
steps; an :class:`Updater` keeps the states of many parameters. Steps of many parameters are few launches;
numbers that change from step to step, such as learning rates, are arguments of these.

Unless said otherwise, g is the gradient times ``rescale_grad``, limited to ``clip_gradient``.
"""

from clgrad.optimizer import contrib
from clgrad.optimizer.adaptive import (
    FTML,
    AdaDelta,
    AdaGrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    GroupAdaGrad,
    Nadam,
    RMSProp,
)
from clgrad.optimizer.base import Optimizer, create, register
from clgrad.optimizer.descent import DCASGD, NAG, SGD, SGLD, Signum, Test, ccSGD
from clgrad.optimizer.layerwise import LAMB, LARS, LBSGD
from clgrad.optimizer.updater import Updater, get_updater

__all__ = [
    "DCASGD",
    "FTML",
    "LAMB",
    "LARS",
    "LBSGD",
    "NAG",
    "SGD",
    "SGLD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "GroupAdaGrad",
    "Nadam",
    "Optimizer",
    "RMSProp",
    "Signum",
    "Test",
    "Updater",
    "ccSGD",
    "contrib",
    "create",
    "get_updater",
    "register",
]
