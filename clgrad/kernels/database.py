"""Files of tuned parameters: reading them, whoever wrote them, and writing the user's own.

A file is JSON that people can read and edit:

    {
      "format": 1,
      "entries": [
        {
          "for": {"architecture": "x86_64, 512-bit vectors, Intel(R) OpenCL"},
          "parameters": {"matmul_cpu": {"depth": 384}},
          "measured": {"matmul_cpu": "what was measured, when, on what: for readers alone"}
        }
      ]
    }

``for`` says which devices are meant, by what ``tuning.identity`` knows of a device; ``parameters`` holds
values by family (``parameters.py``). What is wrong in a file gives a warning and is left out.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clgrad import files

FORMAT = 1
#: What ``for`` may name, from the least to the most particular.
KEYS = ("class", "vendor", "architecture", "platform", "device", "driver")
#: Larger files are no databases.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """Parameters for some devices, as a file has them; the values are not checked yet.

    Attributes
    ----------
    source : str
        The file, for messages.
    devices : mapping of str to str
        What a device must be.
    parameters : mapping of str to mapping
        Values by family.
    measured : mapping
        What the file says, by family, of how they were found.
    """

    source: str
    devices: Mapping[str, str]
    parameters: Mapping[str, Mapping[str, object]]
    measured: Mapping[str, object] = field(default_factory=dict, compare=False)

    @property
    def level(self) -> int:
        """How particular the entry is: the place of its most particular key."""
        return max(KEYS.index(key) for key in self.devices)

    def is_for(self, identity: Mapping[str, str]) -> bool:
        """Whether the device of this identity is meant."""
        return all(identity.get(key) == value for key, value in self.devices.items())


def read(path: Path) -> list[Entry]:
    """The entries of a file; nothing but a warning where it is not one.

    Parameters
    ----------
    path : pathlib.Path
        A file that need not exist.

    Returns
    -------
    list of Entry
        In the order of the file.
    """
    try:
        content = _load(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        _warn(path, f"it cannot be read: {error}")
        return []
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        _warn(path, f'it has no "format": {FORMAT}')
        return []
    entries = content.get("entries")
    if not isinstance(entries, list):
        _warn(path, '"entries" is no list')
        return []
    found = []
    for number, given in enumerate(entries):
        problem = _problem(given)
        if problem:
            _warn(path, f"entry {number}: {problem}")
        else:
            measured = given.get("measured")
            notes = measured if isinstance(measured, dict) else {}
            found.append(Entry(str(path), given["for"], given["parameters"], notes))
    return found


def _load(path: Path) -> object:
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES} bytes")
    loaded: object = json.loads(content)
    return loaded


def _problem(entry: object) -> str | None:
    """What is wrong with the form of an entry."""
    if not isinstance(entry, dict):
        return "it is no object"
    devices, parameters = entry.get("for"), entry.get("parameters")
    if not isinstance(devices, dict) or not devices or not devices.keys() <= set(KEYS):
        return f'"for" must name some of {", ".join(KEYS)}'
    if not all(isinstance(value, str) for value in devices.values()):
        return '"for" must hold strings'
    if not isinstance(parameters, dict) or not all(isinstance(v, dict) for v in parameters.values()):
        return '"parameters" must hold an object for each family'
    return None


def _warn(path: Path, problem: str) -> None:
    warnings.warn(f"clgrad ignores tuned parameters in {path}: {problem}", RuntimeWarning, stacklevel=3)


def add(path: Path, new: Entry) -> None:
    """Put an entry into a file, which is made or replaced in one piece.

    Other families of the same devices, and other devices, stay. What cannot be read is kept beside it,
    as ``NAME.unreadable``.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    new : Entry
        What to add.

    Raises
    ------
    OSError
        The file cannot be written; it is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(record=True) as problems:
        warnings.simplefilter("always")
        entries = read(path)
    if problems:
        with contextlib.suppress(OSError):
            os.replace(path, path.with_name(f"{path.name}.unreadable"))
    kept = [entry for entry in entries if entry.devices != new.devices]
    for old in entries:
        if old.devices == new.devices:
            parameters, measured = {**old.parameters, **new.parameters}, {**old.measured, **new.measured}
            new = Entry(new.source, new.devices, parameters, measured)
    kept.append(new)
    text = json.dumps({"format": FORMAT, "entries": [_as_json(entry) for entry in kept]}, indent=2) + "\n"
    files.replace(path, text.encode())


def _as_json(entry: Entry) -> dict[str, object]:
    return {"for": entry.devices, "parameters": entry.parameters, "measured": entry.measured}
