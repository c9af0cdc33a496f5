"""The files that hold MXNet's answers."""

import functools
import importlib
import zlib
from pathlib import Path

import numpy as np

from golden.case import Case, arrays_of

FOLDER = Path(__file__).parent


def families() -> list[str]:
    """Names of the modules of cases."""
    return sorted(p.stem for p in (FOLDER / "cases").glob("[a-z]*.py"))


def cases_of(family: str) -> list[Case]:
    """The cases of a family."""
    return importlib.import_module(f"golden.cases.{family}").CASES


def environment_of(family: str) -> dict[str, str]:
    """Environment variables that MXNet needs to answer a family: its module's ENVIRONMENT, if any."""
    return getattr(importlib.import_module(f"golden.cases.{family}"), "ENVIRONMENT", {})


def key(case: Case, dtype: str, what: str) -> str:
    """Name of an array in the file."""
    return f"{case.name}@{dtype}/{what}"


def fingerprint(case: Case, dtype: str) -> np.ndarray:
    """A checksum of a case's arguments: an answer belongs to the question it was given to."""
    args, attributes = case.draw(dtype)
    plain = [repr(v) for v in (*args, *attributes.items()) if not _holds_array(v)]
    text = "\0".join([case.op, str(case.train), str(case.orders > 0), *plain]).encode()
    for array in arrays_of(args, attributes, np.ndarray):
        text += f"{array.dtype}{array.shape}".encode() + array.tobytes()
    return np.array(zlib.crc32(text), dtype=np.uint32)


def _holds_array(value) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_array(v) for v in value)
    return isinstance(value, np.ndarray)


@functools.cache
def _file(family: str):
    return np.load(FOLDER / f"{family}.npz")


@functools.cache
def _index(family: str) -> dict[str, list[str]]:
    """Names of what is kept of each case and dtype."""
    found: dict[str, list[str]] = {}
    for name in _file(family).files:
        stem, _, what = name.rpartition("/")
        found.setdefault(stem, []).append(what)
    return found


def recorded(family: str, case: Case, dtype: str) -> dict[str, np.ndarray]:
    """MXNet's answer to a case, as :func:`golden.ask.ask` gives it, and ``inputs``, the fingerprint.

    Empty where the case was never recorded.
    """
    stem = key(case, dtype, "").rstrip("/")
    return {what: _file(family)[f"{stem}/{what}"] for what in _index(family).get(stem, [])}


def names(family: str) -> set[str]:
    """The cases and dtypes that the file has an answer to."""
    return set(_index(family))
