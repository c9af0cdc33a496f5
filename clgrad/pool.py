"""Pools of device memory, one for each queue: what is in use, and what to do where there is no more."""

import contextlib
import gc
import weakref

import pyopencl as cl
from pyopencl.tools import ImmediateAllocator, MemoryPool

from clgrad.device import Device
from clgrad.errors import DeviceMemoryError

#: Bytes that a pool may keep free for later, beside as many as were in use at some time.
SPARE = 1 << 24


class Pool:
    """A queue of a device with the memory for what is enqueued there.

    In one in-order queue, memory that was freed may be handed out again at once: whatever still reads it
    was enqueued before whatever will write it.
    """

    def __init__(self, device: Device):
        self.device = device
        self._queue = cl.CommandQueue(device.cl_context, device.cl_device)
        self._pool = MemoryPool(ImmediateAllocator(self._queue))
        self._making_room = False
        #: The most bytes that were in use at once, since somebody last set it to what is.
        self.peak = 0
        _all_pools.add(self)

    def flush(self) -> None:
        """Enqueue the launches that wait."""

    def holders(self) -> dict[str, tuple[int, int]]:
        """How many arrays, and bytes of them, are there on the device of the results of each op."""
        return {}

    def allocate(self, nbytes: int, label: str = "") -> cl.MemoryObject:
        """A buffer from the pool, for a result of the op that the label names.

        Where there is no room, it is made, and the pool asked once more.

        Raises
        ------
        DeviceMemoryError
            More than the device's largest allocation, or the device is out of memory; the message says
            what holds it.
        """
        try:
            buffer = self._pool.allocate(nbytes)
        except cl.Error as error:
            return self._allocate_again(nbytes, label, str(error))
        except TypeError:  # pyopencl's
            return self._allocate_again(nbytes, label, "a size beyond 64 bits")
        if self._pool.active_bytes > self.peak and not self._rise():
            buffer.release()
            return self._allocate_again(nbytes, label, "its memory is used up")
        return buffer

    @property
    def bytes_in_use(self) -> int:
        """Bytes of the buffers that are in use."""
        return self._pool.active_bytes

    @property
    def bytes_reserved(self) -> int:
        """Bytes taken from the device: of the buffers in use, and of those that the pool keeps free."""
        return self._pool.managed_bytes

    @property
    def buffers_in_use(self) -> int:
        """How many buffers are in use."""
        return self._pool.active_blocks

    def free_held(self) -> None:
        """Give the buffers that the pool keeps back to the device, once they are no longer worked on."""
        self._queue.finish()
        self._pool.free_held()

    def trim(self) -> None:
        """Give pooled memory back if more has piled up than was in use at any time.

        Where shapes change, buffers of sizes that do not come again would become ever more.
        """
        if self._pool.managed_bytes > 2 * self.peak + SPARE:
            self._pool.free_held()

    def _rise(self) -> bool:
        """Note a new peak, if the device has that much: drivers of CPUs promise more than there is."""
        if sum(p.bytes_reserved for p in pools_on(self.device)) > self.device.capabilities.global_memory:
            return False
        self.peak = self._pool.active_bytes
        return True

    def _allocate_again(self, nbytes: int, label: str, reason: str) -> cl.MemoryObject:
        if nbytes <= self.device.capabilities.max_allocation:
            self._make_room()
            try:
                buffer = self._pool.allocate(nbytes)
                if self._pool.active_bytes <= self.peak or self._rise():
                    return buffer
                buffer.release()
                self._pool.free_held()
            except cl.Error as error:
                reason = str(error)
        raise DeviceMemoryError(self._refusal(nbytes, label, reason))

    def _make_room(self) -> None:
        """Give up what nobody needs: garbage, pooled memory, arrays that only what waits holds."""
        if self._making_room:
            return
        try:
            self._making_room = True
            gc.collect()
            self._empty_all()
            with contextlib.suppress(DeviceMemoryError):
                self.flush()
            self._empty_all()
        finally:
            self._making_room = False

    def _empty_all(self) -> None:
        # Those of other threads, too; what waits there stays, as two could wait for each other's locks.
        for pool in pools_on(self.device):
            pool.free_held()

    def _refusal(self, nbytes: int, label: str, reason: str) -> str:
        capabilities, pools = self.device.capabilities, pools_on(self.device)
        in_use = sum(p.bytes_in_use for p in pools)
        pooled = sum(p.bytes_reserved for p in pools) - in_use
        holders = self.holders()
        largest = sorted(holders, key=lambda name: -holders[name][1])[:3]
        held = ", ".join(f"{name} {holders[name][1]:,} in {holders[name][0]}" for name in largest)
        return (
            f"{label or 'memory'}: cannot allocate {nbytes:,} bytes on {self.device.name}: {in_use:,} "
            f"bytes in use, {pooled:,} pooled, largest single allocation {capabilities.max_allocation:,}, "
            f"device memory {capabilities.global_memory:,} ({reason}); most bytes are held by results of: "
            f"{held or 'no op'}"
        )


_all_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def all_pools() -> list[Pool]:
    """Every pool that somebody still holds."""
    return list(_all_pools)


def pools_on(device: Device) -> list[Pool]:
    """Those of one device."""
    return [pool for pool in all_pools() if pool.device is device]
