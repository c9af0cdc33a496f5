"""The report of a profile as one HTML file that needs nothing else: report.html, .css and .js, and data."""

import datetime
import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from clgrad.profiler import summary
from clgrad.profiler.launches import Queue, called
from clgrad.profiler.launches import Row as Times
from clgrad.profiler.roofline import Point, plot
from clgrad.profiler.summary import GROUPS, Row

if TYPE_CHECKING:
    from clgrad.profiler.session import Profile

#: Launches of each queue that are drawn: a browser is to stay quick.
_DRAWN = 50_000
#: Gaps in the list.
_GAPS = 12
#: Dots in the roofline plot.
_DOTS = 40


def page(profile: "Profile", title: str) -> str:
    """Lay out the report."""
    parts = {suffix: _text(f"report.{suffix}") for suffix in ("html", "css", "js")}
    return Template(parts["html"]).substitute(
        title=escape(title),
        about=escape(_about(profile)),
        tiles="".join(_tiles(profile)),
        left_out=escape(_left_out(profile)),
        limits=escape(_limits(profile)),
        roofline=_roofline(profile),
        # Nothing in a string may end the element that holds them.
        data=json.dumps(_data(profile), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        style=parts["css"],
        script=parts["js"],
    )


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _about(profile: "Profile") -> str:
    devices = ", ".join(f"{d.name}, {d.platform_name}, driver {d.driver_version}" for d in profile.devices)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(" ", "minutes")
    return f"{devices or 'no device'} · {now}"


def _tiles(profile: "Profile") -> Iterator[str]:
    """The numbers that are looked at first."""
    found = summary.rows(profile, "op")
    busy = sum(row.total for row in found)
    shares = list(profile.idleness.values())
    span = sum(i.total for i in shares)

    def share(part: int) -> str:
        return f"{part / span:.0%}" if span else "-"

    numbers = [
        (summary.duration(profile.duration), "profiled"),
        (f"{sum(row.count for row in found):,}", "launches"),
        (summary.duration(busy), "on the device"),
        (share(sum(i.busy for i in shares)), "device busy"),
        (share(sum(i.host for i in shares)), "device waits for the program"),
        (share(sum(i.latency for i in shares)), "starting launches"),
    ]
    for value, label in numbers:
        yield f'<div class="tile"><b>{escape(value)}</b><span>{label}</span></div>'


def _left_out(profile: "Profile") -> str:
    texts = []
    if profile.left_out:
        texts.append(f"The timeline had no room for {profile.left_out:,} launches and ranges.")
    hidden = sum(max(0, len(queue.rows) - _DRAWN) for queue in profile.queues)
    if hidden:
        texts.append(f"{hidden:,} later launches are not drawn; the trace has them.")
    return " ".join(texts)


def _limits(profile: "Profile") -> str:
    texts = [
        f"Limits of {called(device)}, measured: {peaks.bandwidth / 1e9:.1f} GB/s copied, "
        f"{peaks.rate / 1e9:.0f} GFLOP/s of float32 multiply-adds."
        for device, peaks in profile.peaks().items()
        if peaks is not None
    ]
    texts.append(
        "Of limit: the time that these alone allow, by the time taken; arrays that stay in a cache, and "
        "tensor cores, can be above 100 %. GFLOP/s count products, convolutions and attention."
    )
    return " ".join(texts)


def _roofline(profile: "Profile") -> str:
    """Kernels with known arithmetic, of the device that spent most time on them."""
    totals: dict = {}
    for kind in profile.kinds:
        if kind.work.flops and kind.total:
            totals[kind.device] = totals.get(kind.device, 0) + kind.total
    device = max(totals, key=lambda d: totals[d], default=None)
    peaks = None if device is None else profile.peaks()[device]
    if peaks is None:
        return '<p class="note">No products, convolutions or attention were launched.</p>'
    kinds = [k for k in profile.kinds if k.device is device and k.work.flops and k.total]
    points = []
    for kind in sorted(kinds, key=lambda k: -k.total)[:_DOTS]:
        mean, work = kind.total / kind.count / 1e9, kind.work
        share = peaks.seconds(work.nbytes, work.flops) / mean
        name = f"{work.kernel}: {work.shapes}"
        points.append(Point(name, "#d55e00", work.flops / max(work.nbytes, 1), work.flops / mean, share))
    return plot(points, peaks.bandwidth, peaks.rate)


def _data(profile: "Profile") -> dict[str, Any]:
    """What report.js reads."""
    queues = profile.queues
    return {
        "duration": profile.duration,
        "kinds": _kinds(profile),
        "queues": [_queue(profile, queue) for queue in queues],
        "threads": list(_threads(profile, queues)),
        "tasks": [[r.name, r.category, r.started, r.ended] for r in profile.ranges if r.depth < 0][:_DRAWN],
        "markers": [[i.name, i.at] for i in profile.instants if i.value is None][:_DRAWN],
        "counters": _counters(profile),
        "tables": {group: [_row(row) for row in summary.rows(profile, group)] for group in GROUPS},
        "gaps": _gaps(profile),
    }


def _gaps(profile: "Profile") -> list[list]:
    longest = profile.gaps[:_GAPS]
    texts = summary.gap_texts(profile, longest)
    return [[gap.started, gap.ended, text] for gap, text in zip(longest, texts, strict=True)]


def _kinds(profile: "Profile") -> list[dict[str, Any]]:
    peaks = profile.peaks()
    kinds = []
    for kind in profile.numbered:
        limits = peaks.get(kind.device)
        bound = None if limits is None else limits.seconds(kind.work.nbytes, kind.work.flops) * 1e9
        kinds.append({**vars(kind.work), "scope": kind.scope, "bound": bound})
    return kinds


def _queue(profile: "Profile", queue: Queue) -> dict[str, Any]:
    name = f"{called(queue.device)}, {queue.title(profile.threads)}"
    columns = dict(zip(Times._fields, zip(*queue.rows[:_DRAWN], strict=True), strict=True))
    return {"name": name, "beside": queue.is_beside, "columns": columns}


def _counters(profile: "Profile") -> list[dict[str, Any]]:
    courses: dict[str, list] = {}
    for i in profile.instants:
        if i.value is not None:
            courses.setdefault(f"{i.category}: {i.name}", []).append([i.at, i.value])
    return [{"name": name, "course": course[:_DRAWN]} for name, course in courses.items()]


def _threads(profile: "Profile", queues: list[Queue]) -> Iterator[dict[str, Any]]:
    ranges: dict[int, list] = {}
    for r in [r for r in profile.ranges if r.depth >= 0][:_DRAWN]:
        ranges.setdefault(r.thread, []).append([r.name, r.category, r.depth, r.started, r.ended])
    for thread in dict.fromkeys([*[queue.thread for queue in queues], *ranges]):
        yield {
            "name": profile.threads.get(thread, str(thread)),
            "ranges": ranges.get(thread, []),
            "queues": [number for number, queue in enumerate(queues) if queue.thread == thread],
        }


def _row(row: Row) -> list:
    bound = None if math.isnan(row.bound) else row.bound
    return [row.name, row.op, row.count, row.total, row.least, row.most, row.nbytes, row.flops, bound]
