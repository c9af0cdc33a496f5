"""Keep a file that the package safetensors writes: run where it is installed, in the folder ``tests``.

python -m golden.record_safetensors
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "files" / "package.safetensors"
DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def contents() -> dict[str, np.ndarray]:
    """The arrays of the file."""
    found = {name: np.arange(6).reshape(2, 3).astype(name) for name in DTYPES}
    return found | {
        "no axes": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "ä": np.int8([1]),
    }


if __name__ == "__main__":
    from safetensors.numpy import save_file

    save_file(contents(), FILE, metadata={"format": "np"})
