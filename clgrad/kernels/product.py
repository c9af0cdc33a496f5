"""What a matrix product is made of: virtual matrices, the product of two, and what its kernels share."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clgrad import dtypes
from clgrad.kernels import layout, template
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.launch import In, Out, Scratch, Step
from clgrad.kernels.signature import Signature


@dataclass(frozen=True)
class Axis:
    """Element offset of an index: the dot product of its mixed-radix digits with strides.

    Attributes
    ----------
    digits : tuple of (extent, stride)
        The fastest digit first. One digit is an ordinary stride.
    """

    digits: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, *digits: tuple[int, int]) -> "Axis":
        """An axis of (extent, stride) digits, slowest first as in shapes; merged if possible."""
        merged: list[tuple[int, int]] = []
        for extent, stride in reversed(digits):
            if extent == 1:
                continue
            if merged and stride == merged[-1][0] * merged[-1][1]:
                merged[-1] = (merged[-1][0] * extent, merged[-1][1])
            else:
                merged.append((extent, stride))
        return cls(tuple(merged) or ((1, 1),))

    @property
    def plain(self) -> bool:
        """Whether the offset is index * stride."""
        return len(self.digits) == 1

    @property
    def reach(self) -> int:
        """The largest offset."""
        return sum((extent - 1) * max(stride, 0) for extent, stride in self.digits)

    @property
    def unit(self) -> bool:
        """Whether neighbours are neighbours in memory (within the fastest digit)."""
        return self.digits[0][1] == 1

    def through(self, shape: Sequence[int], strides: Sequence[int]) -> "Axis | None":
        """The axis in other memory, which holds the same array of ``shape`` with other strides.

        None where a digit does not run through whole axes of the array.
        """
        own = layout.contiguous_strides(shape)
        axes = {c: (n, s) for n, c, s in zip(shape, own, strides, strict=True) if n > 1}
        digits: list[tuple[int, int]] = []
        for extent, stride in self.digits:
            while extent > 1:
                size, elsewhere = axes.get(stride, (0, 0))
                if not size or (extent > size and extent % size):
                    return None
                digits.append((min(extent, size), elsewhere))
                extent, stride = extent // min(extent, size), stride * size
        return Axis.of(*reversed(digits)) if digits else Axis(((1, 1),))

    def at(self, index: int) -> int:
        """The offset of ``index``."""
        offset = 0
        for extent, stride in self.digits[:-1]:
            offset += index % extent * stride
            index //= extent
        return offset + index * self.digits[-1][1]

    def offset(self, prefix: str, index: str) -> str:
        """C expression of the offset of ``index``, in terms of :meth:`parameters`."""
        terms, rest = [], index
        for d in range(len(self.digits)):
            last = d == len(self.digits) - 1
            digit = rest if last else f"({rest}) % {prefix}_extent{d}"
            unit = d == 0 and self.unit
            terms.append(f"({digit})" if unit else f"({digit}) * {prefix}_stride{d}")
            rest = f"({rest}) / {prefix}_extent{d}"
        return f"({' + '.join(terms)})"

    def parameters(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and values of the kernel arguments that :meth:`offset` uses."""
        for d, (extent, stride) in enumerate(self.digits):
            yield f"{prefix}_stride{d}", stride
            if d < len(self.digits) - 1:
                yield f"{prefix}_extent{d}", extent


