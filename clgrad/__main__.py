"""``python -m clgrad``: the same as the ``clgrad`` command."""

import sys

from clgrad.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
