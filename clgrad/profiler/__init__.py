"""Where the time goes: on the device, launch by launch, and on the host beside it.

``with clgrad.profiler.profile() as p:`` watches everything that clgrad enqueues; ``print(p)`` shows a
table, ``p.save_html`` and ``p.save_chrome_trace`` write reports. ``clgrad.profiler.scope`` names parts of a
program. The other names are MXNet's.
"""

from clgrad.profiler.control import (
    dump,
    dump_profile,
    dumps,
    pause,
    profiler_set_config,
    profiler_set_state,
    resume,
    set_config,
    set_kvstore_handle,
    set_state,
)
from clgrad.profiler.marks import Counter, Domain, Event, Frame, Marker, Task
from clgrad.profiler.session import Profile
from clgrad.ranges import Range

profile = Profile
scope = Range

__all__ = [
    "Counter",
    "Domain",
    "Event",
    "Frame",
    "Marker",
    "Profile",
    "Task",
    "dump",
    "dump_profile",
    "dumps",
    "pause",
    "profile",
    "profiler_set_config",
    "profiler_set_state",
    "resume",
    "scope",
    "set_config",
    "set_kvstore_handle",
    "set_state",
]
