"""contrib.flash_attention beyond golden/cases/attention.py: larger, both backwards, dropout, memory."""

import numpy as np
import pytest
from attention_reference import attention as reference
from helpers import close, normal

import clgrad as mx
from clgrad import autograd, memory, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.kernels import attention

COVERS = {"contrib.flash_attention": ("_attention", "_attention_grad")}

flash = nd.contrib.flash_attention


def arrays(rng, queries=5, keys=7, size=6, dtype="float32"):
    shapes = [(2, 2, n, size) for n in (queries, keys, keys)]
    return [nd.array(x, dtype=dtype) for x in normal(rng, *shapes)]


def masks(rng, queries=5, keys=7) -> dict:
    """One of bool that hides all keys of the last sequence, and one that is added."""
    seen = rng.random((2, 1, 1, keys)) < 0.7
    seen[1] = False
    added = rng.standard_normal((2, queries, keys))
    added[:, 1, :] = -np.inf
    return {"bool": nd.array(seen, dtype="bool"), "added": nd.array(added)}


def results(inputs, create_graph: bool, **attributes) -> list[np.ndarray]:
    """The result and the gradients of a sum of its squares, drawn from the same seed each time."""
    inputs = [x.copy() for x in inputs]
    for x in inputs:
        x.attach_grad()
    mx.random.seed(3)
    with autograd.record():
        y = flash(*inputs, **attributes)
        total = (y * y).sum()
    return [x.asnumpy() for x in (y, *autograd.grad(total, inputs, create_graph=create_graph))]


