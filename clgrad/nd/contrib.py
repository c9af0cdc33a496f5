"""``mx.nd.contrib``: the ops of the table that are named ``contrib.``..."""

from clgrad.registry import namespace

globals().update(namespace("contrib"))
