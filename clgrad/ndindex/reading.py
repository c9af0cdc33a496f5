"""``x[key]``."""

from clgrad import tape
from clgrad.array import NDArray
from clgrad.ndindex.keys import Basic, parse
from clgrad.ndindex.region import Region
from clgrad.ops.positions import read_at
from clgrad.ops.shape import row, take_slice, with_shape


def read(data: NDArray, key) -> NDArray:
    """``data[key]``; recorded, and sharing memory where it is a range of the leading axis."""
    if type(key) is int and data.ndim > 1 and -data.shape[0] <= key < data.shape[0]:  # the usual case
        return row(data, index=key % data.shape[0])
    parsed = parse(data.shape, key)
    if isinstance(parsed, Basic):
        part = take_slice(data, parsed.begin, parsed.step, parsed.size)
        shape = parsed.shape
    else:
        region = Region(data, parsed, ask_unique=tape.state.recording)
        part = read_at(data, region.positions, size=region.shape, **region.attributes)
        shape = region.shape or (1,)
    return part if part.shape == shape else with_shape(part, shape=shape)
