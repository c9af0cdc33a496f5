"""Reading the command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clgrad.cli.devices import show_devices
from clgrad.cli.doctor import examine
from clgrad.cli.tune.command import KINDS, Options, tune
from clgrad.errors import MXNetError


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    devices = commands.add_parser("devices", help="list the devices and say which is the default")
    devices.set_defaults(run=lambda given: show_devices())
    doctor = commands.add_parser(
        "doctor", help="examine drivers and devices; the exit status is 0 if a device can be used"
    )
    doctor.set_defaults(run=lambda given: examine())
    _add_tune(commands)
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
        "--seconds", type=_duration, default=Options.seconds, help="of search in all (%(default)g)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write, if not to the user's file"
    )
    parser.add_argument("--show", action="store_true", help="only show the parameters in force")
    names = ("device", "family", "seconds", "output", "show")
    parser.set_defaults(run=lambda given: tune(Options(**{name: getattr(given, name) for name in names})))


def _duration(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e9:  # NaN is no number of seconds either
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
