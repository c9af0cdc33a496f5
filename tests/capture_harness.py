"""What tests of captured functions share: calls without capture, and with."""

import clgrad as mx


def replayed(captured) -> int:
    """How many recordings a captured function has that are replayed."""
    return len(captured.graphs())


def several(function, calls, fuse=True):
    """Results of some calls without capture, and with; what they are of must be made by ``calls``."""
    plain = [function(*args) for args in calls()]
    captured = mx.capture(function, fuse=fuse)
    caught = [captured(*args) for args in calls()]
    assert replayed(captured)
    return plain, caught


def many_times(captured, argument):
    for _ in range(10):
        captured(argument())
