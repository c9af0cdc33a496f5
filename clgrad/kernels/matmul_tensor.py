"""Matrix products on NVIDIA's tensor cores: launches of templates/matmul_tensor.cl.mako.

float16 and bfloat16 are always multiplied there, float32 (as tf32) where :func:`clgrad.allow_tf32` says so.
No product of a program is, before a device's tensor cores have computed some small ones right.
"""

import dataclasses
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import pyopencl as cl

from clgrad import config, dtypes, memory
from clgrad.device import Device
from clgrad.errors import KernelError
from clgrad.kernels import matmul_gpu, tuning
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.parameters import TensorGpu
from clgrad.kernels.product import Axis, Product, Roles, Strided, Window, matrix
from clgrad.memory import Stream, View

#: Numbers that tensor cores multiply, by the PTX ISA's names for them.
KINDS = {dtypes.float16: "f16", dtypes.bfloat16: "bf16", dtypes.float32: "tf32"}

#: Bytes that are copied, read and moved about together.
_CHUNK = 16

#: From how long a sum on it is rather split than made in smaller tiles, which read local memory more often
#: for each product.
_LONG = 1024

#: What the kernels' instructions are spelled by, and its parameters. Tests have another one.
_instructions: dict[str, object] = {"instructions": "tensor_ptx.mako"}


#: What :func:`allow_tf32` was told last.
_allowed: bool | None = None


def allow_tf32(allow: bool = True) -> bool:
    """Let products of float32 arrays be made on tensor cores, which round their operands to tf32.

    tf32 has float32's range, but 10 bits behind the point in the place of 23: operands are off by up to 1
    part in 2048. Sums are float32. It makes a difference on NVIDIA's GPUs of compute capability 8.0 and
    later, to all that is a matrix product there: ``dot``, ``FullyConnected``, convolutions, and their
    gradients. Products of float16 and bfloat16 do not round their operands, and need no leave. In PyTorch
    it is called ``torch.backends.cuda.matmul.allow_tf32``, and is off as well if nothing is said.

    Parameters
    ----------
    allow : bool
        For all threads, from now on. Until it is called, ``CLGRAD_ALLOW_TF32=1`` allows it.

    Returns
    -------
    bool
        What held before.

    Example
    -------
    >>> import clgrad as mx
    >>> before = mx.allow_tf32()
    >>> mx.allow_tf32(before)
    True
    """
    global _allowed
    before = _tf32_allowed()
    _allowed = bool(allow)
    if before != _allowed:
        for stream in memory.all_streams():  # their plans were made under the other rule
            stream.plans.clear()
    return before


def _tf32_allowed() -> bool:
    return config.allow_tf32() if _allowed is None else _allowed


