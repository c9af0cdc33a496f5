"""What candidates are held against, and what they are timed on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import conv, expr, layout, map, matmul, reduce
from clgrad.kernels.conv import ConvGeometry
from clgrad.kernels.launch import Plan

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Workload:
    """One operation on given shapes.

    Attributes
    ----------
    name : str
        For people.
    inputs : sequence of (shape, dtype)
        Filled with small integers, whose sums and products are exact.
    plan : callable
        Makes the plan for a device.
    reference : callable
        What numpy makes of the inputs.
    tolerance : float
        Error allowed, relative to the largest value; 0 where every right kernel gives the same bits.
    """

    name: str
    inputs: Sequence[tuple[tuple[int, ...], np.dtype]]
    plan: Callable[[Device], Plan]
    reference: Callable[..., np.ndarray]
    tolerance: float = 0.0

    def runs_on(self, device: Device) -> bool:
        """Whether the device has the dtypes."""
        return device.capabilities.fp64 or all(dtype != dtypes.float64 for _, dtype in self.inputs)

    def draw(self) -> Arrays:
        """The inputs; the same each time."""
        rng = np.random.default_rng(0)
        return [rng.integers(-3, 4, shape).astype(dtype) for shape, dtype in self.inputs]

    def agrees(self, result: np.ndarray, expected: np.ndarray) -> bool:
        """Whether a result is the right one."""
        if not self.tolerance:
            return np.array_equal(result, expected)
        return np.allclose(result, expected, rtol=0, atol=self.tolerance * np.abs(expected).max())


def _product(
    m: int, n: int, k: int, *, batch: int = 1, layout: str = "NN", dtype: np.dtype = dtypes.float32
) -> Workload:
    a_turned, b_turned = (letter == "T" for letter in layout)

    def make(device: Device) -> Plan:
        return matmul.plan_matmul(
            device, "tune_matmul", dtype, m, n, k, batch=batch, transpose_a=a_turned,
            transpose_b=b_turned, out_shape=(batch, m, n),
        )  # fmt: skip

    def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        exact = dtypes.float64 if dtype.itemsize == 8 else dtypes.float32
        a, b = a.astype(exact), b.astype(exact)
        return (a.swapaxes(1, 2) if a_turned else a) @ (b.swapaxes(1, 2) if b_turned else b)

    shapes = (batch, *((k, m) if a_turned else (m, k))), (batch, *((n, k) if b_turned else (k, n)))
    size = f"{m} x {n} x {k}" if batch == 1 else f"{batch} of {m} x {n} x {k}"
    return Workload(f"{size} {layout} {dtype}", [(shape, dtype) for shape in shapes], make, reference)


def _convolution(batch: int, channels: int, size: int, dtype: np.dtype = dtypes.float32) -> Workload:
    """A layer of 5 x 5 windows, whose packing makes the matrix; methods with transforms round."""
    g = ConvGeometry(batch, channels, channels, (size, size), (5, 5), pad=(2, 2))

    def reference(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        x, w = x.astype(dtypes.float32), w.astype(dtypes.float32)
        padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (2, 3))
        return np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)

    return Workload(
        f"convolution 5 x 5 of {batch} x {channels} x {size} x {size} {dtype}",
        [(g.data_shape, dtype), (g.weight_shape, dtype)],
        lambda device: conv.plan_forward(device, "tune_conv", dtype, g),
        reference,
        tolerance=1e-5,
    )


def _map(
    name: str,
    shape: tuple[int, ...],
    formula: Callable,
    reference: Callable,
    *operands: tuple[int, ...],
    dtype: np.dtype = dtypes.float32,
    tolerance: float = 0.0,
) -> Workload:
    """A formula over ``shape`` of operands that are broadcast to it."""

    def make(device: Device) -> Plan:
        value = formula(*(expr.operand(i, dtype) for i in range(len(operands))))
        output = map.Output(value, layout.broadcast(shape, shape, dtype))
        return map.plan(
            device, "tune_map", shape, [output], [layout.broadcast(s, shape, dtype) for s in operands]
        )

    return Workload(f"{name} {shape} {dtype}", [(s, dtype) for s in operands], make, reference, tolerance)


def _reduce(
    how: str, shape: tuple[int, ...], axis: int | None, dtype: np.dtype = dtypes.float32
) -> Workload:
    axes = range(len(shape)) if axis is None else [axis]
    kept = tuple(n for a, n in enumerate(shape) if a not in axes)

    def make(device: Device) -> Plan:
        part = reduce.Reduction(expr.operand(0, dtype), how, dtype)
        operand = layout.broadcast(shape, shape, dtype)
        return reduce.plan(device, "tune_reduce", shape, list(axes), [part], [operand])

    def reference(x: np.ndarray) -> np.ndarray:
        return np.asarray(getattr(np, how)(x.astype(np.float64), axis)).reshape(kept)

    return Workload(f"{how} of {shape} along {axis} {dtype}", [(shape, dtype)], make, reference)


def _add(a, b):
    return a + b


#: Small and odd, in every layout and width of vectors: a candidate that computes one of them wrong is out.
CHECKS: dict[str, list[Workload]] = {
    "matmul": [
        _product(37, 75, 29),
        _product(301, 517, 1100, layout="TT"),
        _product(5, 70, 5000, layout="TN"),
        _product(3, 300, 150),
        _product(33, 65, 200, batch=3, layout="NT", dtype=dtypes.float64),
        _product(70, 45, 100, dtype=np.dtype(np.int32)),
        _convolution(3, 5, 7),
    ],
    "tensor": [
        _product(37, 75, 29, dtype=dtypes.float16),
        _product(304, 520, 1104, layout="TT", dtype=dtypes.bfloat16),
        _product(8, 72, 5000, layout="TN"),
        _product(33, 65, 200, batch=3, layout="NT", dtype=dtypes.float16),
        _convolution(3, 5, 7, dtypes.float16),
    ],
    "map": [
        _map("a + b", (1,), _add, np.add, (1,), (1,)),
        _map("a + b", (40_003,), _add, np.add, (40_003,), (40_003,)),
        _map("a + b", (37, 5, 33), _add, np.add, (5, 1), (37, 5, 33), dtype=dtypes.float64),
        _map("a + b", (70_001,), _add, np.add, (1,), (70_001,), dtype=np.dtype(np.int8)),
        _map("a + b", (1003,), _add, np.add, (1003,), (1003,), dtype=dtypes.float16),
    ],
    "reduce": [
        _reduce("sum", (300_001,), None),
        _reduce("max", (67, 1003), 1),
        _reduce("sum", (1003, 37), 1),
        _reduce("sum", (4099, 3), 0),
        _reduce("sum", (5, 70_003, 2), 1, dtypes.float64),
        _reduce("sum", (129, 257), 0, np.dtype(np.int32)),
    ],
}

#: Large enough for the parameters to matter, and as different as what programs ask for.
TIMED: dict[str, list[Workload]] = {
    "matmul": [
        _product(1024, 1024, 1024),
        _product(256, 256, 256),
        _product(128, 512, 784, layout="NT"),
        _product(512, 784, 128, layout="TN"),
        _product(2048, 64, 512),
        _product(128, 128, 64, batch=32),
        _convolution(8, 64, 28),
    ],
    "tensor": [
        _product(2048, 2048, 2048, dtype=dtypes.float16),
        _product(2048, 2048, 2048, layout="TN"),
        _product(1024, 1024, 1024, layout="NT", dtype=dtypes.bfloat16),
        _product(1024, 1000, 784, dtype=dtypes.float16),
        _product(256, 256, 8192, layout="TN", dtype=dtypes.float16),
        _product(128, 128, 64, batch=256, layout="NT", dtype=dtypes.float16),
        _convolution(8, 64, 28, dtypes.float16),
    ],
    "map": [
        _map("a + b", (1 << 22,), _add, np.add, (1 << 22,), (1 << 22,)),
        _map("a + b", (1 << 16,), _add, np.add, (1 << 16,), (1 << 16,)),
        _map("a + b", (1024, 1000), _add, np.add, (1000,), (1024, 1000)),
        _map(
            "exp(a) * b", (1 << 20,), lambda a, b: expr.call("exp", a) * b, lambda a, b: np.exp(a) * b,
            (1 << 20,), (1 << 20,), tolerance=1e-5,
        ),
    ],
    "reduce": [
        _reduce("sum", (1 << 22,), None),
        _reduce("sum", (1024, 2048), 1),
        _reduce("sum", (2048, 1024), 0),
        _reduce("max", (16, 64, 1024), 2),
        _reduce("sum", (64, 1000), 1),
        _reduce("sum", (16384, 49), 1),
    ],
}  # fmt: skip


def kind_of(family: str) -> str:
    """The key of a family in the tables above: ``matmul`` for ``matmul_cpu``."""
    return family.rpartition("_")[0]
