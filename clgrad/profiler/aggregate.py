"""Sums over profiles in the form of MXNet's ``profiler.dumps``: entries in categories, as text or JSON."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clgrad.profiler.launches import called
from clgrad.profiler.session import Profile

#: What entries may be sorted by.
SORTS = {
    "total": lambda entry: entry.total,
    "avg": lambda entry: entry.average,
    "min": lambda entry: entry.least,
    "max": lambda entry: entry.most,
    "count": lambda entry: entry.count,
}

_NAME = 44


@dataclass
class Entry:
    """A count, and the sum, the least and the greatest of what was counted."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, count: int, total: float, least: float, most: float) -> None:
        """Count some more."""
        self.count += count
        self.total += total
        self.least, self.most = min(self.least, least), max(self.most, most)

    @property
    def average(self) -> float:
        """The mean."""
        return self.total / self.count


Category = dict[str, Entry]


class Sums(NamedTuple):
    """By category and name: times in milliseconds, memory in kilobytes, and values of counters."""

    times: dict[str, Category]
    memory: dict[str, Category]
    counters: dict[str, Category]


def sums(profiles: Iterable[Profile], launches: bool, memory: bool) -> Sums:
    """What ``dumps`` shows; with or without launches, and the memory that was in use at these."""
    result = Sums({}, {}, {})

    def entry(kind: dict[str, Category], category: str, name: str) -> Entry:
        return kind.setdefault(category, {}).setdefault(name, Entry())

    for profile in profiles:
        for kind in profile.kinds if launches else ():
            times = (kind.total / 1e6, kind.least / 1e6, kind.most / 1e6)
            entry(result.times, "operator", kind.work.op).add(kind.count, *times)
        for r in profile.ranges:
            spent = r.duration / 1e6
            entry(result.times, r.category, r.name).add(1, spent, spent, spent)
        for i in profile.instants:
            if i.value is not None:
                entry(result.counters, i.category, i.name).add(1, i.value, i.value, i.value)
        for queue in profile.queues if memory else ():
            for row in queue.rows if not queue.is_beside else ():
                used = row.memory / 1e3
                name = f"Memory: {called(queue.device)}"
                entry(result.memory, "Device Storage", name).add(1, used, used, used)
    return result


def as_table(found: Sums, sort_by: str, ascending: bool) -> str:
    """Categories one below the other."""
    lines = ["", "Profile Statistics:", "\tNote the difference in units for different entries."]
    parts = (
        (found.memory, ("Min Use  (kB)", "Max Use  (kB)", "Avg Use  (kB)"), False),
        (found.times, ("Time (ms)", "Min Time (ms)", "Max Time (ms)", "Avg Time (ms)"), True),
        (found.counters, ("Min Value", "Max Value", "Avg Value"), False),
    )
    for categories, heads, with_total in parts:
        for category, entries in categories.items():
            lines += [category, "=" * 17, *_rows(entries, heads, with_total, sort_by, ascending), ""]
    return "\n".join(lines) + "\n"


def _rows(
    entries: Category, heads: Sequence[str], with_total: bool, sort_by: str, ascending: bool
) -> Iterator[str]:
    columns = ("Total Count", *heads)
    yield "".join([f"{'Name':{_NAME}}", *[f"{head:>17}" for head in columns]])
    yield "".join([f"{'----':{_NAME}}", *[f"{'-' * len(head):>17}" for head in columns]])
    ordered = sorted(entries.items(), key=lambda item: item[0])
    for name, e in sorted(ordered, key=lambda item: SORTS[sort_by](item[1]), reverse=not ascending):
        numbers = (*([e.total] if with_total else []), e.least, e.most, e.average)
        yield "".join([f"{name:{_NAME}}", f"{e.count:>17}", *[f"{number:>17.4f}" for number in numbers]])


def as_json(found: Sums) -> str:
    """The same as JSON, in MXNet's structure; counters, which MXNet has among the times, by themselves."""

    def plain(categories: dict[str, Category], with_total: bool) -> dict:
        return {
            category: {
                name: {
                    "Count": e.count,
                    **({"Total": e.total} if with_total else {}),
                    "Min": e.least,
                    "Max": e.most,
                    "Avg": e.average,
                }
                for name, e in entries.items()
            }
            for category, entries in categories.items()
        }

    document = {
        "Time": plain(found.times, True),
        "Memory": plain(found.memory, False),
        "Counter": plain(found.counters, False),
        "Unit": {"Time": "ms", "Memory": "kB"},
    }
    return json.dumps(document, indent=4)
