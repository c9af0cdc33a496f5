"""CLBlast's matrix products through ctypes, as a framework that the worker can measure.

It runs on the device that ``CLGRAD_DEVICE`` names, in clgrad's own environment. ``BENCHMARKS_CLBLAST``
names the library (Debian's package is libclblast1).
"""

import ctypes
import os

import numpy as np
import pyopencl as cl

from clgrad import current_context

_ROW_MAJOR, _AS_IS, _TRANSPOSED = 101, 111, 112
_size = ctypes.c_size_t

_library = ctypes.CDLL(os.environ["BENCHMARKS_CLBLAST"])
_device = current_context().device
_queue = cl.CommandQueue(_device.cl_context, _device.cl_device)
_queue_handle = ctypes.c_void_p(_queue.int_ptr)

__version__ = os.path.basename(os.path.realpath(os.environ["BENCHMARKS_CLBLAST"]))
device = _device
wait = _queue.finish


class Matrix:
    """An array in device memory."""

    def __init__(self, values: np.ndarray):
        self.shape = values.shape
        self.buffer = cl.Buffer(
            _device.cl_context, cl.mem_flags.COPY_HOST_PTR, hostbuf=np.ascontiguousarray(values)
        )

    def numpy(self) -> np.ndarray:
        values = np.empty(self.shape, np.float32)
        cl.enqueue_copy(_queue, values, self.buffer)
        return values


def product(x: Matrix, y: Matrix, z: Matrix, transpose_x: bool, transpose_y: bool) -> Matrix:
    """Write the product, or that of each of a batch, into z."""
    *batch, m, n = z.shape
    k = x.shape[-2] if transpose_x else x.shape[-1]
    operands = []
    for matrix in (x, y, z):
        operands.append([ctypes.c_void_p(matrix.buffer.int_ptr), _size(0), _size(matrix.shape[-1])])
        if batch:
            operands[-1].append(_size(matrix.shape[-1] * matrix.shape[-2]))
    a, b, c = operands
    function = _library.CLBlastSgemmStridedBatched if batch else _library.CLBlastSgemm
    layouts = (_TRANSPOSED if transpose_x else _AS_IS, _TRANSPOSED if transpose_y else _AS_IS)
    factors = ctypes.c_float(1), ctypes.c_float(0)
    arguments = [_ROW_MAJOR, *layouts, _size(m), _size(n), _size(k), factors[0], *a, *b, factors[1], *c]
    status = function(*arguments, *map(_size, batch), ctypes.byref(_queue_handle), None)
    if status:
        raise RuntimeError(f"CLBlast answers with status {status}")
    return z
