"""Iteration spaces: operands as strides over a shape, with mergeable axes merged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Operand:
    """What a kernel reads or writes at each position of an iteration space.

    Attributes
    ----------
    dtype : numpy.dtype or None
        Storage dtype; None for an *index operand*: no memory, the value is the address itself.
    strides : tuple of int
        Elements to step along each axis of the iteration space; 0 repeats (broadcast).
    base : int
        Address of the position (0, ..., 0), relative to the array's own offset.
    narrow : bool
        Of an index operand: whether its values are made in 32 bits, which must hold them.
    """

    dtype: np.dtype | None
    strides: tuple[int, ...]
    base: int = 0
    narrow: bool = False


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a C-contiguous array, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def broadcast_strides(shape: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """Strides that read a C-contiguous array of ``shape`` as if it had the shape ``target``."""
    lead = len(target) - len(shape)
    own = contiguous_strides(shape)
    return (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(shape, own, strict=True))


def broadcast(operand_shape: Sequence[int], target: Sequence[int], dtype: np.dtype) -> Operand:
    """A C-contiguous array read over the larger shape ``target``."""
    return Operand(dtype, broadcast_strides(operand_shape, target))


def index(axis: int, ndim: int, narrow: bool = False) -> Operand:
    """The position along one axis as a value, of 64 bits or of 32."""
    return Operand(None, tuple(int(a == axis) for a in range(ndim)), narrow=narrow)


def merge_axes(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Merge neighbouring axes that every operand steps through as if they were one.

    Returns the merged shape (at least one axis) and each operand's strides over it.
    """
    sizes: list[int] = []
    steps: list[list[int]] = []  # for each kept axis, the stride of every operand
    for axis, size in enumerate(shape):
        step = [s[axis] for s in strides]
        if size == 1:
            continue
        if sizes and all(a == b * size for a, b in zip(steps[-1], step, strict=True)):
            sizes[-1] *= size
            steps[-1] = step
        else:
            sizes.append(size)
            steps.append(step)
    if not sizes:
        sizes, steps = [1], [[0] * len(strides)]
    return tuple(sizes), tuple(tuple(step[i] for step in steps) for i in range(len(strides)))


def reach(operand: Operand, shape: Sequence[int]) -> int:
    """Largest absolute address that the operand forms; decides between 32 and 64-bit indices."""
    return abs(operand.base) + sum(
        (n - 1) * abs(s) for n, s in zip(shape, operand.strides, strict=True) if n
    )


def footprint(operand: Operand, shape: Sequence[int]) -> int:
    """Bytes that the operand's addresses over the space cover, each counted once."""
    assert operand.dtype is not None, "the address itself is no memory"
    steps = [(n, abs(s)) for n, s in zip(shape, operand.strides, strict=True) if s]
    covered = 1 + sum((n - 1) * s for n, s in steps)  # of windows that overlap, no more than that
    return min(math.prod(n for n, _ in steps), covered) * operand.dtype.itemsize


def needs_long(shape: Sequence[int], operands: Sequence[Operand]) -> bool:
    """Whether positions or addresses over the space exceed 32 bits."""
    limit = 2**31 - 2**24  # room for the vector or the stride of the grid that runs past the end
    return math.prod(shape) > limit or any(reach(o, shape) > limit for o in operands)
