"""The table of a profile: what took how long, and how near the device's limits it came."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clgrad.errors import argument_error
from clgrad.profiler.launches import Gap, Kind, called

if TYPE_CHECKING:
    from clgrad.profiler.session import Profile

#: What a row may stand for: its name, made of a kind of launch.
GROUPS: dict[str, Callable[[Kind], str]] = {
    "op": lambda kind: kind.work.op,
    "kernel": lambda kind: kind.work.kernel,
    "shapes": lambda kind: f"{kind.work.kernel}: {kind.work.shapes}",
    "scope": lambda kind: kind.scope or "(no scope)",
}

#: Gaps below a table.
_GAPS = 5
#: Characters of a name.
_NAME = 60


@dataclass
class Row:
    """Launches that a table shows together. Times are nanoseconds.

    Attributes
    ----------
    name : str
    op : str
        That of the first of them.
    count, total, least, most : int
        Launches, and their times on the device.
    nbytes, flops : int
        Of all of them.
    bound : float
        Nanoseconds that the device's limits alone allow; NaN where they are not known.
    """

    name: str
    op: str
    count: int = 0
    total: int = 0
    least: int = field(default=1 << 62)
    most: int = 0
    nbytes: int = 0
    flops: int = 0
    bound: float = 0.0

    @property
    def mean(self) -> float:
        """Nanoseconds of a launch."""
        return self.total / self.count

    @property
    def bandwidth(self) -> float:
        """Bytes in a second."""
        return self.nbytes / self.total * 1e9 if self.total else math.nan

    @property
    def rate(self) -> float:
        """Additions and multiplications of products in a second."""
        return self.flops / self.total * 1e9 if self.total else math.nan

    @property
    def limit(self) -> float:
        """The time that the device's limits allow, as a fraction of the time taken."""
        return self.bound / self.total if self.total else math.nan


#: What rows may be sorted by.
SORTS: dict[str, Callable[[Row], float]] = {
    "total": lambda row: row.total,
    "count": lambda row: row.count,
    "mean": lambda row: row.mean,
    "min": lambda row: row.least,
    "max": lambda row: row.most,
    "bandwidth": lambda row: row.bandwidth,
    "flops": lambda row: row.rate,
    "limit": lambda row: row.limit,
}


def rows(profile: "Profile", group: str, sort: str = "total", ascending: bool = False) -> list[Row]:
    """The launches of a profile in groups, in order."""
    if group not in GROUPS:
        raise argument_error("profile.table", "group", repr(group), ", ".join(map(repr, GROUPS)))
    if sort not in SORTS and sort != "name":
        raise argument_error("profile.table", "sort", repr(sort), ", ".join(map(repr, (*SORTS, "name"))))
    kinds = profile.kinds
    peaks = profile.peaks()
    several = len(peaks) > 1
    found: dict[str, Row] = {}
    for kind in kinds:
        name = GROUPS[group](kind)
        if several:
            name = f"{name} on {called(kind.device)}"
        row = found.setdefault(name, Row(name, kind.work.op))
        work, limits = kind.work, peaks[kind.device]
        row.count += kind.count
        row.total += kind.total
        row.least = min(row.least, kind.least)
        row.most = max(row.most, kind.most)
        row.nbytes += kind.count * work.nbytes
        row.flops += kind.count * work.flops
        seconds = math.nan if limits is None else limits.seconds(work.nbytes, work.flops)
        row.bound += kind.count * seconds * 1e9
    if sort == "name":
        return sorted(found.values(), key=lambda row: row.name)
    key = SORTS[sort]
    by_name = sorted(found.values(), key=lambda row: row.name)

    def value(row: Row) -> float:
        number = key(row)
        return -math.inf if math.isnan(number) else number

    return sorted(by_name, key=value, reverse=not ascending)


