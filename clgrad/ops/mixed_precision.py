"""Casts between the real dtypes that automatic mixed precision puts into a net."""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.ops.conversion import cast
from clgrad.ops.unary import identity
from clgrad.registry import composite

#: What amp casts between, from the narrowest.
_LEVELS = (dtypes.float16, dtypes.bfloat16, dtypes.float32)


@composite()
def amp_cast(data, dtype):
    """The array in another dtype, if both are float32 or 16-bit reals; else a copy."""
    target = dtypes.resolve(dtype, "amp_cast")
    if data._view.dtype in _LEVELS and target in _LEVELS:
        return cast(data, dtype=target.name)
    return identity(data)


@composite()
def amp_multicast(*data, num_outputs=None, cast_narrow=False):
    """The arrays in the widest of their dtypes (or, with ``cast_narrow``, the narrowest).

    Only float32 and 16-bit reals are cast, and only to such.
    """
    arrays = list(data[0]) if len(data) == 1 and isinstance(data[0], list | tuple) else list(data)
    if not arrays or num_outputs not in (None, len(arrays)):
        raise argument_error(
            "amp_multicast", "num_outputs", num_outputs, f"{len(arrays)}, the arrays given"
        )
    levels = [_LEVELS.index(a._view.dtype) for a in arrays if a._view.dtype in _LEVELS]
    if not levels:
        return [identity(a) for a in arrays]
    target = _LEVELS[min(levels) if cast_narrow else max(levels)].name
    return [amp_cast(a, target) for a in arrays]
