"""What device memory is used for, and giving back what is not (docs/memory.md)."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from clgrad import memory
from clgrad.device import Context, Device, as_context
from clgrad.errors import MXNetError
from clgrad.pool import pools_on


@dataclass(frozen=True, repr=False)
class MemoryStats(Mapping[str, Any]):
    """The memory of a device, as :func:`memory_stats` found it. Also a mapping; printed, it is a table.

    Sizes are in bytes. All count what this process has, in every thread.
    """

    #: Name of the device.
    device: str
    #: Of the arrays that somebody holds, and of what launches use beside them.
    in_use: int
    #: Kept for arrays to come: taken from the device and in no use. Of buffers in use that are larger than
    #: what was asked for (by up to a sixteenth), the rest counts here as well.
    pooled: int
    #: The most that was in use at once since :func:`reset_peak`. Where several threads compute, the sum of
    #: their peaks, which need not have come at one time.
    peak: int
    #: How many buffers are in use.
    buffers: int
    #: How many threads have a queue of the device.
    threads: int
    #: What all buffers together may take.
    device_memory: int
    #: What one buffer may take.
    largest_allocation: int
    #: For each op whose results there are: number of buffers, and their bytes; the largest first. What no
    #: op made is called ``array`` (from the host), ``table`` (numbers that kernels read) or ``other``.
    by_op: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        if key not in _KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)

    def __repr__(self) -> str:
        rows = [
            (f"Memory of {self.device}", "bytes", "buffers"),
            ("in use", f"{self.in_use:,}", f"{self.buffers:,}"),
            *_shown(self.by_op),
            ("pooled", f"{self.pooled:,}", ""),
            ("peak", f"{self.peak:,}", ""),
            ("device memory", f"{self.device_memory:,}", ""),
            ("largest allocation", f"{self.largest_allocation:,}", ""),
        ]
        width = max(len(name) for name, _, _ in rows)
        return "\n".join(f"{name:{width}} {nbytes:>18} {count:>9}".rstrip() for name, nbytes, count in rows)

    __str__ = __repr__


def _shown(by_op: Mapping[str, tuple[int, int]]) -> list[tuple[str, str, str]]:
    """Rows of the ops that hold most."""
    ops = list(by_op.items())
    rest = [held for _, held in ops[_SHOWN:]]
    if rest:
        left = (sum(count for count, _ in rest), sum(nbytes for _, nbytes in rest))
        ops[_SHOWN:] = [(f"{len(rest)} others", left)]
    return [(f"  {op}", f"{nbytes:,}", f"{count:,}") for op, (count, nbytes) in ops]


#: Ops in a printed table, at most.
_SHOWN = 20

_KEYS = tuple(f.name for f in fields(MemoryStats))


def memory_stats(ctx: Context | str | None = None, by_op: bool = True) -> MemoryStats:
    """What the memory of a device is used for at present, by this process. Waits for nothing.

    Parameters
    ----------
    ctx : Context, optional
        The device; the current one by default.
    by_op : bool
        Whether to find out which op's results take how much. To that end all of Python's objects are looked
        through, which takes some milliseconds; nothing is counted for it while ops run.

    Returns
    -------
    MemoryStats

    Raises
    ------
    DeviceError
        There is no such device.

    Examples
    --------
    >>> import clgrad as mx
    >>> before = mx.memory_stats()
    >>> x = mx.nd.arange(1000).reshape((10, 100))
    >>> y = mx.nd.dot(x, x, transpose_b=True)
    >>> after = mx.memory_stats()
    >>> after.in_use - before.in_use, after["buffers"] - before["buffers"]
    (4400, 2)
    >>> after.by_op["dot"][1] >= 400
    True
    """
    device = as_context(ctx).device
    with contextlib.suppress(MXNetError):
        memory.flush()  # launches that wait hold what they read
    pools = pools_on(device)
    in_use = sum(pool.bytes_in_use for pool in pools)
    held = memory.held_by_label(device) if by_op else {}
    return MemoryStats(
        device=device.name,
        in_use=in_use,
        pooled=sum(pool.bytes_reserved for pool in pools) - in_use,
        peak=sum(pool.peak for pool in pools),
        buffers=sum(pool.buffers_in_use for pool in pools),
        threads=len(pools),
        device_memory=device.capabilities.global_memory,
        largest_allocation=device.capabilities.max_allocation,
        by_op=dict(sorted(held.items(), key=lambda item: (-item[1][1], item[0]))),
    )


def reset_peak(ctx: Context | str | None = None) -> None:
    """Let the peak that :func:`memory_stats` shows begin at what is in use now.

    Parameters
    ----------
    ctx : Context, optional
        The device; the current one by default.

    Raises
    ------
    DeviceError
        There is no such device.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.reset_peak()
    >>> x = mx.nd.ones((1000,))
    >>> mx.memory_stats().peak >= 4000
    True
    """
    for pool in pools_on(as_context(ctx).device):
        pool.peak = pool.bytes_in_use


def empty_cache(ctx: Context | str | None = None) -> None:
    """Give memory that is kept for arrays to come back to the device; waits for the device.

    That does not make more room for arrays: where there is none, it is done anyway. It makes room for other
    programs that use the device.

    Parameters
    ----------
    ctx : Context, optional
        The device; the current one by default. MXNet has this as a method of contexts, and so has clgrad.

    Raises
    ------
    DeviceError
        There is no such device, or the process was forked after it used the device.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.ones((1000000,))
    >>> del x
    >>> mx.memory_stats().pooled >= 4000000
    True
    >>> mx.empty_cache()
    >>> mx.memory_stats().pooled >= 4000000
    False
    """
    _empty(as_context(ctx).device)


def _empty(device: Device) -> None:
    for stream in memory.all_streams():
        if stream.device is device:
            stream.finish()  # launches that wait may hold what is not needed otherwise
            stream.free_held()


def _taken(device: Device) -> int:
    return sum(pool.bytes_reserved for pool in pools_on(device))


Context.keepers.append(_empty)
Context.taken.append(_taken)
