"""Planners of scaled dot-product attention that never stores the matrix of scores, and of its gradients.

The kernels and their sources are described in templates/attention_cpu.cl.mako and attention_gpu.cl.mako.
"""

import functools
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, template
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.product import ceil_div
from clgrad.kernels.signature import Signature

#: Rows of a register tile on CPUs, by vector width in bytes: with two vectors each, they fit the registers.
_ROWS = {64: 8, 32: 6, 16: 6}
#: Other rows that a work-item of a CPU takes at a time, where local memory allows.
_BLOCKS = (64, 32, 16)


@dataclass(frozen=True)
class Problem:
    """What the kernels of one call depend on.

    Attributes
    ----------
    batch, heads, queries, keys, size : int
        query is (batch, heads, queries, size), key and value are (batch, heads, keys, size).
    dtype : numpy.dtype
        Of all arrays but the mask, ``lse`` and ``delta``.
    causal : bool
        Whether query i sees the keys up to i only.
    dropout : bool
    mask : tuple of (dtype, shape) or None
        Of bool, where True lets a key be seen, or real numbers to add to the scores; four axes, each of
        the scores' size or 1.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    size: int
    dtype: np.dtype
    causal: bool
    dropout: bool
    mask: tuple[np.dtype, tuple[int, ...]] | None

    def flops(self, products: int) -> int:
        """Multiplications and additions of so many products of the scores' shape, or with it.

        Where the mask is causal, the half of the scores that nobody sees is not counted.
        """
        scores = self.matrices * self.queries * self.keys
        return 2 * products * self.size * scores // (2 if self.causal else 1)

    @property
    def compute(self) -> np.dtype:
        """What is computed in."""
        return dtypes.compute_type(self.dtype)

    @property
    def matrices(self) -> int:
        """Matrices of scores."""
        return self.batch * self.heads

    @property
    def wide(self) -> bool:
        """Whether some position needs 64 bits."""
        rows = max(self.queries, self.keys)
        shapes = [(self.matrices, rows, self.size)] + ([self.mask[1]] if self.mask else [])
        return any(layout.needs_long(shape, []) for shape in shapes)

    def mask_strides(self) -> dict[str, int]:
        """Elements of the mask to step by, along the axes of the scores."""
        assert self.mask is not None
        target = (self.batch, self.heads, self.queries, self.keys)
        steps = layout.broadcast_strides(self.mask[1], target)
        return dict(zip(("batch", "head", "queries", "keys"), steps, strict=True))


@functools.cache
def fits(device: Device, size: int, dtype: np.dtype) -> bool:
    """Whether the device's local memory holds the tiles of heads of this size, and so there are plans."""
    problem = Problem(1, 1, 1, 1, size, dtype, False, False, None)
    return all(_tiling(device, problem, kind) is not None for kind in ("forward", "queries", "keys"))


def plan_forward(device: Device, name: str, problem: Problem) -> Plan:
    """Plan attention.

    Inputs: query, key, value, and mask if there is one. Scalars: scale; seed, call and keep of dropout.
    Outputs: the result, and for each query the logarithm of the sum of its exponentials, in the compute
    type, (batch, heads, queries): infinity where there is no key.
    """
    roles = _inputs(problem, "query", "key", "value")
    roles |= {"y": Out(0), "lse": Out(1)}
    step = _step(device, name, problem, "forward", roles)
    rows = (problem.batch, problem.heads, problem.queries)
    outputs = [((*rows, problem.size), problem.dtype), (rows, problem.compute)]
    return Plan(device, [step], outputs, len(roles) - 2)


def plan_grad(device: Device, name: str, problem: Problem) -> Plan:
    """Plan the gradients of :func:`plan_forward`.

    Inputs: gradient of the result, result, lse, query, key, value, and mask. Scalars: those of the forward
    pass. Outputs: the gradients of query, key and value.
    """
    roles = _inputs(problem, "dy", "y", "lse", "query", "key", "value")
    inputs = len(roles)
    roles |= {"d_query": Out(0), "d_key": Out(1), "d_value": Out(2), "delta": Scratch(0)}
    kinds = ("all",) if _fused(device, problem) else ("queries", "keys")
    steps = [_step(device, f"{name}_{kind}", problem, kind, roles) for kind in kinds]
    lead = (problem.batch, problem.heads)
    shapes = [(*lead, rows, problem.size) for rows in (problem.queries, problem.keys, problem.keys)]
    outputs = [(shape, problem.dtype) for shape in shapes]
    scratch = [problem.matrices * problem.queries * problem.compute.itemsize]
    return Plan(device, steps, outputs, inputs, scratch)


