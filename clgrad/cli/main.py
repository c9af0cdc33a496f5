"""Reading the command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clgrad.cli.bench.command import Options as BenchOptions
from clgrad.cli.bench.command import bench
from clgrad.cli.devices import show_devices
from clgrad.cli.doctor import examine, versions
from clgrad.cli.profile import Options as ProfileOptions
from clgrad.cli.profile import profile
from clgrad.cli.tune.command import KINDS, tune
from clgrad.cli.tune.command import Options as TuneOptions
from clgrad.errors import MXNetError
from clgrad.profiler.summary import GROUPS, SORTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``clgrad`` command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; those of the process by default.

    Returns
    -------
    int
        The exit status.

    Example
    -------
    >>> from clgrad.cli.main import main
    >>> main(["devices"])  # doctest: +SKIP
    0
    """
    parser = argparse.ArgumentParser(
        prog="clgrad", description="Automatic differentiation on any OpenCL device."
    )
    parser.add_argument(
        "--version", action="version", version=versions(), help="clgrad's, and those of what it stands on"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    devices = commands.add_parser("devices", help="list the devices and say which is the default")
    devices.set_defaults(run=lambda given: show_devices())
    doctor = commands.add_parser(
        "doctor", help="examine drivers and devices; the exit status is 0 if a device can be used"
    )
    doctor.set_defaults(run=lambda given: examine())
    _add_tune(commands)
    _add_bench(commands)
    _add_profile(commands)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
    except MXNetError as error:
        print(f"clgrad: {error}", file=sys.stderr)
        return 1
    return status


def _add_tune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "tune",
        help="search for the fastest kernel parameters of a device, and keep them for later runs",
        description="Each candidate runs in a child process and must compute what numpy does. Ctrl-C keeps "
        "what was found so far.",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="as in CLGRAD_DEVICE; the default device otherwise"
    )
    parser.add_argument("--family", action="append", choices=KINDS, help="may be repeated; otherwise all")
    parser.add_argument(
        "--seconds", type=_duration, default=TuneOptions.seconds, help="of search in all (%(default)g)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write, if not to the user's file"
    )
    parser.add_argument("--show", action="store_true", help="only show the parameters in force")
    names = ("device", "family", "seconds", "output", "show")
    parser.set_defaults(
        run=lambda given: tune(TuneOptions(**{name: getattr(given, name) for name in names}))
    )


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "bench",
        help="measure ops on a device beside its own limits: what a copy moves, what multiply-adds reach",
        description="Everything is measured alternately with the limits. Quit other programs first.",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="as in CLGRAD_DEVICE; the default device otherwise"
    )
    parser.add_argument(
        "--rounds", type=_positive, default=BenchOptions.rounds, help="measurements of each (%(default)d)"
    )
    parser.add_argument(
        "--elements", type=_positive, default=BenchOptions.elements,
        help="of large arrays; less, on a device with little memory (%(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, action="append", default=[], metavar="FILE",
        help="a .json file, or an .html page with a roofline plot; may be repeated",
    )  # fmt: skip
    parser.set_defaults(
        run=lambda given: bench(
            BenchOptions(given.device, given.rounds, given.elements, tuple(given.output))
        )
    )


def _add_profile(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "profile",
        help="run a program and say where its time goes: a table, a page with a timeline, a Chrome trace",
        usage="%(prog)s [options] program.py [argument ...], or -m module [argument ...]",
    )
    parser.add_argument(
        "--output", type=Path, action="append", default=[], metavar="FILE",
        help="an .html report, or a .json trace for https://ui.perfetto.dev; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--group", choices=tuple(GROUPS), default=ProfileOptions.group,
        help="what has a row of the table (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sort",
        choices=(*SORTS, "name"),
        default=ProfileOptions.sort,
        help="by which column (%(default)s)",
    )
    parser.add_argument(
        "--limit", type=_positive, default=ProfileOptions.limit, help="rows of the table (%(default)d)"
    )
    parser.add_argument("-m", dest="is_module", action="store_true", help="the program is a module")
    parser.add_argument("program", help="what to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for the program")
    names = ("program", "is_module", "arguments", "group", "sort", "limit")
    parser.set_defaults(
        run=lambda given: profile(
            ProfileOptions(output=tuple(given.output), **{name: getattr(given, name) for name in names})
        )
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def _duration(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e9:  # NaN is no number of seconds either
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
