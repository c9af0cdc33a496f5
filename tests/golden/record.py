"""Ask MXNet 1.9.1, and keep its answers in ``FAMILY.npz``, for each module of cases.

    python -m venv .venv-mxnet && .venv-mxnet/bin/pip install mxnet==1.9.1 numpy==1.23.5 scipy  # of 3.11
    cd tests && ../.venv-mxnet/bin/python -m golden.record [FAMILY ...]

Cases run in a child process each time MXNet has brought the last one down: it does crash on some.
"""

import argparse
import importlib
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from golden.ask import ask
from golden.recording import FOLDER, cases_of, environment_of, families, fingerprint, key


def answer(family: str, index: int, dtype: str) -> dict[str, np.ndarray]:
    """MXNet's answer to one case (in a child process)."""
    os.environ |= {"MXNET_LOG_LEVEL": "ERROR", **environment_of(family)}
    warnings.simplefilter("ignore")
    if not hasattr(np, "bool"):
        np.bool = bool  # MXNet 1.9.1 uses the name that numpy dropped
    mx = importlib.import_module("mxnet")
    cases = cases_of(family)
    mx.random.seed(0)
    return ask(mx, cases[index], dtype)


def record(family: str) -> None:
    """Run all cases of a family and write its file."""
    cases = cases_of(family)
    kept: dict[str, np.ndarray] = {}
    pool = None
    for index, case in enumerate(cases):
        for dtype in case.run_dtypes():
            pool = pool or ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            try:
                found = pool.submit(answer, family, index, dtype).result()
            except BrokenProcessPool:
                pool, found = None, {"error": np.array("crash")}
            kept[key(case, dtype, "inputs")] = fingerprint(case, dtype)
            kept |= {key(case, dtype, what): value for what, value in found.items()}
            note = next((f"{w}: {v}" for w, v in found.items() if "error" in w), "")
            print(f"{family}: {case.name} {dtype} {note}", file=sys.stderr)
    path = FOLDER / f"{family}.npz"
    np.savez_compressed(path, **kept)
    print(f"{path.name}: {len(kept)} arrays, {path.stat().st_size:,} bytes")
    if pool is not None:
        pool.shutdown()


def main() -> None:
    """Record the families named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", nargs="*", choices=[*families(), []])
    for family in parser.parse_args().family or families():
        record(family)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
