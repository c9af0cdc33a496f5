"""Programs that train, or do a part of it, which MXNet and clgrad run alike.

Each module has a function ``answers(mx)``, whose argument is one of the two. ``record.py`` here keeps
what MXNet 1.9.1 answers in a file beside it:

    cd tests && ../.venv-mxnet/bin/python -m golden.training.record [MODULE ...]
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def recorded(module: str) -> dict[str, np.ndarray]:
    """What MXNet answered."""
    with np.load(FOLDER / f"{module}.npz") as file:
        return dict(file)
