"""What is reduced, and how accumulators of it are spelled in C: made, filled, joined, taken apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from clgrad import dtypes
from clgrad.kernels import expr
from clgrad.kernels.emitter import Emitter
from clgrad.kernels.expr import Expr


@dataclass(frozen=True)
class Reduction:
    """One result: what is combined, how, and what becomes of the total.

    Attributes
    ----------
    value : Expr
        Formula at each position.
    how : str
        ``sum``, ``prod``, ``max``, ``min`` (the last two propagate NaN) or ``deviation``: the sum of
        squares about the mean, which is never a difference of large sums. Its accumulator has the mean
        and the count of the terms beside it (B. P. Welford, 1962), and two are joined as in T. F. Chan,
        G. H. Golub, R. J. LeVeque: "Updating formulae and a pairwise algorithm for computing sample
        variances" (1979). ``argmax`` and ``argmin`` have the place of the extremum beside it, which is
        their result: the first of several, or the first NaN.
    dtype : numpy.dtype
        Storage dtype of the result.
    finish : callable, optional
        Formula applied to the total, such as a division for a mean.
    part : (Expr, Expr), optional
        Mean and count of the terms of which ``value`` is the deviation, where those are joined.
    place : Expr, optional
        Of ``argmax`` and ``argmin``: what tells positions apart, a whole number as wide as the value.
    """

    value: Expr
    how: str
    dtype: np.dtype
    finish: Callable[[Expr], Expr] = field(default=lambda total: total)
    part: tuple[Expr, Expr] | None = None
    place: Expr | None = None

    @property
    def values(self) -> tuple[Expr, ...]:
        """What is read at each position."""
        return (self.value, *(self.part or ()), *(() if self.place is None else (self.place,)))

    def reading(self, values: Sequence[Expr]) -> "Reduction":
        """The same of others in the place of :attr:`values`."""
        value, *rest = values
        if self.place is not None:
            return replace(self, value=value, place=rest[-1])
        return replace(self, value=value, part=(rest[0], rest[1]) if rest else None)

    @property
    def finds(self) -> bool:
        """Whether the result is a place."""
        return self.place is not None

    @property
    def states(self) -> tuple[str, ...]:
        """Suffixes of the C variables that make up an accumulator."""
        if self.finds:
            return "", "_place"
        return ("", "_mean", "_count") if self.how == "deviation" else ("",)

    def dtype_of(self, state: str) -> np.dtype:
        """The dtype of one of the variables that make up an accumulator."""
        return self.place.dtype if self.place is not None and state else self.value.dtype

    @property
    def answer(self) -> str:
        """Suffix of the variable that the result is made of, once all terms are in."""
        return "_place" if self.finds else ""

    def ctype(self, width: int, state: str = "") -> str:
        """C type of the accumulator, or of another of its variables."""
        return dtypes.c_type(self.dtype_of(state), width)

    def identity(self, width: int) -> str:
        """C spelling of the value that combining leaves unchanged."""
        kind = dtypes.describe(self.value.dtype)
        texts = {"prod": "1", "max": kind.min_literal, "min": kind.max_literal}
        text = texts.get(self.how.removeprefix("arg"), "0")
        return f"({self.ctype(width)})({text})"

    def empty(self, width: int) -> list[str]:
        """C spellings of the variables of an empty accumulator, other than of a deviation."""
        return [self.identity(width), *(["0"] if self.finds else [])]

    def declare(self, name: str, width: int) -> str:
        """C statement that makes an empty accumulator."""
        if self.how != "deviation":
            kinds = [self.ctype(width, state) for state in self.states]
            values = zip(kinds, self.states, self.empty(width), strict=True)
            return " ".join(f"{kind} {name}{state} = {value};" for kind, state, value in values)
        zero, counted = self.identity(width), self._count_width(width)
        return (
            f"{self.ctype(width)} {name} = {zero}, {name}_mean = {zero}; "
            f"{self.ctype(counted)} {name}_count = {self.identity(counted)};"
        )

    def _count_width(self, width: int) -> int:
        """Lanes of an accumulator have seen equally many terms, unless those were counted before."""
        return width if self.part else 1

    @property
    def watches(self) -> bool:
        """Whether parts remember that they met a NaN, instead of carrying it on: a comparison less."""
        return self.how in ("max", "min") and self.value.dtype.kind == "f"

    def open(self, name: str, width: int) -> str:
        """C statements that make an empty accumulator of a part, to ``take`` values until it is closed."""
        watch = f" {self.mask(width)} {name}_nan = 0;" if self.watches else ""
        return self.declare(name, width) + watch

    def close(self, name: str, width: int) -> str:
        """C statement that makes an accumulator of a part one that can be joined."""
        if not self.watches:
            return ""
        nan = f"({self.ctype(width)})({expr.c_literal(math.nan, self.value.dtype)})"
        return f"{name} = {name}_nan ? {nan} : {name};"

    def mask(self, width: int) -> str:
        """C type of what comparing two accumulators gives."""
        size = self.value.dtype.itemsize if width > 1 else 4
        return dtypes.c_type(np.dtype(f"int{8 * size}"), width)

    def prepare(self, name: str, inverse: str) -> str:
        """C statement that declares what parts that have as many terms as one need to ``take`` more."""
        if self.how != "deviation" or self.part:
            return ""
        return f"const {self.ctype(1)} {inverse} = 1 / ({name}_count + 1);"

    def take(self, name: str, values: Sequence[str], width: int, inverse: str | None = None) -> str:
        """C statement that adds the values of one position to the accumulator of a part.

        ``inverse`` is what :meth:`prepare` has declared, if it has.
        """
        if self.watches:
            x, sign = values[0], ">" if self.how == "max" else "<"
            return f"{name} = {x} {sign} {name} ? {x} : {name}; {name}_nan |= {x} != {x};"
        if self.finds:
            value, place = values
            return self._replace(name, value, place, self._before(name, value), width)
        if self.how != "deviation":
            return f"{name} = {self.combine(name, values[0], width)};"
        if self.part:
            value, mean, count = values
            return self._chan(name, value, mean, count, width)
        kind, x = self.ctype(width), values[0]
        inverse = inverse or f"(1 / {name}_count)"
        return (
            f"{{ {name}_count += 1; const {kind} step = {x} - {name}_mean; "
            f"{name}_mean += step * {inverse}; {name} += step * ({x} - {name}_mean); }}"
        )

    def join(self, name: str, other: str, width: int) -> str:
        """C statement that adds an accumulator to another."""
        if self.finds:
            first = f"(({other} == {name}) | ({other} != {other})) & ({other}_place < {name}_place)"
            better = f"({self._before(name, other)}) | ({first})"
            return self._replace(name, other, f"{other}_place", better, width)
        if self.how != "deviation":
            return f"{name} = {self.combine(name, other, width)};"
        return self._chan(name, other, f"{other}_mean", f"{other}_count", width)

    def _before(self, name: str, x: str) -> str:
        """C spelling of whether a value comes before an extremum: NaN before all others, though not NaN."""
        if self.value.dtype.kind != "f":
            return f"{x} {'>' if self.how == 'argmax' else '<'} {name}"
        return f"!({x} {'<=' if self.how == 'argmax' else '>='} {name}) & ({name} == {name})"

    def _replace(self, name: str, value: str, place: str, better: str, width: int) -> str:
        return (
            f"{{ const {self.mask(width)} better = {better}; {name} = better ? {value} : {name}; "
            f"{name}_place = better ? {place} : {name}_place; }}"
        )

    def _chan(self, name: str, value: str, mean: str, count: str, width: int) -> str:
        counted, kind = self.ctype(self._count_width(width)), self.ctype(width)
        return (
            f"{{ const {counted} n = {name}_count + {count}, share = {count} / max(n, ({counted})(1)); "
            f"const {kind} step = {mean} - {name}_mean; {name}_mean += step * share; "
            f"{name} += {value} + step * ({name}_count * share) * step; {name}_count = n; }}"
        )

    def half(self, name: str, of: str, which: str, width: int) -> str:
        """C statements that declare an accumulator of half the lanes of another, ``lo`` or ``hi``."""
        return self.copy(name, of, width, f".{which}")

    def copy(self, name: str, of: str, width: int, lanes: str = "") -> str:
        """C statements that declare an accumulator, a copy of (some lanes of) another."""
        widths, swizzles = (
            [width, width, self._count_width(width)],
            [lanes, lanes, lanes if self.part else ""],
        )
        states = zip(self.states, widths, swizzles, strict=False)
        return " ".join(f"{self.ctype(n, s)} {name}{s} = {of}{s}{swizzle};" for s, n, swizzle in states)

    def combine(self, a: str, b: str, width: int) -> str:
        """C spelling of the combination of two values."""
        if self.how in ("sum", "prod"):
            return f"{a} {'+' if self.how == 'sum' else '*'} {b}"
        if self.value.dtype.kind != "f":
            return f"{self.how}({a}, {b})"
        # fmax drops NaN; a comparison with NaN is false, so a NaN that arrives is taken and stays.
        sign = ">" if self.how == "max" else "<"
        if width == 1:
            return f"({b} {sign} {a} || {b} != {b}) ? {b} : {a}"
        return f"select({a}, {b}, ({b} {sign} {a}) | ({b} != {b}))"


def term(emitter: Emitter, of: Reduction, value: Expr) -> str:
    """C spelling of a term: a product whole, so that compilers may add it up in one instruction."""
    if of.how == "sum" and value.function == "mul" and value.dtype.kind == "f":
        a, b = (emitter.value(factor) for factor in value.args)
        return f"{a} * {b}"
    return emitter.value(value)


def folds(width: int, itemsize: int) -> list[list[list[int]]]:
    """How vectors are joined in pairs until each lane is the total of one of ``width`` vectors.

    For each round, the lanes of both vectors (those of the second count from ``width`` on) that are joined
    with each other. The first rounds stay within 128 bits, where processors move lanes fastest.
    """
    within = min(width, max(2, 16 // itemsize), 4)
    lanes = np.arange(2 * width).reshape(2, width // within, within)
    rounds, chunk = [], within
    while chunk > 1:  # each `within` lanes hold what is left of some vectors, in chunks
        low, high = np.split(lanes.reshape(2, width // within, -1, chunk), 2, axis=3)
        rounds.append([part.swapaxes(0, 1).ravel().tolist() for part in (low, high)])
        chunk //= 2
    chunk = width // within
    while chunk > 1:
        low, high = np.split(lanes.reshape(2, -1, chunk, within), 2, axis=2)
        rounds.append([part.ravel().tolist() for part in (low, high)])
        chunk //= 2
    return rounds
