"""Where the time goes: on the device, launch by launch, and on the host beside it.

``with clgrad.profiler.profile() as p:`` watches everything that clgrad enqueues; ``print(p)`` shows a
table, ``p.save_html`` and ``p.save_chrome_trace`` write reports. ``clgrad.profiler.scope`` names parts of a
program. The other names are MXNet's.

=============  =====================================================================================
module         holds
=============  =====================================================================================
``session``    the profile: from when it is switched on until it is switched off
``streams``    what queues are given meanwhile: events, read in rounds, and what they add up to
``host``       what the host did: ranges, nested, in each thread
``clock``      the device's clock in terms of the host's
``launches``   what is kept of launches
``summary``    the table
``page``       the report as one HTML file
``roofline``   its plot of work over bytes
``chrome``     the trace for viewers
``aggregate``  sums in the form of MXNet's ``dumps``
``control``    MXNet's functions: configured, switched on and off
``marks``      MXNet's objects: tasks, frames, events, counters, markers
=============  =====================================================================================
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
