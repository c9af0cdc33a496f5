"""``clgrad tune``: find fast parameters for a device, and write them to the user's file."""

import datetime
import functools
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import clgrad
from clgrad import config
from clgrad.cli.child import Outcome, in_child
from clgrad.cli.tune.search import Search
from clgrad.cli.tune.workloads import kind_of
from clgrad.device import Context, Device, current_context, device
from clgrad.errors import DeviceError
from clgrad.kernels import database, tuning
from clgrad.kernels.database import Entry
from clgrad.kernels.parameters import FAMILIES, Tunables

#: What ``--family`` may name.
KINDS = tuple(dict.fromkeys(map(kind_of, FAMILIES)))

#: A candidate that takes longer hangs.
_TIMEOUT = 60.0
#: How long each workload is timed: at first, and again where a candidate seems to be the best.
_SECONDS, _CAREFUL_SECONDS = 0.15, 0.6


@dataclass(frozen=True)
class Options:
    """What the user asks of ``clgrad tune``; see :mod:`clgrad.cli.main`."""

    device: str | None = None
    family: list[str] | None = None
    seconds: float = 300.0
    output: Path | None = None
    show: bool = False


def tune(options: Options) -> int:
    """Run ``clgrad tune``.

    Parameters
    ----------
    options : Options

    Returns
    -------
    int
        The exit status: 0, or 130 if Ctrl-C ended it (what had been found then is written).

    Raises
    ------
    DeviceError
        There is no such device, it has none of the families, or there is no file to write to.
    """
    context = device(options.device) if options.device else current_context()
    found = context.device
    families = [f for f in _families_of(found) if kind_of(f) in (options.family or KINDS)]
    if not families:
        raise DeviceError(
            f"{found.name} has no kernels of {', '.join(options.family or KINDS)} to be tuned"
        )
    print(f"{context}: {found.name}, {found.platform_name}, driver {found.driver_version}")
    if options.show:
        return _show(context, families)
    file = options.output or config.tuning_file()
    if file is None:
        raise DeviceError("CLGRAD_TUNING is 'off'; unset it, or name a file with --output")
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="clgrad-tune-") as folder:
        for number, family in enumerate(families):
            share = (end - time.monotonic()) / (len(families) - number)
            if not _tune_family(context, family, share, file, folder):
                return 130
    return 0


def _families_of(found: Device) -> list[str]:
    """The families that the device has kernels of."""
    families = [f for f in FAMILIES if f.endswith(f"_{found.kind}")]
    return [f for f in families if kind_of(f) != "tensor" or found.capabilities.tensor_cores]


def _show(context: Context, families: list[str]) -> int:
    """Print the parameters in force, and where they come from."""
    print(f"architecture: {tuning.architecture(context.device)}")
    for family in families:
        choice = tuning.choose(context.device, FAMILIES[family])
        print(f"\n{family}: {choice.source}")
        for name, value in choice.parameters.as_dict().items():
            print(f"  {name:16} {value}")
    return 0


def _tune_family(context: Context, family: str, seconds: float, file: Path, folder: str) -> bool:
    """Search, report and write; returns whether it was left to end."""
    choice = tuning.choose(context.device, FAMILIES[family])
    measure = functools.partial(_measure, str(context), family, choice.parameters, folder)
    progress = _Progress(family, seconds)
    search = Search(choice.parameters, context.device.capabilities, measure, progress)
    ended = True
    try:
        search.run(seconds)
    except KeyboardInterrupt:
        ended = False
    progress.close()
    print(f"\n{family}, compared with the parameters in force ({choice.source})")
    _describe(search)
    if search.worth_an_entry:
        _write(context, family, search, choice.source, file)
    else:
        print("  nothing is clearly faster; nothing is written")
    return ended


def _measure(
    context: str, family: str, baseline: Tunables, folder: str, candidate: Tunables, careful: bool
) -> Outcome:
    """Measure a candidate in a child process, whose kernels go to a cache of their own."""
    return in_child(
        "measure",
        context,
        family,
        json.dumps(candidate.as_dict()),
        json.dumps(baseline.as_dict()),
        str(_CAREFUL_SECONDS if careful else _SECONDS),
        timeout=_TIMEOUT,
        module="clgrad.cli.tune.trial",
        environment={"CLGRAD_CACHE_DIR": folder},
    )


def _describe(search: Search) -> None:
    print(f"  {search.measured} candidates ran, {len(search.failures)} failed")
    for parameters, error in search.failures:
        print(f"    {_changes(search.start, parameters)}: {error.splitlines()[0][:200]}")
    if search.best == search.start:
        return
    print(f"  best: {_changes(search.start, search.best)}")
    print(f"  {search.gain:.2f} times as fast:")
    for workload, speed in search.speeds.items():
        print(f"    {speed:5.2f}  {workload}")


def _changes(start: Tunables, other: Tunables) -> str:
    changed = other.as_dict().items() - start.as_dict().items()
    return ", ".join(f"{name} {value}" for name, value in sorted(changed))


def _write(context: Context, family: str, search: Search, before: str, file: Path) -> None:
    known = tuning.identity(context.device)
    exact = {key: known[key] for key in ("architecture", "platform", "device", "driver")}
    measured = {
        "date": datetime.date.today().isoformat(),
        "clgrad": clgrad.__version__,
        "compared with": before,
        "times as fast": {workload: round(speed, 2) for workload, speed in search.speeds.items()},
    }
    try:
        database.add(file, Entry("", exact, {family: search.best.as_dict()}, {family: measured}))
    except OSError as error:
        raise DeviceError(f"{file} cannot be written: {error}") from error
    print(f"  written to {file}")


class _Progress:
    """A line on stderr: redrawn on a terminal, else one for each candidate."""

    def __init__(self, family: str, seconds: float) -> None:
        self._family = family
        self._seconds = seconds
        self._start = time.monotonic()
        self._redrawn = sys.stderr.isatty()

    def __call__(self, search: Search) -> None:
        """Show how far the search is."""
        elapsed = time.monotonic() - self._start
        # A later round is shorter than it looks: most of its candidates have been tried.
        done = max(search.done / search.planned, min(elapsed / max(self._seconds, 1e-9), 1.0))
        bar = ("#" * round(20 * done)).ljust(20, ".")
        line = (
            f"{self._family} [{bar}] {search.measured + len(search.failures)} candidates, "
            f"best {search.gain:.2f}x, {elapsed:.0f} of {self._seconds:.0f} s"
        )
        end = "" if self._redrawn else "\n"
        print(f"\r{line}" if self._redrawn else line, end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self._redrawn:
            print(file=sys.stderr)