def _inputs(problem: Problem, *names: str) -> dict[str, In | Out | Scratch]:
    names = (*names, "mask") if problem.mask else names
    return {name: In(index) for index, name in enumerate(names)}


def _fused(device: Device, problem: Problem) -> bool:
    """Whether one work-item computes all gradients of a matrix: 5 products instead of 7, on fewer cores."""
    if device.kind != "cpu" or problem.dtype != problem.compute:
        return False
    tiling = _cpu_tiling(device, problem, "all")
    units, matrices = device.capabilities.compute_units, problem.matrices
    busy = matrices / (ceil_div(matrices, units) * units)
    return tiling is not None and problem.size % tiling.lanes == 0 and busy >= 5 / 7


#: Kinds of kernels that compute results for queries; the others do for keys.
_OF_QUERIES = ("forward", "queries")
#: Products of matrices that each kind of kernel makes.
_PRODUCTS = {"forward": 2, "queries": 3, "keys": 4, "all": 5}
#: Arrays that each kind of kernel reads and writes, in the order of its parameters.
_ARRAYS = {
    "forward": ("query", "key", "value", "y", "lse"),
    "queries": ("dy", "y", "lse", "query", "key", "value", "d_query", "delta"),
    "keys": ("dy", "lse", "query", "key", "value", "delta", "d_key", "d_value"),
    "all": ("dy", "y", "lse", "query", "key", "value", "delta", "d_query", "d_key", "d_value"),
}


def _step(device: Device, name: str, problem: Problem, kind: str, roles: dict) -> Step:
    tiling = _tiling(device, problem, kind)
    assert tiling is not None, "see fits()"
    signature = _signature(problem, kind, roles)
    mask, axis = problem.mask, "queries" if kind in _OF_QUERIES else "keys"
    blocks = ceil_div(getattr(problem, axis), tiling.width)
    if isinstance(tiling, CpuTiling):
        share = blocks if kind == "all" else 1
        signature.sizes(share=share)
        blocks = ceil_div(blocks, share)
    source = template.render(
        "attention_cpu" if isinstance(tiling, CpuTiling) else "attention_gpu",
        name=name, kind=kind, arrays=_arrays(problem, kind), signature=signature, storage=problem.dtype,
        compute=problem.compute, T=dtypes.c_type(problem.compute), size=problem.size, causal=problem.causal,
        dropout=problem.dropout, mask=mask[0] if mask else None, mask_adds=mask and mask[0] != dtypes.bool_,
        mask_own=min(problem.mask_strides()[axis], 2) if mask else None,
        fast_fma=device.capabilities.fast_fma, own_exp="exp" in device.capabilities.own_functions,
        **vars(tiling),
    )  # fmt: skip
    global_size = (blocks * tiling.group, problem.matrices)
    flops = problem.flops(_PRODUCTS[kind])
    return Step(name, source, global_size, (tiling.group, 1), signature.args, flops)


def _arrays(problem: Problem, kind: str) -> tuple[str, ...]:
    return _ARRAYS[kind] + (("mask",) if problem.mask else ())


def _signature(problem: Problem, kind: str, roles: dict) -> Signature:
    signature = Signature(problem.wide)
    storage = {"lse": problem.compute, "delta": problem.compute}
    if problem.mask:
        storage["mask"] = problem.mask[0]
    for array in _arrays(problem, kind):
        signature.array(array, storage.get(array, problem.dtype), roles[array])
    signature.scalar("scale", 0, problem.compute)
    if problem.dropout:
        signature.scalar("seed", 1, dtypes.int64)
        signature.scalar("call", 2, dtypes.int64)
        signature.scalar("keep", 3, problem.compute)
    signature.sizes(queries=problem.queries, keys=problem.keys, heads=problem.heads)
    if problem.mask:
        signature.sizes(**{f"mask_{axis}": step for axis, step in problem.mask_strides().items()})
    return signature


