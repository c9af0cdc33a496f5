"""What stood in arrays before a function wrote to them: kept, and put back."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from clgrad import memory
from clgrad.memory import View


class Kept(NamedTuple):
    """What stood in an array, and the version of its memory then."""

    view: View
    copy: View
    version: int


def keep(view: View) -> Kept:
    """What stands in an array now."""
    stream = memory.current_stream(view.device)
    copy = memory.empty(stream, *view.layout)
    memory.copy(stream, view, copy)
    return Kept(view, copy, view.storage.version)


def put_back(kept: Iterable[Kept], with_versions: bool = True) -> None:
    """Write what stood in arrays; the last first, since they may share memory.

    With their versions, the tape takes them for arrays that nobody has written to since.
    """
    for view, copy, version in reversed(list(kept)):
        view.storage.begin_write()
        memory.copy(memory.current_stream(view.device), copy, view)
        if with_versions:
            view.storage.version = version


@contextmanager
def unchanged(views: Iterable[View]) -> Iterator[None]:
    """A scope after which arrays hold what they held before, in the version of before."""
    kept = [keep(view) for view in views]
    try:
        yield
    finally:
        put_back(kept)
