"""What stood in arrays before a function wrote to them: kept, and put back."""

from collections.abc import Iterable, Iterator, Sequence
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
def as_before(views: Sequence[View], kept: Iterable[Kept]) -> Iterator[None]:
    """A scope in which arrays hold what was kept of them; after it what they hold now, version included.

    Their version in it is one that no write comes to: what is recorded there of their contents is refused
    afterwards, since these are gone.
    """
    now = [keep(view) for view in views]
    try:
        put_back(kept, with_versions=False)
        for view in views:
            view.storage.version = -memory.last_serial() << 32
        yield
    finally:
        put_back(now)
