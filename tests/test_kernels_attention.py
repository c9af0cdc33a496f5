"""Attention and its gradients against numpy in float64, in both kernel shapes."""

import dataclasses

import numpy as np
import pytest
from attention_reference import attention as reference
from helpers import normal
from plan_harness import PoorestGpu, device_of_shape, run

from clgrad import dtypes
from clgrad.device import current_context
from clgrad.kernels import attention, layout, random

SHAPES = ("cpu", "gpu")
FP64 = pytest.mark.requires("fp64")
#: batch, heads, queries, keys and size of a head: no multiples of tiles, one of vectors; several tiles.
SMALL, LONG, TALL = (2, 3, 37, 41, 5), (1, 2, 70, 133, 64), (1, 1, 75, 20, 24)
#: Largest errors, as shares of the largest element.
TOLERANCES = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 3e-6, "float64": 1e-14}


def masks(rng, kind: str | None, size) -> np.ndarray | None:
    """A mask of a kind; it hides all keys from some queries."""
    batch, heads, queries, keys, _ = size
    if kind is None:
        return None
    if kind == "keys":  # bool, of each sequence
        mask = rng.random((batch, 1, 1, keys)) < 0.6
        mask[-1] = False
        return mask
    if kind == "pairs":
        mask = rng.random((1, heads, queries, keys)) < 0.6
        mask[:, 0, 3] = False
        return mask
    mask = rng.standard_normal(
        {"added": (batch, 1, queries, keys), "added to queries": (1, heads, queries, 1)}[kind]
    )
    mask[..., 2, :] = -np.inf
    return mask.astype(np.float32)


def check(shape, size, rng, dtype="float32", causal=False, mask=None, keep=None, device=None):
    """Results and gradients of one problem."""
    device, dtype = device or device_of_shape(shape), np.dtype(getattr(dtypes, dtype))
    batch, heads, queries, keys, width = size
    mask = masks(rng, mask, size)
    own, other = (batch, heads, queries, width), (batch, heads, keys, width)
    query, key, value, dy = normal(rng, own, other, other, own, dtype=dtype)
    given = [] if mask is None else [mask if mask.dtype == bool else mask.astype(dtype)]
    shown = (given[0].dtype, given[0].shape) if given else None
    problem = attention.Problem(*size, dtype, causal, keep is not None, shown)
    scalars = (0.3, 5, 2**40 + 7, keep or 1.0)
    plan = attention.plan_forward(device, "attention", problem)
    y, lse = run(plan, [query, key, value, *given], scalars)
    plan = attention.plan_grad(device, "attention_grad", problem)
    gradients = run(plan, [dy, y, lse, query, key, value, *given], scalars)
    factors = 1.0
    if keep is not None:
        padded = (batch, heads, queries, -(-keys // 4) * 4)
        drawn = random.plan_mask(device, "mask", padded, problem.compute)
        factors = run(drawn, [], scalars[1:])[0][..., :keys].astype(np.float64)
    expected = reference(query, key, value, dy, scale=0.3, causal=causal, mask=mask, factors=factors)
    for name, found, wanted in zip(
        ("y", "query", "key", "value"), (y, *gradients), expected[:4], strict=True
    ):
        error = np.abs(found.astype(np.float64) - wanted).max() / np.abs(wanted).max()
        assert error < TOLERANCES[dtype.name], f"{name} is off by {error}"
    return [y, lse, *gradients]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("size", "causal", "mask"),
    [
        pytest.param(TALL, True, "pairs", id="tall"),
        pytest.param(SMALL, False, "keys", id="small"),
        pytest.param(LONG, True, "added", id="long"),
    ],
)
def test_results_and_gradients(shape, size, causal, mask, rng):
    check(shape, size, rng, causal=causal, mask=mask)


def test_mask_that_is_the_same_for_all_keys(rng):
    """Of interest to CPUs, which read masks by the stride."""
    check("cpu", SMALL, rng, mask="added to queries")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ("cpu", "bfloat16"),
        ("gpu", "float16"),
        pytest.param("cpu", "float64", marks=FP64),
        pytest.param("gpu", "float64", marks=FP64),
    ],
)
def test_other_dtypes(shape, dtype, rng):
    check(shape, SMALL, rng, dtype=dtype, keep=0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_dropout_draws_the_mask_of_dropout(shape, rng):
    check(shape, LONG, rng, causal=True, keep=0.7)


def test_large_tiles_of_gpus(rng):
    """Work-groups of 256, with their own rows in local memory throughout."""
    device = PoorestGpu(current_context().device)
    device.capabilities = dataclasses.replace(
        device.capabilities,
        max_work_group_size=min(256, current_context().device.capabilities.max_work_group_size),
        local_memory=min(49152, current_context().device.capabilities.local_memory),
    )
    check("gpu", LONG, rng, causal=True, mask="pairs", device=device)


@pytest.mark.parametrize("shape", SHAPES)
def test_64_bit_positions(shape, rng, monkeypatch):
    monkeypatch.setattr(layout, "needs_long", lambda *arguments: True)
    check(shape, TALL, rng, causal=True, mask="added", keep=0.7)


def test_one_work_item_for_all_gradients_or_many(monkeypatch):
    """On CPUs: 5 products by few work-items, or 7 by many."""
    found = []
    for fused in (True, False):
        monkeypatch.setattr(attention, "_fused", lambda *arguments, fused=fused: fused)
        found.append(check("cpu", LONG, np.random.default_rng(1), causal=True, keep=0.7))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_infinity_and_nan(shape, rng):
    """Scores beyond the range of exp, and what is no number: where numpy has it."""
    query, key, value = normal(rng, (1, 1, 5, 8), (1, 1, 35, 8), (1, 1, 35, 8))
    query[0, 0, 1] *= 1e4
    query[0, 0, 2, 3] = np.nan
    query[0, 0, 3] = [np.inf, *[0] * 7]
    key[..., 0] = np.abs(key[..., 0])
    problem = attention.Problem(1, 1, 5, 35, 8, np.dtype(np.float32), False, False, None)
    y, _ = run(
        attention.plan_forward(device_of_shape(shape), "attention", problem), [query, key, value], (1.0,)
    )
    with np.errstate(invalid="ignore"):
        expected = reference(query, key, value, np.zeros_like(query), scale=1.0)[0]
    assert np.isnan(expected[0, 0, 2:4]).all()
    assert not np.isnan(expected[0, 0, [0, 1, 4]]).any()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_tiles_that_do_not_fit():
    assert attention.fits(device_of_shape("cpu"), 64, np.dtype(np.float32))
    assert not attention.fits(device_of_shape("cpu"), 4096, np.dtype(np.float32))
    assert not attention.fits(device_of_shape("gpu"), 4096, np.dtype(np.float32))
