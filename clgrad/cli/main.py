"""Reading the command line."""

import argparse
import sys
from collections.abc import Sequence

from clgrad.cli.devices import show_devices
from clgrad.cli.doctor import examine
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
    devices.set_defaults(run=show_devices)
    doctor = commands.add_parser(
        "doctor", help="examine drivers and devices; the exit status is 0 if a device can be used"
    )
    doctor.set_defaults(run=examine)
    try:
        status: int = parser.parse_args(arguments).run()
    except MXNetError as error:
        print(f"clgrad: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
