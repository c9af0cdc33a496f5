"""Chrome's trace events of profiles, in JSON.

The format is described in "Trace Event Format" (the Chromium project, catapult): a list of events, each
with a phase ``ph``, a process and a thread, and times in microseconds. Here, one process is the host, with
a row for each of its threads; every device is another, with a row for each of its queues.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clgrad.profiler.launches import called

if TYPE_CHECKING:
    from clgrad.device import Device
    from clgrad.profiler.session import Profile

#: Identifier of the host among the processes; devices follow.
_HOST = 1

Event = dict[str, Any]


def trace(profiles: "Sequence[Profile]", launches: bool = True, memory: bool = True) -> str:
    """The document, of profiles one after the other; with or without launches, and memory in use."""
    writer = _Writer(profiles, launches, memory)
    about = {
        "program": "clgrad",
        "devices": [f"{d.name} ({d.platform_name}, {d.driver_version})" for d in writer.devices],
        "left out": sum(p.left_out for p in profiles),
    }
    document = {"traceEvents": list(writer.events()), "displayTimeUnit": "ms", "otherData": about}
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


class _Writer:
    """The events of some profiles, under numbers that they share."""

    def __init__(self, profiles: "Sequence[Profile]", launches: bool, memory: bool):
        self._profiles, self._launches, self._memory = profiles, launches, memory
        devices = [device for p in profiles for device in p.devices] if launches else []
        self.devices: list[Device] = list(dict.fromkeys(devices))
        self._processes = {called(device): n for n, device in enumerate(self.devices, _HOST + 1)}
        #: Numbers for threads, and for queues beside their streams: identifiers of threads have more than
        #: the 32 bits that viewers read.
        self._rows: dict[tuple[int, bool], int] = {}
        self._ids = itertools.count()
        #: Microseconds from the beginning of the first profile to that of the present one.
        self._offset = 0.0

    def events(self) -> Iterator[Event]:
        """All of them."""
        yield _metadata("process_name", _HOST, 0, name="host")
        yield _metadata("process_sort_index", _HOST, 0, sort_index=_HOST)
        for name, pid in self._processes.items():
            yield _metadata("process_name", pid, 0, name=name)
            yield _metadata("process_sort_index", pid, 0, sort_index=pid)
        for profile in self._profiles:
            self._offset = (profile.started - self._profiles[0].started) / 1e3
            yield from self._ranges(profile)
            if self._launches:
                yield from self._kernels(profile)
            yield from self._instants(profile)
            yield from self._thread_names(profile)

    def _thread_names(self, profile: "Profile") -> Iterator[Event]:
        names = profile.threads
        for (thread, is_beside), number in self._rows.items():
            if thread in names and not is_beside:
                yield _metadata("thread_name", _HOST, number, name=names[thread])
        for queue in profile.queues if self._launches else ():
            number = self._row(queue.thread, queue.is_beside)
            pid = self._processes[called(queue.device)]
            yield _metadata("thread_name", pid, number, name=queue.title(names))

    def _row(self, thread: int, is_beside: bool = False) -> int:
        return self._rows.setdefault((thread, is_beside), len(self._rows) + 1)

    def _time(self, nanoseconds: int) -> float:
        return self._offset + nanoseconds / 1e3

    def _slice(
        self, name: str, category: str, pid: int, row: int, started: int, ended: int, **args: object
    ) -> Event:
        event: Event = {"name": name, "cat": category, "ph": "X", "pid": pid, "tid": row}
        event |= {"ts": self._time(started), "dur": (ended - started) / 1e3}
        return event | ({"args": args} if args else {})

    def _ranges(self, profile: "Profile") -> Iterator[Event]:
        for r in profile.ranges:
            if r.depth >= 0:
                yield self._slice(r.name, r.category, _HOST, self._row(r.thread), r.started, r.ended)
                continue
            task = {"name": r.name, "cat": r.category, "id": next(self._ids), "pid": _HOST}
            task["tid"] = self._row(r.thread)
            yield {**task, "ph": "b", "ts": self._time(r.started)}
            yield {**task, "ph": "e", "ts": self._time(r.ended)}

    def _kernels(self, profile: "Profile") -> Iterator[Event]:
        for launch in profile.launches:
            pid, thread = self._processes[launch.device], self._row(launch.thread)
            row = self._row(launch.thread, launch.is_beside)
            about: dict[str, Any] = {
                "op": launch.op,
                "shapes": launch.shapes,
                "ranges": launch.ranges,
                "scope": launch.scope,
                "bytes": launch.nbytes,
                "flops": launch.flops,
                "queued_us": self._time(launch.queued),
                "submitted_us": self._time(launch.submitted),
            }
            times = (launch.started, launch.ended)
            yield self._slice(launch.kernel, "kernel", pid, row, *times, **about)
            yield self._slice(launch.op, "launch", _HOST, thread, launch.begun, launch.enqueued)
            # An arrow from the call to what it launched.
            arrow = {"name": "launch", "cat": "launch", "id": next(self._ids)}
            yield {**arrow, "ph": "s", "pid": _HOST, "tid": thread, "ts": self._time(launch.begun)}
            ends = {"bp": "e", "pid": pid, "tid": row, "ts": self._time(launch.started)}
            yield {**arrow, "ph": "f", **ends}
            if self._memory and not launch.is_beside:
                counter = {"name": f"memory in use, {row}", "ph": "C", "pid": pid, "tid": row}
                yield {**counter, "ts": self._time(launch.enqueued), "args": {"bytes": launch.memory}}

    def _instants(self, profile: "Profile") -> Iterator[Event]:
        for i in profile.instants:
            event: Event = {"name": i.name, "pid": _HOST, "tid": self._row(i.thread)}
            event["ts"] = self._time(i.at)
            if i.value is None:
                yield {**event, "ph": "i", "s": i.category}
            else:
                yield {**event, "cat": i.category, "ph": "C", "args": {"value": i.value}}


def _metadata(what: str, pid: int, tid: int, **args: object) -> Event:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": args}
