"""Kernel signatures: C parameters and launch arguments declared together, so they cannot disagree."""

import math
from collections.abc import Sequence

import numpy as np

from clgrad import dtypes
from clgrad.kernels.launch import In, Out, Scalar, Scratch, Table


class Signature:
    """Collects a kernel's parameters in order.

    Parameters
    ----------
    wide : bool
        Whether sizes, strides and positions need 64 bits (``index_t`` of the templates).
    """

    def __init__(self, wide: bool):
        self.index_type = "long" if wide else "int"
        self._index = np.int64 if wide else np.int32
        self.parameters: list[str] = []
        self.args: list[object] = []

    def array(self, name: str, storage: np.dtype, source: In | Out | Scratch | Table) -> None:
        """A pointer ``name`` and its element offset ``name_offset``."""
        const = "const " if isinstance(source, In | Table) else ""
        self.parameters += [
            f"__global {const}{dtypes.describe(storage).storage} *{name}",
            f"const ulong {name}_offset",
        ]
        self.args.append(source)

    def fixed(self, name: str, value: int) -> None:
        """A size, stride or count that the plan knows."""
        self.parameters.append(f"const {self.index_type} {name}")
        self.args.append(self._index(value))

    def sizes(self, **values: int) -> None:
        """Several of them."""
        for name, value in values.items():
            self.fixed(name, value)

    def axes(self, prefix: str, sizes: Sequence[int]) -> list[str]:
        """The sizes of axes, under the prefix and the axis' number; their names."""
        names = [f"{prefix}{axis}" for axis in range(len(sizes))]
        self.sizes(**dict(zip(names, sizes, strict=True)))
        return names

    def rows(self, sizes: Sequence[int]) -> list[str]:
        """Merged axes as rows of columns: the outer axes, then both counts; the outer axes' names."""
        names = self.axes("n", sizes[:-1])
        self.sizes(rows=math.prod(sizes[:-1]), columns=sizes[-1])
        return names

    def scalar(self, name: str, slot: int, dtype: np.dtype) -> None:
        """A number that changes from run to run."""
        self.parameters.append(f"const {dtypes.c_type(dtypes.compute_type(dtype))} {name}")
        self.args.append(Scalar(slot, dtype))

    def __str__(self) -> str:
        return ",\n    ".join(self.parameters)
