"""What MXNet calls experimental (``mx.gluon.contrib``)."""

from clgrad import absent as _absent
from clgrad.gluon.contrib import data, nn

__getattr__ = _absent.getter("gluon.contrib", __name__)

__all__ = ["data", "nn"]
