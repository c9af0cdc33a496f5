"""Functions whose work on the device is recorded once and replayed: :func:`capture`.

===========  ========================================================================
module       holds
===========  ========================================================================
``trees``    arguments and results taken apart into arrays, numbers and the rest
``reads``    what a function reads besides its arguments
``tracing``  running a function while its work is recorded
``captured`` the captured function: when a recording is replayed, and when made anew
===========  ========================================================================
"""

from clgrad.capturing.captured import Captured, capture

__all__ = ["Captured", "capture"]
