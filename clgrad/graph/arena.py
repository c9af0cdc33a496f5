"""Where the arrays lie that live only within a replay.

Arrays that are never needed at the same time share memory. The largest are placed first, each at the lowest
place that is free as long as it lives (Pisarchyk & Lee, "Efficient memory management for deep neural net
inference", 2020: greedy by size).
"""

from collections.abc import Sequence
from typing import NamedTuple

#: Arrays begin at multiples of so many bytes: a line of a cache, and what any vector load asks for.
ALIGNMENT = 128


class Life(NamedTuple):
    """An array: its size, and the first and the last instruction that needs it."""

    nbytes: int
    first: int
    last: int


class Place(NamedTuple):
    """Where an array lies: in which piece of memory, and from which byte on."""

    piece: int
    start: int


def plan(lives: Sequence[Life], largest: int) -> tuple[list[Place], list[int]]:
    """Places for arrays, and the sizes of the pieces of memory that hold them.

    Parameters
    ----------
    lives : sequence of Life
    largest : int
        Bytes that one piece may have; an array that is larger gets a piece of its own.

    Examples
    --------
    >>> plan([Life(100, 0, 1), Life(100, 1, 2), Life(100, 2, 3)], 1 << 20)
    ([Place(piece=0, start=0), Place(piece=0, start=128), Place(piece=0, start=0)], [256])
    """
    places: list[Place] = [Place(0, 0)] * len(lives)
    pieces: list[list[int]] = []
    sizes: list[int] = []
    for i in sorted(range(len(lives)), key=lambda i: (-lives[i].nbytes, lives[i].first)):
        size = -(-lives[i].nbytes // ALIGNMENT) * ALIGNMENT
        for piece, members in enumerate(pieces):
            start = _lowest(lives, places, members, lives[i], size)
            if start + size <= max(largest, sizes[piece]):
                break
        else:
            piece, start = len(pieces), 0
            pieces.append([])
            sizes.append(0)
        places[i] = Place(piece, start)
        pieces[piece].append(i)
        sizes[piece] = max(sizes[piece], start + size)
    return places, sizes


def _lowest(
    lives: Sequence[Life], places: Sequence[Place], members: Sequence[int], life: Life, size: int
) -> int:
    """The lowest byte from which ``size`` bytes are free during a life."""
    taken = sorted(
        (places[i].start, places[i].start + lives[i].nbytes)
        for i in members
        if lives[i].first <= life.last and life.first <= lives[i].last
    )
    start = 0
    for begin, end in taken:
        if start + size <= begin:
            break
        start = max(start, -(-end // ALIGNMENT) * ALIGNMENT)
    return start
