"""clgrad: automatic differentiation on any OpenCL device, with MXNet's imperative API.

``import clgrad as mx`` runs MXNet programs. Importing starts no OpenCL; the first array does.
"""

from clgrad import absent as _absent
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
from clgrad.util import (
    is_np_array,
    is_np_shape,
    np_array,
    np_shape,
    set_np_shape,
    use_np,
    use_np_array,
    use_np_shape,
)

__version__ = "0.1.0"
ndarray = nd
init, kv = initializer, kvstore
sym, img, rnd, visualization = symbol, image, random, viz
__getattr__ = _absent.getter("mx", __name__)

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
    "img",
    "init",
    "initializer",
    "io",
    "is_np_array",
    "is_np_shape",
    "kv",
    "kvstore",
    "lr_scheduler",
    "memory_stats",
    "metric",
    "name",
    "nd",
    "ndarray",
    "np_array",
    "np_shape",
    "num_gpus",
    "optimizer",
    "profiler",
    "random",
    "reset_peak",
    "rnd",
    "set_np_shape",
    "sym",
    "symbol",
    "tape",
    "test_utils",
    "use_np",
    "use_np_array",
    "use_np_shape",
    "util",
    "visualization",
    "viz",
]
