"""The examples: short runs as a user starts them, and what the reader of idx files refuses."""

import gzip
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_example(name: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def fashion_mnist(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("fashion_mnist")


def write_idx(path: Path, array: np.ndarray) -> None:
    """An idx file, packed where the name ends in .gz."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_dataset(folder: Path, rng: np.random.Generator, suffix: str = ".gz") -> None:
    """Images that anything can tell apart: the class is the bright row."""
    for part, count in (("train", 200), ("t10k", 50)):
        labels = rng.integers(10, size=count)
        images = rng.integers(50, size=(count, 28, 28))
        images[np.arange(count), 5 + 2 * labels] = 255
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels)


@pytest.mark.slow
def test_digits(tmp_path):
    figure = tmp_path / "new" / "digits.png"
    arguments = ("--epochs", 5, "--seed", 1, "--out", figure, "--require-accuracy")
    done = run_example("digits.py", *arguments, 0.8)
    assert done.returncode == 0, done.stderr
    for line in ("device: ", "training: ", "accuracy: ", f"figure: {figure}"):
        assert line in done.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")

    done = run_example("digits.py", *arguments, 1)
    assert done.returncode == 1
    assert "an accuracy of 100.00% is required" in done.stderr


def test_digits_with_batches_larger_than_the_data():
    done = run_example("digits.py", "--batch-size", 5000)
    assert done.returncode == 1
    assert "--batch-size is 5000, but there are only 1437 images" in done.stderr


@pytest.mark.slow
def test_fashion_mnist(tmp_path, rng):
    write_dataset(tmp_path, rng)
    figure = tmp_path / "figure.png"
    done = run_example(
        "fashion_mnist.py",
        *("--data", tmp_path, "--epochs", 10, "--batch-size", 20, "--out", figure),
        *("--require-accuracy", 0.9),
    )
    assert done.returncode == 0, done.stderr
    assert figure.exists()


def test_fashion_mnist_without_data(tmp_path):
    done = run_example("fashion_mnist.py", "--data", tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / "train-images-idx3-ubyte.gz") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_reads_files(fashion_mnist, tmp_path, rng, suffix):
    write_dataset(tmp_path, rng, suffix)
    images, labels = fashion_mnist.load(tmp_path, "train")
    assert images.shape == (200, 1, 28, 28)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() == 1
    np.testing.assert_array_equal(images[:, 0].sum(axis=2).argmax(axis=1), 5 + 2 * labels.astype(int))


@pytest.mark.parametrize(
    ("suffix", "change", "complaint"),
    [
        (".gz", lambda content: content[:100], "cannot be unpacked"),
        (".gz", lambda content: b"<html>" + content, "cannot be unpacked"),
        (".gz", lambda content: content[:99] + b"\0" * 8 + content[107:], "cannot be unpacked"),
        ("", lambda content: content[:-1], "156,815 bytes, but its header tells of 156,816"),
        ("", lambda content: content + b"\0", "156,817 bytes, but its header tells of 156,816"),
        ("", lambda content: content[:6], "its header tells of"),
        ("", lambda content: b"<html>" + content, "not an idx file of bytes"),
        ("", lambda content: b"", "not an idx file of bytes"),
    ],
)
def test_fashion_mnist_refuses_corrupt_images(fashion_mnist, tmp_path, rng, suffix, change, complaint):
    write_dataset(tmp_path, rng, suffix)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(fashion_mnist.DataError, match=complaint) as error:
        fashion_mnist.load(tmp_path, "train")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("train-images-idx3-ubyte", np.zeros((200, 8, 8))),
        ("train-labels-idx1-ubyte", np.zeros(199)),
        ("train-labels-idx1-ubyte", np.full(200, 10)),
    ],
)
def test_fashion_mnist_refuses_files_that_do_not_belong_together(fashion_mnist, tmp_path, rng, name, array):
    write_dataset(tmp_path, rng, suffix="")
    write_idx(tmp_path / name, array)
    with pytest.raises(fashion_mnist.DataError, match=name):
        fashion_mnist.load(tmp_path, "train")