@dataclass(frozen=True)
class Strided:
    """A matrix whose element offset is base + batch(b) + row(i) + column(j)."""

    batch: Axis
    row: Axis
    column: Axis
    base: int = 0

    kind = "strided"
    transposed = False

    @property
    def plain(self) -> bool:
        """Whether rows and columns have one stride each."""
        return self.row.plain and self.column.plain

    @property
    def unit(self) -> str | None:
        """Which index of a plain matrix is contiguous: ``"column"``, ``"row"`` or none."""
        if self.plain and self.column.unit:
            return "column"
        return "row" if self.plain and self.row.unit else None

    @property
    def reach(self) -> int:
        """The largest element offset."""
        return self.base + self.batch.reach + self.row.reach + self.column.reach

    def steps(self, along: str) -> list[int]:
        """Where lines along ``"row"`` or ``"column"`` begin is a sum of multiples of these."""
        axes = (self.batch, self.row if along == "column" else self.column)
        return [self.base, *(stride for axis in axes for extent, stride in axis.digits if extent > 1)]

    def through(self, shape: Sequence[int], strides: Sequence[int]) -> "Strided | None":
        """The matrix in other memory, which holds the same array of ``shape`` with other strides."""
        axes = [axis.through(shape, strides) for axis in (self.batch, self.row, self.column)]
        batch, row, column = axes
        if self.base or batch is None or row is None or column is None:
            return None
        return Strided(batch, row, column)

    @property
    def swapped(self) -> "Strided":
        """The transposed matrix."""
        return replace(self, row=self.column, column=self.row)

    def parameters(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and values of the kernel arguments that describe the matrix."""
        yield f"{prefix}_base", self.base
        for axis in ("batch", "row", "column"):
            yield from getattr(self, axis).parameters(f"{prefix}_{axis}")


@dataclass(frozen=True)
class Window:
    """im2col of a tensor [image][channel][spatial...], zero outside the image.

    Rows count taps (channel, kernel position), columns count positions (image, output position);
    the other way round when ``transposed``. Along spatial axis ``d``, tap ``t`` at position ``o``
    sees coordinate ``o * scale[d] + origin[d] + t * step[d]``.
    """

    batch_stride: int
    image_stride: int
    channel_stride: int
    total: int
    size: tuple[int, ...]
    positions: tuple[int, ...]
    kernel: tuple[int, ...]
    scale: tuple[int, ...]
    origin: tuple[int, ...]
    step: tuple[int, ...]
    transposed: bool = False

    kind = "window"
    unit = None
    plain = False

    @property
    def reach(self) -> int:
        """The largest element offset, the rows beyond the edge included that loads shift by."""
        return 2 * self.total

    @property
    def bounded(self) -> tuple[int, ...]:
        """Spatial axes along which some tap of some position falls outside the image."""
        return tuple(d for d in range(len(self.size)) if self._leaves(d))

    def _leaves(self, d: int) -> bool:
        reach = (self.kernel[d] - 1) * self.step[d]
        first = self.origin[d]
        last = first + (self.positions[d] - 1) * self.scale[d]
        return first + min(reach, 0) < 0 or last + max(reach, 0) >= self.size[d]

    @property
    def pointwise(self) -> bool:
        """Whether every position sees the pixel in its own place, and nothing else."""
        alone = all(n == 1 for n in (*self.kernel, *self.scale))
        return alone and not any(self.origin) and self.positions == self.size

    def strided(self, batch: int, rows: int, columns: int) -> Strided:
        """The same matrix of ``rows`` by ``columns``, where it is pointwise."""
        area = math.prod(self.size)
        positions = Axis.of((self.total // self.image_stride, self.image_stride), (area, 1))
        channels = Axis.of((columns if self.transposed else rows, self.channel_stride))
        return Strided(
            batch=Axis(((batch, self.batch_stride if batch > 1 else 0),)),
            row=positions if self.transposed else channels,
            column=channels if self.transposed else positions,
        )

    @property
    def masked(self) -> bool:
        """Whether masks of the taps that fall outside are worth a table (they fit the cache)."""
        return sum(self.kernel[d] for d in self.bounded) <= 64

    def parameters(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and values of the kernel arguments that describe the tensor."""
        yield f"{prefix}_batch_stride", self.batch_stride
        yield f"{prefix}_image_stride", self.image_stride
        yield f"{prefix}_channel_stride", self.channel_stride
        yield f"{prefix}_total", self.total
        for d, (size, positions) in enumerate(zip(self.size, self.positions, strict=True)):
            yield f"{prefix}_size{d}", size
            yield f"{prefix}_positions{d}", positions


@dataclass(frozen=True)
class Product:
    """A product to plan. ``bias`` is ``"row"`` (bias[i]), ``"column"`` (bias[j]) or None.

    The order is: sum, bias, what C holds if the product is to ``accumulate``, epilogue.
    """

    dtype: np.dtype
    m: int
    n: int
    k: int
    batch: int
    a: Strided
    b: Strided | Window
    c: Strided
    bias: str | None = None
    bias_batch: int = 0
    accumulate: bool = False
    epilogue: Epilogue | None = None

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.batch * self.m * self.n * self.k

    @property
    def swapped(self) -> "Product":
        """The same product computed as transpose(C) = transpose(B) transpose(A)."""
        assert isinstance(self.b, Strided)
        other = {"row": "column", "column": "row", None: None}[self.bias]
        a, b, c = self.b.swapped, self.a.swapped, self.c.swapped
        return replace(self, m=self.n, n=self.m, a=a, b=b, c=c, bias=other)


#: Operands of a product among a plan's arguments, by the kernels' names for them.
Roles = dict[str, In | Out | Scratch]


def matrix(rows: int, columns: int, transposed: bool, batch: int) -> Strided:
    """Row-major matrices, one behind the other, perhaps read as their transposes."""
    row, column = (1, rows) if transposed else (columns, 1)
    return Strided(
        batch=Axis.of((batch, rows * columns)) if batch > 1 else Axis(((1, 0),)),
        row=Axis.of((rows, row)),
        column=Axis.of((columns, column)),
    )


def ceil_div(a: int, b: int) -> int:
    """The quotient rounded up."""
    return -(-a // b)


def index_wide(product: Product, splits: int = 1) -> bool:
    """Whether some element offset, of the packed and partial matrices too, needs 64 bits."""
    m, n, k = (ceil_div(x, 128) * 128 for x in (product.m, product.n, product.k))
    operands = (product.a, product.b, product.c)
    largest = max(*(x.reach for x in operands), product.batch * max(m * k, m * n * splits))
    return largest >= 1 << 31


def declare_result(
    signature: Signature, product: Product, roles: Roles, result: np.dtype, c: str = "c"
) -> None:
    """Declare C, of a dtype and in the role ``c``, and what else its elements are made of."""
    if product.bias:
        signature.array("bias", product.dtype, roles["bias"])
        signature.fixed("bias_batch", product.bias_batch)
    signature.array("c", result, roles[c])
    if product.epilogue:
        product.epilogue.declare(signature, result, roles)


def description(product: Product, lanes: int = 1) -> dict[str, object]:
    """Template parameters that all the kernels share; T and M are the compute and the mask type.

    ``lanes`` is the width of the vectors that are stored, besides single elements.
    """
    compute = dtypes.compute_type(product.dtype)
    return {
        "storage": product.dtype,
        "compute": compute,
        "T": dtypes.c_type(compute),
        "M": dtypes.c_type(np.dtype(f"int{8 * compute.itemsize}")),
        "a": product.a,
        "b": product.b,
        "c": product.c,
        "bias": product.bias,
        "accumulate": product.accumulate,
        "epilogue": product.epilogue,
        "helpers": product.epilogue.helpers({1, lanes}) if product.epilogue else (),
    }


def new_scratch(scratch: list[int], nbytes: int) -> Scratch:
    """Add a temporary buffer to a plan's list; returns the argument that stands for it."""
    scratch.append(max(nbytes, 1))
    return Scratch(len(scratch) - 1)


def partial(product: Product, splits: int, scratch: list[int]) -> tuple[Product, Scratch]:
    """The product that writes one C for each split of k, in the compute type."""
    compute = dtypes.compute_type(product.dtype)
    area = product.m * product.n
    role = new_scratch(scratch, product.batch * splits * area * compute.itemsize)
    c = matrix(product.m, product.n, False, product.batch * splits)
    return replace(product, c=c, bias=None, accumulate=False, epilogue=None), role


def sum_step(name: str, product: Product, roles: Roles, splits: int, group: int) -> Step:
    """The second launch of a product whose k was split: adds up the partial products."""
    compute = dtypes.compute_type(product.dtype)
    signature = Signature(index_wide(product, splits))
    signature.array("partial", compute, roles["partial"])
    declare_result(signature, product, roles, product.dtype)
    for key in ("m", "n"):
        signature.fixed(key, getattr(product, key))
    signature.fixed("batch_size", product.batch)
    signature.fixed("splits", splits)
    for key, value in product.c.parameters("c"):
        signature.fixed(key, value)
    source = template.render(
        "matmul_sum",
        name=f"{name}_sum", signature=signature, result=product.dtype, **description(product),
    )  # fmt: skip
    items = ceil_div(product.batch * product.m * product.n, group) * group
    return Step(f"{name}_sum", source, (items,), (group,) if group > 1 else None, signature.args)
