"""``mx.base``: where MXNet programs look for its error type."""

from clgrad.errors import MXNetError

__all__ = ["MXNetError"]
