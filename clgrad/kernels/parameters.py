"""Parameters of kernel families that are tuned for a device: what each means, and which values it may have.

A family is a set of templates with one planner, on CPUs or on GPUs. Its parameters change how fast a kernel
is, never what it computes, but for the order in which a sum is added up. Whatever a file of the database
says is checked here against the device, so the worst that a wrong entry can do is to be slow.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from clgrad.device import Capabilities

P = TypeVar("P", bound="Tunables")


def _parameter(low: int, high: int, tries: tuple[int, ...], *, power: bool = False) -> Any:
    """A field: its range, whether it is a power of two, and the values that ``clgrad tune`` tries."""
    return dataclasses.field(metadata={"low": low, "high": high, "tries": tries, "power": power})


@dataclass(frozen=True)
class Tunables:
    """The parameters of one family, all of them integers.

    Example
    -------
    >>> from clgrad.device import devices
    >>> MatmulCpu.default(devices()[0].capabilities).depth
    512
    """

    #: Key in files: what is planned, and for which kind of device.
    family: ClassVar[str]

    @classmethod
    def default(cls: type[P], capabilities: Capabilities) -> P:
        """What is safe and good on a device that nothing else is known about."""
        raise NotImplementedError

    @classmethod
    def read(cls: type[P], given: Mapping[str, object], capabilities: Capabilities) -> P:
        """Parameters from a file; those that it does not name are the default ones.

        Parameters
        ----------
        given : mapping of str to int
            Names and values.
        capabilities : Capabilities
            Of the device that they are for.

        Returns
        -------
        Tunables

        Raises
        ------
        ValueError
            A name is unknown, a value no integer or out of range, or the device cannot run them.
        """
        fields = {f.name: f.metadata for f in dataclasses.fields(cls)}
        for name, value in given.items():
            if name not in fields:
                raise ValueError(f"{name!r} is unknown; accepted are {', '.join(fields)}")
            low, high, power = (fields[name][key] for key in ("low", "high", "power"))
            if type(value) is not int or not low <= value <= high or (power and value & (value - 1)):
                kind = "a power of two" if power else "an integer"
                raise ValueError(f"{name} is {_short(value)}; accepted is {kind} from {low} to {high}")
        result: P = dataclasses.replace(cls.default(capabilities), **given)
        problem = result.problem(capabilities)
        if problem:
            raise ValueError(problem)
        return result

    def problem(self, capabilities: Capabilities) -> str | None:
        """Why the device cannot run kernels with these parameters; None if it can."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, int]:
        """Names and values, as files hold them."""
        return dataclasses.asdict(self)

    def with_change(self: P, change: Mapping[str, int], capabilities: Capabilities) -> P | None:
        """The same with other values for some names; None if the device cannot run that."""
        other: P = dataclasses.replace(self, **change)
        return None if other.problem(capabilities) else other

    def tries(self) -> list[dict[str, int]]:
        """The changes that ``clgrad tune`` tries; those that change least come first."""
        mine = self.as_dict().items()
        apart = [(len(change.items() - mine), change) for change in self.changes()]
        return [change for count, change in sorted(apart, key=lambda pair: pair[0]) if count]

    def changes(self) -> list[dict[str, int]]:
        """Changes worth a try: of one parameter, or of a group that only makes sense together."""
        return [{f.name: value} for f in dataclasses.fields(self) for value in f.metadata["tries"]]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _too_wide(vector_bytes: int, capabilities: Capabilities) -> str | None:
    """Vectors wider than a register are slow at best, and crash PoCL 3.0 (see ``quirks.py``)."""
    if vector_bytes <= capabilities.vector_bytes:
        return None
    return f"vector_bytes is {vector_bytes}; the device's vectors have {capabilities.vector_bytes}"


def _group_too_large(items: int, capabilities: Capabilities) -> str | None:
    if items <= capabilities.max_work_group_size:
        return None
    return f"a work-group has {items} work-items; the device allows {capabilities.max_work_group_size}"


