"""Running plans in tests: arrays amid canaries, and both kernel shapes on any device."""

import dataclasses
import functools

import numpy as np

from clgrad import memory
from clgrad.device import Device, current_context
from clgrad.kernels.launch import Plan
from clgrad.memory import Layout, Storage, View

#: Elements before and behind the array in its storage: an odd number, so that no vector access is
#: aligned by accident, and more than the widest vector.
MARGIN = 37
#: Byte that the margins are filled with.
CANARY = 0xA5


class PoorestGpu:
    """The device under test, seen as a GPU with the limits of the poorest one supported."""

    kind = "gpu"

    def __init__(self, device: Device):
        self._device = device
        self.capabilities = dataclasses.replace(
            device.capabilities,
            max_work_group_size=min(64, device.capabilities.max_work_group_size),
            local_memory=min(16384, device.capabilities.local_memory),
        )

    def __getattr__(self, name: str):
        return getattr(self._device, name)


class Cpu(PoorestGpu):
    """The device under test, seen as a CPU."""

    kind = "cpu"


@functools.cache
def device_of_shape(shape: str) -> Device:
    """The current device as a planner for ``shape`` ('cpu' or 'gpu') sees it."""
    return {"cpu": Cpu, "gpu": PoorestGpu}[shape](current_context().device)


def run(plan: Plan, inputs: list[np.ndarray], scalars=()) -> list[np.ndarray]:
    """Run a plan on arrays at odd offsets, check that the margins survive, return the results."""
    stream = memory.current_stream(current_context().device)
    views = [_place(stream, x.shape, x.dtype, x) for x in inputs]
    outputs = [_place(stream, shape, dtype, None) for shape, dtype in plan.outputs]
    plan.run(stream, views, scalars, outputs)
    results = [_take_out(stream, view) for view in outputs]
    for view, x in zip(views, inputs, strict=True):
        assert _take_out(stream, view).tobytes() == x.tobytes(), "an input was written to"
    return results


def _place(stream, shape, dtype, content) -> View:
    size = int(np.prod(shape))
    if size == 0:
        return memory.empty(stream, shape, dtype)
    host = np.full((size + 2 * MARGIN) * dtype.itemsize, CANARY, np.uint8)
    if content is not None:
        host.view(dtype)[MARGIN : MARGIN + size] = content.ravel()
    whole = View(Storage(stream, host.nbytes), 0, Layout((host.size,), host.dtype))
    memory.upload(stream, host, whole)
    return View(whole.storage, MARGIN, Layout(tuple(shape), dtype))


def _take_out(stream, view: View) -> np.ndarray:
    if view.size == 0:
        return np.empty(view.shape, view.dtype)
    whole = View(view.storage, 0, Layout((view.storage.nbytes,), np.dtype(np.uint8)))
    host = memory.download(stream, whole)
    before, behind = MARGIN * view.dtype.itemsize, -MARGIN * view.dtype.itemsize
    assert (host[:before] == CANARY).all(), "something was written before the array"
    assert (host[behind:] == CANARY).all(), "something was written behind the array"
    return host.view(view.dtype)[MARGIN:-MARGIN].reshape(view.shape).copy()
