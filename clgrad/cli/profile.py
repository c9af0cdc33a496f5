"""``clgrad profile``: run a program under the profiler."""

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clgrad.errors import MXNetError
from clgrad.profiler import Profile


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    #: The program: a file of Python, or the name of a module.
    program: str
    is_module: bool = False
    #: What it finds in ``sys.argv`` behind its name.
    arguments: Sequence[str] = ()
    #: Files to write: ``.html`` for a report, ``.json`` for a Chrome trace.
    output: tuple[Path, ...] = ()
    #: Of the table that is printed.
    group: str = "op"
    sort: str = "total"
    limit: int = 40


def profile(options: Options) -> int:
    """Run the program as Python would, then print the table and write the files; the program's exit status.

    What was seen is reported even if the program ends with an error.

    Raises
    ------
    MXNetError
        There is no such program, or no report of a file's kind.
    """
    for path in options.output:
        if path.suffix not in (".html", ".json"):
            raise MXNetError(f"--output {path}: accepted are names that end in .html or .json")
    if not options.is_module and not Path(options.program).is_file():
        raise MXNetError(f"there is no file {options.program}; accepted: a Python program, or -m MODULE")
    seen = Profile()
    status = 0
    try:
        with seen:
            _run(options)
    except SystemExit as exit_:
        status = _status(exit_.code)
    except Exception:
        traceback.print_exc()
        status = 1
    finally:
        _report(seen, options)
    return status


def _run(options: Options) -> None:
    sys.argv = [options.program, *options.arguments]
    if options.is_module:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(options.program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(options.program).resolve().parent))
        runpy.run_path(options.program, run_name="__main__")


def _status(code: object) -> int:
    """The exit status that Python makes of the argument of ``sys.exit``."""
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _report(seen: Profile, options: Options) -> None:
    print(f"\n{seen.table(options.group, options.sort, options.limit)}")
    for path in options.output:
        if path.suffix == ".html":
            seen.save_html(path, title=f"clgrad profile of {options.program}")
        else:
            seen.save_chrome_trace(path)
        print(path)
