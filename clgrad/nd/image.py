"""``mx.nd.image``: the ops of the table that are named ``image.``..., on images as arrays."""

from clgrad import absent
from clgrad.registry import namespace

globals().update(namespace("image"))
__getattr__ = absent.getter("image", __name__)
