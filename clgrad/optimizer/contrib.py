"""``mx.optimizer.contrib``: where MXNet has GroupAdaGrad."""

from clgrad.optimizer.adaptive import GroupAdaGrad

__all__ = ["GroupAdaGrad"]
