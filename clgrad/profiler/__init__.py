"""Where the time goes: on the device, launch by launch, and on the host beside it.

``with clgrad.profiler.profile() as p:`` watches everything that clgrad enqueues; ``print(p)`` shows a
table, ``p.save_html`` and ``p.save_chrome_trace`` write reports. ``clgrad.profiler.scope`` names parts of a
program.
"""

from clgrad.profiler.session import Profile
from clgrad.ranges import Range

profile = Profile
scope = Range

__all__ = ["profile", "scope"]
