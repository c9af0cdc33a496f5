"""The examples: short runs as a user starts them."""

import gzip
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
    assert f"train-images-idx3-ubyte.gz (or the same without .gz) is missing in {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.once
@pytest.mark.slow
def test_vae(tmp_path, rng):
    write_dataset(tmp_path, rng)
    figure = tmp_path / "figure.png"
    done = run_example(
        "vae.py",
        *("--data", tmp_path, "--epochs", 6, "--batch-size", 20, "--hidden", 50, "--code", 4),
        *("--out", figure, "--require-bound", 500),  # 543 for images that are grey all over
    )
    assert done.returncode == 0, done.stderr
    assert "nats per held-back image" in done.stdout
    assert figure.exists()
    assert run_example("vae.py", "--data", tmp_path / "none").returncode == 1


@pytest.mark.once
@pytest.mark.slow
def test_dcgan(tmp_path, rng):
    write_dataset(tmp_path, rng)
    figure = tmp_path / "figure.png"
    done = run_example(
        "dcgan.py",
        *("--data", tmp_path, "--epochs", 1, "--batch-size", 25, "--channels", 4, "--code", 8),
        *("--out", figure, "--require-distance", 20),
    )
    assert done.returncode == 0, done.stderr
    assert "Fréchet distance" in done.stdout
    assert figure.exists()


@pytest.mark.once
@pytest.mark.slow
def test_char_lstm(tmp_path):
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 300)
    figure = tmp_path / "figure.png"
    arguments = (
        "--text",
        text,
        "--epochs",
        4,
        "--steps",
        22,
        "--size",
        32,
        "--batch-size",
        16,
        "--out",
        figure,
    )
    done = run_example("char_lstm.py", *arguments, "--require-bits", 2)  # 4.4 by frequencies alone
    assert done.returncode == 0, done.stderr
    assert "by frequencies alone" in done.stdout
    assert figure.exists()
    done = run_example("char_lstm.py", *arguments, "--letters", 300)
    assert done.returncode == 1
    assert "a text of 300 letters is too short" in done.stderr


@pytest.mark.once
@pytest.mark.slow
def test_regression(tmp_path):
    figure = tmp_path / "figure.png"
    done = run_example("regression.py", "--steps", 300, "--out", figure, "--require-gap", 1e-3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("result: ") == 3
    assert figure.exists()
    done = run_example("regression.py", "--steps", 1, "--out", figure, "--require-gap", 1e-3)
    assert done.returncode == 1
    assert "losses within 0.001 of their minima are required" in done.stderr


@pytest.mark.once
@pytest.mark.slow
def test_ode_fit(tmp_path):
    figure = tmp_path / "figure.png"
    arguments = ("--fits", 4, "--iterations", 60, "--steps-a-year", 4, "--out", figure)
    done = run_example("ode_fit.py", *arguments, "--require-error", 0.5)
    assert done.returncode == 0, done.stderr
    assert "populations off by" in done.stdout
    assert figure.exists()


@pytest.mark.once
@pytest.mark.slow
def test_transformer(tmp_path):
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 100)
    figure = tmp_path / "figure.png"
    sizes = ("--size", 32, "--heads", 2, "--layers", 1, "--context", 32, "--batch-size", 16, "--text", text)
    arguments = (*sizes, "--steps", 120, "--learning-rate", 0.01, "--out", figure)
    done = run_example("transformer.py", *arguments, "--require-bits", 1)  # 1.6 by frequencies of pairs
    assert done.returncode == 0, done.stderr
    assert "bits per held-back letter" in done.stdout
    assert figure.exists()
    done = run_example("transformer.py", *sizes, "--letters", 300)
    assert done.returncode == 1
    assert "a text of 300 letters is too short for windows of 32" in done.stderr


@pytest.mark.once
@pytest.mark.slow
def test_bayes_by_backprop(tmp_path):
    figure = tmp_path / "figure.png"
    arguments = ("--epochs", 12, "--draws", 5, "--out", figure, "--require-accuracy")
    done = run_example("bayes_by_backprop.py", *arguments, 0.8)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bits of doubt about noise") == 2
    assert figure.exists()


@pytest.mark.once
@pytest.mark.slow
def test_wgan_gp(tmp_path, rng):
    write_dataset(tmp_path, rng)
    figure = tmp_path / "figure.png"
    arguments = ("--data", tmp_path, "--batch-size", 20, "--channels", 4, "--code", 8, "--out", figure)
    done = run_example("wgan_gp.py", *arguments, "--steps", 200, "--require-distance", 6)  # 7.2 for noise
    assert done.returncode == 0, done.stderr
    assert "norm of its gradient" in done.stdout
    assert figure.exists()
    done = run_example("wgan_gp.py", "--data", tmp_path / "none")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
