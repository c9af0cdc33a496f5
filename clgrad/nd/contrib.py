"""``mx.nd.contrib``: the ops of the table that are named ``contrib.``..."""

from clgrad import absent
from clgrad.registry import namespace

globals().update(namespace("contrib"))
__getattr__ = absent.getter("contrib", __name__)
