"""The search for faster parameters: one change after the other, as long as it helps and there is time."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clgrad.cli.child import Outcome
from clgrad.device import Capabilities
from clgrad.kernels.parameters import Tunables

#: How much faster than the best so far a candidate must be to take its place.
_STEP = 1.02
#: How much faster than before the result must be to be worth an entry, and how slow no workload may become.
_WORTH, _WORST = 1.03, 0.9

Measure = Callable[[Tunables, bool], Outcome]
Report = Callable[["Search"], None]


@dataclass
class Search:
    """A search, and what it has found so far.

    Parameters
    ----------
    start : Tunables
        The parameters in force, which candidates are compared with.
    capabilities : Capabilities
        Of the device.
    measure : callable
        Gives for a candidate how many times as fast each workload is, or an error: from a child process.
        Its second argument asks for more care.
    report : callable
        Called with the search after each candidate.

    Attributes
    ----------
    best : Tunables
        The fastest that computed what it should.
    speeds : mapping of str to float
        Its speed in each workload, relative to the start.
    """

    start: Tunables
    capabilities: Capabilities
    measure: Measure
    report: Report = lambda search: None
    best: Tunables = field(init=False)
    speeds: Mapping[str, float] = field(init=False, default_factory=dict)
    #: Candidates that were measured, and why others were not.
    measured: int = field(init=False, default=0)
    failures: list[tuple[Tunables, str]] = field(init=False, default_factory=list)
    #: Candidates in this round, and how many of them are done.
    planned: int = field(init=False, default=0)
    done: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.best = self.start
        self._tried = {self.start}

    @property
    def gain(self) -> float:
        """How many times as fast the best is, as a geometric mean."""
        return _mean(self.speeds)

    @property
    def worth_an_entry(self) -> bool:
        """Whether the best is clearly better than what is in force, and nowhere much worse."""
        return self.best != self.start and self.gain >= _WORTH and min(self.speeds.values()) >= _WORST

    def run(self, seconds: float) -> None:
        """Search for some time. What was found stays, should Ctrl-C end it.

        Parameters
        ----------
        seconds : float
            When to stop; the candidate that is being measured then is finished.
        """
        end = time.monotonic() + seconds
        while self._round(end):
            pass

    def _round(self, end: float) -> bool:
        """Try each change once; returns whether there is reason and time for another round."""
        before, changes = self.best, self.best.tries()
        self.planned, self.done = len(changes), 0
        for change in changes:
            if time.monotonic() >= end:
                return False
            candidate = self.best.with_change(change, self.capabilities)
            self.done += 1
            if candidate is not None and candidate not in self._tried:
                self._try(candidate)
                self.report(self)
        return self.best != before

    def _try(self, candidate: Tunables) -> None:
        """Measure a candidate; one that seems to be the best again, since of many the luckiest seems so."""
        self._tried.add(candidate)
        for careful in (False, True):
            outcome = self.measure(candidate, careful)
            if outcome.error:
                self.failures.append((candidate, outcome.error))
                return
            if _mean(outcome.result) < _STEP * self.gain:
                break
        else:
            self.best, self.speeds = candidate, outcome.result
        self.measured += 1


def _mean(speeds: Mapping[str, float]) -> float:
    return math.exp(sum(map(math.log, speeds.values())) / len(speeds)) if speeds else 1.0
