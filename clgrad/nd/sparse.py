"""``mx.nd.sparse``: what MXNet has for sparse storage, which clgrad lacks."""

from clgrad import absent
from clgrad.registry import namespace

globals().update(namespace("sparse"))
__getattr__ = absent.getter("sparse", __name__)
