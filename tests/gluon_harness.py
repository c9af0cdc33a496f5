"""Nets, parameters and contexts that tests of Gluon share."""

import pytest

import clgrad as mx
from clgrad import gluon, nd
from clgrad.errors import MXNetError
from clgrad.gluon import nn

# The first device twice where there is one alone: what counts is that copies are kept apart by context.
CONTEXTS = [mx.cpu(0), mx.cpu(1)]


def two_contexts():
    try:
        for context in CONTEXTS:
            nd.zeros(1, ctx=context)
    except MXNetError:
        pytest.skip("one CPU device alone")
    return CONTEXTS


def parameter(shape=(2, 3), **kwargs):
    made = gluon.Parameter("weight", shape=shape, **kwargs)
    made.initialize(mx.init.One())
    return made


def small_net(**kwargs):
    net = nn.HybridSequential(**kwargs)
    with net.name_scope():
        net.add(nn.Dense(4, activation="relu"), nn.Dense(2))
    return net


def values(block):
    return {name: p.data().asnumpy() for name, p in block.collect_params().items()}
