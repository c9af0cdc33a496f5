"""Planners of matrix factorisations and of triangular solves, for stacks of matrices.

Each matrix is the work of one team: a work-group on a GPU, a single work-item that works with vectors on
a CPU (see templates/team.mako). A triangular solve shares out the columns of the right-hand side instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import template
from clgrad.kernels.access import vector_width
from clgrad.kernels.launch import In, Out, Plan, Scratch, Step
from clgrad.kernels.map import ranges
from clgrad.kernels.product import Roles
from clgrad.kernels.signature import Signature

#: Work-items along a row of a team, and at most in all: for matrices larger than SMALL, and others.
TEAM, SMALL_TEAM, SMALL = (32, 256), (8, 32), 8
#: Columns in vectors of which a CPU's work-item solves at a time: enough sums to hide their latency.
SOLVE_VECTORS = 4


@dataclass(frozen=True)
class Team:
    """Shape of a team, and how its members compute: tunables of the templates."""

    T: str
    tx: int
    ty: int
    width: int

    @property
    def size(self) -> int:
        """Number of members."""
        return self.tx * self.ty


def team_of(device: Device, dtype: np.dtype, size: int) -> Team:
    """The team for a matrix of this size: one of few, since each is a program of its own."""
    kind = dtypes.c_type(dtype)
    if device.kind == "cpu":
        return Team(kind, 1, 1, vector_width(device.capabilities.vector_bytes, [dtype]))
    along, most = TEAM if size > SMALL else SMALL_TEAM
    limit = min(most, device.capabilities.max_work_group_size)
    limit = 2 ** (limit.bit_length() - 1)
    along = min(along, limit)
    return Team(kind, along, limit // along, 1)


class _Launch:
    """A kernel of teams in the making: its arrays, sizes and template."""

    def __init__(self, device: Device, name: str, dtype: np.dtype, batch: int, size: int):
        self.device, self.name, self.dtype, self.batch = device, name, dtype, batch
        self.team = team_of(device, dtype, size)
        self.signature = Signature(batch * size**2 >= 1 << 31)
        self.arrays: list[str] = []

    def array(self, name: str, source: In | Out | Scratch, dtype: np.dtype | None = None) -> None:
        self.arrays.append(name)
        self.signature.array(name, dtype or self.dtype, source)

    def step(self, family: str, sizes: dict[str, int], **parameters) -> Step:
        self.signature.sizes(batch=self.batch, **sizes)
        source = template.render(
            family,
            name=self.name,
            signature=self.signature,
            t=self.team,
            arrays=self.arrays,
            **parameters,
        )
        groups = self.batch
        if self.device.kind == "cpu":
            groups = min(groups, 4 * self.device.capabilities.compute_units)
        return Step(self.name, source, (groups * self.team.size,), (self.team.size,), self.signature.args)


def _batch(shape: Sequence[int]) -> int:
    return math.prod(shape[:-2])


def plan_cholesky(
    device: Device, name: str, shape: Sequence[int], dtype: np.dtype, *, lower: bool = True
) -> Plan:
    """Plan L with A = L L^T, or U with A = U^T U; one triangle of A is read.

    NaN from the first pivot on that is not above 0: the matrix is not positive definite.
    """
    outputs = [(tuple(shape), dtype)]
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, 1)
    launch = _Launch(device, name, dtype, _batch(shape), shape[-1])
    launch.array("x", In(0))
    launch.array("y", Out(0))
    return Plan(device, [launch.step("cholesky", {"n": shape[-1]}, lower=lower)], outputs, 1)


def plan_determinant(
    device: Device, name: str, shape: Sequence[int], dtype: np.dtype, *, logarithm: bool = False
) -> Plan:
    """Plan the LU factors and the determinant.

    Outputs: det and the sign of the rows' order, or with ``logarithm`` det's sign and the logarithm of
    its absolute value, each of the shape of the stack, (1,) for one matrix; then the factors and the order
    of the rows, int32.
    """
    stack = tuple(shape[:-2]) or (1,)
    wanted = ("sign", "log_abs") if logarithm else ("det", "parity")
    outputs = [(stack, dtype)] * len(wanted)
    outputs += [(tuple(shape), dtype), (tuple(shape[:-1]), dtypes.int32)]
    if _batch(shape) == 0:
        return Plan(device, [], outputs, 1)
    launch = _Launch(device, name, dtype, _batch(shape), shape[-1])
    launch.array("x", In(0))
    for i, array in enumerate(wanted):
        launch.array(array, Out(i))
    launch.array("lu", Out(len(wanted)))
    launch.array("order", Out(len(wanted) + 1), dtypes.int32)
    return Plan(device, [launch.step("lu", {"n": shape[-1]})], outputs, 1)


def plan_inverse(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan the inverses of square matrices: LU factors, then U^-1 L^-1 P by two substitutions."""
    shape = tuple(shape)
    outputs = [(shape, dtype)]
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, 1)
    batch, n = _batch(shape), shape[-1]
    scratch = [batch * n * n * dtype.itemsize, batch * n * dtypes.int32.itemsize]
    launch = _Launch(device, name, dtype, batch, n)
    launch.array("x", In(0))
    launch.array("lu", Scratch(0))
    launch.array("order", Scratch(1), dtypes.int32)
    steps = [launch.step("lu", {"n": n})]
    forward = _Solve(lower=True, unit=True, a=Scratch(0), order=Scratch(1))
    backward = _Solve(lower=False, a=Scratch(0), b=Out(0))
    for what, solve in (("forward", forward), ("backward", backward)):
        steps.append(solve.step(device, f"{name}_{what}", dtype, batch, n, n))
    return Plan(device, steps, outputs, 1, scratch)