@dataclass(frozen=True)
class MatmulCpu(Tunables):
    """Matrix products on CPUs: ``matmul_cpu.py``."""

    family = "matmul_cpu"

    #: Width of vectors.
    vector_bytes: int = _parameter(16, 64, (16, 32, 64), power=True)
    #: Vectors of C that a register tile holds: rows times vectors across.
    accumulators: int = _parameter(8, 32, ())
    #: Vectors across a register tile, where there are rows enough.
    vectors: int = _parameter(1, 4, ())
    #: Rows of B that are packed at a time, about.
    depth: int = _parameter(64, 4096, (192, 256, 384, 512, 768, 1024))
    #: Rows of C that one work-item takes at most, where the sum is made block by block.
    chunk: int = _parameter(32, 4096, (192, 384, 768, 1536))
    #: Panels of B that must use A for it to be packed.
    pack_panels: int = _parameter(1, 1 << 20, (4, 8, 17, 34, 68))
    #: Work-items for each compute unit, where the product can be cut.
    items_per_unit: int = _parameter(1, 64, (1, 2, 4, 8))

    @classmethod
    def default(cls, capabilities: Capabilities) -> "MatmulCpu":
        """24 of AVX-512's 32 registers accumulate, or 12 of 16: the rest are operands.

        AVX-512's tiles are broad, 6 x 4 vectors, and A is read where it lies unless some 1,100 columns
        share it: on a Zen 4, products of 1024 x 1024 by 256 are 1.1 times as fast so as by tiles of 12 x 2
        from A packed for 256 columns on, with vectors of 32 bytes 1.1 to 1.4 times.
        """
        wide = capabilities.vector_bytes == 64
        tile = (24, 4) if wide else (12, 2)
        return cls(capabilities.vector_bytes, *tile, 512, 768, 17 if wide else 68, 4)

    def problem(self, capabilities: Capabilities) -> str | None:
        """Vectors must be the device's; local memory is minded by the planner, which knows the dtype."""
        return _too_wide(self.vector_bytes, capabilities)

    def changes(self) -> list[dict[str, int]]:
        """A register tile is as tall as it is wide: both change together."""
        rows = {1: (12, 24), 2: (4, 6, 8, 10, 12, 14), 3: (4, 5, 6, 8, 9), 4: (3, 4, 5, 6, 7)}
        tiles = [{"vectors": v, "accumulators": v * r} for v in rows for r in rows[v]]
        return tiles + [c for c in super().changes() if not {"vectors", "accumulators"} & set(c)]


