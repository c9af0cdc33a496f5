"""Chrome's trace events of a profile, in JSON.

The format is described in "Trace Event Format" (the Chromium project, catapult): a list of events, each
with a phase ``ph``, a process and a thread, and times in microseconds. Here, one process is the host, with
a row for each of its threads; every device is another, with a row for each of its queues.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clgrad.profiler.session import Profile

#: Identifier of the host among the processes; devices follow.
_HOST = 1

Event = dict[str, Any]


def trace(profile: "Profile") -> str:
    """The document."""
    events = [*_names(profile), *_ranges(profile), *_launches(profile), *_instants(profile)]
    about = {
        "program": "clgrad",
        "devices": [f"{d.name} ({d.platform_name}, {d.driver_version})" for d in profile.devices],
        "left out": profile.left_out,
    }
    document = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _processes(profile: "Profile") -> dict[str, int]:
    return {device.name: number for number, device in enumerate(profile.devices, _HOST + 1)}


def _names(profile: "Profile") -> Iterator[Event]:
    """What viewers call the rows, and their order."""
    threads, small = profile.threads, _small(profile)
    processes = {_HOST: "host", **{pid: name for name, pid in _processes(profile).items()}}
    for pid, name in processes.items():
        yield _metadata("process_name", pid, 0, name=name)
        yield _metadata("process_sort_index", pid, 0, sort_index=pid)
    for thread, name in threads.items():
        yield _metadata("thread_name", _HOST, small[thread], name=name)
    for device, thread in profile.idleness:
        name = f"queue of {threads.get(thread, thread)}"
        yield _metadata("thread_name", _processes(profile)[device], small[thread], name=name)


def _small(profile: "Profile") -> dict[int, int]:
    """Numbers for the threads: their identifiers have more than the 32 bits that viewers read."""
    seen = [*profile.threads, *[thread for _, thread in profile.idleness]]
    seen += [r.thread for r in profile.ranges] + [i.thread for i in profile.instants]
    return {thread: number for number, thread in enumerate(dict.fromkeys(seen), 1)}


def _metadata(what: str, pid: int, tid: int, **args: object) -> Event:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": args}


def _ranges(profile: "Profile") -> Iterator[Event]:
    small = _small(profile)
    for r in profile.ranges:
        yield _complete(r.name, r.category, _HOST, small[r.thread], r.started, r.ended)


def _complete(
    name: str, category: str, pid: int, tid: int, started: int, ended: int, **args: object
) -> Event:
    event: Event = {"name": name, "cat": category, "ph": "X", "pid": pid, "tid": tid}
    event |= {"ts": started / 1e3, "dur": (ended - started) / 1e3}
    return event | ({"args": args} if args else {})


def _launches(profile: "Profile") -> Iterator[Event]:
    processes, small = _processes(profile), _small(profile)
    for number, launch in enumerate(profile.launches):
        pid, tid = processes[launch.device], small[launch.thread]
        yield _complete(
            launch.kernel,
            "kernel",
            pid,
            tid,
            launch.started,
            launch.ended,
            op=launch.op,
            shapes=launch.shapes,
            ranges=launch.ranges,
            scope=launch.scope,
            bytes=launch.nbytes,
            flops=launch.flops,
            queued_us=launch.queued / 1e3,
            submitted_us=launch.submitted / 1e3,
        )
        yield _complete(launch.op, "launch", _HOST, tid, launch.begun, launch.enqueued)
        # An arrow from the call to what it launched.
        arrow = {"name": "launch", "cat": "launch", "id": number}
        yield {**arrow, "ph": "s", "pid": _HOST, "tid": tid, "ts": launch.begun / 1e3}
        yield {**arrow, "ph": "f", "bp": "e", "pid": pid, "tid": tid, "ts": launch.started / 1e3}
        yield {
            "name": f"memory in use, {tid}",
            "ph": "C",
            "pid": pid,
            "tid": tid,
            "ts": launch.enqueued / 1e3,
            "args": {"bytes": launch.memory},
        }


def _instants(profile: "Profile") -> Iterator[Event]:
    small = _small(profile)
    for i in profile.instants:
        event: Event = {"name": i.name, "pid": _HOST, "tid": small[i.thread], "ts": i.at / 1e3}
        if i.value is None:
            scope = i.category if i.category in ("g", "p", "t") else "p"
            yield {**event, "ph": "i", "s": scope}
        else:
            yield {**event, "ph": "C", "args": {"value": i.value}}