@dataclasses.dataclass(frozen=True)
class Slab:
    """How a slab of an operand comes into local memory, and how it lies there: in rows of chunks.

    Attributes
    ----------
    along_k : bool
        Whether a row runs along k and belongs to one index of the tile; or the other way round.
    columns : int
        Chunks of a row: a power of two.
    chunks : int
        Chunks of the slab.
    loads : int
        Chunks that a work-item brings.
    words : bool
        Whether fragments are read word by word.
    direct : int
        Bytes that one copy can move past the registers; 0 if none can.
    gathers : bool
        Whether some arrays are gathered element by element: those not aligned as copies must be.
    """

    along_k: bool
    columns: int
    chunks: int
    loads: int
    words: bool
    direct: int
    gathers: bool

    def place(self, row: str, column: str) -> str:
        """C expression (and Python's) of where in the slab a chunk lies.

        Local memory has 32 banks of 4 bytes, so 8 chunks lie side by side. Eight rows are read at once, at
        one column: the column's lowest bits are turned by those of the row, so that all banks have a part
        in it. Words are read of four rows and two columns at once.
        """
        if self.words:
            turn = f"((({row}) & 3) << 1)"
        else:
            rows_of_banks = max(8 // self.columns, 1)
            turn = f"((({row}) >> {rows_of_banks.bit_length() - 1}) & {min(self.columns, 8) - 1})"
        return f"(({row}) * {self.columns} + (({column}) ^ {turn}))"


def takes(device: Device, product: Product) -> bool:
    """Whether a product is made on tensor cores: it can be, may be, and is known to come out right."""
    dtype = product.dtype
    return (
        device.capabilities.tensor_cores
        and dtype in KINDS
        and (dtype != dtypes.float32 or _tf32_allowed())
        and product.k > 0
        and _works(device, dtype)
    )


def add_steps(
    device: Device, name: str, product: Product, roles: Roles, steps: list[Step], scratch: list[int]
) -> None:
    """Append the launches of a product, and the bytes of the temporary memory that they need."""
    if isinstance(product.b, Window) and product.b.pointwise:  # copies need no windows
        product = dataclasses.replace(product, b=product.b.strided(product.batch, product.k, product.n))
    parts = max(1, product.k // _LONG)
    tiling = matmul_gpu.busy_tiling(device, product, _tilings(device), parts)
    _add_tiled(device, name, product, roles, steps, scratch, tiling)


def _tilings(device: Device) -> list[TensorGpu]:
    """Those that a product may get, the largest first."""
    ladder = [t for t in TensorGpu.ladder() if not t.problem(device.capabilities)]
    return matmul_gpu.from_first(tuning.of(device, TensorGpu), ladder)


def _add_tiled(
    device: Device,
    name: str,
    product: Product,
    roles: Roles,
    steps: list[Step],
    scratch: list[int],
    tiling: TensorGpu,
) -> None:
    itemsize = product.dtype.itemsize
    slabs = {"slab_a": _slab_a(product, tiling), "slab_b": _slab_b(product, tiling)}
    parameters = {
        **dataclasses.asdict(tiling),
        **slabs,
        "group": tiling.group,
        "itemsize": itemsize,
        "kind": KINDS[product.dtype],
        "copies": sum(s.loads * _CHUNK // s.direct for s in slabs.values() if s.direct),
        **_instructions,
    }
    kernel = matmul_gpu.Kernel("matmul_tensor", tiling, tiling.depth_bytes // itemsize, parameters)
    wanted = tuning.of(device, TensorGpu).groups_per_unit
    matmul_gpu.add_tiled(device, name, product, roles, steps, scratch, kernel, wanted)


def _slab_a(product: Product, tiling: TensorGpu) -> Slab:
    a = product.a
    along_k = a.column.unit or not a.row.unit
    direct = _direct(product, a, "column" if along_k else "row")
    return _slab(product, tiling, tiling.tile_m, along_k, direct)


def _slab_b(product: Product, tiling: TensorGpu) -> Slab:
    b = product.b
    if isinstance(b, Window):
        return _slab(product, tiling, tiling.tile_n, b.transposed, 0)
    along_k = b.row.unit and not b.column.unit
    direct = _direct(product, b, "row" if along_k else "column")
    return _slab(product, tiling, tiling.tile_n, along_k, direct)


def _direct(product: Product, operand: Strided, along: str) -> int:
    """The widest copy that all rows are made of, and aligned to if the array is; 0 if there is none."""
    axis: Axis = getattr(operand, along)
    itemsize = product.dtype.itemsize
    if not axis.unit or (not axis.plain and axis.digits[0][0] * itemsize % _CHUNK):
        return 0  # neighbours are not neighbours in memory, or some chunk has a gap
    steps = operand.steps(along) + [stride for _, stride in axis.digits[1:]] + [axis.digits[0][0]]
    return next((n for n in (16, 8, 4) if not any(step * itemsize % n for step in steps)), 0)


def _slab(product: Product, tiling: TensorGpu, tile: int, along_k: bool, direct: int) -> Slab:
    itemsize = product.dtype.itemsize
    chunks = tile * tiling.depth_bytes // _CHUNK
    return Slab(
        along_k,
        columns=(tiling.depth_bytes if along_k else tile * itemsize) // _CHUNK,
        chunks=chunks,
        loads=chunks // tiling.group,
        words=itemsize == 4 and not along_k,
        direct=direct,
        gathers=direct != itemsize,
    )


# Proof at first use

_proven: dict[tuple[Device, np.dtype], bool] = {}
_lock = threading.Lock()


def _works(device: Device, dtype: np.dtype) -> bool:
    """Whether the device's tensor cores compute small products right; tried once, and told if not."""
    works = _proven.get((device, dtype))
    if works is None:
        with _lock:
            works = _proven.get((device, dtype))
            if works is None:
                problem = _problem(device, dtype)
                works = _proven[device, dtype] = problem is None
                if problem:
                    warnings.warn(
                        f"clgrad leaves the tensor cores of {device.name} (driver {device.driver_version}) "
                        f"alone for {dtype.name}, and is slower for it: {problem}",
                        RuntimeWarning,
                        stacklevel=4,
                    )
    return works


def _problem(device: Device, dtype: np.dtype) -> str | None:
    """What is wrong with products of small integers on the device's tensor cores, compared with numpy's.

    Between them, the three have the largest and the smallest tiles, and all ways of fragments.
    """
    tilings = _tilings(device)
    largest, smallest = tilings[0], tilings[-1]
    try:
        stream = memory.current_stream(device)
        for tiling, transposed in ((largest, False), (largest, True), (smallest, False)):
            for result, expected in _trials(stream, dtype, tiling, transposed):
                if not np.array_equal(result, expected):
                    return "small products came out wrong"
    except (KernelError, cl.Error) as error:
        return str(error)[:1000]  # the rest is the source
    return None


def _trials(
    stream: Stream, dtype: np.dtype, tiling: TensorGpu, transposed: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Products with edges; of arrays that begin where copies may, and where they may not."""
    m, n, k = 72, 88, 136
    a, b = matrix(m, k, transposed, 1), matrix(k, n, transposed, 1)
    product = Product(dtype, m, n, k, 1, a, b, matrix(m, n, False, 1))
    steps: list[Step] = []
    scratch: list[int] = []
    roles: Roles = {"a": In(0), "b": In(1), "c": Out(0)}
    _add_tiled(stream.device, "tensor_trial", product, roles, steps, scratch, tiling)
    plan = Plan(stream.device, steps, [((m, n), dtype)], 2, scratch)
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-3, 4, shape) for shape in ((m, k), (k, n)))
    for offset in (0, 1):
        sources = (left.T, right.T) if transposed else (left, right)
        inputs = [_uploaded(stream, x.astype(dtype), offset) for x in sources]
        (result,) = plan.run(stream, inputs)
        yield memory.download(stream, result), (left @ right).astype(dtype)


def _uploaded(stream: Stream, values: np.ndarray, offset: int) -> View:
    whole = memory.empty(stream, (values.size + offset,), values.dtype)
    view = whole.reshaped(values.shape, offset)
    memory.upload(stream, values, view)
    return view
