"""``mx.gluon.contrib.data``: where MXNet has its sampler of intervals."""

from clgrad.gluon.data.sampler import IntervalSampler

__all__ = ["IntervalSampler"]
