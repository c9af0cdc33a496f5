"""The launches of a call of clgrad's, by bare pyopencl: the least that they can cost from Python.

It is a framework that the worker can measure. A call is watched once; what is replayed is, for each of its
launches: memory from the pool for what it writes, setting its arguments, enqueueing its kernel.
"""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pyopencl as cl
from pyopencl import _cl
from pyopencl.tools import ImmediateAllocator, MemoryPool

import clgrad
from clgrad import memory
from clgrad.kernels import program
from clgrad.kernels.launch import In, Out

__version__ = version("pyopencl")
device = clgrad.current_context().device
_queue = cl.CommandQueue(device.cl_context, device.cl_device)
_pool = MemoryPool(ImmediateAllocator(_queue))
wait = _queue.finish


class Array:
    """An array in device memory."""

    def __init__(self, buffer: cl.MemoryObject, shape: tuple[int, ...]):
        self.buffer, self.shape = buffer, shape

    def numpy(self) -> np.ndarray:
        values = np.empty(self.shape, np.float32)
        cl.enqueue_copy(_queue, values, self.buffer)
        return values


class _Watcher:
    """Notes the launches of a stream (see clgrad.memory.Observer), with their buffers' handles."""

    def __init__(self):
        self.launches: list[tuple] = []
        #: What was there before, by handle.
        self.given: dict[int, cl.MemoryObject] = {}
        self._made: set[int] = set()

    def begin(self, *_) -> None:
        pass

    def launched(self, stream, plan, step, views, event) -> None:
        handles = [view.storage.handle for view in views]
        reads, writes = handles[: plan.inputs], handles[plan.inputs :]
        for view in views[: plan.inputs]:
            if view.storage.handle not in self._made:
                self.given[view.storage.handle] = view.storage.buffer
        self._made.update(writes)
        nbytes = [view.storage.nbytes for view in views[plan.inputs :]]
        self.launches.append((step, reads, writes, nbytes))

    def copied(self, *_) -> None:
        raise NotImplementedError("only launches are replayed")


def replay(call: Callable) -> Callable[[], list[Array]]:
    """The launches of a call, and the arrays that it returns."""
    call()
    call()
    stream = memory.current_stream(device)
    stream.observer = watcher = _Watcher()
    try:
        results = call()
    finally:
        stream.observer = None
    results = results if isinstance(results, list | tuple) else [results]
    return _replayed(watcher, [(a.handle, a.shape) for a in results])


def _replayed(watcher: _Watcher, results: list[tuple]) -> Callable[[], list[Array]]:
    """A function without loops or look-ups: what memory an array lies in is known as a variable's name."""
    scope: dict = {"allocate": _pool.allocate, "enqueue": _cl.enqueue_nd_range_kernel, "queue": _queue}
    names = {handle: f"given{i}" for i, handle in enumerate(watcher.given)}
    scope |= {names[handle]: buffer for handle, buffer in watcher.given.items()}
    lines = ["def run():"]
    for number, (step, reads, writes, nbytes) in enumerate(watcher.launches):
        inputs = [names[handle] for handle in reads]
        outputs = [f"made{number}_{i}" for i in range(len(writes))]
        names.update(zip(writes, outputs, strict=True))  # memory may have been used before
        lines += [f"    {name} = allocate({size})" for name, size in zip(outputs, nbytes, strict=True)]
        kernel = program.kernel(device, step.kernel, step.source)
        arrays = _set_fixed(kernel, step.args, inputs, outputs)
        scope |= {f"set{number}": kernel._set_arg_multi, f"kernel{number}": kernel}
        scope[f"sizes{number}"] = step.global_size, step.local_size
        lines.append(f"    set{number}(({arrays}))")
        lines.append(f"    enqueue(queue, kernel{number}, *sizes{number})")
    lines.append(f"    return [{', '.join(names[handle] for handle, _ in results)}]")
    exec("\n".join(lines), scope)
    shapes = [shape for _, shape in results]
    return lambda: [Array(b, shape) for b, shape in zip(scope["run"](), shapes, strict=True)]


def _set_fixed(kernel: cl.Kernel, args, inputs: list[str], outputs: list[str]) -> str:
    """Set what is the same in each launch; the positions of the other arguments, and their names."""
    arrays, position = "", 0
    for arg in args:
        if isinstance(arg, In | Out):
            name = inputs[arg.index] if isinstance(arg, In) else outputs[arg.index]
            arrays += f"{position}, {name}, "
            position += 1
            kernel.set_arg(position, np.uint64(0))  # the offset
        else:
            kernel.set_arg(position, arg)
        position += 1
    return arrays
