"""Epilogues: what becomes of the elements of a matrix product before they are stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clgrad.kernels import expr
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Scratch
from clgrad.kernels.signature import Signature


@dataclass(frozen=True, eq=False)
class Epilogue:
    """Formulas of each element of a product, and of those at its place in arrays of the result's shape.

    Attributes
    ----------
    values : tuple of Expr
        What to store, each in an array of its own. ``expr.operand(0)`` is the product's element, and
        ``expr.operand(i)`` that of ``arrays[i - 1]``.
    arrays : tuple of numpy.dtype
    scalars : tuple of numpy.dtype
        Of the numbers that are passed to each run.
    own : frozenset of str
        The device's ``own_functions``.
    """

    values: tuple[Expr, ...]
    arrays: tuple[np.dtype, ...] = ()
    scalars: tuple[np.dtype, ...] = ()
    own: frozenset[str] = frozenset()

    def roles(self, inputs: int) -> dict[str, In | Out | Scratch]:
        """Where a plan of so many other inputs finds the arrays; its outputs are the values."""
        read: dict[str, In | Out | Scratch] = {name: In(inputs + i) for i, name in enumerate(self._read())}
        return read | {name: Out(1 + i) for i, name in enumerate(self._written())}

    def _read(self) -> list[str]:
        return [f"e{i}" for i in range(1, len(self.arrays) + 1)]

    def _written(self) -> list[str]:
        return [f"y{i}" for i in range(1, len(self.values))]

    def declare(self, signature: Signature, result: np.dtype, roles: dict[str, In | Out | Scratch]) -> None:
        """Add the kernel's parameters, but for the result ``c``."""
        for name, dtype in zip(self._read(), self.arrays, strict=True):
            signature.array(name, dtype, roles[name])
        for name in self._written():
            signature.array(name, result, roles[name])
        for slot, dtype in enumerate(self.scalars):
            signature.scalar(f"s{slot}", slot, dtype)

    def pointers(self) -> list[str]:
        """The arrays that the kernel moves by their offsets."""
        return [*self._read(), *self._written()]

    def _spelled(self, value: str, width: int) -> tuple[Emitter, list[str]]:
        def load(slot: int) -> str:
            return expr.load(self.arrays[slot - 1], f"e{slot}", "place", width) if slot else value

        emitter = Emitter(width, load, lambda slot: f"s{slot}", own=self.own)
        return emitter, [emitter.value(v) for v in self.values]

    def statements(self, value: str, result: np.dtype, width: int) -> list[str]:
        """C statements that store what becomes of ``value``, at ``place`` in all arrays."""
        emitter, names = self._spelled(value, width)
        stores = [
            expr.store(result, name, v.dtype, pointer, "place", width)
            for name, v, pointer in zip(names, self.values, ["c_start", *self._written()], strict=True)
        ]
        return emitter.lines + stores

    def helpers(self, widths: Iterable[int]) -> Sequence[tuple]:
        """Functions that the statements call (see :class:`clgrad.kernels.emitter.Emitter`)."""
        return sorted({h for width in widths for h in self._spelled("", width)[0].helpers}, key=str)
