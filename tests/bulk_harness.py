"""What tests of merged launches share: arrays just large enough to wait, and programs run until merged."""

from clgrad import engine, memory, nd
from clgrad.registry import bulk, sequence

SHAPE = (128, 128)
assert SHAPE[0] * SHAPE[1] == bulk.FEWEST


def arrays(rng, *shapes, dtype="float32"):
    return [nd.array(rng.uniform(1, 5, shape), dtype=dtype) for shape in shapes]


def several_times(f, *args):
    """The values of ``f(*args)`` each time until it has been merged, and as no launch waits."""
    with engine.bulk(0):
        expected = [y.asnumpy() for y in f(*args)]
    for _ in range(sequence.REPEATS + 2):
        yield [y.asnumpy() for y in f(*args)], expected


def forget_sequences():
    """Whatever has come up before, and was asked for in memory then, is new again."""
    for stream in memory.all_streams():
        stream.sequences.clear()
