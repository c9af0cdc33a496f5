"""What tests of several families draw, compare and check."""

import time

import numpy as np

from clgrad import autograd, nd
from clgrad.cli import child
from clgrad.test_utils import gradcheck, gradgradcheck


def normal(rng: np.random.Generator, *shapes, dtype="float32") -> list[np.ndarray]:
    """Normally distributed arrays of these shapes."""
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def close(actual: nd.NDArray, expected, tolerance: float = 2e-6) -> None:
    """Shapes are equal, and values within the tolerance, absolute and relative."""
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=tolerance, atol=tolerance)


def check_both_orders(f, inputs) -> None:
    """First and second derivatives against finite differences, the second along random directions."""
    gradcheck(f, inputs)
    gradgradcheck(f, inputs, directions=2)


def gradient_of(f, x) -> np.ndarray:
    """The gradient of the sum of f(x)."""
    x = nd.array(x)
    x.attach_grad()
    with autograd.record():
        y = f(x)
    y.backward()
    return x.grad.asnumpy()


def stand_in_for_python(folder, monkeypatch, script: str) -> None:
    """Put a shell script in the place of the Python that child processes run in."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(path))


def eventually(condition, seconds: float = 60) -> None:
    """Wait until something has become true that other processes or threads do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
