"""What MXNet calls experimental (``mx.gluon.contrib``)."""

from clgrad.gluon.contrib import nn

__all__ = ["nn"]
