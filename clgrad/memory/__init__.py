"""Device memory: streams with their pools, storages, and views that lay a shape over a storage.

=============  =========================================================================
module         holds
=============  =========================================================================
``protocols``  what is told of a stream's work: launches that wait, profiles, captures
``layout``     shape and dtype
``storage``    blocks of memory, and how often each was written to
``view``       shape, dtype and offset in a block
``stream``     queues with their pools, one for each thread and device
``copies``     new arrays, and copies between them and the host
=============  =========================================================================
"""

from clgrad.memory.copies import copy, download, empty, upload
from clgrad.memory.layout import Layout
from clgrad.memory.protocols import LaneObserver, Observer, Reader, Recorder, Waiting
from clgrad.memory.storage import Storage, Twin, begin_writes, held_by_label, last_serial
from clgrad.memory.stream import (
    BULK_SIZE,
    LAUNCHES_IN_FLIGHT,
    Stream,
    all_streams,
    current_stream,
    flush,
    observe,
    set_bulk_size,
    set_recorder,
)
from clgrad.memory.view import View, not_written

__all__ = [
    "BULK_SIZE",
    "LAUNCHES_IN_FLIGHT",
    "LaneObserver",
    "Layout",
    "Observer",
    "Reader",
    "Recorder",
    "Storage",
    "Stream",
    "Twin",
    "View",
    "Waiting",
    "all_streams",
    "begin_writes",
    "copy",
    "current_stream",
    "download",
    "empty",
    "flush",
    "held_by_label",
    "last_serial",
    "not_written",
    "observe",
    "set_bulk_size",
    "set_recorder",
    "upload",
]