def plan_triangular_solve(
    device: Device,
    name: str,
    a_shape: Sequence[int],
    b_shape: Sequence[int],
    dtype: np.dtype,
    *,
    transpose: bool = False,
    lower: bool = True,
) -> Plan:
    """Plan X with op(A) X = B, A triangular; the other triangle is not read. Inputs: A, B."""
    outputs = [(tuple(b_shape), dtype)]
    if math.prod(b_shape) == 0:
        return Plan(device, [], outputs, 2)
    solve = _Solve(lower=lower, transpose=transpose, a=In(0), b=In(1))
    step = solve.step(device, name, dtype, _batch(a_shape), b_shape[-2], b_shape[-1])
    return Plan(device, [step], outputs, 2)


def plan_triangular_inverse(
    device: Device,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype,
    *,
    lower: bool = True,
    unit: bool = False,
    ordered: bool = False,
) -> Plan:
    """Plan the inverses of triangular matrices; with ``unit`` their diagonal counts as 1.

    Inputs: A, and with ``ordered`` the order of the rows of the identity that is solved for (int32).
    """
    shape = tuple(shape)
    outputs, inputs = [(shape, dtype)], 2 if ordered else 1
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, inputs)
    solve = _Solve(lower=lower, unit=unit, a=In(0), order=In(1) if ordered else None)
    step = solve.step(device, name, dtype, _batch(shape), shape[-1], shape[-1])
    return Plan(device, [step], outputs, inputs)


def plan_triangular_adjugate(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan the adjugates of upper triangular matrices, each times a number. Inputs: U, the numbers."""
    shape = tuple(shape)
    if math.prod(shape) == 0:
        return Plan(device, [], [(shape, dtype)], 2)
    batch, n = _batch(shape), shape[-1]
    signature = Signature(batch * n * n >= 1 << 31)
    roles: Roles = {"lu": In(0), "parity": In(1), "y": Out(0)}
    for key, source in roles.items():
        signature.array(key, dtype, source)
    signature.sizes(batch=batch, n=n)
    text = template.render(
        "adjugate",
        name=name,
        signature=signature,
        T=dtypes.c_type(dtype),
    )
    step = Step(name, text, *ranges(device, batch * n, batch * n * n * n), signature.args)
    return Plan(device, [step], [(shape, dtype)], 2)


def plan_lq(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan A = L Q of matrices with no more rows than columns. Outputs: Q, L."""
    m, n = shape[-2:]
    batch = _batch(shape)
    outputs = [(tuple(shape), dtype), ((*shape[:-2], m, m), dtype)]
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, 1)
    roles: Roles = {"x": In(0), "q": Out(0), "l": Out(1), "tau": Scratch(0)}
    phases = {"reduce": ("x", "q", "l", "tau"), "form": ("q", "tau")}
    steps = _phases(device, name, dtype, batch, "lq", {"m": m, "n": n}, roles, phases)
    return Plan(device, steps, outputs, 1, [batch * m * dtype.itemsize])


