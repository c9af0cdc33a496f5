"""When a recording is replayed, and when the function runs and is recorded anew."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from clgrad import deferred, host_random, nested
from clgrad.capturing import reads
from clgrad.capturing.differentiated import Differentiated, Given
from clgrad.capturing.reads import Guard
from clgrad.capturing.recording import Plain, Recording
from clgrad.capturing.tracing import Call, Trace
from clgrad.errors import CaptureError
from clgrad.graph.replay import LostError
from clgrad.memory import Stream

_log = logging.getLogger(__name__)

#: Calls of one kind that may each do something else, until an error says where they differ. The first calls
#: of a program make what later ones find: states of an optimizer, parameters of unknown shape.
TRIES = 4

#: Recordings kept of calls of one kind that differ in conditions, or in what the function reads.
RECORDINGS = 4


#: Guards from which on the user had better know of them: 1,000 take 0.1 to 0.7 ms.
MANY = 1_000

_DRAWS = "it draws random numbers on the host (of random, numpy.random)"


class Variant:
    """Calls of one kind: of certain shapes, dtypes and modes."""

    def __init__(
        self,
        function: Callable,
        reads_of: Callable[[], Sequence[Callable]],
        stream: Stream,
        kind: type[Plain] | type[Differentiated],
        fuse: bool,
    ):
        """``reads_of`` gives the functions whose code says what is read besides arguments."""
        self._function, self._reads_of = function, reads_of
        self._stream, self._kind, self._fuse = stream, kind, fuse
        self.recordings: list[Plain | Differentiated] = []
        #: What calls have done that no other has done as well, the latest last.
        self._traces: list[Trace] = []
        self._in_vain = 0
        #: Whether the function branches on values, so that there is nothing to replay.
        self._branches = False
        #: Of calls while recording: for which results backward wants gradients.
        self._asked: list[Given] = []

    def __call__(self, call: Call) -> Any:
        """Replay a recording that fits; else run the function."""
        if self._stream.recorder is not None:
            self._stream.recorder.refuse_read()  # a function on the host, of one that is being captured
        if self._branches:
            return self._function(*call.args, **call.kwargs)
        for recording in self.recordings:
            if recording.is_lost:
                self.recordings = [r for r in self.recordings if not r.is_lost]
            elif recording.fits(call):
                return self._replay(recording, call)
        return self._run(call)

    def _replay(self, recording: Recording, call: Call) -> Any:
        """Do what the host must do; then replay, unless what it said asks for something else."""
        numbers = recording.numbers
        returned = numbers.call_host(call.numbers)
        values = numbers.values(call.numbers, returned)
        if values is not None:
            try:
                return recording.run(call, values, returned)
            except LostError:  # since somebody looked
                return self._run(call, returned)
        for other in self.recordings:
            theirs = other.numbers
            if other is not recording and theirs.calls_as(numbers) and other.fits(call):
                values = theirs.values(call.numbers, returned)
                if values is not None:
                    return other.run(call, values, returned)
        return self._run(call, returned)

    def _run(self, call: Call, returned: Sequence = ()) -> Any:
        """Run the function; record what it does if an earlier call has done the same."""
        # The first call finds what the second one is to be held against.
        before = self._guards(call, ()) if self._traces else {}
        places = host_random.places()
        result, traced = self._kind.trace(self._function, call, self._stream, returned, self._asked)
        draws = host_random.places() != places and not any(map(deferred.is_users, traced.host_functions))
        if draws and call.may_branch and self._traces:
            _log.warning("%r is not captured, since %s", self._function, _DRAWS)
            traced.branches = True
        if traced.branches:
            self._branches, self._traces = True, []
            return result
        problems = [_DRAWS if draws else other.difference(traced) for other in self._traces]
        if None in problems and not traced.kept:
            self._traces.pop(problems.index(None))
            self._in_vain = 0
            self._record(call, traced, before)
            return result
        self._in_vain += 1
        if self._in_vain > TRIES:
            self._refuse(traced, problems)
        self._traces = [*self._traces[1 - TRIES :], traced]
        return result

    def _guards(self, call: Call, but: Sequence[Callable]) -> dict[tuple, Guard]:
        return reads.guards_of(self._reads_of(), nested.leaves((call.args, call.kwargs)), but)

    def _record(self, call: Call, traced: Trace, before: dict[tuple, Guard]) -> None:
        found = self._guards(call, traced.host_functions)
        # What the function itself changes at each call (a log, a count) is no reason to call it again.
        guards = [g for key, g in found.items() if key not in before or before[key].holds()]
        if len(guards) > MANY:
            _log.warning(
                "%r names what holds %d values (%s among them), which are compared at each call",
                *(self._function, len(guards), guards[-1].what),
            )
        if len(self.recordings) == RECORDINGS:
            changed = self.recordings[-1].changed or "a condition"
            _log.warning("%r is recorded ever anew, since %s changes", self._function, changed)
        make: Callable = self._kind
        recording = make(self._function, self._stream, call, traced, guards, self._fuse, self._asked)
        self.recordings = [recording, *self.recordings[: RECORDINGS - 1]]

    def _refuse(self, traced: Trace, problems: Sequence[str | None]) -> None:
        self._in_vain = 0
        if traced.kept:
            raise CaptureError(
                f"{traced.kept[0]}: a captured function keeps an array that it made there (in a list, an "
                "attribute, a global); a replay makes no objects: return the array, or write into one "
                "that was there before (x[:] = ...)"
            )
        raise CaptureError(
            "a captured function does something else at each call, although its arguments are the same; "
            f"{problems[-1]}. Accepted: what changes is an argument, or is handed to clgrad.host"
        )
