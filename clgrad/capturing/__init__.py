"""Functions whose work on the device is recorded once and replayed: :func:`capture`.

==================  ==================================================================
module              holds
==================  ==================================================================
``trees``           arguments taken apart: arrays, numbers and the rest
``contents``        what lists, dictionaries and numpy arrays hold, and whether they still do
``reads``           what a function reads besides its arguments
``tracing``         running a function while its work is recorded
``recording``       recordings that are replayed
``gradients``       what calls do while recording, and the graphs of their gradients
``differentiated``  recordings of such calls: one node of the tape for each
``variants``        when a recording is replayed, and when it is made anew
``captured``        the captured function
==================  ==================================================================
"""

from clgrad.capturing.captured import Captured, capture

__all__ = ["Captured", "capture"]