@dataclass(frozen=True)
class MatmulGpu(Tunables):
    """Matrix products on GPUs: the tile that large ones get; ``matmul_gpu.py`` has smaller ones."""

    family = "matmul_gpu"

    #: Rows and columns of C that a work-group computes.
    tile_m: int = _parameter(16, 256, (), power=True)
    tile_n: int = _parameter(16, 256, (), power=True)
    #: Depth of a slab in local memory.
    depth: int = _parameter(4, 64, (), power=True)
    #: Rows and columns of C that a work-item keeps in registers.
    item_m: int = _parameter(4, 16, (), power=True)
    item_n: int = _parameter(4, 16, (), power=True)
    #: Work-groups for each compute unit below which the sum is split.
    groups_per_unit: int = _parameter(1, 32, (1, 2, 4, 8))

    #: Sets of the first five that are known to be good, largest first. The last one runs with 64 work-items
    #: and 16 KiB of local memory, doubles included.
    TILES: ClassVar[tuple[tuple[int, int, int, int, int], ...]] = (
        (128, 128, 8, 8, 8),
        (64, 128, 8, 4, 8),
        (64, 64, 8, 4, 4),
        (64, 64, 8, 8, 8),
        (32, 32, 8, 4, 4),
    )

    @property
    def group(self) -> int:
        """Work-items in a work-group."""
        return (self.tile_m // self.item_m) * (self.tile_n // self.item_n)

    def local_bytes(self, itemsize: int) -> int:
        """Local memory of a work-group: two slabs of A and of B, padded."""
        return 2 * self.depth * (self.tile_m + self.tile_n + 8) * itemsize

    @classmethod
    def ladder(cls) -> list["MatmulGpu"]:
        """The tiles that are known to be good, largest first."""
        return [cls(*tile, groups_per_unit=2) for tile in cls.TILES]

    @classmethod
    def default(cls, capabilities: Capabilities) -> "MatmulGpu":
        """The largest of the known tiles that the device can hold."""
        tiles = cls.ladder()
        return next((t for t in tiles if not t.problem(capabilities)), tiles[-1])

    def problem(self, capabilities: Capabilities) -> str | None:
        """What the template takes for granted, and the device's limits, for float32."""
        group = self.group
        if self.tile_m < self.item_m or self.tile_n < self.item_n:
            return "a work-item computes more than its tile"
        if any(group % n for n in (self.tile_m, self.tile_n, self.depth)):
            return f"{group} work-items do not divide into the rows of a slab"
        if self.tile_m * self.depth % group or self.tile_n * self.depth % group:
            return f"a slab does not divide into loads of {group} work-items"
        if self.item_m * self.item_n > 128:
            return "a work-item needs more registers than there are"
        if self.local_bytes(4) > capabilities.local_memory:
            return (
                f"a work-group needs {self.local_bytes(4)} bytes of local memory; "
                f"the device has {capabilities.local_memory}"
            )
        return _group_too_large(group, capabilities)

    def changes(self) -> list[dict[str, int]]:
        """Most tiles fit no others' work-groups: all five change together."""
        names = ("tile_m", "tile_n", "depth", "item_m", "item_n")
        tiles = [
            dict(zip(names, (m, n, depth, i, j), strict=True))
            for m in (64, 128, 256) for n in (64, 128, 256) for depth in (8, 16, 32)
            for i in (4, 8, 16) for j in (4, 8, 16)
        ]  # fmt: skip
        return tiles + super().changes()


@dataclass(frozen=True)
class TensorGpu(Tunables):
    """Matrix products on tensor cores: the tile that large ones get; small ones get smaller ones."""

    family = "tensor_gpu"

    #: Rows and columns of C that a work-group computes.
    tile_m: int = _parameter(32, 256, (), power=True)
    tile_n: int = _parameter(32, 256, (), power=True)
    #: Rows and columns of C that a warp keeps in registers.
    warp_m: int = _parameter(16, 128, (), power=True)
    warp_n: int = _parameter(16, 128, (), power=True)
    #: Bytes along k of a slab in local memory.
    depth_bytes: int = _parameter(32, 128, (), power=True)
    #: Slabs in local memory, all but one of which are on their way.
    stages: int = _parameter(2, 8, ())
    #: Work-groups for each compute unit below which the sum is split.
    groups_per_unit: int = _parameter(1, 32, (1, 2, 4))

    #: Sets of the first six, largest first. All run with 256 work-items and 48 KiB of local memory; the
    #: last one with 64 and 16 KiB.
    TILES: ClassVar[tuple[tuple[int, int, int, int, int, int], ...]] = (
        (128, 128, 64, 64, 64, 3),
        (128, 64, 32, 32, 64, 3),
        (64, 64, 32, 32, 64, 3),
        (32, 64, 16, 32, 64, 4),
        (32, 32, 16, 32, 64, 4),
    )

    @property
    def group(self) -> int:
        """Work-items in a work-group: 32 a warp."""
        return 32 * (self.tile_m // self.warp_m) * (self.tile_n // self.warp_n)

    @property
    def local_bytes(self) -> int:
        """Local memory of a work-group."""
        return self.stages * (self.tile_m + self.tile_n) * self.depth_bytes

    @classmethod
    def ladder(cls) -> list["TensorGpu"]:
        """The tiles that small products may get, largest first."""
        return [cls(*tile, groups_per_unit=1) for tile in cls.TILES]

    @classmethod
    def default(cls, capabilities: Capabilities) -> "TensorGpu":
        """The largest of the known tiles that the device can hold."""
        tiles = cls.ladder()
        return next((t for t in tiles if not t.problem(capabilities)), tiles[-1])

    def problem(self, capabilities: Capabilities) -> str | None:
        """What the template takes for granted, and the device's limits."""
        if self.tile_m < self.warp_m or self.tile_n < self.warp_n:
            return "a warp computes more than its work-group's tile"
        if min(self.tile_m, self.tile_n) * self.depth_bytes % (16 * self.group):
            return f"a slab does not divide into loads of {self.group} work-items"
        if max(self.tile_m, self.tile_n) > 4 * self.group:
            return f"{self.group} work-items do not divide into the rows of a slab"
        if self.warp_m * self.warp_n > 4096:
            return "a work-item needs more registers than there are"
        if self.local_bytes > capabilities.local_memory:
            return (
                f"a work-group needs {self.local_bytes} bytes of local memory; "
                f"the device has {capabilities.local_memory}"
            )
        return _group_too_large(self.group, capabilities)

    def changes(self) -> list[dict[str, int]]:
        """Tiles, warps and the ring of slabs share registers and local memory: they change together."""
        names = ("tile_m", "tile_n", "warp_m", "warp_n", "depth_bytes", "stages")
        tiles = [
            dict(zip(names, (m, n, i, j, depth, stages), strict=True))
            for m in (64, 128, 256) for n in (64, 128, 256) for i in (32, 64, 128) for j in (32, 64)
            for depth in (32, 64, 128) for stages in (2, 3, 4)
        ]  # fmt: skip
        return tiles + super().changes()


@dataclass(frozen=True)
class MapCpu(Tunables):
    """Elementwise kernels on CPUs, and others that borrow their ranges: ``map.py``."""

    family = "map_cpu"

    #: Width of vectors.
    vector_bytes: int = _parameter(16, 64, (16, 32, 64), power=True)
    #: Elements below which a further work-item costs more than it brings.
    grain: int = _parameter(64, 1 << 24, (2048, 4096, 8192, 16384, 32768, 65536))
    #: Work-items for each compute unit, at most.
    items_per_unit: int = _parameter(1, 256, (1, 2, 4, 8, 16))
    #: Bytes of results from which on they are stored past the caches. Not tried by ``clgrad tune``, which
    #: repeats one kernel and cannot see what the next one finds in the caches.
    stream_bytes: int = _parameter(1 << 16, 1 << 62, ())

    @classmethod
    def default(cls, capabilities: Capabilities) -> "MapCpu":
        """A few long loops for each core."""
        return cls(capabilities.vector_bytes, 8192, 4, 8 << 20)

    def problem(self, capabilities: Capabilities) -> str | None:
        """Vectors must be the device's."""
        return _too_wide(self.vector_bytes, capabilities)


@dataclass(frozen=True)
class MapGpu(Tunables):
    """Elementwise kernels on GPUs, and others that borrow their ranges: ``map.py``."""

    family = "map_gpu"

    #: Bytes that one work-item moves at a time (16: a 128-bit transaction).
    vector_bytes: int = _parameter(4, 16, (4, 8, 16), power=True)
    #: Work-items in a work-group.
    group: int = _parameter(16, 1024, (64, 128, 256, 512), power=True)
    #: Work-groups for each compute unit, at most.
    groups_per_unit: int = _parameter(1, 1024, (4, 8, 16, 32, 64))

    @classmethod
    def default(cls, capabilities: Capabilities) -> "MapGpu":
        """Vectors of 16 bytes and work-groups of 256, where the device allows."""
        return cls(16, min(256, capabilities.max_work_group_size), 32)

    def problem(self, capabilities: Capabilities) -> str | None:
        """The work-group must be allowed."""
        return _group_too_large(self.group, capabilities)


@dataclass(frozen=True)
class ReduceCpu(Tunables):
    """Reductions on CPUs: ``reduce.py``."""

    family = "reduce_cpu"

    #: Width of vectors.
    vector_bytes: int = _parameter(16, 64, (16, 32, 64), power=True)
    #: Elements below which a further work-item costs more than it brings.
    grain: int = _parameter(64, 1 << 24, (2048, 4096, 8192, 16384, 32768))
    #: Work-items for each compute unit, at most.
    items_per_unit: int = _parameter(1, 256, (1, 2, 4, 8, 16))
    #: Parts for each compute unit that a reduction to few results is cut into.
    parts_per_unit: int = _parameter(1, 64, (1, 2, 4, 8))
    #: Vectors of a long row that are taken at a time, each by an accumulator of its own.
    unroll: int = _parameter(1, 8, (1, 2, 4, 8))
    #: Vectors of a row up to which it is reduced together with as many others as a vector has lanes, so
    #: that results come as vectors; 0 for none. No larger than ``reduce.BLOCK``.
    short: int = _parameter(0, 256, (0, 16, 64, 128, 256))

    @classmethod
    def default(cls, capabilities: Capabilities) -> "ReduceCpu":
        """A few long loops for each core."""
        return cls(capabilities.vector_bytes, 8192, 4, 2, 4, 128)

    def problem(self, capabilities: Capabilities) -> str | None:
        """Vectors must be the device's."""
        return _too_wide(self.vector_bytes, capabilities)


@dataclass(frozen=True)
class ReduceGpu(Tunables):
    """Reductions on GPUs: ``reduce.py``."""

    family = "reduce_gpu"

    #: Work-items that join on one result.
    team: int = _parameter(2, 512, (64, 128, 256, 512), power=True)
    #: Work-group of the loops with a work-item for each result.
    group: int = _parameter(1, 1024, (32, 64, 128, 256), power=True)
    #: Work-groups for each compute unit, at most.
    groups_per_unit: int = _parameter(1, 1024, (8, 16, 32, 64, 128))

    @classmethod
    def default(cls, capabilities: Capabilities) -> "ReduceGpu":
        """Teams of 256 where the device allows, and the power of two below its limit where not."""
        limit = capabilities.max_work_group_size
        return cls(1 << (min(256, limit).bit_length() - 1), min(64, limit), 64)

    def problem(self, capabilities: Capabilities) -> str | None:
        """The work-groups must be allowed, and a team's accumulators (four doubles at most) have room."""
        if 32 * self.team > capabilities.local_memory:
            return f"a team of {self.team} needs more local memory than the device has"
        return _group_too_large(max(self.team, self.group), capabilities)


#: The families by their keys in files.
FAMILIES: dict[str, type[Tunables]] = {
    kind.family: kind for kind in (MatmulCpu, MatmulGpu, TensorGpu, MapCpu, MapGpu, ReduceCpu, ReduceGpu)
}
