"""Keep what MXNet 1.9.1 answers to the programs of this folder (see the package's docstring)."""

import argparse
import builtins
import importlib
import os
import warnings

import numpy as np

from golden.training import FOLDER

MODULES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "record"))


def main() -> None:
    """Record the modules named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", nargs="*", choices=[*MODULES, []])
    os.environ["MXNET_LOG_LEVEL"] = "ERROR"
    warnings.simplefilter("ignore")
    for name in ("bool", "int", "float"):  # MXNet 1.9.1 uses names that numpy dropped
        if not hasattr(np, name):
            setattr(np, name, getattr(builtins, name))
    mx = importlib.import_module("mxnet")
    for module in parser.parse_args().module or MODULES:
        mx.random.seed(0)
        found = importlib.import_module(f"golden.training.{module}").answers(mx)
        np.savez_compressed(FOLDER / f"{module}.npz", **found)


if __name__ == "__main__":
    main()
