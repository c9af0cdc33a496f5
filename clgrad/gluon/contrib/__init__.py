"""What MXNet calls experimental (``mx.gluon.contrib``)."""

from clgrad.gluon.contrib import data, nn

__all__ = ["data", "nn"]
