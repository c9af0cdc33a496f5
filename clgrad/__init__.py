"""clgrad: automatic differentiation on any OpenCL device, with MXNet's imperative API.

``import clgrad as mx`` runs MXNet programs. Importing starts no OpenCL; the first array does.
"""

from clgrad import (
    autograd,
    base,
    context,
    engine,
    gluon,
    graph,
    image,
    initializer,
    io,
    kvstore,
    lr_scheduler,
    metric,
    name,
    nd,
    optimizer,
    profiler,
    random,
    symbol,
    tape,
    test_utils,
    util,
    viz,
)
from clgrad.accounting import MemoryStats, empty_cache, memory_stats, reset_peak
from clgrad.capturing import capture
from clgrad.deferred import host
from clgrad.device import (
    Context,
    cpu,
    cpu_pinned,
    current_context,
    device,
    gpu,
    num_gpus,
)
from clgrad.errors import MXNetError
from clgrad.kernels.matmul_tensor import allow_tf32

__version__ = "0.1.0"
ndarray = nd
init, kv = initializer, kvstore
sym = symbol

__all__ = [
    "Context",
    "MXNetError",
    "MemoryStats",
    "allow_tf32",
    "autograd",
    "base",
    "capture",
    "context",
    "cpu",
    "cpu_pinned",
    "current_context",
    "device",
    "empty_cache",
    "engine",
    "gluon",
    "gpu",
    "graph",
    "host",
    "image",
    "init",
    "initializer",
    "io",
    "kv",
    "kvstore",
    "lr_scheduler",
    "memory_stats",
    "metric",
    "name",
    "nd",
    "ndarray",
    "num_gpus",
    "optimizer",
    "profiler",
    "random",
    "reset_peak",
    "sym",
    "symbol",
    "tape",
    "test_utils",
    "util",
    "viz",
]
