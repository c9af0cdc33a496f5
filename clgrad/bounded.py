"""A dictionary that forgets: for caches whose entries can be made again."""

import itertools
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V]):
    """A dictionary of at most ``limit`` entries: when one more comes, the half that came first goes.

    Reading costs what it does in a dictionary, since nothing is noted down for it.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self.limit and key not in self:
            for old in list(itertools.islice(self, -(-self.limit // 2))):
                del self[old]
        super().__setitem__(key, value)