@dataclass(frozen=True)
class CpuTiling:
    """Tunables of templates/attention_cpu.cl.mako; their meaning is explained there."""

    lanes: int
    vectors: int
    rows: int
    block: int

    group = 1

    @property
    def width(self) -> int:
        """Own rows that a work-item takes at a time."""
        return self.lanes * self.vectors


def _cpu_tiling(device: Device, problem: Problem, kind: str) -> CpuTiling | None:
    """The largest tiles that local memory holds."""
    capabilities = device.capabilities
    itemsize = problem.compute.itemsize
    lanes = min(capabilities.vector_bytes // itemsize, 16)
    rows = _ROWS[capabilities.vector_bytes]
    tiles, sums = {"forward": (1, 1), "queries": (2, 1)}.get(kind, (2, 2))
    staged = 0 if problem.dtype == problem.compute else 2 * problem.size
    height = ceil_div(problem.size, rows) * rows
    while lanes * itemsize >= 16:
        for vectors in (2, 1) if lanes * itemsize > 16 else (2,):
            width = lanes * vectors
            for block in _BLOCKS:
                scores = ceil_div(block, rows) * rows
                elements = width * (tiles * (problem.size + scores) + sums * height) + block * staged
                if elements * itemsize <= capabilities.local_memory:
                    return CpuTiling(lanes, vectors, rows, block)
        lanes //= 2
    return None


@dataclass(frozen=True)
class GpuTiling:
    """Tunables of templates/attention_gpu.cl.mako; their meaning is explained there."""

    tile: int
    depth: int
    sum_depth: int
    resident: bool

    @property
    def width(self) -> int:
        """Own rows of a work-group."""
        return self.tile

    @property
    def group(self) -> int:
        """Work-items in a work-group."""
        return (self.tile // 4) ** 2

    def local_elements(self, size: int, kind: str) -> int:
        """Elements of local memory of a work-group."""
        across, pitch = self.tile // 4, self.tile + 4
        products = 1 if kind == "forward" else 2
        slab = self.depth * pitch * (1 if self.resident else 2)
        own = products * ceil_div(size, self.depth) * self.depth * pitch if self.resident else 0
        pool = max(slab, self.sum_depth * ceil_div(size, across) * across)
        rest = {"forward": across * pitch, "queries": self.tile}.get(kind, 0)
        return pool + own + self.tile * pitch + rest


#: Largest first. The last ones run with 64 work-items and 16 KiB of local memory, doubles included.
_GPU_TILINGS = tuple(
    GpuTiling(tile, depth, sum_depth, resident)
    for tile, depth in ((64, 16), (32, 8))
    for resident in (True, False)
    for sum_depth in (8, 4, 2, 1)
)
#: Results that a work-item of a GPU may keep in registers.
_MOST_RESULTS = 256


def _gpu_tiling(device: Device, problem: Problem, kind: str) -> GpuTiling | None:
    """The largest tiles that the device can hold and that keep its compute units busy."""
    capabilities = device.capabilities
    own = problem.queries if kind in _OF_QUERIES else problem.keys
    sums = 2 if kind == "keys" else 1
    fitting = [
        t
        for t in _GPU_TILINGS
        if t.group <= capabilities.max_work_group_size
        and t.local_elements(problem.size, kind) * problem.compute.itemsize <= capabilities.local_memory
        and 4 * sums * ceil_div(problem.size, t.tile // 4) <= _MOST_RESULTS
    ]
    busy = (t for t in fitting if ceil_div(own, t.tile) * problem.matrices >= capabilities.compute_units)
    return next(busy, fitting[-1] if fitting else None)


def _tiling(device: Device, problem: Problem, kind: str) -> CpuTiling | GpuTiling | None:
    return (_cpu_tiling if device.kind == "cpu" else _gpu_tiling)(device, problem, kind)
