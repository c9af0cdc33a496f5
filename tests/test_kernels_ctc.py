"""Kernels of connectionist temporal classification against plain numpy in float64, in both shapes."""

import numpy as np
import pytest
from plan_harness import device_of_shape, run

from clgrad.kernels import ctc

SHAPES = ("cpu", "gpu")
INF = np.inf


def logp_of(rng, *shape) -> np.ndarray:
    scores = 2 * rng.standard_normal(shape)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def reference(logp: np.ndarray, label: list[int], blank: int) -> tuple[float, np.ndarray]:
    """-log p(label) of one sequence (steps, classes), and its gradient, by the recursions in float64."""
    extended = [blank]
    for c in label:
        extended += [c, blank]
    steps, n = len(logp), len(extended)

    def forwards(rows: np.ndarray, positions: list[int]) -> np.ndarray:
        table = np.full((steps, n), -INF)
        table[0, :2] = rows[0, positions[:2]]
        for t in range(1, steps):
            for s in range(n):
                ways = [table[t - 1, s]] + [table[t - 1, s - 1]] * (s > 0)
                if s > 1 and positions[s] != positions[s - 2]:
                    ways.append(table[t - 1, s - 2])
                table[t, s] = np.logaddexp.reduce(ways) + rows[t, positions[s]]
        return table

    alpha = forwards(logp, extended)
    beta = forwards(logp[::-1], extended[::-1])[::-1, ::-1]
    both = alpha + beta - logp[:, extended]
    total = np.logaddexp.reduce(both[0])
    gradient = np.zeros_like(logp)
    for s, c in enumerate(extended):
        gradient[:, c] -= np.exp(both[:, s] - total)
    return -total, gradient


def problem(logp, width, *, label="int32", lengths=(None, None), last=False) -> ctc.Problem:
    steps, batch, classes = logp.shape
    own = [None if a is None else a.dtype for a in lengths]
    blank, padding = (classes - 1, -1) if last else (0, 0)
    return ctc.Problem(steps, batch, classes, width, logp.dtype, np.dtype(label), *own, blank, padding)


def both(shape, logp, label, lengths=(None, None), last=False):
    """Loss and gradient of one plan each."""
    given = problem(logp, label.shape[1], label=label.dtype, lengths=lengths, last=last)
    device, arrays = device_of_shape(shape), [logp, label, *(a for a in lengths if a is not None)]
    loss, alpha = run(ctc.plan_loss(device, "ctc", given), arrays)
    dy = np.linspace(-1, 2, len(loss)).astype(logp.dtype)
    # What lies behind a label is not written by the first kernel, and must not matter to the second.
    (dx,) = run(ctc.plan_grad(device, "ctc_grad", given), [dy, loss, alpha, *arrays])
    return loss, dx, dy


def check(loss, dx, dy, logp, labels, steps, blank, tolerance):
    for b, (label, count) in enumerate(zip(labels, steps, strict=True)):
        expected, gradient = reference(logp[:count, b].astype(np.float64), label, blank)
        np.testing.assert_allclose(loss[b], expected, rtol=tolerance)
        np.testing.assert_allclose(dx[:count, b], gradient * dy[b], atol=5 * tolerance, rtol=5 * tolerance)
        assert not dx[count:, b].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64"))])
@pytest.mark.parametrize("last", [False, True])
def test_loss_and_gradient(shape, dtype, last, rng):
    labels = [[1, 2, 2, 1, 3, 1, 1], [3], [], [2, 1]]
    padded = np.full((4, 7), -1 if last else 0, np.int32)
    for row, label in zip(padded, labels, strict=True):
        row[: len(label)] = label
    logp = logp_of(rng, 13, 4, 5).astype(dtype)
    tolerance = 5e-6 if dtype == "float32" else 1e-13
    check(*both(shape, logp, padded, last=last), logp, labels, [13] * 4, 4 if last else 0, tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32"])
def test_lengths_and_dtypes(shape, dtype, rng):
    """Lengths go before padding, and are limited to what there is."""
    labels = np.array([[1, 2, 3], [2, 2, 1], [3, 1, 2]], dtype)
    lengths = np.array([9, 5, 100]).astype(dtype), np.array([3, 1, 9]).astype(dtype)
    logp = logp_of(rng, 9, 3, 4).astype(np.float32)
    loss, dx, dy = both(shape, logp, labels, lengths)
    check(loss, dx, dy, logp, [[1, 2, 3], [2], [3, 1, 2]], [9, 5, 9], 0, 5e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_long_sequences(shape, rng):
    """Probabilities of e^-1000 and below, with gradients as precise as those of a few steps."""
    logp = logp_of(rng, 500, 2, 12).astype(np.float32)
    labels = rng.integers(1, 12, (2, 120)).astype(np.int32)
    loss, dx, dy = both(shape, logp, labels)
    check(loss, dx, dy, logp, labels.tolist(), [500, 500], 0, 1e-5)
    assert loss.max() > 300


@pytest.mark.parametrize("shape", SHAPES)
def test_impossible_labels(shape, rng):
    """Too few steps: 0. A class of probability 0: infinite. No gradient, and nothing that is NaN."""
    logp = logp_of(rng, 4, 3, 3).astype(np.float32)
    logp[:, 1, 2] = -INF
    loss, dx, _ = both(shape, logp, np.array([[1, 1, 1], [2, 0, 0], [1, 0, 0]], np.int32))
    assert loss[:2].tolist() == [0, INF]
    assert not dx[:, :2].any()
    assert np.isfinite(loss[2])
    assert dx[:, 2].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_nan_stays_with_its_sequence(shape, rng):
    logp = logp_of(rng, 6, 2, 3).astype(np.float32)
    logp[3, 0, :] = np.nan
    loss, dx, _ = both(shape, logp, np.array([[1, 2], [2, 1]], np.int32))
    assert np.isnan(loss).tolist() == [True, False]
    assert np.isnan(dx[:, 0]).any()
    assert np.isfinite(dx[:, 1]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_that_are_no_classes(shape, rng):
    """Nothing outside of the arrays is read: the nearest class counts."""
    logp = logp_of(rng, 6, 2, 3).astype(np.float32)
    wild = both(shape, logp, np.array([[99, 1], [-7, 2]], np.int32))
    tame = both(shape, logp, np.array([[2, 1], [0, 2]], np.int32), (None, np.array([2, 2], np.int32)))
    for a, b in zip(wild, tame, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("steps", "batch", "width"), [(0, 2, 0), (3, 0, 2), (3, 2, 0), (1, 1, 1)])
def test_nothing_or_one(shape, steps, batch, width, rng):
    logp = logp_of(rng, steps, batch, 3).astype(np.float32)
    label = np.ones((batch, width), np.int32)
    loss, dx, dy = both(shape, logp, label)
    assert (loss.shape, dx.shape) == ((batch,), logp.shape)
    if steps:
        check(loss, dx, dy, logp, label.tolist(), [steps] * batch, 0, 5e-6)