def test_values_and_gradients(rng):
    inputs, mask = arrays(rng), masks(rng)["added"]
    y, *gradients = results(inputs, False, mask=mask)
    host = [x.asnumpy() for x in inputs]
    expected = reference(*host, 2 * y, scale=6**-0.5, mask=mask.asnumpy())
    for found, wanted in zip((y, *gradients), expected[:4], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", ["bool", "added"])
def test_kernels_are_the_recorded_rule(mask, rng):
    """Dropout included: both draw the same factors."""
    inputs, mask = arrays(rng), masks(rng)[mask]
    fast, recorded = (
        results(inputs, graph, mask=mask, causal=mask.dtype == bool, dropout=0.4) for graph in (False, True)
    )
    for found, wanted in zip(fast, recorded, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_16_bits_are_summed_in_float32(rng):
    inputs = arrays(rng, 9, 130, dtype="float16")
    fast, recorded = (results(inputs, graph) for graph in (False, True))
    expected = reference(*(x.asnumpy() for x in inputs), 2 * fast[0].astype(np.float64), scale=6**-0.5)
    for found, other, wanted in zip(fast, recorded, expected[:4], strict=True):
        for x in (found, other):
            assert np.abs(x.astype(np.float64) - wanted).max() < 2.0**-10 * np.abs(wanted).max()


def test_gradient_of_a_mask_by_itself(rng):
    (query, key, value), mask = arrays(rng), nd.array(rng.standard_normal((5, 1)))
    mask.attach_grad()
    with autograd.record():
        y = flash(query, key, value, nd.tile(mask, (1, 7)), scale=1)
    y.backward(nd.ones(y.shape))
    slopes = reference(
        *(x.asnumpy() for x in (query, key, value)),
        np.ones(y.shape),
        scale=1,
        mask=np.tile(mask.asnumpy(), 7),
    )[4]
    close(mask.grad, slopes.sum((0, 1, 3)).reshape(5, 1), 1e-5)


def test_numpy_masks_keep_their_meaning(rng):
    inputs, seen = arrays(rng), np.tril(np.ones((5, 7), bool))
    close(flash(*inputs, mask=seen), flash(*inputs, causal=True).asnumpy(), 1e-6)


def test_dropout(rng):
    """Only in training, anew at each call, right in the mean; a weight is kept or 0."""
    query, key, _ = arrays(rng, 64, 96, 8)
    value = nd.ones(key.shape)
    close(flash(query, key, value, dropout=0.5), np.ones(query.shape), 1e-5)
    with autograd.train_mode():
        first, other = (flash(query * 0, key, value, dropout=0.25)[:, :, :, 0].asnumpy() for _ in range(2))
    kept = first * 0.75 * 96  # of 96 equal weights
    np.testing.assert_allclose(kept, np.rint(kept), atol=1e-3)
    assert (first != other).any()
    deviation = np.sqrt(0.25 / 0.75 / 96)
    assert abs(first.mean() - 1) < 5 * deviation / np.sqrt(first.size)
    assert 0.8 < first.std() / deviation < 1.2
    with autograd.train_mode():
        close(flash(query, key, value, dropout=1), np.zeros(query.shape))


def test_the_same_bits_on_each_run(rng):
    inputs = arrays(rng, 100, 150, 16)
    first, *others = (results(inputs, False, dropout=0.3) for _ in range(3))
    for other in others:
        assert [x.tobytes() for x in other] == [x.tobytes() for x in first]


def test_memory_does_not_grow_with_the_square_of_the_length(rng, monkeypatch):
    stream, peak = memory.current_stream(mx.current_context().device), [0]
    allocate = memory.Stream.allocate

    def watched(self, nbytes, label=""):
        made = allocate(self, nbytes, label)
        peak[0] = max(peak[0], self._pool.active_bytes)
        return made

    monkeypatch.setattr(memory.Stream, "allocate", watched)
    lengths, peaks = (256, 512), []
    for length in lengths:
        inputs = arrays(rng, length, length, 16)
        stream.finish()
        peak[0] = before = stream._pool.active_bytes
        results(inputs, False, causal=True, dropout=0.1)
        peaks.append(peak[0] - before)
    assert peaks[0] < 4 * 256 * 256 * 4, "as much as the matrices of scores"
    assert peaks[1] < 2.5 * peaks[0]


def test_heads_too_large_for_local_memory(rng, monkeypatch):
    """Other ops take over, with the same draws."""
    inputs, mask = arrays(rng), masks(rng)["bool"]
    by_kernels = results(inputs, False, mask=mask, dropout=0.4)
    monkeypatch.setattr(attention, "fits", lambda *arguments: False)
    for found, wanted in zip(results(inputs, False, mask=mask, dropout=0.4), by_kernels, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (3, 0)])
def test_no_queries_or_no_keys(queries, keys, rng):
    y, *gradients = results(arrays(rng, queries, keys), False)
    assert [x.shape for x in gradients] == [(2, 2, n, 6) for n in (queries, keys, keys)]
    assert y.shape == (2, 2, queries, 6)
    assert not y.any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query": (5, 6)}, OperatorError, r"query is of shape \(5, 6\); accepted: \(batch, heads"),
        ({"query": (2, 2, 5, 0)}, OperatorError, "query is of shape .*head_dim above 0"),
        ({"key": (2, 3, 7, 6)}, OperatorError, r"key is of shape .*accepted: \(2, 2, length, 6\)"),
        ({"value": (2, 2, 8, 6)}, OperatorError, "value is of shape .*the shape of key"),
        ({"mask": (3, 7)}, OperatorError, r"mask is of shape \(3, 7\); accepted: what broadcasts to"),
        ({"mask": "x"}, OperatorTypeError, "'mask' is str; accepted: NDArray or None"),
        ({"dropout": 1.5}, OperatorError, "dropout is 1.5; accepted: 0 <= dropout <= 1"),
        ({"scale": "x"}, OperatorTypeError, "'scale' is 'x'; accepted: float or None"),
    ],
)
def test_bad_arguments_are_named(change, error, message, rng):
    given = dict(zip(("query", "key", "value"), arrays(rng), strict=True))
    given |= {k: nd.ones(v) if isinstance(v, tuple) else v for k, v in change.items()}
    with pytest.raises(error, match=f"contrib.flash_attention: .*{message}"):
        flash(**given)


@pytest.mark.parametrize("argument", ["key", "value", "mask"])
def test_other_dtypes_are_named(argument, rng):
    given = dict(zip(("query", "key", "value"), arrays(rng), strict=True)) | {"mask": nd.ones((5, 7))}
    given[argument] = given[argument].astype("float16")
    with pytest.raises(OperatorTypeError, match=f"{argument} is of dtype float16; accepted: .*float32"):
        flash(**given)
