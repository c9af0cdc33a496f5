"""Have MXNet 1.9.1 write files of arrays, apply operators, and list names and parameters, for ``files/``.

    cd tests && ../.venv-mxnet/bin/python -m golden.record_files

What the files hold is :func:`contents`, which MXNet is not needed for.
"""

import importlib
import inspect
import json
from operator import attrgetter
from pathlib import Path

import numpy as np

from golden.operators import answers

FOLDER = Path(__file__).parent / "files"
#: Dtypes of MXNet's file format that both programs can put into arrays by name.
DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
#: Namespaces whose names are listed, and NDArray's attributes.
SPACES = ("nd", "nd.contrib", "nd.sparse", "nd.image", "nd.random", "nd.linalg", "nd.NDArray")


def contents() -> dict[str, list[np.ndarray] | dict[str, np.ndarray]]:
    """What each file holds, by its name."""
    numbers = np.array([[0, 1, 2], [3, 5, 127]])
    return {
        "dtypes": [numbers.astype(d) for d in DTYPES],
        "names": {"arg:weight": np.float32([[1.5, -2, np.inf]]), "ä": np.float32([0.1]), "": np.int8([-1])},
        "empty": [],
        "one": [np.arange(24, dtype=np.float32).reshape(2, 1, 3, 4, 1)],
    }


def shapes_of_numpy() -> list[np.ndarray]:
    """What MXNet writes in format V3 only: no axes, no elements."""
    return [np.float32(3), np.zeros((0, 3), np.int32), np.float16([[1, 2]])]


def main() -> None:
    """Write all files."""
    if not hasattr(np, "bool"):
        np.bool = bool  # MXNet 1.9.1 uses the name that numpy dropped
    mx = importlib.import_module("mxnet")
    FOLDER.mkdir(exist_ok=True)

    def put(host):
        return mx.nd.array(host, dtype=host.dtype)

    for name, data in contents().items():
        arrays = {k: put(v) for k, v in data.items()} if isinstance(data, dict) else [put(v) for v in data]
        mx.nd.save(str(FOLDER / f"{name}.params"), arrays)
    with mx.util.np_shape(True):
        arrays = [mx.np.array(v, dtype=v.dtype).as_nd_ndarray() for v in shapes_of_numpy()]
        mx.nd.save(str(FOLDER / "shapes_of_numpy.params"), arrays)
    for stype in ("csr", "row_sparse"):
        mx.nd.save(str(FOLDER / f"{stype}.params"), [mx.nd.ones((2, 2)).tostype(stype)])
    answered = json.dumps(answers(mx), separators=(",", ":"))
    (FOLDER / "operators.json").write_text(answered.replace(',"', ',\n"') + "\n")
    names = {space: _names(mx, space) for space in SPACES}
    (FOLDER / "names.json").write_text(json.dumps(names, indent=1) + "\n")
    arguments = {space: _arguments(mx, space, names[space]) for space in SPACES if space != "nd.NDArray"}
    written = json.dumps(arguments, separators=(",", ":"))
    (FOLDER / "arguments.json").write_text(written.replace("],", "],\n") + "\n")


def _names(mx, space: str) -> list[str]:
    return sorted(name for name in dir(attrgetter(space)(mx)) if not name.startswith("_"))


def _arguments(mx, space: str, names: list[str]) -> dict[str, list[str]]:
    """The parameters of each function of a namespace, in order; an asterisk marks any number of arrays."""
    found = {name: getattr(attrgetter(space)(mx), name) for name in names}
    return {
        name: [
            f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind is not p.VAR_KEYWORD
        ]
        for name, function in found.items()
        if inspect.isfunction(function)
    }


if __name__ == "__main__":
    main()
