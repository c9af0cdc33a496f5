"""The examples: short runs that must learn something, and the same eager, replayed and fused."""

import gzip
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import clgrad as mx
from clgrad import nd
from clgrad.graph import ir

EXAMPLES = Path(__file__).parent.parent / "examples"
FASHION = ("--data", "images", "--batch-size", 20)
IMAGES = ("--channels", 4, "--code", 8)
TEXT = ("--text", "text", "--size", 32, "--batch-size", 16)
#: For each example: how small it is, how long it trains, the result that is to be reached;
#: and how short it is where ways to run it are compared.
RUNS = {
    "bayes_by_backprop": (("--draws", 5, "--batch-size", 128), ("--epochs", 15), 0.8, ("--epochs", 1)),
    "char_lstm": ((*TEXT, "--steps", 22), ("--epochs", 6), 2, ("--letters", 4000, "--epochs", 1)),
    "dcgan": ((*FASHION, *IMAGES), ("--epochs", 1), 20, ("--epochs", 1)),
    "digits": (("--batch-size", 144), ("--epochs", 10), 0.8, ("--epochs", 1)),
    "fashion_mnist": (FASHION, ("--epochs", 10), 0.9, ("--epochs", 1)),
    "ode_fit": (("--fits", 8, "--steps-a-year", 4), ("--iterations", 100), 0.3, ("--iterations", 8)),
    "regression": ((), ("--steps", 300), 1e-3, ("--steps", 20)),
    "transformer": (
        (*TEXT, "--heads", 2, "--layers", 1, "--context", 32, "--learning-rate", 0.01),
        ("--steps", 120),
        1,  # 1.6 by frequencies of pairs
        ("--steps", 8),
    ),
    # 543 for images that are grey all over
    "vae": ((*FASHION, "--hidden", 50, "--code", 4), ("--epochs", 6), 500, ("--epochs", 1)),
    "wgan_gp": ((*FASHION, *IMAGES), ("--steps", 200), 6, ("--steps", 4)),  # 7.2 for noise
}


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


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, which has images and a text, and whose programs may import the examples."""
    (tmp_path / "images").mkdir()
    write_dataset(tmp_path / "images", np.random.default_rng(0))
    (tmp_path / "text").write_text("the quick brown fox jumps over the lazy dog\n" * 300)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    return tmp_path


def main(name: str, *arguments) -> int:
    """The exit status of an example that runs in this process."""
    return importlib.import_module(name).main([str(argument) for argument in arguments])


def run(name: str, *arguments) -> subprocess.CompletedProcess:
    """An example as a user starts it."""
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py") if "main(" in path.read_text()} == set(RUNS)


@pytest.fixture
def captured(monkeypatch) -> list:
    """What is captured, from now on."""
    found, capture = [], mx.capture

    def watched(**options):
        return lambda function: found.append(capture(function, **options)) or found[-1]

    monkeypatch.setattr(mx, "capture", watched)
    return found


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_example(name, folder, capsys, captured, monkeypatch):
    """It learns and draws; and its steps do the same op by op, replayed, and as fewer launches."""
    sizes, length, demand, short = RUNS[name]
    assert main(name, *sizes, *length, "--require", demand, "--out", "new/figure.png") == 0
    assert "result: " in capsys.readouterr().out
    assert Path("new/figure.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(Figure, "savefig", lambda *_: None)
    trained = {}
    for capture in ("none", "replay", "fuse"):
        captured.clear()
        main(name, *sizes, *short, "--capture", capture, "--save", capture)
        trained[capture] = [(key, value.asnumpy()) for key, value in nd.load(capture).items()]
        assert bool(captured) == (capture != "none")
        for step in captured:
            counts = [(ir.launches(before), ir.launches(after)) for before, after in step.graphs()]
            assert counts
            assert all(after < before if capture == "fuse" else after == before for before, after in counts)
    for (key, eager), (_, replayed), (_, fused) in zip(*trained.values(), strict=True):
        tolerance = 1e-5 * np.abs(eager).max() + 1e-6
        # Gradients of calls while recording add up within each call first, and so in another order
        rounding = tolerance if name == "ode_fit" else 0
        np.testing.assert_allclose(replayed, eager, rtol=0, atol=rounding, err_msg=key)
        np.testing.assert_allclose(fused, eager, rtol=0, atol=tolerance, err_msg=key)


@pytest.mark.slow
def test_digits_as_a_user_runs_it(tmp_path):
    figure = tmp_path / "digits.png"
    arguments = ("--epochs", 5, "--seed", 1, "--out", figure, "--require")
    done = run("digits", *arguments, 0.8)
    assert done.returncode == 0, done.stderr
    for line in ("device: ", "result: accuracy: ", f"figure: {figure}"):
        assert line in done.stdout
    assert figure.exists()
    done = run("digits", *arguments, 1)
    assert done.returncode == 1
    assert "where at least 1 is required" in done.stderr


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("digits", ("--batch-size", 5000), "--batch-size is 5000, but there are only 1437 samples"),
        (
            "fashion_mnist",
            ("--data", "none"),
            "train-images-idx3-ubyte.gz (or the same without .gz) is missing",
        ),
        ("wgan_gp", ("--data", "none"), "Debian's package dataset-fashion-mnist has the files"),
        ("char_lstm", ("--letters", 300), "a text of 300 letters is too short"),
        ("transformer", ("--letters", 300), "the text is too short"),
        ("transformer", ("--heads", 5), "--size is 128, which is no multiple of --heads, 5"),
        ("vae", ("--epochs", 0), "argument --epochs: 0 is below 1"),
        ("char_lstm", ("--text", "none"), "--text"),
    ],
)
def test_what_cannot_be_done(name, arguments, message, folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(name, *arguments)
    assert message in f"{stopped.value} {capsys.readouterr().err}"