def plan_symmetric_eigen(device: Device, name: str, shape: Sequence[int], dtype: np.dtype) -> Plan:
    """Plan A = U^T diag(values) U of symmetric matrices. Outputs: U, values."""
    n, batch = shape[-1], _batch(shape)
    outputs = [(tuple(shape), dtype), (tuple(shape[:-1]), dtype)]
    if math.prod(shape) == 0:
        return Plan(device, [], outputs, 1)
    roles: Roles = {"x": In(0), "u": Out(0), "values": Out(1), "z": Scratch(0), "space": Scratch(1)}
    phases = {
        "reduce": ("x", "u", "space"),
        "form": ("u", "z", "space"),
        "iterate": ("z", "space"),
        "sort": ("u", "values", "z", "space"),
    }
    steps = _phases(device, name, dtype, batch, "symmetric_eigen", {"n": n}, roles, phases)
    scratch = [batch * n * n * dtype.itemsize, batch * 5 * n * dtype.itemsize]
    return Plan(device, steps, outputs, 1, scratch)


def _phases(device, name, dtype, batch, family, sizes, roles: Roles, phases) -> list[Step]:
    """The launches of a family's phases, each with the arrays that it needs."""
    steps = []
    for phase, arrays in phases.items():
        launch = _Launch(device, f"{name}_{phase}", dtype, batch, max(sizes.values()))
        for array in arrays:
            launch.array(array, roles[array])
        steps.append(launch.step(family, sizes, phase=phase))
    return steps


@dataclass(frozen=True)
class _Solve:
    """One launch of templates/triangular_solve.cl.mako into the first output."""

    lower: bool
    a: In | Scratch
    transpose: bool = False
    unit: bool = False
    b: In | Out | None = None
    order: In | Scratch | None = None

    def step(self, device: Device, name: str, dtype: np.dtype, batch: int, n: int, m: int) -> Step:
        """The launch for ``batch`` systems of n equations with m right-hand sides."""
        signature = Signature(batch * n * max(n, m) >= 1 << 31)
        arrays = {"a": self.a, "b": self.b, "order": self.order, "x": Out(0)}
        given = {key: source for key, source in arrays.items() if source is not None}
        for key, source in given.items():
            signature.array(key, dtypes.int32 if key == "order" else dtype, source)
        signature.sizes(batch=batch, n=n, m=m)
        width, vectors = self._tile(device, dtype, m)
        text = template.render(
            "triangular_solve",
            name=name,
            signature=signature,
            dtype=dtype,
            T=dtypes.c_type(dtype),
            arrays=list(given),
            source="array" if self.b else "order" if self.order else "identity",
            lower=self.lower,
            transpose=self.transpose,
            unit=self.unit,
            width=width,
            vectors=vectors,
            block=width * vectors,
        )
        blocks = batch * -(-m // (width * vectors))
        # each column costs n / 2 times what it costs to read it
        sizes = ranges(device, blocks, batch * n * m * max(1, n // 2))
        return Step(name, text, *sizes, signature.args)

    @staticmethod
    def _tile(device: Device, dtype: np.dtype, m: int) -> tuple[int, int]:
        """Elements of a vector, and vectors, that a work-item solves at a time."""
        if device.kind != "cpu":
            return 1, 1
        width = vector_width(device.capabilities.vector_bytes, [dtype])
        # Narrow systems leave nobody idle if they are shared out in single vectors.
        wide = m >= width * SOLVE_VECTORS * device.capabilities.compute_units
        return width, SOLVE_VECTORS if wide else 1