def table(profile: "Profile", group: str, sort: str, limit: int | None) -> str:
    """Lay out a profile for a terminal (see :meth:`clgrad.profiler.session.Profile.table`)."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        accepted = "a whole number of at least 1, or None"
        raise argument_error("profile.table", "limit", repr(limit), accepted)
    found = rows(profile, group, sort)
    lines = [_heading(profile, found), ""]
    shown = found[:limit]
    if shown:
        lines += _aligned(group, shown, sum(row.total for row in found))
    if len(shown) < len(found):
        lines.append(f"... and {len(found) - len(shown)} more")
    lines += ["", *_notes(profile)]
    return "\n".join(lines)


def _heading(profile: "Profile", found: Sequence[Row]) -> str:
    count = sum(row.count for row in found)
    devices = ", ".join(f"{d.name} ({d.platform_name})" for d in profile.devices) or "no device"
    return f"Profile of {duration(profile.duration)} on {devices}: {count:,} launches"


def _aligned(group: str, shown: Sequence[Row], total: int) -> list[str]:
    """Rows under headings: the name to the left, the rest to the right."""
    heads = [group, "calls", "total", "share", "mean", "min", "max", "GB/s", "GFLOP/s", "of limit"]
    cells = [
        [
            shortened(row.name),
            f"{row.count:,}",
            duration(row.total),
            f"{row.total / total:.1%}" if total else "",
            duration(row.mean),
            duration(row.least),
            duration(row.most),
            number(row.bandwidth / 1e9),
            number(row.rate / 1e9) if row.flops else "",
            "" if math.isnan(row.limit) else f"{row.limit:.0%}",
        ]
        for row in shown
    ]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    lines = [
        "  ".join(
            [line[0].ljust(widths[0]), *[c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]]
        )
        for line in [heads, *cells]
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _notes(profile: "Profile") -> list[str]:
    lines = []
    for device, peaks in profile.peaks().items():
        if peaks is not None:
            lines.append(
                f"Limits of {called(device)}, measured: {peaks.bandwidth / 1e9:.1f} GB/s copied, "
                f"{peaks.rate / 1e9:.0f} GFLOP/s of float32 multiply-adds"
            )
    for (name, thread), idleness in profile.idleness.items():
        thread_name = profile.threads.get(thread, str(thread))
        lines.append(
            f"Queue of {thread_name} on {name}, {duration(idleness.total)} from first to last: "
            f"{idleness.share(idleness.busy):.0%} busy, {idleness.share(idleness.host):.0%} waiting for "
            f"the program, {idleness.share(idleness.latency):.0%} starting launches"
        )
    lines += [f"Gap of {text}" for text in gap_texts(profile, profile.gaps[:_GAPS])]
    if profile.left_out:
        lines.append(
            f"The timeline had no room for {profile.left_out:,} launches and ranges (timeline=...)"
        )
    if profile.untimed:
        lines.append(f"{profile.untimed:,} launches have no times, and are not in the table")
    return lines


def gap_texts(profile: "Profile", gaps: Sequence[Gap]) -> list[str]:
    """Gaps in words."""
    builds = [r for r in profile.ranges if r.category == "build"]
    texts = []
    for gap in gaps:
        built = sum(max(0, min(r.ended, gap.ended) - max(r.started, gap.started)) for r in builds)
        why = "waiting for the program" if gap.host > gap.duration / 2 else "starting the launch"
        if built > gap.duration / 2:
            why = "waiting for kernels to be built"
        where = f" in {gap.after.scope}" if gap.after.scope else ""
        texts.append(
            f"{duration(gap.duration)}, {why}: after {shortened(gap.before.work.op)}, before "
            f"{shortened(gap.after.work.op)}{where}"
        )
    return texts


def shortened(name: str) -> str:
    """A name that fits a column."""
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."


def duration(nanoseconds: float) -> str:
    """A time, with three digits and its unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if nanoseconds >= size:
            return f"{number(nanoseconds / size)} {unit}"
    return f"{number(nanoseconds / 1e3)} us"


def number(value: float) -> str:
    """Three digits, and as many as there are before the point."""
    if math.isnan(value):
        return ""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
