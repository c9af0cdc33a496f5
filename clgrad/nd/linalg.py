"""``mx.nd.linalg``: the ops of the table that are named ``linalg.``..., on stacks of matrices."""

from clgrad import absent
from clgrad.registry import namespace

globals().update(namespace("linalg"))
__getattr__ = absent.getter("linalg", __name__)
