"""How generated kernels address their operands: C declarations, row bases, loads and stores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.kernels import expr
from clgrad.kernels.expr import Expr
from clgrad.kernels.launch import In, Out, Scratch
from clgrad.kernels.layout import Operand
from clgrad.kernels.signature import Signature

#: Widest vector that OpenCL C has.
MAX_WIDTH = 16


@dataclass(frozen=True)
class Access:
    """One operand of a kernel: its C name, storage dtype and strides over the merged axes."""

    name: str
    operand: Operand
    strides: tuple[int, ...]

    @property
    def inner(self) -> int:
        """Stride along the innermost axis."""
        return self.strides[-1]

    def declare(self, signature: Signature, source: In | Out | Scratch | None) -> None:
        """Add pointer, base and strides to the kernel's parameters."""
        if self.operand.dtype is not None:
            assert source is not None
            signature.array(self.name, self.operand.dtype, source)
        signature.fixed(f"{self.name}_base", self.operand.base)
        for axis, stride in enumerate(self.strides):
            if stride not in (0, 1) or axis < len(self.strides) - 1:
                signature.fixed(f"{self.name}_s{axis}", stride)

    def step(self, axis: int) -> str:
        """C spelling of the stride along an axis."""
        if axis == len(self.strides) - 1 and self.inner in (0, 1):
            return str(self.inner)
        return f"{self.name}_s{axis}"

    def row(self, coordinates: Sequence[str]) -> str:
        """C expression of the address at the start of a row (inner coordinate 0)."""
        terms = [f"{self.name}_base"]
        terms += [f"{c} * {self.step(axis)}" for axis, c in enumerate(coordinates)]
        return " + ".join(terms)

    def load(self, column: str, width: int) -> str:
        """C expression of ``width`` values from inner coordinate ``column`` on."""
        inner = self.step(len(self.strides) - 1)
        if self.operand.dtype is None:
            return self._index(column, inner, width)
        pointer, storage = self.name, self.operand.dtype
        row = f"{self.name}_row"
        if width == 1:
            return expr.load(storage, pointer, f"{row} + {column} * {inner}" if self.inner else row)
        kind = dtypes.c_type(dtypes.compute_type(storage), width)
        if self.inner == 0:
            return f"({kind})({expr.load(storage, pointer, row)})"
        if self.inner == 1:
            return expr.load(storage, pointer, f"{row} + {column}", width)
        lanes = (expr.load(storage, pointer, f"{row} + ({column} + {i}) * {inner}") for i in range(width))
        return f"({kind})({', '.join(lanes)})"

    def lookup(self, address: str, width: int) -> str:
        """C expression of the ``width`` values at the addresses in a variable of that width."""
        assert self.operand.dtype is not None
        pointer, storage = self.name, self.operand.dtype
        if width == 1:
            return expr.load(storage, pointer, f"{pointer}_base + {address}")
        lanes = (expr.load(storage, pointer, f"{pointer}_base + {address}.s{i:x}") for i in range(width))
        return f"({dtypes.c_type(dtypes.compute_type(storage), width)})({', '.join(lanes)})"

    def _index(self, column: str, inner: str, width: int) -> str:
        kind = "int" if self.operand.narrow else "long"
        first = f"({kind})({self.name}_row + {column} * {inner})"
        if width == 1:
            return first
        lanes = ", ".join(f"{i}" for i in range(width))
        vector = f"{kind}{width}"
        return f"({vector})({first}) + ({vector})(({kind})({inner})) * ({vector})({lanes})"

    def store(self, value: str, source: np.dtype, column: str, width: int, streams: bool = False) -> str:
        """C statement that stores ``width`` values; the inner stride is 1 unless width is 1.

        With ``streams``, a store of a whole vector goes past the caches (``common.streaming``).
        """
        assert self.operand.dtype is not None
        inner = self.step(len(self.strides) - 1)
        position = f"{self.name}_row + {column} * {inner}"
        return expr.store(self.operand.dtype, value, source, self.name, position, width, streams)


def vector_width(
    vector_bytes: int,
    storages: Iterable[np.dtype],
    values: Sequence[Expr] = (),
) -> int:
    """Elements per vector: as many as the device's register holds of the widest type in use.

    What is computed on the way counts as well as what lies in memory: PoCL's wheel cannot compile
    conversions between vectors of which one is wider than a register.
    """
    used = {dtypes.compute_type(d) for d in storages} | expr.dtypes_of(values)
    widest = max((d.itemsize for d in used), default=4)
    return max(1, min(MAX_WIDTH, vector_bytes // widest))


def fitting(width: int, elements: int) -> int:
    """The widest vector, of at most ``width``, that so many elements fill."""
    while width > max(1, elements):
        width //= 2
    return width
